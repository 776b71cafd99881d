"""Compiled kernels on disk: one file each, checked whenever it is read, and never a reason to fail.

A file's name carries a digest of everything that its content follows from: the source of the kernel and of all it
calls, the types it is compiled for, the processor, the versions of Python, NumPy, numba and LLVM. So nothing can be
stale, and a folder may serve several processors. Folders that hold kernels for everybody are only read
(``storage.shared_caches``); what is compiled goes into the user's cache. A file that is damaged is thrown away and
compiled again; a cache that cannot be written to costs time alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import llvmlite
import numba
import numpy as np
from numba.core import config, types
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

from bss2lab.kernels.digest import digest_of
from bss2lab.storage import shared_caches, user_cache, write_atomically

if TYPE_CHECKING:
    from bss2lab.kernels.jit import Kernel

SUFFIX = ".kernel"
_MAGIC = b"bss2lab kernel 1\n"
_KEEP_S = 90 * 86400.0
"""Kernels that nobody has used for this long are removed."""

ROUGHLY_S = {
    "train_step": 13, "emulate": 9, "_prepare": 4, "evaluate": 4, "forward": 4, "backward": 8, "emulate_stream": 9,
}  # fmt: skip
"""Seconds that kernels take to compile on one core of a laptop, where it is more than a moment."""

_log = logging.getLogger("bss2lab")


@dataclass(frozen=True, slots=True)
class Compiling:
    """A kernel that is being compiled now, once for this computer.

    Attributes:
        kernel: its name.
        about_s: seconds that it takes, roughly; 0: a moment.
        elsewhere: another process compiles it; this one waits for the result.
    """

    kernel: str
    about_s: float
    elsewhere: bool

    def __str__(self) -> str:
        what = "waiting for another process that compiles" if self.elsewhere else "compiling"
        long = f", about {self.about_s:g} s" if self.about_s else ""
        return f"{what} the kernel {self.kernel.strip('_')} (once{long})"


Watcher = Callable[[Compiling | None], None]
_watchers: list[Watcher] = []
_announced: list[Compiling] = []
"""What was told last, until it is done."""

used: set[str] = set()
"""Names of the files of all kernels that this process has asked for."""


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` about every kernel that is compiled in the block, and None when it is done.

    It is called from the thread that compiles. While nobody watches, a line on standard error says it.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def forget_watchers() -> None:
    """Watch nothing any more (in a forked process, where nobody is left to look)."""
    _watchers.clear()


def _tell(compiling: Compiling | None) -> None:
    for watcher in tuple(_watchers):
        with contextlib.suppress(Exception):
            watcher(compiling)
    if not _watchers and compiling is not None and compiling.about_s:
        with contextlib.suppress(OSError, ValueError):  # nobody reads standard error
            print(f"bss2lab: {compiling}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Return where this user's compiled kernels are kept."""
    return user_cache() / "kernels"


@functools.cache
def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        _cannot_write(folder, error)
        return False


@functools.cache
def _complained(_: Path) -> list[bool]:
    return []


def _cannot_write(folder: Path, error: OSError) -> None:
    if not _complained(folder):
        _complained(folder).append(True)
        reason = error.strerror or type(error).__name__
        _log.warning(
            "compiled kernels cannot be kept in %s (%s): every process compiles them again; "
            "make room there, or set BSS2LAB_CACHE to another folder", folder, reason,
        )  # fmt: skip


@functools.cache
def _machine() -> str:
    """Describe what compiles, apart from the processor."""
    versions = (sys.implementation.cache_tag, platform.machine(), numba.__version__, llvmlite.__version__)
    settings = (
        "OPT",
        "LOOP_VECTORIZE",
        "SLP_VECTORIZE",
        "BOUNDSCHECK",
        "USING_SVML",
        "DISABLE_JIT",
        "DEBUGINFO_DEFAULT",
    )
    return repr((versions, np.__version__, [getattr(config, name, None) for name in settings]))


class _Turns(threading.local):
    """What a thread has begun to compile: how deep in nested calls, under which locks, and what it announced."""

    def __init__(self) -> None:
        self.depth = 0
        self.locks: list[filelock.BaseFileLock] = []
        self.announced: list[Compiling] = []


_turns = _Turns()


