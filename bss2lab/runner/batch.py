"""The jobs of one call of the runner: which wait, which are under way, what came of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field

from bss2lab.errors import DataError
from bss2lab.runner.job import Job, Record
from bss2lab.runner.progress import Status
from bss2lab.runner.store import DamagedRecord, Store
from bss2lab.runner.worker import Busy, Done, Failed, look_up

_BUSY_S = 1.0
"""How long to wait for a job that another process is at."""

_LIVES = 4
"""How often a job may lose its worker without having got any further. From the second time on it runs alone."""

_MOST_LIVES = 20
"""How often a job may lose its worker at all. When half of that has happened it runs alone, too: it may be another job
that takes the workers with it."""


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


@dataclass(frozen=True, slots=True)
class Flight:
    """A job under way.

    Attributes:
        index: which.
        begin: when it was sent, s.
    """

    index: int
    begin: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Deaths:
    """How often a job lost its worker: since it last got any further, and in all; and how far it was then."""

    here: int = 0
    ever: int = 0
    stage: float = 0.0


class Batch:
    """The jobs of one call.

    Args:
        jobs: the jobs; equal ones are done once.
        label: what they are called in the status.
        store: where records are; None: nowhere.
        watch: told where the jobs stand.
        slots: how many may be under way at once; None: any number.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        label: str,
        store: Store | None,
        watch: Callable[[Status], None],
        slots: int | None,
    ) -> None:
        self.jobs, self._label, self._store, self._watch, self._slots = list(jobs), label, store, watch, slots
        first: dict[str, int] = {}
        self._same = [first.setdefault(job.key, index) for index, job in enumerate(self.jobs)]
        self._keys = {index: key for key, index in first.items()}
        self.waiting = deque(self._keys)
        self.flights: dict[Future[Done | Busy | Failed], Flight] = {}
        self.failures: list[Failure] = []
        self._records: dict[int, Record] = {}
        self._deaths: dict[int, _Deaths] = {}
        self._not_before: dict[int, float] = {}
        self._found, self._seconds, self._cost, self._note = 0, 0.0, 0.0, ""
        self._hands: set[str] = set()
        self._landed = time.monotonic()

    @property
    def total(self) -> int:
        """Different jobs."""
        return len(self._keys)

    @property
    def left(self) -> bool:
        """Is there anything still to do?"""
        return bool(self.waiting or self.flights)

    def results(self) -> list[Record]:
        """Return one record per job, in their order."""
        return [self._records[index] for index in self._same]

    def look_up(self) -> None:
        """Take what the store has."""
        if self._store is not None:
            for index in list(self.waiting):
                record, note = self._look_up(self._store, self._keys[index])
                self._remark(note)
                if record is not None:
                    self._records[index], self._found = record, self._found + 1
                    self.waiting.remove(index)
        self.report()

    def next(self) -> int | None:
        """Take the next job to send, or None if it must wait."""
        alone = any(self._suspect(flight.index) for flight in self.flights.values())
        if alone or (self._slots is not None and len(self.flights) >= self._slots):
            return None
        now = time.monotonic()
        for index in self.waiting:
            if self._not_before.get(index, 0.0) <= now and not (self._suspect(index) and self.flights):
                self.waiting.remove(index)
                return index
        return None

    def collect(self, patience_s: float, *, lost: bool = False) -> None:
        """Wait until something has come of a job, and note what.

        Args:
            patience_s: how long to wait at most.
            lost: the executor has broken down: do not say so again.

        Raises:
            BrokenExecutor: if the executor has broken down. What was finished before is noted.
        """
        if not self.flights:
            if self.waiting:  # they are under way in other processes
                soonest = min(self._not_before.get(index, 0.0) for index in self.waiting)
                time.sleep(min(patience_s, max(0.0, soonest - time.monotonic())))
            return
        broken: BaseException | None = None
        for future in wait(self.flights, timeout=patience_s, return_when=FIRST_COMPLETED).done:
            if future not in self.flights:
                continue  # given up meanwhile
            error = BrokenExecutor("a job cancelled") if future.cancelled() else future.exception()
            if isinstance(error, BrokenExecutor):
                broken = error
            elif error is not None:  # the job could not be sent, or its answer not be received
                self.land(self.flights.pop(future), Failed.of(error, None))
            else:
                self.land(self.flights.pop(future), future.result())
        if broken is not None and not lost:
            raise broken

    def land(self, flight: Flight, answer: Done | Busy | Failed) -> None:
        """Note what came of a job."""
        index = flight.index
        if isinstance(answer, Busy):
            self._not_before[index] = time.monotonic() + _BUSY_S
            self.waiting.append(index)
            return
        try:
            if isinstance(answer, Done):
                self._keep(index, answer)
        except OSError as error:
            answer = Failed.of(error, self._store)
        if isinstance(answer, Failed):
            self.failures.append(Failure(str(self.jobs[index]), answer.reason, answer.details))
            if answer.hopeless:
                self._give_up()

    def put_back(self, *, blame: bool) -> None:
        """All workers are gone: their jobs wait again, unless they never get anywhere.

        Args:
            blame: may the jobs be what killed them (and not, say, a worker that could not be started)?
        """
        for flight in self.flights.values():
            index, key = flight.index, self._keys[flight.index]
            deaths = self._deaths.setdefault(index, _Deaths())
            if blame:
                stage = self._store.stage(key) if self._store is not None else 0.0
                deaths.here = deaths.here + 1 if stage == deaths.stage else 1
                deaths.ever, deaths.stage = deaths.ever + 1, stage
            if deaths.here >= _LIVES or deaths.ever >= _MOST_LIVES:
                where = f"{deaths.here} times at the same point" if deaths.here >= _LIVES else f"{deaths.ever} times"
                reason = f"its worker process was killed {where} (out of memory?)"
                self.failures.append(Failure(str(self.jobs[index]), reason))
            else:
                self.waiting.appendleft(index)
        self.flights.clear()

    def cancel(self) -> None:
        """Take back what an executor of others has not begun."""
        for future in self.flights:
            future.cancel()

    def tidy(self) -> None:
        """Remove what killed processes left of finished jobs."""
        if self._store is not None:
            for index in self._records:
                self._store.tidy(self._keys[index])

    def report(self) -> None:
        """Tell the watcher."""
        computed = len(self._records) - self._found
        note, self._note = self._note, ""
        running, left = self._running(), self._seconds_left()
        self._watch(Status(self._label, self.total, self._found, computed, running, len(self.failures), left, note))

    def _running(self) -> int:
        if self._slots is not None:
            return len(self.flights)
        told = sum(future.running() for future in self.flights)  # Dask does not tell
        return told or min(len(self.flights), len(self._hands) or len(self.flights))

    def _seconds_left(self) -> float | None:
        if not self._cost > 0:
            return None
        per_cost, now = self._seconds / self._cost, time.monotonic()
        ahead = sum(self.jobs[index].cost for index in self.waiting) * per_cost
        flights = [(self.jobs[flight.index].cost * per_cost, now - flight.begin) for flight in self.flights.values()]
        if self._slots is not None:
            rest = [max(0.0, seconds - since) for seconds, since in flights]
            hands = max(1, min(self._slots, len(self.flights) + len(self.waiting)))
            return max([*rest, (ahead + sum(rest)) / hands])
        hands = max(1, min(len(self.flights), max(self._running(), len(self._hands))))
        return max(0.0, (ahead + sum(seconds for seconds, _ in flights)) / hands - (now - self._landed))

    def _suspect(self, index: int) -> bool:
        deaths = self._deaths.get(index, _Deaths())
        return deaths.here > 1 or deaths.ever > _MOST_LIVES // 2

    def _look_up(self, store: Store, key: str) -> tuple[Record | None, str]:
        try:
            return store.read(key), ""
        except DamagedRecord:
            with store.claim(key) as claimed:  # or else it is being mended
                return look_up(store, key) if claimed else (None, "")

    def _keep(self, index: int, answer: Done) -> None:
        """Take a record, and see to it that it is in this store too: a worker far away may have another."""
        store, key, record = self._store, self._keys[index], answer.record
        if record is None:
            assert store is not None
            record = store.read(key)
            if record is None:
                raise DataError(f"{store.path(key)}: expected the record just written, got nothing; start again")
        elif store is not None and not store.path(key).exists():
            with store.claim(key) as claimed:
                if claimed:
                    store.write(self.jobs[index], record, answer.seconds)
        self._remark(answer.note)
        self._records[index] = record
        self._hands.add(answer.worker)
        self._landed = time.monotonic()
        if answer.computed:
            self._seconds, self._cost = self._seconds + answer.seconds, self._cost + self.jobs[index].cost
        else:
            self._found += 1

    def _give_up(self) -> None:
        """The store takes nothing more: begin no other job."""
        for future in [future for future in self.flights if future.cancel()]:
            self.waiting.append(self.flights.pop(future).index)
        reason = "not begun: the store cannot be written to"
        self.failures += [Failure(str(self.jobs[index]), reason) for index in self.waiting]
        self.waiting.clear()

    def _remark(self, note: str) -> None:
        if note:
            self._note = f"{self._note}\n{note}" if self._note else note
