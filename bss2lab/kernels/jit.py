"""How this package compiles: one set of numba options, and a cache that can never be stale.

numba keys its on-disk cache on the file that holds the kernel alone, so a change to an equation that is
inlined from another file would go unnoticed. Here the cache folder's name carries a digest of every source
that can be inlined, and it lies in the user's cache, so that an installation in a read-only place works too.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from bss2lab.storage import user_cache

numba_config: Any = config  # (its attributes are made at run time)

# GNU OpenMP first: it may be entered from several threads at once (numba's own work queue may not).
numba_config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
"""Rounding freedoms that the training kernels take. They keep NaN and infinity intact."""

_PACKAGE = Path(__file__).resolve().parents[1]
_INLINED = ("dynamics.py", "surrogate.py", "quantize.py", "kernels", "chip", "datasets")


@functools.cache
def source_digest() -> str:
    """Return a digest of numba's version and of every source that kernels and chip depend on."""
    digest = hashlib.sha256(numba.__version__.encode())
    for part in _INLINED:
        path = _PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Return the folder of the compiled kernels: per user, per state of the sources, per numba version."""
    return user_cache() / "kernels" / source_digest()


@functools.cache
def _usable_cache() -> str:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return tempfile.mkdtemp(prefix="bss2lab-kernels-")


def kernel(*, parallel: bool = False, fast: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a compiled entry point: cached on disk, releases the GIL.

    Args:
        parallel: allow ``numba.prange``.
        fast: allow the rounding freedoms in :data:`FAST`; without them the arithmetic is strict IEEE and a
            result does not depend on vector width or machine.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        before = numba_config.CACHE_DIR
        numba_config.CACHE_DIR = _usable_cache()
        try:
            return numba.njit(
                cache=True, nogil=True, error_model="numpy", parallel=parallel, fastmath=FAST if fast else False
            )(function)
        finally:
            numba_config.CACHE_DIR = before

    return compile_


def device(function: Callable[..., Any]) -> Any:
    """Make a pure function callable, and inlined, in kernels. Used on the equations of ``dynamics``."""
    return numba.njit(inline="always", error_model="numpy")(function)
