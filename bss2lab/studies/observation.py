"""What a trained network does with single inputs: spikes and read-out traces, on the chip or in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bss2lab import quantize
from bss2lab.chip import Chip
from bss2lab.kernels import integrate
from bss2lab.learners import Samples
from bss2lab.network import chip_weights, traces_of
from bss2lab.settings import AnyConfig
from bss2lab.types import AnyWeights, Spikes

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Answers of a network to a few inputs.

    Attributes:
        input_spikes: input events.
        hidden_spikes: hidden events; from the chip with 8 ns time stamps, from the model on its time grid.
        time_us: time of the read-out samples after the start of the input, µs, [time].
        readout: output membranes in model units, [input, time, output].
        decisions: class decided for each input, [input].
        limits: range of the ADC in model units, or None for the software model.
        emulated: do the spikes and traces come from the emulated chip?
    """

    input_spikes: Spikes
    hidden_spikes: Spikes
    time_us: Float32[ndarray, "t"]
    readout: Float32[ndarray, "b t o"]
    decisions: Int64[ndarray, "b"]
    limits: tuple[float, float] | None
    emulated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How a network came to one decision.

    Attributes:
        votes: what speaks for each class by then, the highest sample or the sum of the samples, [time, class].
        shares: softmax of the last votes, as the loss takes it, [class].
        decision: the class with the most votes at the end.
        decided_us: chip time from which on it had the most votes, µs.
    """

    votes: Float32[ndarray, "t c"]
    shares: Float64[ndarray, "c"]
    decision: int
    decided_us: float


def verdict(config: AnyConfig, seen: Observation, b: int, *, n_classes: int) -> Verdict:
    """Return how the decision on one input was made.

    Args:
        config: the run that the weights come from.
        seen: the network's answers.
        b: number of the input.
        n_classes: outputs that stand for a class, the first ones.
    """
    gathered = np.maximum.accumulate if config.vote == "peak" else np.cumsum
    votes = gathered(seen.readout[b], axis=0)[:, :n_classes]
    shares = _softmax(config.loss_scale * votes[-1].astype(np.float64))
    best = int(np.argsort(-shares, kind="stable")[0])
    behind = np.flatnonzero(votes.argmax(axis=1) != best)
    first = int(behind[-1]) + 1 if len(behind) else 0
    return Verdict(votes, shares, best, float(seen.time_us[min(first, len(seen.time_us) - 1)]))


def observe(
    config: AnyConfig, weights: AnyWeights, samples: Samples, *, chip: Chip | None = None, noise_seed: int = 0
) -> Observation:
    """Run a few inputs and keep everything.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        samples: the encoded inputs.
        chip: where to run them; None: in the software model.
        noise_seed: seed of the trial-to-trial noise.
    """
    if chip is None:
        w: dict[str, Any] = {
            f"w_{name}": torch.from_numpy(np.ascontiguousarray(x)) for name, x in weights._asdict().items()
        }
        traces = integrate(spikes=samples.spikes, dt_us=config.dt_us, model=config.model, **w)
        hidden = _events(traces.s_hidden.numpy(), config)
        limits, lag = None, 0.0
    else:
        held, scale = chip_weights(weights, chip)
        recording = chip.run(held, samples.spikes, seed=noise_seed)
        traces = traces_of(recording, scale)
        hidden, lag = recording.hidden_spikes, chip.profile.readout_lag_us
        unit = quantize.model_units_per_lsb(scale)
        limits = (-chip.profile.leak_lsb * unit, (quantize.CADC_MAX - chip.profile.leak_lsb) * unit)
    readout = traces.v_output.numpy()
    votes = readout.max(axis=1) if config.vote == "peak" else readout.sum(axis=1)
    time_us = (config.dt_us * np.arange(1, config.n_steps + 1) + lag).astype(np.float32)
    return Observation(samples.spikes, hidden, time_us, readout, votes.argmax(axis=1), limits, chip is not None)


def _softmax(votes: Float64[ndarray, "c"]) -> Float64[ndarray, "c"]:
    raised = np.exp(votes - votes.max())
    return raised / raised.sum()


def _events(fired: Float32[ndarray, "b t n"], config: AnyConfig) -> Spikes:
    """Turn spikes on the model's grid into events at the ends of their steps."""
    pairs = []
    for sample in fired:
        step, unit = np.nonzero(sample)
        pairs.append(((step + 1) * config.dt_us, unit))
    duration = config.duration_us + config.dt_us
    return Spikes.from_events(pairs, n_units=fired.shape[2], duration_us=duration)
