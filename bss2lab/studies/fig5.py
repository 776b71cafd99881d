"""Figure 5, spoken words: the course of training (B), and who and what is misheard (C, D)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.errors import InputError, complain
from bss2lab.presets import SPEECH_FULL, Published, published
from bss2lab.runner import Runner
from bss2lab.settings import TITLES, SpeechConfig
from bss2lab.studies.networks import SpeechNetwork
from bss2lab.studies.results import Mean
from bss2lab.studies.speech_training import Listener, data_of, listen_all, listening_job, shuffled

if TYPE_CHECKING:
    from numpy import ndarray

Counts = tuple[tuple[int, ...], ...]
Curves = tuple[tuple[float, ...], ...]


class SpeechRow(Config):
    """A way to learn words.

    Attributes:
        name: what it is called.
        train: the run; seed and chip are replaced by each seed's. One with fixed recurrent weights begins with the
            shuffled ones of the same run with learned ones, which must be a row before it.
    """

    name: str
    train: SpeechConfig


class SpeechStudyConfig(Config):
    """Figure 5: rows, each trained with several seeds."""

    rows: tuple[SpeechRow, ...] = tuple(SpeechRow(name=name, train=train) for name, train in SPEECH_FULL.items())
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)

    def on(self, task: Literal["speech", "shd"]) -> SpeechStudyConfig:
        """Return the same study on another data set."""
        return self.replace(rows=tuple(row.replace(train=row.train.replace(task=task)) for row in self.rows))

    def part(self, mode: str, *, augmented: bool | None = None) -> SpeechStudyConfig:
        """Return the rows of one mode: all of them, or those with augmentation, or those without."""
        rows = (row for row in self.rows if row.train.mode == mode)
        return self.replace(rows=tuple(row for row in rows if augmented in (None, row.train.sigma_u > 0)))


QUICK = SpeechStudyConfig(
    rows=tuple(
        SpeechRow(name=name, train=train.replace(epochs=4, limit=400, lr_decay=0.8))
        for name, train in SPEECH_FULL.items()
    ),
    seeds=1,
)


@dataclass(frozen=True, slots=True)
class Learned:
    """A row's result.

    Attributes:
        row: what was run.
        loss: mean training loss, [seed][epoch].
        train_accuracy: over the epoch, with augmentation if the row has it, fractions, [seed][epoch].
        test_accuracy: after the epoch, fractions, [seed][epoch].
        hidden_spikes: per test word, [seed].
        train_wrong: misheard training words, without augmentation, [seed][speaker].
        test_wrong: misheard test words, [seed][speaker].
        wrong: misheard test words of all seeds, [speaker][class].
        confusion: test words of all seeds, [class][decision].
    """

    row: SpeechRow
    loss: Curves
    train_accuracy: Curves
    test_accuracy: Curves
    hidden_spikes: tuple[float, ...]
    train_wrong: Counts
    test_wrong: Counts
    wrong: Counts
    confusion: Counts

    @property
    def paper(self) -> Published | None:
        """The paper's number for the Heidelberg Digits, whatever the row was trained on."""
        return published(self.row.train.replace(task="shd"))


@dataclass(frozen=True, slots=True)
class Speech:
    """Figure 5, B to D.

    Attributes:
        config: what was asked for.
        classes: names of the words.
        train_words: number of training words of every speaker, [speaker].
        test_words: number of test words, [speaker][class].
        rows: one result for each row.
    """

    config: SpeechStudyConfig
    classes: tuple[str, ...]
    train_words: tuple[int, ...]
    test_words: Counts
    rows: tuple[Learned, ...]

    @property
    def synthetic(self) -> bool:
        """Was it learned from synthetic speech?"""
        return self.config.rows[0].train.task == "speech"

    @property
    def unseen(self) -> tuple[int, ...]:
        """Speakers who are in the test set alone."""
        spoke = [sum(words) for words in self.test_words]
        return tuple(k for k, n in enumerate(spoke) if n and not self.train_words[k])

    def row(self, name: str | None = None) -> Learned:
        """Return a row by name; the first one with augmentation (the first one, if none has it) if not given.

        Raises:
            InputError: if there is none of that name.
        """
        if name is None:
            return next((one for one in self.rows if one.row.train.sigma_u), self.rows[0])
        for one in self.rows:
            if one.row.name == name:
                return one
        want = f"one of {', '.join(one.row.name for one in self.rows)}"
        raise InputError(complain("row", expected=want, got=repr(name), fix="choose one"))

    def accuracy(self, name: str, split: Literal["train", "test", "seen", "unseen"] = "test") -> Mean:
        """Return the final accuracy of a row over its seeds, percent.

        Args:
            name: the row.
            split: the training words (without augmentation), the test words, or those of the test words whose
                speakers are, or are not, in the training set.
        """
        row = self.row(name)
        if split == "train":
            wrong, words = np.array(row.train_wrong), np.array(self.train_words)
        else:
            wrong, words = np.array(row.test_wrong), np.array(self.test_words).sum(axis=1)
        strange = np.isin(np.arange(len(words)), self.unseen)
        chosen = {"seen": ~strange, "unseen": strange}.get(split, np.ones(len(words), bool))
        return Mean.of(100 * (1 - wrong[:, chosen].sum(axis=1) / max(1, words[chosen].sum())))

    def speaker_errors(self, name: str, split: Literal["train", "test"]) -> ndarray:
        """Return the error of a row for every speaker, percent, [seed, speaker]; NaN for who does not speak there."""
        row = self.row(name)
        wrong = np.array(row.train_wrong if split == "train" else row.test_wrong, dtype=float)
        words = np.array(self.train_words) if split == "train" else np.array(self.test_words).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(words > 0, 100 * wrong / words, np.nan)


