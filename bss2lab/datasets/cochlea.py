"""From sound to spikes in 700 channels, by the chain that made the Spiking Heidelberg Digits.

Cramer, Stradmann, Schemmel & Zenke, "The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking
Neural Networks", IEEE TNNLS 2020, doi 10.1109/TNNLS.2020.3044364: loudness and ramps (``sound``), a hydrodynamic
basilar membrane (``basilar_membrane``), hair cells with transmitter pools, and bushy cells that gather 40 fibres
each (``hair_cell``). Every stage is held to the authors' own implementation by tests.

Channel 0 is at the base of the cochlea and answers to the highest frequencies, channel 699 at the apex to the
lowest, 100 Hz.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from bss2lab.config import Config, Source, quantity
from bss2lab.datasets import basilar_membrane, sound
from bss2lab.datasets.basilar_membrane import BasilarMembrane
from bss2lab.datasets.hair_cell import LANES, BushyCell, HairCell, bushy_spikes, firing_probability
from bss2lab.datasets.sound import Sound
from bss2lab.errors import InputError, complain
from bss2lab.machine import usable_cores
from bss2lab.types import MAX_UNITS, Spikes

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray


class CochleaConfig(Config):
    """Parameters of the chain from sound to spikes."""

    n_channels: int = quantity(700, "places along the cochlea", source=Source.PAPER, ge=2, le=MAX_UNITS)
    sample_rate_hz: int = quantity(
        48_000,
        "sampling rate to which every sound is brought; the cochlea computes at half of it",
        unit="Hz",
        source=Source.ASSUMED,
        why="that of the Heidelberg Digits; the authors' code takes each file's own, and its rates depend on it",
        ge=32_000,
        le=192_000,
        multiple_of=2,
    )
    level_rms: float = quantity(
        0.3, "root-mean-square amplitude of the sound", source=Source.AUTHORS_CODE, gt=0, le=1000
    )
    ramp_ms: float | None = quantity(
        30.0,
        "length of the Hann ramps at both ends; none: half of the sound each, as in the authors' code",
        unit="ms",
        source=Source.ASSUMED,
        why="published samples reach full rate 30 … 60 ms after their start; ramps of half a word would not let them",
        ge=0,
    )
    membrane: BasilarMembrane = Field(default_factory=BasilarMembrane, description="basilar membrane")
    hair_cell: HairCell = Field(default_factory=HairCell, description="hair cells")
    bushy_cell: BushyCell = Field(default_factory=BushyCell, description="fibres and bushy cells")

    @property
    def rate_hz(self) -> int:
        """Sampling rate of membrane velocity and spikes in Hz."""
        return self.sample_rate_hz // 2

    def best_frequency_hz(self) -> Float64[ndarray, "c"]:
        """Return the frequency to which each channel responds most, in Hz, below 12 kHz not folded (at 48 kHz)."""
        return _best_frequencies(self.membrane, self.n_channels, self.sample_rate_hz)


def spikes_of(recording: Sound, config: CochleaConfig | None = None, *, seed: int, sample: int = 0) -> Spikes:
    """Turn one sound into spikes.

    The sound is normalised and given its ramps, then extended with silence to the next convenient length of the
    Fourier transform, so that its end does not ring into its beginning; spikes are recorded for its own length.

    Args:
        recording: the sound.
        config: parameters; None: the defaults, which come closest to the Spiking Heidelberg Digits.
        seed: seed of the transmitter's randomness.
        sample: number of the sound within a batch: another one, other random numbers.

    Returns:
        One sample of ``n_channels`` units; times in µs are multiples of two sampling intervals, sorted by time,
        then unit.

    Raises:
        InputError: if the seed is no integer from 0 to 2⁶⁴ − 1.
    """
    config = config or CochleaConfig()
    recording = recording.at(config.sample_rate_hz)
    times, units = _events(recording, config, _seed(seed, sample))
    return Spikes.from_events([(times, units)], n_units=config.n_channels, duration_us=_duration_us(recording, config))


def spikes_of_all(
    recordings: Sequence[Sound],
    config: CochleaConfig | None = None,
    *,
    seed: int,
    numbers: Sequence[int] | None = None,
    threads: int = 0,
    on_sound: Callable[[int, int], None] = lambda done, total: None,
) -> Spikes:
    """Turn many sounds into one batch of spikes, on all cores.

    Sample ``i`` holds the spikes of ``spikes_of(recordings[i], config, seed=seed, sample=numbers[i])``, whatever the
    number of threads; the batch is as long as its longest sound.

    Args:
        recordings: the sounds.
        config: parameters; None: the defaults, which come closest to the Spiking Heidelberg Digits.
        seed: seed of the transmitter's randomness.
        numbers: number of each sound: another one, other random numbers; None: its place in the batch.
        threads: sounds that are computed at once; 0: one per core.
        on_sound: called after each sound with (sounds done, sounds in all), always from the calling thread.

    Raises:
        InputError: if there is no sound, there is not one number for each, or the seed or the number of threads is
            out of range.
    """
    config = config or CochleaConfig()
    if not len(recordings):
        raise InputError(complain("recordings", expected="at least one sound", got="none", fix="check the folder"))
    if threads < 0:
        raise InputError(complain("threads", expected="0 (one per core) or more", got=threads, fix="pass 0"))
    recordings = [r.at(config.sample_rate_hz) for r in recordings]
    seeds = [_seed(seed, i) for i in (range(len(recordings)) if numbers is None else numbers)]
    if len(seeds) != len(recordings):
        want = f"{len(recordings)}, one per sound"
        raise InputError(complain("numbers", expected=want, got=len(seeds), fix="leave them out"))
    # Sounds of one padded length follow each other: the response to its frequencies is computed once.
    lengths = np.array([_padded(len(r.samples)) for r in recordings])
    found: dict[int, tuple[ndarray, ndarray]] = {}
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        for length in np.unique(lengths):
            _transfer(config, int(length))
            jobs = {pool.submit(_events, recordings[i], config, seeds[i]): i for i in np.flatnonzero(lengths == length)}
            try:
                for job in as_completed(jobs):
                    found[int(jobs[job])] = job.result()
                    on_sound(len(found), len(recordings))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    duration_us = max(_duration_us(r, config) for r in recordings)
    samples = [found[i] for i in range(len(recordings))]
    return Spikes.from_events(samples, n_units=config.n_channels, duration_us=duration_us)


def heard(recording: Sound, config: CochleaConfig) -> Float64[ndarray, "n"]:
    """Return the samples that reach the cochlea: resampled, at the common level, with ramps."""
    return sound.prepare(
        recording, sample_rate_hz=config.sample_rate_hz, level_rms=config.level_rms, ramp_ms=config.ramp_ms
    )


def _events(recording: Sound, config: CochleaConfig, seed: int) -> tuple[ndarray, ndarray]:
    """Return times in µs and units of the spikes of one sound."""
    samples = heard(recording, config)
    n_steps = len(samples) // 2 + 1
    padded = np.zeros(_padded(len(samples)))
    padded[: len(samples)] = samples
    spectrum, transfer = basilar_membrane.spectrum(padded), _transfer(config, len(padded))
    events = []
    for first in range(0, config.n_channels, LANES):
        last = min(first + LANES, config.n_channels)
        velocity = basilar_membrane.velocities(spectrum, transfer, first, last)[:, :n_steps]
        probability = firing_probability(velocity, config.hair_cell, config.rate_hz)
        events.append(
            bushy_spikes(
                probability, config.bushy_cell, config.rate_hz, n_channels=last - first, seed=seed, first=first
            )
        )
    steps = np.concatenate([step for step, _ in events])
    units = np.concatenate([unit for _, unit in events])
    order = np.lexsort((units, steps))
    return steps[order] * (1e6 / config.rate_hz), units[order]


def _transfer(config: CochleaConfig, n_samples: int) -> basilar_membrane.Transfer:
    return basilar_membrane.transfer(config.membrane, config.n_channels, config.sample_rate_hz, n_samples)


def _duration_us(recording: Sound, config: CochleaConfig) -> float:
    return (len(recording.samples) // 2 + 1) * 1e6 / config.rate_hz


def _padded(n_samples: int) -> int:
    """Return the next length whose velocity has 8, 9, 10, 12 or 15 times a power of two samples."""
    n_bins = max(16, (n_samples + 1) // 2 + 1)
    power = 2 ** (n_bins.bit_length() - 1)
    good = [power * m // 8 for m in (8, 9, 10, 12, 15, 16)]
    return 2 * (next(n for n in good if n >= n_bins) - 1)


def _seed(seed: int, sample: int) -> int:
    """Return 64 bits for one sound, from the seed and its number."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        text = complain("seed", expected="an integer from 0 to 2⁶⁴ − 1", got=repr(seed), fix="pass seed=0")
        raise InputError(text)
    if sample < 0:
        raise InputError(complain("sample", expected="a number ≥ 0", got=sample, fix="pass its place in the batch"))
    return int(np.random.SeedSequence((int(seed), sample)).generate_state(1, np.uint64)[0])


@functools.lru_cache(maxsize=8)
def _best_frequencies(membrane: BasilarMembrane, n_channels: int, sample_rate_hz: int) -> ndarray:
    frequency = np.geomspace(basilar_membrane.LOWEST_HZ, sample_rate_hz / 2, 2000)
    places = membrane.places(n_channels)
    best = [np.abs(basilar_membrane.response(membrane, frequency, places[[c]])[0]).argmax() for c in range(n_channels)]
    return frequency[best]
