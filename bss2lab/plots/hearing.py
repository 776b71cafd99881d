"""Draw how sound becomes spikes: the sound, the basilar membrane, hair cells and bushy cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from bss2lab.datasets.sound import Sound
from bss2lab.plots import style
from bss2lab.plots.scales import plain_ticks

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int
    from numpy import ndarray

_FIBRE, _BUSHY, _THEORY = style.PALETTE[0], style.PALETTE[1], "#000000"
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": _FIBRE, "linestyle": "-", "marker": "o"},
    {"color": _BUSHY, "linestyle": "--", "marker": "s"},
    {"color": style.PALETTE[2], "linestyle": "-.", "marker": "^"},
    {"color": style.PALETTE[3], "linestyle": ":", "marker": "D"},
)
_DEEPEST_DB = -50.0
_COLOURS = mpl.colormaps["cividis"].resampled(12)  # steps that can be told apart, and small pictures
_KHZ = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def draw_sound(
    sound: Sound, parts: Mapping[str, tuple[float, float]] | None = None, *, data: str = ""
) -> style.PaperFigure:
    """One sound: its samples, and below them its spectrogram (windows of 10 ms).

    Args:
        sound: the sound.
        parts: name -> (begin, end) in seconds of parts to mark.
        data: what the sound is, for the badge.

    Returns:
        A new figure of two panels with a common time axis in seconds.
    """
    from scipy.signal import ShortTimeFFT  # a second that importing the package need not pay
    from scipy.signal.windows import hann

    rate, samples = sound.sample_rate_hz, np.asarray(sound.samples, np.float64)
    window = hann(max(2, min(rate // 100, len(samples))), sym=False)
    stft = ShortTimeFFT(window, hop=max(1, len(window) // 2), fs=rate, scale_to="psd")
    power = stft.spectrogram(samples)
    loudest = float(power.max()) or 1.0  # (silence)
    level_db = 10 * np.log10(np.maximum(power / loudest, 10 ** (_DEEPEST_DB / 10)))
    with style.paper():
        figure = style.PaperFigure(figsize=(6.4, 3.4))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.7))
        above.plot(np.arange(len(samples)) / rate, samples, color=style.HIDDEN, linewidth=0.4)
        most = 1.3 * float(np.abs(samples).max()) or 1.0
        above.set(ylabel="amplitude\n(full scale = 1)", ylim=(-most, most))
        edges = (0.0, len(samples) / rate, 0.0, rate / 2000)
        extent = stft.extent(len(samples))
        picture = below.imshow(
            level_db, origin="lower", aspect="auto", cmap=_COLOURS, vmin=_DEEPEST_DB, vmax=0, interpolation="nearest",
            extent=(extent[0], extent[1], extent[2] / 1000, extent[3] / 1000),
        )  # fmt: skip
        below.set(xlabel="time (s)", ylabel="frequency (kHz)", xlim=edges[:2], ylim=edges[2:])
        figure.colorbar(picture, ax=below, label="power (dB re its maximum)")
        for name, (begin, end) in (parts or {}).items():
            above.annotate(
                "", (begin, 0.86 * most), (end, 0.86 * most), arrowprops={"arrowstyle": "|-|,widthA=0.2,widthB=0.2"}
            )
            above.text((begin + end) / 2, 1.02 * most, name, ha="center", va="bottom", fontsize=8)
        figure.align_ylabels([above, below])
        style.badge(figure, emulated=False, data=data)
    return figure


def draw_tonotopy(
    wave_cm: Float[ndarray, "w"],
    waves: Mapping[float, Complex[ndarray, "w"]],
    place_cm: Float[ndarray, "c"],
    best_hz: Float[ndarray, "c"],
    resonance_hz: Float[ndarray, "c"],
    tones: Sequence[tuple[float, float]],
) -> style.PaperFigure:
    """Where on the basilar membrane pure tones are: travelling waves, and the map from place to frequency.

    Args:
        wave_cm: places in cm from the base, at which the waves are known.
        waves: frequency of a tone in Hz -> complex response at each of these places.
        place_cm: places in cm of the channels.
        best_hz: frequency in Hz to which each channel answers most.
        resonance_hz: frequency in Hz at which stiffness and mass of each channel balance.
        tones: (frequency in Hz, place in cm) of tones that were played, and where they moved the membrane most.

    Returns:
        A new figure: for each tone envelope and wave at one instant, in units of the largest amplitude; and the map.
    """
    n, end = len(waves), (float(wave_cm[0]), float(wave_cm[-1]))
    with style.paper():
        figure = style.PaperFigure(figsize=(7.8, 3.2))
        grid = figure.add_gridspec(n, 2, width_ratios=(1.25, 1))
        rows = [figure.add_subplot(grid[row, 0]) for row in range(n)]
        for axes, (frequency, wave) in zip(rows, waves.items(), strict=True):
            envelope = np.abs(wave) / np.abs(wave).max()
            axes.fill_between(wave_cm, -envelope, envelope, color=style.PALETTE[5], alpha=0.45, linewidth=0)
            axes.plot(wave_cm, np.real(wave) / np.abs(wave).max(), color=_FIBRE, linewidth=0.9)
            axes.set(ylim=(-1.15, 1.15), yticks=(-1, 0, 1), xlim=end)
            far = wave_cm[int(envelope.argmax())] > 0.6 * end[1]
            axes.text(
                0.02 if far else 0.98, 0.92, _hertz(frequency), ha="left" if far else "right", va="top", fontsize=8,
                transform=axes.transAxes,
            )  # fmt: skip
            axes.tick_params(labelbottom=axes is rows[-1])
        rows[-1].set_xlabel("place (cm from the base)")
        rows[n // 2].set_ylabel("velocity (of its maximum)")
        chart = figure.add_subplot(grid[:, 1])
        chart.plot(place_cm, resonance_hz / 1000, color=style.REFERENCE, linestyle=":", linewidth=1.4,
                   label="stiffness and mass balance")  # fmt: skip
        chart.plot(place_cm, best_hz / 1000, color=_THEORY, linewidth=1.4, label="best frequency, in theory")
        played = np.array(tones)
        chart.plot(played[:, 1], played[:, 0] / 1000, "o", color=_BUSHY, markersize=5, label="tones played")
        chart.set(xlabel="place (cm from the base)", ylabel="frequency (kHz)", yscale="log", xlim=end)
        plain_ticks(chart.yaxis, [f for f in _KHZ if chart.get_ylim()[0] <= f <= chart.get_ylim()[1]])
        chart.legend(loc="upper right")
        style.badge(figure, emulated=False)
    return figure


def draw_click(
    panels: Mapping[str, tuple[Float[ndarray, "t"], Float[ndarray, "c t"], Float[ndarray, "c"]]],
    best_hz: Float[ndarray, "c"],
) -> style.PaperFigure:
    """How the basilar membrane answers a click: the velocity over time, place above place.

    Args:
        panels: title -> time in ms after the click, velocity at each place, and expected delay of each place in ms.
        best_hz: best frequency of each place in Hz.

    Returns:
        A new figure with one panel per title; each trace in units of its own maximum, a tick on its expected delay.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(3.6 * len(panels), 3.1))
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, (time_ms, velocity, delay_ms)) in zip(row, panels.items(), strict=True):
            axes.axvline(0, color=_BUSHY, linewidth=1.0, linestyle="--", label="click")
            for k, trace in enumerate(velocity):
                axes.plot(time_ms, k - 0.55 * trace / np.abs(trace).max(), color=_FIBRE, linewidth=0.7)
            axes.plot(delay_ms, np.arange(len(velocity)), "|", color=_THEORY, markersize=9, markeredgewidth=1.6,
                      label="mean delay, in theory")  # fmt: skip
            axes.set(xlabel="time after the click (ms)", title=title, xlim=(time_ms[0], time_ms[-1]))
        row[0].set(ylim=(len(best_hz) - 0.3, -0.7), yticks=range(len(best_hz)), ylabel="best frequency of the place")
        row[0].set_yticklabels([_hertz(f) for f in best_hz])
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        style.badge(figure, emulated=False)
    return figure


