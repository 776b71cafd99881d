"""What of compiling needs numba: dispatchers that keep what they compile, threads that cannot end the process."""

from __future__ import annotations

import functools
import os
import sys
import threading
from types import FunctionType
from typing import Any

import numba
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numba.np.ufunc import parallel as _numba_threads

from bss2lab.kernels.cache import KernelCache, forget_watchers
from bss2lab.kernels.jit import Intrinsic, Kernel, prange
from bss2lab.machine import usable_cores

numba_config: Any = config  # (its attributes are made at run time)

# GNU OpenMP first: it may be entered from several threads at once (numba's own work queue may not).
numba_config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def dispatcher_of(kernel: Kernel, *, serial: bool = False) -> Any:
    """Make numba's dispatcher of a kernel; of all kernels that it calls, too.

    Args:
        kernel: the kernel.
        serial: without threads, also in the kernels that it calls.
    """
    f = kernel.py_func
    named = ((name, f.__globals__[name]) for name in f.__code__.co_names if name in f.__globals__)
    meant = {
        name: _meant(value, serial) for name, value in named if isinstance(value, (Kernel, Intrinsic, type(prange)))
    }
    copy = FunctionType(f.__code__, {**f.__globals__, **meant}, f.__name__, f.__defaults__, f.__closure__)
    copy.__module__, copy.__qualname__, copy.__doc__ = f.__module__, f.__qualname__, f.__doc__
    options = {**kernel.targetoptions, **({"parallel": False} if serial and "parallel" in kernel.targetoptions else {})}
    made: Any = numba.njit(**options)(copy)
    if numba_config.DISABLE_JIT or "inline" in options:
        return made
    made._cache = cache = KernelCache(kernel, serial=serial)
    compile_now = made.compile

    def compile_in_turn(sig: Any) -> Any:
        with cache.turn():
            return compile_now(sig)

    made.compile = compile_in_turn
    return made


def _meant(value: Any, serial: bool) -> Any:
    """Return what numba shall see of a global."""
    if isinstance(value, Kernel):
        return value.serial if serial else value.dispatcher
    return intrinsic_of(value) if isinstance(value, Intrinsic) else numba.prange


@functools.cache
def intrinsic_of(value: Intrinsic) -> Any:
    """Make numba's intrinsic."""
    return intrinsic(value.py_func)


def call_parallel(kernel: Kernel, arguments: tuple[Any, ...]) -> Any:
    """Call a kernel that runs on several threads; see ``jit.kernel``."""
    if state.forked:
        _use_one_torch_thread()
        return kernel.serial(*arguments)
    if not state.works_alone:
        return kernel.dispatcher(*arguments)
    with state.lock:
        return kernel.dispatcher(*arguments)


class _Threads:
    """What is known of numba's threads in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forked = False
        if "NUMBA_NUM_THREADS" not in os.environ and not _numba_threads._is_initialized:  # a container's quota
            most = min(usable_cores(), numba_config.NUMBA_NUM_THREADS)
            numba_config.NUMBA_NUM_THREADS = _numba_threads.NUM_THREADS = most
        if hasattr(os, "register_at_fork"):
            # A child has no thread to open a lock that another thread held: fork between two compilations and calls.
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._release, after_in_child=self._after_fork
            )

    @functools.cached_property
    def works_alone(self) -> bool:
        """May only one thread at a time be within a parallel kernel?"""
        _numba_threads._launch_threads()
        return _numba_threads.threading_layer() == "workqueue"

    def _before_fork(self) -> None:
        self.lock.acquire()
        global_compiler_lock.acquire()

    def _release(self) -> None:
        global_compiler_lock.release()
        self.lock.release()

    def _after_fork(self) -> None:
        self._release()
        self.forked = self.forked or _numba_threads._is_initialized
        forget_watchers()


state = _Threads()


@functools.cache
def _use_one_torch_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
