"""Statistics of spoken words as spikes, and how well two sets agree.

Four things are compared: spikes per recording, durations, spikes per channel, and spikes per unit of time since the
start. The first two as distributions (Kolmogorov-Smirnov distance), the last two as profiles (overlap of the
normalised profiles, and their correlation).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.datasets.speechset import UNKNOWN, SpeechSet
from bss2lab.errors import DataError, InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from numpy import ndarray

BIN_S = 0.025
"""Width of the bins of the profile over time in seconds."""

LONGEST_S = 1.6
"""The profile over time ends here; the longest recordings of SHD are shorter."""

_SMOOTH = 15  # channels over which a profile is averaged before it is compared: few recordings scatter


@dataclass(frozen=True, slots=True, eq=False)
class SpikeStatistics:
    """What the spikes of a set of recordings are like.

    Attributes:
        name: of the set.
        n_spikes: spikes of each recording, shape [n].
        durations_s: time of each recording's last spike in seconds, shape [n].
        channels: mean number of spikes of each channel in a recording, shape [n_units].
        rate_per_s: spikes of all channels per second and recording, in bins of 25 ms since the start, shape [64];
            a recording that has ended counts as silent.
    """

    name: str
    n_spikes: Int64[ndarray, "n"]
    durations_s: Float64[ndarray, "n"]
    channels: Float64[ndarray, "c"]
    rate_per_s: Float64[ndarray, "bins"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the statistics of two sets agree.

    Attributes:
        spikes_ks: largest difference between the distribution functions of spikes per recording, 0 … 1.
        duration_ks: the same of the durations.
        channel_overlap: what the normalised channel profiles have in common, 0 … 1, averaged over 15 channels.
        channel_correlation: correlation of these profiles.
        time_overlap: what the normalised profiles over time have in common, 0 … 1.
        time_correlation: correlation of these profiles.
    """

    spikes_ks: float
    duration_ks: float
    channel_overlap: float
    channel_correlation: float
    time_overlap: float
    time_correlation: float


def statistics_of(data: SpeechSet, name: str | None = None) -> SpikeStatistics:
    """Return the statistics of a set.

    Args:
        data: the recordings.
        name: what to call it in drawings; None: the set's own name.

    Raises:
        InputError: if there is no recording with a spike.
    """
    n_spikes = data.n_spikes
    if not n_spikes.any():
        raise InputError(complain(data.name, expected="recordings with spikes", got="none", fix="choose others"))
    events = [data.sample(i) for i in range(len(data))]
    channels, rate = np.zeros(data.n_units), np.zeros(round(LONGEST_S / BIN_S))
    for times, units in events:
        channels += np.bincount(units, minlength=data.n_units)
        bins = (times / BIN_S).astype(np.int64)
        rate += np.bincount(bins[bins < len(rate)], minlength=len(rate))
    last = np.array([float(times[-1]) if len(times) else 0.0 for times, _ in events])
    return SpikeStatistics(name or data.name, n_spikes, last, channels / len(data), rate / (BIN_S * len(data)))


def compare(ours: SpikeStatistics, reference: SpikeStatistics) -> Agreement:
    """Return how well two sets agree.

    Raises:
        InputError: if they have different numbers of channels.
    """
    if len(ours.channels) != len(reference.channels):
        got = f"{len(ours.channels)} and {len(reference.channels)}"
        raise InputError(
            complain("channels", expected="the same number in both", got=got, fix="compare like with like")
        )
    kernel = np.ones(_SMOOTH) / _SMOOTH
    smooth = [np.convolve(s.channels, kernel, mode="same") for s in (ours, reference)]
    rates = ours.rate_per_s, reference.rate_per_s
    return Agreement(
        spikes_ks=_distance(ours.n_spikes, reference.n_spikes),
        duration_ks=_distance(ours.durations_s, reference.durations_s),
        channel_overlap=_overlap(*smooth),
        channel_correlation=float(np.corrcoef(smooth[0], smooth[1])[0, 1]),
        time_overlap=_overlap(*rates),
        time_correlation=float(np.corrcoef(rates[0], rates[1])[0, 1]),
    )


def read_samples(path: Path | str, classes: tuple[str, ...]) -> SpeechSet:
    """Read single recordings from a NumPy archive with ``times_L`` in seconds and ``units_L`` for labels L.

    Args:
        path: the file, ``….npz``.
        classes: names of the classes, by label.

    Returns:
        One recording per label that the file has, in the order of the labels; their speakers are unknown.

    Raises:
        DataError: if the file cannot be read or holds anything else.
    """
    want = "a NumPy archive with times_L and units_L for labels L"
    fix = "pass the file of single recordings"
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = sorted(int(name.removeprefix("times_")) for name in file.files if name.startswith("times_"))
            rows = [(file[f"times_{i}"].astype(np.float32), file[f"units_{i}"].astype(np.int16)) for i in labels]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(complain(str(path), expected=want, got=str(error).splitlines()[0], fix=fix)) from error
    wrong = [i for i, (t, u) in zip(labels, rows, strict=True) if t.shape != u.shape or t.ndim != 1 or not len(t)]
    if not labels or wrong:
        got = f"rows of unequal length for label {wrong[0]}" if wrong else "no such array"
        raise DataError(complain(str(path), expected=want, got=got, fix=fix))
    times, units = (np.concatenate(part) for part in zip(*rows, strict=True))
    stop = np.cumsum([len(t) for t, _ in rows], dtype=np.int64)
    start = np.concatenate([[0], stop[:-1]]).astype(np.int64)
    n = len(labels)
    return SpeechSet(
        times, units, start, stop, np.array(labels, dtype=np.int64), np.full(n, UNKNOWN, dtype=np.int64),
        np.arange(n, dtype=np.int64), classes, 700, "train", str(path),
    )  # fmt: skip


def _distance(a: ndarray, b: ndarray) -> float:
    """Kolmogorov-Smirnov distance of two samples."""
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _overlap(a: ndarray, b: ndarray) -> float:
    return float(np.minimum(a / a.sum(), b / b.sum()).sum())
