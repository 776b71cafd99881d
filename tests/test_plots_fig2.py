"""Figure 2 and the anatomy of the injection: the graph is autograd's own, and the pictures show the results."""

import io

import numpy as np
import pytest
import torch
from matplotlib import image

from bss2lab import plots
from bss2lab.chip import Chip
from bss2lab.errors import InputError
from bss2lab.inputs import Data, encode
from bss2lab.network import chip_weights, initial_weights
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.settings import TrainConfig
from bss2lab.studies import anatomy, fig2, injection
from bss2lab.studies.anatomy import Point, Result
from bss2lab.studies.injection import Agreement, Layers
from bss2lab.types import Weights

CONFIG = TrainConfig(limit=20, threads=1)

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def samples():
    return encode(Data.load(CONFIG).train, CONFIG)


@pytest.fixture(scope="module")
def weights():
    start = initial_weights(256, CONFIG.n_hidden, 10, tau_mem_us=6.0, dt_us=1.7, seed=0)
    return Weights(start.hidden + np.float32(0.015), start.output)  # a little excitation, so that neurons fire


@pytest.fixture(scope="module")
def recording(samples, weights):
    return fig2.parallel_recording(CONFIG, weights, samples, 4, chip=Chip(2), noise_seed=1)


def seen(figure):
    """The figure as pixels; drawing it must not warn, and something must be on it."""
    pixels = image.imread(io.BytesIO(figure.png(dpi=60)))[..., :3]
    assert pixels.std() > 0.02
    return pixels


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts] + [t.get_text() for t in figure.texts]


# --- A -----------------------------------------------------------------------------------------------------------


def test_the_loop_names_every_station_and_is_readable_in_grey():
    figure = plots.draw_loop()
    words = " ".join(texts(figure)).lower()
    for station in ("input", "cadc", "spikes", "model graph", "recorded", "loss", "bptt", "adam", "round", "weights"):
        assert station in words
    assert "emulated chip" in words
    pixels = seen(figure)
    assert np.ptp(pixels, axis=-1).max() < 0.02  # no colour that a grey print could lose


# --- B -----------------------------------------------------------------------------------------------------------


def test_a_parallel_recording_is_one_run_of_the_chip(recording, samples, weights):
    chip = Chip(2)
    one = samples.spikes.select(np.array([4]))
    rounded, _ = chip_weights(weights)
    run = chip.run(rounded, one, seed=1)
    np.testing.assert_array_equal(recording.cadc_lsb[2:, :246], run.hidden_lsb[0])
    np.testing.assert_array_equal(recording.cadc_lsb[2:, -10:], run.output_lsb[0])
    np.testing.assert_array_equal(recording.cadc_lsb[0, :246], run.hidden_baseline_lsb[0])
    np.testing.assert_array_equal(recording.spike_times_us, run.hidden_spikes.times_us)
    assert recording.cadc_lsb.shape == (CONFIG.n_steps + 2, 256)
    assert recording.label == samples.labels[4]
    assert len(recording.spike_times_us) > 5
    # the sample at the end of model step 0 is taken a step and the read-out lag after the image's start
    assert recording.time_us[2] == pytest.approx(1.7 + chip.profile.readout_lag_us)
    np.testing.assert_allclose(np.diff(recording.time_us), 1.7, rtol=1e-5)


def test_the_picture_holds_every_sample_and_every_spike(recording):
    figure = plots.draw_recording(recording, shown=3)
    seen(figure)
    picture, traces = figure.axes[:2]
    np.testing.assert_array_equal(picture.images[0].get_array(), recording.cadc_lsb.T)
    left, right, bottom, top = picture.images[0].get_extent()
    assert (right - left) / len(recording.time_us) == pytest.approx(1.7, rel=1e-3)
    assert (bottom, top) == (255.5, -0.5)
    x, y = picture.lines[0].get_data()
    np.testing.assert_array_equal(x, recording.spike_times_us)
    np.testing.assert_array_equal(y, recording.spike_units)
    busiest = int(np.bincount(recording.spike_units).argmax())
    labels = [line.get_label() for line in traces.lines]
    assert f"hidden {busiest}" in labels
    drawn = traces.lines[labels.index(f"hidden {busiest}")].get_ydata()
    np.testing.assert_array_equal(drawn, recording.cadc_lsb[:, busiest])
    assert sum(label.startswith("hidden") for label in labels) == 3
    assert recording.mv_per_lsb == CADC_MV_PER_LSB
    assert "emulated chip" in texts(figure)


def test_an_image_that_is_not_there_is_refused(samples, weights):
    with pytest.raises(InputError, match="sample index: expected 0 … 19, got 20"):
        fig2.parallel_recording(CONFIG, weights, samples, 20, chip=Chip(0))


# --- C -----------------------------------------------------------------------------------------------------------


