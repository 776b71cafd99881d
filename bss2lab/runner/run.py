"""The driver: sends jobs to an executor, skips those whose record is there, survives what can be survived."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Self

from bss2lab.errors import Bss2Error, complain
from bss2lab.runner.batch import Batch, Failure, Flight
from bss2lab.runner.job import Job, Record
from bss2lab.runner.pool import LocalPool
from bss2lab.runner.progress import Status
from bss2lab.runner.store import Store
from bss2lab.runner.worker import Busy, Done, Failed, work

_TICK_S = 1.0
"""How often the status is renewed at least."""

_STARTS = 3
"""How often in a row the pool may die before any of its processes was there."""

_SHOWN = 20
"""How many failures the error's text lists."""


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
        lines += [f"  {f.job}: {f.reason}" for f in failures[:_SHOWN]]
        lines += [f"  … and {len(failures) - _SHOWN} more"] if len(failures) > _SHOWN else []
        super().__init__("\n".join(lines))


class Runner:
    """Does jobs and returns their records, in the order of the jobs.

    Jobs whose record is in the store are not computed. A process that dies, one of several or all of them, costs
    no more than the epoch that it was in: what is finished is in the store, what is not goes on from its
    checkpoint. Several runners may share a store; no job is computed twice.

    Args:
        store: folder of the records; None: keep nothing (but, for processes on this machine, in a temporary
            folder until the runner is closed).
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
        self._pool = LocalPool(workers) if executor is None else None
        self._given, self._watch = executor, watch
        self.store = self._records = Store(store) if store is not None else None
        self._temporary: weakref.finalize | None = None

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
        if self._temporary is not None:
            self._temporary()
            self._temporary = self._records = None

    def __call__(self, jobs: Sequence[Job], label: str = "runs") -> list[Record]:
        """Do jobs.

        Args:
            jobs: the jobs; equal ones are done once.
            label: what the batch is called in the status.

        Returns:
            One record per job.

        Raises:
            RunsFailed: if some failed; all others were finished first (unless the store cannot be written to).
            Bss2Error: if there is nobody to do them: a given executor broke down, or no process can be started.
        """
        if self._pool is not None and self._records is None:  # large records do not go through the pool's pipe
            folder = Path(tempfile.mkdtemp(prefix="bss2lab-"))
            self._records = Store(folder)
            self._temporary = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        batch = Batch(jobs, label, self._records, self._watch, self._pool.workers if self._pool else None)
        try:
            batch.look_up()
            barren = 0
            while batch.left:
                try:
                    self._fill(batch)
                    batch.collect(_TICK_S)
                except BrokenExecutor as error:
                    barren = self._recover(batch, error, barren)
                batch.report()
        except BaseException:
            batch.cancel()
            self.close()
            raise
        batch.tidy()
        if batch.failures:
            raise RunsFailed(batch.failures, batch.total, self.store.folder if self.store else None)
        return batch.results()

    def _fill(self, batch: Batch) -> None:
        """Send jobs until every worker has one (an executor of others decides that itself)."""
        while (index := batch.next()) is not None:
            try:
                future = self._send(batch.jobs[index])
                batch.flights[future] = Flight(index)
                if future.done():  # an executor that works at once: see what came of it before the next job
                    return
            except BrokenExecutor:
                batch.waiting.appendleft(index)
                raise
            except RuntimeError:  # the executor takes no more
                raise
            except Exception as error:  # this job cannot be sent
                batch.land(Flight(index), Failed.of(error, None))

    def _send(self, job: Job) -> Future[Done | Busy | Failed]:
        if self._pool is not None:
            assert self._records is not None
            return self._pool.submit(job, self._records.folder)
        assert self._given is not None
        return self._given.submit(work, job, self.store.folder if self.store else None)

    def _recover(self, batch: Batch, error: BaseException, barren: int) -> int:
        """A worker was killed and took the pool with it: put its jobs back, to go to new processes.

        Returns:
            How often in a row the pool has died before any of its processes was there.
        """
        if self._pool is None:
            kept = f"records are in {self.store.folder}" if self.store else "nothing was kept: there is no store"
            fix = f"start again ({kept}); processes need the start method 'spawn'"
            raise Bss2Error(complain("executor", expected="workers that live", got=error, fix=fix)) from error
        begun = self._pool.discard()
        batch.collect(0.0, lost=True)
        batch.put_back(blame=begun)
        barren = 0 if begun else barren + 1
        if barren >= _STARTS:
            got = "processes that end before their first job (their errors are above)"
            fix = "in a script, call this below `if __name__ == '__main__':`; or pass an executor"
            raise Bss2Error(complain("worker processes", expected="to start", got=got, fix=fix)) from error
        return barren
