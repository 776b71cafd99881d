"""Run a block with a given number of threads, in the compiled kernels and in torch."""

import contextlib

import numba
import torch


@contextlib.contextmanager
def threads(n):
    before = numba.get_num_threads()
    set_threads(n)
    try:
        yield
    finally:
        set_threads(before)


def set_threads(n):
    """Use this many threads from now on."""
    numba.set_num_threads(n)
    torch.set_num_threads(n)
