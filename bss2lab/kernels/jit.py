"""How this package compiles. numba itself is loaded with the first call of a kernel, not before."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
"""Rounding freedoms that the training kernels take. They keep NaN and infinity intact."""


class _Prange:
    """Stands for ``numba.prange`` in kernels; outside of them it counts like ``range``."""

    def __call__(self, *bounds: int) -> range:
        return range(*bounds)


prange: Any = _Prange()


class Intrinsic:
    """A function that writes code of a kernel itself (see ``numba.extending.intrinsic``)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func: Any = function


class Kernel:
    """A function that is compiled at its first call for each kind of arguments, unless it is found on disk.

    It may be called from Python, and from other kernels.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.py_func: Any = function
        self.targetoptions = {"error_model": "numpy", **options}
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        if self.targetoptions.get("parallel"):
            from bss2lab.kernels.compiler import call_parallel

            return call_parallel(self, arguments)
        return self.dispatcher(*arguments)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What numba makes of it."""
        return _made(self, serial=False)

    @functools.cached_property
    def serial(self) -> Any:
        """The same without threads, also in the kernels that it calls."""
        return _made(self, serial=True) if "parallel" in self.targetoptions else self.dispatcher


_MAKING = threading.RLock()


def _made(kernel: Kernel, *, serial: bool) -> Any:
    from bss2lab.kernels.compiler import dispatcher_of

    with _MAKING:
        return dispatcher_of(kernel, serial=serial)


def kernel(*, parallel: bool = False, fast: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a compiled entry point: kept on disk, releases the GIL.

    Numba's threads have two ways to end the whole process, and both are closed here. Its own work queue (what pip
    installs give on macOS and Windows) must not be entered from two threads at once: there, calls wait for each
    other. After a fork the threads are gone and cannot be started again: in such a child the kernel is compiled
    without threads. (That form may sum in another order: results can differ in their last bits.)

    Args:
        parallel: allow ``prange``.
        fast: allow the rounding freedoms in :data:`FAST`; without them the arithmetic is strict IEEE and a
            result does not depend on vector width or machine.
    """
    options = {"nogil": True, "fastmath": FAST if fast else False, **({"parallel": True} if parallel else {})}
    return lambda function: Kernel(function, **options)


def device(function: Callable[..., Any]) -> Kernel:
    """Make a pure function callable, and inlined, in kernels. Used on the equations of ``dynamics``."""
    return Kernel(function, inline="always")


def is_forked() -> bool:
    """Is this a forked process, in which numba's and torch's threads are gone?"""
    compiler = sys.modules.get("bss2lab.kernels.compiler")
    return compiler is not None and compiler.state.forked
