"""A frame as a Matplotlib figure: what a saved notebook shows where no kernel runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from bss2lab.lab.frame import WIDTH, Axis, Frame, Heat, Mark, Panel, Series
from bss2lab.plots import style

_INCH = 100.0
_HALO = [withStroke(linewidth=2, foreground="white")]  # around words on curves
_MAPS = {
    "blues": LinearSegmentedColormap.from_list("blues", ["#ffffff", "#004488"]),
    "greys": LinearSegmentedColormap.from_list("greys", ["#ffffff", "#000000"]),
    "signed": LinearSegmentedColormap.from_list("signed", ["#0072B2", "#ffffff", "#D55E00"]),
}


def draw(frame: Frame) -> style.PaperFigure:
    """Draw a frame, panel by panel, as the canvas in the browser does.

    Returns:
        A new figure.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(WIDTH / _INCH, frame.height / _INCH))
        figure.set_layout_engine("none")
        for panel in frame.panels:
            left, top, right, bottom = panel.box
            wide = 0.068 + 0.006 * max(map(len, panel.y.names), default=0)
            low, high = 1 - bottom + 42 / frame.height, 1 - top - 34 / frame.height
            axes = figure.add_axes((left + wide, low, right - left - wide - 0.012, high - low))
            _panel(axes, panel)
        if frame.badge:
            software = not frame.badge.startswith("emulated")
            data = frame.badge.partition(" · ")[2]
            style.badge(figure, emulated=not software, data=data)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    words: list[tuple[Mark, Annotation]] = []
    for layer in panel.layers:
        match layer:
            case Series():
                _series(axes, layer)
            case Heat():
                _heat(axes, layer)
            case Mark():
                text = _mark(axes, layer)
                words += [(layer, text)] if layer.name else []
    axes.set_title(panel.title, loc="left", fontweight="bold", fontsize=9)
    if panel.note:
        axes.set_title(panel.note, loc="right", fontsize=8, color=style.REFERENCE)
    _axis(axes, panel.x, "x")
    _axis(axes, panel.y, "y")
    names = [layer.name for layer in panel.layers if isinstance(layer, Series) and layer.name]
    if names:
        axes.legend(
            fontsize=6.5, loc="best", ncols=2 if len(names) > 6 else 1, handlelength=1.2, markerscale=2,
            frameon=True, framealpha=0.75, edgecolor="none",
        )  # fmt: skip
    if words:
        _place_words(axes, words)
    if panel.empty and not any(isinstance(x, Heat) or (isinstance(x, Series) and len(x.x)) for x in panel.layers):
        axes.text(0.5, 0.5, panel.empty, transform=axes.transAxes, ha="center", va="center", color=style.REFERENCE)


def _axis(axes: Axes, axis: Axis, letter: str) -> None:
    limits = (axis.high, axis.low) if axis.down else (axis.low, axis.high)
    on = axes.xaxis if letter == "x" else axes.yaxis
    axes.set(**{f"{letter}label": axis.title, f"{letter}lim": limits})
    if axis.log:
        axes.set(**{f"{letter}scale": "log"})
        on.set_major_locator(LogLocator(subs=(1, 2, 5) if axis.high < 50 * axis.low else (1,)))
        on.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        on.set_minor_formatter(NullFormatter())
        axes.set(**{f"{letter}lim": limits})
    elif axis.names:
        every = max(1, len(axis.names) // 21 + 1)
        where = range(0, len(axis.names), every)
        on.set_ticks(list(where), [axis.names[k] for k in where], fontsize=7)
    else:
        on.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=axis.integer))
        on.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _series(axes: Axes, one: Series) -> None:
    options = {"color": one.colour, "alpha": one.alpha, "label": one.name or "_"}
    if one.style in ("dots", "ticks"):
        marker, edge = ("s", 0.0) if one.style == "dots" else ("|", one.width)
        size = one.width * 0.8 if one.style == "dots" else 7.0
        axes.plot(one.x, one.y, linestyle="none", marker=marker, markersize=size, markeredgewidth=edge, **options)
    elif one.style == "bars":
        gap = 0.9 if len(one.x) <= 60 else 1.0  # many bars are one shape: gaps between them would flicker
        wide = float(one.x[1] - one.x[0]) * gap if len(one.x) > 1 else 0.8
        if gap == 1.0:
            options |= {"antialiased": False}
        axes.bar(one.x, one.y, width=wide, linewidth=0, **options)
    elif one.style == "band":
        n = len(one.x) // 2 * 2
        axes.fill_between(one.x[:n:2], one.y[1:n:2], one.y[:n:2], linewidth=0, **options)
    else:
        drawn = "steps-post" if one.style == "steps" else "default"
        line = "--" if one.style == "dashed" else "-"
        marker = "o" if 0 < len(one.x) <= 2 else None
        axes.plot(
            one.x, one.y, linestyle=line, linewidth=0.8 * one.width, drawstyle=drawn, marker=marker, markersize=3,
            **options,
        )  # fmt: skip


