"""Draw figure 5, spoken words, from its frozen results: responses (A) and the course of training (B)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bss2lab.plots import style
from bss2lab.plots.scales import plain_ticks, round_numbers
from bss2lab.settings import TITLES
from bss2lab.studies.fig5 import Learned, Speech
from bss2lab.studies.fig5_responses import Responses

SYNTHETIC, HEIDELBERG = TITLES["speech"], TITLES["shd"]

_MANY = 10  # so many outputs at most are named; the others are drawn grey
_LOOKS = (
    {"color": style.PALETTE[0], "linestyle": "-"},
    {"color": style.PALETTE[2], "linestyle": "--"},
    {"color": style.PALETTE[1], "linestyle": "-."},
    {"color": style.PALETTE[3], "linestyle": ":"},
    {"color": style.PALETTE[4], "linestyle": (0, (5, 1, 1, 1, 1, 1))},
)


def draw_listening(result: Responses) -> style.PaperFigure:
    """Figure 5A: per word, its input spikes, the hidden raster, and output traces with their cumulative sums.

    Args:
        result: what the network did.

    Returns:
        A new figure, one column per word. The outputs with the highest sums are coloured, the others grey.
    """
    n = len(result.labels)
    time_us, readout = result.seen.time_us, result.seen.readout
    sums = np.cumsum(readout, axis=1)
    leaders = _leaders(result)
    with style.paper():
        figure = style.PaperFigure(figsize=(2.9 * n + 1.3, 7.6))
        grid = figure.subplots(4, n, squeeze=False, sharex=True, height_ratios=(1.2, 1.4, 1.0, 1.0))
        for b in range(n):
            _raster(grid[0, b], *result.seen.input_spikes.sample(b), result.seen.input_spikes.n_units, style.INPUT)
            _raster(grid[1, b], *result.seen.hidden_spikes.sample(b), result.seen.hidden_spikes.n_units, style.HIDDEN)
            grid[0, b].invert_yaxis()  # as in a cochleagram: high frequencies on top
            grid[0, b].set_title(_verdict(result, b))
            for axes, traces in ((grid[2, b], readout[b]), (grid[3, b], sums[b])):
                _traces(axes, time_us, traces, leaders, result.classes)
            grid[3, b].set_xlabel("time on the chip (µs)")
        for row, label in enumerate(("input channel", "hidden neuron", "output\n(threshold = 1)", "its sum over time")):
            grid[row, 0].set_ylabel(label)
            _share_y(grid[row])
        grid[0, 0].set_xlim(0, float(time_us[-1]))
        handles, labels = grid[2, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right lower", title="output", handlelength=1.2)
        style.panel_letter(grid[0, 0], "A")
        _badge(figure, result.synthetic, emulated=result.seen.emulated)
    return figure


def draw_speech_training(result: Speech, names: tuple[str, ...] | None = None) -> style.PaperFigure:
    """Figure 5B: loss and error over the epochs, mean and range over the initialisations.

    Args:
        result: figure 5.
        names: rows to draw; those on the chip if not given.

    Returns:
        A new figure: loss, training error and test error.
    """
    rows = [result.row(name) for name in names] if names else [one for one in result.rows if one.row.train.on_chip]
    with style.paper():
        figure = style.PaperFigure(figsize=(9.4, 3.5))
        panels = figure.subplots(1, 3)
        for one, look in zip(rows, _LOOKS, strict=False):
            _course(panels[0], np.array(one.loss), look, one.row.name)
            _course(panels[1], 100 * (1 - np.array(one.train_accuracy)), look, one.row.name)
            _course(panels[2], 100 * (1 - np.array(one.test_accuracy)), look, one.row.name)
        panels[0].set(ylabel="loss", yscale="log", title="training loss")
        panels[1].set(ylabel="error (%)", title="training error", ylim=(0, None))
        panels[2].set(title="test error", ylim=(0, None))
        plain_ticks(panels[0].yaxis, round_numbers(*panels[0].get_ylim()))
        top = max(axes.get_ylim()[1] for axes in panels[1:])
        for axes in panels[1:]:
            axes.set_ylim(0, min(100, top))
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(rows))
        style.panel_letter(panels[0], "B")
        on_chip = [one.row.train.on_chip for one in rows]
        _badge(figure, result.synthetic, emulated=any(on_chip), software=not all(on_chip))
    return figure


def _course(axes: Axes, rows: np.ndarray, look: dict, label: str) -> None:
    epochs = np.arange(1, rows.shape[1] + 1)
    axes.plot(epochs, rows.mean(axis=0), label=label, linewidth=1.4, **look)
    if len(rows) > 1:
        axes.fill_between(epochs, rows.min(axis=0), rows.max(axis=0), color=look["color"], alpha=0.2, linewidth=0)


def _leaders(result: Responses) -> list[int]:
    """The outputs worth a colour: the true ones, the decided ones, then the highest sums of all words."""
    votes = result.seen.readout.sum(axis=1)
    ranked = [*result.labels.tolist(), *result.seen.decisions.tolist(), *np.argsort(-votes.max(axis=0)).tolist()]
    return list(dict.fromkeys(ranked))[: min(_MANY, len(style.PALETTE) - 2, votes.shape[1])]


def _traces(axes: Axes, time_us: np.ndarray, traces: np.ndarray, leaders: list[int], names: tuple[str, ...]) -> None:
    for o in range(traces.shape[1]):
        if o not in leaders:
            axes.plot(time_us, traces[:, o], color="0.8", linewidth=0.5, zorder=1)
    for k, o in enumerate(leaders):
        name = names[o] if o < len(names) else str(o)
        axes.plot(time_us, traces[:, o], color=style.PALETTE[k], linewidth=1.2, zorder=2, label=name)
    axes.axhline(0, color=style.REFERENCE, linewidth=0.5, zorder=0)


def _raster(axes: Axes, times: np.ndarray, units: np.ndarray, n_units: int, colour: str) -> None:
    axes.plot(times, units, ".", markersize=1.6, color=colour, rasterized=True)
    axes.set_ylim(-1, n_units)


def _share_y(row: np.ndarray) -> None:
    limits = [axes.get_ylim() for axes in row]
    inverted = limits[0][0] > limits[0][1]
    low, high = min(min(pair) for pair in limits), max(max(pair) for pair in limits)
    for k, axes in enumerate(row):
        axes.set_ylim((high, low) if inverted else (low, high))
        if k:
            axes.set_yticklabels([])


def _verdict(result: Responses, b: int) -> str:
    truth, decision = result.classes[result.labels[b]], result.classes[result.seen.decisions[b]]
    who = f", speaker {result.speakers[b]}" if result.speakers[b] >= 0 else ""
    return f"“{truth}”{who} → {decision}" + ("" if truth == decision else " (wrong)")


def _badge(figure: style.PaperFigure, synthetic: bool, *, emulated: bool, software: bool = False) -> None:
    style.badge(figure, emulated=emulated, software=software, data=SYNTHETIC if synthetic else HEIDELBERG)


def badge_of(figure: style.PaperFigure, result: Speech, one: Learned) -> None:
    """Say on a figure of one row what it was learned from, and where."""
    _badge(figure, result.synthetic, emulated=one.row.train.on_chip)
