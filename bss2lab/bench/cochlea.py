"""The cochlea: seconds of computing per second of sound, and the authors' own implementation beside it.

Equal: the sound, the stages, 700 channels, one core. Not equal: ours computes in single precision and draws random
numbers for spikes alone. The authors' takes minutes per second of sound; it is timed on a few channels, evenly
spread, and on a short sound, without its pool of processes, and scaled up.
"""

# lauscher is optional, and not typed.
# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass

import numpy as np

from bss2lab.datasets.cochlea import CochleaConfig, heard, spikes_of
from bss2lab.datasets.sound import Sound
from bss2lab.errors import InputError, complain

GOAL_S = 0.15
"""Goal: seconds per second of sound, 700 channels, one core."""


@dataclass(frozen=True, slots=True)
class CochleaSpeed:
    """What was measured.

    Attributes:
        first_s: the first call: loading or compiling the kernels, the membrane's response.
        low_s, median_s, high_s: quartiles of seconds per second of sound, one thread.
        processor_s: median of the thread's own time on a processor (on a busy machine less than ``median_s``).
        oracle_s: seconds per second of sound of the authors' implementation; None if it is not installed.
        ratio: how many times faster than that; None if it is not installed.
    """

    first_s: float
    low_s: float
    median_s: float
    high_s: float
    processor_s: float
    oracle_s: float | None
    ratio: float | None


def seconds_per_second(*, rounds: int, oracle: bool = True, oracle_channels: int = 3) -> CochleaSpeed:
    """Turn one second of a synthetic vowel into spikes, again and again.

    Args:
        rounds: how often.
        oracle: also time the authors' implementation, if it is installed.
        oracle_channels: number of channels to time it on.

    Raises:
        InputError: if the numbers of rounds or channels are below 1.
    """
    for name, value in (("rounds", rounds), ("oracle_channels", oracle_channels)):
        if value < 1:
            raise InputError(complain(name, expected="at least 1", got=value, fix="pass 5 for quartiles"))
    config, sound = CochleaConfig(), vowel(1.0)
    begin = time.perf_counter()
    spikes_of(sound, config, seed=0)
    first_s = time.perf_counter() - begin
    spent = np.array([_timed(sound, config, seed) for seed in range(rounds)])
    low, median, high = (float(s) for s in np.percentile(spent[:, 0], (25, 50, 75)))
    theirs = None
    if oracle and importlib.util.find_spec("lauscher") is not None:
        theirs = oracle_seconds(config, n_channels=oracle_channels)
    processor_s = float(np.median(spent[:, 1]))
    ratio = None if theirs is None else theirs / processor_s
    return CochleaSpeed(first_s, low, median, high, processor_s, theirs, ratio)


def vowel(seconds: float, sample_rate_hz: int = 48_000) -> Sound:
    """Return a sound with the spectrum of a vowel: harmonics of 120 Hz that fall off beyond 700 Hz."""
    t = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    harmonics = 120.0 * np.arange(1, 60)
    waves = np.sin(2 * np.pi * harmonics[:, None] * t) / (1 + (harmonics[:, None] / 700) ** 2)
    return Sound(0.05 * waves.sum(axis=0), sample_rate_hz, "vowel")


def oracle_seconds(config: CochleaConfig, *, n_channels: int, seconds: float = 0.2) -> float:
    """Return processor seconds per second of sound of ``lauscher`` on one core, for all channels of ``config``.

    Args:
        config: number of channels and sampling rate.
        n_channels: channels that are computed; the rest is extrapolated.
        seconds: length of the sound that is computed; the time grows in proportion (but for the transform's).
    """
    from lauscher.transformations import BasilarMembrane, BushyCell, HairCell

    samples = heard(vowel(seconds, config.sample_rate_hz), config)
    membrane, hair_cell, bushy_cell = BasilarMembrane(channels=config.n_channels), HairCell(), BushyCell()
    n = len(samples) // 2 + 1
    omega = 2 * np.pi * np.linspace(1, config.rate_hz, n)
    spectrum = np.fft.fft(samples)[:n]
    places = membrane.ch[np.linspace(0, config.n_channels - 1, n_channels).astype(int)]
    bushy_cell._sample(np.zeros(4), config.rate_hz)  # compiles
    begin = time.process_time()
    for place in places:
        velocity = membrane.process_single_channel(place, omega, spectrum)
        probability = hair_cell._meddis(velocity, config.rate_hz)
        bushy_cell._lif(bushy_cell._sample(probability, config.rate_hz), config.rate_hz)
    return (time.process_time() - begin) / n_channels * config.n_channels / seconds


def _timed(sound: Sound, config: CochleaConfig, seed: int) -> tuple[float, float]:
    wall, own = time.perf_counter(), time.thread_time()
    spikes_of(sound, config, seed=seed)
    return (time.perf_counter() - wall) / sound.duration_s, (time.thread_time() - own) / sound.duration_s
