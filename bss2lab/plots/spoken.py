"""Draw spoken words on their way to the chip, and what a linear read-out makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.plots import style
from bss2lab.plots.scales import plain_ticks
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray

_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": style.REFERENCE, "linestyle": ":", "marker": "^"},
    {"color": style.TRAIN, "linestyle": "--", "marker": "s"},
    {"color": style.TEST, "linestyle": "-", "marker": "o"},
)
_MARKS = ("D", "v", "P", "X")


def draw_on_chip(
    recording: tuple[Float[ndarray, "events"], Int[ndarray, "events"]],
    encoded: Mapping[str, Spikes],
    *,
    n_channels: int,
    speed_up: float,
    data: str = "",
) -> style.PaperFigure:
    """One word before and after it is laid out on the chip: rasters in seconds and in microseconds.

    Args:
        recording: times in seconds and cochlea channels of all spikes.
        encoded: title -> input spikes of the chip; the first sample is drawn.
        n_channels: number of cochlea channels.
        speed_up: seconds of sound per second of chip time.
        data: what the word is, for the badge.

    Returns:
        A new figure: the recording, then one panel per title; their time axes show the same interval.
    """
    last_s = 1.02 * float(recording[0].max())
    with style.paper():
        figure = style.PaperFigure(figsize=(2.8 * (1 + len(encoded)), 2.9))
        row = figure.subplots(1, 1 + len(encoded))
        row[0].plot(recording[0], recording[1], ",", color=style.INPUT, rasterized=True)
        title = f"from the cochlea: {len(recording[0]):,} spikes"
        row[0].set(xlabel="time of the sound (s)", ylabel="cochlea channel", title=title)
        row[0].set(xlim=(0, last_s), ylim=(n_channels - 0.5, -0.5))
        for axes, (name, spikes) in zip(row[1:], encoded.items(), strict=True):
            times_us, units = spikes.sample(0)
            axes.plot(times_us, units, ".", color=style.HIDDEN, markersize=1.6, rasterized=True)
            axes.set(xlabel="time on the chip (µs)", title=f"{name}: {len(times_us):,} spikes")
            axes.set(xlim=(0, 1e6 * last_s / speed_up), ylim=(spikes.n_units - 0.5, -0.5))
        row[1].set_ylabel("input of the chip")
        style.badge(figure, emulated=False, data=data)
    return figure


def draw_readout(
    bin_ms: Float[ndarray, "k"],
    accuracies: Mapping[str, Float[ndarray, "k"]],
    controls: Mapping[str, float],
    *,
    control_ms: float,
    chance: float,
    data: str = "",
) -> style.PaperFigure:
    """Accuracy of a linear read-out against the width of the bins in which it counts spikes.

    Args:
        bin_ms: widths in ms of sound; the largest is the whole recording.
        accuracies: who is heard -> accuracy at each width, 0 … 1.
        controls: what was done to the spike times -> accuracy, drawn at ``control_ms``.
        control_ms: width of the bins of the controls in ms.
        chance: accuracy of guessing.
        data: what the words are, for the badge.

    Returns:
        A new figure of one panel: finer bins to the right.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(7.4, 3.3))
        axes = figure.subplots()
        for (name, values), look in zip(accuracies.items(), _LOOKS, strict=False):
            axes.plot(bin_ms, 100 * np.asarray(values), linewidth=1.4, markersize=5, label=name, **look)
        for (name, value), marker in zip(controls.items(), _MARKS, strict=False):
            axes.plot([control_ms], [100 * value], marker, color="black", markerfacecolor="white", markersize=7,
                      linestyle="none", label=name)  # fmt: skip
        axes.axhline(100 * chance, color=style.REFERENCE, linewidth=0.8)
        axes.text(bin_ms.max(), 100 * chance + 1, "guessing", va="bottom", fontsize=7.5, color=style.REFERENCE)
        axes.set(xscale="log", xlim=(1.15 * bin_ms.max(), bin_ms.min() / 1.15), ylim=(0, 103))
        plain_ticks(axes.xaxis, bin_ms.tolist(), [f"{width:.0f}" for width in bin_ms])
        axes.set(xlabel="width of the bins in which spikes are counted (ms of sound)", ylabel="words heard (%)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
        style.badge(figure, emulated=False, data=data)
    return figure


def draw_scores(
    scores: Float[ndarray, "classes"], classes: tuple[str, ...], *, title: str = "", data: str = ""
) -> style.PaperFigure:
    """The scores that a read-out gives to every word it knows.

    Args:
        scores: of each class; the highest is the answer.
        classes: their names.
        title: what was said.
        data: what the word is, for the badge.

    Returns:
        A new figure of one panel: a bar per word, the highest one coloured.
    """
    best = int(np.argmax(scores))
    with style.paper():
        figure = style.PaperFigure(figsize=(7.4, 2.4))
        axes = figure.subplots()
        colours = [style.TEST if k == best else "#B5B5B5" for k in range(len(classes))]
        axes.bar(np.arange(len(classes)), scores, color=colours, width=0.75)
        axes.axhline(0, color="black", linewidth=0.7)
        axes.set(xticks=range(len(classes)), xlim=(-0.6, len(classes) - 0.4), ylabel="score (1: certain)")
        axes.set_xticklabels(classes, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_title(f"{title}; heard: {classes[best]}" if title else f"heard: {classes[best]}")
        style.badge(figure, emulated=False, data=data)
    return figure
