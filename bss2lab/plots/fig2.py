"""Draw figure 2: the in-the-loop cycle (A), a parallel recording (B), the computation graph (C)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from bss2lab.plots import style
from bss2lab.quantize import WEIGHT_MAX
from bss2lab.studies.fig2 import ComputationGraph, Node, ParallelRecording

INJECTED, PLAIN, WEIGHT = "#F3C9A5", "#FFFFFF", "#D9D9D9"
"""Fills of the graph's nodes; in grey they differ in brightness, and injected ones have a double rim besides."""

_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}

_SYMBOLS = {
    "V_h": r"$V$", "S_h": r"$S$", "I_h": r"$I$", "V_o": r"$V^{\rm out}$", "I_o": r"$I^{\,\rm out}$",
    "W_h": r"$W$", "W_o": r"$W^{\rm out}$",
}  # fmt: skip
_ROWS = {"I_h": 4.0, "V_h": 3.0, "S_h": 2.0, "I_o": 1.0, "V_o": 0.0}
_BESIDE = {"W_h": (0.0, 0.95), "W_o": (-0.46, -0.52)}


# --- A ------------------------------------------------------------------------------------------------------------


def draw_loop() -> style.PaperFigure:
    """Figure 2A: one turn of training in the loop. The emulated chip computes forward, the host backward.

    Returns:
        A new figure, readable in grey.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(9.2, 3.9))
        axes = figure.subplots()
        axes.set(xlim=(0, 100), ylim=(0, 42), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        _zone(axes, (15.5, 2, 25, 39), "EMULATED CHIP", "#EDEDED")
        _zone(axes, (57.5, 2, 42, 39), "HOST", "#F8F8F8")
        chip = _box(axes, (28, 24.5), (20, 13), "analog core\n256 neurons,\ncolumn ADC")
        _synapses(axes, (28, 9.5))
        graph = _box(axes, (68, 27.5), (17, 13), "model graph\n" r"value: recorded" "\n" r"derivative: model")
        loss = _box(axes, (91, 27.5), (12, 8), "loss $L$")
        back = _box(axes, (91, 9.5), (13, 9), "BPTT\n" r"$\partial L/\partial W$")
        adam = _box(axes, (76.5, 9.5), (9, 8), "Adam")
        rounding = _box(axes, (63.5, 9.5), (9, 8), "round,\nclip")
        _box(axes, (6.5, 24.5), (11, 8), "input\nspikes", face="#FFFFFF", rim=0.8)
        _arrow(axes, (12.5, 24.5), (chip[0], 24.5))
        _arrow(axes, (chip[1], 29.8), (graph[0], 29.8), "spikes, 8 ns", above=True)
        _arrow(axes, (chip[1], 24.0), (graph[0], 24.0), "CADC traces, 8 bit,\nall 256 each 1.7 µs", above=False)
        _arrow(axes, (graph[1], 27.5), (loss[0], 27.5))
        _arrow(axes, (91, 23.3), (91, 14.2), "surrogate\ngradients", beside=True, dashed=True)
        _arrow(axes, (back[0], 9.5), (adam[1], 9.5), dashed=True)
        _arrow(axes, (adam[0], 9.5), (rounding[1], 9.5))
        _arrow(axes, (rounding[0], 9.5), (38.7, 9.5), f"weights\n−{WEIGHT_MAX} … {WEIGHT_MAX}", above=True)
        _arrow(axes, (28, 13.5), (28, 17.8))
        _arrow(axes, (6.5, 28.7), (61, 34.2), route=[(6.5, 41.6), (68, 41.6), (68, 34.2)])
        style.panel_letter(axes, "A")
        style.badge(figure, emulated=True)
    return figure


def _zone(axes: Axes, rectangle: tuple[float, float, float, float], name: str, colour: str) -> None:
    x, y, width, height = rectangle
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height - 2, boxstyle="round,pad=0,rounding_size=1.5", facecolor=colour,
            edgecolor=style.REFERENCE, linewidth=0.8, zorder=0,
        )
    )  # fmt: skip
    axes.text(x + width - 1, y + 0.8, name, ha="right", va="bottom", fontsize=7, color=style.REFERENCE, zorder=3)


def _box(
    axes: Axes, centre: tuple[float, float], size: tuple[float, float], text: str, face: str = "white", rim: float = 1.3
) -> tuple[float, float]:
    """Draw a box; return its left and right end."""
    (x, y), (width, height) = centre, size
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=1.0",
            facecolor=face, edgecolor="black", linewidth=rim, zorder=2,
        )
    )  # fmt: skip
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, zorder=3, linespacing=1.35)
    return x - width / 2, x + width / 2


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str = "",
    *,
    above: bool = True,
    beside: bool = False,
    dashed: bool = False,
    route: list[tuple[float, float]] | None = None,
) -> None:
    style_of_line = "--" if dashed else "-"
    path = [start, *(route or [end])]
    for a, b in list(pairwise(path))[:-1]:
        axes.plot(*zip(a, b, strict=True), color="black", linewidth=1.2, linestyle=style_of_line, zorder=1)
    axes.annotate(
        "", path[-1], path[-2], zorder=4,
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, "linestyle": style_of_line,
                    "shrinkA": 0, "shrinkB": 0, "mutation_scale": 12},
    )  # fmt: skip
    (x0, y0), (x1, y1) = start, end
    if beside:
        axes.text(x0 - 1, (y0 + y1) / 2, text, ha="right", va="center", fontsize=7.5)
    elif text:
        at, anchor = (y0 + 0.8, "bottom") if above else (y0 - 0.8, "top")
        axes.text((x0 + x1) / 2, at, text, ha="center", va=anchor, fontsize=7.5, zorder=5)


def _synapses(axes: Axes, centre: tuple[float, float]) -> None:
    """A synapse array in small: the brightness of a square is the weight of a synapse."""
    x, y = centre
    weights = np.random.default_rng(3).normal(0, 1, (5, 14))
    extent = (x - 10.5, x + 10.5, y - 4.0, y + 4.0)
    axes.imshow(weights, cmap="gray", extent=extent, aspect="auto", zorder=2, vmin=-2.5, vmax=2.5)
    axes.text(x - 10.5, y - 4.6, "signed synapses", ha="left", va="top", fontsize=7, color=style.REFERENCE, zorder=3)
    axes.set(xlim=(0, 100), ylim=(0, 42))


# --- B ------------------------------------------------------------------------------------------------------------


def draw_recording(result: ParallelRecording, *, shown: int = 4) -> style.PaperFigure:
    """Figure 2B: samples of all 256 membranes over time, spikes on top, and a few of the traces.

    Args:
        result: one image's recording.
        shown: hidden neurons to draw as traces, those that fired most; the outputs' winner comes besides.

    Returns:
        A new figure.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(9.0, 3.9))
        picture, traces = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.15, 1.0)})
        half = (result.time_us[1] - result.time_us[0]) / 2
        n = result.cadc_lsb.shape[1]
        extent = (result.time_us[0] - half, result.time_us[-1] + half, n - 0.5, -0.5)
        image = picture.imshow(
            result.cadc_lsb.T, cmap="gray", aspect="auto", extent=extent, interpolation="nearest", vmin=0, vmax=200
        )
        picture.plot(
            result.spike_times_us, result.spike_units, "|", color=style.TEST, markersize=5, markeredgewidth=1.4,
            label="spike (8 ns stamps)",
        )  # fmt: skip
        picture.axhline(n - result.n_output - 0.5, color="white", linewidth=0.8)
        picture.set(
            xlabel="time (µs)", ylabel="neuron (hidden, then output)", yticks=[0, 64, 128, 192, result.n_hidden]
        )
        picture.set_title(f"digit {result.label}, {n} membranes", loc="left")
        picture.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2, borderaxespad=0.1)
        figure.colorbar(image, ax=picture, label="CADC sample (LSB)", pad=0.02, extend="max")
        _draw_samples(traces, result, shown)
        style.panel_letter(picture, "B")
        style.badge(figure, emulated=True)
    return figure


