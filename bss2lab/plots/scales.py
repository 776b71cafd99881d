"""Scales of the figures: logarithmic axes with plain numbers, and where a zero stands on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

_MANTISSAS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))


def round_numbers(low: float, high: float) -> list[float]:
    """Return round numbers in [low, high], evenly spread on a logarithmic axis: at least three."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    found: list[float] = []
    for mantissas in ((1,), *_MANTISSAS) if len(decades) > 4 else _MANTISSAS:
        numbers = [float(f"{m * 10.0**k:.12g}") for k in decades for m in mantissas]
        found = [number for number in numbers if low <= number <= high]
        if len(found) >= 3:
            return found
    return [float(number) for number in MaxNLocator(5).tick_values(low, high) if low <= number <= high]


def plain_ticks(axis: Axis, values: Iterable[float], labels: Sequence[str] | None = None) -> None:
    """Put ticks at these values, written as plain numbers (or as ``labels``), and no others."""
    at = list(values)
    axis.set_major_locator(FixedLocator(at))
    axis.set_major_formatter(FixedFormatter(list(labels) if labels else [f"{value:g}" for value in at]))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def apart(values: Iterable[float], *, least: float) -> list[float]:
    """Return, from the smallest on, the values that lie at least a factor of ``least`` above the last one kept."""
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or value >= least * kept[-1]:
            kept.append(value)
    return kept


def log_floor(values: Any, *, at_most: float) -> float:
    """Return the lower end of a logarithmic axis: below every positive value, at and below which a zero is drawn."""
    x = np.asarray(values, np.float64)
    return float(min(at_most, 0.7 * x[x > 0].min(initial=np.inf)))


def lifted(values: Any, floor: float) -> Float64[ndarray, "n"]:
    """Return values as a logarithmic axis can show them: none below its floor."""
    return np.maximum(np.asarray(values, np.float64), floor)


def mark_zeros(axes: Axes, x: Any, values: Any, floor: float, colour: str) -> int:
    """Mark values of zero at the floor by open triangles that point down; return their number."""
    where = np.asarray(values) <= 0
    if where.any():
        axes.plot(np.asarray(x, np.float64)[where], np.full(int(where.sum()), floor), "v", color=colour,
                  markerfacecolor="white", markersize=7, clip_on=False, zorder=5)  # fmt: skip
    return int(where.sum())
