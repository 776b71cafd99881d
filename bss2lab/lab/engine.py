"""Where everything that takes time is computed: one thread, cooperative tasks.

A task is a generator that yields between steps of a few milliseconds. One thread takes the tasks in turn, urgent ones
first, so that an answer to a slider comes between two batches of a training that goes on; compiled kernels release the
GIL meanwhile. Because there is one thread, no two of them ever touch one network, and the cores are not fought over.

The thread ends when there is nothing to do, and comes back when there is. Starting a task under a key stops the one
that had it: a cell that is run again does not leave two trainers behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

State = Literal["running", "paused", "done", "failed", "stopped"]

_LINGER_S = 0.5
"""How long the thread waits for another task before it ends."""


_log = logging.getLogger("bss2lab")


class Task:
    """A computation in progress. All methods may be called from any thread.

    Attributes:
        key: its name; one task per key.
        urgent: does it go before others?
        owner: for whom it is computed.
        error: what it failed with.
    """

    def __init__(
        self, engine: Engine, key: str, steps: Iterator[object], *, urgent: bool, owner: object = None
    ) -> None:
        self.key, self.urgent, self.owner = key, urgent, owner
        self.error: BaseException | None = None
        self._engine, self._steps = engine, steps
        self._state: State = "running"
        self._ended = threading.Event()

    def __repr__(self) -> str:
        return f"Task({self.key!r}, {self.state})"

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    def pause(self) -> None:
        """Take no further step until ``resume``; the step in progress is finished."""
        self._engine._move(self, ("running",), "paused")

    def resume(self) -> None:
        """Go on."""
        self._engine._move(self, ("paused",), "running")

    def stop(self) -> None:
        """Take no further step, and close the generator (in the engine's thread, between steps)."""
        self._engine._move(self, ("running", "paused"), "stopped")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; False if the time ran out first."""
        return self._ended.wait(timeout_s)


class Engine:
    """One thread and its tasks.

    Attributes:
        waiting_for: what keeps all tasks waiting and for how long (a kernel that is compiled); empty: nothing.
        listeners: called when that changes, from whatever thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._tasks: list[Task] = []
        self._thread: threading.Thread | None = None
        self.waiting_for = ""
        self.listeners: list[Callable[[], None]] = []

    def start(self, key: str, steps: Iterator[object], *, urgent: bool = False, owner: object = None) -> Task:
        """Begin a task; the one that had its key is stopped, whoever owned it.

        Args:
            key: its name.
            steps: a generator; each step should take some milliseconds.
            urgent: take it before those that are not.
            owner: for whom it is computed.
        """
        task = Task(self, key, steps, urgent=urgent, owner=owner)
        with self._lock:
            for old in self._tasks:
                if old.key == key and old._state in ("running", "paused"):
                    old._state = "stopped"
            self._tasks.append(task)
            self._wake()
        return task

    def call(self, key: str, function: Callable[[], object], *, urgent: bool = True, owner: object = None) -> Task:
        """Begin a task of a single step."""

        def steps() -> Iterator[None]:
            function()
            yield

        return self.start(key, steps(), urgent=urgent, owner=owner)

    def pause_all(self) -> None:
        """Pause every task (an interrupt)."""
        for task in self.tasks:
            task.pause()

    def stop_all(self, timeout_s: float = 5.0) -> None:
        """Stop every task and wait for the thread to end."""
        for task in self.tasks:
            task.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that have not ended."""
        with self._lock:
            return tuple(self._tasks)

    @property
    def alive(self) -> bool:
        """Is there a thread at the moment?"""
        return self._thread is not None

    def _move(self, task: Task, before: tuple[State, ...], after: State) -> None:
        with self._lock:
            if task._state in before:
                task._state = after
                self._wake()

    def _wake(self) -> None:
        """Make sure that somebody looks at the tasks; called with the lock held."""
        self._lock.notify_all()
        if self._thread is None and any(t._state in ("running", "stopped") for t in self._tasks):
            self._thread = threading.Thread(target=self._work, name="bss2lab", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        try:
            from bss2lab.kernels.cache import watching  # (brings the compiler)
        except BaseException as error:
            self._serve(broken=error)
            return
        with watching(self._wait_for):
            self._serve()

    def _wait_for(self, compiling: object) -> None:
        self.waiting_for = "" if compiling is None else str(compiling)
        for listener in tuple(self.listeners):
            try:
                listener()
            except Exception as error:  # whoever shows it: what is computed does not depend on that
                _log.warning(
                    "%s could not be shown: %s: %s", self.waiting_for or "a kernel", type(error).__name__, error
                )

    def _serve(self, broken: BaseException | None = None) -> None:
        """Take steps until there is nothing to do; if something is ``broken``, every task fails with that."""
        while (task := self._next()) is not None:
            if task._state == "stopped":
                self._end(task, "stopped")
                continue
            try:
                if broken is not None:
                    raise broken
                next(task._steps)
                self._requeue(task)
            except StopIteration:
                self._end(task, "done")
            except BaseException as error:
                task.error = error
                self._end(task, "failed")

    def _next(self) -> Task | None:
        """Return the next task to serve, in turn, or None when the thread is to end."""
        with self._lock:
            deadline = time.monotonic() + _LINGER_S
            while True:
                ready = [t for t in self._tasks if t._state == "stopped"]
                ready += [t for t in self._tasks if t._state == "running" and t.urgent]
                ready += [t for t in self._tasks if t._state == "running"]
                if ready:
                    return ready[0]
                left = deadline - time.monotonic()
                if left <= 0:
                    self._thread = None
                    return None
                self._lock.wait(left)

    def _requeue(self, task: Task) -> None:
        """Put a task behind all others, those included that came during its step."""
        with self._lock:
            self._tasks.remove(task)
            self._tasks.append(task)

    def _end(self, task: Task, state: State) -> None:
        try:
            close = getattr(task._steps, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            task.error = error
            state = "failed"
        with self._lock:
            task._state = state
            self._tasks.remove(task)
        task._ended.set()


ENGINE = Engine()
"""The engine of this process."""
