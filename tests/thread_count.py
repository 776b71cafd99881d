"""Run a block with a given number of threads, in the compiled kernels and in torch."""

import contextlib

import numba
import torch


@contextlib.contextmanager
def threads(n):
    before = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(n)
    torch.set_num_threads(n)
    try:
        yield
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
