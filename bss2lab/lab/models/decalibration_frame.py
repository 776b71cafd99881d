"""The decalibration bench's picture: errors against σ_d, errors now, and what detuning did to the neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.lab.frame import GREY, PALETTE, Axis, Frame, Layer, Mark, Panel, Series, span
from bss2lab.lab.models.detuned import LINES, Line, Visit

if TYPE_CHECKING:
    from bss2lab.chip.mismatch import Mismatch
    from bss2lab.lab.models.decalibration import Decalibration
    from bss2lab.learners.readout import Tally

COLOURS: dict[Line, str] = {
    "here": PALETTE[0],
    "itl": PALETTE[5],
    "transfer": PALETTE[1],
    "recalibrated": PALETTE[2],
}
_CALIBRATED, _DETUNED = "#999999", PALETTE[3]
_BINS = 32


def frame(model: Decalibration) -> Frame:
    """Return the bench's picture as it is now."""
    with model.lock:
        visit = model.visit
    panels = [_errors(model, visit), _now(model, visit), *_histograms(visit)]
    return Frame(panels, _alt(model, visit), height=620)


def name_of(model: Decalibration, line: Line) -> str:
    """Say how a network got onto the chip."""
    if line == "itl" and model.home is not None:
        c = model.home.config
        return f"in the loop on {'calibrated ' if not c.sigma_d else ''}chip {c.chip_seed}"
    return {
        "here": "in the loop on this chip", "itl": "in the loop elsewhere", "transfer": "transferred",
        "recalibrated": "recalibrated",
    }[line]  # fmt: skip


def _errors(model: Decalibration, visit: Visit | None) -> Panel:
    layers: list[Layer] = []
    found, most = [np.empty(0)], 0.5
    for line in LINES:
        colour = COLOURS[line]
        x, y = model.curve(line)
        y = np.maximum(y, 0.01)
        found.append(y)
        most = max(most, *x) if len(x) else most
        if len(x):
            layers.append(Series(name_of(model, line), x, y, colour=colour, width=2.2))
            layers.append(Series("", x, y, style="dots", colour=colour, width=5.0))
        if visit is not None and line in visit.tallies:
            now = max(100 * visit.tallies[line].error, 0.01)
            found.append(np.array([now]))
            layers.append(Series("", np.array([visit.place.sigma_d]), np.array([now]), "dots", colour, 10.0))
    if visit is not None:
        most = max(most, visit.place.sigma_d)
        layers.append(Mark(visit.place.sigma_d, "", along="x"))
    low = float(np.concatenate(found).min(initial=2.0))
    floor = 2.0 if low >= 2 else 10 ** np.floor(np.log10(low))
    error = Axis("test error", floor, 100.0, unit="%", log=True)
    return Panel(
        "errors", f"Test error: {_detuned(model)}", Axis("decalibration σ_d", -0.02, most + 0.02), error, layers,
        (0.0, 0.0, 0.6, 0.6), empty="counting …", clicks=True,
    )  # fmt: skip


def _detuned(model: Decalibration) -> str:
    v = model.values
    what = model.controls["detuned"].shown(v["detuned"]).removeprefix("of its ")
    return f"chip {v['chip_seed']}, {what if what != 'both' else 'times and thresholds'} detuned"


def _now(model: Decalibration, visit: Visit | None) -> Panel:
    layers: list[Layer] = []
    tallies: dict[Line, Tally] = {} if visit is None else visit.tallies
    shown: list[Line] = [line for line in LINES if line in tallies]
    for k, line in enumerate(shown):
        error = 100 * tallies[line].error
        # the second, invisible bar sets the width
        layers.append(Series(f"{error:.2f} %", np.array([k, k + 1]), np.array([error, np.nan]), "bars", COLOURS[line]))
    short: dict[Line, str] = {
        "here": "here",
        "itl": "in the loop",
        "transfer": "transferred",
        "recalibrated": "recalibrated",
    }
    names = tuple(short[line] for line in shown)
    top = max([5.0, *(110 * tallies[line].error for line in shown)])
    seen = [tallies[line] for line in shown]
    least = min(seen, key=lambda t: t.seen / t.total) if seen else None
    title = "Now" if visit is None else f"At σ_d = {visit.place.sigma_d:.3g}"
    note = "" if least is None else f"{least.seen:,} of {least.total:,} images"
    return Panel(
        "now", title, Axis("", -0.6, max(len(names), 1) - 0.4, names=names), Axis("test error", 0.0, top, unit="%"),
        layers, (0.6, 0.0, 1.0, 0.6), note=note, empty="counting …",
    )  # fmt: skip


def _histograms(visit: Visit | None) -> list[Panel]:
    kinds = ("tau_mem", "tau_syn", "distance")
    titles = ("τ mem", "τ syn exc", "Threshold − leak")
    units = ("µs", "µs", "mV")
    panels = []
    for k, (key, title, unit) in enumerate(zip(kinds, titles, units, strict=True)):
        box = (k / 3, 0.6, (k + 1) / 3, 1.0)
        if visit is None:
            axes = Axis("hidden truth", 0.0, 1.0, unit=unit), Axis("neurons", 0.0, 1.0)
            panels.append(Panel(key, title, *axes, (), box, empty="detuning …"))
            continue
        before, after = _truth(visit.calibrated, key), _truth(visit.detuned, key)
        low, high = span(before, after, least=0.1)
        edges = np.linspace(low, high, _BINS + 1)
        counts = [np.histogram(values, edges)[0] for values in (before, after)]
        # a calibrated population is one narrow peak: what it became shall be seen beside it
        top = 1.08 * max(counts[1].max(), min(counts[0].max(), 3 * counts[1].max()))
        middle = (edges[:-1] + edges[1:]) / 2
        layers: list[Layer] = [
            Series(
                "calibrated" + (f" (up to {counts[0].max()})" if counts[0].max() > top else ""),
                middle,
                counts[0],
                "bars",
                _CALIBRATED,
            ),
            Series("now", middle, counts[1], "bars", _DETUNED, alpha=0.75),
        ]
        note = f"{after.mean():.3g} ± {after.std():.2g} {unit}"
        if key == "distance":
            note = f"{visit.self_active} self-active"
            if low < 0 < high:
                layers.append(Mark(0.0, "fires by itself", along="x", colour=GREY))
        axes = Axis("hidden truth", low, high, unit=unit), Axis("neurons", 0.0, float(top), integer=True)
        panels.append(Panel(key, title, *axes, layers, box, note=note))
    return panels


def _truth(mismatch: Mismatch, kind: str) -> np.ndarray:
    if kind == "distance":
        return mismatch.threshold_mv - mismatch.leak_mv
    return mismatch.tau_mem_us if kind == "tau_mem" else mismatch.tau_syn_exc_us


def _alt(model: Decalibration, visit: Visit | None) -> str:
    if visit is None:
        return "Decalibration bench: nothing counted yet."
    errors = ", ".join(
        f"{name_of(model, line)} {100 * t.error:.2f} %{'' if t.complete else ' so far'}"
        for line, t in visit.tallies.items()
    )
    points = sum(len(model.curve(line)[0]) for line in LINES)
    return (
        f"Decalibration bench, {visit.place}: test errors: {errors or 'being counted'}; {visit.self_active} neurons "
        f"fire without input; {points} points in the curves."
    )
