"""How this package compiles: numba's options, kernels that are kept on disk, threads that cannot end the process."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba.core import config, types
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel as _numba_threads

from bss2lab.kernels.cache import KernelCache, forget_watchers
from bss2lab.machine import usable_cores

numba_config: Any = config  # (its attributes are made at run time)

# GNU OpenMP first: it may be entered from several threads at once (numba's own work queue may not).
numba_config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
"""Rounding freedoms that the training kernels take. They keep NaN and infinity intact."""


def kernel(*, parallel: bool = False, fast: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a compiled entry point: kept on disk, releases the GIL.

    Args:
        parallel: allow ``numba.prange``.
        fast: allow the rounding freedoms in :data:`FAST`; without them the arithmetic is strict IEEE and a
            result does not depend on vector width or machine.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        made = _dispatcher(function, parallel=parallel, fast=fast)
        if made is function:
            return function
        return ParallelKernel(made, functools.partial(_dispatcher, fast=fast)) if parallel else made

    return compile_


def device(function: Callable[..., Any]) -> Any:
    """Make a pure function callable, and inlined, in kernels. Used on the equations of ``dynamics``."""
    return numba.njit(inline="always", error_model="numpy")(function)


def _dispatcher(function: Callable[..., Any], *, parallel: bool = False, fast: bool) -> Any:
    options = {"nogil": True, "error_model": "numpy", "parallel": parallel, "fastmath": FAST if fast else False}
    made: Any = numba.njit(**options)(function)
    if numba_config.DISABLE_JIT:
        return made
    made._cache = cache = KernelCache(made)
    compile_now = made.compile

    def compile_in_turn(sig: Any) -> Any:
        with cache.turn():
            return compile_now(sig)

    made.compile = compile_in_turn
    return made


class ParallelKernel:
    """A kernel that runs on several threads, called from Python (or from another kernel).

    Numba's threads have two ways to end the whole process, and both are closed here. Its own work queue (what pip
    installs give on macOS and Windows) must not be entered from two threads at once: there, calls wait for each
    other. After a fork the threads are gone and cannot be started again: in such a child the kernel is compiled
    without threads. (That form may sum in another order: results can differ in their last bits.)
    """

    def __init__(self, dispatcher: Any, compile_: Callable[[Callable[..., Any]], Any]) -> None:
        self.dispatcher = dispatcher
        self._compile = compile_
        functools.update_wrapper(self, dispatcher.py_func)

    def __call__(self, *arguments: Any) -> Any:
        if _state.forked:
            _use_one_torch_thread()
            return self.serial(*arguments)
        if not _state.works_alone:
            return self.dispatcher(*arguments)
        with _state.lock:
            return self.dispatcher(*arguments)

    @property
    def py_func(self) -> FunctionType:
        """The function before it is compiled."""
        return self.dispatcher.py_func

    @property
    def targetoptions(self) -> dict[str, Any]:
        """Options that it is compiled with."""
        return self.dispatcher.targetoptions

    @property
    def _numba_type_(self) -> Any:
        return types.Dispatcher(self.dispatcher)

    @functools.cached_property
    def serial(self) -> Any:
        """The same on one thread: the kernels that it calls are serial too."""
        f = self.py_func
        called = {n: g.serial for n in f.__code__.co_names if isinstance(g := f.__globals__.get(n), ParallelKernel)}
        twin = FunctionType(f.__code__, {**f.__globals__, **called}, f.__name__, f.__defaults__, f.__closure__)
        twin.__module__, twin.__qualname__ = f.__module__, f.__qualname__
        return self._compile(twin)


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


_state = _Threads()


def is_forked() -> bool:
    """Is this a forked process, in which numba's and torch's threads are gone?"""
    return _state.forked


@functools.cache
def _use_one_torch_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
