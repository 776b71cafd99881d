"""The chip view's picture: weights as placed, spikes, one neuron's membrane and parameters, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip.placement import HEMISPHERES
from bss2lab.chip.spec import NEURONS
from bss2lab.lab.frame import GREY, PALETTE, Axis, Frame, Heat, Layer, Mark, Panel, Series, span
from bss2lab.lab.models.inspector import hidden_truth, lines
from bss2lab.quantize import WEIGHT_MAX
from bss2lab.settings import SpeechConfig

if TYPE_CHECKING:
    from bss2lab.lab.models.chip_view import Answer, ChipView

_CHOSEN = PALETTE[1]
_SPLIT = 0.6


def frame(model: ChipView) -> Frame:
    """Return the chip view's picture as it is now."""
    with model.lock:
        answer = model.answer
        panels = [*_weights(model), _raster(model, answer), _loupe(model), *_sample(model, answer), _accuracy(model)]
        speech = isinstance(model.network.config, SpeechConfig) and model.network.config.task == "speech"
        badge = "emulated chip" + (" · synthetic speech" if speech else "")
        return Frame(panels, _alt(model, answer), badge=badge, height=680)


def _weights(model: ChipView) -> list[Panel]:
    low, high = -WEIGHT_MAX, WEIGHT_MAX
    neuron, silent = int(model.values["neuron"]), np.flatnonzero(model.silenced)
    if model.values["layout"] == "matrix":
        table = model.weights.copy()
        table[:, silent] = np.nan
        layers = [
            Heat("weight", table, low, high, "signed", unit="LSB"),
            Mark(neuron, along="x", colour="#000000", dashed=False),
        ]
        x = Axis("neuron", -0.5, NEURONS - 0.5, integer=True)
        y = Axis("synapse row", -0.5, NEURONS - 0.5, integer=True, down=True)
        note = f"−{WEIGHT_MAX} … {WEIGHT_MAX}; blank: none, or silenced"
        return [Panel("weights", "Weights", x, y, layers, (0.0, 0.0, 0.42, _SPLIT), note=note, clicks=True)]
    panels = []
    for array, key in enumerate(HEMISPHERES):
        drivers, columns = model.floor_plan[array].shape
        first = array * columns // 2
        here = silent[(silent >= first) & (silent < first + columns // 2)] - first
        plan = model.floor_plan[array].copy()
        plan[:, 2 * here] = plan[:, 2 * here + 1] = np.nan
        layers: list[Layer] = [Heat("weight", plan, low, high, "signed", unit="LSB")]
        if first <= neuron < first + columns // 2:
            layers.append(Mark(2 * (neuron - first) + 0.5, along="x", colour="#000000", dashed=False))
        x = Axis("column", -0.5, columns - 0.5, integer=True)
        y = Axis("driver", -0.5, drivers - 0.5, integer=True, down=True)
        box = (0.0, array * _SPLIT / 2, 0.42, (array + 1) * _SPLIT / 2)
        note = f"neurons {first} … {first + columns // 2 - 1}"
        panels.append(Panel(key, f"{key.capitalize()} array", x, y, layers, box, note=note, clicks=True))
    return panels


def _time(model: ChipView) -> Axis:
    return Axis("time", 0.0, model.network.config.duration_us + 2.0, unit="µs")


def _raster(model: ChipView, answer: Answer | None) -> Panel:
    y = Axis("neuron", -2.0, NEURONS + 1.0, integer=True)
    box = (0.42, 0.0, 0.66, _SPLIT)
    if answer is None:
        return Panel("raster", "Spikes", _time(model), y, (), box, empty="running …", clicks=True)
    chosen = answer.spike_neuron == model.values["neuron"]
    silent = np.flatnonzero(model.silenced)
    layers: list[Layer] = [
        Series(
            "hidden", answer.spike_us[~chosen], answer.spike_neuron[~chosen], "dots", PALETTE[0], 2.4, thing="neuron"
        ),
        Series(
            f"neuron {model.values['neuron']}", answer.spike_us[chosen], answer.spike_neuron[chosen], "dots", _CHOSEN,
            5.0, thing="neuron",
        ),
        Series("silenced", np.full(len(silent), 0.3), silent, "dots", GREY, 3.0, thing="neuron"),
    ]  # fmt: skip
    note = f"{len(answer.spike_us)} spikes"
    return Panel("raster", "Spikes", _time(model), y, layers, box, note=note, clicks=True)


def _loupe(model: ChipView) -> Panel:
    """A ruled list: one line of text per quantity."""
    neuron = int(model.values["neuron"])
    table = lines(model.chip, neuron, model.measured, model.quantities)
    rows = [Mark(k + 0.3, text, colour="#444444", dashed=False) for k, (_, text) in enumerate(table)]
    y = Axis("", -0.7, len(table) - 0.3, names=tuple(name for name, _ in table), down=True)
    blank = Axis("", 0.0, 1.0, names=("",))
    note = "truth | measured"
    return Panel("loupe", f"Neuron {neuron}", blank, y, rows, (0.66, 0.0, 1.0, _SPLIT), note=note)


def _sample(model: ChipView, answer: Answer | None) -> list[Panel]:
    """Return the image and the chosen neuron's membrane."""
    neuron = int(model.values["neuron"])
    first = NEURONS - model.network.weights.output.shape[1]
    kind = "hidden" if neuron < model.n_hidden else f"output {neuron - first}" if neuron >= first else "not used"
    if neuron < model.n_hidden and model.silenced[neuron]:
        kind = "silenced"
    title, voltage = f"Neuron {neuron} ({kind})", Axis("membrane", 300.0, 800.0, unit="mV")
    if answer is None:
        return [Panel("membrane", title, _time(model), voltage, (), (0.0, _SPLIT, 0.6, 1.0), empty="running …")]
    panels = []
    left = 0.0
    if answer.pixels is not None:
        verdict = f"{answer.label} → {answer.decision}"
        x = Axis("", -0.5, 15.5, names=("",))
        y = Axis("", -0.5, 15.5, names=("",), down=True)
        heat = Heat("grey value", answer.pixels, 0, 255, "greys")
        left = 0.22
        note = "" if answer.label == answer.decision else "wrong"
        panels.append(Panel("image", f"No. {answer.sample}: {verdict}", x, y, [heat], (0.0, _SPLIT, left, 1.0), note))
    trace = answer.membrane_mv[:, neuron]
    at = answer.spike_us[answer.spike_neuron == neuron]
    truths = {name: float(hidden_truth(model.chip, name)[neuron]) for name in ("threshold", "leak")}
    low, high = span(trace, np.array(list(truths.values())), pad=0.1)
    layers: list[Layer] = [
        Series("membrane", answer.time_us, trace, colour=PALETTE[0]),
        Series("spikes", at, np.full(len(at), truths["threshold"]), "dots", _CHOSEN, 6.0),
        *(Mark(value, name) for name, value in truths.items()),
    ]
    voltage = Axis("membrane", low, high, unit="mV")
    note = f"{len(at)} spikes"
    panels.append(Panel("membrane", title, _time(model), voltage, layers, (left, _SPLIT, 0.64, 1.0), note=note))
    return panels


def _accuracy(model: ChipView) -> Panel:
    box = (0.64, _SPLIT, 1.0, 1.0)
    points = np.array(model.points, float).reshape(-1, 2)
    counts = np.unique(points[:, 0])
    mean = np.array([100 * points[points[:, 0] == c, 1].mean() for c in counts])
    layers: list[Layer] = [
        Series("", counts, mean, colour=PALETTE[2], width=1.6),
        Series("", points[:, 0], 100 * points[:, 1], "dots", PALETTE[2], 4.0),
    ]
    now, tally, silent = model.accuracy, model.tally, int(model.silenced.sum())
    note, lowest = "counting …", mean
    if now is not None and tally is not None:
        layers.append(Series("", np.array([silent]), np.array([100 * now]), "dots", _CHOSEN, 9.0))
        note = f"{100 * now:.2f} % of {tally.seen:,}"
        lowest = np.append(mean, 100 * now)
    x = Axis("neurons silenced", -1.0, max(12.0, 1.08 * max(silent, *counts, 0)), integer=True)
    low = max(0.0, float(lowest.min(initial=98.0)) - 2.0)
    y = Axis("correct", low, 100.4 if low > 50 else 102.0, unit="%")
    return Panel("accuracy", "Accuracy", x, y, layers, box, note=note, empty="counting …")


def _alt(model: ChipView, answer: Answer | None) -> str:
    now = model.accuracy
    right = "not counted yet" if now is None else f"{100 * now:.2f} %"
    spikes = "" if answer is None else f" sample {answer.sample}: {len(answer.spike_us)} hidden spikes;"
    silent, known = int(model.silenced.sum()), len(model.measured)
    return (
        f"Chip view: weights of a network of {model.n_hidden} hidden neurons on emulated chip {model.chip.seed};"
        f"{spikes} {silent} neurons silenced, accuracy {right}; {known} quantities measured."
    )
