"""Figure 4A and the comparison with a real chip: what is drawn is what was measured, and all of it is seen."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import StepPatch

from bss2lab import plots
from bss2lab.chip import published
from bss2lab.chip.calibration import Failure
from bss2lab.studies.fig4 import Comparison, DetuningConfig, Detunings, Population

pytestmark = pytest.mark.slow

SIGMA_D = (0.0, 0.2, 0.5)


def population(label, sigma_d, seed, *, spread=0.05, lost=(), missed=0, firing=()):
    generator = np.random.default_rng(seed)

    def times(middle):
        return middle * np.exp((spread + 0.003) * generator.normal(0, 1, 256))

    values = {
        "tau_mem_us": times(6.0),
        "tau_syn_exc_us": times(6.0),
        "tau_syn_inh_us": times(6.0),
        "leak_mv": generator.normal(375, 10 + 100 * spread, 256),
        "reset_mv": generator.normal(375, 10 + 100 * spread, 256),
        "threshold_mv": generator.normal(703, 10 + 300 * spread, 256),
    }
    values["threshold_mv"][list(lost)] = np.nan
    values["distance_mv"] = values["threshold_mv"] - values["leak_mv"]
    failures = {"threshold_mv": dict.fromkeys(lost, "the threshold lies above")} if lost else {}
    out_of_reach = tuple(Failure(k, "tau_mem", "out of reach") for k in range(missed))
    return Population(label, sigma_d, values, failures, out_of_reach, tuple(firing))


@pytest.fixture
def result():
    detuned = (
        population("0 %", 0.0, 0, spread=0.0),
        population("20 %", 0.2, 1, spread=0.2),
        population("50 %", 0.5, 2, spread=0.5, lost=(3, 5), missed=17, firing=(1, 2, 9)),
    )
    return Detunings(DetuningConfig(sigma_d=SIGMA_D), detuned, population("uncalibrated", None, 3, spread=0.3))


@pytest.fixture
def comparison():
    made = {name: population(name, None, k, spread=s) for k, (name, s) in enumerate(
        {"uncalibrated": 0.2, "calibrated": 0.003, "published": 0.06, "resampled": 0.2}.items()
    )}  # fmt: skip
    return Comparison(**made)


@pytest.fixture
def real():
    def arrays(seed, spread):
        generator = np.random.default_rng(seed)
        common = generator.normal(0, 1, 512)
        return {
            name: (16 if name.endswith("_us") else 450)
            * (1 + spread * (0.6 * common + 0.8 * generator.normal(0, 1, 512)))
            for name in published.CORRELATED
        }

    return arrays(0, 0.08), arrays(1, 0.02)


def steps(axes):
    return [patch for patch in axes.patches if isinstance(patch, StepPatch)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def everything(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def assert_texts_apart(figure, axes):
    """No two texts of these axes lie on one another."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in axes.texts if t.get_text()]
    for k, a in enumerate(boxes):
        for b in boxes[k + 1 :]:
            width = min(a.x1, b.x1) - max(a.x0, b.x0)
            height = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(width, height) < 1.0


# --- figure 4A ---------------------------------------------------------------------------------------------------


def test_every_row_is_the_histogram_of_its_neurons(result):
    panels = plots.draw_detuning(result).axes
    assert len(panels) == 3
    columns = (("tau_mem_us",), ("tau_syn_exc_us", "tau_syn_inh_us"), ("distance_mv",))
    for axes, names in zip(panels, columns, strict=True):
        filled = [patch for patch in steps(axes) if patch.get_fill()]
        outlines = [patch for patch in steps(axes) if not patch.get_fill() and patch.get_linestyle() != "solid"]
        dashed = [patch for patch in outlines if patch.get_linewidth() > 0.6]
        assert len(filled) == 4
        assert len(dashed) == 4 * (len(names) - 1)
        for name, patches in zip(names, (filled, dashed), strict=False):
            for k, (p, patch) in enumerate(zip(result.populations, patches, strict=True)):
                tops, edges, base = patch.get_data()
                counts, _ = np.histogram(p.values[name][np.isfinite(p.values[name])], edges)
                assert counts.sum() == np.isfinite(p.values[name]).sum(), "neurons outside the bins"
                np.testing.assert_allclose(tops - base, 0.86 * counts / counts.max())
                assert np.ravel(base)[0] == -k
                low, high = axes.get_xlim()
                assert low <= edges[0]
                assert edges[-1] <= high
                assert tops.max() < axes.get_ylim()[1]


def test_spreads_are_written_beside_the_rows(result):
    tau, syn, distance = plots.draw_detuning(result).axes
    for k, p in enumerate(result.populations):
        percent = 100 * p.spread("tau_mem_us").relative
        assert texts(tau)[k] == f"± {percent:.{int(percent < 1)}f} %"
        pair = [100 * p.spread(f"tau_syn_{kind}_us").relative for kind in ("exc", "inh")]
        assert texts(syn)[k] == "± " + " / ".join(f"{x:.{int(x < 1)}f}" for x in pair) + " %"
        assert texts(distance)[k] == f"± {p.spread('distance_mv').sd:.0f} mV"


def test_what_was_lost_is_written_at_the_right(result):
    distance = plots.draw_detuning(result).axes[2]
    assert "17 targets out of reach\n3 fire without input\n2 not measured" in texts(distance)


def test_the_real_chips_marks_are_its_numbers_scaled_to_the_targets(result):
    tau = plots.draw_detuning(result).axes[0]
    marks = [line for line in tau.get_lines() if line.get_transform() == tau.transData]
    thin, thick, dot = marks[:3]
    s = published.UNCALIBRATED["tau_mem_us"]
    np.testing.assert_allclose(thin.get_xdata(), 6 / s.median * np.array([s.low, s.high]))
    np.testing.assert_allclose(thick.get_xdata(), 6 + 6 / s.median * s.robust_sd * np.array([-1, 1]))
    assert list(dot.get_xdata()) == [6.0]
    assert len(marks) == 6  # calibrated, too
    assert f"± {100 * s.robust_relative:.0f} %" in texts(tau)


def test_the_real_chip_can_be_left_out(result):
    figure = plots.draw_detuning(result, real=False)
    assert len(figure.axes[0].get_yticklabels()) == 4
    assert not [line for line in figure.axes[0].get_lines() if line.get_transform() == figure.axes[0].transData]
    assert published.CITATION not in everything(figure)


def test_source_and_badge_stand_on_the_figures(result, comparison, real):
    for figure in (plots.draw_detuning(result), plots.draw_against_real(comparison, real)):
        text = everything(figure)
        assert published.CITATION in text
        assert "emulated chip" in text


def test_texts_do_not_lie_on_one_another(result):
    figure = plots.draw_detuning(result)
    for axes in figure.axes:
        assert_texts_apart(figure, axes)


def test_leak_over_threshold_is_marked(result):
    figure = plots.draw_detuning(result)
    assert "leak over" in everything(figure)
    grey = [p for p in figure.axes[2].patches if not isinstance(p, StepPatch)]
    (span,) = grey
    assert span.get_x() + span.get_width() == pytest.approx(0)


# --- beside a real chip ------------------------------------------------------------------------------------------


def test_distributions_are_drawn_around_their_medians(comparison, real):
    axes = plots.draw_against_real(comparison, real).axes
    for r, populations in enumerate(([comparison.uncalibrated], [comparison.calibrated, comparison.published])):
        for name, panel in zip(published.CORRELATED, axes[6 * r : 6 * r + 6], strict=True):
            sources = [*[p.values[name] for p in populations], real[r][name]]
            assert len(steps(panel)) == len(sources)
            for patch, x in zip(steps(panel), sources, strict=True):
                tops, edges, _ = patch.get_data()
                x = x[np.isfinite(x)]
                centred = 100 * x / np.median(x) if name.endswith("_us") else x - np.median(x)
                counts, _ = np.histogram(centred, edges)
                np.testing.assert_allclose(tops, counts / counts.max())


def test_neurons_outside_a_panel_are_counted(comparison, real):
    wild = {name: values.copy() for name, values in real[0].items()}
    wild["tau_mem_us"][:7] = 0.3
    before = " ".join(texts(plots.draw_against_real(comparison, real).axes[0]))
    after = " ".join(texts(plots.draw_against_real(comparison, (wild, real[1])).axes[0]))
    assert "outside" not in before
    assert "7 of 512\noutside" in after


def test_without_arrays_the_published_numbers_are_drawn(comparison):
    figure = plots.draw_against_real(replace(comparison, resampled=None))
    panel = figure.axes[0]
    assert len(steps(panel)) == 1
    thin, thick, dot = panel.get_lines()
    s = published.UNCALIBRATED["tau_mem_us"]
    np.testing.assert_allclose(thin.get_xdata(), 100 + 100 * (np.array([s.low, s.high]) / s.median - 1))
    np.testing.assert_allclose(thick.get_xdata(), 100 + 100 * s.robust_relative * np.array([-1, 1]))
    assert list(dot.get_xdata()) == [100]
    assert "published numbers" in everything(figure)
    assert len(figure.axes) == 12 + 3


@pytest.mark.parametrize("arrays", [False, True])
def test_correlations_are_written_into_their_cells(comparison, real, arrays):
    figure = plots.draw_against_real(comparison, real if arrays else None)
    panels = figure.axes[12:]
    whole = published.rank_correlation(real[0]) if arrays else published.CORRELATION_UNCALIBRATED
    within = published.within_blocks(real[0]) if arrays else published.CORRELATION_WITHIN_BLOCKS
    emulated = [published.rank_correlation(p.values) for p in (comparison.uncalibrated, comparison.resampled)]
    assert len(panels) == 4
    for axes, matrix in zip(panels, (whole, within, *emulated), strict=True):
        (picture,) = axes.get_images()
        np.testing.assert_allclose(picture.get_array(), matrix)
        assert picture.get_clim() == (-1, 1)
        assert len(axes.texts) == 30
        for text in axes.texts:
            j, i = text.get_position()
            assert float(text.get_text().replace("−", "-")) == pytest.approx(matrix[i, j], abs=0.00501)
    titles = [axes.get_title() for axes in panels]
    assert sum(title.startswith("real") for title in titles) == 2
    assert titles[-1] == "emulated, resampled from real"


def test_lost_neurons_do_not_stop_the_drawing(comparison, real):
    gap = population("uncalibrated", None, 8, spread=0.2, lost=(0, 1, 2))
    figure = plots.draw_against_real(replace(comparison, uncalibrated=gap), real)
    assert all("nan" not in text for axes in figure.axes for text in texts(axes))
    assert figure.png(dpi=40).startswith(b"\x89PNG")


def test_a_single_sigma_can_be_drawn(result):
    one = Detunings(DetuningConfig(sigma_d=(0.2,)), result.detuned[1:2], result.uncalibrated)
    figure = plots.draw_detuning(one)
    assert len(figure.axes[0].get_yticklabels()) == 4
    assert figure.png(dpi=40).startswith(b"\x89PNG")
