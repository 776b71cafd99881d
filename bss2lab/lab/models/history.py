"""The course of a run as curves: what every stretch of batches, every probe and every epoch gave."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bss2lab.learners import BatchResult
from bss2lab.results import Epoch
from bss2lab.train import Progress

EVERY = 20
"""Batches that one point of the training curves stands for, to begin with."""

MOST = 1500
"""Points after which neighbours are merged, two into one."""


class Curve:
    """Points of one curve, x rising. Thins itself out: beyond ``MOST`` points, pairs become their mean."""

    def __init__(self) -> None:
        self._x: list[float] = []
        self._y: list[float] = []

    def add(self, x: float, y: float) -> None:
        """Add a point."""
        self._x.append(x)
        self._y.append(y)
        if len(self._x) > MOST:
            self._x, self._y = (_halved(points) for points in (self._x, self._y))

    def __len__(self) -> int:
        return len(self._x)

    @property
    def last(self) -> float | None:
        """The latest value."""
        return self._y[-1] if self._y else None

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y, float32."""
        n = len(self._x)  # both lists may grow meanwhile, x first
        n = min(n, len(self._y))
        return np.array(self._x[:n], np.float32), np.array(self._y[:n], np.float32)


def _halved(points: list[float]) -> list[float]:
    even = points[: len(points) // 2 * 2]
    return [(a + b) / 2 for a, b in zip(even[::2], even[1::2], strict=True)] + points[len(even) :]


@dataclass
class History:
    """Curves of one run. The x axis counts epochs, and fractions of them within.

    Attributes:
        terms: loss by term.
        train: training accuracy, % (with dropout and augmentation, if any).
        probe: accuracy on the first test samples, %, between epochs.
        test: accuracy on the whole test (or validation) set, %, after every epoch.
        spikes: hidden spikes per sample of the test set.
        seconds: time spent in training steps and tests.
    """

    terms: dict[str, Curve] = field(default_factory=dict)
    train: Curve = field(default_factory=Curve)
    probe: Curve = field(default_factory=Curve)
    test: Curve = field(default_factory=Curve)
    spikes: Curve = field(default_factory=Curve)
    seconds: float = 0.0
    _window: BatchResult = field(default_factory=BatchResult)
    _batches: int = 0

    def add_batch(self, at: Progress) -> None:
        """Take in a batch; every ``EVERY`` of them, or at an epoch's end, make a point."""
        self._window.add(at.last)
        self._batches += 1
        if self._batches < min(EVERY, at.batches) and at.batch < at.batches:
            return
        sums, x = self._window, position(at)
        for name, total in sums.terms.items():
            self.terms.setdefault(name, Curve()).add(x, total / sums.images)
        self.train.add(x, 100 * sums.correct / sums.images)
        self._window, self._batches = BatchResult(), 0

    def add_epoch(self, epoch: Epoch) -> None:
        """Take in a finished epoch."""
        self.test.add(epoch.epoch, 100 * epoch.held_out_accuracy)
        self.spikes.add(epoch.epoch, epoch.hidden_spikes_per_image)
        self.seconds += epoch.seconds

    @property
    def loss(self) -> float | None:
        """The latest loss, all terms together."""
        values = [curve.last for curve in self.terms.values()]
        return sum(v for v in values if v is not None) if values else None


def position(at: Progress) -> float:
    """Return where a run is, in epochs."""
    return at.epoch - 1 + at.batch / at.batches


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A run that was kept for comparison.

    Attributes:
        name: what sets it apart: the settings that differ from the first ones.
        history: its curves.
        settings: its settings, as they were at its end.
    """

    name: str
    history: History
    settings: dict[str, object]
