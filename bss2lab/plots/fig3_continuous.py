"""Draw figure 3D from its frozen results: accuracy against the pace of the images, and traces of one long run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bss2lab.plots import style
from bss2lab.plots.scales import apart, plain_ticks, round_numbers
from bss2lab.studies.fig3_continuous import Continuous, ContinuousPoint, Stream
from bss2lab.studies.results import Mean

PAPER_SEPARATION_US = 11.8
"""The paper's fastest pace: 85 thousand images per second [paper]."""

_LOOKS: dict[bool, dict[str, Any]] = {
    True: {"color": style.TRAIN, "marker": "o", "linestyle": "-", "label": "with artificial reset"},
    False: {"color": style.TEST, "marker": "s", "linestyle": "--", "label": "without reset"},
}
_WRONG = "#A03000"
_HELD = {"facecolor": "#D8D8D8", "edgecolor": "#AAAAAA", "hatch": "////", "linewidth": 0.0}


def draw_continuous(result: Continuous, paper_separation_us: float | None = PAPER_SEPARATION_US) -> style.PaperFigure:
    """Figure 3D: accuracy and hidden spikes against the separation of the images, mean ± SD over the seeds.

    Args:
        result: test sets in uninterrupted runs.
        paper_separation_us: the paper's pace, µs; None leaves it out.

    Returns:
        A new figure with two panels; upper axes in thousands of images per second.
    """
    points = result.points
    separations = [p.separation_us for p in points]
    shown = separations if paper_separation_us is None else [*separations, paper_separation_us]
    margin = 1.12 if max(shown) > 2 * min(shown) else 1.5
    low, high = min(shown) / margin, max(shown) * margin
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 3.5))
        panels = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
        for axes, field, scale in zip(panels, ("accuracy", "hidden_spikes"), (100.0, 1.0), strict=True):
            for reset, look in _LOOKS.items():
                _curve(axes, [p for p in points if p.reset is reset], field, scale, look)
            if paper_separation_us is not None:
                label = f"paper: {paper_separation_us:g} µs, {1e3 / paper_separation_us:.0f} 000 images/s"
                axes.axvline(paper_separation_us, color="black", linewidth=1.0, linestyle=":", label=label, zorder=1)
            axes.set(xscale="log", xlim=(low, high), xlabel="separation of the images (µs)")
            _both_scales(axes, separations, paper_separation_us, least=1.22 if axes is panels[0] else 1.4)
        panels[0].set_ylabel("test accuracy (%)")
        panels[1].set_ylabel("hidden spikes per image")
        bottom, top = panels[0].get_ylim()
        panels[0].set_ylim(bottom, min(top, 100.5))
        panels[1].set_ylim(0, 1.08 * max(p.hidden_spikes for p in points) + 1)
        panels[0].legend(loc="lower right")
        style.panel_letter(panels[0], "D")
        style.badge(figure, emulated=True)
    return figure


def draw_stream(streams: Stream | Sequence[Stream], class_names: tuple[str, ...] | None = None) -> style.PaperFigure:
    """Figure 3D: images in their slots, spikes, and read-out traces of one uninterrupted run, or of several.

    Args:
        streams: what the network did; several (say, with and without reset) are drawn one below another. Where the
            images are those of the run above, they are not drawn again.
        class_names: names for verdicts and legend; digits if not given.

    Returns:
        A new figure.
    """
    runs = [streams] if isinstance(streams, Stream) else list(streams)
    names = class_names or tuple(str(k) for k in range(runs[0].readout.shape[1]))
    pictured = [k == 0 or not _same_images(runs[k - 1], run) for k, run in enumerate(runs)]
    kinds = [(k, kind) for k, with_images in enumerate(pictured) for kind in (0, 1, 2)[not with_images :]]
    heights = [(0.75, 1.5, 1.7)[kind] for _, kind in kinds]
    width = float(np.clip(1.25 * max(len(run.labels) for run in runs) + 2.0, 6.5, 12.0))
    with style.paper():
        figure = style.PaperFigure(figsize=(width, sum(heights) + 0.45 * len(runs) + 0.6))
        rows = figure.subplots(len(kinds), 1, squeeze=False, height_ratios=heights)[:, 0]
        for (k, kind), axes in zip(kinds, rows, strict=True):
            (_draw_images, _draw_raster, _draw_traces)[kind](axes, runs[k], names)
            axes.set_xlim(float(runs[k].image_starts_us[0]) - 0.5, runs[k].end_us + 0.5)
            if kind < 2:
                axes.tick_params(labelbottom=False)
            if kind == (0 if pictured[k] else 1):
                axes.set_title(_title(runs[k]), loc="left", pad=18 if kind else 4)
        ends = [_readout_range(run) for run in runs]
        for (_, kind), axes in zip(kinds, rows, strict=True):
            if kind == 2:
                axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
        rows[-1].set_xlabel("time (µs)")
        handles: list[Any] = [Line2D([], [], color=_colour(o), label=name) for o, name in enumerate(names)]
        handles.append(Line2D([], [], linestyle="none", label="bold: decision"))
        if any(run.resets_us is not None for run in runs):
            handles.append(Patch(**_HELD, label="reset held"))
        figure.legend(handles=handles, loc="outside right lower", title="output", handlelength=1.4)
        style.panel_letter(rows[0], "D")
        emulated = [run.emulated for run in runs]
        style.badge(figure, emulated=any(emulated), software=not all(emulated))
    return figure


