"""Studies: from runs to the frozen results behind a figure or a table."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bss2lab import quantize
from bss2lab.chip import Chip
from bss2lab.errors import CheckpointError, DataError, InputError
from bss2lab.kernels import integrate
from bss2lab.network import chip_weights, traces_of
from bss2lab.presets import TABLE_1
from bss2lab.results import Epoch, to_json
from bss2lab.settings import TrainConfig
from bss2lab.studies import accuracy as study
from bss2lab.studies import fig3
from bss2lab.train import Data, Run, encode

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


# --- the table of accuracies -------------------------------------------------------------------------------------

ROWS = (
    study.Row("chip", CONFIG.replace(limit=200, n_hidden=10, epochs=2), 97.5),
    study.Row("software", CONFIG.replace(limit=200, n_hidden=10, epochs=1, mode="software"), 97.4),
)


@pytest.fixture(scope="module")
def outcomes():
    return study.accuracy((0, 2), rows=ROWS)


def test_the_study_trains_every_row_with_every_seed(outcomes):
    assert [o.row for o in outcomes] == list(ROWS)
    for o in outcomes:
        assert o.seeds == (0, 2)
        assert [len(epochs) for epochs in o.runs] == [o.row.config.epochs] * 2
        assert o.final == tuple(epochs[-1] for epochs in o.runs)
    # each run is that of its seed, on a chip of the same number
    alone = Run(ROWS[0].config.replace(seed=2, chip_seed=2))
    want = [e.loss for e in alone.fit()]
    assert [e.loss for e in outcomes[0].runs[1]] == want
    assert [e.loss for e in outcomes[0].runs[0]] != want
    assert isinstance(alone.chip, Chip)


def test_an_outcome_averages_its_seeds_in_percent():
    finals = [record(test=t, train=0.5) for t in (0.25, 0.5, 0.75)]
    outcome = study.Outcome(ROWS[0], (0, 1, 2), tuple((record(test=0.0), final) for final in finals))
    assert (outcome.test, outcome.test_spread) == (pytest.approx(50.0), pytest.approx(25.0))
    assert (outcome.train, outcome.spikes) == (pytest.approx(50.0), pytest.approx(20.0))
    assert study.Outcome(ROWS[0], (0,), ((finals[0],),)).test_spread == 0


def test_every_finished_run_is_told():
    told = []
    study.accuracy((0, 1), rows=ROWS[1:], done=lambda row, seed, epoch: told.append((row.name, seed, epoch.epoch)))
    assert told == [("software", 0, 1), ("software", 1, 1)]


def test_a_stopped_study_goes_on_from_its_store(tmp_path, outcomes, monkeypatch):
    def stop(row, seed, epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.accuracy((0, 2), rows=ROWS, store=tmp_path, done=stop)
    trained = []
    fit = Run.fit
    monkeypatch.setattr(Run, "fit", lambda self: (trained.append(len(self.epochs)), fit(self))[1])
    again = study.accuracy((0, 2), rows=ROWS, store=tmp_path)
    assert trained == [ROWS[0].config.epochs, 0, 0, 0]  # the first run was kept, and not trained again
    for one, two in zip(again, outcomes, strict=True):
        assert [[e.loss for e in epochs] for epochs in one.runs] == [[e.loss for e in epochs] for epochs in two.runs]


def test_a_store_of_other_settings_is_refused(tmp_path):
    study.accuracy((0,), rows=ROWS[1:], store=tmp_path)
    changed = replace(ROWS[1], config=ROWS[1].config.replace(dropout=0.5))
    with pytest.raises(CheckpointError, match=r"dropout=0.0 in the checkpoint, 0.5 asked for"):
        study.accuracy((0,), rows=[changed], store=tmp_path)


def test_the_table_stands_beside_goals_and_the_papers_numbers(outcomes):
    head, rule, *lines = study.table(outcomes).splitlines()
    assert head.count("|") == rule.count("|") == 8
    for line, outcome in zip(lines, outcomes, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        paper = TABLE_1["mnist", outcome.row.config.mode, False]
        assert cells == [
            outcome.row.name,
            str(outcome.row.config.epochs),
            f"{outcome.train:.1f}",
            f"{outcome.test:.2f} ± {outcome.test_spread:.2f}",
            f"≥ {outcome.row.goal}",
            str(paper.test),
            f"{outcome.spikes:.0f}",
        ]


def test_the_rows_of_the_readme_are_runs_that_the_paper_has():
    assert len({row.name for row in study.ROWS}) == len(study.ROWS)
    for row in study.ROWS:
        assert study.published(row.config) is not None
        assert row.config.validation == row.config.limit == 0  # all images, and the test set


def test_outcomes_survive_json(outcomes, tmp_path):
    path = tmp_path / "accuracy.json"
    path.write_text(to_json(study.to_record(outcomes)), encoding="utf-8")
    assert study.load(path) == outcomes
    assert "emulated, not measured" in json.loads(path.read_text(encoding="utf-8"))["note"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"rows": 3}', '{"rows": [{}]}', '{"rows": [{"name": "x", "config": {"turbo": 1}}]}', "[" * 10**5],
)
def test_results_that_are_none_are_refused(text, tmp_path):
    path = tmp_path / "accuracy.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"accuracy.json: expected results of the accuracy study, got "):
        study.load(path)


def test_missing_results_say_how_to_make_them(tmp_path):
    with pytest.raises(DataError, match="make it with `bss2lab study accuracy --json FILE`"):
        study.load(tmp_path / "accuracy.json")
