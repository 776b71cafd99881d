"""Spoken words for the chip: load a data set, choose 70 of 700 channels, shrink seconds to microseconds.

What happens to a spike of channel i at t seconds, in this order:

1. augmentation, if asked for: it moves to channel round(x), x drawn from N(i, σ); what leaves the cochlea's
   channels is dropped;
2. channels 70, 79, 88, …, 691 become units 0, 1, 2, …, 69; a spike of any other channel is dropped;
3. it comes at t/2000 of chip time, 500 µs for a second of sound, rounded to float32 and to nothing coarser;
4. if that is at or behind the end of the run it is dropped. A recording that ends earlier is followed by silence.

Spikes that thereby coincide (one unit, one time or one step) are all kept and count as often as they come.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.datasets import catalogue, files, spikefile, spikepack
from bss2lab.datasets.speechset import SpeechSet, split_validation
from bss2lab.errors import DataError, InputError, complain
from bss2lab.kernels.jit import kernel
from bss2lab.kernels.noise import mix
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int
    from numpy import ndarray

__all__ = ["ChannelJitter", "SpeechCode", "encode", "load", "split_validation"]

_GUIDES = 4096  # so many that a random number seldom lies in the same cell as a step of the table
_UNIT = 2.0**-53


class SpeechCode(Config):
    """How recordings are laid out on the chip's inputs and time axis."""

    first_channel: int = quantity(70, "cochlea channel of the first unit", source=Source.PAPER, ge=0)
    channel_step: int = quantity(9, "cochlea channels from one unit to the next", source=Source.PAPER, ge=1)
    n_channels: int = quantity(70, "number of units", source=Source.PAPER, ge=1)
    speed_up: float = quantity(2000.0, "seconds of sound per second of chip time", source=Source.PAPER, gt=0)
    n_steps: int = quantity(
        403, "length of every recording in steps; later spikes are dropped", source=Source.PAPER, ge=1, le=32767
    )
    dt_us: float = quantity(1.7, "step, the CADC's period", unit="µs", source=Source.PAPER, gt=0, le=100)

    @property
    def duration_us(self) -> float:
        """Length of every recording in µs of chip time."""
        return self.n_steps * self.dt_us


class ChannelJitter(Config):
    """Augmentation: every spike of channel i moves to channel round(N(i, σ)), before channels are chosen."""

    sigma: float = quantity(
        20.0,
        "standard deviation of the move, in cochlea channels",
        source=Source.ASSUMED,
        why="the main text gives no value; 10 and 20 do equally well on held-out speakers of the synthetic speech",
        ge=0,
        le=1000,
    )

    def cumulative(self) -> Float64[ndarray, "moves"]:
        """Return P(move ≤ k) of the whole-channel moves k = −m … m, m = (len − 1)/2: round(N(0, σ)).

        P(move ≤ k) = Φ((k + ½)/σ), cut off at 9 σ; the last entry is 1.
        """
        return _cumulative(self.sigma)


@functools.lru_cache(maxsize=16)
def _cumulative(sigma: float) -> ndarray:
    most = math.ceil(9 * sigma) if sigma else 0
    edge = np.arange(-most, most + 1) + 0.5
    table = np.array([0.5 * math.erfc(-x / (sigma * math.sqrt(2))) for x in edge]) if sigma else np.ones(1)
    table[-1] = 1.0
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=16)
def _guide(sigma: float) -> ndarray:
    """For every cell of [0, 1): where in the cumulative table the search for a number in it starts."""
    return np.searchsorted(_cumulative(sigma), np.arange(_GUIDES) / _GUIDES, side="right").astype(np.int16)


def load(
    name: str = "speech",
    split: Literal["train", "test"] = "train",
    *,
    path: Path | str | None = None,
    progress: bool = False,
) -> SpeechSet:
    """Load one split of a data set of spoken words, all channels; download it if it is nowhere on this computer.

    Args:
        name: ``"speech"`` (synthetic speech, which comes with the package) or ``"shd"``.
        split: ``"train"`` (ten speakers; 2,000 recordings, 8,156 of SHD) or ``"test"`` (these and two more;
            500, 2,264 of SHD).
        path: read this file instead, whatever its checksum: anything in SHD's published layout, or a ``….spk``.
        progress: show a progress bar if there is something to download.

    Returns:
        The recordings, read-only.

    Raises:
        InputError: if there is no such data set or split.
        DataError: if the file is corrupt or cannot be had.
    """
    dataset = catalogue.speech(name)
    if split not in dataset.splits:
        want = " or ".join(map(repr, dataset.splits))
        raise InputError(complain("split", expected=want, got=repr(split), fix="choose one of them"))
    if path is not None:
        return _read(Path(path), split, dataset.n_units)
    found = files.path(name, dataset.splits[split], progress=progress)
    data = _read(found, split, dataset.n_units)
    if len(data) != dataset.n_samples[split]:
        want = f"{dataset.n_samples[split]:,} recordings"
        fix = f"delete it and run `bss2lab data fetch {name}`, or pass its path"
        raise DataError(complain(str(found), expected=want, got=f"{len(data):,}", fix=fix))
    return data


