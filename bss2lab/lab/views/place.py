"""Which widget is shown under a name: the latest. What was shown there before is taken down, and says so.

ipywidgets keeps every widget until it is closed, and a cockpit is made of some 160: a cell that is run again must
not leave them behind. The one before the present one lives on as a line of text; those before that are closed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

import ipywidgets as w

REPLACED = "another cell runs this lab now; run this cell again to take it back"

_LOCK = threading.RLock()
_PLACES: dict[str, tuple[Shown, Shown | None]] = {}
"""For each name the widget on show, and the one that it replaced."""


class Shown(Protocol):
    """What can be shown under a name. Both methods may be called from any thread, and more than once."""

    def retire(self) -> None:
        """Stop, close all parts, and show ``REPLACED`` instead."""
        ...

    def close(self) -> None:
        """Stop, close all parts and go."""
        ...


def take(key: str, widget: Shown) -> None:
    """Show a widget under a name from now on."""
    with _LOCK:
        before, older = _PLACES.get(key, (None, None))
        _PLACES[key] = widget, before
    if older is not None:
        older.close()
    if before is not None:
        before.retire()


def on_show(key: str) -> Shown | None:
    """Return the widget that is shown under a name."""
    with _LOCK:
        return _PLACES.get(key, (None, None))[0]


def leave(key: str, widget: Shown) -> None:
    """Forget a widget that is closed; with the one on show goes what is left of the one before."""
    with _LOCK:
        shown, before = _PLACES.get(key, (None, None))
        if shown is widget:
            del _PLACES[key]
        elif shown is not None and before is widget:
            _PLACES[key] = shown, None
    if shown is widget and before is not None:
        before.close()


def close_parts(box: w.Box, *, line: w.Widget | None = None) -> None:
    """Close all widgets that a box is made of, layouts and styles too, but not itself, and forget who listens to them.

    Args:
        box: the box.
        line: what it shows from now on; a part that it has may stay.
    """
    stay: set[int] = {id(box)}
    parts = list(_tree(box, set()))
    if line is not None:
        box.children = (line,)
        stay |= {id(part) for part in _tree(box, set())}
    for part in parts:
        if id(part) not in stay:
            part.close()
            part.unobserve_all()


def _tree(widget: w.Widget, seen: set[int]) -> Iterator[w.Widget]:
    """Yield a widget and all that its state names."""
    if id(widget) in seen:
        return
    seen.add(id(widget))
    yield widget
    for name in widget.keys:
        for part in _widgets(getattr(widget, name)):
            yield from _tree(part, seen)


def _widgets(value: Any) -> Iterator[w.Widget]:
    if isinstance(value, w.Widget):
        yield value
    elif isinstance(value, list | tuple):
        yield from (one for one in value if isinstance(one, w.Widget))
