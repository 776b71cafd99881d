"""The instruments of the lab: all that an experimenter gets to see of a chip.

Spikes go in through synapses; out come spikes, the column ADC's samples of all neurons at once (8 bit, every
1.7 µs), and the fast ADC's samples of one neuron at a time. Measurement and calibration use these functions and
``Chip.with_codes``, and nothing else of the emulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss2lab.chip.emulator import Emulator
from bss2lab.chip.mismatch import standard_normal
from bss2lab.chip.spec import NEURONS, SPEC
from bss2lab.errors import InputError, complain
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int, Real, UInt8
    from numpy import ndarray

MADC_STEP_MV = SPEC["full_scale"].value / 2 ** int(SPEC["madc_bits"].value)
_SILENCE = np.zeros((1, NEURONS), np.int8)
_LONGEST_US = 10_000.0
_MOST_REPEATS = 2**20
_MOST_SAMPLES = 2**27
_FASTEST = 256


@dataclass(frozen=True, slots=True, eq=False)
class Stimulus:
    """Spikes, and the weights through which they reach all 256 neurons.

    Attributes:
        spikes: one sample per repetition.
        weights: integers −63 … 63, [row, 256].
    """

    spikes: Spikes
    weights: Int[ndarray, "i n"]


@dataclass(frozen=True, slots=True, eq=False)
class CadcRecording:
    """What the column ADC saw of all neurons in parallel, and their spikes.

    Attributes:
        time_us: time of each sample after the start of the run, µs, [time].
        samples_lsb: uint8, or float32 if the ADC does not round, [repetition, time, neuron].
        fired: 1 where a neuron fired since the sample before, [repetition, time, neuron].
    """

    time_us: Float64[ndarray, "t"]
    samples_lsb: Real[ndarray, "b t n"]
    fired: UInt8[ndarray, "b t n"]


@dataclass(frozen=True, slots=True, eq=False)
class MadcRecording:
    """What the fast ADC saw of one neuron after the other.

    Attributes:
        time_us: time of each sample, µs, [time].
        samples_mv: quantised to 10 bit of 1.2 V, [neuron, time].
    """

    time_us: Float64[ndarray, "t"]
    samples_mv: Float64[ndarray, "k t"]


def record_cadc(
    chip: Emulator,
    *,
    duration_us: float,
    seed: int,
    repeats: int = 1,
    stimulus: Stimulus | None = None,
    spiking: bool | Bool[ndarray, "n"] = False,
    start: Literal["rest", "reset", "held"] = "rest",
) -> CadcRecording:
    """Sample all membranes in parallel.

    Args:
        chip: the chip, at its present codes.
        duration_us: length of a run, µs.
        seed: seed of the trial-to-trial noise.
        repeats: runs without stimulus; with one, there is a run per sample of it.
        stimulus: input; None: silence.
        spiking: may neurons fire? One answer, or one per neuron. (Off: their thresholds are switched off.)
        start: from rest, from an artificial reset, or held at reset all the time.

    Raises:
        InputError: if the stimulus does not fit the chip, there is no such start, or the recording would be
            empty or beyond any memory.
    """
    if start not in ("rest", "reset", "held"):
        want = "'rest', 'reset' or 'held'"
        raise InputError(complain("start", expected=want, got=repr(start), fix="choose one of them"))
    if stimulus is None:
        _check_count("repeats", repeats, most=_MOST_REPEATS)
    runs = repeats if stimulus is None else len(stimulus.spikes)
    periods = _periods(chip, duration_us, samples_per_period=runs * NEURONS)
    off = _off(spiking)
    program, spikes = _program(chip, stimulus, repeats, duration_us)
    raw, _ = chip._emulate(
        program, spikes, np.arange(len(spikes)), seed=seed, silenced=off, n_periods=periods,
        from_reset=start != "rest", reset_step=0 if start == "held" else None,
    )  # fmt: skip
    period = chip.profile.cadc_period_us
    return CadcRecording(chip._start_us + period * np.arange(periods + 1), raw.cadc, raw.fired)


def record_madc(
    chip: Emulator,
    *,
    duration_us: float,
    seed: int,
    neurons: Int[ndarray, "k"] | None = None,
    spiking: bool | Bool[ndarray, "n"] = False,
    stimulus: Stimulus | None = None,
    oversampling: int = int(SPEC["madc_oversampling"].value),
) -> MadcRecording:
    """Record single membranes fast, one neuron per run.

    Args:
        chip: the chip, at its present codes.
        duration_us: length of a run, µs.
        seed: seed of the trial-to-trial noise.
        neurons: which neurons; None: all.
        spiking: may neurons fire?
        stimulus: one sample, given in every run; None: silence.
        oversampling: samples per CADC period.

    Raises:
        InputError: if a neuron is not on the chip, the stimulus has more than one sample, or the recording would
            be empty or beyond any memory.
    """
    index = np.arange(NEURONS) if neurons is None else np.asarray(neurons)
    if (
        index.ndim != 1
        or index.dtype.kind not in "iu"
        or (len(index) and not 0 <= index.min() <= index.max() < NEURONS)
    ):
        want = f"neuron numbers 0 … {NEURONS - 1}, shape [k]"
        raise InputError(complain("neurons", expected=want, got=neurons, fix="pass a list of integers"))
    _check_count("oversampling", oversampling, most=_FASTEST)
    periods = _periods(chip, duration_us, samples_per_period=len(index) * oversampling)
    off = _off(spiking)
    program, spikes = _program(chip, stimulus, 1, duration_us)
    if len(spikes) != 1:
        raise InputError(complain("stimulus", expected="one sample", got=len(spikes), fix="select one"))
    spikes = spikes.select(np.zeros(len(index), np.int64))
    membrane = np.empty((len(index), periods * oversampling + 1), np.float32)
    chip._emulate(
        program, spikes, np.arange(len(index)), seed=seed, silenced=off, n_periods=periods,
        substeps=oversampling, outputs_only=True, probe=(index.astype(np.int16), membrane),
    )  # fmt: skip
    noise = SPEC["madc_noise"].value * standard_normal(seed, "madc", *membrane.shape)
    top = SPEC["full_scale"].value - MADC_STEP_MV
    samples = np.clip(np.rint((membrane + noise) / MADC_STEP_MV) * MADC_STEP_MV, 0.0, top)
    step_us = chip.profile.cadc_period_us / oversampling
    return MadcRecording(chip._start_us + step_us * np.arange(membrane.shape[1]), samples)


def self_active(chip: Emulator, *, seed: int = 0, duration_us: float = 100.0) -> Int[ndarray, "k"]:
    """Return the neurons that fire without input: those whose leak lies over their threshold.

    Args:
        chip: the chip, at its present codes.
        seed: seed of the trial-to-trial noise.
        duration_us: how long to watch; a neuron counts if it fires in more than half of eight runs.
    """
    fired = record_cadc(chip, duration_us=duration_us, seed=seed, repeats=8, spiking=True).fired
    return np.flatnonzero(fired.any(axis=1).mean(axis=0) > 0.5)


def _program(chip: Emulator, stimulus: Stimulus | None, repeats: int, duration_us: float) -> tuple:
    """Write a stimulus' weights to all 256 neurons; silence where there is none."""
    if stimulus is None:
        nothing = np.empty(0)
        silence = Spikes.from_events([(nothing, nothing.astype(int))] * repeats, n_units=1, duration_us=duration_us)
        stimulus = Stimulus(silence, _SILENCE)
    weights = Weights(stimulus.weights, np.zeros((NEURONS, 0), np.int8))
    return chip.write(weights), stimulus.spikes


