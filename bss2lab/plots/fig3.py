"""Draw figure 3 from its frozen results."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bss2lab.plots import style
from bss2lab.presets import Published
from bss2lab.studies.fig3 import LearningCurves, Snapshots


def draw_snapshots(result: Snapshots, class_names: tuple[str, ...] | None = None) -> style.PaperFigure:
    """Figure 3A: per image, its pixels, the raster of input and hidden spikes, and the read-out traces.

    Args:
        result: what the network did.
        class_names: names for the legend; digits if not given.

    Returns:
        A new figure, one column per image.
    """
    n = len(result.labels)
    names = class_names or tuple(str(k) for k in range(result.readout.shape[2]))
    end = float(result.time_us[-1])
    with style.paper():
        figure = style.PaperFigure(figsize=(2.5 * n + 1.2, 6.4))
        grid = figure.subplots(3, n, squeeze=False, gridspec_kw={"height_ratios": (1.0, 1.7, 1.4)})
        for b in range(n):
            image, raster, traces = grid[:, b]
            image.imshow(result.pixels[b], cmap="gray_r", vmin=0, vmax=255)
            image.set(xticks=[], yticks=[], title=_verdict(result, b, names))
            image.spines[["top", "right"]].set_visible(True)
            _draw_raster(raster, result, b, end)
            _draw_traces(traces, result, b, names, end)
            if b > 0:
                raster.set(ylabel="", yticklabels=[])
                traces.set(ylabel="", yticklabels=[])
        low, high = _readout_range(result)
        for axes in grid[2]:
            axes.set_ylim(low, high)
        handles, labels = grid[2, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right lower", title="output", handlelength=1.2)
        style.panel_letter(grid[0, 0], "A")
        style.badge(figure, emulated=result.emulated)
    return figure


def draw_learning_curves(result: LearningCurves, paper: Published | None = None) -> style.PaperFigure:
    """Figure 3B: loss and error over the epochs, mean and range over the initialisations.

    Args:
        result: the runs.
        paper: the published final accuracy, drawn as a reference.

    Returns:
        A new figure.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(7.0, 2.9))
        loss, accuracy = figure.subplots(1, 2)
        _band(loss, result.epochs, result.loss, style.TRAIN, "training")
        loss.set(xlabel="epoch", ylabel="loss", yscale="log")
        _band(accuracy, result.epochs, 100 * result.train_accuracy, style.TRAIN, "training")
        _band(accuracy, result.epochs, 100 * result.test_accuracy, style.TEST, "test")
        if paper is not None:
            label = f"paper, test: {paper.test:.1f} %"
            accuracy.axhline(paper.test, color=style.REFERENCE, linestyle="--", linewidth=1, label=label)
        late = min(1, len(result.epochs) - 1)  # the first epoch starts from chance and would flatten the rest
        shown = [result.train_accuracy[:, late:].min(), result.test_accuracy.min(), paper.test / 100 if paper else 1.0]
        lowest = min(0.96, *(float(value) for value in shown))
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(max(0.0, np.floor(100 * lowest) - 1), 100.2))
        n = len(result.loss)
        final = 100 * result.test_accuracy[:, -1]
        spread = f" ± {final.std(ddof=1):.2f}" if n > 1 else ""
        accuracy.set_title(f"test after {len(result.epochs)} epochs: {final.mean():.2f}{spread} %", loc="left")
        loss.set_title(f"{n} initialisation{'s' if n > 1 else ''}", loc="left")
        accuracy.legend(loc="lower right")
        for axes in (loss, accuracy):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        style.panel_letter(loss, "B")
        style.badge(figure, emulated=result.emulated)
    return figure


def _verdict(result: Snapshots, b: int, names: tuple[str, ...]) -> str:
    truth, decision = names[result.labels[b]], names[result.decisions[b]]
    return f"{truth} → {decision}" + ("" if truth == decision else "  (wrong)")


def _draw_raster(axes: Axes, result: Snapshots, b: int, end: float) -> None:
    n_input = result.input_spikes.n_units
    times, units = result.input_spikes.sample(b)
    axes.plot(times, units, ".", markersize=2.2, color=style.INPUT)
    times, units = result.hidden_spikes.sample(b)
    axes.plot(times, n_input + units, ".", markersize=2.6, color=style.HIDDEN)
    top = n_input + result.hidden_spikes.n_units
    axes.axhline(n_input, color=style.REFERENCE, linewidth=0.6)
    axes.set(xlim=(-0.5, end + 0.5), ylim=(-4, top + 4), yticks=[n_input / 2, (n_input + top) / 2])
    axes.set_yticklabels(["input", "hidden"], rotation=90, va="center")
    axes.tick_params(axis="y", length=0)
    axes.set_xticklabels([])


def _draw_traces(axes: Axes, result: Snapshots, b: int, names: tuple[str, ...], end: float) -> None:
    for o in range(result.readout.shape[2]):
        wins = o == result.decisions[b]
        colour = style.PALETTE[o % len(style.PALETTE)]
        trace = result.readout[b, :, o]
        axes.plot(result.time_us, trace, color=colour, linewidth=1.9 if wins else 0.9, label=names[o], zorder=2 + wins)
    axes.axhline(0, color=style.REFERENCE, linewidth=0.5, zorder=1)
    axes.set(xlim=(-0.5, end + 0.5), xlabel="time (µs)", ylabel="output membrane (threshold = 1)")


def _readout_range(result: Snapshots) -> tuple[float, float]:
    low, high = float(result.readout.min()), float(result.readout.max())
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin


def _band(axes: Axes, x: np.ndarray, rows: np.ndarray, colour: str, label: str) -> None:
    marker = "o" if len(x) < 30 else None
    axes.plot(x, rows.mean(axis=0), color=colour, label=label, marker=marker, markersize=3)
    if len(rows) > 1:
        axes.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.25, linewidth=0)
