"""Settings that hold for every test."""

import os

import hypothesis

# Before anything imports Matplotlib or Jupyter: no window, no warning about where Jupyter keeps its files.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

# A kernel that numba compiles in the first example is not slow; CI draws the same examples every time.
hypothesis.settings.register_profile("bss2lab", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("bss2lab")
