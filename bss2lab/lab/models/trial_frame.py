"""Panels that show one trial: rasters, read-out, votes over time and at the end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bss2lab.lab.frame import PALETTE, Axis, Heat, Layer, Mark, Panel, Series, span
from bss2lab.lab.models.one_sample import Trial, end_us
from bss2lab.settings import AnyConfig

Box = tuple[float, float, float, float]

INPUT, HIDDEN, PALE = "#000000", PALETTE[0], "#bdbdbd"
MOST_NAMED = 10
"""Classes up to which each has a colour and a name; of more, the strongest ``FEW`` and the true one have."""

FEW = 4


def time_axis(config: AnyConfig) -> Axis:
    """Return the axis of chip time."""
    return Axis("time", 0.0, end_us(config), unit="µs")


def now(at: float, config: AnyConfig) -> list[Layer]:
    """Return the line at the time up to which is shown; none if everything is."""
    return [Mark(at, "", along="x", colour="#000000", dashed=False)] if at < end_us(config) else []


def raster(
    config: AnyConfig, trial: Trial | None, box: Box, *, until: float, chosen: Mapping[int, str], empty: str,
    choice: bool = True,
) -> Panel:  # fmt: skip
    """Return input spikes with the hidden ones above them.

    Args:
        config: the network's run.
        trial: what to show.
        box: place in the picture.
        until: time up to which is shown, µs.
        chosen: hidden neurons that are picked out, with their colours.
        empty: said as long as there is nothing to show.
        choice: can neurons be chosen in it?
    """
    n_in, n_hidden = config.n_inputs, config.n_hidden
    unit = Axis("input | hidden neuron", -2.0, float(n_in + n_hidden) + 2.0, integer=True)
    layers: list[Layer] = []
    note = ""
    if trial is not None:
        (t_in, u_in), (t_hid, u_hid) = trial.seen.input_spikes.sample(0), trial.seen.hidden_spikes.sample(0)
        early, shown = t_in <= until, t_hid <= until
        plain = shown & ~np.isin(u_hid, list(chosen))
        width = 1.8 if len(t_in) > 1000 else 2.4
        layers += [
            Mark(n_in - 0.5, dashed=False),
            Series("input", t_in[early], u_in[early], style="dots", colour=INPUT, width=width, thing="unit"),
            _hidden("hidden", t_hid[plain], u_hid[plain], n_in, HIDDEN, width + 0.4),
        ]
        for neuron, colour in chosen.items():
            mine = shown & (u_hid == neuron)
            layers.append(_hidden("", t_hid[mine], u_hid[mine], n_in, colour, width + 2.0))
        note = f"{int(early.sum()):,} in, {int(shown.sum()):,} hidden"
    return Panel(
        "raster", "Spikes", time_axis(config), unit, [*layers, *now(until, config)], box, note=note, empty=empty,
        clicks=choice, brushes=choice,
    )  # fmt: skip


def _hidden(name: str, times: np.ndarray, units: np.ndarray, n_in: int, colour: str, width: float) -> Series:
    above = units.astype(np.int64) + n_in
    return Series(name, times, above, style="dots", colour=colour, width=width, thing="neuron", origin=n_in)


def layer_raster(config: AnyConfig, trial: Trial | None, box: Box, *, hidden: bool, empty: str) -> Panel:
    """Return the spikes of one layer alone, with the time of the decision."""
    n = config.n_hidden if hidden else config.n_inputs
    name = "hidden neuron" if hidden else "input channel"
    title, note, layers = ("Hidden spikes" if hidden else "Input spikes"), "", []
    if trial is not None:
        times, units = (trial.seen.hidden_spikes if hidden else trial.seen.input_spikes).sample(0)
        colour = HIDDEN if hidden else INPUT
        layers = [Series("", times, units, style="dots", colour=colour, width=2.2, thing=name), *_decided(trial)]
        note = f"{len(times):,} spikes"
    unit = Axis(name, -1.0, float(n), integer=True)
    return Panel("hidden" if hidden else "input", title, time_axis(config), unit, layers, box, note=note, empty=empty)


def _decided(trial: Trial) -> list[Layer]:
    return [Mark(trial.verdict.decided_us, along="x")]


def _decided_note(trial: Trial) -> str:
    return f"decided after {trial.verdict.decided_us:.1f} µs"


def readout(
    config: AnyConfig, trial: Trial | None, box: Box, *, until: float, empty: str, decided: bool = False
) -> Panel:
    """Return the output membranes, cut at ``until`` (µs), with the time of the decision if ``decided``."""
    time, label = time_axis(config), "output membrane (threshold = 1)"
    if trial is None:
        return Panel("readout", "Read-out", time, Axis(label, -1.0, 1.5), (), box, empty=empty)
    traces = trial.seen.readout[0, :, : len(trial.classes)]
    low, high = span(traces, pad=0.08, least=0.05)
    layers = _by_class(trial, trial.seen.time_us, traces, until)
    if trial.seen.limits is not None:
        layers += [Mark(v, "ADC limit") for v in trial.seen.limits if low <= v <= high]
    layers += _decided(trial) if decided else []
    return Panel(
        "readout", f"Read-out: {_verdict(trial)}", time, Axis(label, low, high), [*layers, *now(until, config)], box,
        note=_decided_note(trial) if decided else "",
    )  # fmt: skip


def votes(config: AnyConfig, trial: Trial | None, box: Box, *, empty: str) -> Panel:
    """Return what speaks for each class as time goes on: running sums, or running peaks."""
    title = "Running sums" if config.vote == "sum" else "Running peaks"
    label = f"{'sum' if config.vote == 'sum' else 'peak'} of the output so far"
    if trial is None:
        return Panel("votes", title, time_axis(config), Axis(label, 0.0, 1.0), (), box, empty=empty)
    gathered = trial.verdict.votes
    low, high = span(gathered, pad=0.06, least=0.05)
    layers = [*_by_class(trial, trial.seen.time_us, gathered, np.inf), *_decided(trial)]
    return Panel("votes", title, time_axis(config), Axis(label, low, high), layers, box, note=_decided_note(trial))


def bars(
    config: AnyConfig, trial: Trial | None, box: Box, *, most: int, ranked: bool, empty: str, noun: str = "class"
) -> Panel:
    """Return a bar for every class: what speaks for it at the end.

    Args:
        config: the network's run.
        trial: what to show.
        box: place in the picture.
        most: classes that are shown at most.
        ranked: best first? Otherwise by number.
        empty: said as long as there is nothing to show.
        noun: what a class is called.
    """
    label = f"vote: {config.vote} of the output"
    if trial is None:
        x = Axis(noun, -0.6, most - 0.4, integer=True)
        return Panel("answer", "Answer", x, Axis(label, 0.0, 1.0), (), box, empty=empty)
    values = trial.verdict.votes[-1]
    order = np.argsort(-values, kind="stable")[:most] if ranked else np.arange(min(most, len(values)))
    place, best = np.arange(len(order)), order == trial.verdict.decision
    layers = [
        Series("", place, values[order], style="bars", colour=PALE),
        Series("", place, np.where(best, values[order], 0.0), style="bars", colour=PALETTE[1]),
    ]
    low, high = span(values[order], np.zeros(1), pad=0.06)
    y = Axis(label, low if values[order].min() < 0 else 0.0, high)
    names = tuple(trial.classes[k] for k in order)
    share = 100 * float(trial.verdict.shares[trial.verdict.decision])
    return Panel(
        "answer", f"Answer: “{trial.said}”", Axis(noun, -0.6, len(order) - 0.4, names=names),
        y, layers, box, note=f"softmax {share:.0f} %",
    )  # fmt: skip


def image(pixels: np.ndarray, box: Box, *, title: str, empty: str) -> Panel:
    """Return a grey image as it lies on the chip's inputs.

    Args:
        pixels: grey values 0 … 255, [row, column]; an empty array: nothing to show.
        box: place in the picture.
        title: heading.
        empty: said as long as there is nothing to show.
    """
    rows, columns = pixels.shape if pixels.size else (16, 16)
    layers = [Heat("grey value", pixels, 0.0, 255.0, palette="greys")] if pixels.size else []
    return Panel(
        "image", title, Axis("column", -0.5, columns - 0.5, integer=True),
        Axis("row", -0.5, rows - 0.5, integer=True, down=True), layers, box, empty=empty,
    )  # fmt: skip


def _verdict(trial: Trial) -> str:
    if trial.label is None:
        return f"“{trial.said}”"
    return f"{trial.classes[trial.label]} → {trial.said}" + ("" if trial.right else "  (wrong)")


def _by_class(trial: Trial, time_us: np.ndarray, values: np.ndarray, until: float) -> list[Layer]:
    """Return a curve per class; of many classes only those that matter are told apart."""
    n = len(trial.classes)
    named = list(range(n))
    if n > MOST_NAMED:
        strongest = np.argsort(-trial.verdict.shares, kind="stable")[:FEW]
        true = [] if trial.label is None else [trial.label]
        named = [k for k in named if k in strongest or k in true]
    early = time_us <= until
    rest: list[Layer] = [
        Series("", time_us[early], values[early, k], colour=PALE, width=1.0) for k in range(n) if k not in named
    ]
    return rest + [
        Series(
            trial.classes[k], time_us[early], values[early, k], colour=PALETTE[i % len(PALETTE)],
            width=2.6 if k == trial.verdict.decision else 1.2,
        )
        for i, k in enumerate(named)
    ]  # fmt: skip
