"""The Yin-Yang data set: points of a plane in three classes, as spike times of four inputs and a bias.

L. Kriener, J. Göltz, M. A. Petrovici, *The Yin-Yang dataset*, NICE 2022, doi 10.1145/3517343.3517380. Small, not
linearly separable, and learned in seconds: the drosophila of this field. It is generated from its definition. The
draws are this package's own: points differ from those of the authors' generator, their distribution does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.errors import InputError, complain
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from numpy import ndarray

CLASSES = ("yin", "yang", "dot")

SIZES = {"train": 5000, "validation": 1000, "test": 1000}
"""Points of each split [paper: Kriener et al. 2022]."""

_SEEDS = {"train": 42, "validation": 41, "test": 40}

R_BIG, R_SMALL = 0.5, 0.1
"""Radius of the whole, and of the two dots [paper: Kriener et al. 2022]."""


@dataclass(frozen=True, slots=True, eq=False)
class YinYang:
    """Points and their classes.

    Attributes:
        points: x and y of each, 0 … 1, [n, 2].
        labels: 0 yin, 1 yang, 2 dot, [n].
    """

    points: Float[ndarray, "n 2"]
    labels: Int64[ndarray, "n"]

    def __len__(self) -> int:
        return len(self.labels)


def classes_of(points: Float[ndarray, "n 2"]) -> Int64[ndarray, "n"]:
    """Return the class of each point: 0 yin, 1 yang, 2 dot, −1 outside of the circle."""
    x, y = np.asarray(points, float).T
    to_right, to_left = np.hypot(x - 1.5 * R_BIG, y - R_BIG), np.hypot(x - 0.5 * R_BIG, y - R_BIG)
    dots = (to_right < R_SMALL) | (to_left < R_SMALL)
    yin = (to_left <= R_BIG / 2) | ((y > R_BIG) & (to_right > R_BIG / 2))
    inside = np.hypot(x - R_BIG, y - R_BIG) <= R_BIG
    return np.select([~inside, dots, yin], [-1, 2, 0], 1)


def generate(n: int, seed: int) -> YinYang:
    """Draw points, a third of them in each class on average, evenly over the area of each.

    Args:
        n: number of points.
        seed: any; the same points every time.

    Raises:
        InputError: if ``n`` is negative.
    """
    if n < 0:
        raise InputError(complain("n", expected="at least 0 points", got=n, fix="the paper has 5,000"))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), n)
    points = np.full((n, 2), np.nan)
    missing = np.arange(n)
    while len(missing):
        drawn = rng.uniform(0, 2 * R_BIG, (len(missing), 2))
        fits = classes_of(drawn) == labels[missing]
        points[missing[fits]] = drawn[fits]
        missing = missing[~fits]
    return YinYang(points, labels)


def load(split: str) -> YinYang:
    """Return one of the three splits: ``train``, ``validation`` or ``test``.

    Raises:
        InputError: if there is no such split.
    """
    if split not in SIZES:
        raise InputError(complain("split", expected=" or ".join(SIZES), got=repr(split), fix="choose one of these"))
    return generate(SIZES[split], _SEEDS[split])


class YinYangCode(Config):
    """Latency code of a point: the times of its spikes."""

    early_us: float = quantity(2.0, "spike time of the value 0", unit="µs", source=Source.MEASURED, ge=0, le=1e3)
    late_us: float = quantity(26.0, "spike time of the value 1", unit="µs", source=Source.MEASURED, ge=0, le=1e3)
    bias_us: float = quantity(18.0, "time of the bias spike", unit="µs", source=Source.MEASURED, ge=0, le=1e3)
    duration_us: float = quantity(
        51.0, "length of a sample, 30 steps of 1.7 µs", unit="µs", source=Source.ASSUMED, gt=0, le=1e4,
        why="half of it is left for an answer after the last input",
    )  # fmt: skip
    repeats: int = quantity(
        5, "input rows that carry each of the four values and the bias", source=Source.ASSUMED, ge=1, le=51,
        why="one six-bit synapse moves a calibrated neuron by a tenth of its threshold",
    )  # fmt: skip


def encode(points: Float[ndarray, "n 2"], code: YinYangCode | None = None) -> Spikes:
    """Turn points into spikes: x, y, 1 − x and 1 − y, each as one spike, the smaller the earlier, and a bias.

    Args:
        points: x and y, 0 … 1, [n, 2].
        code: parameters.

    Returns:
        Spikes of n samples with 5 · ``repeats`` units; unit k carries value k % 5 (4: the bias).

    Raises:
        InputError: if points lie outside of 0 … 1, or a spike would come after the end of a sample.
    """
    code = code or YinYangCode()
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 2 or not ((points >= 0) & (points <= 1)).all():
        got = f"shape {list(points.shape)}" if points.ndim != 2 or points.shape[1] != 2 else "others"
        raise InputError(complain("points", expected="x and y within 0 … 1, [n, 2]", got=got, fix="scale them"))
    latest = max(code.early_us, code.late_us, code.bias_us)
    if latest >= code.duration_us:
        want = f"a duration above the latest spike, {latest:g} µs"
        raise InputError(complain("duration_us", expected=want, got=f"{code.duration_us:g} µs", fix="make it longer"))
    values = np.concatenate([points, 1 - points], axis=1)
    times = np.empty((len(points), 5))
    times[:, :4] = code.early_us + (code.late_us - code.early_us) * values
    times[:, 4] = code.bias_us
    every = np.tile(times, (1, code.repeats))
    order = np.argsort(every, axis=1, kind="stable")
    n_units = every.shape[1]
    return Spikes(
        np.take_along_axis(every, order, axis=1).ravel().astype(np.float32), order.ravel().astype(np.int16),
        n_units * np.arange(len(points) + 1, dtype=np.int64), n_units, code.duration_us,
    )  # fmt: skip
