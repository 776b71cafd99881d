"""Draw figure 4B from its frozen result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bss2lab.plots import style
from bss2lab.plots.scales import lifted, log_floor, mark_zeros, plain_ticks, round_numbers
from bss2lab.studies.fig4_robustness import Robustness, Way
from bss2lab.types import Which

_TITLES: dict[Which, str] = {
    "tau": "time constants τ$_m$, τ$_s$",
    "threshold": "threshold",
    "both": "both",
}


@dataclass(frozen=True, slots=True)
class _Curve:
    """How one curve is drawn."""

    way: Way
    train: bool
    label: str
    look: dict[str, Any]


_GREEN = style.PALETTE[2]
_OPEN: dict[str, Any] = {"markerfacecolor": "white"}
_CURVES = (
    _Curve("itl", False, "in the loop, test", {"color": style.TRAIN, "marker": "o", "linestyle": "-"}),
    _Curve("itl", True, "in the loop, training", {"color": style.TRAIN, "marker": "o", "linestyle": "--", **_OPEN}),
    _Curve("transfer", False, "transferred, test", {"color": style.TEST, "marker": "s", "linestyle": "-"}),
    _Curve("transfer", True, "transferred, training", {"color": style.TEST, "marker": "s", "linestyle": "--", **_OPEN}),
    _Curve("recalibrated", False, "transferred after recalibration,\ntest (beyond the paper)",
           {"color": _GREEN, "marker": "^", "linestyle": "-."}),
)  # fmt: skip
_SELF_ACTIVE: dict[str, Any] = {
    "marker": "D", "linestyle": "none", "markerfacecolor": "none", "markersize": 6.0, "markeredgewidth": 0.9,
}  # fmt: skip

_ASIDE = 0.8  # networks of one σ_d are marked this far beside one another, %


def draw_robustness(result: Robustness) -> style.PaperFigure:
    """Figure 4B: error against σ_d, learned in the loop or transferred from software; mean and range over the seeds.

    Args:
        result: the errors.

    Returns:
        A new figure, one panel for each parameter that was detuned, with one logarithmic scale. Bands are ranges of
        the test error. Errors of zero stand at the lower edge, as open triangles that point down.
    """
    panels = result.config.which
    errors = [100 * e for p in result.points for e in (p.train_error, p.test_error)]
    floor = log_floor(errors, at_most=1.0)
    with style.paper():
        figure = style.PaperFigure(figsize=(2.6 * len(panels) + 2.6, 3.7))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        zeros = sum(_panel(axes, result, which, floor) for axes, which in zip(grid, panels, strict=True))
        grid[0].set(yscale="log", ylim=(floor, 100.0), ylabel="error (%)")
        plain_ticks(grid[0].yaxis, [*round_numbers(floor, 60.0), 90.0])
        active = any(p.self_active for p in result.points)
        handles = _legend(zeros > 0, active, several=result.config.seeds > 1)
        figure.legend(handles=handles, loc="outside right center", handlelength=2.8, labelspacing=0.7)
        style.panel_letter(grid[0], "B")
        emulated = result.config.itl.on_chip
        style.badge(figure, emulated=True, software=not emulated)
    return figure


def _panel(axes: Axes, result: Robustness, which: Which, floor: float) -> int:
    """Draw one panel; return how many means are zero."""
    sigma_d = [s for s in result.config.sigma_d if result.at("itl", which, s) or result.at("transfer", which, s)]
    x = 100 * np.array(sigma_d)
    zeros = 0
    for curve in _CURVES:
        rows = [
            [100 * (p.train_error if curve.train else p.test_error) for p in result.at(curve.way, which, s)]
            for s in sigma_d
        ]
        if not all(rows) or not rows:
            continue
        mean = np.array([np.mean(row) for row in rows])
        thin = curve.train or curve.way == "recalibrated"
        axes.plot(x, lifted(mean, floor), **curve.look, label=curve.label, linewidth=1.0 if thin else 1.7,
                  markersize=3.5 if thin else 4.5, zorder=3)  # fmt: skip
        zeros += mark_zeros(axes, x, mean, floor, curve.look["color"])
        if not thin and max(len(row) for row in rows) > 1:
            low, high = (lifted([end(row) for row in rows], floor) for end in (min, max))
            axes.fill_between(x, low, high, color=curve.look["color"], alpha=0.2, linewidth=0, zorder=1)
    for way in ("itl", "transfer"):
        chosen = [p for s in sigma_d for p in result.at(way, which, s) if p.self_active > 0]
        if chosen:
            colour = next(curve.look["color"] for curve in _CURVES if curve.way == way)
            beside = _ASIDE * (np.array([p.seed for p in chosen]) - (result.config.seeds - 1) / 2)
            axes.plot(100 * np.array([p.sigma_d for p in chosen]) + beside,
                      lifted([100 * p.test_error for p in chosen], floor), **_SELF_ACTIVE, color=colour,
                      label="_self-active", zorder=4)  # fmt: skip
    margin = 0.06 * max(float(x[-1] - x[0]), 1.0)
    axes.set(xlabel="spread σ$_d$ (%)", title=_TITLES[which], xlim=(x[0] - margin, x[-1] + margin))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    return zeros


def _legend(zeros: bool, active: bool, *, several: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], **c.look, linewidth=1.0 if c.train or c.way == "recalibrated" else 1.7, label=c.label)
        for c in _CURVES
    ]
    if active:
        label = "network whose chip has neurons\nthat fire without input\n(leak over threshold), test"
        handles.append(Line2D([], [], **_SELF_ACTIVE, color="black", label=label))
    if zeros:
        handles.append(Line2D([], [], marker="v", linestyle="none", color=style.REFERENCE, markerfacecolor="white",
                              markersize=7, label="no error"))  # fmt: skip
    if several:
        handles.append(Line2D([], [], linestyle="none", label="lines: mean, bands: range\nover the networks"))
    return handles
