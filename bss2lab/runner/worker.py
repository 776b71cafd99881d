"""What happens inside a worker process: claim a job, look whether its record is there, compute it, keep it."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, parent_process
from pathlib import Path

from bss2lab.errors import InputError, complain
from bss2lab.runner.job import Job, Record
from bss2lab.runner.store import DamagedRecord, Store

_FULL = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk that takes nothing more, whoever meets them."""

_CLOSED = {errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
"""Errors that every other job would meet too if it is the store that cannot be written to."""


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A job's record.

    Attributes:
        record: the record; None: it is in the store, and was too much to send.
        computed: was it computed now (or was it there)?
        seconds: how long that took.
        worker: where: host and process.
        note: what the user should know (a damaged record was set aside).
    """

    record: Record | None
    computed: bool
    seconds: float
    worker: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another process works on this very job."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that raised an error.

    Attributes:
        reason: the error in one line.
        details: the traceback.
        hopeless: would every other job fail in the same way (a full disk)?
    """

    reason: str
    details: str = ""
    hopeless: bool = False

    @classmethod
    def of(cls, error: BaseException, store: Store | None) -> Failed:
        """Describe an error."""
        details = "".join(traceback.format_exception(error))
        text = " ".join(f"{type(error).__name__}: {error}".split())
        number = error.errno if isinstance(error, OSError) else None
        names_store = store is not None and str(store.folder) in text
        if number in _FULL and store is not None and not names_store:  # a task's own writing may name no file
            text = f"{text} (below {store.folder}? free space or choose another folder)"
        return cls(text, details, number in _FULL or (number in _CLOSED and names_store))


def work(job: Job | bytes, folder: Path | None, light: bool = False) -> Done | Busy | Failed:
    """Do a job, unless its record is there or another process is at it. Raises nothing.

    Args:
        job: the job; pickled, if a failure to read it shall be an answer and not the end of the worker.
        folder: folder of the store; None: keep nothing.
        light: leave the record in the store: a worker that is killed while it sends a large answer would leave
            the other end waiting for the rest.
    """
    store = Store(folder) if folder is not None else None
    try:
        given: Job = pickle.loads(job) if isinstance(job, bytes) else job
        _use_one_thread()
        key = given.key
        with store.claim(key) if store else nullcontext(True) as claimed:
            if not claimed:
                return Busy()
            record, note = look_up(store, key) if store else (None, "")
            if record is not None and store is not None:
                store.clean_up(key)
                done = Done(record, False, 0.0, _me())
            else:
                done = replace(_compute(given, key, store), note=note)
        return replace(done, record=None) if light and store else done
    except Exception as error:
        return Failed.of(error, store)


def _compute(job: Job, key: str, store: Store | None) -> Done:
    begin = time.perf_counter()
    returned = job.task(job.config, job.inputs, store.scratch(key) if store else None)
    record, seconds = Record.portable(returned, job.name), time.perf_counter() - begin
    if job.key != key:
        want, fix = "a configuration that stays as it is", "start again, and leave its files alone meanwhile"
        raise InputError(complain(str(job), expected=want, got="a file that changed during the run", fix=fix))
    if store is not None:
        store.write(job, record, seconds)
        store.clean_up(key)
    return Done(record, True, seconds, _me())


def look_up(store: Store, key: str) -> tuple[Record | None, str]:
    """Return a job's record, if it is there and whole; a damaged one is set aside, and the note says so.

    Only for whoever has claimed the job: another process may be about to replace the damaged record.
    """
    try:
        return store.read(key), ""
    except DamagedRecord as error:
        return None, f"{error} (now {store.set_aside(key)})"


def _use_one_thread() -> None:
    """Let the libraries that the job's module has loaded use one thread (this module itself loads none of them)."""
    if numba := sys.modules.get("numba"):
        numba.set_num_threads(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def begin(stop: connection.Connection, ready: connection.Connection) -> None:
    """Set up a worker process: Ctrl-C is the parent's business, and nobody outlives the parent.

    Args:
        stop: closed by the parent (or by its death) when the worker shall end at once.
        ready: told that the worker is there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def orphaned() -> bool:  # the pipes may outlive the parent in a process that it forked
        return os.name == "posix" and os.getppid() != parent.pid

    def watch() -> None:
        while not connection.wait([parent.sentinel, stop], timeout=1.0) and not orphaned():
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    with suppress(OSError):  # the parent has closed it, and this process has not much longer
        ready.send_bytes(b"1")