def _read(path: Path, split: Literal["train", "test"], n_units: int) -> SpeechSet:
    if path.suffix == spikepack.SUFFIX:
        pack = spikepack.read(path, split=split)
        return replace(pack.data, name=f"{pack.about.get('title', 'spikes')} ({path})")
    return spikefile.read(path, split=split, n_units=n_units)


def encode(
    data: SpeechSet,
    code: SpeechCode | None = None,
    *,
    index: Int[ndarray, "b"] | Bool[ndarray, "n"] | None = None,
    jitter: ChannelJitter | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> Spikes:
    """Turn recordings into input spikes of the chip; see the module's text for what happens to each spike.

    The random numbers of a spike are a function of ``seed``, ``epoch``, the recording's number in its file and
    the spike's place in the recording: neither of the batch nor of its order.

    Args:
        data: recordings.
        code: layout; None: the paper's.
        index: which recordings, in which order; None: all.
        jitter: augmentation; None: none.
        seed: seed of the augmentation, 0 … 2⁶³ − 1.
        epoch: epoch, from 0; every epoch moves the spikes anew.

    Returns:
        Spikes of ``code.n_channels`` units, sorted by time; equal times stay in the order of the recording.

    Raises:
        InputError: if the layout needs channels that ``data`` does not have, or an argument is out of range.
    """
    code = code or SpeechCode()
    last = code.first_channel + (code.n_channels - 1) * code.channel_step
    if last >= data.n_units:
        want = f"at most channel {data.n_units - 1}"
        raise InputError(complain("last channel", expected=want, got=last, fix="take fewer channels or a smaller step"))
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**63:
            raise InputError(complain(name, expected="0 … 2⁶³ − 1", got=value, fix="choose another"))
    which = data.positions(index)
    unit_of = np.full(data.n_units, -1, dtype=np.int16)
    unit_of[code.first_channel : last + 1 : code.channel_step] = np.arange(code.n_channels)
    sigma = jitter.sigma if jitter else 0.0
    moves, guide = _cumulative(sigma), _guide(sigma)
    start, stop, number = data.start[which], data.stop[which], data.index[which]
    end_us = np.float32(code.duration_us)
    most = int((stop - start).sum())
    times, units = np.empty(most, np.float32), np.empty(most, np.int16)
    offsets = np.zeros(len(which) + 1, dtype=np.int64)
    keys = _keys(np.uint64(seed), np.uint64(epoch), number.astype(np.uint64))
    scale = 1e6 / code.speed_up
    _select(_still(data.times_s), _still(data.units), start, stop, keys, _still(unit_of), moves, guide,
            scale, end_us, offsets, times, units)  # fmt: skip
    n = int(offsets[-1])
    return Spikes(times[:n].copy(), units[:n].copy(), offsets, code.n_channels, float(code.duration_us))


def _still(array: ndarray) -> ndarray:
    """A read-only view: one compiled version serves read-only and writeable arrays."""
    view = array.view()
    view.flags.writeable = False
    return view


@kernel()
def _keys(seed, epoch, number):
    """The state from which the random numbers of each recording start."""
    keys = np.empty(len(number), dtype=np.uint64)
    for b in range(len(number)):
        keys[b] = mix(mix(mix(seed + np.uint64(0x9E3779B97F4A7C15)) + epoch) + number[b])
    return keys


@kernel()
def _select(times_s, channels, start, stop, keys, unit_of, moves, guide, scale, end_us, offsets, times, units):
    """Move, choose and shrink; the kept spikes stay in order."""
    most = (len(moves) - 1) // 2
    n = 0
    for b in range(len(start)):
        key = keys[b]
        for event in range(start[b], stop[b]):
            channel = np.int64(channels[event])
            if most > 0:
                place = np.uint64(event - start[b] + 1)
                bits = mix(key + place * np.uint64(0x9E3779B97F4A7C15))
                uniform = np.float64(bits >> np.uint64(11)) * _UNIT
                k = np.int64(guide[np.int64(uniform * _GUIDES)])
                while uniform >= moves[k]:
                    k += 1
                channel += k - most
            if 0 <= channel < len(unit_of) and unit_of[channel] >= 0:
                time_us = np.float32(np.float64(times_s[event]) * scale)
                if time_us >= end_us:
                    break  # times rise
                times[n] = time_us
                units[n] = unit_of[channel]
                n += 1
        offsets[b + 1] = n
