"""The decalibration bench, driven as a person drives it."""

import dataclasses
import json

import numpy as np
import pytest

from bss2lab.chip import Chip
from bss2lab.chip.instruments import self_active
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import encode
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Mark, Series
from bss2lab.lab.models.decalibration import SWEEP, Decalibration
from bss2lab.lab.models.detuned import Place, train_on
from bss2lab.learners.readout import count_errors, evaluate_on_substrate
from bss2lab.settings import TrainConfig
from bss2lab.studies import fig4_robustness
from bss2lab.studies.fig4_robustness import RobustnessConfig, TransferConfig
from bss2lab.studies.networks import Trained
from bss2lab.studies.training import data_of, train_network
from bss2lab.train import Run
from bss2lab.types import Weights

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

SMALL = RobustnessConfig(
    itl=TrainConfig(epochs=4, limit=500, threads=1, n_hidden=60, learning_rate=0.02),
    software=TrainConfig(mode="software", epochs=4, limit=500, threads=1, n_hidden=60, learning_rate=0.02),
)


@pytest.fixture(scope="module")
def home():
    run = Run(SMALL.itl, data_of(SMALL.itl))
    for _ in run.fit():
        pass
    return Trained(SMALL.itl, tuple(run.epochs), run.learner.weights())


@pytest.fixture
def bench(home, tmp_path):
    model = Decalibration(home, data_of(SMALL.itl), config=SMALL, store=tmp_path, engine=Engine())
    assert model.wait(600)
    yield model
    model.close()


def panel(model, key):
    return next(p for p in model.frame().panels if p.key == key)


def at_place(model, **values):
    assert model.set(**values)
    assert model.wait(600)


def test_errors_are_those_of_the_study(bench):
    bench.train_software()
    assert bench.wait(600)
    at_place(bench, sigma_d=0.3)
    software = bench.software
    assert software is not None
    train = software.config.replace(mode="transfer", chip_seed=0, sigma_d=0.3, detuned="both", n_hidden=60)
    found = fig4_robustness.transfer(TransferConfig(train=train, recalibrated=False), software.weights._asdict(), None)
    tallies = bench.visit.tallies
    assert tallies["transfer"].error == pytest.approx(found.values["test_error"], abs=1e-12)
    assert tallies["transfer"].complete
    assert bench.visit.self_active == found.values["self_active"]
    held_out = encode(data_of(SMALL.itl).held_out, SMALL.itl)
    calibrated = evaluate_on_substrate(Chip(0), software.weights, held_out, seed=1)
    assert tallies["recalibrated"].error == pytest.approx(1 - calibrated.accuracy, abs=1e-12)
    detuned = Chip(0).decalibrate(0.3, "both", seed=0)
    home = evaluate_on_substrate(detuned, bench.home.weights, held_out, seed=1)
    assert tallies["itl"].error == pytest.approx(1 - home.accuracy, abs=1e-12)


def test_parts_add_up_to_the_whole(home):
    samples = encode(data_of(SMALL.itl).held_out, SMALL.itl)
    whole = evaluate_on_substrate(Chip(2), home.weights, samples, seed=5)
    tallies = list(count_errors(Chip(2), home.weights, samples, seed=5, part=150))
    assert [t.seen for t in tallies] == [125, 250, 375, 500]
    assert [t.complete for t in tallies] == [False, False, False, True]
    assert tallies[-1].error == pytest.approx(1 - whole.accuracy, abs=1e-12)
    chip = Chip(2)
    program = chip.write(Weights(np.zeros((256, 3), np.int8), np.zeros((3, 10), np.int8)))
    with pytest.raises(InputError, match="index"):
        chip.classify(program, samples.spikes, seed=0, index=np.array([500]))


def test_training_here_holds_for_this_place_alone(bench):
    at_place(bench, sigma_d=0.4, detuned="tau")
    assert "here" not in bench.visit.tallies
    bench.train_here()
    assert not bench.available()["train_here"]
    assert bench.wait(600)
    assert bench.available()["train_here"]
    trained = bench.here[Place(0, "tau", 0.4)]
    assert (trained.config.sigma_d, trained.config.detuned, trained.config.mode) == (0.4, "tau", "itl")
    assert bench.message.kind == "good"
    assert "σ_d 0.4 of time constants" in bench.message.text
    assert bench.visit.tallies["here"].error == pytest.approx(1 - trained.final.held_out_accuracy, abs=0.03)
    at_place(bench, sigma_d=0.3)
    assert "here" not in bench.visit.tallies
    x, y = bench.curve("here")
    assert x.tolist() == pytest.approx([0.4])
    assert 0 < y[0] < 95


def test_curves_collect_what_was_visited(bench):
    bench.sweep()
    assert bench.wait(600)
    x, y = bench.curve("itl")
    assert x.tolist() == pytest.approx(SWEEP)
    assert bench.values["sigma_d"] == SWEEP[-1]
    assert y[-1] > y[0] + 5  # detuning hurts a network that was not trained on it
    errors = panel(bench, "errors")
    named = {layer.name: layer for layer in errors.layers if isinstance(layer, Series) and layer.name}
    assert set(named) == {"in the loop on calibrated chip 0"}
    np.testing.assert_allclose(named["in the loop on calibrated chip 0"].y, y, rtol=1e-5)
    assert errors.y.log
    assert errors.y.low <= y.min()
    assert [m.at for m in errors.layers if isinstance(m, Mark)] == [0.5]
    assert panel(bench, "now").title == "At σ_d = 0.5"
    at_place(bench, chip_seed=1)
    assert bench.curve("itl")[0].tolist() == [0.5]
    at_place(bench, chip_seed=0, detuned="threshold")
    assert bench.curve("itl")[0].tolist() == [0.0, 0.5]  # at 0 nothing is detuned, whatever it is
    bench.clear()
    assert bench.wait(600)
    assert bench.curve("itl")[0].tolist() == [0.5]


