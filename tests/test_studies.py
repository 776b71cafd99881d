"""Studies: from runs to the frozen results behind a figure or a table."""

import numpy as np
import pytest
import torch

from bss2lab import quantize
from bss2lab.errors import InputError
from bss2lab.inputs import Data, encode
from bss2lab.kernels import integrate
from bss2lab.network import chip_weights, traces_of
from bss2lab.results import Epoch
from bss2lab.settings import TrainConfig
from bss2lab.studies import fig3
from bss2lab.train import Run

CONFIG = TrainConfig(limit=400, n_hidden=30, epochs=4, threads=1, learning_rate=5e-3, lr_decay=0.97, rho_b=5e-4)


@pytest.fixture(scope="module")
def data():
    return Data.load(CONFIG)


@pytest.fixture(scope="module")
def run(data):
    made = Run(CONFIG, data)
    list(made.fit())
    return made


@pytest.fixture(scope="module")
def images(data):
    return fig3.first_of_each(data.held_out, (0, 3, 5))


@pytest.fixture(scope="module")
def on_chip(run, images):
    return fig3.snapshots(CONFIG, run.learner.weights(), images, chip=run.chip, noise_seed=3)


@pytest.fixture(scope="module")
def in_software(run, images):
    return fig3.snapshots(CONFIG, run.learner.weights(), images)


def record(epoch=1, loss=1.0, train=0.5, test=0.25, validation=None):
    return Epoch(epoch, loss, {"task": loss}, train, test, validation, 20.0, 0.0, 1e-3, 2.0)


# --- figure 3A ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["on_chip", "in_software"])
def test_snapshots_have_the_shapes_that_they_promise(kind, request, images):
    shots = request.getfixturevalue(kind)
    n = len(images)
    assert shots.pixels.shape == (n, 16, 16)
    np.testing.assert_array_equal(shots.pixels, images.prepare())
    assert shots.labels.tolist() == [0, 3, 5]
    assert shots.readout.shape == (n, CONFIG.n_steps, 10)
    assert shots.time_us.shape == (CONFIG.n_steps,)
    np.testing.assert_allclose(np.diff(shots.time_us), CONFIG.dt_us, rtol=1e-5)
    assert (shots.input_spikes.n_units, shots.hidden_spikes.n_units) == (256, CONFIG.n_hidden)
    assert len(shots.input_spikes) == len(shots.hidden_spikes) == n
    assert shots.emulated == (kind == "on_chip")
    assert (shots.limits is None) == (kind == "in_software")


@pytest.mark.parametrize("kind", ["on_chip", "in_software"])
def test_the_decision_is_the_output_with_the_highest_peak(kind, request):
    shots = request.getfixturevalue(kind)
    for b in range(len(shots.labels)):
        peaks = [shots.readout[b, :, o].max() for o in range(10)]
        assert peaks[shots.decisions[b]] == max(peaks)


def test_snapshots_on_the_chip_are_one_run_of_that_chip(run, images, on_chip):
    samples = encode(images, CONFIG)
    weights, scale = chip_weights(run.learner.weights())
    recording = run.chip.run(weights, samples.spikes, seed=3)
    np.testing.assert_array_equal(on_chip.readout, traces_of(recording, scale).v_output.numpy())
    np.testing.assert_array_equal(on_chip.hidden_spikes.times_us, recording.hidden_spikes.times_us)
    np.testing.assert_array_equal(on_chip.input_spikes.times_us, samples.spikes.times_us)
    lag = run.chip.profile.readout_lag_us
    np.testing.assert_allclose(on_chip.time_us, CONFIG.dt_us * np.arange(1, CONFIG.n_steps + 1) + lag, rtol=1e-6)
    other = fig3.snapshots(CONFIG, run.learner.weights(), images, chip=run.chip, noise_seed=4)
    assert (other.readout != on_chip.readout).any()  # the noise is the seed's


