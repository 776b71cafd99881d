"""Draw calibration: what codes do, how they are searched, and what it makes of a chip's spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bss2lab.chip.calibration import Calibration, Targets, unit_of
from bss2lab.chip.codes import Codes
from bss2lab.chip.instruments import MadcRecording
from bss2lab.chip.measure import Measurement
from bss2lab.chip.transfer import CODE_MAX, POTENTIALS
from bss2lab.plots import style

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray

NAMES = {
    "tau_mem": "membrane time constant",
    "tau_syn_exc": "exc. synaptic time constant",
    "tau_syn_inh": "inh. synaptic time constant",
    "gain_exc": "exc. synaptic gain",
    "gain_inh": "inh. synaptic gain",
    "leak": "leak",
    "reset": "reset",
    "threshold": "threshold",
    "refractory": "refractory time",
    "cadc_offset": "offset of the ADC channel",
    "cadc_gain": "gain of the ADC channel",
    "threshold − leak": "threshold − leak",
}
"""What measured quantities are called on axes."""

_MARKERS = "osD^vP*X"
_ROWS = (style.PALETTE[4], style.PALETTE[0], style.PALETTE[1], style.PALETTE[2])


def _label(quantity: str, unit: str) -> str:
    name = NAMES.get(quantity, quantity)
    return f"{name} ({unit})" if unit else name


def draw_transfer(
    sweeps: Mapping[str, tuple[Int[ndarray, "k"], Float[ndarray, "k n"]]],
    neurons: Sequence[int],
    *,
    targets: Targets,
    codes: Codes | None = None,
) -> style.PaperFigure:
    """Measured value against code for several circuits, the target, and the codes that were found for it.

    Args:
        sweeps: parameter -> codes, and what all neurons showed there, in the units of the targets.
        neurons: which circuits to draw.
        targets: drawn as a line (their mean).
        codes: codes that were found: drawn as rings at the target; None: no rings.

    Returns:
        A new figure with one panel per parameter; time constants and gains on logarithmic axes.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(3.5 * len(sweeps) + 0.6, 3.3))
        panels = figure.subplots(1, len(sweeps), squeeze=False)[0]
        for axes, (name, (tried, values)) in zip(panels, sweeps.items(), strict=True):
            target = getattr(targets, name)
            axes.axhline(float(np.mean(target)), color="black", linestyle="--", linewidth=1.2, label="target")
            for k, n in enumerate(neurons):
                look = {"color": style.PALETTE[k % 10], "marker": _MARKERS[k % len(_MARKERS)], "markersize": 3.5}
                axes.plot(tried, values[:, n], linewidth=1, label=f"neuron {n}", **look)
                if codes is not None:
                    axes.plot(
                        getattr(codes, name)[n], target[n], "o", markersize=9, markerfacecolor="none",
                        markeredgecolor=look["color"], markeredgewidth=1.6, zorder=4, label="_found",
                    )  # fmt: skip
            axes.set(xlabel=f"code of {_of(name)}", ylabel=_label(name, unit_of(name)))
            if name not in POTENTIALS:
                axes.set(xscale="log", yscale="log")
                _plain_ticks(axes)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center")
        style.badge(figure, emulated=True)
    return figure


def _of(parameter: str) -> str:
    return NAMES[parameter].removesuffix(" time constant") + (" bias" if parameter not in POTENTIALS else "")


def _plain_ticks(axes: Axes) -> None:
    """Round numbers on both logarithmic axes instead of powers of ten."""
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        _plain_axis(axis, *ends)


