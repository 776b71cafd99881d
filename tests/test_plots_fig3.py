"""Figures 3C, 3D and 3E: what is drawn is what the studies found."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import across, assert_legend_clear, assert_readable, bars, entries, line, renderer_of, words

from bss2lab import plots
from bss2lab.plots import scales
from bss2lab.studies.fig3_continuous import Continuous, ContinuousConfig, ContinuousPoint, Stream
from bss2lab.studies.fig3_latency import Latency, LatencyConfig
from bss2lab.studies.fig3_sparsity import Point, Sparsity, SparsityConfig
from bss2lab.types import Spikes

pytestmark = pytest.mark.slow

SEPARATIONS = (11.8, 13.6, 25.0, 50.0, 200.0)


@pytest.fixture
def latency():
    t = np.round(0.35 + 0.425 * np.arange(1, 78), 4)
    rows = [(0.1 + (0.871 + 0.001 * k) / (1 + np.exp(-(t - 3.6 - 0.1 * k) / 0.7))) for k in range(5)]
    return Latency(LatencyConfig(), tuple(t.tolist()), tuple(tuple(row.tolist()) for row in rows))


@pytest.fixture
def points():
    generator = np.random.default_rng(0)
    found = []
    for separation in SEPARATIONS:
        for seed in range(5):
            late = np.exp(-(separation - 11.8) / 9)
            noise = generator.normal(0, 1, 2)
            found.append(ContinuousPoint(seed, separation, True, 0.968 + 0.001 * noise[0], 44 + noise[1]))
            found.append(
                ContinuousPoint(seed, separation, False, 0.968 - 0.5 * late + 0.002 * noise[1], 45 + 30 * late)
            )
    return found


def make_stream(*, reset=True, k=5, separation_us=11.8, seed=0):
    generator = np.random.default_rng(seed)
    starts, end = separation_us * np.arange(k), k * separation_us
    time_us = (1.7 * np.arange(1, int(end / 1.7) + 1)).astype(np.float32)
    labels = generator.integers(0, 10, k)
    decisions = labels.copy()
    decisions[1:2] = (labels[1:2] + 3) % 10

    def events(n, n_units):
        pair = np.sort(generator.uniform(0, end, n)), generator.integers(0, n_units, n)
        return Spikes.from_events([pair], n_units=n_units, duration_us=end)

    return Stream(
        pixels=generator.integers(0, 256, (k, 16, 16)).astype(np.uint8),
        labels=labels,
        decisions=decisions,
        image_starts_us=starts,
        separation_us=separation_us,
        resets_us=np.stack([starts + 10, starts + separation_us], axis=1) if reset else None,
        input_spikes=events(200, 256),
        hidden_spikes=events(150, 246),
        time_us=time_us,
        readout=generator.normal(0, 1, (len(time_us), 10)).astype(np.float32),
        emulated=True,
    )


@pytest.fixture
def sweep():
    generator = np.random.default_rng(1)
    config = SparsityConfig()
    activity, error = (72, 60, 45, 33, 22, 16, 11.5, 7.5), (2.8, 2.75, 2.8, 2.85, 3.0, 3.2, 3.8, 5.2)
    found = [
        Point(rho, seed, float(n * np.exp(0.04 * generator.normal())), 1 - 0.01 * e - 0.001 * seed, 1 - 0.005 * e)
        for rho, n, e in zip(config.rho_b, activity, error, strict=True)
        for seed in range(5)
    ]
    return Sparsity(config, tuple(found))


# --- figure 3C ---------------------------------------------------------------------------------------------------


def test_both_panels_show_the_mean_over_the_seeds_and_their_range(latency):
    rows = 100 * np.array(latency.accuracy)
    for axes in plots.draw_latency(latency).axes:
        mean = line(axes, "mean")
        np.testing.assert_array_equal(mean.get_xdata(), latency.until_us)
        np.testing.assert_allclose(mean.get_ydata(), latency.mean)
        (band,) = axes.collections
        corners = band.get_paths()[0].vertices
        for k in (3, 20, 60):
            at = corners[corners[:, 0] == latency.until_us[k], 1]
            assert at.min() == pytest.approx(rows[:, k].min())
            assert at.max() == pytest.approx(rows[:, k].max())


def test_our_time_to_a_decision_and_the_papers_are_marked(latency):
    ready, level = latency.ready_us(), latency.mean.max() - 0.1
    for axes in plots.draw_latency(latency).axes:
        assert across(axes, vertical=True) == [ready, 8.0]
        assert across(axes, vertical=False) == [pytest.approx(level)]
        (dot,) = [one for one in axes.get_lines() if one.get_marker() == "D"]
        assert list(dot.get_xdata()) == [ready]
        assert dot.get_ydata()[0] == latency.mean[latency.until_us.index(ready)] >= level
    near = plots.draw_latency(latency).axes[1]
    assert entries(near.get_legend()) == [
        "range over 5 networks", "mean", f"peak − 0.1 points: {level:.2f} %", f"here: ready at {ready:.1f} µs",
        "paper: 8 µs",
    ]  # fmt: skip
    assert across(plots.draw_latency(latency, None).axes[1], vertical=True) == [ready]


def test_the_second_panel_magnifies_the_approach_to_the_plateau(latency):
    whole, near = plots.draw_latency(latency).axes
    low, high = near.get_ylim()
    assert 88 <= low <= 90
    assert latency.mean.max() < high < 98.5
    assert near.get_xlim()[1] >= 2 * 8
    assert whole.get_ylim()[0] == 0
    assert whole.get_xlim()[1] >= latency.until_us[-1]
    (box,) = whole.patches
    assert box.get_bbox().extents == pytest.approx([near.get_xlim()[0], low, near.get_xlim()[1], high])


def test_a_single_network_and_a_single_sample_have_a_latency(latency):
    one = replace(latency, accuracy=latency.accuracy[:1])
    figure = plots.draw_latency(one)
    assert not figure.axes[1].collections
    shortest = Latency(latency.config, (3.0,), ((0.12,),))
    for each in (figure, plots.draw_latency(latency), plots.draw_latency(shortest)):
        assert_readable(each)
        assert_legend_clear(each.axes[1])


# --- figure 3D, accuracy -----------------------------------------------------------------------------------------


def ran(points):
    return Continuous(ContinuousConfig(), tuple(points), 10_000, 118_000.0)


def test_accuracy_and_spikes_are_means_over_the_seeds_with_and_without_reset(points):
    panels = plots.draw_continuous(ran(points)).axes
    for axes, field, scale in zip(panels, ("accuracy", "hidden_spikes"), (100, 1), strict=True):
        for label, reset in (("with artificial reset", True), ("without reset", False)):
            x, y, half = bars(axes, label)
            rows = np.array([
                [scale * getattr(p, field) for p in points if p.reset is reset and p.separation_us == s]
                for s in SEPARATIONS
            ])  # fmt: skip
            np.testing.assert_array_equal(x, SEPARATIONS)
            np.testing.assert_allclose(y, rows.mean(axis=1))
            np.testing.assert_allclose(half, rows.std(axis=1, ddof=1), atol=1e-9)
    looks = [(c.lines[0].get_marker(), c.lines[0].get_linestyle()) for c in panels[0].containers]
    assert len(set(looks)) == 2  # told apart without colour


def test_the_upper_axis_counts_images_per_second(points):
    figure = plots.draw_continuous(ran(points))
    renderer_of(figure)
    axes = figure.axes[0]
    (pace,) = axes.child_axes
    for thousands in pace.get_xticks():
        here, below = pace.transData.transform((thousands, 0)), axes.transData.transform((1e3 / thousands, 90))
        assert here[0] == pytest.approx(below[0], abs=0.1)
    labels = {t.get_text(): at for t, at in zip(pace.get_xticklabels(), pace.get_xticks(), strict=True)}
    assert labels["85"] == pytest.approx(1e3 / 11.8)
    assert labels["10"] == 10
    assert axes.get_xticklabels()[0].get_text() == "11.8"


def test_the_papers_pace_is_marked(points):
    figure = plots.draw_continuous(ran(points))
    for axes in figure.axes:
        assert across(axes, vertical=True) == [11.8]
    assert not across(plots.draw_continuous(ran(points), None).axes[0], vertical=True)
    assert "emulated chip" in words(figure)


@pytest.mark.parametrize("n", [1, 11])
def test_few_points_can_be_drawn(points, n):
    figure = plots.draw_continuous(ran(points[:n]))
    assert_readable(figure)
    assert (bars(figure.axes[0], "with artificial")[2] is None) == (n < 3)


def test_labels_of_the_pace_are_apart(points):
    figure = plots.draw_continuous(ran(points))
    assert_readable(figure)
    assert_legend_clear(figure.axes[0])


# --- figure 3D, one long run -------------------------------------------------------------------------------------


def test_images_stand_in_the_middle_of_their_slots():
    stream = make_stream()
    figure = plots.draw_stream(stream)
    renderer_of(figure)
    pictures, raster, traces = figure.axes
    assert len(pictures.child_axes) == 5
    for picture, pixels, start in zip(pictures.child_axes, stream.pixels, stream.image_starts_us, strict=True):
        np.testing.assert_array_equal(picture.images[0].get_array(), pixels)
        middle = pictures.transData.inverted().transform(picture.bbox.get_points()).mean(axis=0)[0]
        assert middle == pytest.approx(start + 5.9, abs=0.1)
        assert picture.bbox.width == pytest.approx(picture.bbox.height, rel=0.02)
    assert pictures.get_xlim() == raster.get_xlim() == traces.get_xlim()
    for axes in (raster, traces):
        np.testing.assert_allclose(across(axes, vertical=True), stream.image_starts_us)


def test_spikes_and_traces_are_those_of_the_run():
    stream = make_stream()
    _, raster, traces = plots.draw_stream(stream).axes
    below, above = [one for one in raster.get_lines() if one.get_marker() == "."]
    for drawn, spikes, shift in ((below, stream.input_spikes, 0), (above, stream.hidden_spikes, 256)):
        times, units = spikes.sample(0)
        np.testing.assert_array_equal(drawn.get_xdata(), times)
        np.testing.assert_array_equal(drawn.get_ydata(), units + shift)
    for o in range(10):
        trace = line(traces, str(o))
        np.testing.assert_array_equal(trace.get_xdata(), stream.time_us)
        np.testing.assert_array_equal(trace.get_ydata(), stream.readout[:, o])


def test_the_winner_of_each_slot_is_bold_in_its_slot_alone():
    stream = make_stream()
    traces = plots.draw_stream(stream).axes[2]
    bold = [one for one in traces.get_lines() if one.get_label() == "_decision"]
    assert len(bold) == 5
    for one, start, decision in zip(bold, stream.image_starts_us, stream.decisions, strict=True):
        assert start <= min(one.get_xdata()) <= max(one.get_xdata()) <= start + 11.8
        whole = line(traces, str(decision))
        assert set(one.get_ydata()) <= set(whole.get_ydata())


def test_verdicts_stand_over_their_slots():
    stream = make_stream()
    raster = plots.draw_stream(stream, tuple("abcdefghij")).axes[1]
    assert len(raster.texts) == 5
    for k, text in enumerate(raster.texts):
        truth, decision = ("abcdefghij"[v[k]] for v in (stream.labels, stream.decisions))
        assert text.get_text() == f"{truth} → {decision} {'✗' if k == 1 else '✓'}"
        assert text.xy[0] == pytest.approx(stream.image_starts_us[k] + 5.9)


def test_the_reset_is_shaded_where_it_is_held():
    stream = make_stream()
    figure = plots.draw_stream([stream, make_stream(reset=False)])
    with_reset, without = figure.axes[1:3], figure.axes[3:]
    for axes in with_reset:
        spans = np.array([[p.get_x(), p.get_x() + p.get_width()] for p in axes.patches])
        np.testing.assert_allclose(spans, stream.resets_us)
    assert not any(axes.patches for axes in without)


def test_images_of_a_second_run_are_drawn_only_if_they_are_others():
    runs = [make_stream(), make_stream(reset=False)]
    figure = plots.draw_stream(runs)
    assert len(figure.axes) == 5
    assert figure.axes[2].get_ylim() == figure.axes[4].get_ylim()
    assert len(plots.draw_stream([runs[0], make_stream(seed=1)]).axes) == 6
    assert "emulated chip and software" in words(plots.draw_stream([runs[0], replace(runs[1], emulated=False)]))


@pytest.mark.parametrize("k", [1, 8])
def test_few_and_many_images_are_readable(k):
    assert_readable(plots.draw_stream([make_stream(k=k), make_stream(k=k, reset=False)]))
    flat = replace(make_stream(k=k, separation_us=200.0), readout=np.zeros((int(k * 200 / 1.7), 10), np.float32))
    assert_readable(plots.draw_stream(flat))


# --- figure 3E ---------------------------------------------------------------------------------------------------


def test_every_network_is_a_dot_and_every_penalty_a_mean(sweep):
    axes = plots.draw_sparsity(sweep).axes[0]
    dots = [one for one in axes.get_lines() if one.get_marker() == "o"]
    triangles = [one for one in axes.get_lines() if one.get_marker() == "^"]
    squares = [c.lines[0] for c in axes.containers]
    for rho, dot, triangle, square in zip(sweep.config.rho_b, dots, triangles, squares, strict=True):
        chosen = [p for p in sweep.points if p.rho_b == rho]
        np.testing.assert_allclose(dot.get_xdata(), [p.spikes for p in chosen])
        np.testing.assert_allclose(dot.get_ydata(), [100 * (1 - p.test_accuracy) for p in chosen])
        np.testing.assert_allclose(triangle.get_ydata(), [100 * (1 - p.train_accuracy) for p in chosen])
        spikes, error = sweep.at(rho)
        assert list(square.get_xdata()) == [spikes.mean]
        assert list(square.get_ydata()) == [error.mean]


def test_penalties_are_written_over_their_points(sweep):
    axes = plots.draw_sparsity(sweep).axes[0]
    written = {text.get_text(): text.xy[0] for text in axes.texts if text.get_text() != "E"}
    assert set(written) == {f"{rho:g}" for rho in sweep.config.rho_b}
    for rho in sweep.config.rho_b:
        assert written[f"{rho:g}"] == sweep.at(rho)[0].mean


def test_the_papers_activities_and_error_are_marked(sweep):
    figure = plots.draw_sparsity(sweep)
    assert across(figure.axes[0], vertical=True) == [20.0, 10.0]
    assert across(figure.axes[0], vertical=False) == [pytest.approx(2.8)]
    fashion = replace(sweep, config=sweep.config.replace(train=sweep.config.train.replace(task="fashion")))
    figure = plots.draw_sparsity(fashion)
    assert not across(figure.axes[0], vertical=True)
    assert across(figure.axes[0], vertical=False) == [pytest.approx(15.8)]


@pytest.mark.parametrize("chosen", [slice(None), slice(0, 1)])
def test_sweeps_of_any_size_are_readable(sweep, chosen):
    assert_readable(plots.draw_sparsity(replace(sweep, points=sweep.points[chosen])))


def test_a_silent_and_a_perfect_network_stay_on_the_axes(sweep):
    dead = Point(9.0, 0, 0.0, 0.1, 0.1)
    axes = plots.draw_sparsity(replace(sweep, points=(*sweep.points, dead))).axes[0]
    dot = [one for one in axes.get_lines() if one.get_marker() == "o"][-1]
    assert dot.get_xdata()[0] == axes.get_xlim()[0] > 0
    assert dot.get_ydata()[0] == 90 < axes.get_ylim()[1]
    assert "9 (silent)" in [text.get_text() for text in axes.texts]
    perfect = Point(1.0, 0, 5.0, 1.0, 1.0)
    assert_readable(plots.draw_sparsity(replace(sweep, points=(perfect,))))


# --- scales ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(1, 90), (5, 11), (11.8, 200), (0.001, 90), (2.6, 3.4)])
def test_round_numbers_lie_within_and_are_few(low, high):
    numbers = scales.round_numbers(low, high)
    assert 3 <= len(numbers) <= 10
    assert low <= min(numbers) <= max(numbers) <= high
    assert numbers == sorted(numbers)


def test_zeros_are_lifted_to_the_floor_and_nothing_else_is():
    floor = scales.log_floor([0.0, 0.5, 3.0], at_most=1.0)
    assert 0 < floor < 0.5
    np.testing.assert_array_equal(scales.lifted([0.0, 0.5, 3.0], floor), [floor, 0.5, 3.0])
    assert scales.log_floor([0.0], at_most=1.0) == 1.0
    assert scales.apart([30, 10, 11, 20], least=1.4) == [10, 20, 30]
