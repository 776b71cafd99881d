"""The picture of the anatomy of the injection: membrane, surrogate derivative, gradients and their agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab import dynamics
from bss2lab.lab.frame import GREY, PALETTE, Axis, Frame, Heat, Layer, Mark, Panel, Series, span
from bss2lab.studies.anatomy import SOFTWARE, Point
from bss2lab.surrogate import superspike_derivative

if TYPE_CHECKING:
    from numpy import ndarray

    from bss2lab.kernels import Traces
    from bss2lab.lab.models.anatomy import Anatomy, Gradients

MODEL, CHIP, BETWEEN = PALETTE[0], PALETTE[1], PALETTE[2]
_SPIKES = (1.34, 1.20)  # where spikes of the model and of the chip are marked, model units
_FLOOR = 1e-4
_FAINT = 0.35
_EPS = 0.02


def frame(model: Anatomy) -> Frame:
    """Return the picture as it is now."""
    with model.lock:
        found, taken = model.gradients, model.taken
    wanted = model.wanted
    current = found if taken == wanted else None
    panels = [_membrane(model), _derivative(model), _cosine(model), *_columns(model, current)]
    return Frame(panels, _alt(model), badge="emulated chip", height=680)


def _membrane(model: Anatomy) -> Panel:
    j, on = model.values["neuron"], model.values["injected"]
    box, seen = (0.0, 0.0, 0.5, 0.5), model.seen
    time, title = Axis("model time", 0.0, model.config.duration_us, unit="µs"), f"Hidden neuron {j}"
    if seen is None:
        axis = Axis("membrane (threshold = 1)", -0.5, 1.5)
        return Panel("membrane", title, time, axis, (), box, empty="one image, in the model and on the chip")
    own, recorded = (x.v_hidden[0, :, j].numpy() for x in (seen.model, seen.recorded))
    layers: list[Layer] = [
        Series("model alone", seen.time_us, own, style="dashed", colour=MODEL, width=_width(not on)),
        Series("recorded on the chip", seen.time_us, recorded, colour=CHIP, width=_width(on)),
        Mark(float(dynamics.THRESHOLD), "threshold of the model"),
    ]
    for name, height, traces, colour in (
        ("spikes of the model", _SPIKES[0], seen.model, MODEL), ("spikes on the chip", _SPIKES[1], seen.recorded, CHIP)
    ):  # fmt: skip
        when = _spikes(traces, j, seen.time_us)
        layers.append(Series(f"{len(when)} {name}", when, np.full(len(when), height), style="dots",
                             colour=colour, width=5.0))  # fmt: skip
    low, high = span(own, recorded, np.array([0.0, _SPIKES[0]]), pad=0.06)
    note = "the graph holds: " + ("the recording" if on else "the model's own")
    return Panel("membrane", title, time, Axis("membrane (threshold = 1)", low, high), layers, box, note=note)


def _spikes(traces: Traces, j: int, time_us: ndarray) -> ndarray:
    return time_us[traces.s_hidden[0, :, j].numpy() > 0]


def _width(held: bool) -> float:
    return 2.8 if held else 1.2


def _derivative(model: Anatomy) -> Panel:
    j, on, box, seen = model.values["neuron"], model.values["injected"], (0.5, 0.0, 1.0, 0.5), model.seen
    time = Axis("model time", 0.0, model.config.duration_us, unit="µs")
    y, title = Axis("∂S/∂V", _FLOOR, 2.0, log=True), "What the gradient passes through"
    if seen is None:
        return Panel("derivative", title, time, y, (), box)
    layers: list[Layer] = []
    for name, traces, colour, held in (("without injection", seen.model, MODEL, not on),
                                       ("with injection", seen.injected, CHIP, on)):  # fmt: skip
        slope = superspike_derivative(traces.v_hidden[0, :, j].numpy(), seen.beta)
        layers.append(Series(name, seen.time_us, np.maximum(slope, _FLOOR), style="steps", colour=colour,
                             width=_width(held), alpha=1.0 if held else 0.6))  # fmt: skip
    return Panel("derivative", title, time, y, layers, box, note=f"surrogate, β = {seen.beta:g}")


def _cosine(model: Anatomy) -> Panel:
    box, on = (0.0, 0.5, 0.5, 1.0), model.values["injected"]
    curve = model.curve
    end = float(max(0.5, *(p.sigma_d for p in curve))) if curve else 0.5
    layers: list[Layer] = []
    if model.reference is not None:
        points = model.reference.select(SOFTWARE)
        for kind, colour in (("injected", CHIP), ("alone", MODEL)):
            layers += _course(points, kind, colour)
    sigma = np.array([p.sigma_d for p in curve])
    for name, key, colour, held in (
        ("injected · full knowledge", "injected", CHIP, on), ("model alone · full", "alone", MODEL, not on),
        ("injected · alone", "between", BETWEEN, False),
    ):  # fmt: skip
        values = np.array([getattr(p, key) for p in curve])
        layers += [
            Series("", sigma, values, colour=colour, width=_width(held)),
            Series(name, sigma, values, style="dots", colour=colour, width=5.0),
        ]
    layers += [Mark(0.0, colour=GREY, dashed=False), Mark(model.values["sigma_d"], "now", along="x")]
    low = min([-0.1, *(p.injected for p in curve), *(p.alone for p in curve), *(p.between for p in curve)]) - 0.05
    x, y = Axis("decalibration σ_d", -_EPS, end + _EPS), Axis("cosine", low, 1.05)
    n = len({p.seed for p in model.reference.points}) if model.reference is not None else 0
    note = "faint: the study" if n else ""
    return Panel("cosine", "Cosine of hidden gradients", x, y, layers, box, note=note, clicks=True)


def _course(points: list[Point], kind: str, colour: str) -> list[Layer]:
    """The study's mean (line) and range (band) over its chips."""
    sigmas = np.array(sorted({p.sigma_d for p in points}))
    rows = [[getattr(p, kind).hidden.cosine for p in points if p.sigma_d == s] for s in sigmas]
    mean, low, high = (np.array([f(row) for row in rows]) for f in (np.mean, np.min, np.max))
    edge = np.stack([high, low], axis=1).ravel()
    return [
        Series("", np.repeat(sigmas, 2), edge, style="band", colour=colour, alpha=0.12),
        Series("", sigmas, mean, style="dashed", colour=colour, width=1.2, alpha=_FAINT),
    ]