def test_histograms_show_the_hidden_truth(bench):
    at_place(bench, sigma_d=0.5, detuned="threshold", chip_seed=3)
    detuned = Chip(3).decalibrate(0.5, "threshold", seed=3)
    distance = detuned.mismatch.threshold_mv - detuned.mismatch.leak_mv
    shown = panel(bench, "distance")
    before, now = (layer for layer in shown.layers if isinstance(layer, Series))
    assert before.y.sum() == now.y.sum() == 256
    assert shown.note == f"{len(self_active(detuned))} self-active"
    assert bench.visit.self_active > 0
    middle = np.average(now.x, weights=now.y)
    assert middle == pytest.approx(distance.mean(), abs=float(now.x[1] - now.x[0]))
    spread = np.sqrt(np.average((now.x - middle) ** 2, weights=now.y))
    assert spread == pytest.approx(distance.std(), rel=0.1)
    assert any(isinstance(m, Mark) and m.at == 0 for m in shown.layers)
    tau = panel(bench, "tau_mem")
    assert tau.x.unit == "µs"
    np.testing.assert_array_equal(tau.layers[0].y, tau.layers[1].y)  # not detuned


def test_a_click_goes_there_and_bars_show_it(bench):
    bench.clicked("errors", 0.1234, 50.0)
    assert bench.wait(600)
    assert bench.values["sigma_d"] == 0.12
    now = panel(bench, "now")
    error = 100 * bench.visit.tallies["itl"].error
    assert now.x.names == ("in the loop",)
    assert now.layers[0].name == f"{error:.2f} %"
    assert now.layers[0].y[0] == pytest.approx(error, rel=1e-5)
    assert now.note == "500 of 500 images"
    assert f"{error:.2f} %" in bench.frame().alt


def test_bad_input_changes_nothing(bench, home, tmp_path):
    before = dict(bench.values)
    for bad in ({"sigma_d": 1.5}, {"detuned": "leak"}, {"chip_seed": 0.5}, {"images": 1}, {"sigma_d": float("nan")}):
        assert not bench.set(**{"epochs": 7, **bad})
        assert bench.message.kind == "error"
        assert bench.values == before
    fashion = dataclasses.replace(home, config=home.config.replace(task="fashion"))
    with pytest.raises(InputError, match="in the loop on mnist"):
        Decalibration(fashion, config=SMALL, store=tmp_path, engine=Engine())
    with pytest.raises(DataError):
        Decalibration(tmp_path / "none.safetensors", config=SMALL, store=tmp_path, engine=Engine())


def test_a_failed_training_says_so_and_gives_the_buttons_back(bench, monkeypatch):
    def broken(config, data, start):
        raise InputError("run: expected luck, got none; try again")

    monkeypatch.setattr("bss2lab.lab.models.decalibration.Run", broken)
    bench.train_software()
    assert bench.wait(600)
    assert (bench.message.kind, bench.message.text) == ("error", "run: expected luck, got none; try again")
    assert bench.available()["train_software"]
    assert bench.software is None


def test_trainings_are_kept_and_found_again(home, tmp_path):
    first = Decalibration(home, config=SMALL, store=tmp_path, engine=Engine())
    first.set(images=200)
    assert first.wait(600)
    assert "train in software" in first.message.text
    first.train_software()
    assert first.wait(600)
    again = Decalibration(home, config=SMALL, store=tmp_path, engine=Engine())
    again.set(images=200)
    assert again.wait(600)
    np.testing.assert_array_equal(again.software.weights.hidden, first.software.weights.hidden)
    assert again.visit.tallies["transfer"].total == 200
    again.train_software()
    assert again.wait(600)
    assert again.message.text.startswith("found: trained in software before")
    first.train_here()
    assert first.wait(600)
    again.train_here()
    assert again.wait(600)
    assert again.message.text.startswith("found: trained in the loop on chip 0 before")
    at = Place(0, "both", 0.0)
    oracle = train_on(again.here[at].config, home.weights._asdict(), None)
    np.testing.assert_array_equal(again.here[at].weights.hidden, oracle.arrays["hidden"])
    again.set(begin="anew")
    again.train_here()
    assert again.wait(600)
    assert again.message.text.startswith("trained")
    anew = train_network(again.here[at].config, {}, None)
    np.testing.assert_array_equal(again.here[at].weights.hidden, anew.arrays["hidden"])


def test_settings_survive_json(bench):
    at_place(bench, sigma_d=0.25, detuned="tau", epochs=5)
    text = bench.to_json()
    assert json.loads(text)["settings"]["sigma_d"] == 0.25
    bench.defaults()
    assert bench.values["sigma_d"] == 0.0
    assert bench.from_json(text)
    assert bench.wait(600)
    assert bench.place == Place(0, "tau", 0.25)
    assert bench.visit.place == bench.place