class KernelCache(_Cache):
    """Compiled forms of one function on disk; takes the place of numba's own cache in its dispatcher."""

    def __init__(self, kernel: Kernel, *, serial: bool) -> None:
        self._kernel, self._serial = kernel, serial
        self._name = kernel.py_func.__name__
        self._prefix = f"{kernel.py_func.__module__.rpartition('.')[2]}.{self._name}"

    @functools.cached_property
    def _digest(self) -> str:
        return f"{digest_of(self._kernel)} {self._serial}"

    @property
    def cache_path(self) -> Any:
        return str(cache_folder())

    def enable(self) -> None:
        """Nothing to do (part of numba's interface)."""

    def disable(self) -> None:
        """Nothing to do (part of numba's interface)."""

    def flush(self) -> None:
        """Nothing to do (part of numba's interface)."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled form for a signature, if it is on disk or another process is about to put it there."""
        target_context.refresh()
        name = self._file(sig, target_context.codegen())
        used.add(name)
        found = _find(name, target_context)
        if found is None and _can_write(cache_folder()):
            if not self._lock(name):
                self._announce(elsewhere=True)
                self._lock(name, patience_s=30 + 3 * ROUGHLY_S.get(self._name, 0))
            found = _find(name, target_context)
        if found is None:
            self._announce(elsewhere=False)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form, if it can be kept."""
        if data.library.has_dynamic_globals or not _can_write(cache_folder()):
            return
        try:
            body = pickle.dumps(data._reduce(), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            _log.warning("the compiled kernel %s cannot be kept (%s)", self._name, error)
            return
        try:
            path = cache_folder() / self._file(sig, data.codegen)
            write_atomically(path, _MAGIC + hashlib.sha256(body).digest() + body)
            _remove_old(path.parent)
        except OSError as error:
            _cannot_write(cache_folder(), error.__cause__ if isinstance(error.__cause__, OSError) else error)

    def _file(self, sig: Any, codegen: Any) -> str:
        key = repr((self._digest, _described(sig), codegen.magic_tuple(), _machine()))
        return f"{self._prefix}-{hashlib.sha256(key.encode()).hexdigest()[:24]}{SUFFIX}"

    def _lock(self, name: str, patience_s: float = 0.0) -> bool:
        """Become the only process that compiles this form; False if another one is at it."""
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks: each for itself
            lock = filelock.FileLock(cache_folder() / f".{name.removesuffix(SUFFIX)}.lock")
            try:
                lock.acquire(timeout=patience_s)
            except filelock.Timeout:
                return False
            _turns.locks.append(lock)
        return True

    def _announce(self, *, elsewhere: bool) -> None:
        if _turns.depth == 1:
            compiling = Compiling(self._name, ROUGHLY_S.get(self._name, 0), elsewhere)
            _turns.announced[:] = _announced[:] = [compiling]
            _tell(compiling)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Bracket one compilation: whoever waits for it goes on at its end, however it ends."""
        before = len(_turns.locks)
        _turns.depth += 1
        try:
            yield
        finally:
            _turns.depth -= 1
            while len(_turns.locks) > before:
                _turns.locks.pop().release()
            if _turns.depth == 0 and _turns.announced:
                if _announced == _turns.announced:  # (no other thread has begun meanwhile)
                    _announced.clear()
                    _tell(None)
                _turns.announced.clear()


def _described(sig: Any) -> str:
    """Return argument types as text, with the fields of named tuples, which their own text leaves out."""
    fields, left = [], [sig]
    while left:
        kind = left.pop()
        if isinstance(kind, (types.NamedTuple, types.NamedUniTuple)):
            fields.append((str(kind), kind.instance_class.__module__, kind.fields))
        left += kind if isinstance(kind, tuple) else getattr(kind, "types", ())
    return f"{sig} {fields}"


def _find(name: str, target_context: Any) -> Any:
    """Return the kernel in a file of this name, in the first folder that has a good one; None if there is none."""
    wrong = ""
    for cache in (*shared_caches(), user_cache()):
        path = cache / "kernels" / name
        try:
            with open(path, "rb") as file:
                content = file.read() if _is_trusted(os.fstat(file.fileno()), path.parent) else b""
        except OSError:
            continue
        body = content[len(_MAGIC) + 32 :]
        try:
            if content[: len(_MAGIC) + 32] != _MAGIC + hashlib.sha256(body).digest():
                if cache == user_cache():
                    path.unlink(missing_ok=True)
                raise ValueError("its checksum is wrong" if content else "others may write to it")
            kernel = CompileResult._rebuild(target_context, *pickle.loads(body))
        except Exception as error:
            reason = " ".join(str(error).split())[:100]
            wrong = f"the compiled kernel {path} is damaged ({reason}): it is compiled again"
            continue
        with contextlib.suppress(OSError):
            if cache == user_cache():
                os.utime(path)
        return kernel
    if wrong:
        _log.warning("%s", wrong)
    return None


def _is_trusted(found: os.stat_result, folder: Path) -> bool:
    """Does a file belong to this user, to root, or to the folder's owner, and may nobody else write to it?

    What is read from it is run.
    """
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid in (0, os.getuid(), folder.stat().st_uid) and not found.st_mode & 0o022


def _remove_old(folder: Path) -> None:
    """Remove kernels, locks and notes that nobody has used for a long time."""
    oldest = time.time() - _KEEP_S
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
