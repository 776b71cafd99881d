"""A picture as plain data: panels with axes and layers. The canvas in the browser and Matplotlib draw the same frame.

View models return frames; they know nothing of browsers. Coordinates are data coordinates; a panel's place in the
picture is a rectangle in fractions of it, from the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Style = Literal["line", "steps", "dashed", "dots", "ticks", "bars", "band"]
"""How a series is drawn: joined; as a staircase; dashed; a dot, or a short upright tick, at every point; upright bars;
the area between two curves (points alternate: upper, lower)."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#5E3C99", "#999999", "#000000")
"""Okabe & Ito's colours and two more, told apart by colour-blind readers; `plots.style` has the same."""

GREY = "#666666"


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a panel.

    Attributes:
        label: what is shown.
        low, high: its range, low < high (on a logarithmic scale both above 0).
        unit: unit of the values, empty if they have none.
        log: logarithmic scale?
        names: names in place of numbers, one per integer value from 0 on.
        integer: are the values counts or numbers of things (ticks at whole numbers alone)?
        down: does the axis point downwards (rows of a table)?
    """

    label: str
    low: float
    high: float
    unit: str = ""
    log: bool = False
    names: tuple[str, ...] = ()
    integer: bool = False
    down: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError(f"axis {self.label!r}: no range: {self.low:g} … {self.high:g}")

    @property
    def title(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Points of one colour.

    Attributes:
        name: for the legend and the hover text; empty: not in the legend.
        x, y: coordinates, of equal length (a NaN breaks a line).
        style: how they are drawn.
        colour: CSS colour.
        width: of a line or dot, CSS pixels.
        alpha: opacity.
        thing: what one value of y is in hover texts (``"neuron"``); empty: the axis's label.
        origin: y of number 0 in hover texts (hidden neurons stand above the inputs in a raster).
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: Style = "line"
    colour: str = PALETTE[0]
    width: float = 1.6
    alpha: float = 1.0
    thing: str = ""
    origin: float = 0.0

    def __post_init__(self) -> None:
        for letter in "xy":
            object.__setattr__(self, letter, np.ascontiguousarray(getattr(self, letter), np.float32).ravel())
        if self.x.shape != self.y.shape:
            raise ValueError(f"series {self.name!r}: {len(self.x)} x, {len(self.y)} y")


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A table of values as colours; column c covers x = c − ½ … c + ½, row r likewise.

    Attributes:
        name: for the hover text.
        values: [row, column].
        low, high: values at the ends of the palette.
        palette: ``"blues"``: white to blue; ``"signed"``: blue over white to orange; ``"greys"``: white to black.
        written: is each cell's value written into it?
        unit: of the values.
    """

    name: str
    values: np.ndarray
    low: float
    high: float
    palette: Literal["blues", "signed", "greys"] = "blues"
    written: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float32)
        if values.ndim != 2 or not self.low < self.high:
            raise ValueError(f"heat {self.name!r}: shape {values.shape}, range {self.low:g} … {self.high:g}")
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class Mark:
    """A straight line across the panel, with its name at it.

    Attributes:
        at: where.
        name: what it stands for.
        along: ``"x"``: an upright line at x = ``at``; ``"y"``: a level one at y = ``at``.
        colour: CSS colour.
        dashed: broken line?
    """

    at: float
    name: str = ""
    along: Literal["x", "y"] = "y"
    colour: str = GREY
    dashed: bool = True


Layer = Series | Heat | Mark


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One pair of axes with all that is drawn in it.

    Attributes:
        key: its name in events (clicks, brushes).
        title: what it shows.
        x, y: axes.
        layers: drawn in this order.
        box: left, top, right, bottom, fractions of the picture; labels of the axes lie within.
        note: a line of text in its upper right corner.
        empty: said in the middle as long as there is nothing to draw.
        clicks, brushes: does it take clicks; may a range be dragged open?
    """

    key: str
    title: str
    x: Axis
    y: Axis
    layers: Sequence[Layer]
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    note: str = ""
    empty: str = ""
    clicks: bool = False
    brushes: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A whole picture.

    Attributes:
        panels: its parts.
        alt: what can be seen, for those who cannot see it.
        badge: where the data come from (``"emulated chip"``).
        height: in CSS pixels, at a width of ``WIDTH``.
    """

    panels: Sequence[Panel]
    alt: str
    badge: str = "emulated chip"
    height: int = 420


WIDTH = 900
"""Width for which a frame's height is meant, CSS pixels."""


def span(*arrays: np.ndarray, pad: float = 0.05, least: float = 1e-6) -> tuple[float, float]:
    """Return a range that holds all finite values, with some room; 0 … 1 if there is none."""
    finite = [a[np.isfinite(a)] for a in map(np.asarray, arrays)]
    values = np.concatenate(finite) if finite else np.empty(0)
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = max((high - low) * pad, least)
    return low - room, high + room