def draw_stages(
    velocity_db: Float[ndarray, "c t"],
    rate_per_s: Float[ndarray, "c t"],
    spikes: tuple[Float[ndarray, "events"], Int[ndarray, "events"]],
    *,
    best_hz: Float[ndarray, "c"],
    duration_s: float,
    data: str = "",
) -> style.PaperFigure:
    """One sound at three stages of the ear, all places over time.

    Args:
        velocity_db: level of the membrane's velocity in dB re its maximum, base first.
        rate_per_s: firing rate of one fibre at the same places and times, spikes per second.
        spikes: times in seconds and channels (of as many as there are places) of the bushy cells' spikes.
        best_hz: best frequency of each place in Hz.
        duration_s: length of the sound in seconds.
        data: what the sound is, for the badge.

    Returns:
        A new figure of three panels: velocity, firing rate, spikes; high frequencies on top.
    """
    n = len(best_hz)
    with style.paper():
        figure = style.PaperFigure(figsize=(9.0, 2.9))
        panels = figure.subplots(1, 3, sharey=True)
        extent = (0.0, duration_s, n - 0.5, -0.5)
        look = {"aspect": "auto", "extent": extent, "cmap": _COLOURS, "interpolation": "nearest"}
        level = panels[0].imshow(velocity_db, vmin=_DEEPEST_DB, vmax=0, **look)
        figure.colorbar(level, ax=panels[0], label="dB re the maximum")
        rate = panels[1].imshow(rate_per_s, vmin=0, vmax=float(np.quantile(rate_per_s, 0.998)), **look)
        figure.colorbar(rate, ax=panels[1], label="spikes per second", extend="max")
        panels[2].plot(*spikes, ".", color=style.INPUT, markersize=0.9, rasterized=True)
        for axes, title in zip(
            panels, ("basilar membrane: velocity", "hair cells: rate of one fibre", "bushy cells: spikes"), strict=True
        ):
            axes.set(xlabel="time (s)", title=title, xlim=(0, duration_s), ylim=(n - 0.5, -0.5))
        ticks = [f for f in _KHZ if best_hz.min() <= 1000 * f <= best_hz.max()]
        panels[0].set(ylabel="best frequency of the place (kHz)")
        plain_ticks(
            panels[0].yaxis,
            np.interp(-1000 * np.array(ticks), -best_hz, np.arange(n)).tolist(),
            [f"{f:g}" for f in ticks],
        )
        style.badge(figure, emulated=False, data=data)
    return figure


