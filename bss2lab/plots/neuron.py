"""Draw what one neuron does: responses to spikes, their sum, what two converters see of them, and its firing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from bss2lab.chip.instruments import CadcRecording, MadcRecording
from bss2lab.plots import style
from bss2lab.quantize import CADC_MV_PER_LSB

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray

_FAST, _SAMPLE, _MODEL = "#8A8A8A", style.PALETTE[1], "#000000"
_TIME, _MEMBRANE = "time (µs)", "membrane (mV)"


def draw_responses(
    fast: Mapping[str, MadcRecording],
    column: Mapping[str, CadcRecording],
    neuron: int,
    *,
    models: Mapping[str, tuple[ndarray, ndarray]] | None = None,
) -> style.PaperFigure:
    """One neuron's response to each stimulus: fast-ADC trace, samples of the column ADC, and a fitted curve.

    Args:
        fast: title -> fast-ADC recording of this neuron (its first trace is drawn).
        column: title -> recording of the column ADC (the first run is drawn).
        neuron: number of the neuron.
        models: title -> time (µs) and membrane (mV) of a curve.

    Returns:
        A new figure with one panel per title, on one vertical scale.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(4.3 * len(fast), 3.0))
        panels = figure.subplots(1, len(fast), sharey=True, squeeze=False)[0]
        for axes, (title, trace) in zip(panels, fast.items(), strict=True):
            axes.plot(trace.time_us, trace.samples_mv[0], color="#B5B5B5", linewidth=2.6, label="fast ADC")
            record = column[title]
            digitised = record.samples_lsb[0, :, neuron] * CADC_MV_PER_LSB
            axes.plot(record.time_us, digitised, "o", color=_SAMPLE, markersize=4.5, label="column ADC")
            if models is not None:
                axes.plot(*models[title], color=_MODEL, linewidth=0.9, linestyle="--", label="fit")
            axes.set(xlabel=_TIME, title=title)
        panels[0].set_ylabel(_MEMBRANE)
        panels[0].legend(loc="best")
        style.badge(figure, emulated=True)
    return figure


def draw_summation(
    time_us: Float[ndarray, "t"], parts: Mapping[str, Float[ndarray, "t"]], together: Float[ndarray, "t"]
) -> style.PaperFigure:
    """Responses to single stimuli, their sum, and the response to all of them together.

    Args:
        time_us: time, µs.
        parts: label -> deflection from rest that one stimulus causes, mV.
        together: deflection that all of them cause, mV.

    Returns:
        A new figure: the traces, and below them the difference between response and sum.
    """
    total = np.sum(list(parts.values()), axis=0)
    styles = ("-", (0, (5, 1.5)), (0, (1, 1)), "-.")
    with style.paper():
        figure = style.PaperFigure(figsize=(7.0, 4.0))
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
        for k, (label, trace) in enumerate(parts.items()):
            above.plot(
                time_us, trace, color=style.PALETTE[k], linestyle=styles[k % len(styles)], linewidth=1.1, label=label
            )
        above.plot(time_us, together, color=_FAST, linewidth=2.4, label="all together, recorded")
        above.plot(time_us, total, color=_MODEL, linewidth=1.0, linestyle="--", label="sum of the single ones")
        below.plot(time_us, together - total, color=_FAST, linewidth=0.8, label="difference")
        for axes in (above, below):
            axes.axhline(0, color=style.REFERENCE, linewidth=0.5, zorder=1)
        most = 1.3 * float(np.abs(together - total).max()) + 1e-9
        below.set(xlabel=_TIME, ylabel="difference\n(mV)", ylim=(-most, most))
        above.set_ylabel("deflection from rest (mV)")
        above.legend(loc="upper right")
        figure.align_ylabels([above, below])
        style.badge(figure, emulated=True)
    return figure


def draw_converters(
    fast: MadcRecording, column: CadcRecording, neuron: int, *, rest_mv: Mapping[str, Float[ndarray, "k"]]
) -> style.PaperFigure:
    """What two converters see: one neuron finely, or all of them coarsely; and the noise of both at rest.

    Args:
        fast: recording of this neuron by the fast ADC (its first trace is drawn).
        column: recording of all neurons by the column ADC (its first run is drawn).
        neuron: number of the neuron.
        rest_mv: label -> samples at rest, mV: their deviation from the mean is drawn as a histogram.

    Returns:
        A new figure with three panels.
    """
    samples = column.samples_lsb[0]
    with style.paper():
        figure = style.PaperFigure(figsize=(10.0, 3.0))
        one, all_, noise = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1.25, 1.25, 1)})
        one.plot(fast.time_us, fast.samples_mv[0], color=_FAST, linewidth=0.7, label="fast ADC")
        one.plot(
            column.time_us, samples[:, neuron] * CADC_MV_PER_LSB, "o",
            color=_SAMPLE, markersize=4, label="column ADC",
        )  # fmt: skip
        one.set(xlabel=_TIME, ylabel=_MEMBRANE, title=f"neuron {neuron}")
        one.legend(loc="upper right")
        half = (column.time_us[1] - column.time_us[0]) / 2
        extent = (column.time_us[0] - half, column.time_us[-1] + half, samples.shape[1] - 0.5, -0.5)
        picture = all_.imshow(samples.T, aspect="auto", extent=extent, cmap="cividis", interpolation="nearest")
        all_.annotate(
            "", (extent[0], neuron), (extent[0] - 0.04 * (extent[1] - extent[0]), neuron), annotation_clip=False,
            arrowprops={"arrowstyle": "-|>", "color": _SAMPLE},
        )  # fmt: skip
        all_.set(xlabel=_TIME, ylabel="neuron", title="column ADC, one run")
        figure.colorbar(picture, ax=all_, label="sample (LSB)")
        _draw_noise(noise, rest_mv)
        style.badge(figure, emulated=True)
    return figure


