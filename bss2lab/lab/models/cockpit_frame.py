"""The cockpit's picture: loss by term, accuracy, one sample's spikes and read-out, and what every neuron does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.datasets.speechset import SpeechSet
from bss2lab.lab.frame import PALETTE, Axis, Frame, Layer, Mark, Panel, Series, Style, span
from bss2lab.lab.models.history import History
from bss2lab.lab.models.probe import Probe
from bss2lab.settings import SpeechConfig

if TYPE_CHECKING:
    from bss2lab.lab.models.cockpit import Cockpit

TRAIN, TEST, PROBE = PALETTE[0], PALETTE[1], PALETTE[4]
_TERMS = {"task": PALETTE[0], "burst": PALETTE[2], "rate": PALETTE[2], "readout": PALETTE[3], "weight": PALETTE[6]}
_TERM_NAMES = {
    "task": "task",
    "burst": "burst ρ_b",
    "rate": "rate ρ_r",
    "readout": "read-out ρ_a",
    "weight": "weights ρ_w",
}
_FLOOR = 1e-5


def frame(model: Cockpit) -> Frame:
    """Return the cockpit's picture as it is now."""
    with model.lock:
        history, kept, probe, marks = model.history, list(model.kept), model.probe, list(model.marks)
    x = _epochs(model, [history, *(k.history for k in kept)])
    panels = [
        _loss(history, x, marks),
        _accuracy(model, history, x, marks),
        *_sample(model, probe),
        _neurons(model, probe),
    ]
    return Frame(panels, _alt(model, history, probe), badge=_badge(model), height=640)


def _epochs(model: Cockpit, histories: list[History]) -> Axis:
    """Return the axis of epochs: as far as any curve goes, and a little ahead."""
    reached = [float(curve[0][-1]) for h in histories for curve in (h.train.arrays(), h.test.arrays()) if len(curve[0])]
    end = max(1.0, *reached) if reached else 1.0
    return Axis("epoch", 0.0, float(np.ceil(end * 1.02)), integer=True)


def _loss(history: History, x: Axis, marks: list[tuple[float, str]]) -> Panel:
    layers: list[Layer] = []
    curves = {name: curve.arrays() for name, curve in history.terms.items()}
    for name, (at, values) in curves.items():
        shown = np.where(values > _FLOOR, values, np.nan)
        layers.append(Series(_TERM_NAMES.get(name, name), at, shown, colour=_TERMS.get(name, PALETTE[4])))
    low, high = _log_range(*(values for _, values in curves.values()))
    layers += [Mark(at, "", along="x") for at, _ in marks]
    note = f"loss {history.loss:.3f}" if history.loss is not None else ""
    return Panel(
        "loss", "Loss by term", x, Axis("loss per sample", low, high, log=True), layers, (0.0, 0.0, 0.5, 0.5),
        note=note, empty="press “start”",
    )  # fmt: skip


def _log_range(*values: np.ndarray) -> tuple[float, float]:
    some = np.concatenate([v[v > _FLOOR] for v in values]) if values else np.empty(0)
    if some.size == 0:
        return 0.01, 10.0
    return float(10 ** np.floor(np.log10(some.min()))), float(10 ** np.ceil(np.log10(some.max()) + 1e-6))


def _accuracy(model: Cockpit, history: History, x: Axis, marks: list[tuple[float, str]]) -> Panel:
    layers: list[Layer] = []
    lows = [95.0]
    for k, kept in enumerate(model.kept):
        at, values = kept.history.test.arrays()
        if not len(at):
            at, values = kept.history.probe.arrays()
        layers.append(Series(kept.name[:28], at, values, colour=PALETTE[(k + 5) % 8], width=1.2, style="dashed"))
        lows += [float(values.min())] if len(values) else []
    for name, curve, colour, dots in (
        ("train", history.train, TRAIN, False), ("test, some", history.probe, PROBE, True),
        ("test, all", history.test, TEST, False),
    ):  # fmt: skip
        at, values = curve.arrays()
        style: Style = "dots" if dots else "line"
        layers.append(Series(name, at, values, style=style, colour=colour, width=3.0 if dots else 2.2))
        late = values[at > 0.3] if len(values) else values
        lows += [float(late.min())] if len(late) else []
    paper = model.paper_value
    if paper is not None:
        layers.append(Mark(paper.test, f"paper {paper.test:.1f} %"))
    layers += [Mark(at, text, along="x") for at, text in _gathered(marks)]
    low = max(0.0, min(lows) - 1.0)
    last = history.test.last
    note = f"test {last:.2f} %" if last is not None else ""
    return Panel(
        "accuracy", "Accuracy", x, Axis("correct", low, 100.4 if low > 50 else 102.0, unit="%"), layers,
        (0.5, 0.0, 1.0, 0.5), note=note,
    )  # fmt: skip