def _plain_axis(axis: Axis, low: float, high: float) -> None:
    steps = (1, 2, 5) if high > 12 * low else (1, 2, 3, 4, 5, 6, 8)
    ladder = [m * 10.0**e for e in range(-5, 6) for m in steps]
    axis.set_major_locator(FixedLocator([tick for tick in ladder if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def draw_spreads(
    groups: Mapping[str, Mapping[str, Float[ndarray, "n"]]], units: Mapping[str, str]
) -> style.PaperFigure:
    """Histograms of measured quantities over the neurons, one row per group: for example before and after.

    Args:
        groups: label of the row -> quantity -> values; NaN is left out. Every group has the same quantities.
        units: quantity -> unit. Times, gains and differences say their spread in %, potentials in their unit.

    Returns:
        A new figure; columns share their horizontal axis.
    """
    names = list(units)
    with style.paper():
        figure = style.PaperFigure(figsize=(2.55 * len(names) + 0.4, 1.55 * len(groups) + 0.7))
        grid = figure.subplots(len(groups), len(names), sharex="col", squeeze=False)
        for column, name in enumerate(names):
            every = np.concatenate([group[name] for group in groups.values()])
            bins = np.linspace(np.nanmin(every), np.nanmax(every), 41)
            for row, (label, group) in enumerate(groups.items()):
                axes, values = grid[row, column], group[name][np.isfinite(group[name])]
                colour = _ROWS[row % len(_ROWS)]
                axes.hist(values, bins, color=colour, edgecolor="black", linewidth=0.4, histtype="stepfilled")
                axes.set_title(f"SD {spread_text(name, values, units[name])}", loc="right", fontsize=8.5)
                axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
                if column == 0:
                    axes.set_ylabel(f"{label}\nneurons")
            grid[-1, column].set_xlabel(_label(name, units[name]))
        style.badge(figure, emulated=True)
    return figure


def spread_text(quantity: str, values: Float[ndarray, "n"], unit: str) -> str:
    """Standard deviation as it is published: relative for all but potentials and the ADC's offset."""
    sd = float(np.nanstd(values))
    if quantity in POTENTIALS or quantity == "cadc_offset":
        return f"{sd:.1f} {unit}"
    return f"{100 * sd / float(np.nanmean(values)):.1f} %"


def draw_against_truth(pairs: Sequence[tuple[Measurement, Float[ndarray, "n"]]]) -> style.PaperFigure:
    """Estimates against the hidden truth, with error bars, and the errors in units of the stated uncertainty.

    Args:
        pairs: measurement, and the hidden truth in its unit.

    Returns:
        A new figure: one column per measurement.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(3.1 * len(pairs), 4.9))
        grid = figure.subplots(2, len(pairs), squeeze=False, gridspec_kw={"height_ratios": (1.6, 1)})
        reach = 4.5
        bins = np.linspace(-reach, reach, 28)
        for (above, below), (m, truth) in zip(grid.T, pairs, strict=True):
            ok = np.isfinite(m.value)
            ends = np.array([truth[ok].min(), truth[ok].max()])
            above.plot(ends, ends, color="black", linestyle="--", linewidth=1, label="estimate = truth", zorder=3)
            above.errorbar(
                truth[ok], m.value[ok], m.uncertainty[ok], fmt="o", markersize=3, color=style.HIDDEN,
                elinewidth=1, alpha=0.6, label="neuron ± SD",
            )  # fmt: skip
            above.set(xlabel=f"hidden truth ({m.unit})", ylabel=f"estimate ({m.unit})", title=NAMES[m.quantity])
            pull = (m.value[ok] - truth[ok]) / m.uncertainty[ok]
            below.hist(
                np.clip(pull, -reach, reach), bins, color="#BBBBBB", edgecolor="black", linewidth=0.4,
                histtype="stepfilled",
            )  # fmt: skip
            x = np.linspace(-reach, reach, 200)
            expected = ok.sum() * (bins[1] - bins[0]) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
            below.plot(x, expected, color=style.TEST, linewidth=1.4)
            below.set_title(f"mean {pull.mean():+.2f}, SD {pull.std():.2f}", loc="right", fontsize=8.5)
            below.set_xlabel("(estimate − truth) / its SD")
        grid[1, 0].set_ylabel("neurons")
        grid[0, 0].legend(loc="upper left")
        style.badge(figure, emulated=True)
    return figure


def draw_search(
    codes: Int[ndarray, "k n"],
    readings: Float[ndarray, "k n"],
    target: float,
    *,
    neurons: Sequence[int],
    what: str,
    unit: str,
) -> style.PaperFigure:
    """A search for codes that converges: codes and readings of several neurons, and the spread of all.

    Args:
        codes: codes tried in each step, [step, neuron].
        readings: what was read there, [step, neuron].
        target: what it should be.
        neurons: which neurons to draw as lines.
        what, unit: what was read, for the axes.

    Returns:
        A new figure with three panels.
    """
    steps = np.arange(1, len(codes) + 1)
    with style.paper():
        figure = style.PaperFigure(figsize=(9.6, 3.0))
        tried, read, left = figure.subplots(1, 3)
        for k, n in enumerate(neurons):
            look = {"color": style.PALETTE[k % 10], "marker": _MARKERS[k % len(_MARKERS)], "markersize": 3.5}
            tried.plot(steps, codes[:, n], linewidth=1, label=str(n), **look)
            read.plot(steps, readings[:, n], linewidth=1, **look)
        read.axhline(target, color="black", linestyle="--", linewidth=1.2, zorder=1, label="target")
        error = np.sqrt(np.nanmean(np.square(readings - target), axis=1))
        left.plot(steps, error, "o-", color="black", markersize=4, linewidth=1.2)
        left.set(ylabel=f"rms error of all neurons ({unit})", yscale="log")
        _plain_axis(left.yaxis, *left.get_ylim())
        tried.set(ylabel="code tried", ylim=(0, CODE_MAX))
        read.set(ylabel=f"{what} ({unit})")
        tried.legend(title="neuron", loc="upper right", ncols=2)
        read.legend(loc="upper right")
        for axes in (tried, read, left):
            axes.set_xlabel("step of the search")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.badge(figure, emulated=True)
    return figure


def draw_codes(calibration: Calibration, parameters: Sequence[str]) -> style.PaperFigure:
    """Histograms of the codes that a calibration found, and the one code of all neurons before it.

    Args:
        calibration: what was found.
        parameters: which parameters to draw.

    Returns:
        A new figure; the spread in the title is in % for time constants and in codes for potentials.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(2.55 * len(parameters) + 0.4, 2.6))
        panels = figure.subplots(1, len(parameters), squeeze=False)[0]
        for axes, name in zip(panels, parameters, strict=True):
            codes = getattr(calibration.codes, name).astype(float)
            axes.hist(codes, 32, color=style.HIDDEN, edgecolor="black", linewidth=0.4, histtype="stepfilled")
            equal = calibration.profile.transfer.nominal_code(name)
            axes.axvline(equal, color=style.TEST, linestyle="--", linewidth=1.4, label="equal codes")
            relative = name not in POTENTIALS
            sd = f"{100 * codes.std() / codes.mean():.0f} %" if relative else f"{codes.std():.0f} codes"
            axes.set_title(f"SD {sd}", loc="right", fontsize=8.5)
            axes.set_xlabel(f"code of {_of(name)}")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        panels[0].set_ylabel("neurons")
        panels[0].margins(y=0.25)
        panels[0].legend(loc="upper right", fontsize=7.5)
        style.badge(figure, emulated=True)
    return figure


def draw_reach(
    reach: Mapping[str, tuple[Float[ndarray, "k"], Float[ndarray, "k"]]], target: float
) -> style.PaperFigure:
    """Share of the neurons for which there is a code, against the target asked for.

    Args:
        reach: parameter -> targets in µs, and the share of neurons that reach each, 0 … 1.
        target: the usual target, drawn as a line.

    Returns:
        A new figure with a logarithmic horizontal axis.
    """
    styles = ("-", (0, (5, 1.5)), (0, (1, 1)))
    with style.paper():
        figure = style.PaperFigure(figsize=(6.2, 3.2))
        axes = figure.subplots()
        for k, (name, (targets, share)) in enumerate(reach.items()):
            axes.plot(
                targets, 100 * np.asarray(share), color=style.PALETTE[k], linestyle=styles[k % 3], linewidth=1.8,
                label=NAMES[name],
            )  # fmt: skip
        axes.axvline(target, color="black", linestyle="--", linewidth=1, label=f"usual target, {target:g} µs")
        axes.set(xlabel="target (µs)", ylabel="neurons that reach it (%)", xscale="log", ylim=(-3, 106))
        _plain_axis(axes.xaxis, *axes.get_xlim())
        figure.legend(loc="outside lower center", ncols=len(reach) + 1, handlelength=2.4)
        style.badge(figure, emulated=True)
    return figure


def draw_without_input(
    record: MadcRecording,
    neurons: Sequence[int],
    *,
    leak_mv: Float[ndarray, "k"],
    threshold_mv: Float[ndarray, "k"],
    spikes: Sequence[int],
) -> style.PaperFigure:
    """Membranes of neurons without any input, with their leak and threshold: a leak above it makes a neuron fire.

    Args:
        record: fast-ADC recording, one trace per neuron.
        neurons: their numbers.
        leak_mv, threshold_mv: their potentials, mV.
        spikes: how often each fired during the recording.

    Returns:
        A new figure with one panel per neuron, on one vertical scale.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(2.7 * len(neurons) + 1.2, 2.8))
        panels = figure.subplots(1, len(neurons), sharey=True, squeeze=False)[0]
        for k, (axes, n) in enumerate(zip(panels, neurons, strict=True)):
            axes.plot(record.time_us, record.samples_mv[k], color=style.HIDDEN, linewidth=0.9, label="membrane")
            axes.axhline(threshold_mv[k], color=style.TEST, linestyle="--", linewidth=1.4, label="threshold")
            axes.axhline(leak_mv[k], color="black", linestyle=":", linewidth=1.4, label="leak")
            axes.set(xlabel="time (µs)", title=f"neuron {n}: {spikes[k]} spikes")
        panels[0].set_ylabel("membrane (mV)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center")
        style.badge(figure, emulated=True)
    return figure
