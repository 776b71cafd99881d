"""Frozen results in, Matplotlib figures out (needs the extra ``[lab]``)."""

from bss2lab.plots.fig3 import draw_learning_curves, draw_snapshots

__all__ = ["draw_learning_curves", "draw_snapshots"]
