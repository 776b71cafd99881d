"""What all view models share: settings with controls, a message, a frame, and watchers.

A model may be changed from any thread. Whoever watches it is told that *something* changed and takes the latest frame
when it is ready for one; nothing is ever drawn from here.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bss2lab.errors import Bss2Error, InputError, complain
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models.control import Control
from bss2lab.storage import write_atomically

Kind = Literal["info", "busy", "good", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence for whoever looks at the widget.

    Attributes:
        text: the sentence.
        kind: how it is shown.
    """

    text: str
    kind: Kind = "info"


class ViewModel(ABC):
    """State of one widget.

    Args:
        controls: what can be set, in the order in which it is shown.
        key: name of its tasks in the engine; a second model of the same key takes over from the first.
        engine: where it computes.
    """

    title: str
    """Heading of the widget."""

    actions: Mapping[str, str] = {}
    """Names of methods without arguments that are offered as buttons, and what the buttons say."""

    answers_soon = False
    """Does what it computes after a change announce itself within some 20 ms? Then no picture is drawn before that."""

    def __init__(self, controls: Sequence[Control], *, key: str, engine: Engine = ENGINE) -> None:
        self.controls = {control.name: control for control in controls}
        self.values: dict[str, Any] = {control.name: control.value for control in controls}
        self.key, self.engine = key, engine
        self.message = Message("")
        self.lock = threading.RLock()
        self._watchers: list[Callable[[bool], None]] = []
        self._version = 0

    # --- settings ---------------------------------------------------------------------------------------------

    def set(self, **values: Any) -> bool:
        """Change settings; all of them or, if one is wrong, none.

        Args:
            **values: by name.

        Returns:
            Were they accepted? If not, ``message`` says what was wrong.
        """
        try:
            checked = {name: self._control(name).check(value) for name, value in values.items()}
            with self.lock:
                before = {name: self.values[name] for name in checked}
                moved = {name: value for name, value in checked.items() if value != before[name]}
                self.values.update(moved)
                try:
                    if moved:
                        self.on_set(moved)
                except Bss2Error:
                    self.values.update(before)
                    raise
        except Bss2Error as error:
            self.say(str(error), "error")
            return False
        if self.message.kind == "error":
            self.message = Message("")
        self.changed(urgent=not self.answers_soon)
        return True

    def on_set(self, moved: dict[str, Any]) -> None:  # noqa: B027 (nothing to do, unless a model does)
        """React to settings that moved (called with the lock held). Raise ``InputError`` to refuse them."""

    def defaults(self) -> None:
        """Set everything to where it began."""
        self.set(**{name: control.value for name, control in self.controls.items()})

    def _control(self, name: str) -> Control:
        if name not in self.controls:
            want = f"one of {', '.join(self.controls)}"
            raise InputError(complain("setting", expected=want, got=repr(name), fix="check its spelling"))
        return self.controls[name]

    # --- state to and from JSON -------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the settings as JSON text, for instructors to hand out."""
        body = {"bss2lab": type(self).__name__, "settings": self.values}
        return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def from_json(self, text: str) -> bool:
        """Take over settings from JSON text; all of them or none. Returns whether they were accepted."""
        try:
            body = json.loads(text)
            kind, settings = body["bss2lab"], body["settings"]
            if kind != type(self).__name__ or not isinstance(settings, dict):
                raise ValueError(f"the state of {kind!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            want, got = f"the saved state of a {type(self).__name__}", " ".join(str(error).split())[:120]
            self.say(complain("state", expected=want, got=got, fix="choose a file made with “save state”"), "error")
            return False
        return self.set(**settings)

    def save(self, path: Path | str) -> None:
        """Write the settings to a JSON file."""
        write_atomically(Path(path), self.to_json().encode())

    def load(self, path: Path | str) -> bool:
        """Take over settings from a JSON file. Returns whether they were accepted."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            want = "a readable JSON file"
            self.say(complain(str(path), expected=want, got=type(error).__name__, fix="check the path"), "error")
            return False
        return self.from_json(text)

    # --- watching ---------------------------------------------------------------------------------------------

    @abstractmethod
    def frame(self) -> Frame:
        """Return the present picture. Cheap: it computes nothing that takes more than some milliseconds."""

    def watch(self, watcher: Callable[[bool], None]) -> Callable[[], None]:
        """Call ``watcher(urgent)`` after every change, from whatever thread made it. Returns how to end that."""
        self._watchers.append(watcher)
        self.engine.listeners.append(self.changed)

        def end() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
                self.engine.listeners.remove(self.changed)

        return end

    def changed(self, *, urgent: bool = False) -> None:
        """Tell the watchers; ``urgent``: somebody is waiting for the answer to a move of theirs."""
        with self.lock:
            self._version += 1
        for watcher in tuple(self._watchers):
            watcher(urgent)

    @property
    def version(self) -> int:
        """Counts the changes."""
        return self._version

    def say(self, text: str, kind: Kind = "info") -> None:
        """Show a sentence in the widget."""
        self.message = Message(text, kind)
        self.changed(urgent=kind == "error")

    @property
    def status(self) -> Message:
        """The sentence to show: the message, or what its computation waits for."""
        waiting_for = self.engine.waiting_for
        return Message(waiting_for, "busy") if waiting_for and self.busy else self.message

    # --- what the browser reports -----------------------------------------------------------------------------

    def clicked(self, panel: str, x: float, y: float) -> None:  # noqa: B027 (nothing to do, unless a model does)
        """Somebody clicked into a panel, at data coordinates."""

    def brushed(self, panel: str, low: tuple[float, float], high: tuple[float, float]) -> None:  # noqa: B027 (nothing to do, unless a model does)
        """Somebody dragged a rectangle open in a panel, at data coordinates."""

    def available(self) -> dict[str, bool]:
        """Return which of the actions do something now."""
        return dict.fromkeys(self.actions, True)

    # --- what it computes -------------------------------------------------------------------------------------

    def begin(self, name: str, steps: Iterator[object], *, urgent: bool = False) -> Task:
        """Compute in the engine; a task of the same name that another model of this key began is stopped.

        Args:
            name: of the task.
            steps: a generator; each step should take some milliseconds.
            urgent: take it before those that are not.
        """
        return self.engine.start(f"{self.key}/{name}", steps, urgent=urgent, owner=self)

    def pause(self) -> None:
        """Pause what this model computes (the kernel was interrupted)."""
        for task in self._tasks:
            task.pause()

    def close(self) -> None:
        """Stop what this model computes; what another model of its key computes goes on."""
        for task in self._tasks:
            task.stop()

    @property
    def busy(self) -> bool:
        """Is something being computed for this model?"""
        return any(task.state == "running" for task in self._tasks)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was asked for is computed (or paused); False if the time ran out first."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while running := [task for task in self._tasks if task.state == "running"]:
            if not running[0].wait(None if end is None else max(0.0, end - time.monotonic())):
                return False
        return True

    @property
    def _tasks(self) -> list[Task]:
        return [task for task in self.engine.tasks if task.owner is self]


def plainly(error: BaseException) -> str:
    """Say in one sentence what went wrong: our own errors as they are, others with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, Bss2Error) else f"{type(error).__name__}: {text}"[:400]
