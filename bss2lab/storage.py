"""Files that are either there in full or not there at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import multiprocessing
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bss2lab.errors import complain


def user_cache() -> Path:
    """Return the folder for whatever can be made again: ``BSS2LAB_CACHE``, or the user's cache.

    Where there is no home folder, or nothing can be written in it, that is a private folder among the temporary
    ones, the same one every time, and a warning says so.
    """
    chosen = os.environ.get("BSS2LAB_CACHE")
    if chosen:
        return Path(chosen)
    place = _home_cache()
    return place if _can_make(place) else _temporary_cache(place) or place


NONE = "-"
"""Value of ``BSS2LAB_SHARED_CACHE`` for: no shared cache at all."""


def shared_caches() -> list[Path]:
    """Return the folders that are only read: ``BSS2LAB_SHARED_CACHE``, this Python's, a user's that is read-only."""
    chosen = os.environ.get("BSS2LAB_SHARED_CACHE")
    if chosen == NONE:
        return []
    caches = [*([Path(chosen)] if chosen else []), environment_cache()]
    if not os.environ.get("BSS2LAB_CACHE") and not _can_make(home := _home_cache()):
        with contextlib.suppress(OSError):  # (it may be somebody else's)
            caches += [home] if home.is_dir() else []
    return caches


def environment_cache() -> Path:
    """Return the folder of this Python environment that ``bss2lab warm --shared`` fills."""
    return Path(sys.prefix) / "share" / "bss2lab"


def _home_cache() -> Path:
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("bss2lab"))
    except RuntimeError:  # no home folder
        return Path("~")


@functools.cache
def _can_make(folder: Path) -> bool:
    """Is the folder there and writable, or can it be made? (A home that is not known is no place.)"""
    try:
        near = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    except OSError:  # somebody else's home, which may not be looked into
        return False
    return folder.is_absolute() and near.is_dir() and os.access(near, os.W_OK | os.X_OK)


@functools.cache
def _temporary_cache(instead_of: Path) -> Path | None:
    """Return a folder that nobody else can write to, and say so once; None if there is none to be had."""
    user = os.getuid() if hasattr(os, "getuid") else "cache"
    try:
        folder = Path(tempfile.gettempdir()) / f"bss2lab-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    mine = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    if not (mine and stat.S_ISDIR(found.st_mode)):
        return None
    if multiprocessing.parent_process() is None:  # (else it was said there)
        logging.getLogger("bss2lab").warning(
            "nothing can be written in %s: kernels, calibrations, downloads and the records of studies go to %s, "
            "which the system may empty; set BSS2LAB_CACHE to a folder that lasts", instead_of, folder,
        )  # fmt: skip
    return folder


_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)


def _insist(action: Callable[[], None]) -> None:
    """Rename or remove a file that another program may hold: Windows refuses while a virus scanner reads it.

    Raises:
        OSError: if it is still refused after a second.
    """
    for pause in _PAUSES_S:
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def move(source: Path, target: Path) -> None:
    """Give a file another name on the same disk, in place of whatever has it.

    Raises:
        OSError: if that cannot be done, for a second (see ``_insist``).
    """
    _insist(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        OSError: if that cannot be done, for a second (see ``_insist``).
    """
    _insist(lambda: path.unlink(missing_ok=True))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary neighbour, flushed to the disk before it takes the name.

    Whatever happens on the way (a kill, a full disk), ``path`` holds either what it held before or all of
    ``content``.

    Raises:
        OSError: naming ``path``, if the folder is missing or read-only, or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary neighbour of ``path`` to whoever writes the file; it takes the name when all went well.

    Raises:
        OSError: naming ``path``, if the folder is missing or read-only, or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        yield Path(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        move(Path(temporary), path)
        temporary = None
    except OSError as error:
        raise unwritable(path, error) from error
    finally:  # (Ctrl-C leaves nothing behind either)
        if temporary is not None:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                remove(Path(temporary))


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of a file left beside it. Only for whoever knows that nobody writes it now."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):  # one that cannot be removed is in nobody's way
            remove(leftover)


def check_writable(path: Path) -> None:
    """Find out before the work whether its result can be written; leaves everything as it was.

    Raises:
        OSError: naming ``path``, if its folder is missing and cannot be made, or is read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> OSError:
    """Return the error for a place that cannot be written to: the same number, and the place's name."""
    in_the_way = isinstance(error, FileExistsError)  # of mkdir: a file lies where the folder should
    reason = f"the file {path.parent}, which is no folder" if in_the_way else error.strerror or str(error)
    fix = "free space or choose another folder"
    if isinstance(error, PermissionError):
        fix = "close the program that has it open, if one has, or choose another folder"
    return OSError(error.errno, complain(str(path), expected="a place to write to", got=reason, fix=fix))
