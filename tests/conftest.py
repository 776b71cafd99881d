"""Settings that hold for every test."""

import os

import hypothesis
import pytest

# Before anything imports Matplotlib or Jupyter: no window, no warning about where Jupyter keeps its files.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
# Before the kernels' thread pool starts: on a busy machine, threads that wait must not spin against those at work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Nothing compiles beside the tests.
os.environ["BSS2LAB_WARM"] = "0"

from thread_count import threads

# A kernel that numba compiles in the first example is not slow; CI draws the same examples every time.
hypothesis.settings.register_profile("bss2lab", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("bss2lab")


@pytest.fixture(scope="module")
def one_thread():
    """Small problems: threads that wait for each other on a busy computer would take most of the time."""
    with threads(1):
        yield
