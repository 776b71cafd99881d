"""What every BrainScaleS-2 chip has in common: sizes and digital resolutions, with their sources."""

from __future__ import annotations

from dataclasses import dataclass

from bss2lab.config import Source
from bss2lab.kernels.analog import N
from bss2lab.quantize import CADC_MV_PER_LSB, WEIGHT_MAX


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of the chip's design.

    Attributes:
        value: the number.
        unit: its unit.
        source: provenance mark.
        note: what it is.
    """

    value: float
    unit: str
    source: Source
    note: str


SPEC = {
    "circuits": Constant(512, "", Source.PAPER, "neuron circuits, each with a column of 256 synapses"),
    "neurons": Constant(N, "", Source.PAPER, "logical neurons with signed inputs: two circuits joined"),
    "inputs": Constant(256, "", Source.PAPER, "signed inputs of a logical neuron (its fan-in)"),
    "weight_max": Constant(WEIGHT_MAX, "", Source.PAPER, "a signed weight is −63 … 63: two 6-bit synapses"),
    "speedup": Constant(1e3, "", Source.PAPER, "acceleration over biological time constants"),
    "power": Constant(200.0, "mW", Source.PAPER, "whole chip"),
    "cadc_bits": Constant(8, "bit", Source.PAPER, "column ADC, all columns in parallel"),
    "cadc_step": Constant(CADC_MV_PER_LSB, "mV", Source.AUTHORS_CODE, "1.2 V over 256 codes"),
    "cadc_low": Constant(30, "LSB", Source.AUTHORS_CODE, "below this a sample is unreliable"),
    "cadc_high": Constant(210, "LSB", Source.AUTHORS_CODE, "above this a sample is unreliable"),
    "madc_bits": Constant(
        10, "bit", Source.ASSUMED, "fast ADC, one neuron at a time; descriptions of the chip say 10 bit"
    ),
    "madc_oversampling": Constant(
        48, "", Source.ASSUMED, "its samples per CADC period: 28 MS/s; descriptions of the chip say about 30"
    ),
    "madc_noise": Constant(1.2, "mV", Source.ASSUMED, "its read-out noise: one step; not published"),
    "full_scale": Constant(1200.0, "mV", Source.AUTHORS_CODE, "input range of both ADCs"),
    "timestamp": Constant(0.008, "µs", Source.AUTHORS_CODE, "resolution of spike time stamps (125 MHz)"),
    "reset_after": Constant(10.0, "µs", Source.PAPER, "fast inference: artificial reset after the first spike"),
    "separation": Constant(11.8, "µs", Source.PAPER, "fast inference: time from image to image"),
}

NEURONS = int(SPEC["neurons"].value)
INPUTS = int(SPEC["inputs"].value)
TIMESTAMP_US = SPEC["timestamp"].value

TARGETS = {
    "tau_mem": Constant(6.0, "µs", Source.AUTHORS_CODE, "membrane time constant"),
    "tau_syn_exc": Constant(6.0, "µs", Source.AUTHORS_CODE, "excitatory synaptic time constant"),
    "tau_syn_inh": Constant(6.0, "µs", Source.AUTHORS_CODE, "inhibitory synaptic time constant"),
    "leak": Constant(80.0, "LSB", Source.AUTHORS_CODE, "leak potential, as the column ADC reads it"),
    "reset": Constant(80.0, "LSB", Source.AUTHORS_CODE, "reset potential"),
    "threshold": Constant(150.0, "LSB", Source.AUTHORS_CODE, "firing threshold"),
}
"""What a chip is calibrated to unless another target is asked for."""
