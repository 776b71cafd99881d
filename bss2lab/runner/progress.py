"""How far a study is: counts, the estimated end, and a bar that shows them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Status:
    """Where a batch of jobs stands.

    Attributes:
        label: what the batch is called.
        total: jobs in all.
        found: records that were there already.
        computed: jobs done now.
        running: jobs being done (as far as the executor tells).
        failed: jobs that failed.
        seconds_left: estimate, or None before the first job is done.
        note: something the user should know, once.
    """

    label: str
    total: int
    found: int = 0
    computed: int = 0
    running: int = 0
    failed: int = 0
    seconds_left: float | None = None
    note: str = ""

    @property
    def done(self) -> int:
        """Jobs that need nothing more."""
        return self.found + self.computed + self.failed

    def __str__(self) -> str:
        parts = [f"{self.running} running"] if self.running else []
        parts += [f"{self.found} from the store"] if self.found else []
        parts += [f"{self.failed} failed"] if self.failed else []
        if self.seconds_left is not None and self.done < self.total:
            form = "%H:%M" if self.seconds_left < 43_200 else "%d %b, %H:%M"
            parts.append(f"ends about {time.strftime(form, time.localtime(time.time() + self.seconds_left))}")
        return ", ".join(parts)


class Bar:
    """A progress bar on the terminal's error stream: jobs done and running, and the estimated end.

    Where the error stream is no terminal (a log file), one line per job done, and nothing that moves.
    """

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._shown: tuple[str, int, int] | None = None

    def __call__(self, status: Status) -> None:
        """Show a status."""
        now = (status.label, status.total, status.done)
        if sys.stderr.isatty():
            self._draw(status, now)
        else:
            if status.note:
                print(status.note, file=sys.stderr)
            if now != self._shown:
                more = f" ({status})" if str(status) else ""
                print(f"{status.label}: {status.done}/{status.total} runs{more}", file=sys.stderr, flush=True)
        self._shown = now

    def _draw(self, status: Status, now: tuple[str, int, int]) -> None:
        if self._bar is None or self._shown is None or self._shown[:2] != now[:2]:
            self.close()
            form = "{desc}: {n_fmt}/{total_fmt} runs |{bar}| {elapsed}{postfix}"
            self._bar = tqdm(
                total=status.total, desc=status.label, file=sys.stderr, bar_format=form, dynamic_ncols=True
            )
        if status.note:
            self._bar.write(status.note, file=sys.stderr)
        self._bar.n = status.done
        self._bar.set_postfix_str(str(status), refresh=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._shown = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
