"""Draw figure 3C from its frozen result."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from bss2lab.plots import style
from bss2lab.studies.fig3_latency import Latency

_TOLERANCE = 0.1  # points below the peak at which a decision counts as ready
_DEPTH = 7.5  # points below the peak that the magnified panel shows


def draw_latency(result: Latency, paper_ready_us: float | None = 8.0) -> style.PaperFigure:
    """Figure 3C: accuracy if a decision is taken at time T, mean and range over the seeds.

    Args:
        result: the decisions.
        paper_ready_us: the paper's time to a decision, µs; None leaves it out.

    Returns:
        A new figure: the whole curve at the left, the approach to its plateau magnified at the right.
    """
    until, rows = np.array(result.until_us), 100 * np.array(result.accuracy)
    peak, ready = float(result.mean.max()), result.ready_us(_TOLERANCE)
    with style.paper():
        figure = style.PaperFigure(figsize=(8.2, 3.3))
        whole, near = figure.subplots(1, 2, width_ratios=(1.0, 1.7))
        for axes in (whole, near):
            _curve(axes, until, rows)
            _marks(axes, result, peak, ready, paper_ready_us)
            axes.set(xlabel="end T of the read-out interval (µs)", ylabel="test accuracy (%)")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        end = max(float(until[-1]), ready, paper_ready_us or 0.0)
        late = min(end, 2.2 * max(ready, paper_ready_us or 0.0))
        bottom = float(np.floor(max(0.0, peak - _DEPTH)))
        top = max(peak, float(rows.max())) + 0.06 * (peak - bottom) + 0.05
        whole.set(xlim=(0, 1.02 * end), ylim=(0, 104))
        near.set(xlim=(0, 1.02 * late), ylim=(bottom, top))
        whole.add_patch(
            Rectangle((0, bottom), 1.02 * late, top - bottom, fill=False, edgecolor=style.REFERENCE, linewidth=0.8,
                      zorder=4)  # the magnified part
        )  # fmt: skip
        n = len(rows)
        whole.set_title(f"{n} network{'s' if n > 1 else ''}, whole range", loc="left")
        near.set_title("approach to the plateau (box at the left)", loc="left")
        near.legend(loc="lower right", handlelength=2.4)
        style.panel_letter(whole, "C")
        style.badge(figure, emulated=result.config.training.train.on_chip)
    return figure


def _curve(axes: Axes, until: np.ndarray, rows: np.ndarray) -> None:
    if len(rows) > 1:
        axes.fill_between(until, rows.min(axis=0), rows.max(axis=0), color=style.TRAIN, alpha=0.25, linewidth=0,
                          label=f"range over {len(rows)} networks")  # fmt: skip
    marker = "o" if len(until) < 120 else None
    axes.plot(until, rows.mean(axis=0), color=style.TRAIN, marker=marker, markersize=2.6, linewidth=1.3,
              label="mean" if len(rows) > 1 else "test images")  # fmt: skip


def _marks(axes: Axes, result: Latency, peak: float, ready: float, paper_us: float | None) -> None:
    level = peak - _TOLERANCE
    axes.axhline(level, color=style.REFERENCE, linewidth=0.9, linestyle=":",
                 label=f"peak − {_TOLERANCE:g} points: {level:.2f} %")  # fmt: skip
    axes.axvline(ready, color=style.TEST, linewidth=1.3, label=f"here: ready at {ready:.1f} µs")
    there = float(result.mean[result.until_us.index(ready)])
    axes.plot([ready], [there], "D", color=style.TEST, markeredgecolor="black", markersize=5.5, zorder=5)
    if paper_us is not None:
        axes.axvline(paper_us, color="black", linewidth=1.1, linestyle="--", label=f"paper: {paper_us:g} µs", zorder=3)
