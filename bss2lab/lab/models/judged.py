"""What a network heard or saw in every sample of a set, and what follows: confusions, errors by class and speaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from numpy import ndarray

EVERY = -1
"""In place of a class or a speaker: all of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample in the list.

    Attributes:
        index: its number in the data set's file.
        said: its class (of a word: what was said).
        heard: what the network decided.
        speaker: who said it, −1 if unknown or an image.
    """

    index: int
    said: int
    heard: int
    speaker: int


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Decisions on a set.

    Attributes:
        index: number of every sample in its file, [n].
        said: true class, [n].
        heard: class decided, [n].
        speakers: who spoke, −1 if unknown (images: all −1), [n].
        unseen: speakers who are not in the training set.
        classes: names of the classes; outputs beyond them go by their number.
        n_outputs: outputs of the network.
        where: the settings that it was judged under, in words.
        emulated: on the emulated chip?
    """

    index: Int64[ndarray, "n"]
    said: Int64[ndarray, "n"]
    heard: Int64[ndarray, "n"]
    speakers: Int64[ndarray, "n"]
    unseen: tuple[int, ...]
    classes: tuple[str, ...]
    n_outputs: int
    where: str
    emulated: bool

    def __len__(self) -> int:
        return len(self.said)

    @property
    def wrong(self) -> ndarray:
        """Which samples were decided wrongly, bool [n]."""
        return self.said != self.heard

    @property
    def error(self) -> float:
        """Percent wrong, of all."""
        return 100 * float(self.wrong.mean())

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every output."""
        return (*self.classes, *map(str, range(len(self.classes), self.n_outputs)))[: self.n_outputs]

    @property
    def n_speakers(self) -> int:
        """One more than the highest number of a speaker; 0 if none is known."""
        return int(self.speakers.max(initial=-1)) + 1

    def confusion(self) -> Float64[ndarray, "said heard"]:
        """Return how much of every class is taken for which, percent; NaN in the row of a class that is not there."""
        counts = np.zeros((len(self.classes), self.n_outputs))
        np.add.at(counts, (self.said, self.heard), 1)
        return _percent(counts, counts.sum(axis=1, keepdims=True))

    def by_class(self) -> Float64[ndarray, "said"]:
        """Return the error of every class, percent; NaN for one that is not there."""
        n = len(self.classes)
        return _percent(np.bincount(self.said[self.wrong], minlength=n), np.bincount(self.said, minlength=n))

    def by_speaker(self) -> Float64[ndarray, "speaker"]:
        """Return the error of every speaker, percent; NaN for one who does not speak here."""
        wrong, words = self._counts()
        return _percent(wrong.sum(axis=1), words.sum(axis=1))

    def by_speaker_and_class(self) -> Float64[ndarray, "speaker said"]:
        """Return the error of every speaker on every word, percent; NaN where there is none."""
        return _percent(*self._counts())

    def error_of(self, *, unseen: bool) -> float:
        """Return the error on the words of speakers who are not, or are, in the training set, percent; NaN if none."""
        of_them = np.isin(self.speakers, self.unseen) == unseen
        return 100 * float(self.wrong[of_them].mean()) if of_them.any() else float("nan")

    def select(
        self, said: int = EVERY, heard: int = EVERY, speaker: int = EVERY, *, wrong: bool = False
    ) -> Int64[ndarray, "k"]:
        """Return the places of the samples that fit, those decided wrongly first.

        Args:
            said, heard: classes; ``EVERY``: any.
            speaker: likewise.
            wrong: only those decided wrongly.
        """
        fits = np.ones(len(self), bool)
        for wanted, got in ((said, self.said), (heard, self.heard), (speaker, self.speakers)):
            fits &= (got == wanted) | (wanted == EVERY)
        found = np.flatnonzero(fits & (self.wrong | (not wrong)))
        return found[np.argsort(~self.wrong[found], kind="stable")]

    def entry(self, place: int) -> Entry:
        """Return a sample by its place."""
        return Entry(*(int(x[place]) for x in (self.index, self.said, self.heard, self.speakers)))

    def _counts(self) -> tuple[ndarray, ndarray]:
        known = self.speakers >= 0
        tables = []
        for which in (known & self.wrong, known):
            table = np.zeros((self.n_speakers, len(self.classes)))
            np.add.at(table, (self.speakers[which], self.said[which]), 1)
            tables.append(table)
        return tables[0], tables[1]


def _percent(part: ndarray, whole: ndarray) -> ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, 100 * part / whole, np.nan)
