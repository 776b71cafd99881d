"""Curves of training in plotly: values under the pointer, and a legend that switches curves off and on."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from bss2lab.lab.frame import WIDTH, Axis, Frame, Mark, Panel, Series
from bss2lab.lab.models import curves
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.curves import AnyRun
from bss2lab.lab.views import picture, place
from bss2lab.plots.style import PaperFigure

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 0.5
"""Least time between two redrawings: a figure of plotly is slow to redraw."""

_DASHES = {"dashed": "dash", "line": "solid"}


class Curves(w.VBox):
    """Curves of one or more runs. Shows itself as a picture where no kernel runs.

    Args:
        *runs: lists of epochs, records (or files) of ``bss2lab train --json``, cockpits. A cockpit is followed.
        key: its name; another one of the same name takes its place.

    Raises:
        InputError, DataError: see ``curves.course_of``.
    """

    def __init__(self, *runs: AnyRun, key: str = "curves") -> None:
        from plotly.graph_objects import FigureWidget

        self.frame: Frame = curves.frame(curves.courses_of(runs))
        self.figure: Any = FigureWidget()
        self._runs: tuple[AnyRun, ...] = runs
        self._followed: list[tuple[Cockpit, Callable[[], None]]] = []
        self._key, self._over = key, False
        self._drawn_at, self._waits = -1e9, False
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # no kernel
            self._loop = None
        super().__init__([self.figure], layout=w.Layout(width="100%"))
        self._follow()
        self.flush()
        place.take(key, self)

    def show(self, *runs: AnyRun) -> bool:
        """Show these runs from now on; redraws no more often than twice a second, and the last ones in any case.

        Returns:
            Was it redrawn at once?

        Raises:
            InputError, DataError: see ``curves.course_of``; then nothing is changed.
        """
        found = curves.frame(curves.courses_of(runs))
        same = len(runs) == len(self._runs) and all(a is b for a, b in zip(runs, self._runs, strict=True))
        self._runs = runs
        if not same:
            self._follow()
        self.frame = found
        return self._soon()

    def flush(self) -> None:
        """Redraw now, whenever it was done last."""
        if self._over:
            return
        self.frame = curves.frame(curves.courses_of(self._runs))
        self._drawn_at = time.monotonic()
        _redraw(self.figure, self.frame)

    def picture(self) -> PaperFigure:
        """Return the latest curves as a Matplotlib figure, which a saved notebook keeps."""
        return picture.draw(self.frame)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        self.flush()
        bundle = super()._repr_mimebundle_(**options)
        if isinstance(bundle, dict):
            bundle = {**bundle, "image/png": base64.b64encode(self.picture().small_png()).decode()}
        return bundle  # type: ignore[return-value]

    def retire(self) -> None:
        """Follow no cockpit any more, and show one line of text: another one of this name took its place."""
        if not self._over:
            self._end()
            place.close_parts(self, line=w.HTML(f'<div role="status">{place.REPLACED}</div>'))

    def close(self) -> None:
        """Follow no cockpit any more, and take it off the page."""
        if self.comm is None:
            return
        self._end()
        place.close_parts(self)
        super().close()
        place.leave(self._key, self)

    # --- inside -----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._over, self._runs = True, ()
        self._follow()

    def _follow(self) -> None:
        """Watch the cockpits among the runs, and no others."""
        for _, end in self._followed:
            end()
        self._followed = [(run, run.watch(self._heard)) for run in self._runs if isinstance(run, Cockpit)]
        self._counted = self._epochs()

    def _epochs(self) -> list[int]:
        return [len(run.run.epochs) if run.run is not None else 0 for run, _ in self._followed]

    def _heard(self, urgent: bool) -> None:
        """A cockpit changed (any thread): redraw from the main loop, if it has another epoch."""
        count = self._epochs()
        if count != self._counted and self._loop is not None and not self._loop.is_closed():
            self._counted = count
            self._loop.call_soon_threadsafe(self._soon)

    def _soon(self) -> bool:
        """Redraw now, or as soon as half a second has passed since the last time."""
        left = self._drawn_at + EVERY_S - time.monotonic()
        if left <= 0:
            self.flush()
            return True
        if self._loop is not None and not self._waits:
            self._waits = True
            self._loop.call_later(left, self._late)
        return False

    def _late(self) -> None:
        self._waits = False
        self._soon()


def _redraw(figure: Any, frame: Frame) -> None:
    """Bring a figure to a frame; curves that were switched off in the legend stay off."""
    hidden = {(trace.xaxis, trace.name): trace.visible for trace in figure.data}
    with figure.batch_update():
        figure.data = ()
        figure.layout = _layout(frame)
        figure.add_traces([trace for k, panel in enumerate(frame.panels) for trace in _traces(panel, k + 1)])
        for trace in figure.data:
            trace.visible = hidden.get((trace.xaxis, trace.name), True)


def _traces(panel: Panel, number: int) -> list[Any]:
    from plotly.graph_objects import Scatter

    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    made: list[Any] = []
    for layer in panel.layers:
        match layer:
            case Series():
                line = {"color": layer.colour, "width": layer.width, "dash": _DASHES.get(layer.style, "solid")}
                unit = f" {panel.y.unit}" if panel.y.unit else ""
                made.append(Scatter(
                    x=layer.x, y=layer.y, name=layer.name, mode="lines+markers" if len(layer.x) < 30 else "lines",
                    line=line, marker={"size": 5}, legend=_legend(number), **axes,
                    hovertemplate=f"%{{y:.4g}}{unit}",
                ))  # fmt: skip
            case Mark(along="y"):
                made.append(Scatter(
                    x=[panel.x.low, panel.x.high], y=[layer.at, layer.at], name=layer.name, mode="lines",
                    line={"color": layer.colour, "width": 1.2, "dash": "dash"}, legend=_legend(number), **axes,
                    hoverinfo="skip",
                ))  # fmt: skip
    return made


def _legend(number: int) -> str:
    return "legend" if number == 1 else f"legend{number}"


def _layout(frame: Frame) -> dict[str, Any]:
    most = max(sum(bool(getattr(layer, "name", "")) for layer in panel.layers) for panel in frame.panels)
    top = 40 + (20 * -(-most // 2) if most > 5 else 20)
    layout: dict[str, Any] = {
        "template": "simple_white", "height": frame.height - 60 + top, "hovermode": "x unified", "autosize": True,
        "margin": {"l": 60, "r": 10, "t": top, "b": 60}, "font": {"size": 12}, "annotations": [], "meta": frame.alt,
    }  # fmt: skip
    gap = 60 / WIDTH
    for k, panel in enumerate(frame.panels):
        number = "" if k == 0 else str(k + 1)
        left, right = panel.box[0] + (gap if k else 0.0), panel.box[2] - (0.0 if k else gap / 2)
        layout[f"xaxis{number}"] = {**_axis(panel.x), "domain": [left, right], "anchor": f"y{k + 1}"}
        layout[f"yaxis{number}"] = {**_axis(panel.y), "domain": [0.0, 1.0], "anchor": f"x{k + 1}"}
        layout[_legend(k + 1)] = {"x": left, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "orientation": "h"}
    if frame.badge:
        layout["annotations"].append({
            "text": frame.badge, "x": 0.5, "y": -0.13, "xref": "paper", "yref": "paper", "xanchor": "center",
            "yanchor": "top", "showarrow": False, "font": {"color": "white", "size": 11}, "bgcolor": "#666666",
        })  # fmt: skip
    return layout


def _axis(axis: Axis) -> dict[str, Any]:
    from math import log10

    low, high = (log10(axis.low), log10(axis.high)) if axis.log else (axis.low, axis.high)
    made: dict[str, Any] = {
        "title": {"text": axis.title},
        "range": [low, high],
        "type": "log" if axis.log else "linear",
    }
    if axis.log:
        made |= {"dtick": 1, "exponentformat": "power"}
    if axis.integer:
        made["tickformat"] = "d"
    return made
