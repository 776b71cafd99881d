"""Hearing: what is drawn of the ear, and of words on their way to the chip, is what was computed."""

import numpy as np
import pytest
from drawn import assert_readable, line, words

from bss2lab import plots
from bss2lab.datasets.basilar_membrane import BasilarMembrane, response
from bss2lab.datasets.sound import Sound
from bss2lab.types import Spikes

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
FIBRE, BUSHY = "one fibre", "bushy cell"


def heights(patch):
    """Return the values of a step line (a ``StepPatch``)."""
    return np.asarray(patch.get_data().values)


def images(axes):
    (picture,) = axes.get_images()
    return np.asarray(picture.get_array())


# --- the ear --------------------------------------------------------------------------------------


def test_a_sound_is_drawn_with_its_spectrum_and_its_parts():
    time_s = np.arange(8000) / 16_000
    samples = 0.5 * np.sin(2 * np.pi * 2000 * time_s) * (time_s < 0.25)
    figure = plots.draw_sound(Sound(samples, 16_000), {"tone": (0.0, 0.25), "rest": (0.3, 0.5)}, data="made up")
    assert_readable(figure)
    above, below = figure.axes[:2]
    np.testing.assert_allclose(above.get_lines()[0].get_ydata(), samples)
    np.testing.assert_allclose(above.get_lines()[0].get_xdata()[[0, -1]], [0, 7999 / 16_000])
    level = images(below)
    assert level.max() == 0
    left, right, bottom, top = below.get_images()[0].get_extent()
    frequency = np.linspace(bottom, top, len(level), endpoint=False) + (top - bottom) / len(level) / 2
    times = np.linspace(left, right, level.shape[1])
    loudest = level[:, (times > 0.05) & (times < 0.2)].mean(axis=1).argmax()
    assert frequency[loudest] == pytest.approx(2.0, abs=0.1)  # kHz
    assert level[:, times > 0.3].max() == level.min()  # silence is the darkest there is


@pytest.mark.parametrize(("n", "rate"), [(4000, 16_000), (48, 48_000), (4, 4000)])
def test_silence_and_the_shortest_sounds_have_a_spectrum_too(n, rate):
    assert_readable(plots.draw_sound(Sound(np.zeros(n), rate)))


def test_waves_and_the_map_of_places_are_drawn():
    membrane = BasilarMembrane()
    place, fine = membrane.places(20), membrane.places(120)
    waves = {f: response(membrane, np.array([f]), fine)[:, 0] for f in (300.0, 1000.0, 5000.0)}
    best = np.geomspace(20_000, 100, 20)
    tones = [(300.0, 2.9), (5000.0, 0.9)]
    figure = plots.draw_tonotopy(fine, waves, place, best, membrane.resonance_hz(place), tones)
    assert_readable(figure)
    *rows, chart = figure.axes
    for axes, wave in zip(rows, waves.values(), strict=True):
        drawn = axes.get_lines()[0]
        np.testing.assert_allclose(drawn.get_ydata(), wave.real / np.abs(wave).max())
        envelope = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert envelope.max() == pytest.approx(1)
        assert envelope.min() == pytest.approx(-1)
    np.testing.assert_allclose(line(chart, "best frequency, in theory").get_ydata(), best / 1000)
    np.testing.assert_allclose(line(chart, "tones played").get_xdata(), [2.9, 0.9])
    np.testing.assert_allclose(line(chart, "tones played").get_ydata(), [0.3, 5.0])


