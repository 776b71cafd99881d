"""Settings that hold for every test."""

import os

import hypothesis

# Before anything imports Matplotlib or Jupyter: no window, no warning about where Jupyter keeps its files.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
# Before the kernels' thread pool starts: on a busy machine, threads that wait must not spin against those at work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A kernel that numba compiles in the first example is not slow; CI draws the same examples every time.
hypothesis.settings.register_profile("bss2lab", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("bss2lab")
