"""Draw figure 4C from its frozen result."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bss2lab.plots import style
from bss2lab.plots.scales import lifted, log_floor, mark_zeros, plain_ticks, round_numbers
from bss2lab.studies.fig4_silencing import Silencing

PAPER_FRACTION, PAPER_INCREASE = 0.15, (37.0, 10.0)
"""Silenced fraction and the increase of the test error there, percent: without dropout, with 40 % of it [paper]."""

_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": style.TEST, "marker": "s", "linestyle": "--"},
    {"color": style.TRAIN, "marker": "o", "linestyle": "-"},
)


def draw_silencing(result: Silencing) -> style.PaperFigure:
    """Figure 4C: test error against the fraction of hidden neurons silenced, with and without dropout.

    Args:
        result: the errors.

    Returns:
        A new figure: the error (mean ± SD over the networks) on a logarithmic scale, and its increase relative to all
        neurons alive around the fraction for which the paper gives it, beside the paper's numbers.
    """
    config = result.config
    kinds = (config.without.dropout, config.dropout.dropout)
    with style.paper():
        figure = style.PaperFigure(figsize=(9.0, 3.6))
        error, increase = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
        _draw_error(error, result, kinds)
        _draw_increase(increase, result, kinds)
        error.set(xlabel="hidden neurons silenced (%)", ylabel="test error (%)")
        increase.set(xlabel="hidden neurons silenced (%)", ylabel="increase of the test error (%)")
        error.legend(loc="upper left", handlelength=2.6)
        increase.legend(
            loc="upper left", handlelength=2.6, title=f"at {100 * PAPER_FRACTION:g} % silenced:", alignment="left"
        )
        for axes in (error, increase):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        n = config.seeds
        error.set_title(f"{n} network{'s' if n > 1 else ''} each", loc="left")
        increase.set_title("relative to all neurons alive", loc="left")
        style.panel_letter(error, "C")
        on_chip = [run.on_chip for run in (config.without, config.dropout)]
        style.badge(figure, emulated=any(on_chip), software=not all(on_chip))
    return figure


def _name(dropout: float) -> str:
    return f"{100 * dropout:g} % dropout" if dropout else "no dropout"


def _draw_error(axes: Axes, result: Silencing, kinds: tuple[float, float]) -> None:
    fractions = result.config.fractions
    x = 100 * np.array(fractions)
    table = [[result.error(dropout, f) for f in fractions] for dropout in kinds]
    floor = log_floor([m.mean for row in table for m in row], at_most=1.0)
    zeros = 0
    for dropout, row, look in zip(kinds, table, _LOOKS, strict=True):
        mean, sd = np.array([m.mean for m in row]), np.array([m.sd for m in row])
        shown = lifted(mean, floor)
        several = row[0].n > 1
        bars = np.array([np.minimum(sd, shown - floor), sd]) if several else None
        label = _name(dropout) + (", mean ± SD" if several else "")
        axes.errorbar(x, shown, yerr=bars, **look, label=label, capsize=2.5, markersize=4.5, linewidth=1.5)
        zeros += mark_zeros(axes, x, mean, floor, look["color"])
    if zeros:
        axes.plot([], [], "v", color=style.REFERENCE, markerfacecolor="white", markersize=7, label="no error")
    top = min(100.0, 1.25 * max(m.mean + m.sd for row in table for m in row) + floor)
    axes.set(yscale="log", ylim=(floor, min(1.6 * top, 110.0)), xlim=_limits(x))
    plain_ticks(axes.yaxis, round_numbers(floor, min(1.6 * top, 100.0)))


def _draw_increase(axes: Axes, result: Silencing, kinds: tuple[float, float]) -> None:
    fractions = result.config.fractions
    beyond = [f for f in fractions if f > PAPER_FRACTION]
    near = [f for f in fractions if f <= (beyond[0] if beyond else 1.0)]
    x, highest = 100 * np.array(near), 1.0
    for dropout, look, paper in zip(kinds, _LOOKS, PAPER_INCREASE, strict=True):
        paper_label = f"paper: +{paper:g} %"
        if result.error(dropout, 0.0).mean > 0:
            increase = [result.increase(dropout, f) for f in near]
            at = f": {result.increase(dropout, PAPER_FRACTION):+.0f} %" if PAPER_FRACTION in near else ""
            axes.plot(x, increase, **look, label=f"{_name(dropout)}{at}", markersize=4.5, linewidth=1.5)
            highest = max(highest, *increase)
        else:
            axes.plot([], [], **look, label=f"{_name(dropout)}: no error that could increase")
        axes.plot([100 * PAPER_FRACTION], [paper], marker=look["marker"], linestyle="none", markersize=9,
                  markerfacecolor="none", markeredgecolor=look["color"], markeredgewidth=1.6, label=paper_label,
                  zorder=4)  # fmt: skip
        highest = max(highest, paper)
    axes.axhline(0, color=style.REFERENCE, linewidth=0.6, zorder=0)
    axes.axvline(100 * PAPER_FRACTION, color=style.REFERENCE, linewidth=0.8, linestyle=":", zorder=0)
    bottom = min(0.0, *(value for line in axes.get_lines() for value in np.asarray(line.get_ydata(), float)))
    axes.set(ylim=(bottom - 0.05 * highest, 1.5 * highest), xlim=_limits(np.append(x, 100 * PAPER_FRACTION)))


def _limits(x: np.ndarray) -> tuple[float, float]:
    margin = 0.05 * max(float(x.max()), 1.0)
    return -margin, float(x.max()) + margin