def test_the_answers_to_a_click_are_drawn_place_above_place():
    time_ms = np.linspace(-20, 20, 401)
    delay = np.array([0.5, 3.0, 9.0])
    answer = np.array([k * np.exp(-((time_ms - d) ** 2)) for k, d in zip((1, -40, 7), delay, strict=True)])
    figure = plots.draw_click({"an ear": (time_ms, answer, delay)}, np.array([8000.0, 1000.0, 120.0]))
    assert_readable(figure)
    (axes,) = figure.axes
    np.testing.assert_allclose(line(axes, "mean delay, in theory").get_xdata(), delay)
    traces = [one for one in axes.get_lines() if len(one.get_xdata()) == 401]
    for k, (trace, sign) in enumerate(zip(traces, (1, -1, 1), strict=True)):
        up = k - np.asarray(trace.get_ydata())  # the axis points down
        assert time_ms[np.abs(up).argmax()] == pytest.approx(delay[k], abs=0.1)
        assert up[np.abs(up).argmax()] == pytest.approx(0.55 * sign, abs=0.01)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["8 kHz", "1 kHz", "120 Hz"]
    assert axes.yaxis_inverted()


def test_three_stages_share_places_and_time():
    n, bins = 30, 50
    level, rate = RNG.uniform(-50, 0, (n, bins)), RNG.uniform(0, 200, (n, bins))
    times, units = np.sort(RNG.uniform(0, 0.6, 300)), RNG.integers(0, n, 300)
    best = np.geomspace(20_000, 100, n)
    figure = plots.draw_stages(level, rate, (times, units), best_hz=best, duration_s=0.6, data="synthetic speech")
    assert_readable(figure)
    membrane, hair, spikes = figure.axes[:3]
    np.testing.assert_array_equal(images(membrane), level)
    np.testing.assert_array_equal(images(hair), rate)
    np.testing.assert_allclose(spikes.get_lines()[0].get_xdata(), times)
    np.testing.assert_array_equal(spikes.get_lines()[0].get_ydata(), units)
    for label in membrane.get_yticklabels():  # where a frequency stands, the place has it
        at, frequency = label.get_position()[1], 1000 * float(label.get_text())
        assert np.interp(at, np.arange(n), best) == pytest.approx(frequency, rel=0.05)
    for axes in (membrane, hair, spikes):
        assert axes.get_xlim() == (0, 0.6)
        assert axes.get_ylim() == (n - 0.5, -0.5)
    text = words(figure)
    assert "synthetic speech" in text


def test_a_hair_cell_is_drawn_twice_in_full_and_in_detail():
    time_ms = np.linspace(0, 100, 1001)
    velocity, rate = np.sin(time_ms), np.maximum(np.sin(time_ms), 0) * 300
    pools = {"free pool q": np.exp(-time_ms / 30), "store w": 1 - np.exp(-time_ms / 30)}
    figure = plots.draw_hair_cell(time_ms, velocity, pools, rate, zoom_ms=(40.0, 60.0))
    assert_readable(figure)
    grid = np.array(figure.axes).reshape(3, 2)
    for row, want in zip(grid[[0, 2]], (velocity, rate), strict=True):
        covered = row[0].collections[0].get_paths()[0].vertices
        assert covered[:, 1].max() == want.max()
        assert covered[:, 1].min() == want.min()
        assert np.interp(covered[:, 0].max(), time_ms, np.arange(1001)) >= 990
        np.testing.assert_allclose(row[1].get_lines()[0].get_ydata(), want[400:601])
    assert grid[0, 1].get_xlim() == (40, 60)
    np.testing.assert_allclose(grid[1, 0].get_lines()[1].get_ydata(), pools["store w"])


def test_adaptation_is_drawn_over_time_and_over_levels():
    time_ms = np.arange(1, 201, 2.0)
    rates = {FIBRE: RNG.uniform(50, 90, 100), BUSHY: RNG.uniform(0, 40, 100)}
    level = np.array([-40.0, -20.0, 0.0])
    onset, steady = np.array([70.0, 200.0, 450.0]), np.array([66.0, 80.0, 95.0])
    figure = plots.draw_adaptation(time_ms, rates, level, onset, steady, tone_ms=(50, 150))
    assert_readable(figure)
    course, levels = figure.axes
    steps = [patch for patch in course.patches if hasattr(patch, "get_data")]
    for patch, rate in zip(steps, rates.values(), strict=True):
        np.testing.assert_allclose(heights(patch), rate)
        np.testing.assert_allclose(patch.get_data().edges[[0, -1]], [0, 200])
    np.testing.assert_allclose(line(levels, "onset: largest millisecond").get_ydata(), onset)
    np.testing.assert_allclose(line(levels, "steady state").get_ydata(), steady)
    np.testing.assert_allclose(line(levels, "steady state").get_xdata(), level)


