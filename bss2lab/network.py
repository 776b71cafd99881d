"""The network on both sides of the loop: model weights, what is written to the chip, what is injected back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from bss2lab import dynamics, quantize
from bss2lab.chip import Emulator
from bss2lab.dynamics import THRESHOLD
from bss2lab.errors import InputError, WeightsWarning, complain
from bss2lab.kernels import Traces
from bss2lab.types import AnyWeights, Recording, RecurrentWeights, Substrate, Weights

if TYPE_CHECKING:
    from jaxtyping import Float32
    from numpy import ndarray

W = TypeVar("W", bound=AnyWeights)

HIDDEN_MEAN = 1e-3
"""Mean of the initial hidden weights [authors' code]."""

_TOO_MANY = 0.95
"""Fraction of a layer's weights that says: the chip does not get the network that was meant."""

INITIAL_SPREAD = 0.7
"""Initial standard deviation, times (1 − μ)/√fan-in [authors' code]."""


def initial_weights(
    n_input: int, n_hidden: int, n_output: int, *, tau_mem_us: float, dt_us: float, seed: int
) -> Weights:
    """Draw initial weights: N(1e-3 hidden / 0 output, 0.7 · (1 − exp(−Δt/τ_m)) / √fan-in).

    Returns:
        Float32 arrays [input, hidden] and [hidden, output], hidden clamped to the chip's range.
    """
    generator = np.random.default_rng([seed, 0])
    spread = INITIAL_SPREAD * (1 - dynamics.decay(dt_us, tau_mem_us))
    hidden = generator.normal(HIDDEN_MEAN, spread / np.sqrt(n_input), (n_input, n_hidden))
    output = generator.normal(0.0, spread / np.sqrt(n_hidden), (n_hidden, n_output))
    clamped = np.clip(hidden, -quantize.WEIGHT_CLAMP, quantize.WEIGHT_CLAMP)
    return Weights(clamped.astype(np.float32), output.astype(np.float32))


def initial_recurrent_weights(
    n_input: int, n_hidden: int, n_output: int, *, tau_mem_us: float, dt_us: float, seed: int
) -> RecurrentWeights:
    """Draw initial weights of a recurrent network: as ``initial_weights``; recurrent ones around 0 [assumed].

    Returns:
        Float32 arrays [input, hidden], [hidden, output] and [hidden, hidden], the latter two of one width.
    """
    start = initial_weights(n_input, n_hidden, n_output, tau_mem_us=tau_mem_us, dt_us=dt_us, seed=seed)
    spread = INITIAL_SPREAD * (1 - dynamics.decay(dt_us, tau_mem_us))
    looped = np.random.default_rng([seed, 1]).normal(0.0, spread / np.sqrt(n_hidden), (n_hidden, n_hidden))
    clamped = np.clip(looped, -quantize.WEIGHT_CLAMP, quantize.WEIGHT_CLAMP)
    return RecurrentWeights(*start, clamped.astype(np.float32))


def chip_weights(weights: W, substrate: Substrate | None = None) -> tuple[W, float]:
    """Bring model weights to what the chip holds: integers, unless it is an emulated chip that does not round.

    Args:
        weights: model weights.
        substrate: where they are to be written; None: on any chip that rounds them.

    Returns:
        Weights as the chip holds them (int8, or float32 if ``ChipProfile.rounds_weights`` is off), and the scale
        that the output layer was written with.

    Raises:
        InputError: if a weight is NaN or infinite.

    Warns:
        WeightsWarning: if almost all weights of a layer become 0, or ±63.
    """
    for layer, w in weights._asdict().items():
        if not np.isfinite(w).all():
            bad = int((~np.isfinite(w)).sum())
            fix = "training diverged: lower the learning rate"
            raise InputError(complain(f"{layer} weights", expected="finite numbers", got=f"{bad} not", fix=fix))
    scale = quantize.output_scale(float(np.abs(weights.output).max(initial=0.0)))
    rounds = not isinstance(substrate, Emulator) or substrate.profile.rounds_weights
    to_codes = quantize.quantize_weights if rounds else quantize.clip_weights
    scales = {"output": scale}
    layers = {}
    for name, w in weights._asdict().items():
        layers[name] = to_codes(w, scales.get(name, quantize.HIDDEN_SCALE))
        _warn_of_loss(name, w, layers[name], scales.get(name, quantize.HIDDEN_SCALE))
    return weights._replace(**layers), scale


def _warn_of_loss(layer: str, wanted: ndarray, written: ndarray, scale: float) -> None:
    """Say so if almost nothing is left of a layer on the chip; what was 0 before does not count."""
    some = written.ravel()[:: max(1, written.size // 1000)]  # (this is asked before every batch)
    if np.count_nonzero((some != 0) & (np.abs(some) < quantize.WEIGHT_MAX)) > 2 * (1 - _TOO_MANY) * some.size:
        return
    meant = wanted != 0
    lost = {
        "written as 0, each below half a step": ((written == 0) & meant, "scale them up"),
        f"clipped to ±{quantize.WEIGHT_MAX}": (np.abs(wanted) * scale > quantize.WEIGHT_MAX + 0.5, "scale them down"),
    }
    for what, (which, fix) in lost.items():
        share = np.count_nonzero(which) / max(1, np.count_nonzero(meant))
        if share > _TOO_MANY:
            want = f"weights of 1 … {quantize.WEIGHT_MAX} steps of the chip, {1 / scale:.2g} of a threshold each"
            text = complain(f"{layer} weights", expected=want, got=f"{100 * share:.0f} % {what}", fix=fix)
            warnings.warn(text, WeightsWarning, stacklevel=3)


def traces_of(recording: Recording, output_scale: float, *, overshoot: float = 0.0) -> Traces:
    """Bring a recording into model units, ready to be injected.

    Each trace is normalised against the neuron's own first sample. In a bin with a spike the sample was taken
    after the reset; there the threshold is put in its place, or what lies a little over it.

    Args:
        recording: what the substrate gave back.
        output_scale: scale that the output weights were written with.
        overshoot: by how much the membrane in a bin with a spike lies over the threshold.
    """

    def trace(samples: ndarray, baseline: ndarray, unit: float) -> Float32[ndarray, "b t n"]:
        start = baseline[:, None].astype(np.float32)
        return quantize.normalise(samples.astype(np.float32), start, np.float32(unit))

    r = recording
    hidden = trace(r.hidden_lsb, r.hidden_baseline_lsb, quantize.model_units_per_lsb(quantize.HIDDEN_SCALE))
    output = trace(r.output_lsb, r.output_baseline_lsb, quantize.model_units_per_lsb(output_scale))
    fired = r.hidden_fired.astype(np.float32)
    hidden = np.where(fired > 0, np.float32(THRESHOLD + overshoot), hidden)
    return Traces(*(torch.from_numpy(np.ascontiguousarray(x)) for x in (hidden, fired, output)))