def _draw_samples(axes: Axes, result: ParallelRecording, shown: int) -> None:
    counts = np.bincount(result.spike_units, minlength=result.n_hidden)
    chosen = np.argsort(-counts, kind="stable")[:shown]
    for k, j in enumerate(chosen):
        colour = style.PALETTE[k]
        axes.plot(
            result.time_us, result.cadc_lsb[:, j], marker="o", markersize=2.5, linewidth=1.0, color=colour,
            label=f"hidden {j}",
        )  # fmt: skip
        when = result.spike_times_us[result.spike_units == j]
        axes.plot(when, np.full(len(when), result.threshold_lsb + 9 + 5 * k), "|", color=colour, markersize=7)
    outputs = result.cadc_lsb[:, -result.n_output :].astype(np.float64)
    winner = int((outputs.max(axis=0) - outputs[0]).argmax())
    axes.plot(result.time_us, outputs[:, winner], color="black", linewidth=1.8, label=f"output {winner}")
    axes.axhline(result.threshold_lsb, color=style.REFERENCE, linestyle="--", linewidth=0.8)
    axes.axhline(result.leak_lsb, color=style.REFERENCE, linestyle=":", linewidth=0.8)
    end = result.time_us[-1]
    for level, name in ((result.threshold_lsb, "nominal threshold"), (result.leak_lsb, "nominal leak")):
        axes.text(end, level - 2, name, ha="right", va="top", fontsize=7, color=style.REFERENCE, bbox=_LABEL)
    axes.set(xlabel="time (µs)", ylabel="CADC sample (LSB)")
    scale = result.mv_per_lsb
    millivolts = axes.secondary_yaxis(
        "right", functions=(lambda x: np.multiply(x, scale), lambda y: np.divide(y, scale))
    )
    millivolts.set_ylabel("membrane (mV)")
    millivolts.spines["right"].set_visible(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, columnspacing=1.0, handlelength=1.4)


