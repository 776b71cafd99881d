"""The driver: sends jobs to an executor, skips those whose record is there, survives what can be survived."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bss2lab.errors import Bss2Error
from bss2lab.runner.job import Job, Record
from bss2lab.runner.pool import LocalPool
from bss2lab.runner.progress import Status
from bss2lab.runner.store import Store
from bss2lab.runner.worker import Busy, Done, Failed, look_up, work

_TICK_S = 1.0
"""How often the status is renewed, and how long to wait for a job that another process is at."""

_LIVES = 4
"""How often a job may lose its worker without having got any further. From the second time on it runs alone."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that could not be done.

    Attributes:
        job: name and configuration.
        reason: the error in one line.
        details: traceback, if there is one.
    """

    job: str
    reason: str
    details: str = ""


class RunsFailed(Bss2Error):
    """Some jobs failed; the records of all others are in the store.

    Attributes:
        failures: which, and why.
    """

    def __init__(self, failures: Sequence[Failure], total: int, folder: Path | None) -> None:
        self.failures = tuple(failures)
        kept = f"the others are kept in {folder}" if folder else "nothing was kept: there is no store"
        lines = [
            f"{len(failures)} of {total} runs: expected to finish, got errors; mend the cause and start again ({kept})"
        ]
        super().__init__("\n".join(lines + [f"  {f.job}: {f.reason}" for f in failures]))


@dataclass(slots=True)
class _Flight:
    """A job under way."""

    index: int
    begin: float = field(default_factory=time.monotonic)


class Runner:
    """Does jobs and returns their records, in the order of the jobs.

    Jobs whose record is in the store are not computed. A process that dies, one of several or all of them, costs
    no more than the epoch that it was in: what is finished is in the store, what is not goes on from its
    checkpoint. Several runners may share a store; no job is computed twice.

    Args:
        store: folder of the records; None: keep nothing.
        executor: where to run; any ``concurrent.futures.Executor`` (of Dask, MPI, threads). None: processes on this
            machine.
        workers: number of processes, if there is no executor; None: one per core.
        watch: told where the jobs stand, whenever that changes and every second.

    Raises:
        InputError: if the number of workers is none.
    """

    def __init__(
        self,
        store: Path | None = None,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        watch: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self.store = Store(store) if store is not None else None
        self._pool = LocalPool(workers) if executor is None else None
        self._given, self._watch = executor, watch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes, if this runner started any."""
        if self._pool is not None:
            self._pool.discard()

    def __call__(self, jobs: Sequence[Job], label: str = "runs") -> list[Record]:
        """Do jobs.

        Args:
            jobs: the jobs; equal ones are done once.
            label: what the batch is called in the status.

        Returns:
            One record per job.

        Raises:
            RunsFailed: if some failed; all others were finished first (unless the store cannot be written).
        """
        batch = _Batch(jobs, label, self.store, self._watch)
        try:
            batch.look_up()
            while batch.left:
                self._fill(batch)
                self._collect(batch)
            batch.report()
        except BaseException:
            self.close()
            raise
        if batch.failures:
            raise RunsFailed(batch.failures, len(jobs), self.store.folder if self.store else None)
        return batch.results()

    def _fill(self, batch: _Batch) -> None:
        """Send jobs until every worker has one (an executor of others decides that itself)."""
        folder = self.store.folder if self.store else None
        while (index := batch.next(self._pool.workers if self._pool else None)) is not None:
            try:
                executor = self._pool.executor if self._pool else self._given
                assert executor is not None
                batch.flights[executor.submit(work, batch.jobs[index], folder)] = _Flight(index)
            except BrokenExecutor as error:
                batch.waiting.appendleft(index)
                self._recover(batch, error)
                return

    def _collect(self, batch: _Batch) -> None:
        done, _ = wait(batch.flights, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        for future in done:
            if future not in batch.flights:
                continue
            error = future.exception()
            if error is None:
                batch.land(batch.flights.pop(future), future.result())
            elif isinstance(error, BrokenExecutor):
                self._recover(batch, error)
                break
            else:  # it could not be sent, or its answer not be received
                batch.land(batch.flights.pop(future), Failed(f"{type(error).__name__}: {error}"))
        if not batch.flights and batch.waiting:
            time.sleep(_TICK_S)  # all that is left is under way in other processes
        batch.report()

    def _recover(self, batch: _Batch, error: BaseException) -> None:
        """A worker was killed and took the pool with it: put its jobs back and start new processes."""
        if self._pool is None:
            kept = f"records are in {self.store.folder}" if self.store else "nothing was kept: there is no store"
            raise Bss2Error(f"executor: expected workers that live, got {error}; start again ({kept})") from error
        self._pool.discard()
        batch.lose_all()


class _Batch:
    """The jobs of one call: which wait, which fly, what came of them."""

    def __init__(self, jobs: Sequence[Job], label: str, store: Store | None, watch: Callable[[Status], None]) -> None:
        self.jobs, self._label, self._store, self._watch = list(jobs), label, store, watch
        first: dict[str, int] = {}
        self._same = [first.setdefault(job.key, index) for index, job in enumerate(self.jobs)]
        self._keys = {index: key for key, index in first.items()}
        self.waiting = deque(self._keys)
        self.flights: dict[Future[Done | Busy | Failed], _Flight] = {}
        self.failures: list[Failure] = []
        self._records: dict[int, Record] = {}
        self._deaths: dict[int, tuple[int, float]] = {}
        self._not_before: dict[int, float] = {}
        self._found, self._seconds, self._cost, self._note, self._last = 0, 0.0, 0.0, "", None

    @property
    def left(self) -> bool:
        return bool(self.waiting or self.flights)

    def results(self) -> list[Record]:
        return [self._records[index] for index in self._same]

    def look_up(self) -> None:
        """Take what the store has."""
        if self._store is not None:
            for index in list(self.waiting):
                record, note = look_up(self._store, self._keys[index])
                self._remark(note)
                if record is not None:
                    self._records[index], self._found = record, self._found + 1
                    self.waiting.remove(index)
        self.report()

    def next(self, slots: int | None) -> int | None:
        """Take the next job to send, or None if it must wait."""
        alone = any(self._deaths.get(flight.index, (0, 0.0))[0] > 1 for flight in self.flights.values())
        if alone or (slots is not None and len(self.flights) >= slots):
            return None
        now = time.monotonic()
        for index in self.waiting:
            suspect = self._deaths.get(index, (0, 0.0))[0] > 1
            if self._not_before.get(index, 0.0) <= now and not (suspect and self.flights):
                self.waiting.remove(index)
                return index
        return None

    def land(self, flight: _Flight, answer: Done | Busy | Failed) -> None:
        """Note what came of a job."""
        index = flight.index
        if isinstance(answer, Busy):
            self._not_before[index] = time.monotonic() + _TICK_S
            self.waiting.append(index)
        elif isinstance(answer, Failed):
            self.failures.append(Failure(str(self.jobs[index]), answer.reason, answer.details))
            if answer.hopeless:
                self._give_up()
        else:
            self._remark(answer.note)
            self._records[index] = answer.record
            if answer.computed:
                self._seconds, self._cost = self._seconds + answer.seconds, self._cost + self.jobs[index].cost
                self._keep(index, answer)
            else:
                self._found += 1

    def lose_all(self) -> None:
        """All workers are gone: their jobs wait again, unless they never get anywhere."""
        for flight in self.flights.values():
            index, key = flight.index, self._keys[flight.index]
            stage = self._store.stage(key) if self._store is not None else 0.0
            deaths, before = self._deaths.get(index, (0, 0.0))
            deaths = deaths + 1 if stage == before or not deaths else 1
            self._deaths[index] = deaths, stage
            if deaths >= _LIVES:
                reason = f"its worker process was killed {deaths} times at the same point (out of memory?)"
                self.failures.append(Failure(str(self.jobs[index]), reason))
            else:
                self.waiting.appendleft(index)
        self.flights.clear()

    def report(self) -> None:
        """Tell the watcher."""
        running, now = len(self.flights), time.monotonic()
        left = None
        if self._cost > 0:
            per_cost = self._seconds / self._cost
            ahead = sum(self.jobs[index].cost for index in self.waiting) * per_cost
            flying = [max(0.0, self.jobs[f.index].cost * per_cost - (now - f.begin)) for f in self.flights.values()]
            left = max([*flying, (ahead + sum(flying)) / max(running, 1)])
        computed = len(self._records) - self._found
        note, self._note = self._note, ""
        status = Status(self._label, len(self._keys), self._found, computed, running, len(self.failures), left, note)
        self._watch(status)

    def _keep(self, index: int, answer: Done) -> None:
        """See to it that the record is in this store too: a worker far away may have written it elsewhere."""
        if self._store is not None and not self._store.path(self._keys[index]).exists():
            self._store.write(self.jobs[index], answer.record, answer.seconds)

    def _give_up(self) -> None:
        self.failures += [Failure(str(self.jobs[index]), "not begun: the disk takes no more") for index in self.waiting]
        self.waiting.clear()

    def _remark(self, note: str) -> None:
        if note:
            self._note = f"{self._note}\n{note}" if self._note else note
