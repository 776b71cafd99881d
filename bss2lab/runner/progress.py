"""How far a study is: counts, the estimated end, and a bar that shows them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

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
    """A progress bar: jobs done and running, and the estimated end.

    Where the stream is no terminal (a log file, a notebook), one line per job done, and nothing that moves.

    Args:
        stream: where to show it; the error stream if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar: tqdm | None = None
        self._shown: tuple[str, int, int] | None = None

    @property
    def _file(self) -> TextIO:
        return sys.stderr if self._stream is None else self._stream

    def __call__(self, status: Status) -> None:
        """Show a status."""
        now = (status.label, status.total, status.done)
        if self._file.isatty():
            self._draw(status, now)
        else:
            if status.note:
                print(status.note, file=self._file)
            if now != self._shown:
                more = f" ({status})" if str(status) else ""
                print(f"{status.label}: {status.done}/{status.total} runs{more}", file=self._file, flush=True)
        self._shown = now

    def _draw(self, status: Status, now: tuple[str, int, int]) -> None:
        if self._bar is None or self._shown is None or self._shown[:2] != now[:2]:
            self.close()
            form = "{desc}: {n_fmt}/{total_fmt} runs |{bar}| {elapsed}{postfix}"
            self._bar = tqdm(
                total=status.total, desc=status.label, file=self._file, bar_format=form, dynamic_ncols=True
            )
        if status.note:
            self._bar.write(status.note, file=self._file)
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
