"""Recordings of spoken words as spikes: one flat store of events, from which subsets are views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bss2lab.errors import DataError, InputError, complain
from bss2lab.types import names_one, position, where

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int, Int16, Int64
    from numpy import ndarray

Split = Literal["train", "validation", "test"]

UNKNOWN = -1
"""Speaker of a recording about which nothing is known."""

HELD_OUT_SPEAKERS = 2
"""Speakers in a validation set: the official test set, too, has two of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechSet:
    """Labelled spike trains of spoken words, all channels of the cochlea model; a map-style dataset.

    ``data[k]`` is ((times in seconds, float32; channels, int16), label), arrays of its own. Words have different
    numbers of spikes: torch's ``DataLoader`` needs a ``collate_fn``, ``list`` for instance. ``data[2:5]`` and
    ``data[[0, 7]]`` are the ``SpeechSet`` of these words.

    Subsets share the arrays of events, so that splitting costs no memory. An event takes 6 bytes.

    Attributes:
        times_s: spike times in seconds of sound, rising within each recording, shape [events].
        units: cochlea channel of each spike, 0 … n_units − 1, shape [events].
        start: first event of each recording, shape [n].
        stop: the event behind its last one, shape [n].
        labels: class of each recording, shape [n].
        speakers: number of its speaker, −1 if unknown, shape [n].
        index: number of the recording in its file, shape [n]; random numbers hang on it, never on the order.
        classes: names of the classes, by label.
        n_units: number of cochlea channels, 700.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        name: the file or data set they come from, for errors.
        speaker_info: what is known of the speakers (``gender``, ``age``, ``body_height``): one array each,
            indexed by speaker.

    Raises:
        DataError: on construction, if the arrays do not fit together or a label or speaker is out of range.
    """

    times_s: Float32[ndarray, "events"]
    units: Int16[ndarray, "events"]
    start: Int64[ndarray, "n"]
    stop: Int64[ndarray, "n"]
    labels: Int64[ndarray, "n"]
    speakers: Int64[ndarray, "n"]
    index: Int64[ndarray, "n"]
    classes: tuple[str, ...]
    n_units: int
    split: Split
    name: str
    speaker_info: Mapping[str, ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.start)
        for what in ("stop", "labels", "speakers", "index"):
            if len(getattr(self, what)) != n:
                got = f"{len(getattr(self, what)):,}"
                raise self._bad(f"{n:,} {what}, one per recording", got)
        low, high = (int(self.labels.min()), int(self.labels.max())) if n else (0, 0)
        if n and not (low >= 0 and high < len(self.classes)):
            raise self._bad(f"labels 0 … {len(self.classes) - 1}", low if low < 0 else high)
        if n and self.speakers.min() < UNKNOWN:
            raise self._bad("speakers numbered from 0", int(self.speakers.min()))
        for what, values in self.speaker_info.items():
            if n and self.speakers.max() >= len(values):
                raise self._bad(f"speakers 0 … {len(values) - 1}, as in meta_info/{what}", int(self.speakers.max()))

    def _bad(self, expected: str, got: object) -> DataError:
        return DataError(complain(self.name, expected=expected, got=got, fix="the file is damaged: replace it"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        """Return one ((times_s, channels), label), or the set of several.

        Raises:
            IndexError: if there is no recording of that number.
        """
        if not names_one(index):
            return self.subset(where(index, len(self)))
        k = position(index, len(self))
        times, units = self.sample(k)
        return (times.copy(), units.copy()), int(self.labels[k])

    @property
    def n_spikes(self) -> Int64[ndarray, "n"]:
        """Number of spikes of each recording, in all channels."""
        return self.stop - self.start

    def sample(self, i: int) -> tuple[Float32[ndarray, "events"], Int16[ndarray, "events"]]:
        """Return (times in seconds, channels) of one recording.

        Raises:
            InputError: if there is none of that number.
        """
        where = self._checked(np.asarray([i]))[0]
        events = slice(self.start[where], self.stop[where])
        return self.times_s[events], self.units[events]

    def subset(self, index: Int[ndarray, "k"] | Bool[ndarray, "n"]) -> SpeechSet:
        """Return the recordings named by ``index`` (integers, or one boolean each), in that order; copies no events.

        Raises:
            InputError: if ``index`` is of another kind, or names a recording that is not there.
        """
        where = self._checked(np.asarray(index))
        return replace(
            self,
            start=self.start[where],
            stop=self.stop[where],
            labels=self.labels[where],
            speakers=self.speakers[where],
            index=self.index[where],
        )

    def take(self, n: int) -> SpeechSet:
        """Return the first ``n`` recordings.

        Raises:
            InputError: if there are fewer, or ``n`` is negative.
        """
        if not 0 <= n <= len(self):
            raise InputError(complain("n", expected=f"0 … {len(self)} recordings", got=n, fix="take fewer"))
        return self.subset(np.arange(n))

    def positions(self, index: Int[ndarray, "k"] | Bool[ndarray, "n"] | None) -> Int64[ndarray, "k"]:
        """Return the checked positions that ``index`` names; None names all.

        Raises:
            InputError: if ``index`` is of another kind, or names a recording that is not there.
        """
        return np.arange(len(self)) if index is None else self._checked(np.asarray(index))

    def _checked(self, index: ndarray) -> ndarray:
        n = len(self)
        if index.dtype == bool and index.shape == (n,):
            return np.flatnonzero(index)
        if index.ndim != 1 or (index.dtype.kind not in "iu" and index.size):
            want, got = f"a list of numbers, or {n} booleans", f"{index.dtype} of shape {index.shape}"
            raise InputError(complain("recordings", expected=want, got=got, fix="pass np.flatnonzero(condition)"))
        index = index.astype(np.int64)
        if index.size and not (-n <= index.min() and index.max() < n):
            bad = int(index.min() if index.min() < -n else index.max())
            raise InputError(complain("recordings", expected=f"0 … {n - 1}", got=bad, fix="choose others"))
        return np.where(index < 0, index + n, index)


def split_validation(
    data: SpeechSet, speakers: Sequence[int] | None = None, *, n_speakers: int = HELD_OUT_SPEAKERS, seed: int = 0
) -> tuple[SpeechSet, SpeechSet]:
    """Hold out all recordings of some speakers: the rest is trained on, and nobody is in both.

    Args:
        data: a training split with known speakers.
        speakers: numbers of the speakers to hold out; None: ``n_speakers`` of them, drawn at random.
        n_speakers: how many to draw.
        seed: one seed, one draw (of the set of speakers that occur, whatever the order of the recordings).

    Returns:
        (train, validation), each in the order of ``data``; together they are ``data``.

    Raises:
        InputError: if ``data`` is a test split or has recordings of unknown speakers, if a speaker is not in it,
            or nobody would be left.
    """
    if data.split == "test":
        fix = "load the 'train' split: the test set is for the final number only"
        raise InputError(complain("split_validation", expected="a training set", got="the test set", fix=fix))
    if (data.speakers == UNKNOWN).any():
        fix = "use a file with extra/speaker, or split by SpeechSet.subset()"
        raise InputError(complain(data.name, expected="recordings of known speakers", got="unknown ones", fix=fix))
    known = np.unique(data.speakers)
    if speakers is None:
        if not 0 < n_speakers < len(known):
            want = f"1 … {len(known) - 1} of the {len(known)} speakers"
            if len(known) < 2:
                want = f"recordings of two speakers or more, here are {len(known)}"
            raise InputError(complain("n_speakers", expected=want, got=n_speakers, fix="hold out fewer"))
        chosen = np.random.default_rng(seed).permutation(known)[:n_speakers]
    else:
        chosen = np.unique(np.asarray(speakers, dtype=np.int64))
        missing = np.setdiff1d(chosen, known)
        if len(missing) or not 0 < len(chosen) < len(known):
            want = f"some, not all, of {', '.join(map(str, known))}"
            got = ", ".join(map(str, chosen)) or "nobody"
            raise InputError(complain("speakers", expected=want, got=got, fix="choose among those"))
    held_out = np.isin(data.speakers, chosen)
    return data.subset(~held_out), replace(data.subset(held_out), split="validation")