def draw_hair_cell(
    time_ms: Float[ndarray, "t"],
    velocity: Float[ndarray, "t"],
    pools: Mapping[str, Float[ndarray, "t"]],
    rate_per_s: Float[ndarray, "t"],
    *,
    zoom_ms: tuple[float, float],
) -> style.PaperFigure:
    """One hair cell: the velocity that drives it, its transmitter pools, and the firing rate of one fibre.

    Args:
        time_ms: time in ms.
        velocity: of the membrane, in the units of the model.
        pools: name -> transmitter in a pool, of a full one.
        rate_per_s: firing rate of one fibre, spikes per second.
        zoom_ms: interval in ms that is drawn on the right.

    Returns:
        A new figure: three rows, everything on the left (of velocity and rate what they cover), the interval on the
        right.
    """
    seen = (time_ms >= zoom_ms[0]) & (time_ms <= zoom_ms[1])
    with style.paper():
        figure = style.PaperFigure(figsize=(6.8, 3.7))
        grid = figure.subplots(3, 2, sharex="col", sharey="row", width_ratios=(1.7, 1))
        for column, where in ((0, slice(None)), (1, seen)):
            above, middle, below = grid[:, column]
            _course(above, time_ms[where], velocity[where], style.REFERENCE, fill=column == 0)
            above.axhline(0, color=_THEORY, linewidth=0.5)
            for (name, amount), look in zip(pools.items(), _LOOKS, strict=False):
                line = {key: look[key] for key in ("color", "linestyle")}
                middle.plot(time_ms[where], amount[where], linewidth=1.3, label=name, **line)
            _course(below, time_ms[where], rate_per_s[where], _FIBRE, fill=column == 0)
            below.set(xlabel="time (ms)")
        for axes, label in zip(grid[:, 0], ("velocity\n(model units)", "transmitter\n(full pool = 1)",
                                            "one fibre\n(spikes/s)"), strict=True):  # fmt: skip
            axes.set_ylabel(label)
        grid[0, 0].set_xlim(time_ms[0], time_ms[-1])
        grid[0, 1].set_xlim(*zoom_ms)
        grid[1, 0].set_ylim(bottom=0)
        grid[2, 0].set_ylim(bottom=0)
        figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(pools))
        figure.align_ylabels(grid[:, 0])
        style.badge(figure, emulated=False)
    return figure


