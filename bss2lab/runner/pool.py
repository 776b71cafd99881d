"""Where jobs run: a pool of processes on this machine, one thread each, or a cluster's scheduler."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from bss2lab.errors import InputError, complain
from bss2lab.machine import usable_cores, usable_memory_mb
from bss2lab.runner import worker
from bss2lab.runner.job import Job

WORKER_MB = 1200
"""Memory that a worker may need, MB: a training run holds 850 MB at most (measured by ``bss2lab bench``)."""

_PATIENCE_S = 8
"""How long to wait for a cluster's scheduler to answer."""

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip
"""What libraries read when they are first imported: how many threads to start."""


def default_workers() -> int:
    """Return one worker per core that may be used, or fewer if memory is short."""
    cores, memory_mb = usable_cores(), usable_memory_mb()
    return cores if memory_mb is None else max(1, min(cores, int(memory_mb // WORKER_MB)))


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
        importing_main = getattr(multiprocessing.current_process(), "_inheriting", False)
        if importing_main or multiprocessing.parent_process() is not None:
            fix = "put the call below `if __name__ == '__main__':`, or pass an executor"
            got = "a worker process that runs the script again"
            raise InputError(complain("worker processes", expected="to be started once", got=got, fix=fix))
        self.workers = workers or default_workers()
        self._executor: ProcessPoolExecutor | None = None
        self._stop: Connection | None = None
        self._ready: Connection | None = None

    def submit(self, job: Job, folder: Path) -> Future[worker.Done | worker.Busy | worker.Failed]:
        """Send a job to the processes, which are started when first needed. Its record will be in the store.

        Args:
            job: the job.
            folder: folder of the store.

        Raises:
            BrokenExecutor: if a process was killed since.
            Exception: whatever pickle raises for a job that cannot be sent.
        """
        sent = pickle.dumps(job)
        with _inherited():
            return self._processes().submit(worker.work, sent, folder, light=True)

    def discard(self) -> bool:
        """End all processes at once, wherever they are; the next job starts new ones.

        Returns:
            Whether any process had got as far as to wait for jobs.
        """
        executor, self._executor = self._executor, None
        begun = self._ready is not None and self._ready.poll()
        for end in (self._stop, self._ready):
            if end is not None:
                end.close()
        self._stop = self._ready = None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
        return begun

    def _processes(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")  # fork would copy the kernels' thread pool half-alive
            stopped, self._stop = context.Pipe(duplex=False)
            self._ready, ready = context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=worker.begin, initargs=(stopped, ready)
            )
        return self._executor


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _inherited() -> Iterator[None]:
    """Let processes that are started here be born with one thread per library and deaf to Ctrl-C.

    Both would come too late in the process itself: importing what a job needs takes seconds.
    """
    with _ONE_AT_A_TIME:
        yield from _inherit()


def _inherit() -> Iterator[None]:
    resource_tracker.ensure_running()  # (which ends by letting Ctrl-C through again)
    before = {name: os.environ.get(name) for name in _THREADS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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
    fix = "start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
    try:
        found = _address(address)
        _knock(found)
        client = Client(found, timeout=_PATIENCE_S)
    except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(complain("scheduler", expected=f"one that answers at {address}", got=got, fix=fix)) from None
    with client:
        yield client.get_executor()


def _address(address: str) -> str:
    """Return an address, read from a scheduler file if that is what it names (Dask would wait for one forever)."""
    if not address.endswith(".json"):
        return address
    return str(json.loads(Path(address).read_text(encoding="utf-8"))["address"])


def _knock(address: str) -> None:
    """Find out whether a scheduler answers: Dask's client would wait forever for whoever accepts and says nothing.

    A scheduler speaks first: eight bytes, the length of what follows.

    Raises:
        OSError, ValueError: if not.
    """
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme != "tcp":
        return  # encrypted, or another transport: left to Dask
    if not parts.hostname or not parts.port:
        raise ValueError("no tcp://host:port")
    with socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE_S) as connection:
        heard = b""
        while len(heard) < 8:
            more = connection.recv(8 - len(heard))
            if not more:
                raise ConnectionError("it hung up")
            heard += more
    if int.from_bytes(heard, "little") > 2**24:
        raise ValueError(f"another kind of server, which begins with {heard!r}")
