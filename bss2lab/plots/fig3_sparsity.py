"""Draw figure 3E from its frozen result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from bss2lab.plots import style
from bss2lab.plots.fig4 import sequential
from bss2lab.plots.scales import lifted, log_floor, plain_ticks, round_numbers
from bss2lab.presets import Published, published
from bss2lab.studies.fig3_sparsity import Sparsity
from bss2lab.studies.results import Mean

MARKS = (20.0, 10.0)
"""Hidden spikes per image down to which the paper's accuracy is constant, and where it is slightly lower [paper]."""

_MARK_STYLES = ("--", ":")
_LINE_POINTS = 10.0  # height of one level of labels, points


def draw_sparsity(result: Sparsity) -> style.PaperFigure:
    """Figure 3E: test error against hidden spikes per image; one dot per network, mean ± SD per burst penalty ρ_b.

    Args:
        result: the sweep.

    Returns:
        A new figure, with the published error of the same task where there is one, and for MNIST the activities for
        which the paper states how the accuracy changes.
    """
    paper = published(result.config.train)
    marks = MARKS if result.config.train.task == "mnist" else ()
    penalties = sorted({p.rho_b for p in result.points})
    colours = [to_hex(c) for c in sequential(len(penalties))]
    floor = log_floor([p.spikes for p in result.points], at_most=0.75 * min(MARKS))
    with style.paper():
        figure = style.PaperFigure(figsize=(8.0, 3.7))
        axes = figure.subplots()
        means: list[tuple[float, Mean, Mean]] = []
        for rho, colour in zip(penalties, colours, strict=True):
            chosen = [p for p in result.points if p.rho_b == rho]
            x = lifted([p.spikes for p in chosen], floor)
            axes.plot(x, [100 * (1 - p.train_accuracy) for p in chosen], "^", color="#BBBBBB", markersize=3.5,
                      zorder=2)  # fmt: skip
            axes.plot(x, [100 * (1 - p.test_accuracy) for p in chosen], "o", color=colour, markersize=4, alpha=0.75,
                      markeredgewidth=0, zorder=3)  # fmt: skip
            means.append((rho, *result.at(rho)))
        _draw_means(axes, means, colours, floor)
        several = max(spikes.n for _, spikes, _ in means) > 1
        train = [np.mean([100 * (1 - p.train_accuracy) for p in result.points if p.rho_b == rho]) for rho in penalties]
        order = np.argsort([spikes.mean for _, spikes, _ in means])
        x = lifted([spikes.mean for _, spikes, _ in means], floor)
        axes.plot(x[order], np.array(train)[order], color="#999999", linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
        highest = max(100 * (1 - min(p.test_accuracy, p.train_accuracy)) for p in result.points)
        if paper is not None:
            highest = max(highest, 100 - paper.test)
            axes.axhline(100 - paper.test, color="black", linewidth=0.9, linestyle="-.")
        for mark, dash in zip(marks, _MARK_STYLES, strict=False):
            axes.axvline(mark, color=style.REFERENCE, linewidth=0.9, linestyle=dash, zorder=0)
        reach = max(max(MARKS), *(p.spikes for p in result.points))
        axes.set(xscale="log", xlim=(floor, 1.35 * reach), ylim=(0, 1.32 * max(highest, 0.5)))
        axes.set(xlabel="hidden spikes per image", ylabel="error (%)")
        plain_ticks(axes.xaxis, round_numbers(floor, 1.35 * reach))
        _label(axes, means, floor)
        n = len(result.points)
        axes.set_title(f"{n} network{'s' if n > 1 else ''}; numbers: burst penalty ρ$_b$", loc="left")
        figure.legend(handles=_legend(paper, marks, several=several), loc="outside right center", handlelength=2.2)
        style.panel_letter(axes, "E")
        style.badge(figure, emulated=result.config.train.on_chip)
    return figure


def _draw_means(axes: Axes, means: list[tuple[float, Mean, Mean]], colours: list[str], floor: float) -> None:
    order = np.argsort([spikes.mean for _, spikes, _ in means])
    x, y = lifted([s.mean for _, s, _ in means], floor), np.array([e.mean for _, _, e in means])
    axes.plot(x[order], y[order], color="#444444", linewidth=0.8, zorder=2)
    for (_, spikes, error), colour in zip(means, colours, strict=True):
        at = max(spikes.mean, floor)
        bars = {"xerr": [[min(spikes.sd, at - floor)], [spikes.sd]], "yerr": error.sd} if error.n > 1 else {}
        axes.errorbar([at], [error.mean], **bars, fmt="s", color="black", markerfacecolor=colour, markersize=6.5,
                      capsize=2, elinewidth=0.9, zorder=4)  # fmt: skip


def _label(axes: Axes, means: list[tuple[float, Mean, Mean]], floor: float) -> None:
    """Write ρ_b over its points; where labels would meet, a level higher."""
    low, high = np.log(axes.get_xlim())
    taken: list[float] = []  # right end of the last label on each level, fraction of the axis
    for rho, spikes, error in sorted(means, key=lambda mean: mean[1].mean):
        text = f"{rho:g}" + (" (silent)" if spikes.mean == 0 else "")
        at = float((np.log(max(spikes.mean, floor)) - low) / (high - low))
        half = 0.0085 * (len(text) + 1)
        level = next((k for k, end in enumerate(taken) if end < at - half), len(taken))
        taken[level : level + 1] = [at + half]
        above = error.mean + (error.sd if error.n > 1 else 0.0)
        axes.annotate(text, (max(spikes.mean, floor), above), xytext=(0, 7 + _LINE_POINTS * level), fontsize=8,
                      textcoords="offset points", ha="center", va="bottom", zorder=6,
                      path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip


def _legend(paper: Published | None, marks: Sequence[float], *, several: bool) -> list[Line2D]:
    grey = "#7C7B78"
    handles = [
        Line2D([], [], color="#444444", marker="s", markerfacecolor=grey, markeredgecolor="black", markersize=6.5,
               linewidth=0.8, label="test, mean ± SD" if several else "test"),
        Line2D([], [], color="#999999", linestyle=(0, (3, 2)), marker="^", markerfacecolor="#BBBBBB", linewidth=0.9,
               markeredgecolor="#BBBBBB", markersize=3.5, label="training"),
    ]  # fmt: skip
    if several:
        handles.insert(1, Line2D([], [], color=grey, marker="o", linestyle="none", markersize=4, label="test, network"))
    if paper is not None:
        label = f"paper, test: {100 - paper.test:.1f} %"
        handles.append(Line2D([], [], color="black", linestyle="-.", linewidth=0.9, label=label))
    notes = ("paper: accuracy constant\ndown to ≈", "paper: slightly lower at")
    for mark, dash, note in zip(marks, _MARK_STYLES, notes, strict=False):
        label = f"{note} {mark:g} spikes"
        handles.append(Line2D([], [], color=style.REFERENCE, linestyle=dash, linewidth=0.9, label=label))
    return handles
