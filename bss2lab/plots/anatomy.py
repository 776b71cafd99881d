"""Draw the anatomy of the injection: traces side by side, and gradients against full knowledge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from bss2lab.plots import style
from bss2lab.studies.anatomy import Layers, Point, Result
from bss2lab.studies.injection import Agreement, SideBySide
from bss2lab.surrogate import superspike_derivative

KINDS = {
    "injected": ("injected (in the loop)", style.TEST, "o", "-"),
    "alone": ("model alone", style.TRAIN, "s", "--"),
    "full": ("full knowledge", "black", "^", ":"),
}
"""Name, colour, marker and line of each gradient."""

SPIKE_HEIGHTS = (1.32, 1.18)
"""Where spikes of the model and of the chip are marked, in model units."""


def draw_side_by_side(result: SideBySide, *, image: int = 0, hidden: Sequence[int] | None = None) -> style.PaperFigure:
    """One image in the model, on the emulated chip, and in the injected graph.

    Columns: three hidden neurons and the winning output. Upper row: membranes of model and chip (the injected graph
    carries the chip's), with spikes above. Lower row: for hidden neurons the surrogate derivative ∂S/∂V that each
    graph lets the gradient through; for the output, recorded minus modelled.

    Args:
        result: from ``studies.injection.side_by_side``.
        image: which image of the batch.
        hidden: hidden neurons to show; by default those whose spikes differ most between chip and model.

    Returns:
        A new figure.
    """
    model, graph = ([x[image].numpy() for x in traces] for traces in (result.model, result.injected))
    differ = np.abs(model[1] - graph[1]).sum(axis=0)
    shown = list(hidden) if hidden is not None else np.argsort(-differ, kind="stable")[:3].tolist()
    winner = int(graph[2].max(axis=0).argmax())
    with style.paper():
        figure = style.PaperFigure(figsize=(2.45 * (len(shown) + 1), 4.3))
        grid = figure.subplots(2, len(shown) + 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": (1.6, 1)})
        for column, j in enumerate(shown):
            _draw_hidden(grid[0, column], grid[1, column], result, model, graph, int(j))
        upper, lower = grid[:, -1]
        upper.plot(result.time_us, model[2][:, winner], "--", color=style.TRAIN)
        upper.plot(result.time_us, graph[2][:, winner], "o-", markersize=2.5, color=style.TEST)
        upper.axhline(0, color=style.REFERENCE, linewidth=0.5)
        upper.set_title(f"output {winner}", loc="left")
        lower.plot(result.time_us, graph[2][:, winner] - model[2][:, winner], color="black")
        lower.axhline(0, color=style.REFERENCE, linewidth=0.5)
        lower.set(xlabel="model time (µs)", ylabel="recorded − model")
        values = np.concatenate([x[0][:, shown].ravel() for x in (model, graph)])
        margin = 0.05 * (max(values.max(), SPIKE_HEIGHTS[0]) - values.min())
        for column in range(len(shown)):
            grid[0, column].set_ylim(values.min() - margin, max(values.max(), SPIKE_HEIGHTS[0]) + margin)
        for column in range(1, len(shown)):
            grid[0, column].tick_params(labelleft=False)
            grid[1, column].tick_params(labelleft=False)
        grid[0, 0].set_ylabel("membrane (threshold = 1)")
        grid[1, 0].set_ylabel(r"$\partial S/\partial V$")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        style.badge(figure, emulated=True)
    return figure


def _draw_hidden(
    upper: Axes, lower: Axes, result: SideBySide, model: list[np.ndarray], graph: list[np.ndarray], j: int
) -> None:
    t = result.time_us
    upper.plot(t, model[0][:, j], "--", color=style.TRAIN, label="model alone")
    upper.plot(t, graph[0][:, j], "o-", markersize=2.5, color=style.TEST, label="recorded on the chip = injected")
    upper.axhline(1, color=style.REFERENCE, linestyle=":", linewidth=0.9, label="threshold of the model")
    for height, traces, colour in zip(SPIKE_HEIGHTS, (model, graph), (style.TRAIN, style.TEST), strict=True):
        when = t[traces[1][:, j] > 0]
        upper.plot(when, np.full(len(when), height), "|", color=colour, markersize=7, markeredgewidth=1.6)
    upper.set_title(f"hidden {j}", loc="left")
    for traces, colour, line in ((model, style.TRAIN, "--"), (graph, style.TEST, "-")):
        lower.plot(t, superspike_derivative(traces[0][:, j], result.beta), line, color=colour, drawstyle="steps-mid")
    lower.set(xlabel="model time (µs)", yscale="log", ylim=(1e-4, 2))


def draw_agreement(result: Result, *, trained: str) -> style.PaperFigure:
    """Agreement with full knowledge against the chip's detuning: mean (line) and range (band) over the seeds.

    Panels: cosine of the hidden and of the output layer's gradient; the change of the chip's own loss after a small
    step against each; the loss of the batch on the chip and in the model.

    Args:
        result: the study.
        trained: which weights, one of ``studies.anatomy.TRAININGS``.

    Returns:
        A new figure.
    """
    points = result.select(trained)
    with style.paper():
        figure = style.PaperFigure(figsize=(10.2, 2.9))
        hidden, output, change, loss = figure.subplots(1, 4)
        for axes, layer in ((hidden, "hidden"), (output, "output")):
            for kind in ("injected", "alone"):
                _band(axes, points, kind, lambda a: a.cosine, layer)
            axes.axhline(0, color=style.REFERENCE, linewidth=0.5)
            axes.set(ylabel="cosine with full knowledge", ylim=(-0.3, 1.05))
            axes.set_title(f"{layer} weights", loc="left")
        output.set_ylabel("")
        for kind in KINDS:
            _band(change, points, kind, lambda a: 100 * a.loss_change, "hidden")
        change.axhline(0, color=style.REFERENCE, linewidth=0.5)
        change.set_ylabel("change of the chip's loss (%)")
        change.set_title("a step of the hidden weights", loc="left")
        for name, field, (_, colour, marker, line) in (
            ("emulated chip", "loss_chip", KINDS["injected"]), ("model alone", "loss_model", KINDS["alone"])
        ):  # fmt: skip
            _curve(loss, points, lambda p, f=field: getattr(p, f), colour, marker, line, name)
        loss.set(ylabel="loss of the batch", yscale="log")
        loss.set_title("loss", loc="left")
        loss.legend(loc="upper left", fontsize=7)
        for axes in (hidden, output, change, loss):
            axes.set_xlabel(r"detuning $\sigma_d$ (%)")
        handles, labels = change.get_legend_handles_labels()
        n = len({p.seed for p in points})
        title = f"weights trained {'in the loop' if trained == 'in the loop' else 'in software'}, {n} chips"
        figure.legend(handles, labels, loc="outside upper left", ncols=3, title=title, alignment="left")
        style.badge(figure, emulated=True)
    return figure


def _band(axes: Axes, points: list[Point], kind: str, value: Callable[[Agreement], float], layer: str) -> None:
    name, colour, marker, line = KINDS[kind]

    def of(point: Point) -> float:
        layers: Layers = getattr(point, kind)
        return value(getattr(layers, layer))

    _curve(axes, points, of, colour, marker, line, name)


def _curve(
    axes: Axes, points: list[Point], value: Callable[[Point], float], colour: str, marker: str, line: str, name: str
) -> None:
    sigmas = np.array(sorted({p.sigma_d for p in points}))
    rows = [np.array([value(p) for p in points if p.sigma_d == s]) for s in sigmas]
    mean, low, high = (np.array([f(r) for r in rows]) for f in (np.mean, np.min, np.max))
    axes.plot(100 * sigmas, mean, line, marker=marker, markersize=4, color=colour, label=name)
    axes.fill_between(100 * sigmas, low, high, color=colour, alpha=0.2, linewidth=0)