def _gathered(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Put names of marks at one place into one."""
    places: dict[float, list[str]] = {}
    for at, text in marks:
        places.setdefault(at, []).append(text)
    return [(at, ", ".join(texts)) for at, texts in places.items()]


def _sample(model: Cockpit, probe: Probe | None) -> list[Panel]:
    """Return raster and read-out of the sample on show."""
    boxes = (0.0, 0.5, 0.34, 1.0), (0.34, 0.5, 0.68, 1.0)
    n_in, n_hidden = model.base.n_inputs, model.base.n_hidden
    time = Axis("time", 0.0, model.base.duration_us, unit="µs")
    unit = Axis("input | hidden neuron", -2.0, float(n_in + n_hidden) + 2.0, integer=True)
    if probe is None:
        value = Axis("output membrane", -1.0, 1.5)
        return [
            Panel("raster", "Spikes", time, unit, (), boxes[0], empty="one test sample on the chip"),
            Panel("readout", "Read-out", time, value, (), boxes[1], empty="its output membranes"),
        ]
    seen = probe.seen
    names = _class_names(model)
    t_in, u_in = seen.input_spikes.sample(0)
    t_hid, u_hid = seen.hidden_spikes.sample(0)
    raster = Panel(
        "raster", f"Test sample {model.values['sample']}", time, unit,
        [
            Series("input", t_in, u_in, style="dots", colour="#000000", width=1.8, thing="unit"),
            Series(
                "hidden", t_hid, u_hid.astype(np.int64) + n_in, style="dots", colour=PALETTE[0], width=2.2,
                thing="neuron", origin=n_in,
            ),
            Mark(n_in - 0.5, dashed=False),
        ],
        boxes[0], note=f"{len(t_hid)} hidden spikes",
    )  # fmt: skip
    traces = seen.readout[0, :, : len(names)]
    layers: list[Layer] = [
        Series(
            names[o], seen.time_us, traces[:, o], colour=PALETTE[o % len(PALETTE)],
            width=2.4 if o == probe.decision else 1.0,
        )
        for o in range(traces.shape[1])
    ]  # fmt: skip
    low, high = span(traces, pad=0.08, least=0.05)
    if seen.limits is not None:
        layers += [Mark(v, "ADC limit") for v in seen.limits if low <= v <= high]
    right = probe.decision == probe.label
    verdict = f"{names[probe.label]} → {names[probe.decision]}" + ("" if right else "  (wrong)")
    readout = Panel(
        "readout", f"Read-out: {verdict}", time, Axis("output membrane (threshold = 1)", low, high), layers, boxes[1]
    )
    return [raster, readout]


def _neurons(model: Cockpit, probe: Probe | None) -> Panel:
    n = model.base.n_hidden
    rank = Axis("hidden neuron, busiest first", 0.0, float(n), integer=True)
    box = (0.68, 0.5, 1.0, 1.0)
    per = "word" if isinstance(model.base, SpeechConfig) else "image"
    if probe is None:
        axis = Axis(f"spikes per {per}", 0.0, 1.0)
        return Panel("neurons", "Neurons", rank, axis, (), box, empty="how busy each one is")
    rates = np.sort(probe.rates)[::-1]
    top = max(0.1, float(rates.max()) * 1.08)
    layers: list[Layer] = [Series("", np.arange(n) + 0.5, rates, style="bars", colour=PALETTE[0])]
    return Panel(
        "neurons", f"{rates.sum():.1f} spikes", rank, Axis(f"spikes per {per}", 0.0, top), layers, box,
        note=f"{probe.dead} dead · {probe.saturated} sat.",
    )  # fmt: skip


def _class_names(model: Cockpit) -> tuple[str, ...]:
    data = model.run.data.held_out if model.run is not None else None
    if data is None:
        return tuple(map(str, range(model.base.n_outputs)))
    return data.classes if isinstance(data, SpeechSet) else data.dataset.classes


def _badge(model: Cockpit) -> str:
    where = "emulated chip" if model.values["mode"] == "itl" else "software model"
    return f"{where} · synthetic speech" if getattr(model.base, "task", "") == "speech" else where


def _alt(model: Cockpit, history: History, probe: Probe | None) -> str:
    changed = f" Last change: {model.marks[-1][1]}." if model.marks else ""
    if probe is None or history.loss is None:
        return f"Training cockpit, {model.phase}: nothing learned yet.{changed}"
    last = history.test.last
    test = f", test accuracy {last:.1f} %" if last is not None else ""
    return (
        f"Training cockpit, {model.phase}: {len(history.test)} epochs done, loss {history.loss:.3f}{test}; "
        f"{probe.rates.sum():.1f} hidden spikes per sample, {probe.dead} dead and "
        f"{probe.saturated} saturated neurons.{changed}"
    )