def test_the_limits_are_the_adcs_range_in_model_units(run, on_chip):
    _, scale = chip_weights(run.learner.weights())
    unit = quantize.model_units_per_lsb(scale)
    low, high = on_chip.limits
    assert high - low == pytest.approx(255 * unit)
    assert low == pytest.approx(-run.chip.profile.leak_lsb * unit)
    # baselines scatter around the leak by a few LSB
    assert low - 40 * unit < on_chip.readout.min() <= 0
    assert 0 < on_chip.readout.max() < high + 40 * unit


def test_snapshots_in_software_are_the_model_on_its_grid(run, images, in_software):
    w_hidden, w_output = (torch.from_numpy(np.ascontiguousarray(w)) for w in run.learner.weights())
    traces = integrate(w_hidden, w_output, encode(images, CONFIG).spikes, dt_us=CONFIG.dt_us, model=CONFIG.model)
    np.testing.assert_array_equal(in_software.readout, traces.v_output.numpy())
    fired = np.zeros((len(images), CONFIG.n_steps, CONFIG.n_hidden))
    for b in range(len(images)):
        times, units = in_software.hidden_spikes.sample(b)
        steps = times / CONFIG.dt_us - 1
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
        np.add.at(fired[b], (np.rint(steps).astype(int), units), 1)
    np.testing.assert_array_equal(fired, traces.s_hidden.numpy())
    assert fired.sum() > 0


def test_a_trained_network_decides_rightly_in_most_snapshots(run, data):
    shots = fig3.snapshots(CONFIG, run.learner.weights(), data.held_out.take(200), chip=run.chip)
    assert np.mean(shots.decisions == shots.labels) > 0.4
    assert len({*shots.decisions.tolist()}) > 5


def test_first_of_each_finds_the_first_image_of_each_class_in_the_order_asked_for(data):
    few = fig3.first_of_each(data.held_out, (7, 2, 2))
    assert few.labels.tolist() == [7, 2, 2]
    for k, c in enumerate((7, 2, 2)):
        first = next(b for b in range(400) if data.held_out.labels[b] == c)
        np.testing.assert_array_equal(few.images[k], data.held_out.images[first])


@pytest.mark.parametrize("missing", [-1, 10])
def test_a_class_that_does_not_occur_is_refused(missing, data):
    with pytest.raises(InputError, match=rf"class {missing}: expected at least one image, got 400 images without one;"):
        fig3.first_of_each(data.held_out, (0, missing))


# --- figure 3B ---------------------------------------------------------------------------------------------------


def test_learning_curves_hold_one_row_per_run():
    runs = [[record(k, loss=10.0 * s + k, train=0.1 * k, test=0.05 * k) for k in (1, 2, 3)] for s in (0, 1)]
    curves = fig3.learning_curves(runs, emulated=True)
    assert curves.epochs.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.loss, [[1, 2, 3], [11, 12, 13]])
    np.testing.assert_allclose(curves.train_accuracy, [[0.1, 0.2, 0.3]] * 2, rtol=1e-6)
    np.testing.assert_allclose(curves.test_accuracy, [[0.05, 0.1, 0.15]] * 2, rtol=1e-6)
    assert curves.emulated
    assert not fig3.learning_curves(runs, emulated=False).emulated


def test_learning_curves_end_with_the_shortest_run():
    runs = [[record(k) for k in range(1, n + 1)] for n in (5, 2, 4)]
    curves = fig3.learning_curves(runs, emulated=False)
    assert curves.epochs.tolist() == [1, 2]
    assert curves.loss.shape == curves.train_accuracy.shape == curves.test_accuracy.shape == (3, 2)


def test_a_tuning_run_shows_its_validation_accuracy():
    curves = fig3.learning_curves([[record(test=None, validation=0.75)]], emulated=False)
    assert curves.test_accuracy.tolist() == [[0.75]]


@pytest.mark.parametrize("runs", [[], [[]], [[record()], []]])
def test_learning_curves_of_nothing_are_refused(runs):
    with pytest.raises(InputError, match="runs: expected at least one finished epoch, got none; train first"):
        fig3.learning_curves(runs, emulated=False)
