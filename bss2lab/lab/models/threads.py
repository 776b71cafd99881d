"""How many threads a step of the engine uses; what others compute in the same thread keeps its own number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bss2lab.kernels.compiler import numba
from bss2lab.train import set_threads


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use this many threads in compiled kernels and in torch (0: one per core), and as many as before thereafter."""
    before = numba.get_num_threads(), torch.get_num_threads()
    set_threads(n)
    try:
        yield
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