def _heat(axes: Axes, one: Heat) -> None:
    values = np.ma.masked_invalid(one.values)
    axes.imshow(
        values,
        cmap=_MAPS[one.palette],
        vmin=one.low,
        vmax=one.high,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
    )
    if one.written:
        for (r, c), value in np.ndenumerate(one.values):
            if np.isfinite(value):
                deep = abs(value - (one.low if one.palette != "signed" else (one.low + one.high) / 2))
                dark = deep > 0.6 * (one.high - one.low) / (1 if one.palette != "signed" else 2)
                axes.text(
                    c, r, f"{value:.0f}", ha="center", va="center", fontsize=6, color="white" if dark else "black"
                )


def _mark(axes: Axes, one: Mark) -> Annotation:
    options: dict[str, Any] = {"color": one.colour, "linestyle": "--" if one.dashed else "-", "linewidth": 0.9}
    along_x = one.along == "x"
    if along_x:
        axes.axvline(one.at, **options)
    else:
        axes.axhline(one.at, **options)
    return axes.annotate(
        one.name, (one.at, 0.0) if along_x else (0.0, one.at), xytext=(0, 0), textcoords="offset points",
        xycoords=("data", "axes fraction") if along_x else ("axes fraction", "data"), annotation_clip=False,
        rotation=90 if along_x else 0, fontsize=7, color=one.colour, path_effects=_HALO,
    )  # fmt: skip


_PLACES = ("right", "bottom"), ("left", "bottom"), ("right", "top"), ("left", "top")
"""Where a mark's words may stand, as horizontal and vertical alignment, best first."""


def _place_words(axes: Axes, words: list[tuple[Mark, Annotation]]) -> None:
    """Put the words of marks where they meet neither the legend, nor each other, nor the panel's edge."""
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    renderer, room, legend = canvas.get_renderer(), axes.get_window_extent(), axes.get_legend()
    taken: list[Bbox] = []
    if legend is not None:
        box = legend.get_window_extent(renderer)
        legend.set_loc(tuple(axes.transAxes.inverted().transform((box.x0, box.y0))))  # and there it stays
        taken.append(box)
    for mark, text in words:
        free = (place for place in _PLACES if _fits(_put(mark, text, place, renderer), room, taken))
        place = next(free, _PLACES[0])
        taken.append(_put(mark, text, place, renderer))


def _put(mark: Mark, text: Annotation, place: tuple[str, str], renderer: RendererAgg) -> Bbox:
    across, up = place
    if mark.along == "x":
        text.xy = (mark.at, 0.03 if up == "bottom" else 0.97)
        text.set_position((-2 if across == "right" else 2, 0))
    else:
        text.xy = (0.99 if across == "right" else 0.01, mark.at)
        text.set_position((0, 1 if up == "bottom" else -2))
    text.set(ha=across, va=up)
    return text.get_window_extent(renderer)


def _fits(box: Bbox, room: Bbox, taken: list[Bbox]) -> bool:
    inside = room.x0 - 1 <= box.x0 and box.x1 <= room.x1 + 1 and room.y0 - 1 <= box.y0 and box.y1 <= room.y1 + 1
    return inside and not any(box.overlaps(other) for other in taken)
