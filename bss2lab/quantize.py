"""Rounding at the border between software and chip: weights on the way in, CADC samples on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int8
    from numpy import ndarray

WEIGHT_MAX = 63
"""Largest magnitude of a signed synapse pair: two 6-bit synapses of opposite sign [paper]."""

HIDDEN_SCALE = 240.0
"""Chip weight per unit of model weight in the hidden layer [authors' code]."""

OUTPUT_SCALE_MAX = 250.0
"""Upper limit of the output layer's dynamic scale [authors' code]."""

WEIGHT_CLAMP = WEIGHT_MAX / HIDDEN_SCALE
"""Hidden model weights are kept within ± this [authors' code]."""

MODEL_UNIT_MV = 330.0
"""Membrane millivolts per model unit: the trace normalisation of 0.33 V [authors' code]."""

CADC_MAX = 255
"""Highest code of the 8-bit column ADC; both ends of its range are hard."""

CADC_MV_PER_LSB = 1200.0 / 256
"""Millivolts per CADC step: 1.2 V over 8 bit [authors' code]."""


def _clip(weights: Float[ndarray, "i n"], scale: float) -> Float[ndarray, "i n"]:
    return np.clip(np.asarray(weights) * scale, -WEIGHT_MAX, WEIGHT_MAX)


def quantize_weights(weights: Float[ndarray, "i n"], scale: float) -> Int8[ndarray, "i n"]:
    """w_int = round(clip(scale · w, ±63)), the integers written to the signed synapse pairs."""
    return np.rint(_clip(weights, scale)).astype(np.int8)


def clip_weights(weights: Float[ndarray, "i n"], scale: float) -> Float32[ndarray, "i n"]:
    """clip(scale · w, ±63): what synapses would be given that hold real numbers, as those of no real chip do."""
    return _clip(weights, scale).astype(np.float32)


def output_scale(largest: float) -> float:
    """Dynamic scale of the output weights: min(63 / max|w|, 250) [authors' code].

    Args:
        largest: max|w| over the output layer's model weights.
    """
    return min(WEIGHT_MAX / largest, OUTPUT_SCALE_MAX) if largest > 0 else OUTPUT_SCALE_MAX


def model_units_per_lsb(scale: float) -> float:
    """Model units per CADC step for a layer written with weight ``scale``.

    4.69 mV/LSB over 330 mV, and, for the output layer, undoing its dynamic scale: a layer written with
    ``scale`` instead of 240 answers with ``scale``/240 of the model's amplitude.
    """
    return CADC_MV_PER_LSB / MODEL_UNIT_MV * (HIDDEN_SCALE / scale)


def normalise(sample_lsb: Any, baseline_lsb: Any, units_per_lsb: Any) -> Any:
    """V = (sample − the neuron's own first sample) · unit/LSB: a recorded trace in model units."""
    return (sample_lsb - baseline_lsb) * units_per_lsb