def test_phase_locking_is_drawn_by_period_and_by_frequency():
    frequency = np.array([125.0, 500.0, 2000.0, 8000.0])
    shares = {FIBRE: np.full(8, 1 / 8), BUSHY: np.eye(8)[3]}
    strength = {FIBRE: np.array([0.7, 0.7, 0.5, 0.2]), BUSHY: np.array([0.9, 0.9, 0.3, 0.0])}
    floor = {FIBRE: np.full(4, 0.05), BUSHY: np.full(4, 0.1)}
    figure = plots.draw_phase_locking({250.0: shares, 2000.0: shares}, frequency, strength, floor)
    assert_readable(figure)
    first, second, summary = figure.axes
    np.testing.assert_allclose(heights(first.patches[1]), 100 * shares[BUSHY])
    assert first.get_ylim() == second.get_ylim()
    for name in (FIBRE, BUSHY):
        np.testing.assert_allclose(line(summary, name).get_xdata(), frequency / 1000)
        np.testing.assert_allclose(line(summary, name).get_ydata(), strength[name])
    dotted = [one.get_ydata()[0] for one in summary.get_lines() if one.get_linestyle() == ":"]
    assert dotted == [0.05, 0.1]


# --- words ----------------------------------------------------------------------------------------


def test_rasters_before_and_after_show_the_same_interval():
    times, channels = np.sort(RNG.uniform(0, 0.7, 500)), RNG.integers(0, 700, 500)
    after = {
        name: Spikes.from_events([(500 * times[::k], channels[::k] // 10)], n_units=70, duration_us=685.1)
        for name, k in {"70 inputs": 9, "with jitter": 10}.items()
    }
    figure = plots.draw_on_chip((times, channels), after, n_channels=700, speed_up=2000.0, data="synthetic speech")
    assert_readable(figure)
    before, *others = figure.axes
    np.testing.assert_allclose(before.get_lines()[0].get_xdata(), times)
    np.testing.assert_array_equal(before.get_lines()[0].get_ydata(), channels)
    for axes, spikes in zip(others, after.values(), strict=True):
        np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), spikes.times_us)
        assert axes.get_xlim()[1] == pytest.approx(500 * before.get_xlim()[1])
        assert axes.get_ylim() == (69.5, -0.5)


def test_a_readout_is_drawn_against_its_bins_with_its_controls():
    width = np.array([1370.2, 342.55, 85.6])
    heard = {"trained on": np.array([0.5, 0.7, 0.95]), "unseen speakers": np.array([0.4, 0.5, 0.8])}
    controls = {"times at random": 0.35, "times shuffled": 0.55}
    figure = plots.draw_readout(width, heard, controls, control_ms=85.6, chance=0.05, data="synthetic speech")
    assert_readable(figure)
    (axes,) = figure.axes
    for name, values in heard.items():
        np.testing.assert_allclose(line(axes, name).get_ydata(), 100 * values)
        np.testing.assert_allclose(line(axes, name).get_xdata(), width)
    for name, value in controls.items():
        assert list(line(axes, name).get_xydata()[0]) == [85.6, 100 * value]
    assert axes.xaxis_inverted()  # finer to the right
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1370", "343", "86"]


def test_scores_name_the_word_that_was_heard():
    scores = np.array([0.1, -0.2, 0.6, 0.0])
    figure = plots.draw_scores(scores, ("zero", "one", "zwei", "neun"), title="said: zwei", data="synthetic speech")
    assert_readable(figure)
    (axes,) = figure.axes
    bars = axes.patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], scores)
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[2] != colours[0] == colours[1] == colours[3]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["zero", "one", "zwei", "neun"]
