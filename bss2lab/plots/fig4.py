"""Draw figure 4A from its frozen results, and the emulated chip beside a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bss2lab.chip import published
from bss2lab.chip.published import Spread
from bss2lab.chip.spec import TARGETS
from bss2lab.plots import style
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.studies.fig4 import Comparison, Detunings, Population

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

UNCALIBRATED, EMULATED, OUTLINE, REAL = "#C8102E", style.PALETTE[5], "#0B3C5D", "#000000"
_BINS, _PEAK = 56, 0.86
_STEP_MV = 1.578  # resolution of the published potentials
_TARGET_TAU = TARGETS["tau_mem"].value
_TARGET_DISTANCE = (TARGETS["threshold"].value - TARGETS["leak"].value) * CADC_MV_PER_LSB
_PANELS = (
    ("membrane time constant τ$_m$ (µs)", ("tau_mem_us",), _TARGET_TAU),
    ("synaptic time constant τ$_s$ (µs)", ("tau_syn_exc_us", "tau_syn_inh_us"), _TARGET_TAU),
    ("threshold − leak, θ − V$_{leak}$ (mV)", ("distance_mv",), _TARGET_DISTANCE),
)
_NAMES = {
    "tau_mem_us": "τ$_m$",
    "tau_syn_exc_us": "τ$_s$ exc.",
    "tau_syn_inh_us": "τ$_s$ inh.",
    "leak_mv": "leak",
    "reset_mv": "reset",
    "threshold_mv": "threshold",
}
_REAL_ROWS = ("real chip,\nuncalibrated", "real chip,\ncalibrated")


def draw_detuning(result: Detunings, *, real: bool = True) -> style.PaperFigure:
    """Figure 4A: measured distributions of τ_m, τ_s and θ − V_leak, one row per σ_d, uncalibrated in red.

    Args:
        result: what was measured.
        real: add what was published about a real chip, scaled to the targets here.

    Returns:
        A new figure with three panels. Histograms are scaled to their peaks; the numbers beside them
        are standard deviations, relative for time constants.
    """
    rows = result.populations
    labels = [f"σ$_d$ = {p.label}" for p in result.detuned] + ["uncalibrated", *(_REAL_ROWS if real else ())]
    colours = [*sequential(len(result.detuned)), UNCALIBRATED]
    with style.paper():
        figure = style.PaperFigure(figsize=(10.2, 0.52 * len(labels) + 1.5))
        panels = figure.subplots(1, 3, sharey=True)
        for axes, (label, names, target) in zip(panels, _PANELS, strict=True):
            everything = np.concatenate([p.values[name] for p in rows for name in names])
            low, high = min(0.0, np.nanmin(everything)), np.nanmax(everything)
            bins = np.linspace(low, high, _BINS + 1)
            for k, (p, colour) in enumerate(zip(rows, colours, strict=True)):
                _ridge(axes, [p.values[name] for name in names], bins, -k, colour)
                unit = "%" if names[0].endswith("_us") else "mV"
                _note(axes, f"± {' / '.join(_deviation(p.spread(name)) for name in names)} {unit}", -k)
            for calibrated in (False, True) if real else ():
                spreads = [published.published_spread(calibrated=calibrated)[name] for name in names]
                _marks(axes, spreads, target, -len(rows) - calibrated)
            axes.axvline(target, color=style.REFERENCE, linewidth=0.7, linestyle=":", zorder=0)
            axes.set(xlabel=label, xlim=(low - 0.02 * (high - low), high + 0.24 * (high - low)))
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        panels[0].set(yticks=0.14 - np.arange(len(labels)), yticklabels=labels, ylim=(-len(labels) + 0.55, 1.1))
        panels[2].axvspan(panels[2].get_xlim()[0], 0, color="#999999", alpha=0.22, linewidth=0, zorder=0)
        panels[2].annotate("◂ leak over\n   threshold", (0, 1.06), xytext=(2, 0), textcoords="offset points",
                           fontsize=6.5, ha="left", va="top", color=style.REFERENCE)  # fmt: skip
        _counts(panels[2], rows, len(labels))
        panels[1].legend(handles=_kinds(), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
        n = len(rows[0].values["tau_mem_us"])
        panels[0].set_title(f"chip {result.config.chip_seed}, {n} neurons, each row by its peak", loc="left", pad=6)
        style.panel_letter(panels[0], "A")
        style.badge(figure, emulated=result.emulated)
        if real:
            _cite(
                figure, "real chip: median (dot), ± robust SD (thick), 5–95 % (thin) of 512 neurons, scaled to the "
                f"targets here; {published.CITATION}",
            )  # fmt: skip
    return figure


def draw_against_real(
    comparison: Comparison, real: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
) -> style.PaperFigure:
    """The emulated chip's distributions beside the real chip's, and rank correlations between parameters.

    Operating points differ: time constants are drawn relative to each chip's median, potentials as the difference
    to it.

    Args:
        comparison: what was measured on emulated chips.
        real: arrays of the real chip, uncalibrated and calibrated (``read_published_spread``); if not given,
            published summary numbers are drawn instead.

    Returns:
        A new figure: distributions above, correlation matrices below.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(11.0, 7.0))
        halves = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1.0))
        above, below = halves[:, 0]
        grid = above.subplots(2, len(_NAMES))
        settings = (
            ("uncalibrated", [comparison.uncalibrated]),
            ("calibrated", [comparison.calibrated, comparison.published]),
        )
        for r, (setting, populations) in enumerate(settings):
            published_here = published.published_spread(calibrated=r == 1)
            for axes, name in zip(grid[r], _NAMES, strict=True):
                _beside(axes, name, populations, published_here[name], None if real is None else real[r][name])
            grid[r, 0].set_ylabel(f"{setting}\n(each by its peak)")
        for axes, name in zip(grid[0], _NAMES, strict=True):
            axes.set_title(_NAMES[name])
        for axes, name in zip(grid[1], _NAMES, strict=True):
            axes.set_xlabel("% of median" if name.endswith("_us") else "mV from median")
        above.legend(handles=_sources(real is not None), loc="outside upper left", ncols=3)
        _correlations(below, comparison, real)
        style.badge(figure, emulated=True)
        _cite(figure, f"real chip: 512 neurons, {published.CITATION}; {published.WHERE}")
    return figure


