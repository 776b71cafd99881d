"""Controls as sliders with number boxes, lists and switches; each bound to one setting of a view model."""

from __future__ import annotations

import math
import time
from typing import Any

import ipywidgets as w

from bss2lab.lab.models.base import ViewModel
from bss2lab.lab.models.control import Control

_LABEL = {"description_width": "150px"}

_ECHO_S = 1.0
"""For so long a slider that was put somewhere may come back from the browser, rounded in its last digit."""


class Bound:
    """One control's widgets.

    Args:
        model: has the setting.
        control: describes it.
    """

    def __init__(self, model: ViewModel, control: Control) -> None:
        self._model, self._control = model, control
        self._syncing = False
        self._placed: list[tuple[float, float]] = []
        self.slider: Any = None
        self.box: Any = None
        self.widget: w.Widget = self._made()
        self.sync()

    def sync(self) -> None:
        """Show the model's value."""
        value = self._model.values[self._control.name]
        self._syncing = True
        try:
            if self.box is not None and self.box.value != value:
                self.box.value = value
            if self.slider is not None and abs(self.slider.value - (place := self._on_slider(value))) > 1e-9:
                self._placed.append((place, time.monotonic()))
                self.slider.value = place
        finally:
            self._syncing = False

    def _made(self) -> w.Widget:
        c = self._control
        if c.look == "choice":
            self.box = w.Dropdown(options=c.choices, description=c.label, tooltip=c.provenance, style=_LABEL)
            self.box.layout.width = "99%"
        elif c.look == "switch":
            self.box = w.Checkbox(description=c.label, tooltip=c.provenance, style=_LABEL, indent=True)
            self.box.layout.width = "99%"
        else:
            return self._number()
        self.box.observe(self._boxed, "value")
        return self.box

    def _number(self) -> w.Widget:
        c = self._control
        label = f"{c.label} ({c.unit})" if c.unit else c.label
        step = c.step if c.look != "log" else None
        # for whole numbers too: ipywidgets' box for them drops the point of "1.5", and 15 would be taken
        wide = w.Layout(width="235px", flex="0 0 auto")
        self.box = w.FloatText(description=label, tooltip=c.provenance, style=_LABEL, step=step, layout=wide)
        common: dict[str, Any] = {"readout": False, "tooltip": c.provenance, "continuous_update": True}
        layout = w.Layout(flex="1 1 90px", min_width="80px")
        if c.look == "log":
            low, high = math.log10(c.low), math.log10(c.high)
            self.slider = w.FloatSlider(min=low, max=high, step=c.step, layout=layout, **common)
        elif c.look == "whole":
            self.slider = w.IntSlider(min=int(c.low), max=int(c.high), step=int(c.step), layout=layout, **common)
        else:
            self.slider = w.FloatSlider(min=c.low, max=c.high, step=c.step, layout=layout, **common)
        self.box.observe(self._boxed, "value")
        self.slider.observe(self._slid, "value")
        return w.HBox([self.box, self.slider], layout=w.Layout(width="100%"))

    def _on_slider(self, value: Any) -> Any:
        """Return the slider's position for a value: on its grid, so that the browser has nothing to round."""
        if self._control.look == "log":
            value = math.log10(value) if value > 0 else -math.inf
        low, high, step = self.slider.min, self.slider.max, self.slider.step
        value = min(max(value, low), high)
        return value if self._control.look == "whole" else round(low + round((value - low) / step) * step, 9)

    def _slid(self, change: Any) -> None:
        if self._syncing:
            return
        c, value = self._control, change["new"]
        if abs(value - self._on_slider(self._model.values[c.name])) < self.slider.step / 2:
            return  # the browser reports back where it put the handle: nobody moved it
        if self._is_echo(value):
            self.sync()
            return
        if c.look == "log":
            at_end = value <= self.slider.min + 1e-9
            value = 0.0 if c.zero and at_end else float(f"{10**value:.3g}")
        self._set(value)

    def _is_echo(self, value: float) -> bool:
        """Is this no move of a hand, but a place where the slider was put, as the browser rounds it?"""
        now = time.monotonic()
        self._placed = [(place, at) for place, at in self._placed if now - at < _ECHO_S]
        return any(abs(value - place) < 1e-6 * self.slider.step for place, _ in self._placed)

    def _boxed(self, change: Any) -> None:
        if self._syncing or change["new"] == self._model.values[self._control.name]:
            return  # the browser may report what was put back there: an error stays to be read
        self._set(change["new"])

    def _set(self, value: Any) -> None:
        self._model.set(**{self._control.name: value})
        self.sync()  # the other of the two; or both back, if it was refused


def grouped(model: ViewModel) -> tuple[list[Bound], w.Widget]:
    """Return all controls of a model, and a box with them under their headings."""
    bounds, children, group = [], [], ""
    for control in model.controls.values():
        if control.group and control.group != group:
            group = control.group
            children.append(w.HTML(f'<div style="font-weight:600;margin-top:6px">{group}</div>'))
        bound = Bound(model, control)
        bounds.append(bound)
        children.append(bound.widget)
    return bounds, w.VBox(children, layout=w.Layout(width="100%"))
