"""What happens inside a worker process: claim a job, look whether its record is there, compute it, keep it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path

from bss2lab.runner.job import Job, Record
from bss2lab.runner.store import DamagedRecord, Store
from bss2lab.train import set_threads

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}
"""Errors of the disk that every other job would meet too."""


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A job's record.

    Attributes:
        record: the record.
        computed: was it computed now (or was it there)?
        seconds: how long that took.
        worker: where: host and process.
        note: what the user should know (a damaged record was set aside).
    """

    record: Record
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


def work(job: Job, folder: Path | None) -> Done | Busy | Failed:
    """Do a job, unless its record is there or another process is at it. Raises nothing.

    Args:
        job: the job.
        folder: folder of the store; None: keep nothing.
    """
    set_threads(1)
    me = f"{socket.gethostname()}:{os.getpid()}"
    store = Store(folder) if folder is not None else None
    try:
        with store.claim(job.key) if store else nullcontext(True) as claimed:
            if not claimed:
                return Busy()
            note = ""
            if store is not None:
                record, note = look_up(store, job.key)
                if record is not None:
                    return Done(record, False, 0.0, me, note)
            begin = time.perf_counter()
            record = job.task(job.config, job.inputs, store.scratch(job.key) if store else None)
            seconds = time.perf_counter() - begin
            if store is not None:
                store.write(job, record, seconds)
                store.clean_up(job.key)
            return Done(record, True, seconds, me, note)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        hopeless = isinstance(error, OSError) and error.errno in _NO_ROOM
        return Failed(reason, traceback.format_exc(), hopeless)


def look_up(store: Store, key: str) -> tuple[Record | None, str]:
    """Return a job's record, if it is there and whole; a damaged one is set aside, and the note says so."""
    try:
        return store.read(key), ""
    except DamagedRecord as error:
        return None, f"{error} (now {store.set_aside(key)})"


def begin(stop: connection.Connection) -> None:
    """Set up a worker process: Ctrl-C is the parent's business, and nobody outlives the parent.

    Args:
        stop: closed by the parent (or by its death) when the worker shall end at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel, stop])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