def sequential(n: int) -> list[tuple[float, float, float]]:
    """Return ``n`` colours from dark to light: one hue order for all eyes, and for a grey printer."""
    return [to_rgb(c) for c in colormaps["cividis"](np.linspace(0.05, 0.95, n))]


# --- figure 4A ---------------------------------------------------------------------------------------------------


def _ridge(axes: Axes, columns: Sequence[ndarray], bins: ndarray, base: float, colour: Any) -> None:
    """Draw one row: the first column filled, a second as a dashed outline."""
    for k, values in enumerate(columns):
        counts, _ = np.histogram(values[np.isfinite(values)], bins)
        top = base + _PEAK * counts / counts.max()
        if k == 0:
            axes.stairs(top, bins, baseline=base, fill=True, color=colour, zorder=2)
            axes.stairs(top, bins, baseline=base, color="black", linewidth=0.5, zorder=3)
        else:
            axes.stairs(top, bins, baseline=base, color=REAL, linewidth=0.9, linestyle=(0, (2, 1)), zorder=4)


def _deviation(spread: Spread) -> str:
    """Return the standard deviation as the figure writes it: relative for times."""
    if spread.unit == "mV":
        return f"{spread.sd:.1f}" if spread.sd < 10 else f"{spread.sd:.0f}"
    percent = 100 * spread.relative
    return f"{percent:.1f}" if percent < 1 else f"{percent:.0f}"


def _note(axes: Axes, text: str, base: float, **look: Any) -> None:
    at = ("axes fraction", "data")
    axes.annotate(text, (1, base + 0.12), xycoords=at, ha="right", fontsize=7, **look)


def _marks(axes: Axes, spreads: Sequence[Spread], target: float, base: float) -> None:
    """Draw published spreads around the target: median, robust standard deviation, 5 to 95 %."""
    for k, s in enumerate(spreads):
        y = base + (0.3 if len(spreads) == 1 else (0.42, 0.12)[k])
        scale = target / s.median
        dash = "solid" if k == 0 else (0, (2, 1))
        axes.plot([scale * s.low, scale * s.high], [y, y], color=REAL, linewidth=0.8, linestyle=dash)
        axes.plot([target - scale * s.robust_sd, target + scale * s.robust_sd], [y, y], color=REAL, linewidth=2.6)
        axes.plot([target], [y], "o", color="white", markeredgecolor=REAL, markersize=3.6)
    texts = [f"{100 * s.robust_relative:.0f}" for s in spreads]
    _note(axes, f"± {' / '.join(texts)} %", base, style="italic")


def _counts(axes: Axes, rows: Sequence[Population], n_rows: int) -> None:
    """Write beside the last panel what was lost in each row."""
    for k, p in enumerate(rows):
        counts = p.count()
        parts = [
            f"{counts['out of reach']} targets out of reach" if counts["out of reach"] else "",
            f"{counts['fire without input']} fire without input" if counts["fire without input"] else "",
            f"{counts['not measured']} not measured" if counts["not measured"] else "",
        ]
        text = "\n".join(part for part in parts if part)
        axes.annotate(text, (1.02, -k), xycoords=("axes fraction", "data"), fontsize=6.5, va="bottom",
                      annotation_clip=False, linespacing=1.05)  # fmt: skip


def _kinds() -> list[Any]:
    return [
        Patch(facecolor="#7C7B78", edgecolor="black", linewidth=0.5, label="exc."),
        Line2D([], [], color=REAL, linewidth=0.9, linestyle=(0, (2, 1)), label="inh."),
    ]


def _cite(figure: style.PaperFigure, text: str) -> None:
    figure.text(0.0, -0.015, text, ha="left", va="top", fontsize=7, color=style.REFERENCE)


# --- beside the real chip ----------------------------------------------------------------------------------------


