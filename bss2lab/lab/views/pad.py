"""The drawing pad: 16 × 16 grey values under mouse, pen, finger or keys, and the widget that reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bss2lab.lab.frame import Frame
from bss2lab.lab.models.draw import Draw
from bss2lab.lab.views.early import EarlyWidget, module
from bss2lab.lab.views.renderer import RENDERER, Renderer
from bss2lab.lab.views.widget import LabWidget

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from numpy import ndarray


class Pad(EarlyWidget):
    """A pad to draw on.

    Args:
        side: pixels of a side.
        on_pixels: called with all grey values, row after row, whenever something was drawn or cleared.
    """

    _esm = module("early.js", "pad.js")

    def __init__(self, side: int, on_pixels: Callable[[bytes], None]) -> None:
        super().__init__()
        self._side, self._on_pixels = side, on_pixels
        self._shown = bytes(side**2)

    def show(self, pixels: UInt8[ndarray, "h w"]) -> bool:
        """Show a drawing, unless it is what the browser shows already. Returns whether something was sent."""
        content = pixels.tobytes()
        if content == self._shown:
            return False
        self._shown = content
        self._push()
        return True

    def hello(self) -> None:
        """See ``EarlyWidget``."""
        self._push()

    def heard(self, content: Any, buffers: Any) -> None:
        """See ``EarlyWidget``."""
        if content == {"type": "pixels"} and buffers:
            self._shown = bytes(buffers[0])
            self._on_pixels(self._shown)

    def _push(self) -> None:
        self.put({"type": "pixels", "side": self._side}, self._shown)


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

    def show(self, frame: Frame) -> None:
        """See ``LabWidget``; the drawing too."""
        super().show(frame)
        self.pad.show(self._drawing.pixels)
