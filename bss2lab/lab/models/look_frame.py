"""The sample explorer's picture: raster, read-out, and the membranes of the chosen neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.lab.frame import GREY, PALETTE, Axis, Frame, Layer, Mark, Panel, Series, span
from bss2lab.lab.models import trial_frame
from bss2lab.lab.models.one_sample import Membranes, Trial, end_us

if TYPE_CHECKING:
    from bss2lab.lab.models.look import Look

COLOURS = tuple(PALETTE[k] for k in (1, 2, 3, 4, 5, 6, 7, 9))
"""Of the chosen neurons, in rising order of their numbers."""

_WAIT = "the chip is at work …"


def frame(model: Look) -> Frame:
    """Return the explorer's picture as it is now."""
    with model.lock:
        trial, membranes, chosen, until = model.trial, model.membranes, model.chosen, float(model.values["time"])
        sample = model.values["sample"]
    config = model.network.config
    pixels = trial.samples.pixels if trial is not None else np.empty((1, 0))
    images = trial is not None and pixels.shape[1] > 0
    colours = dict(zip(chosen, COLOURS, strict=False))
    panels = [
        trial_frame.raster(config, trial, (0.0, 0.0, 0.5, 0.58), until=until, chosen=colours, empty=_WAIT),
        trial_frame.readout(config, trial, (0.5, 0.0, 1.0, 0.58), until=until, empty=_WAIT),
        _membranes(model, trial, membranes, colours, until, (0.0, 0.58, 0.686 if images else 1.0, 1.0)),
    ]
    if images:
        side = int(np.sqrt(pixels.shape[1]))
        title = f"Test image {sample}"
        panels.append(trial_frame.image(pixels[0].reshape(side, -1), (0.686, 0.58, 1.0, 1.0), title=title, empty=_WAIT))
    return Frame(panels, _alt(trial, sample, chosen), badge=model.badge, height=660)


def _membranes(
    model: Look, trial: Trial | None, found: Membranes | None, colours: dict[int, str], until: float,
    box: trial_frame.Box,
) -> Panel:  # fmt: skip
    time = trial_frame.time_axis(model.network.config)
    if trial is None or found is None or not colours:
        return Panel("membranes", "Membrane", time, Axis("membrane", 0.0, 1.0, unit="mV"), (), box, empty=_WAIT)
    if len(colours) == 1:
        return _one(model, trial, found, *next(iter(colours.items())), until, box)
    return _many(model, trial, found, colours, until, box)


def _spikes_of(trial: Trial, neuron: int, until: float) -> np.ndarray:
    times, units = trial.seen.hidden_spikes.sample(0)
    return times[(units == neuron) & (times <= until)]


def _upright(times: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a short upright line at every time."""
    x = np.repeat(times, 3)
    return x, np.tile(np.array([low, high, np.nan]), len(times))


def _one(
    model: Look, trial: Trial, found: Membranes, neuron: int, colour: str, until: float, box: trial_frame.Box
) -> Panel:
    """Return one neuron's membrane in mV, with the samples that the ADC takes of it."""
    v, samples = found.membranes_mv[:, neuron], found.samples_mv[:, neuron]
    threshold, leak = float(found.threshold_mv[neuron]), float(found.leak_mv[neuron])
    low, top = span(v, samples, np.array([threshold, leak]), pad=0.04)
    high = top + 0.16 * (top - low)
    fine, coarse = found.time_us <= until, (found.sample_us <= until) & (found.sample_us >= 0)
    times = _spikes_of(trial, neuron, until)
    x, y = _upright(times, top + 0.03 * (high - low), high - 0.02 * (high - low))
    layers: list[Layer] = [
        Mark(threshold, f"threshold {threshold:.0f} mV"),
        Mark(leak, f"leak {leak:.0f} mV"),
        Series("membrane", found.time_us[fine], v[fine], colour=colour, width=1.8),
        Series("column ADC", found.sample_us[coarse], samples[coarse], style="dots", colour="#000000", width=3.6),
        Series("spikes", x, y, colour=trial_frame.HIDDEN, width=1.6),
        *trial_frame.now(until, model.network.config),
    ]
    count = f"{len(times)} spike" + ("" if len(times) == 1 else "s")
    return Panel(
        "membranes", f"Hidden neuron {neuron}", trial_frame.time_axis(model.network.config),
        Axis("membrane", low, high, unit="mV"), layers, box, note=count,
    )  # fmt: skip


def _many(
    model: Look, trial: Trial, found: Membranes, colours: dict[int, str], until: float, box: trial_frame.Box
) -> Panel:
    """Return several neurons' membranes one above the other, each between its own leak and threshold."""
    chosen = list(colours)
    distance = found.threshold_mv[chosen] - found.leak_mv[chosen]
    above = (found.membranes_mv[:, chosen] - found.leak_mv[chosen]) / distance
    low, high = min(0.0, float(above.min())), max(1.0, float(above.max()))
    fine = found.time_us <= until
    ends = end_us(model.network.config) * np.array([0.0, 0.5, 1.0])
    layers: list[Layer] = []

    def lane(k: int, values: np.ndarray) -> np.ndarray:
        return k - 0.45 + 0.8 * (values - low) / (high - low)

    for k, neuron in enumerate(chosen):
        for level in (0.0, 1.0):
            layers.append(Series("", ends, lane(k, np.full(3, level)), style="dashed", colour=GREY, width=0.8))
        colour = colours[neuron]
        layers.append(Series("", found.time_us[fine], lane(k, above[fine, k]), colour=colour, width=1.4))
        x, y = _upright(_spikes_of(trial, neuron, until), k + 0.36, k + 0.46)
        layers.append(Series("", x, y, colour=trial_frame.HIDDEN, width=1.6))
    layers += trial_frame.now(until, model.network.config)
    names = tuple(str(neuron) for neuron in chosen)
    return Panel(
        "membranes", f"{len(chosen)} membranes, each between its leak and its threshold (dashed)",
        trial_frame.time_axis(model.network.config), Axis("hidden neuron", -0.55, len(chosen) - 0.45, names=names),
        layers, box,
    )  # fmt: skip


def _alt(trial: Trial | None, sample: int, chosen: tuple[int, ...]) -> str:
    if trial is None:
        return "One sample on the emulated chip: nothing computed yet."
    spikes = len(trial.seen.hidden_spikes.sample(0)[0])
    which = ", ".join(map(str, chosen)) or "none"
    return (
        f"Test sample {sample} on the emulated chip: {trial.sentence()}. {spikes} hidden spikes; membranes shown of "
        f"hidden neurons {which}."
    )