def centred(name: str, values: Any) -> Float64[ndarray, "n"]:
    """Return values as the comparison draws them: percent of the median, or mV from it; without NaN."""
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    return 100 * x / np.median(x) if name.endswith("_us") else x - np.median(x)


def _beside(axes: Axes, name: str, populations: Sequence[Population], summary: Spread, real: ndarray | None) -> None:
    time = name.endswith("_us")
    middle = 100.0 if time else 0.0
    scale = 100 / summary.median if time else 1.0
    shapes = [centred(name, p.values[name]) for p in populations]
    if real is not None:
        shapes.append(centred(name, real))
    wide = 4.2 * scale * max(summary.robust_sd, 0.4 * summary.sd)
    low, high = middle - wide, middle + wide
    low = max(low, 0.0) if time else low
    bins = _bins(low, high, time=time)
    looks: list[dict[str, Any]] = [{"fill": True, "color": EMULATED}, {"color": style.TEST, "linewidth": 1.1}]
    looks = [*looks[: len(populations)], {"color": REAL, "linewidth": 1.1}]
    for x, look in zip(shapes, looks, strict=False):
        counts = np.histogram(x, bins)[0]
        axes.stairs(counts / max(counts.max(), 1), bins, **look)
    if real is None:
        axes.plot(scale * (np.array([summary.low, summary.high]) - summary.median) + middle, [1.1, 1.1],
                  color=REAL, linewidth=0.8)  # fmt: skip
        axes.plot(middle + scale * summary.robust_sd * np.array([-1, 1]), [1.1, 1.1], color=REAL, linewidth=2.6)
        axes.plot([middle], [1.1], "o", color="white", markeredgecolor=REAL, markersize=3.6)
    texts = [_sd(name, p.spread(name)) for p in populations]
    axes.annotate(f"emul. {' / '.join(texts)}\nreal {_sd(name, summary)}", (0.0, 1.0), xycoords="axes fraction",
                  xytext=(2, -1), textcoords="offset points", va="top", fontsize=6.5)  # fmt: skip
    if real is not None:
        outside = int(((shapes[-1] < low) | (shapes[-1] > high)).sum())
        if outside:
            axes.annotate(f"{outside} of {len(shapes[-1])}\noutside", (1.0, 0.72), xycoords="axes fraction",
                          ha="right", va="top", fontsize=6)  # fmt: skip
    axes.set(xlim=(low, high), ylim=(0, 1.5), yticks=[])
    axes.spines["left"].set_visible(False)


def _bins(low: float, high: float, *, time: bool) -> ndarray:
    """Return bins; for potentials of whole steps of the published values, which would alias otherwise."""
    width = (high - low) / 36
    if time:
        return np.linspace(low, high, 37)
    width = _STEP_MV * max(2, round(width / _STEP_MV))
    k = np.arange(np.floor(low / width), np.ceil(high / width) + 1)
    return width * (k + 0.5) + 0.25 * _STEP_MV


def _sd(name: str, spread: Spread) -> str:
    value, unit = (100 * spread.relative, "%") if name.endswith("_us") else (spread.sd, "mV")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def _sources(arrays: bool) -> list[Any]:
    real = "real chip" if arrays else "real chip, published numbers (median, ± robust SD, 5–95 %)"
    return [
        Patch(facecolor=EMULATED, label="emulated (uncalibrated; calibrated by our routine)"),
        Line2D([], [], color=style.TEST, linewidth=1.1, label="emulated, profile “published”"),
        Line2D([], [], color=REAL, linewidth=1.1, label=real),
    ]


def _correlations(
    below: SubFigure, comparison: Comparison, real: tuple[Mapping[str, Any], Mapping[str, Any]] | None
) -> None:
    """Draw rank correlations of uncalibrated chips."""
    given = real[0] if real is not None else None
    whole = published.CORRELATION_UNCALIBRATED if given is None else published.rank_correlation(given)
    within = published.CORRELATION_WITHIN_BLOCKS if given is None else published.within_blocks(given)
    matrices = [
        ("real, all 512 neurons", whole),
        ("real, within blocks of 128", within),
        ("emulated, drawn (default)", published.rank_correlation(comparison.uncalibrated.values)),
    ]
    if comparison.resampled is not None:
        matrices.append(("emulated, resampled from real", published.rank_correlation(comparison.resampled.values)))
    panels = np.atleast_1d(below.subplots(1, len(matrices)))
    names = [_NAMES[name] for name in published.CORRELATED]
    ticks = np.arange(len(names))
    for k, (axes, (title, matrix)) in enumerate(zip(panels, matrices, strict=True)):
        axes.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1)
        for (i, j), value in np.ndenumerate(matrix):
            if i != j:
                colour = "white" if abs(value) > 0.6 else "black"
                text = f"{value:.2f}".replace("0.", ".").replace("-.00", ".00").replace("-", "−")
                axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color=colour)
        axes.set(xticks=ticks, yticks=ticks, title=title)
        axes.set_xticklabels(names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticklabels(names if k == 0 else [])
        axes.tick_params(length=0)
    title = "rank correlation ρ between parameters over the neurons, uncalibrated"
    below.suptitle(title, x=0.01, ha="left", fontsize=9)