def _draw_noise(axes: Axes, rest_mv: Mapping[str, ndarray]) -> None:
    deviations = {label: values - np.mean(values) for label, values in rest_mv.items()}
    reach = 4 * max(float(d.std()) for d in deviations.values())
    bins = np.arange(-np.ceil(reach / CADC_MV_PER_LSB) - 0.5, np.ceil(reach / CADC_MV_PER_LSB) + 1) * CADC_MV_PER_LSB
    for (label, values), filled, colour in zip(deviations.items(), (True, False), (_FAST, _SAMPLE), strict=False):
        text = f"{label}: SD {values.std():.1f} mV"
        share = np.full(len(values), 100 / len(values))
        axes.hist(
            values, bins, weights=share, histtype="stepfilled" if filled else "step",
            color=colour, linewidth=1.6, label=text,
        )  # fmt: skip
    axes.set(xlabel="sample − mean (mV)", ylabel="samples (%)", title="noise at rest")
    axes.margins(y=0.45)
    axes.legend(loc="upper center", fontsize=7.5, handlelength=1.2)


def draw_spiking(
    record: MadcRecording,
    *,
    threshold_mv: float,
    reset_mv: float,
    refractory_us: float,
    resets: Int[ndarray, "k"],
    shown_us: tuple[float, float] | None = None,
) -> style.PaperFigure:
    """A firing neuron, seen by the fast ADC: threshold, reset potential and refractory time marked.

    Args:
        record: fast-ADC recording; the first trace is drawn.
        threshold_mv, reset_mv: potentials to mark, mV.
        refractory_us: refractory time to mark, µs.
        resets: samples right before each reset.
        shown_us: interval drawn on the left; everything if None.

    Returns:
        A new figure: the trace on the left; on the right all intervals laid over one another, time from the reset.
    """
    time_us, trace = record.time_us, record.samples_mv[0]
    with style.paper():
        figure = style.PaperFigure(figsize=(9.4, 3.2))
        course, one = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (1.5, 1)})
        course.plot(time_us, trace, color=style.HIDDEN, linewidth=0.9, label="fast ADC")
        course.set(xlabel=_TIME, ylabel=_MEMBRANE)
        start, stop = (time_us[0], time_us[-1]) if shown_us is None else shown_us
        seen = (time_us >= start) & (time_us <= stop)
        course.set_xlim(start, stop)
        step = time_us[1] - time_us[0]
        length = int(np.median(np.diff(resets)))
        before = int(1.0 / step)
        for at in resets[(resets >= before) & (resets + length < len(trace))]:
            part = slice(at - before, at + length)
            one.plot(time_us[part] - time_us[at] - step / 2, trace[part], color=style.HIDDEN, linewidth=0.5, alpha=0.5)
        one.axvspan(0, refractory_us, color=style.PALETTE[4], alpha=0.3, linewidth=0)
        for axes in (course, one):
            axes.axhline(threshold_mv, color=_SAMPLE, linestyle="--", linewidth=1.2)
            axes.axhline(reset_mv, color=_MODEL, linestyle=":", linewidth=1.2)
        low, high = min(reset_mv, float(trace[seen].min())), max(threshold_mv, float(trace[seen].max()))
        room = high - low
        course.set_ylim(low - 0.20 * room, high + 0.16 * room)
        one.set(xlabel="time from the reset (µs)", xlim=(-1.0, length * step))
        right = length * step
        one.text(right, threshold_mv + 0.025 * room, "threshold", color=_SAMPLE, ha="right", va="bottom", fontsize=8.5)
        one.text(right, reset_mv - 0.03 * room, "reset", color=_MODEL, ha="right", va="top", fontsize=8.5)
        middle = reset_mv + 0.6 * (threshold_mv - reset_mv)
        one.text(
            refractory_us / 2, middle, f"refractory\n{refractory_us:.2f} µs", ha="center", va="center", fontsize=8.5
        )
        style.badge(figure, emulated=True)
    return figure


