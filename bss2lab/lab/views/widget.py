"""A view model as a widget: heading, buttons, controls, canvas, one line of text."""

from __future__ import annotations

import base64
import html
import os
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from bss2lab.lab.frame import Frame
from bss2lab.lab.models.base import Message, ViewModel, plainly
from bss2lab.lab.views import picture, place
from bss2lab.lab.views.controls import grouped
from bss2lab.lab.views.renderer import RENDERER, Renderer
from bss2lab.lab.views.scope import Scope
from bss2lab.plots.style import PaperFigure

STATIC = "BSS2LAB_STATIC"
"""Environment variable; 1: widgets show themselves as pictures alone (for notebooks that are to be saved)."""

_COLOURS = {"info": "#444", "busy": "#0072B2", "good": "#00734f", "error": "#b00020"}


class LabWidget(w.VBox):
    """Widget of a view model. Shows itself as a picture where no kernel runs.

    Args:
        model: what it shows and changes.
        beside: more widgets, put under the controls.
        renderer: draws it.
    """

    def __init__(self, model: ViewModel, *, beside: tuple[w.Widget, ...] = (), renderer: Renderer = RENDERER) -> None:
        self.model, self._renderer = model, renderer
        self._lock, self._over = threading.RLock(), False
        self.scope = Scope(on_ready=self._browser, on_click=self._clicked, on_brush=self._brushed)
        self.bounds, controls = grouped(model)
        self.buttons = {name: self._button(name, text) for name, text in model.actions.items()}
        self.status = w.HTML(layout=w.Layout(min_height="28px"))
        self._said: Message | None = None
        heading = w.HTML(
            f'<div style="font-size:15px;font-weight:600;white-space:nowrap">{html.escape(model.title)}</div>'
        )
        row = w.HBox([heading, *self.buttons.values()], layout=w.Layout(flex_flow="row wrap", align_items="center"))
        left = w.VBox([controls, *beside], layout=w.Layout(flex="1 1 350px", min_width="330px", max_width="460px"))
        right = w.Box([self.scope], layout=w.Layout(flex="3 1 560px", min_width="420px", display="block"))
        body = w.HBox([left, right], layout=w.Layout(flex_flow="row wrap", width="100%"))
        super().__init__([row, self.status, body], layout=w.Layout(width="100%"))
        self._forget = model.watch(self._changed)
        renderer.add(self)
        self._sync()
        place.take(model.key, self)

    # --- for the renderer -------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """See ``Drawable``."""
        return self.scope.ready

    def took_s(self) -> float:
        """See ``Drawable``."""
        return self.scope.took_s

    def draw(self) -> None:
        """See ``Drawable``."""
        with self._lock:
            if self._over:
                return
            try:
                self.show(self.model.frame())
            except Exception as error:
                self.model.message = Message(plainly(error), "error")
                self._sync_message()

    def show(self, frame: Frame) -> None:
        """Show a picture, and the controls as the model has them."""
        self._sync()
        self.scope.show(frame)

    def interrupt(self) -> None:
        """See ``Drawable``: pauses what the model computes."""
        self.model.pause()

    # --- pictures ---------------------------------------------------------------------------------------------

    def picture(self) -> PaperFigure:
        """Return the present picture as a Matplotlib figure, which a saved notebook keeps."""
        return picture.draw(self.model.frame())

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        static = os.environ.get(STATIC) == "1"
        if static:  # nothing follows this picture: it waits for what was asked for
            self.model.wait()
        frame = self.model.frame()
        picture_ = {"image/png": base64.b64encode(picture.draw(frame).small_png()).decode()}
        if static:
            return picture_
        if not self.scope.greeted and not self._over:  # goes to the page with the widget
            self.show(frame)
        bundle = super()._repr_mimebundle_(**options)
        return {**bundle, **picture_} if isinstance(bundle, dict) else picture_

    def retire(self) -> None:
        """Stop what it computes, and show one line of text: another widget of this key took its place."""
        with self._lock:
            if not self._over:
                self._end()
                self._say(Message(place.REPLACED))
                place.close_parts(self, line=self.status)

    def close(self) -> None:
        """Stop what it computes and take it off the page."""
        if self.comm is None:
            return
        with self._lock:
            self._end()
            place.close_parts(self)
            super().close()
        place.leave(self.model.key, self)

    # --- inside -----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._over = True
        self._renderer.remove(self)
        self._forget()
        another = place.on_show(self.model.key)
        if another is self or getattr(another, "model", None) is not self.model:
            self.model.close()

    def _button(self, name: str, text: str) -> w.Button:
        button = w.Button(description=text, tooltip=_first_line(getattr(self.model, name)))
        button.layout.width = "auto"
        button.on_click(lambda _: self._do(getattr(self.model, name)))
        return button

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            self.model.say(plainly(error), "error")
        self.model.changed(urgent=True)

    def _changed(self, urgent: bool) -> None:
        self._renderer.announce(self, urgent=urgent)

    def _browser(self, hello: bool) -> None:
        if hello:
            self._renderer.announce(self, urgent=True)
        else:
            self._renderer.wake()

    def _clicked(self, panel: str, x: float, y: float) -> None:
        self._do(lambda: self.model.clicked(panel, x, y))

    def _brushed(self, panel: str, low: tuple[float, float], high: tuple[float, float]) -> None:
        self._do(lambda: self.model.brushed(panel, low, high))

    def _sync(self) -> None:
        self._sync_message()
        for name, can in self.model.available().items():
            if name in self.buttons and self.buttons[name].disabled == can:
                self.buttons[name].disabled = not can
        for bound in self.bounds:
            bound.sync()

    def _sync_message(self) -> None:
        if self.model.status != self._said:
            self._say(self.model.status)

    def _say(self, message: Message) -> None:
        self._said = message
        role = "alert" if message.kind == "error" else "status"
        self.status.value = (
            f'<div role="{role}" style="color:{_COLOURS[message.kind]};font-size:13px;line-height:1.35">'
            f"{html.escape(message.text)}</div>"
        )


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0] if thing.__doc__ else ""