def _off(spiking: bool | Bool[ndarray, "n"]) -> Bool[ndarray, "n"]:
    flags = np.asarray(spiking)
    if flags.dtype != np.bool_ or flags.shape not in ((), (NEURONS,)):
        want = f"True, False, or bool [{NEURONS}]"
        got = f"{flags.dtype} of shape {list(flags.shape)}"
        raise InputError(complain("spiking", expected=want, got=got, fix="one flag per neuron"))
    return ~np.broadcast_to(flags, (NEURONS,))


def _check_count(what: str, count: int, *, most: int) -> None:
    if not isinstance(count, int | np.integer) or not 1 <= count <= most:
        want = f"an integer 1 … {most:,}"
        raise InputError(complain(what, expected=want, got=repr(count), fix="count from 1"))


def _periods(chip: Emulator, duration_us: float, *, samples_per_period: int) -> int:
    """Return the CADC periods of a recording; refuse what has no end, or no room."""
    if not isinstance(duration_us, int | float | np.number) or not 0 < duration_us <= _LONGEST_US:
        want = f"a number above 0 µs, at most {_LONGEST_US:,.0f} µs"
        text = complain("duration_us", expected=want, got=repr(duration_us), fix="the chip's times are microseconds")
        raise InputError(text)
    periods = chip.samples_in(duration_us)
    samples = (periods + 1) * samples_per_period
    if samples > _MOST_SAMPLES:
        want, fix = f"at most {_MOST_SAMPLES:,} samples", "record a shorter time, or less often"
        raise InputError(complain("recording", expected=want, got=f"{samples:,}", fix=fix))
    return periods