def edges(graph):
    return {
        (graph.nodes[a].symbol, graph.nodes[a].step, graph.nodes[b].symbol, graph.nodes[b].step) for a, b in graph.edges
    }


@pytest.mark.parametrize("n_steps", [2, 3, 5])
@pytest.mark.parametrize("inject", [True, False])
def test_the_graph_is_the_models_equations_unrolled(n_steps, inject):
    """Written out by hand from the table in ``dynamics``: what each quantity of a step depends on."""
    want = set()
    for t in range(n_steps):
        want |= {("W_h", -1, "I_h", t), ("I_h", t, "V_h", t), ("V_h", t, "S_h", t)}
        want |= {("W_o", -1, "I_o", t), ("I_o", t, "V_o", t)}
        if t > 0:
            want |= {(x, t - 1, x, t) for x in ("I_h", "V_h", "I_o", "V_o")}
            want.add(("S_h", t - 1, "I_o", t))  # a spike acts in the next step
    graph = fig2.computation_graph(n_steps, inject=inject)
    assert edges(graph) == want  # and no S → V: the reset is a constant in the derivative
    assert {n.symbol for n in graph.nodes if n.injected} == ({"V_h", "S_h", "V_o"} if inject else set())
    assert len(graph.nodes) == 5 * n_steps + 2


def test_the_recorded_values_are_no_part_of_the_graph():
    """A recording has no gradient of its own: injecting one changes values alone, and no edge."""
    assert edges(fig2.computation_graph(3, inject=True)) == edges(fig2.computation_graph(3, inject=False))


def test_one_step_is_refused():
    with pytest.raises(InputError, match="n_steps: expected at least 2, got 1"):
        fig2.computation_graph(1)


@pytest.mark.parametrize("inject", [True, False])
def test_the_drawn_graph_has_every_node_and_edge(inject):
    graph = fig2.computation_graph(3, inject=inject)
    figure = plots.draw_graph(graph)
    seen(figure)
    axes = figure.axes[0]
    arrows = [t for t in axes.texts if t.get_text() == ""]
    marked = sum(node.injected for node in graph.nodes)
    assert marked == (9 if inject else 0)
    assert len(arrows) == len(graph.edges) + marked
    assert sum(t.get_text() == "$S$" for t in axes.texts) == 3
    assert ("emulated chip" in texts(figure)) == inject


# --- the anatomy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sides(samples, weights):
    return injection.side_by_side(CONFIG, weights, samples, np.arange(3), chip=Chip(2))


def test_traces_stand_side_by_side(sides):
    figure = plots.draw_side_by_side(sides, image=1, hidden=(5, 7))
    seen(figure)
    upper = figure.axes[0]
    model, chip = upper.lines[0].get_ydata(), upper.lines[1].get_ydata()
    np.testing.assert_array_equal(model, sides.model.v_hidden[1, :, 5].numpy())
    np.testing.assert_array_equal(chip, sides.recorded.v_hidden[1, :, 5].numpy())
    derivative = figure.axes[3].lines[1].get_ydata()
    np.testing.assert_allclose(derivative, (50 * np.abs(chip - 1) + 1) ** -2.0, rtol=1e-4)
    bottom, top = upper.get_ylim()
    shown = torch.cat([sides.model.v_hidden[1][:, [5, 7]], sides.recorded.v_hidden[1][:, [5, 7]]])
    assert bottom < shown.min()
    assert top > shown.max()


def test_by_default_the_neurons_that_differ_most_are_shown(sides):
    figure = plots.draw_side_by_side(sides, image=0)
    differ = (sides.model.s_hidden[0] - sides.recorded.s_hidden[0]).abs().sum(dim=0)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert differ[int(titles[0].removeprefix("hidden "))] == differ.max() > 0


def point(trained, seed, sigma, cosine):
    good, bad = Agreement(cosine, 1.0, 0.9, -0.3), Agreement(0.1, 0.2, 0.5, 0.01)
    return Point(
        trained, seed, sigma, 0.1, 0.2 + sigma, 0.2, 0.9, 0.8,
        Layers(good, good), Layers(bad, bad), Layers(good, good), Layers(good, good),
    )  # fmt: skip


def test_agreement_is_drawn_as_mean_and_range():
    points = [point(k, s, x, 0.9 - x - 0.1 * s) for k in anatomy.TRAININGS for s in (0, 1) for x in (0.3, 0.0)]
    figure = plots.draw_agreement(Result(CONFIG, 100, tuple(points)), trained=anatomy.SOFTWARE)
    seen(figure)
    curve = figure.axes[0].lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [0, 30])
    np.testing.assert_allclose(curve.get_ydata(), [0.85, 0.55])
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (pytest.approx(0.5), pytest.approx(0.9))
    losses = figure.axes[3].lines[0].get_ydata()
    np.testing.assert_allclose(losses, [0.2, 0.5])
