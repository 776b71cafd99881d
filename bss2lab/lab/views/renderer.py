"""The one place from which pictures are sent: the kernel's main loop, at most ten a second for each widget.

Models announce changes from any thread; the renderer takes the latest state when the time has come and the browser has
drawn what it was asked to acknowledge. Nothing runs while nothing changes.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Protocol

PERIOD_S = 0.15
"""Shortest time between two pictures of progress that nobody waits for ..."""

SHARE = 0.015
"""... which take no more than this share of the browser's time (on a small computer, what draws does not train) ..."""

SLOWEST_S = 2.0
"""... but come at least so often."""

URGENT_S = 0.05
"""Time after a picture before the next one that answers a move of somebody's hand ..."""

BURST_S = 0.1
"""... and on average no more than one in this time: at most ten pictures a second."""


class Drawable(Protocol):
    """What a renderer draws."""

    def draw(self) -> None:
        """Show the latest state."""
        ...

    def ready(self) -> bool:
        """Has the browser drawn the last picture?"""
        ...

    def took_s(self) -> float:
        """How long the browser took for the last picture, s."""
        ...

    def interrupt(self) -> None:
        """The user pressed the kernel's stop button."""
        ...


class _Entry:
    """When one widget was drawn, and whether it has to be drawn again."""

    def __init__(self) -> None:
        self.dirty, self.urgent = True, True
        self.last = self.owed = -1e9

    def due(self, took_s: float) -> float:
        """Time from which it may be drawn, if the last picture took the browser so long."""
        if self.urgent:
            return max(self.last + URGENT_S, self.owed)
        return self.last + min(max(PERIOD_S, took_s / SHARE), SLOWEST_S)

    def drawn(self, now: float) -> None:
        self.dirty = self.urgent = False
        self.last, self.owed = now, max(self.owed, now - BURST_S) + BURST_S


class Renderer:
    """Draws widgets from the main loop."""

    def __init__(self) -> None:
        self._entries: dict[Drawable, _Entry] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._scheduled = False

    def add(self, widget: Drawable) -> None:
        """Draw this widget from now on."""
        with self._lock:
            self._entries.setdefault(widget, _Entry())
        self._find_loop()
        self.announce(widget, urgent=True)

    def remove(self, widget: Drawable) -> None:
        """Draw it no more."""
        with self._lock:
            self._entries.pop(widget, None)

    def announce(self, widget: Drawable, *, urgent: bool = False) -> None:
        """Something changed (from any thread)."""
        with self._lock:
            entry = self._entries.get(widget)
            if entry is None:
                return
            entry.dirty = True
            entry.urgent |= urgent
        self._schedule()

    def wake(self) -> None:
        """The browser is ready for more (from any thread)."""
        self._schedule()

    def tick(self, now: float | None = None) -> float | None:
        """Draw what is due; return the seconds after which to look again, or None if nothing waits."""
        now = time.monotonic() if now is None else now
        later: list[float] = []
        with self._lock:
            waiting = [(widget, entry) for widget, entry in self._entries.items() if entry.dirty]
        for widget, entry in waiting:
            if not widget.ready():
                later.append(0.25)  # it calls `wake` when it is; this is for one that never does
            elif (due := entry.due(widget.took_s())) > now:
                later.append(due - now)
            else:
                entry.drawn(now)
                widget.draw()
        return min(later, default=None)

    def interrupt(self) -> None:
        """Pause whatever is computed (the kernel's stop button)."""
        for widget in list(self._entries):
            widget.interrupt()

    # --- in the kernel ----------------------------------------------------------------------------------------

    def _find_loop(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            return
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a script, or a test that calls tick() itself
            self._loop = None

    def _schedule(self) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        loop.call_soon_threadsafe(self._pump)

    def _pump(self) -> None:
        with self._lock:
            self._scheduled = False
        self._listen_for_interrupts()
        wait = self.tick()
        if wait is not None and self._loop is not None:
            self._loop.call_later(wait, self._schedule)

    def _listen_for_interrupts(self) -> None:
        """Let the stop button act between cells too, when the kernel itself ignores it."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda *_: self.interrupt())


RENDERER = Renderer()
"""The renderer of this process."""
