"""Draw the spike statistics of spoken words beside those of reference samples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bss2lab.datasets.statistics import BIN_S, SpikeStatistics, compare
from bss2lab.plots import style

_OURS, _REFERENCE = style.TRAIN, style.TEST
_SMOOTH = 15  # channels over which profiles are averaged, as for the comparison


def draw_speech_statistics(ours: SpikeStatistics, reference: SpikeStatistics | None = None) -> style.PaperFigure:
    """Spikes per recording, durations, channel profile and rate over time of one set, or of two.

    Args:
        ours: statistics of a set, from ``datasets.statistics.statistics_of``.
        reference: statistics of what it should be like; None leaves it out. Take the same words in both.

    Returns:
        A new figure of four panels; how well the two agree stands above each (``datasets.statistics.compare``).
    """
    sets = [(ours, _OURS, "-"), *([(reference, _REFERENCE, "--")] if reference is not None else [])]
    match = compare(ours, reference) if reference is not None else None
    notes = ["", "", "", ""]
    if match is not None:
        notes = [
            f"KS distance {match.spikes_ks:.2f}",
            f"KS distance {match.duration_ks:.2f}",
            f"overlap {100 * match.channel_overlap:.0f} %, correlation {match.channel_correlation:.2f}",
            f"overlap {100 * match.time_overlap:.0f} %, correlation {match.time_correlation:.2f}",
        ]
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 5.6))
        panels = figure.subplots(2, 2)
        for statistics, colour, line in sets:
            label = f"{statistics.name}, {len(statistics.n_spikes):,} recordings"
            _draw_steps(panels[0, 0], statistics.n_spikes / 1000, colour, line, label)
            _draw_steps(panels[0, 1], statistics.durations_s, colour, line, label)
            smooth = np.convolve(statistics.channels, np.ones(_SMOOTH) / _SMOOTH, mode="valid")
            first = (len(statistics.channels) - len(smooth)) / 2
            panels[1, 0].plot(first + np.arange(len(smooth)), smooth, line, color=colour, linewidth=1.3)
            edges = BIN_S * np.arange(len(statistics.rate_per_s) + 1)
            panels[1, 1].stairs(statistics.rate_per_s / 1000, edges, color=colour, linestyle=line, linewidth=1.3)
        panels[0, 0].set(xlabel="spikes per recording (thousands)", ylabel="share of recordings below", ylim=(0, 1.03))
        panels[0, 1].set(xlabel="time of the last spike (s)", ylabel="share of recordings below", ylim=(0, 1.03))
        panels[1, 0].set(
            xlabel="channel (0: highest frequency)", ylabel="spikes per recording", xlim=(0, len(ours.channels))
        )
        last = max(float(s.durations_s.max()) for s, _, _ in sets)
        panels[1, 1].set(xlabel="time since the start (s)", ylabel="spikes per ms, all channels", xlim=(0, last))
        for axes, note in zip(panels.flat, notes, strict=True):
            axes.set_title(note, loc="right", fontsize=8, color=style.REFERENCE)
            if axes in panels[1]:
                axes.set_ylim(bottom=0)
        for axes, letter in zip(panels.flat, "ABCD", strict=True):
            style.panel_letter(axes, letter)
        figure.legend(
            *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sets), handlelength=2.6
        )
    return figure


def _draw_steps(axes: Axes, values: np.ndarray, colour: str, line: str, label: str) -> None:
    """The empirical distribution function; a mark on each recording where there are few."""
    ordered = np.sort(values)
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    axes.plot(
        ordered, share, line, drawstyle="steps-post", color=colour, linewidth=1.3, label=label,
        marker="o" if len(ordered) <= 30 else None, markersize=3.2,
    )  # fmt: skip
