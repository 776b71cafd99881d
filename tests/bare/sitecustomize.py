"""Hides packages in every Python below a suite that runs bare: its folder stands in PYTHONPATH then."""

import sys
from importlib.machinery import PathFinder

HIDDEN = {
    *("dask", "distributed", "playwright", "lauscher", "tonic"),
    *("snntorch", "norse", "spikingjelly"),
}


class Blind:
    """Finds what PathFinder finds, but for what is hidden."""

    def __getattr__(self, name):
        return getattr(PathFinder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)


if PathFinder in sys.meta_path:
    sys.meta_path[sys.meta_path.index(PathFinder)] = Blind()
