"""The canvas: shows frames in the browser, and reports clicks, brushes and that a frame has been drawn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from bss2lab.lab.frame import Frame
from bss2lab.lab.views.early import EarlyWidget, module
from bss2lab.lab.wire import packed

PATIENCE_S = 1.0
"""A frame that was not acknowledged by then is taken for lost (a closed tab, a sleeping laptop)."""

LEISURE_S, EVERY = 0.4, 8
"""Of frames further apart than this, only each so manieth is acknowledged: JupyterLab shows the kernel busy and idle
for every message that it hears, which costs a browser twice what the frame does."""


class Scope(EarlyWidget):
    """Shows the latest frame. No frame is sent before the last one that asks for it was acknowledged, or
    ``PATIENCE_S`` has passed; in a quick sequence every frame asks.

    Args:
        on_ready: called (from any thread) when another frame may be sent, or a page asks for one.
        on_click: called with panel, x and y.
        on_brush: called with panel and two corners.
    """

    _esm = module("painter.js", "early.js", "scope.js")

    def __init__(
        self,
        *,
        on_ready: Callable[[bool], None] = lambda hello: None,
        on_click: Callable[[str, float, float], None] = lambda panel, x, y: None,
        on_brush: Callable[[str, tuple[float, float], tuple[float, float]], None] = lambda panel, low, high: None,
    ) -> None:
        super().__init__()
        self._on_ready, self._on_click, self._on_brush = on_ready, on_click, on_brush
        self._sent = self._asked = self._drawn = 0
        self._sent_at = self._asked_at = -math.inf
        self.took_s = 0.0
        """How long the browser took for the last picture that it acknowledged, the way there and back included."""

    @property
    def ready(self) -> bool:
        """May another frame be sent?"""
        return self._drawn >= self._asked or time.monotonic() - self._asked_at > PATIENCE_S

    def show(self, frame: Frame) -> int:
        """Send a frame; return its number."""
        header, block = packed(frame)
        self._sent += 1
        before, self._sent_at = self._sent_at, time.monotonic()
        new_page = self._asked_at == -math.inf
        asks = new_page or self._sent_at - before < LEISURE_S or self._sent - self._asked >= EVERY
        if asks or not self.greeted:
            self._asked, self._asked_at = self._sent, self._sent_at
        self.put({"type": "frame", "id": self._sent, "asks": asks and self.greeted, "frame": header}, block)
        return self._sent

    def hello(self) -> None:
        """See ``EarlyWidget``."""
        self._drawn, self._asked_at = self._sent, -math.inf
        self._on_ready(True)

    def heard(self, content: Any, buffers: Any) -> None:
        """See ``EarlyWidget``."""
        match content:
            case {"type": "drawn", "id": int(number)}:
                self._drawn = max(self._drawn, min(number, self._sent))
                if number == self._asked:
                    self.took_s = time.monotonic() - self._asked_at
                self._on_ready(False)
            case {"type": "click", "panel": str(panel), "x": int() | float() as x, "y": int() | float() as y}:
                self._on_click(panel, float(x), float(y))
            case {"type": "brush", "panel": str(panel), "low": [x0, y0], "high": [x1, y1]}:
                self._on_brush(panel, (float(x0), float(y0)), (float(x1), float(y1)))