def speech(config: SpeechStudyConfig, run: Runner) -> Speech:
    """Train every row with every seed; then those with fixed recurrent weights, which begin with learned ones.

    Args:
        config: what to run.
        run: does the jobs.

    Raises:
        InputError: if a row with fixed recurrent weights has no twin that learns them.
    """
    seeds = range(config.seeds)
    own = {k: [_seeded(row.train, s) for s in seeds] for k, row in enumerate(config.rows)}
    twins = {k: _twin(config.rows, k) for k, row in enumerate(config.rows) if row.train.recurrent == "fixed"}
    first = [k for k in own if k not in twins]
    jobs = [listening_job(train, config.rows[k].name) for k in first for train in own[k]]
    done = _by_row(first, listen_all(jobs, run, "figure 5"), config.seeds)
    late = [
        listening_job(train, config.rows[k].name, shuffled(source.network.weights.recurrent, train.seed))
        for k, twin in twins.items()
        for train, source in zip(own[k], done[twin], strict=True)
    ]
    done |= _by_row(list(twins), listen_all(late, run, "figure 5, fixed recurrent weights"), config.seeds)
    data = data_of(config.rows[0].train)
    train, test = cast("SpeechSet", data.train), cast("SpeechSet", data.held_out)
    n = 1 + max(int(words.speakers.max(initial=0)) for words in (train, test))
    return Speech(
        config, test.classes,
        _plain(np.bincount(train.speakers, minlength=n)),
        _counts(test.speakers, test.labels, n, len(test.classes)),
        tuple(_learned(row, done[k], train, test, n) for k, row in enumerate(config.rows)),
    )  # fmt: skip


def joined(*parts: Speech) -> Speech:
    """Return results on the same words and with equally many seeds as one, rows below rows.

    Raises:
        InputError: if there is none, or they are of other words or another number of seeds.
    """
    if len({(one.classes, one.train_words, one.test_words, one.config.seeds) for one in parts}) != 1:
        got = f"{len(parts)} that differ" if parts else "no result"
        fix = "compute them alike"
        raise InputError(complain("parts", expected="the same words and number of seeds", got=got, fix=fix))
    config = parts[0].config.replace(rows=tuple(row for one in parts for row in one.config.rows))
    return replace(parts[0], config=config, rows=tuple(row for one in parts for row in one.rows))


def network(config: SpeechStudyConfig, run: Runner) -> SpeechNetwork:
    """Return the first network of the first row with augmentation (of the first row, if none has it)."""
    row = next((row for row in config.rows if row.train.sigma_u), config.rows[0])
    return listen_all([listening_job(_seeded(row.train, 0), row.name)], run, "network")[0].network


def table(result: Speech) -> str:
    """Return the accuracies as a Markdown table."""
    what = TITLES["speech" if result.synthetic else "shd"]
    columns = "train % | test % | seen speakers | unseen speakers | hidden spikes per word | paper (SHD), test %"
    lines = [
        f"| {what} | {columns} |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in result.rows:
        name, paper = one.row.name, one.paper
        shown = [str(result.accuracy(name, split)) for split in ("train", "test", "seen", "unseen")]
        spikes = f"{np.mean(one.hidden_spikes):,.0f}"
        lines.append(
            f"| {name} | {' | '.join(shown)} | {spikes} | {f'{paper.test} ± {paper.test_spread}' if paper else '–'} |"
        )
    return "\n".join(lines)


def _seeded(train: SpeechConfig, seed: int) -> SpeechConfig:
    return train.replace(seed=seed, chip_seed=seed)


def _twin(rows: tuple[SpeechRow, ...], k: int) -> int:
    wanted = rows[k].train.replace(recurrent="learned")
    for j, row in enumerate(rows):
        if row.train == wanted:
            return j
    want = "a row that is the same but for learned recurrent weights"
    raise InputError(complain(f"row {rows[k].name!r}", expected=want, got="none", fix="add it: fixed ones are its own"))


def _by_row(rows: list[int], found: list[Listener], seeds: int) -> dict[int, list[Listener]]:
    return {k: found[i * seeds : (i + 1) * seeds] for i, k in enumerate(rows)}


def _learned(row: SpeechRow, found: list[Listener], train: SpeechSet, test: SpeechSet, n: int) -> Learned:
    def curves(name: str) -> Curves:
        return tuple(tuple(getattr(epoch, name) for epoch in one.network.epochs) for one in found)

    n_classes = len(test.classes)
    misheard = [one.test_decisions != test.labels for one in found]
    confusion = sum(_matrix(test.labels, one.test_decisions, n_classes, row.train.n_classes) for one in found)
    wrong = sum(_matrix(test.speakers[bad], test.labels[bad], n, n_classes) for bad in misheard)
    return Learned(
        row, curves("loss"), curves("train_accuracy"), curves("held_out_accuracy"),
        tuple(one.network.epochs[-1].hidden_spikes_per_image for one in found),
        tuple(_plain(np.bincount(train.speakers[one.train_decisions != train.labels], minlength=n)) for one in found),
        tuple(_plain(np.bincount(test.speakers[bad], minlength=n)) for bad in misheard),
        tuple(map(_plain, np.asarray(wrong))), tuple(map(_plain, np.asarray(confusion))),
    )  # fmt: skip


def _matrix(rows: ndarray, columns: ndarray, n: int, m: int) -> ndarray:
    counts = np.zeros((n, m), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def _counts(rows: ndarray, columns: ndarray, n: int, m: int) -> Counts:
    return tuple(map(_plain, _matrix(rows, columns, n, m)))


def _plain(values: ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