# --- C ------------------------------------------------------------------------------------------------------------


def draw_graph(graph: ComputationGraph) -> style.PaperFigure:
    """Figure 2C: the unrolled computation graph, read off autograd; injected quantities are marked.

    Args:
        graph: from ``studies.fig2.computation_graph``.

    Returns:
        A new figure: time runs to the right, from input (top) to output (bottom).
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(1.9 * graph.n_steps + 1.4, 5.0))
        axes = figure.subplots()
        for a, b in graph.edges:
            _edge(axes, graph.nodes[a], graph.nodes[b])
        for node in graph.nodes:
            if node.step >= 0:
                _circle(axes, node)
        for t in range(graph.n_steps):
            label = "$t$" if t == 0 else f"$t+{t}$"
            axes.text(t + 1, 5.55, label, ha="center", va="center", fontsize=9, color=style.REFERENCE)
        axes.set(xlim=(0.2, graph.n_steps + 0.6), ylim=(-0.55, 5.75), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        _graph_key(axes, any(node.injected for node in graph.nodes))
        style.panel_letter(axes, "C")
        style.badge(figure, emulated=any(node.injected for node in graph.nodes))
    return figure


def _place(node: Node) -> tuple[float, float]:
    return (node.step + 1.0, _ROWS[node.symbol])


def _circle(axes: Axes, node: Node) -> None:
    x, y = _place(node)
    face = INJECTED if node.injected else PLAIN
    axes.plot(x, y, "o", markersize=27, color=face, markeredgecolor="black", markeredgewidth=1.2, zorder=3)
    if node.injected:
        axes.plot(x, y, "o", markersize=23, color=face, markeredgecolor="black", markeredgewidth=0.7, zorder=3)
        axes.annotate(
            "", (x + 0.15, y + 0.17), (x + 0.37, y + 0.45), zorder=4,
            arrowprops={"arrowstyle": "-|>", "color": style.TEST, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    axes.text(x, y, _SYMBOLS[node.symbol], ha="center", va="center", fontsize=10, zorder=5)


def _edge(axes: Axes, a: Node, b: Node) -> None:
    """Draw a dependence; a weight, which every step shares, is drawn beside each of its uses."""
    end = _place(b)
    if a.step >= 0:
        start = _place(a)
    else:
        dx, dy = _BESIDE[a.symbol]
        start = (end[0] + dx, end[1] + dy)
        axes.plot(*start, "s", markersize=21, color=WEIGHT, markeredgecolor="black", markeredgewidth=1.0, zorder=3)
        axes.text(*start, _SYMBOLS[a.symbol], ha="center", va="center", fontsize=8.5, zorder=5)
    surrogate = (a.symbol, b.symbol) == ("V_h", "S_h")
    axes.annotate(
        "", end, start, zorder=1,
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, "linestyle": "--" if surrogate else "-",
                    "shrinkA": 11.0 if a.step < 0 else 13.5, "shrinkB": 13.5},
    )  # fmt: skip


def _graph_key(axes: Axes, injected: bool) -> None:
    axes.plot([], [], "s", markersize=8, color=WEIGHT, markeredgecolor="black", label="weight, the same in every step")
    axes.plot([], [], "--", color="black", linewidth=1.2, label=r"surrogate derivative $\partial S/\partial V$")
    if injected:
        axes.plot([], [], "o", markersize=9, color=INJECTED, markeredgecolor="black", label="recorded value injected")
        axes.plot([], [], "-", color=style.TEST, linewidth=1.6, label="from the chip's recording")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2, columnspacing=1.2, handlelength=1.8)
