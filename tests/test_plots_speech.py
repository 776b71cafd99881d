"""Statistics of spoken words: what is drawn is what was counted."""

import numpy as np
import pytest
from drawn import assert_readable, entries
from spoken import speech_set

from bss2lab import plots
from bss2lab.datasets.statistics import statistics_of


def made(n, seed):
    rng = np.random.default_rng(seed)
    samples = []
    for count in rng.integers(3000, 12_000, n):
        samples.append((np.sort(rng.gamma(4, 0.08, count)).clip(0, 1.5), rng.beta(4, 2, count) * 699))
    return statistics_of(speech_set(samples), "synthetic speech" if seed else "real samples of SHD")


def test_both_sets_are_drawn_and_compared():
    ours, reference = made(40, 1), made(12, 0)
    figure = plots.draw_speech_statistics(ours, reference)
    assert_readable(figure)
    counts, durations, channels, _ = figure.axes
    for line, statistics in zip(counts.get_lines(), (ours, reference), strict=True):
        np.testing.assert_allclose(line.get_xdata(), np.sort(statistics.n_spikes) / 1000)
        assert line.get_ydata()[-1] == 1.0
    np.testing.assert_allclose(durations.get_lines()[1].get_xdata(), np.sort(reference.durations_s))
    drawn = channels.get_lines()[0]
    assert drawn.get_ydata()[300] == pytest.approx(ours.channels[300:315].mean())
    assert drawn.get_xdata()[300] == 307
    assert entries(figure.legends[0]) == ["synthetic speech, 40 recordings", "real samples of SHD, 12 recordings"]


def test_one_set_alone_is_drawn_without_comparison():
    figure = plots.draw_speech_statistics(made(30, 1))
    assert_readable(figure)
    assert len(figure.axes[0].get_lines()) == 1