def _columns(model: Anatomy, found: Gradients | None) -> list[Panel]:
    """Return the gradient of the neuron's weights as the graph has it, and with full knowledge."""
    j, kind = model.values["neuron"], "injected" if model.values["injected"] else "alone"
    boxes = (0.5, 0.5, 0.75, 1.0), (0.75, 0.5, 1.0, 1.0)
    panels = []
    for name, title, box in ((kind, "∂L/∂W " + kind, boxes[0]),
                             ("full", "∂L/∂W full", boxes[1])):  # fmt: skip
        if found is None:
            x, y = (
                Axis("pixel column", -0.5, 15.5, integer=True),
                Axis("pixel row", -0.5, 15.5, integer=True, down=True),
            )
            panels.append(Panel(name, title, x, y, (), box, empty="a moment …"))
            continue
        table = shown_gradient(found, name, j)
        largest = float(np.abs(table).max())
        heat = Heat("∂loss/∂W", table, -max(largest, 1e-12), max(largest, 1e-12), palette="signed")
        x = Axis("pixel column", -0.5, table.shape[1] - 0.5, integer=True)
        y = Axis("pixel row", -0.5, table.shape[0] - 0.5, integer=True, down=True)
        panels.append(Panel(name, title, x, y, (heat,), box, note=f"±{largest:.1g}"))
    return panels


def _alt(model: Anatomy) -> str:
    if model.seen is None:
        return "Anatomy of the injection: nothing computed yet."
    j = model.values["neuron"]
    own, chip = (int(x.s_hidden[0, :, j].sum()) for x in (model.seen.model, model.seen.recorded))
    text = f"Hidden neuron {j}: {own} spikes in the model, {chip} on the emulated chip."
    for point in model.curve:
        if point.sigma_d == model.values["sigma_d"]:
            text += (
                f" At a detuning of {point.sigma_d:.2f} the cosine with full knowledge is {point.injected:.2f} with "
                f"injection, {point.alone:.2f} without."
            )
    return text


def shown_gradient(found: Gradients, name: str, neuron: int) -> ndarray:
    """Return the gradient of one hidden neuron's weights as the image that its inputs are, [row, column]."""
    column = getattr(found, name).hidden[:, neuron].numpy()
    side = round(len(column) ** 0.5)
    return column.reshape(side, -1) if side * side == len(column) else column[None, :]
