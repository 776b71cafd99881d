"""Draw table 1 of the paper and the ablation from their frozen results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bss2lab.plots import style
from bss2lab.settings import TITLES
from bss2lab.studies.results import Mean
from bss2lab.studies.tables import Entry, Table

_COLOURS = {"itl": style.TRAIN, "transfer": style.TRAIN, "software": style.TEST, "ann": style.PALETTE[2]}
_LIGHTER = 0.45  # opacity of what concerns training
_HERE, _PAPER = 0.16, -0.2  # where in its row a marker stands


def draw_table1(result: Table) -> style.PaperFigure:
    """Table 1 as a dot plot: accuracy of every row beside the paper's, one panel for each task.

    Args:
        result: the table.

    Returns:
        A new figure. Filled markers are results of this package, open ones the paper's; circles are test accuracies,
        triangles training accuracies; bars are standard deviations, or the paper's spread.
    """
    tasks = list(dict.fromkeys(entry.row.train.task for entry in result.entries))
    groups = [[entry for entry in result.entries if entry.row.train.task == task] for task in tasks]
    counts = [len(group) for group in groups]
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 0.42 * sum(counts) + 0.75 * len(groups) + 0.7))
        panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[n + 0.6 for n in counts])[:, 0]
        for axes, task, group in zip(panels, tasks, groups, strict=True):
            for k, entry in enumerate(group):
                _draw_entry(axes, entry, -k)
            _rows(axes, [entry.row.name for entry in group])
            axes.set_title(TITLES[task], loc="left", fontweight="bold")
            axes.annotate("test %: here", (1.0, 1.0), **_beside())
            axes.annotate("paper", (1.0, 1.0), **_beside(column=1))
        panels[-1].set_xlabel("accuracy (%)")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, handletextpad=0.3)
        on_chip = [entry.row.train.on_chip for entry in result.entries]
        style.badge(figure, emulated=any(on_chip), software=not all(on_chip))
    return figure


def draw_ablation(result: Table) -> style.PaperFigure:
    """Ablation: by how much the test accuracy changes when the chip is spared a non-ideality.

    Differences are taken seed by seed against the table's first row (the same initial weights on the same chip).

    Args:
        result: the table; its first row is the chip with all non-idealities.

    Returns:
        A new figure: mean ± SD of the differences, a small dot for each seed, and as a band the SD of the first row.
    """
    base, others = result.entries[0], result.entries[1:]
    with style.paper():
        figure = style.PaperFigure(figsize=(7.2, 0.42 * max(len(others), 1) + 1.7))
        axes = figure.subplots()
        handles: list[Any] = []
        if base.test.n > 1:
            axes.axvspan(-base.test.sd, base.test.sd, color="#D8D8D8", linewidth=0, zorder=0)
            handles.append(Patch(color="#D8D8D8", label="± SD over the seeds, chip as it is"))
        axes.axvline(0, color="black", linewidth=0.9)
        for k, entry in enumerate(others):
            _draw_difference(axes, entry.gains(base), -k)
        _rows(axes, [entry.row.name for entry in others])
        reach = max((abs(d) for entry in others for d in entry.gains(base)), default=0.0)
        low, high = axes.get_xlim()
        reach = max(reach, base.test.sd, 0.05)
        axes.set_xlim(min(low, -0.3 * reach), max(high, 0.3 * reach))
        axes.set_xlabel("change of the test accuracy (percentage points, right: better)")
        axes.set_title(f"the chip spared one thing at a time; {base.row.name} spared: {base.test} %", loc="left")
        if others:
            axes.annotate("change", (1.0, 1.0), **_beside())
            handles.append(Line2D([], [], color=style.TRAIN, marker="o", linestyle="-", markersize=6,
                                  label="mean ± SD" if base.test.n > 1 else "one seed"))  # fmt: skip
        if others and base.test.n > 1:
            handles.append(Line2D([], [], color="#777777", marker="|", linestyle="none", markersize=6, label="a seed"))
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=3)
        on_chip = [entry.row.train.on_chip for entry in result.entries]
        style.badge(figure, emulated=any(on_chip), software=not all(on_chip))
    return figure


# --- table 1 -----------------------------------------------------------------------------------------------------


def _draw_entry(axes: Axes, entry: Entry, y: float) -> None:
    colour = _COLOURS[entry.row.train.mode]
    for mean, marker, opacity in ((entry.train, "^", _LIGHTER), (entry.test, "o", 1.0)):
        bars = mean.sd if mean.n > 1 else None
        axes.errorbar([mean.mean], [y + _HERE], xerr=bars, fmt=marker, color=colour, alpha=opacity, markersize=6,
                      capsize=2.5, zorder=3, clip_on=False)  # fmt: skip
    axes.annotate(f"{entry.test}", (1.0, y), **_beside(data=True), color=colour)
    paper = entry.paper
    if paper is not None:
        trained = np.nan if paper.train is None else paper.train
        axes.plot([trained], [y + _PAPER], "^", color="black", markerfacecolor="white", alpha=_LIGHTER,
                  markersize=6, zorder=3, clip_on=False)  # fmt: skip
        axes.errorbar([paper.test], [y + _PAPER], xerr=paper.test_spread or None, fmt="o", color="black",
                      markerfacecolor="white", markersize=6, capsize=2.5, zorder=3, clip_on=False)  # fmt: skip
    text = f"{paper.test:.1f} ± {paper.test_spread:.1f}" if paper is not None else "–"
    axes.annotate(text, (1.0, y), **_beside(data=True, column=1))


def _legend() -> list[Line2D]:
    def mark(marker: str, label: str, *, filled: bool, opacity: float) -> Line2D:
        return Line2D([], [], marker=marker, linestyle="none", color="black", alpha=opacity, markersize=6, label=label,
                      markerfacecolor="black" if filled else "white")  # fmt: skip

    return [
        mark("o", "test, here", filled=True, opacity=1.0),
        mark("o", "test, paper", filled=False, opacity=1.0),
        mark("^", "training, here", filled=True, opacity=_LIGHTER),
        mark("^", "training, paper", filled=False, opacity=_LIGHTER),
    ]


# --- ablation ----------------------------------------------------------------------------------------------------


def _draw_difference(axes: Axes, values: list[float], y: float) -> None:
    mean = Mean.of(values)
    if mean.n > 1:
        axes.plot(values, np.full(mean.n, y - 0.22), "|", color="#777777", markersize=6, zorder=2)
    axes.plot([0, mean.mean], [y, y], color=style.TRAIN, linewidth=3.0, alpha=0.4, solid_capstyle="butt", zorder=1)
    axes.errorbar([mean.mean], [y], xerr=mean.sd if mean.n > 1 else None, fmt="o", color=style.TRAIN, markersize=6,
                  capsize=3, zorder=3)  # fmt: skip
    spread = f" ± {mean.sd:.2f}" if mean.n > 1 else ""
    axes.annotate(f"{mean.mean:+.2f}{spread}".replace("-", "−"), (1.0, y), **_beside(data=True))


# --- both --------------------------------------------------------------------------------------------------------


def _rows(axes: Axes, names: list[str]) -> None:
    """One row for each name, from top to bottom, with a line to lead the eye."""
    axes.set(yticks=-np.arange(len(names)), ylim=(-max(len(names), 1) + 0.4, 0.6))
    axes.set_yticklabels(names, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    for k in range(1, len(names)):
        axes.axhline(0.5 - k, color="#E4E4E4", linewidth=0.6, zorder=0)
    axes.spines["left"].set_visible(False)


def _beside(*, data: bool = False, column: int = 0) -> dict[str, Any]:
    """How text at the right of the axes is placed: in a row, or as a head above the rows."""
    return {
        "xycoords": ("axes fraction", "data" if data else "axes fraction"),
        "xytext": (10 + 74 * column, 0 if data else 4),
        "textcoords": "offset points",
        "va": "center" if data else "bottom",
        "fontsize": 9 if data else 8,
        "annotation_clip": False,
    }