# --- accuracy against separation ---------------------------------------------------------------------------------


def _curve(axes: Axes, points: list[ContinuousPoint], field: str, scale: float, look: dict[str, Any]) -> None:
    separations = sorted({p.separation_us for p in points})
    if not separations:
        return
    means = [Mean.of([scale * getattr(p, field) for p in points if p.separation_us == s]) for s in separations]
    several = max(m.n for m in means) > 1
    label = look["label"] + (", mean ± SD" if several else "")
    axes.errorbar(separations, [m.mean for m in means], yerr=[m.sd for m in means] if several else None,
                  **{**look, "label": label}, markersize=4.5, capsize=2.5, linewidth=1.4)  # fmt: skip


def _both_scales(axes: Axes, separations: list[float], paper_us: float | None, *, least: float) -> None:
    """Put ticks at the separations that were run, and at round paces on a second axis above."""
    plain_ticks(axes.xaxis, apart(separations, least=least))
    low, high = axes.get_xlim()

    def other(x: Any) -> Any:
        return 1e3 / np.maximum(np.asarray(x, np.float64), 1e-9)

    pace = axes.secondary_xaxis("top", functions=(other, other))
    pace.set_xlabel("thousand images per second")
    ticks = round_numbers(1e3 / high, 1e3 / low)
    labels = [f"{t:g}" for t in ticks]
    if paper_us is not None:
        own = 1e3 / paper_us
        ticks = [*(t for t in ticks if max(t / own, own / t) > 1.35), own]
        labels = [f"{t:g}" for t in ticks[:-1]] + [f"{own:.0f}"]
    plain_ticks(pace.xaxis, ticks, labels)


# --- one long run ------------------------------------------------------------------------------------------------


def _title(run: Stream) -> str:
    pace = f"one image per {run.separation_us:g} µs"
    if run.resets_us is None:
        return f"without reset, {pace}"
    return f"artificial reset after each image, {pace}"


def _same_images(one: Stream, two: Stream) -> bool:
    return np.array_equal(one.pixels, two.pixels) and np.array_equal(one.image_starts_us, two.image_starts_us)


def _colour(output: int) -> str:
    return style.PALETTE[output % len(style.PALETTE)]


def _draw_images(axes: Axes, run: Stream, names: tuple[str, ...]) -> None:
    """Draw every image in the middle of its slot."""
    for pixels, start in zip(run.pixels, run.image_starts_us, strict=True):
        picture = axes.inset_axes((float(start), 0.0, run.separation_us, 1.0), transform=axes.get_xaxis_transform())
        picture.imshow(pixels, cmap="gray_r", vmin=0, vmax=255)
        picture.set(xticks=[], yticks=[])
        picture.spines[["top", "right"]].set_visible(True)
    axes.set(yticks=[], xticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_raster(axes: Axes, run: Stream, names: tuple[str, ...]) -> None:
    _draw_slots(axes, run)
    n_input = run.input_spikes.n_units
    axes.plot(*run.input_spikes.sample(0), ".", markersize=2.0, color=style.INPUT)
    times, units = run.hidden_spikes.sample(0)
    axes.plot(times, n_input + units, ".", markersize=2.6, color=style.HIDDEN)
    top = n_input + run.hidden_spikes.n_units
    axes.axhline(n_input, color=style.REFERENCE, linewidth=0.6)
    axes.set(ylim=(-4, top + 4), yticks=[n_input / 2, (n_input + top) / 2])
    axes.set_yticklabels(["input", "hidden"], rotation=90, va="center")
    axes.tick_params(axis="y", length=0)
    for start, label, decision in zip(run.image_starts_us, run.labels, run.decisions, strict=True):
        right = label == decision
        text = f"{names[label]} → {names[decision]} {'✓' if right else '✗'}"
        look: dict[str, Any] = {} if right else {"color": _WRONG, "fontweight": "bold"}
        axes.annotate(text, (float(start) + run.separation_us / 2, 1.0), xycoords=("data", "axes fraction"),
                      xytext=(0, 3), textcoords="offset points", ha="center", fontsize=9, **look)  # fmt: skip


def _draw_traces(axes: Axes, run: Stream, names: tuple[str, ...]) -> None:
    _draw_slots(axes, run)
    for o in range(run.readout.shape[1]):
        axes.plot(run.time_us, run.readout[:, o], color=_colour(o), linewidth=0.9, label=names[o], zorder=2)
    for start, decision in zip(run.image_starts_us, run.decisions, strict=True):
        inside = (run.time_us >= start) & (run.time_us <= start + run.separation_us)
        axes.plot(run.time_us[inside], run.readout[inside, decision], color=_colour(int(decision)), linewidth=2.4,
                  zorder=3, label="_decision")  # fmt: skip
    axes.axhline(0, color=style.REFERENCE, linewidth=0.5, zorder=1)
    axes.set_ylabel("output membrane\n(threshold = 1)")


def _draw_slots(axes: Axes, run: Stream) -> None:
    """Draw the limits between images, and the intervals in which the reset is held."""
    for start in run.image_starts_us:
        axes.axvline(float(start), color=style.REFERENCE, linewidth=0.7, zorder=0)
    for begin, end in () if run.resets_us is None else run.resets_us:
        axes.axvspan(float(begin), float(end), **_HELD, zorder=0)


def _readout_range(run: Stream) -> tuple[float, float]:
    low, high = float(run.readout.min()), float(run.readout.max())
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin
