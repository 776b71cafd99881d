"""Figures of single neurons and of calibration: what is drawn is what was measured."""

import matplotlib as mpl
import numpy as np
import pytest

from bss2lab import plots
from bss2lab.chip import Chip
from bss2lab.chip.calibration import Targets
from bss2lab.chip.instruments import CadcRecording, MadcRecording
from bss2lab.chip.measure import Measurement
from bss2lab.plots.calibration import NAMES, spread_text
from bss2lab.quantize import CADC_MV_PER_LSB

pytestmark = pytest.mark.slow

N = 256


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def fast(generator):
    time_us = np.arange(0, 60, 0.1)
    return MadcRecording(time_us, 400 + 100 * generator.random((2, len(time_us))))


@pytest.fixture
def column(generator):
    time_us = np.arange(0.15, 60, 1.7)
    samples = generator.integers(0, 256, (3, len(time_us), N)).astype(np.uint8)
    return CadcRecording(time_us, samples, np.zeros_like(samples))


@pytest.fixture(scope="module")
def calibration():
    return Chip(7).calibration


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


def levels(axes):
    """Heights of the horizontal lines across the axes."""
    across = axes.get_yaxis_transform(which="grid")
    return [line.get_ydata()[0] for line in axes.get_lines() if line.get_transform() == across]


def counts(patch):
    """Heights of a filled histogram's bins."""
    corners = patch.get_xy()
    return corners[: len(corners) // 2 + 1][1::2, 1]


def panels(figure):
    """Axes with data (a colour bar is none)."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def assert_nothing_overlaps(figure):
    """Texts, legends and the badge keep clear of one another in the saved picture, and can be read."""
    boxes = {}
    for k, axes in enumerate(figure.axes):
        titles = {"title": axes.title, "left": axes._left_title, "right": axes._right_title}
        named = {**titles, "x": axes.xaxis.label, "y": axes.yaxis.label}
        boxes |= {(k, name): t for name, t in named.items() if t.get_text() and t.get_visible()}
        boxes |= {(k, "text", t.get_text()): t for t in axes.texts if t.get_text()}
    boxes |= {("legend", k): legend for k, legend in enumerate(figure.legends)}
    boxes |= {("badge", k): t.get_bbox_patch() or t for k, t in enumerate(figure.texts)}
    extents = {}

    def look(event):  # (the last drawing is that of the cropped picture, in which things have moved)
        extents.update({name: artist.get_window_extent(event.renderer).padded(-1) for name, artist in boxes.items()})

    figure.canvas.mpl_connect("draw_event", look)
    figure.png(dpi=110)
    names = list(extents)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            assert not extents[one].overlaps(extents[two]), (one, two)
    for artist in figure.findobj(mpl.text.Text):
        assert not artist.get_text() or artist.get_fontsize() >= 7


# --- one neuron --------------------------------------------------------------------------------------------------


def test_responses_show_both_converters_and_the_fit_of_one_neuron_in_millivolts(fast, column):
    curve = fast.time_us[::10], np.linspace(300, 500, len(fast.time_us[::10]))
    figure = plots.draw_responses({"up": fast, "down": fast}, {"up": column, "down": column}, 5,
                                  models={"up": curve, "down": curve})  # fmt: skip
    for axes in figure.axes:
        np.testing.assert_array_equal(line(axes, "fast ADC").get_ydata(), fast.samples_mv[0])
        dots = line(axes, "column ADC")
        np.testing.assert_array_equal(dots.get_xdata(), column.time_us)
        np.testing.assert_allclose(dots.get_ydata(), column.samples_lsb[0, :, 5] * CADC_MV_PER_LSB)
        np.testing.assert_array_equal(line(axes, "fit").get_ydata(), curve[1])
    assert_nothing_overlaps(figure)


def test_the_sum_of_responses_is_drawn_and_what_it_misses(generator):
    t = np.linspace(0, 10, 50)
    parts = {"a": np.sin(t), "b": 2 * np.cos(t)}
    together = parts["a"] + parts["b"] + 0.1 * generator.standard_normal(50)
    figure = plots.draw_summation(t, parts, together)
    above, below = figure.axes
    for label, values in parts.items():
        np.testing.assert_array_equal(line(above, label).get_ydata(), values)
    np.testing.assert_array_equal(line(above, "all together, recorded").get_ydata(), together)
    np.testing.assert_allclose(line(above, "sum of the single ones").get_ydata(), parts["a"] + parts["b"])
    difference = line(below, "difference").get_ydata()
    np.testing.assert_allclose(difference, together - parts["a"] - parts["b"])
    assert below.get_ylim()[0] < difference.min() < difference.max() < below.get_ylim()[1]
    assert_nothing_overlaps(figure)


def test_converters_show_one_neuron_all_neurons_and_the_noise(fast, column, generator):
    rest = {
        "fast ADC": 370 + 2 * generator.standard_normal(500),
        "column ADC": 370 + 9 * generator.standard_normal(700),
    }
    figure = plots.draw_converters(fast, column, 17, rest_mv=rest)
    one, every, noise = panels(figure)
    np.testing.assert_array_equal(line(one, "fast ADC").get_ydata(), fast.samples_mv[0])
    np.testing.assert_allclose(line(one, "column ADC").get_ydata(), column.samples_lsb[0, :, 17] * CADC_MV_PER_LSB)
    (picture,) = every.get_images()
    np.testing.assert_array_equal(picture.get_array(), column.samples_lsb[0].T)
    left, right, bottom, top = picture.get_extent()
    assert (bottom, top) == (N - 0.5, -0.5)
    np.testing.assert_allclose((left, right), (0.15 - 0.85, column.time_us[-1] + 0.85))
    labels = [text.get_text() for text in noise.get_legend().get_texts()]
    assert labels == [f"{who}: SD {values.std():.1f} mV" for who, values in rest.items()]
    filled = noise.patches[0]
    assert counts(filled).sum() == pytest.approx(100)
    assert_nothing_overlaps(figure)


def saw(period=60, length=600):
    """A neuron that rises from 350 to 700 mV, and the samples right before its resets."""
    phase = np.arange(length) % period
    trace = np.where(phase < 20, 350.0, 350 + 350 * (phase - 20) / (period - 21))
    return MadcRecording(0.1 * np.arange(length), trace[None]), np.arange(period - 1, length, period)


def test_a_firing_neuron_is_marked_with_threshold_reset_and_refractory_time():
    record, resets = saw()
    figure = plots.draw_spiking(
        record, threshold_mv=700.0, reset_mv=350.0, refractory_us=2.0, resets=resets, shown_us=(1.0, 30.0)
    )
    course, one = figure.axes
    np.testing.assert_array_equal(line(course, "fast ADC").get_ydata(), record.samples_mv[0])
    assert course.get_xlim() == (1.0, 30.0)
    for axes in (course, one):
        assert levels(axes) == [700.0, 350.0]
        assert axes.get_ylim()[0] < 350 < 700 < axes.get_ylim()[1]
    (band,) = one.patches
    assert (band.get_x(), band.get_width()) == (0.0, 2.0)
    assert [text.get_text() for text in one.texts] == ["threshold", "reset", "refractory\n2.00 µs"]
    intervals = [drawn for drawn in one.get_lines() if len(drawn.get_xdata()) > 2]
    assert len(intervals) == len(resets) - 1  # the last one is not over
    for drawn in intervals:
        t, v = drawn.get_xdata(), drawn.get_ydata()
        assert v[t < 0][-1] == 700  # the reset lies at time 0
        assert v[t > 0][0] == 350
    assert_nothing_overlaps(figure)


def test_what_comes_before_the_interval_shown_does_not_stretch_the_axis():
    record, resets = saw()
    record.samples_mv[0, 0] = 1190.0
    figure = plots.draw_spiking(
        record, threshold_mv=700.0, reset_mv=350.0, refractory_us=2.0, resets=resets, shown_us=(1.0, 30.0)
    )
    assert figure.axes[0].get_ylim()[1] < 800


def test_rates_are_drawn_with_the_formula_and_once_more_near_the_threshold():
    leak, rate = np.array([600.0, 695.0, 710.0, 900.0]), np.array([0.0, 4.0, 40.0, 120.0])
    predicted = np.linspace(700.1, 900, 30), np.linspace(20, 121, 30)
    figure = plots.draw_rates(leak, rate, predicted=predicted, threshold_mv=700.0, zoom_mv=20.0)
    for axes in figure.axes:
        np.testing.assert_array_equal(line(axes, "counted spikes").get_xdata(), leak)
        np.testing.assert_array_equal(line(axes, "counted spikes").get_ydata(), rate)
        np.testing.assert_array_equal(line(axes, "formula").get_ydata(), predicted[1])
        assert list(line(axes, "threshold").get_xdata()) == [700.0, 700.0]
    assert figure.axes[1].get_xlim() == (680.0, 720.0)
    assert 40 < figure.axes[1].get_ylim()[1] < 60
    assert_nothing_overlaps(figure)


def test_estimates_have_error_bars_about_the_truth():
    estimates = {"τ (µs)": [("by hand", 5.9, 0.2), ("protocol", 6.05, 0.1)], "θ (mV)": [("by hand", 700.0, 3.0)]}
    figure = plots.draw_estimates(estimates, {"τ (µs)": 6.0, "θ (mV)": 702.0})
    for axes, rows, true in zip(figure.axes, estimates.values(), (6.0, 702.0), strict=True):
        assert levels(axes) == [true]
        assert [text.get_text() for text in axes.get_xticklabels()] == [who for who, _, _ in rows]
        for drawn, (_, value, error) in zip(axes.containers, rows, strict=True):
            data, caps, _ = drawn
            assert data.get_ydata()[0] == value
            np.testing.assert_allclose(sorted(cap.get_ydata()[0] for cap in caps), [value - error, value + error])
            assert axes.get_ylim()[0] < value - error < value + error < axes.get_ylim()[1]
    assert_nothing_overlaps(figure)


def test_fits_are_drawn_with_what_they_leave(generator):
    t = np.linspace(0, 30, 20)
    data, curve = 80 + generator.standard_normal(20), np.full(20, 80.0)
    figure = plots.draw_fits({"a": (t, data, curve), "b": (t, 2 * data, curve)}, what="column ADC", unit="LSB")
    above, other, below, _ = figure.axes
    np.testing.assert_array_equal(line(above, "mean of all runs").get_ydata(), data)
    np.testing.assert_array_equal(line(other, "mean of all runs").get_ydata(), 2 * data)
    np.testing.assert_array_equal(line(above, "fit").get_ydata(), curve)
    np.testing.assert_allclose(below.get_lines()[-1].get_ydata(), data - curve)
    assert_nothing_overlaps(figure)


# --- calibration -------------------------------------------------------------------------------------------------


@pytest.fixture
def sweeps(generator):
    codes = np.array([20, 80, 320])
    return {
        "tau_mem": (codes, 6 * (80 / codes[:, None]) ** 0.4 * np.exp(0.1 * generator.standard_normal(N))),
        "leak": (codes, 0.4 * codes[:, None] + 10 * generator.standard_normal(N)),
    }


def test_transfer_curves_are_those_of_the_circuits_named(sweeps, calibration):
    neurons = (3, 200)
    figure = plots.draw_transfer(sweeps, neurons, targets=calibration.targets, codes=calibration.codes)
    for axes, (name, (codes, values)) in zip(figure.axes, sweeps.items(), strict=True):
        assert levels(axes) == [{"tau_mem": 6.0, "leak": 80.0}[name]]
        for n in neurons:
            drawn = line(axes, f"neuron {n}")
            np.testing.assert_array_equal(drawn.get_xdata(), codes)
            np.testing.assert_array_equal(drawn.get_ydata(), values[:, n])
        rings = [drawn for drawn in axes.get_lines() if drawn.get_label() == "_found"]
        assert [ring.get_xdata()[0] for ring in rings] == [getattr(calibration.codes, name)[n] for n in neurons]
        assert {ring.get_ydata()[0] for ring in rings} == {levels(axes)[0]}
        # a ring has the colour of its curve
        assert [r.get_markeredgecolor() for r in rings] == [line(axes, f"neuron {n}").get_color() for n in neurons]
    assert_nothing_overlaps(figure)


def test_spreads_count_every_measured_neuron_and_name_their_spread(generator):
    units = {"tau_mem": "µs", "leak": "mV"}
    groups = {
        "equal codes": {"tau_mem": generator.normal(6, 0.6, N), "leak": generator.normal(375, 70, N)},
        "calibrated": {"tau_mem": generator.normal(6, 0.1, N), "leak": generator.normal(375, 4, N)},
    }
    groups["equal codes"]["leak"][:3] = np.nan
    figure = plots.draw_spreads(groups, units)
    grid = np.array(figure.axes).reshape(2, 2)
    for row, (label, group) in zip(grid, groups.items(), strict=True):
        assert row[0].get_ylabel() == f"{label}\nneurons"
        for axes, (name, values) in zip(row, group.items(), strict=True):
            (patch,) = axes.patches
            assert counts(patch).sum() == np.isfinite(values).sum()
            assert axes.get_title(loc="right") == f"SD {spread_text(name, values, units[name])}"
    for above, below in grid.T:
        assert above.get_xlim() == below.get_xlim()  # before and after on one scale
    assert_nothing_overlaps(figure)


def test_a_spread_is_stated_as_it_is_published():
    values = np.array([5.0, 7.0, 5.0, 7.0, np.nan])
    assert spread_text("tau_mem", values, "µs") == "16.7 %"
    assert spread_text("threshold − leak", values, "mV") == "16.7 %"
    assert spread_text("leak", values, "mV") == "1.0 mV"
    assert spread_text("cadc_offset", values, "LSB") == "1.0 LSB"


def test_estimates_are_drawn_against_the_truth_without_those_that_failed(generator):
    truth = generator.uniform(4, 8, N)
    error = 0.1 * generator.standard_normal(N)
    value, sd = truth + error, np.full(N, 0.1)
    value[7] = sd[7] = np.nan
    m = Measurement("tau_mem", "µs", value, sd, {7: "no fit"}, value)
    figure = plots.draw_against_truth([(m, truth)])
    above, below = figure.axes
    (bars,) = above.containers
    ok = np.arange(N) != 7
    np.testing.assert_array_equal(bars[0].get_xdata(), truth[ok])
    np.testing.assert_array_equal(bars[0].get_ydata(), value[ok])
    (segments,) = bars[2]
    lengths = [np.ptp(segment[:, 1]) for segment in segments.get_segments()]
    np.testing.assert_allclose(lengths, 0.2)
    identity = line(above, "estimate = truth")
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
    (patch,) = below.patches
    assert counts(patch).sum() == N - 1
    pull = error[ok] / 0.1
    assert below.get_title(loc="right") == f"mean {pull.mean():+.2f}, SD {pull.std():.2f}"
    (expected,) = below.get_lines()
    width = np.diff(patch.get_xy()[:, 0]).max()
    area = np.trapezoid(expected.get_ydata(), expected.get_xdata()) / width
    assert area == pytest.approx(N - 1, rel=1e-3)
    assert_nothing_overlaps(figure)


def test_errors_far_out_still_count(generator):
    truth = np.full(N, 6.0)
    m = Measurement("tau_mem", "µs", truth + np.linspace(-5, 5, N), np.full(N, 0.1), {}, truth)
    _, below = plots.draw_against_truth([(m, truth)]).axes
    assert counts(below.patches[0]).sum() == N


def test_a_search_shows_codes_readings_and_how_its_error_shrinks(generator):
    codes = generator.integers(0, 1022, (5, N))
    readings = 80 + 64 * 0.5 ** np.arange(5)[:, None] * generator.choice([-1, 1], (5, N))
    readings[0, 0] = np.nan
    figure = plots.draw_search(codes, readings, 80.0, neurons=(1, 9), what="leak", unit="LSB")
    tried, read, left = figure.axes
    for k, n in enumerate((1, 9)):
        np.testing.assert_array_equal(tried.get_lines()[k].get_ydata(), codes[:, n])
        np.testing.assert_array_equal(read.get_lines()[k].get_ydata(), readings[:, n])
    assert levels(read) == [80.0]
    (error,) = left.get_lines()
    np.testing.assert_array_equal(error.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(error.get_ydata(), 64 * 0.5 ** np.arange(5))
    assert_nothing_overlaps(figure)


def test_codes_found_are_counted_beside_the_equal_ones(calibration):
    names = ("tau_mem", "leak")
    figure = plots.draw_codes(calibration, names)
    for axes, name in zip(figure.axes, names, strict=True):
        codes = getattr(calibration.codes, name).astype(float)
        (patch,) = axes.patches
        assert counts(patch).sum() == N
        assert patch.get_xy()[:, 0].min() == codes.min()
        assert patch.get_xy()[:, 0].max() == codes.max()
        equal = calibration.profile.transfer.nominal_code(name)
        assert list(line(axes, "equal codes").get_xdata()) == [equal, equal]
        sd = f"{100 * codes.std() / codes.mean():.0f} %" if name == "tau_mem" else f"{codes.std():.0f} codes"
        assert axes.get_title(loc="right") == f"SD {sd}"
    assert_nothing_overlaps(figure)


def test_reach_is_drawn_in_percent():
    wanted = np.geomspace(0.5, 100, 20)
    reach = {"tau_mem": (wanted, np.linspace(0, 1, 20)), "tau_syn_exc": (wanted, np.ones(20))}
    figure = plots.draw_reach(reach, 6.0)
    (axes,) = figure.axes
    for name, (targets, share) in reach.items():
        drawn = line(axes, NAMES[name])
        np.testing.assert_array_equal(drawn.get_xdata(), targets)
        np.testing.assert_allclose(drawn.get_ydata(), 100 * share)
    assert list(line(axes, "usual target, 6 µs").get_xdata()) == [6.0, 6.0]
    assert_nothing_overlaps(figure)


def test_neurons_without_input_are_drawn_with_their_own_leak_and_threshold(fast):
    leak, threshold, spikes = np.array([370.0, 380.0]), np.array([700.0, 340.0]), [0, 31]
    figure = plots.draw_without_input(fast, (4, 65), leak_mv=leak, threshold_mv=threshold, spikes=spikes)
    for k, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(line(axes, "membrane").get_ydata(), fast.samples_mv[k])
        assert levels(axes) == [threshold[k], leak[k]]
        assert axes.get_title() == f"neuron {(4, 65)[k]}: {spikes[k]} spikes"
        assert axes.get_ylim()[0] < 340 < 700 < axes.get_ylim()[1]
    assert_nothing_overlaps(figure)


# --- all of them -------------------------------------------------------------------------------------------------


def test_every_figure_bears_the_badge_and_saves_as_png(calibration, sweeps, fast, column):
    before = dict(mpl.rcParams)
    t = np.linspace(0, 1, 5)
    figures = [
        plots.draw_responses({"a": fast}, {"a": column}, 0),
        plots.draw_summation(t, {"a": t}, t),
        plots.draw_fits({"a": (t, t, t)}),
        plots.draw_rates(t, t, predicted=(t, t), threshold_mv=0.5),
        plots.draw_transfer(sweeps, (0,), targets=Targets()),
        plots.draw_codes(calibration, ("tau_mem",)),
        plots.draw_reach({"tau_mem": (t + 1, t)}, 1.5),
        plots.draw_without_input(fast, (1, 2), leak_mv=t, threshold_mv=t, spikes=[0, 0]),
    ]
    for figure in figures:
        assert "emulated chip" in [text.get_text() for text in figure.texts]
        assert figure.png(dpi=40).startswith(b"\x89PNG\r\n\x1a\n")
    assert dict(mpl.rcParams) == before
