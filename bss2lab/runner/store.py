"""The store of records: one file per job, written whole or not at all, checked when read.

A store is a folder:

- ``records/KEY.safetensors``: what a finished job gave back;
- ``unfinished/KEY/``: a running job's own folder (its checkpoint), gone when the record is there;
- ``locks/KEY.lock``: held by the process that works on the job, let go by the system when that process dies;
- ``damaged/``: files that were no whole record, set aside.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bss2lab import arrayfile
from bss2lab.errors import DataError, complain
from bss2lab.runner.job import Job, Record
from bss2lab.storage import move, remove_leftovers, unwritable, user_cache, write_atomically
from bss2lab.version import versions

FORMAT = 1


def default_folder() -> Path:
    """Return where records are kept unless another folder is named: the user's cache."""
    return user_cache() / "studies"


class DamagedRecord(DataError):
    """A record's file is there, but is not what was written."""


class Store:
    """Records of finished jobs in one folder, shared by any number of processes.

    Args:
        folder: the folder; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()

    def path(self, key: str) -> Path:
        """Return where a job's record is kept."""
        return self.folder / "records" / f"{key}.safetensors"

    def scratch(self, key: str) -> Path:
        """Return the folder of a job's unfinished business."""
        return self.folder / "unfinished" / key

    def read(self, key: str) -> Record | None:
        """Return a record, or None if there is none.

        Raises:
            DamagedRecord: if the file is not what was written.
            DataError: if the file cannot be opened: whether it is whole, nobody knows.
        """
        path = self.path(key)
        try:
            path.open("rb").close()
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            pass  # no record; found out below
        except OSError as error:
            got, fix = error.strerror or str(error), "make it readable, or remove it to compute it again"
            raise DataError(complain(str(path), expected="a readable record", got=got, fix=fix)) from error
        try:
            body, arrays = arrayfile.unpack(path, sealed=True)
            if body["format"] != FORMAT or body["key"] != key:
                raise ValueError(f"format {body['format']}, key {body['key']}")
            return Record(body["values"], arrays)
        except arrayfile.DAMAGE as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            fix = "it is set aside and computed again"
            raise DamagedRecord(complain(str(path), expected="a whole record", got=reason, fix=fix)) from None

    def write(self, job: Job, record: Record, seconds: float) -> None:
        """Keep a record, with configuration and versions.

        Raises:
            OSError: naming the file, if it cannot be written.
        """
        key = job.key
        body = {"format": FORMAT, "key": key, "kind": job.kind, "name": job.name, "values": record.values}
        body |= {"config": job.config.model_dump(mode="json"), "versions": versions(), "seconds": round(seconds, 3)}
        write_atomically(self.path(key), arrayfile.pack(body, record.arrays))

    def set_aside(self, key: str) -> Path:
        """Move a damaged record out of the way; return where it is now.

        Raises:
            OSError: naming the record, if it cannot be moved.
        """
        path = self.path(key)
        aside = self.folder / "damaged" / path.name
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            move(path, aside)
        except OSError as error:
            raise unwritable(aside, error) from error
        return aside

    def clean_up(self, key: str) -> None:
        """Remove what a job needs no longer, once its record is there. Only for whoever has claimed the job."""
        shutil.rmtree(self.scratch(key), ignore_errors=True)

    def tidy(self, key: str) -> None:
        """Remove what a process that was killed after the last stroke left of a finished job."""
        if not (self._lock(key).exists() or self.scratch(key).exists()):
            return
        try:
            with self.claim(key) as claimed:
                if claimed and self.path(key).exists():
                    self.clean_up(key)
        except OSError:
            pass  # a store that can only be read is as tidy as it can be

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Try to become the one process that works on a job. Yields whether it worked; never waits.

        Raises:
            OSError: naming the lock, if the folder cannot be written to.
        """
        path = self._lock(key)
        lock = FileLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            remove_leftovers(self.path(key))
            yield True
            if self.path(key).exists():  # whoever still waits for this very file will find the record
                with suppress(OSError):  # (Windows always refuses: the lock is still held)
                    path.unlink()
        finally:
            lock.release()

    def stage(self, key: str) -> float:
        """Return a number that grows whenever a job's unfinished business gets further (0: nothing there)."""
        latest = 0.0
        for entry in self.scratch(key).glob("*"):
            with suppress(FileNotFoundError):  # another process finishes or renames it
                latest = max(latest, entry.stat().st_mtime)
        return latest

    def _lock(self, key: str) -> Path:
        return self.folder / "locks" / f"{key}.lock"


def describe(path: Path) -> dict[str, Any]:
    """Return everything but the arrays of a record's file: configuration, versions, values.

    Raises:
        DamagedRecord: if it is no record.
    """
    try:
        return arrayfile.header_of(path)
    except arrayfile.DAMAGE as error:
        text = complain(str(path), expected="a record", got=error, fix="name a file below records/")
        raise DamagedRecord(text) from None
