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
import pickle
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

from bss2lab.kernels.digest import digest_of
from bss2lab.storage import shared_caches, user_cache, write_atomically

SUFFIX = ".kernel"
_MAGIC = b"bss2lab kernel 1\n"
_PATIENCE_S = 180.0

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
        long = f", about {self.about_s:g} s" if self.about_s else ""
        return f"compiling the kernel {self.kernel.strip('_')} (once{long})"


Watcher = Callable[[Compiling | None], None]
_watchers: list[Watcher] = []


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


def _tell(compiling: Compiling | None) -> None:
    for watcher in tuple(_watchers):
        watcher(compiling)
    if not _watchers and compiling is not None and compiling.about_s:
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


class KernelCache(_Cache):
    """Compiled forms of one function on disk; takes the place of numba's own cache in its dispatcher."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._name = dispatcher.py_func.__name__
        self._prefix = f"{dispatcher.py_func.__module__.rpartition('.')[2]}.{self._name}"
        self._locks: list[filelock.BaseFileLock] = []

    @functools.cached_property
    def _digest(self) -> str:
        try:
            return digest_of(self._dispatcher)
        except OSError:  # no source to take a digest of
            return ""

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
        if not name:
            return None
        found = self._find(name, target_context)
        if found is None and _can_write(cache_folder()):
            if not self._take_turn(name):
                self._begin(elsewhere=True)
                self._take_turn(name, _PATIENCE_S)
            found = self._find(name, target_context)
        if found is None:
            self._begin(elsewhere=False)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form, if it can be kept."""
        name = self._file(sig, data.codegen)
        if not name or data.library.has_dynamic_globals or not _can_write(cache_folder()):
            return
        body = pickle.dumps(data._reduce(), protocol=pickle.HIGHEST_PROTOCOL)
        try:
            write_atomically(cache_folder() / name, _MAGIC + hashlib.sha256(body).digest() + body)
        except OSError as error:
            _cannot_write(cache_folder(), error.__cause__ if isinstance(error.__cause__, OSError) else error)

    def _file(self, sig: Any, codegen: Any) -> str:
        if not self._digest:
            return ""
        key = repr((self._digest, str(sig), codegen.magic_tuple(), _machine()))
        return f"{self._prefix}-{hashlib.sha256(key.encode()).hexdigest()[:24]}{SUFFIX}"

    def _find(self, name: str, target_context: Any) -> Any:
        for folder in (*shared_caches(), user_cache()):
            found = _read(folder / "kernels" / name, target_context)
            if found is not None:
                return found
        return None

    def _take_turn(self, name: str, patience_s: float = 0.0) -> bool:
        """Become the only process that compiles this form; False if another one is at it."""
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks: each for itself
            lock = filelock.FileLock(cache_folder() / f".{self._prefix}-{name[-24 - len(SUFFIX) :]}.lock")
            try:
                lock.acquire(timeout=patience_s)
            except filelock.Timeout:
                return False
            self._locks.append(lock)
        return True

    def _begin(self, *, elsewhere: bool) -> None:
        if _depth.level == 1 and not _depth.told:
            _depth.told = True
            _tell(Compiling(self._name, ROUGHLY_S.get(self._name, 0), elsewhere))

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Bracket one compilation: whoever waits for it goes on at its end, however it ends."""
        before = len(self._locks)
        _depth.level += 1
        try:
            yield
        finally:
            _depth.level -= 1
            while len(self._locks) > before:
                lock = self._locks.pop()
                lock.release()
            if _depth.level == 0 and _depth.told:
                _depth.told = False
                _tell(None)


class _Depth(threading.local):
    """How deep in nested compilations a thread is, and whether the outermost one has been announced."""

    level = 0
    told = False


_depth = _Depth()


def _read(path: Path, target_context: Any) -> Any:
    """Return the kernel in a file; None if it is not there or no use, and then the file is removed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[len(_MAGIC) + 32 :]
    try:
        if content[: -len(body) or None] != _MAGIC + hashlib.sha256(body).digest():
            raise ValueError("its checksum is wrong")
        return CompileResult._rebuild(target_context, *pickle.loads(body))
    except Exception as error:
        with contextlib.suppress(OSError):
            path.unlink()
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warning("the compiled kernel %s is damaged (%.100s): it is compiled again", path, reason)
        return None
