"""Where jobs run: a pool of processes on this machine, one thread each, or a cluster's scheduler."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

from bss2lab.errors import InputError, complain
from bss2lab.runner import worker

WORKER_MB = 1200
"""Memory that a worker may need, MB: a training run holds 850 MB at most (measured by ``bss2lab bench``)."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def default_workers() -> int:
    """Return one worker per core, or fewer if memory is short."""
    try:
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (AttributeError, ValueError, OSError):
        return usable_cores()
    return max(1, min(usable_cores(), int(memory_mb // WORKER_MB)))


class LocalPool:
    """Worker processes on this machine that can be started anew when one of them was killed.

    Args:
        workers: number of processes; None: one per core.

    Raises:
        InputError: if that is no number of processes, or this is a worker process itself.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and not 1 <= workers <= 1024:
            raise InputError(complain("workers", expected="1 … 1024", got=workers, fix="leave it out: one per core"))
        if multiprocessing.parent_process() is not None:
            fix = "put the call below `if __name__ == '__main__':`, or pass an executor"
            got = "a worker process that runs the script again"
            raise InputError(complain("worker processes", expected="to be started once", got=got, fix=fix))
        self.workers = workers or default_workers()
        self._executor: ProcessPoolExecutor | None = None
        self._stop: Connection | None = None

    @property
    def executor(self) -> Executor:
        """The processes, started when first needed."""
        if self._executor is None:
            context = multiprocessing.get_context("spawn")  # fork would copy the kernels' thread pool half-alive
            watched, self._stop = context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=worker.begin, initargs=(watched,)
            )
        return self._executor

    def discard(self) -> None:
        """End all processes at once, wherever they are; the next use starts new ones."""
        executor, self._executor = self._executor, None
        if self._stop is not None:
            self._stop.close()
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def scheduler(address: str) -> Iterator[Executor]:
    """Connect to a running Dask scheduler; yields its workers as an executor.

    Args:
        address: as ``dask scheduler`` prints it: ``tcp://host:8786``, or the path of its scheduler file.

    Raises:
        InputError: if Dask is not installed, or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        fix = "pip install 'bss2lab[cluster]'"
        raise InputError(complain("--scheduler", expected="Dask", got="no such package", fix=fix)) from None
    try:
        file = address.endswith(".json")
        client = Client(scheduler_file=address, timeout=10) if file else Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        fix = "start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(complain("scheduler", expected=f"one that answers at {address}", got=got, fix=fix)) from None
    with client:
        yield client.get_executor()
