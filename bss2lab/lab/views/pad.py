"""The drawing pad: 16 × 16 grey values under mouse, pen, finger or keys, and the widget that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from bss2lab.lab.models.draw import Draw
from bss2lab.lab.views.renderer import RENDERER, Renderer
from bss2lab.lab.views.widget import LabWidget

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from numpy import ndarray

_SOURCE = Path(__file__).parents[1] / "static" / "pad.js"


class Pad(anywidget.AnyWidget):
    """A pad to draw on.

    Args:
        side: pixels of a side.
        on_pixels: called with all grey values, row after row, whenever something was drawn or cleared.
    """

    _esm = _SOURCE.read_text(encoding="utf-8")

    first = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)
    """What is shown, until a page has said hello (see ``Scope``)."""

    def __init__(self, side: int, on_pixels: Callable[[bytes], None]) -> None:
        super().__init__()
        self._side, self._on_pixels = side, on_pixels
        self._shown = bytes(side**2)
        self._greeted = False
        self.on_msg(self._heard)

    def show(self, pixels: UInt8[ndarray, "h w"]) -> bool:
        """Show a drawing, unless it is what the browser shows already. Returns whether something was sent."""
        content = pixels.tobytes()
        if content == self._shown:
            return False
        self._shown = content
        self._push()
        return True

    def _push(self) -> None:
        if self._greeted:
            self.send({"type": "pixels", "side": self._side}, [self._shown])
        else:
            self.first = {"side": self._side, "pixels": self._shown}

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        match content:
            case {"type": "pixels"} if buffers:
                self._shown = bytes(buffers[0])
                self._on_pixels(self._shown)
            case {"type": "hello"}:
                self._greeted, self.first = True, None
                self._push()


class DrawWidget(LabWidget):
    """The drawing pad and the chip's answer.

    Args:
        model: what is drawn, and what is seen in it.
        renderer: draws it.
    """

    def __init__(self, model: Draw, *, renderer: Renderer = RENDERER) -> None:
        self.pad = Pad(model.side, lambda content: self._do(lambda: model.put(content)))
        self._drawing = model
        super().__init__(model, beside=(self.pad,), renderer=renderer)

    def draw(self) -> None:
        """See ``Drawable``."""
        super().draw()
        self.pad.show(self._drawing.pixels)
