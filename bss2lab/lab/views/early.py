"""What a page sees of a widget although its kernel is busy: the base of canvas and pad.

A message comes before anybody listens, if it is sent when the widget is made; and a page that asks for one waits
while the kernel runs the cells below ("run all"). So what is to be seen is part of the widget's state until a page has
said hello, and a message from then on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_STATIC = Path(__file__).parents[1] / "static"


def module(*names: str) -> str:
    """Return the browser's code: these files of ``lab/static``, one after the other."""
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)


class EarlyWidget(anywidget.AnyWidget):
    """A widget that shows what Python puts, also while the kernel hears nothing (in JavaScript: ``early.js``)."""

    first = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)
    """The latest message and its block, until a page has said hello."""

    def __init__(self) -> None:
        super().__init__()
        self.greeted = False
        """Has a page said hello?"""
        self.on_msg(self._arrived)

    def put(self, message: dict[str, Any], block: bytes) -> None:
        """Show this: a JSON-ready message with a type, and bytes."""
        if self.greeted:
            self.send(message, [block])
        else:
            self.first = {**message, "block": block}

    def hello(self) -> None:
        """A page has opened, and listens now."""

    def heard(self, content: Any, buffers: Any) -> None:
        """A page sent something else."""

    def _arrived(self, _: Any, content: Any, buffers: Any) -> None:
        if content == {"type": "hello"}:
            self.greeted, self.first = True, None
            self.hello()
        else:
            self.heard(content, buffers)
