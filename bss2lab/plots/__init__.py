"""Frozen results in, Matplotlib figures out (needs the extra ``[lab]``)."""

from bss2lab.plots.chip import constants_table, draw_membranes, draw_mismatch
from bss2lab.plots.fig3 import draw_learning_curves, draw_snapshots

__all__ = ["constants_table", "draw_learning_curves", "draw_membranes", "draw_mismatch", "draw_snapshots"]
