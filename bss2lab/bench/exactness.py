"""The emulator without mismatch and noise, at its default fine step, against exact solutions.

The exact solutions are written out here and share no code with the kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from bss2lab.chip import PROFILES, Chip
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

_TAU_US = 6.0
_TRIALS = 200


@dataclass(frozen=True, slots=True)
class Exactness:
    """Relative errors of the emulation: median and largest over the trials.

    Attributes:
        psp_height, psp_area: of single PSPs that begin anywhere within a fine step.
        crossing: time from the arrival of a strong input to the threshold crossing.
        interval: interval between spikes of a neuron whose leak lies over its threshold.
    """

    psp_height: tuple[float, float]
    psp_area: tuple[float, float]
    crossing: tuple[float, float]
    interval: tuple[float, float]

    @property
    def worst_median(self) -> float:
        """Largest of the medians."""
        return max(self.psp_height[0], self.psp_area[0], self.crossing[0], self.interval[0])


def exactness(*, trials: int = _TRIALS, seed: int = 0) -> Exactness:
    """Compare the ideal chip with closed forms at random phases of the fine step.

    Args:
        trials: PSPs, crossings and neurons.
        seed: seed of the random times.
    """
    rng = np.random.default_rng(seed)
    height, area = _psp_errors(rng.uniform(2.0, 12.0, trials))
    crossing = _crossing_errors(rng.uniform(2.0, 12.0, trials), rng.integers(6, 16, trials))
    return Exactness(*(_summary(e) for e in (height, area, crossing, _interval_errors())))


def _summary(errors: Float64[ndarray, "k"]) -> tuple[float, float]:
    return float(np.median(errors)), float(errors.max())


def _inputs(times: Float64[ndarray, "k"], volleys: ndarray, duration_us: float) -> Spikes:
    samples = [(np.full(n, t), np.arange(n)) for t, n in zip(times, volleys, strict=True)]
    return Spikes.from_events(samples, n_units=int(max(volleys)), duration_us=duration_us)


def _psp_errors(times: Float64[ndarray, "k"]) -> tuple[ndarray, ndarray]:
    chip = Chip(0, PROFILES["ideal"].replace(threshold_lsb=255.0))
    amplitude = 40 * chip.profile.synapse_mv_per_us
    weights = Weights(np.array([[40]], np.int8), np.zeros((1, 1), np.int8))
    time_us, v = chip.membranes(weights, _inputs(times, np.ones(len(times), int), 110.0), seed=0)
    trace = v[:, :, 0].astype(np.float64) - chip.mismatch.leak_mv[0]
    k = trace.argmax(axis=1)
    row = np.arange(len(times))
    before, top, after = trace[row, k - 1], trace[row, k], trace[row, k + 1]
    peak = top + (before - after) ** 2 / (8 * (2 * top - before - after))  # parabola through the three highest
    area = np.trapezoid(trace, time_us.astype(np.float64), axis=1)
    return np.abs(peak / (amplitude * _TAU_US / np.e) - 1), np.abs(area / (amplitude * _TAU_US**2) - 1)


def _crossing_errors(times: Float64[ndarray, "k"], volleys: ndarray) -> Float64[ndarray, "k"]:
    chip = Chip(0, "ideal")
    weights = Weights(np.full((int(volleys.max()), 1), 63, np.int8), np.zeros((1, 1), np.int8))
    spikes = _inputs(times, volleys, 40.0)
    program = chip.write(weights)
    events = np.empty((len(times), 512), np.float32), np.empty((len(times), 512), np.int16)
    _, counts = chip._emulate(program, spikes, np.arange(len(times)), seed=0, events=events)
    errors = []
    distance = chip.mismatch.threshold_mv[0] - chip.mismatch.leak_mv[0]
    for b, (at, n) in enumerate(zip(times, volleys, strict=True)):
        rate = float(n) * 63 * chip.profile.synapse_mv_per_us
        exact = brentq(lambda t, a=rate: a * t * np.exp(-t / _TAU_US) - distance, 0.0, _TAU_US)
        first = events[0][b, : counts[b]].min()
        errors.append(abs(first - float(np.float32(at)) - chip.profile.delay_us - exact) / exact)
    return np.array(errors)


def _interval_errors() -> Float64[ndarray, "k"]:
    """One neuron's leak over its threshold by 10 … 105 LSB."""
    errors = []
    for leak in np.linspace(160.0, 255.0, 20):
        chip = Chip(0, PROFILES["ideal"].replace(leak_lsb=float(leak), threshold_lsb=150.0))
        program = chip.write(Weights(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8)))
        silence = Spikes.from_events([(np.empty(0), np.empty(0, int))], n_units=1, duration_us=340.0)
        events = np.empty((1, 4096), np.float32), np.empty((1, 4096), np.int16)
        _, counts = chip._emulate(program, silence, np.arange(1), seed=0, events=events)
        spikes = np.sort(events[0][0, : counts[0]].astype(np.float64))
        reset, threshold = 80.0, 150.0
        exact = chip.profile.refractory_us + _TAU_US * np.log((leak - reset) / (leak - threshold))
        errors.append(abs(np.diff(spikes[1:]).mean() / exact - 1))
    return np.array(errors)