def draw_adaptation(
    time_ms: Float[ndarray, "t"],
    rates: Mapping[str, Float[ndarray, "t"]],
    level_db: Float[ndarray, "k"],
    onset_per_s: Float[ndarray, "k"],
    steady_per_s: Float[ndarray, "k"],
    *,
    tone_ms: tuple[float, float],
) -> style.PaperFigure:
    """Adaptation: firing rates over the course of a tone, and at its onset and later against its level.

    Args:
        time_ms: centres of time bins in ms.
        rates: whose -> spikes per second in each bin.
        level_db: levels of the tone in dB re the standard level.
        onset_per_s, steady_per_s: firing rate of one fibre at the onset and in the steady state, per second.
        tone_ms: begin and end of the tone in ms.

    Returns:
        A new figure of two panels.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(8.4, 2.9))
        course, level = figure.subplots(1, 2, width_ratios=(1.5, 1))
        course.axvspan(*tone_ms, color="#E4E4E4", linewidth=0, zorder=0)
        width = time_ms[1] - time_ms[0]
        edges = np.append(time_ms - width / 2, time_ms[-1] + width / 2)
        for (name, rate), look in zip(rates.items(), _LOOKS, strict=False):
            line = {key: look[key] for key in ("color", "linestyle")}
            course.stairs(rate, edges, linewidth=1.2, label=name, baseline=None, **line)
        course.set(xlabel="time (ms)", ylabel="firing rate (spikes per second)", xlim=(edges[0], edges[-1]))
        course.set_ylim(bottom=0)
        course.text(sum(tone_ms) / 2, 0.98, "tone", ha="center", va="top", transform=course.get_xaxis_transform())
        inside = {"bbox_to_anchor": (tone_ms[1], 0.92), "bbox_transform": course.get_xaxis_transform()}
        course.legend(loc="upper right", **inside)
        for name, values, marker, colour in (
            ("onset: largest millisecond", onset_per_s, "o-", _FIBRE),
            ("steady state", steady_per_s, "s--", _BUSHY),
        ):
            level.plot(level_db, values, marker, color=colour, linewidth=1.3, markersize=4.5, label=name)
        level.set(xlabel="level of the tone (dB re the standard)", ylabel="one fibre (spikes per second)")
        level.set_ylim(bottom=0)
        level.legend(loc="upper left")
        style.badge(figure, emulated=False)
    return figure


def draw_phase_locking(
    periods: Mapping[float, Mapping[str, Float[ndarray, "bins"]]],
    frequency_hz: Float[ndarray, "k"],
    strengths: Mapping[str, Float[ndarray, "k"]],
    floors: Mapping[str, Float[ndarray, "k"]],
) -> style.PaperFigure:
    """Phase locking: when in the period of a tone spikes come, and vector strength against frequency.

    Args:
        periods: frequency of a tone in Hz -> whose -> share of the spikes in equal bins of the period.
        frequency_hz: frequencies of the tones in Hz.
        strengths: whose -> vector strength at each frequency, 0 … 1.
        floors: whose -> vector strength that spikes at random times reach in 5 % of the cases.

    Returns:
        A new figure: one histogram per tone of ``periods``, and the vector strength of all.
    """
    n = len(periods)
    with style.paper():
        figure = style.PaperFigure(figsize=(2.1 * n + 3.7, 2.8))
        *hists, summary = figure.subplots(1, n + 1, width_ratios=[1.0] * n + [1.6])
        for axes, (frequency, whose) in zip(hists, periods.items(), strict=True):
            for (_, share), look in zip(whose.items(), _LOOKS, strict=False):
                edges = np.linspace(0, 1, len(share) + 1)
                axes.stairs(100 * share, edges, color=look["color"], linestyle=look["linestyle"], baseline=None)
            axes.set(xlabel="phase (periods)", xlim=(0, 1), title=_hertz(frequency))
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        top = 1.05 * max(axes.get_ylim()[1] for axes in hists)
        for k, axes in enumerate(hists):
            axes.set_ylim(0, top)
            if k:
                axes.set_yticklabels([])
        hists[0].set_ylabel("spikes (%)")
        for (name, values), look in zip(strengths.items(), _LOOKS, strict=False):
            summary.plot(frequency_hz / 1000, values, linewidth=1.4, markersize=4.5, label=name, **look)
            summary.plot(frequency_hz / 1000, floors[name], color=look["color"], linestyle=":", linewidth=0.9)
        _log_khz(summary, frequency_hz)
        summary.set(xlabel="frequency of the tone (kHz)", ylabel="vector strength", ylim=(0, 1.02))
        summary.legend(loc="upper right", title="dotted: chance (5 %)", title_fontsize=7.5)
        style.badge(figure, emulated=False)
    return figure


def _course(axes: Axes, time: ndarray, values: ndarray, colour: str, *, fill: bool) -> None:
    """Draw a line, or, of one that is too dense to be seen, what it covers in each of 100 intervals."""
    if not fill or len(time) < 800:
        axes.plot(time, values, color=colour, linewidth=0.8)
        return
    cuts = np.linspace(0, len(time), 101).astype(int)[:-1]
    low, high = np.minimum.reduceat(values, cuts), np.maximum.reduceat(values, cuts)
    axes.fill_between(time[cuts], low, high, color=colour, linewidth=0.6)


def _log_khz(axes: Axes, frequency_hz: Float[ndarray, "k"]) -> None:
    low, high = float(frequency_hz.min()) / 1000, float(frequency_hz.max()) / 1000
    axes.set(xscale="log", xlim=(0.9 * low, 1.1 * high))
    plain_ticks(axes.xaxis, [f for f in _KHZ if low <= f <= high])


def _hertz(frequency: float) -> str:
    """Write a frequency as people do: 250 Hz, 1.5 kHz."""
    return f"{frequency:.3g} Hz" if frequency < 999.5 else f"{frequency / 1000:.2g} kHz"