def draw_rates(
    leak_mv: Float[ndarray, "k"],
    rate_khz: Float[ndarray, "k"],
    *,
    predicted: tuple[Float[ndarray, "p"], Float[ndarray, "p"]],
    threshold_mv: float,
    zoom_mv: float = 20.0,
) -> style.PaperFigure:
    """How often a neuron fires against the potential that its leak pulls it to.

    Args:
        leak_mv: leak potentials, mV.
        rate_khz: firing rates counted there, kHz.
        predicted: leak potentials (mV) and rates (kHz) of the formula.
        threshold_mv: the neuron's threshold, mV.
        zoom_mv: distance from the threshold shown on the right.

    Returns:
        A new figure: everything on the left, the neighbourhood of the threshold on the right.
    """
    near = np.abs(leak_mv - threshold_mv) <= zoom_mv
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 3.1))
        panels = figure.subplots(1, 2)
        for axes in panels:
            axes.axvline(threshold_mv, color=_SAMPLE, linestyle=":", linewidth=1.4, label="threshold")
            axes.plot(*predicted, color=_MODEL, linewidth=1.2, label="formula")
            axes.plot(leak_mv, rate_khz, "o", color=style.HIDDEN, markersize=5, label="counted spikes")
            axes.set(xlabel="leak potential (mV)", ylabel="firing rate (kHz)")
        top = float(np.max(rate_khz[near], initial=1.0))
        panels[0].set(ylim=(-0.04 * float(np.max(rate_khz)), None), title="all")
        panels[1].set(xlim=(threshold_mv - zoom_mv, threshold_mv + zoom_mv), ylim=(-0.04 * top, 1.25 * top))
        panels[1].set_title("near the threshold")
        panels[0].legend(loc="lower right")
        style.badge(figure, emulated=True)
    return figure


def draw_estimates(
    estimates: Mapping[str, Sequence[tuple[str, float, float]]], truths: Mapping[str, float]
) -> style.PaperFigure:
    """Several estimates of a neuron's parameters with their error bars, and the hidden truth as a line.

    Args:
        estimates: axis label -> estimates as (who, value, one standard deviation).
        truths: axis label -> hidden truth.

    Returns:
        A new figure with one panel per axis label.
    """
    markers = ("s", "o", "D", "^")
    with style.paper():
        figure = style.PaperFigure(figsize=(2.35 * len(estimates), 2.9))
        panels = figure.subplots(1, len(estimates), squeeze=False)[0]
        for axes, (name, rows) in zip(panels, estimates.items(), strict=True):
            axes.axhline(truths[name], color=_MODEL, linestyle="--", linewidth=1.2, label="hidden truth")
            for k, (who, value, error) in enumerate(rows):
                axes.errorbar(
                    k, value, error, fmt=markers[k % len(markers)], color=style.PALETTE[k],
                    markersize=6, capsize=4, linewidth=1.5, label=who,
                )  # fmt: skip
            reach = 1.5 * max(abs(value - truths[name]) + error for _, value, error in rows)
            axes.set(
                ylabel=name, xticks=range(len(rows)), xlim=(-0.7, len(rows) - 0.3),
                ylim=(truths[name] - reach, truths[name] + reach),
            )  # fmt: skip
            axes.set_xticklabels([who for who, _, _ in rows])
            axes.ticklabel_format(axis="y", useOffset=False)
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].legend(handles[:1], labels[:1], loc="lower center")
        style.badge(figure, emulated=True)
    return figure


def draw_fits(
    fits: Mapping[str, tuple[ndarray, ndarray, ndarray]], *, what: str = "membrane", unit: str = "mV"
) -> style.PaperFigure:
    """Averaged samples and the curve fitted to them, and below each what the fit leaves.

    Args:
        fits: title -> time (µs), averaged samples, fitted curve at the same times.
        what, unit: what was recorded, for the axes.

    Returns:
        A new figure with one column per title.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(4.3 * len(fits), 3.8))
        grid = figure.subplots(2, len(fits), sharex="col", squeeze=False, gridspec_kw={"height_ratios": (3, 1)})
        for (above, below), (title, (time_us, data, curve)) in zip(grid.T, fits.items(), strict=True):
            above.plot(time_us, data, "o", color=_SAMPLE, markersize=4, label="mean of all runs")
            above.plot(time_us, curve, color=_MODEL, linewidth=1.2, label="fit")
            above.set(title=title)
            below.axhline(0, color=style.REFERENCE, linewidth=0.6)
            below.plot(time_us, data - curve, "o", color=_SAMPLE, markersize=3)
            most = 1.3 * float(np.abs(data - curve).max()) + 1e-9
            below.set(xlabel=_TIME, ylim=(-most, most))
        grid[0, 0].set_ylabel(f"{what} ({unit})")
        grid[1, 0].set_ylabel(f"data − fit\n({unit})")
        grid[0, 0].legend(loc="best")
        figure.align_ylabels(grid[:, 0])
        style.badge(figure, emulated=True)
    return figure
