"""The training cockpit's state: it trains, pauses, follows the sliders, keeps runs, and says what is wrong."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from bss2lab.errors import InputError
from bss2lab.inputs import Data
from bss2lab.lab.engine import Engine
from bss2lab.lab.models import cockpit as module
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.history import MOST, Curve
from bss2lab.losses import Objective
from bss2lab.presets import PRESETS
from bss2lab.settings import SpeechConfig, TrainConfig
from bss2lab.studies.networks import load_network
from bss2lab.train import Run

pytestmark = pytest.mark.slow

WAIT_S = 600.0


def small(**changes):
    return TrainConfig(**{"limit": 400, "n_hidden": 30, "epochs": 2, "batch_size": 40, "threads": 1, **changes})


@pytest.fixture(scope="module")
def data():
    return Data.load(small())


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop_all()


@pytest.fixture
def cockpit(data, engine):
    return Cockpit(small(), data, engine=engine)


def finished(model):
    """Wait until what it computes has ended."""
    for task in model.engine.tasks:
        if task.state == "running":
            assert task.wait(WAIT_S)
    return model


def panel(model, key):
    return next(p for p in model.frame().panels if p.key == key)


def series(model, key, name):
    return next(layer for layer in panel(model, key).layers if getattr(layer, "name", "") == name)


def test_before_the_first_start_it_shows_what_to_do(cockpit):
    assert cockpit.phase == "new"
    assert panel(cockpit, "loss").empty == "press “start”"
    assert cockpit.frame().badge == "emulated chip"
    assert "nothing learned yet" in cockpit.frame().alt
    assert cockpit.available()["start"]
    assert not cockpit.available()["keep"]


def test_it_trains_as_fit_does(cockpit, data):
    cockpit.start()
    finished(cockpit)
    assert cockpit.phase == "finished"
    expected = [100 * e.held_out_accuracy for e in Run(small(), data).fit()]
    np.testing.assert_allclose(series(cockpit, "accuracy", "test, all").y, expected, rtol=1e-6)
    assert cockpit.message.kind == "good"
    loss = sum(cockpit.history.terms[name].last for name in ("task", "burst", "readout", "weight"))
    assert cockpit.history.loss == pytest.approx(loss)
    assert not cockpit.available()["start"]


def test_one_epoch_at_a_time(cockpit):
    for n in (1, 2):
        cockpit.step()
        finished(cockpit)
        assert len(cockpit.run.epochs) == n
        assert cockpit.history.probe.arrays()[0][-1] == n  # what is shown is the network as it is now
    assert cockpit.phase == "finished"


def test_what_is_shown_of_the_neurons_is_what_they_do(cockpit):
    cockpit.step()
    finished(cockpit)
    probe = cockpit.probe
    assert probe.rates.shape == (30,)
    hidden = probe.seen.hidden_spikes
    assert probe.rates.sum() * (len(hidden) - 1) == pytest.approx(hidden.offsets[-1] - hidden.offsets[1])
    fired = np.array([np.bincount(hidden.sample(k)[1], minlength=30) > 0 for k in range(1, len(hidden))])
    assert probe.dead == (~fired).all(axis=0).sum()
    assert probe.saturated == fired.all(axis=0).sum()
    bars = next(layer for layer in panel(cockpit, "neurons").layers)
    np.testing.assert_allclose(bars.y, np.sort(probe.rates)[::-1], rtol=1e-6)
    assert panel(cockpit, "neurons").note == f"{probe.dead} dead · {probe.saturated} sat."


def test_a_live_setting_moved_while_paused_acts_on_the_next_batch(cockpit):
    cockpit.step()
    finished(cockpit)
    assert cockpit.set(rho_b=7.5, learning_rate=1e-4)
    assert [text for _, text in cockpit.marks] == ["burst penalty ρ_b 7.5", "learning rate 0.0001"]
    cockpit.start()
    finished(cockpit)
    assert cockpit.run.config.rho_b == 7.5
    assert cockpit.run.config.learning_rate == 1e-4
    (change,) = cockpit.run.changes
    assert change.epoch == 2
    assert cockpit.record()["changes"][0]["settings"] == {"rho_b": 7.5, "learning_rate": 1e-4}


def test_the_chip_is_swapped_under_the_training(cockpit):
    cockpit.step()
    finished(cockpit)
    first = cockpit.run.chip
    assert cockpit.set(sigma_d=0.3, chip_seed=1, noise=0.0)
    cockpit.start()
    finished(cockpit)
    chip = cockpit.run.chip
    assert chip.seed == 1
    assert first.seed == 0
    assert chip.detuning.sigma_d == 0.3
    assert chip.profile.membrane_noise_mv == chip.profile.cadc_noise_lsb == 0.0


def test_after_a_move_the_network_is_looked_at_often(data, engine, monkeypatch):
    cockpit = Cockpit(small(epochs=4), data, engine=engine)
    for name, value in {"PROBE_EVERY_S": 0.0, "PROBE_SHARE": 1e-9, "PROBE_SLOWEST_S": 1e9}.items():
        monkeypatch.setattr(module, name, value)

    def looks():
        before = len(cockpit.history.probe.arrays()[0])
        cockpit.step()
        finished(cockpit)
        return len(cockpit.history.probe.arrays()[0]) - before

    assert looks() <= 3  # as it begins, and as it pauses
    assert cockpit.set(rho_b=0.5)
    assert looks() >= 9  # ten batches
    monkeypatch.setattr(module, "PROBE_EVERY_S", 1e9)
    assert cockpit.set(rho_b=0.2)
    assert looks() == 1  # as it pauses: a hand that moves does not make it look more often than it may


def test_other_settings_wait_for_a_reset_and_say_so(cockpit):
    cockpit.step()
    finished(cockpit)
    assert cockpit.set(seed=3)
    assert "initial weights no.: from the next reset on" in cockpit.message.text
    assert cockpit.run.config.seed == 0
    cockpit.reset()
    cockpit.step()
    finished(cockpit)
    assert cockpit.run.config.seed == 3


def test_pause_holds_it_and_start_goes_on(data, engine):
    model = Cockpit(small(epochs=200), data, engine=engine)
    model.start()
    model.pause()
    engine.call("now", lambda: None).wait(WAIT_S)
    assert model.phase == "paused"
    assert model.available()["start"]
    model.start()
    assert model.phase in ("training", "preparing")
    model.stop()
    assert model.phase in ("paused", "new")


def test_a_run_that_is_kept_is_drawn_beside_the_next(cockpit):
    cockpit.keep()
    assert cockpit.message.kind == "error"
    cockpit.set(rho_b=0.5)
    cockpit.start()
    finished(cockpit)
    first = cockpit.history.test.arrays()[1]
    cockpit.keep()
    assert cockpit.run is None
    assert [kept.name for kept in cockpit.kept] == ["burst penalty ρ_b 0.5"]
    np.testing.assert_array_equal(series(cockpit, "accuracy", "burst penalty ρ_b 0.5").y, first)
    for _ in range(module.MOST_KEPT + 1):
        cockpit.step()
        finished(cockpit)
        cockpit.keep()
    assert len(cockpit.kept) == module.MOST_KEPT


def test_paper_values_are_the_preset_s(cockpit):
    cockpit.set(sigma_d=0.4, dropout=0.2, noise=3.0)
    cockpit.paper()
    paper = PRESETS["paper"]
    for name in (
        "rho_b",
        "rho_a",
        "learning_rate",
        "lr_decay",
        "loss_scale",
        "dropout",
        "rotation",
        "epochs",
        "sigma_d",
    ):
        assert cockpit.values[name] == getattr(paper, name), name
    assert cockpit.values["noise"] == 1.0


def test_the_paper_s_accuracy_is_the_reference_where_it_has_one(cockpit):
    marks = [layer for layer in panel(cockpit, "accuracy").layers if getattr(layer, "name", "").startswith("paper")]
    assert [(mark.name, mark.at) for mark in marks] == [("paper 97.2 %", 97.2)]
    cockpit.set(dropout=0.3)
    assert not any(getattr(layer, "name", "").startswith("paper") for layer in panel(cockpit, "accuracy").layers)


def test_contradicting_settings_are_refused(cockpit):
    assert cockpit.set(sigma_d=0.2)
    assert not cockpit.set(mode="software")
    assert "has no chip" in cockpit.message.text
    assert cockpit.values["mode"] == "itl"


def test_the_software_network_says_that_it_is_none_of_the_chip(data, engine):
    model = Cockpit(small(mode="software", epochs=1), data, engine=engine)
    model.start()
    finished(model)
    assert model.frame().badge == "software model"
    assert model.run.chip is None


def test_a_failure_is_said_in_the_widget(cockpit, monkeypatch):
    def broken(config):
        raise OSError("no data here")

    monkeypatch.setattr(module.Data, "load", broken)
    cockpit._data = None
    cockpit.start()
    finished(cockpit)
    assert cockpit.phase == "failed"
    assert cockpit.message.text == "OSError: no data here"
    assert cockpit.available()["reset"]


def test_divergence_is_one_clear_error(cockpit):
    cockpit.step()
    finished(cockpit)
    cockpit.run.learner.state()["w_hidden"][...] = np.nan
    cockpit.start()
    finished(cockpit)
    assert cockpit.phase == "failed"
    assert "lower the learning rate" in cockpit.message.text


def test_export_writes_record_and_network(cockpit, tmp_path):
    with pytest.raises(InputError, match="press “start” first"):
        cockpit.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    cockpit.step()
    finished(cockpit)
    record, network = cockpit.export(tmp_path / "out")
    body = json.loads(record.read_text())
    assert body["provenance"]["note"] == "chip results are emulated, not measured"
    assert len(body["epochs"]) == 1
    loaded = load_network(network)
    np.testing.assert_array_equal(loaded.weights.output, cockpit.run.learner.weights().output)


def test_export_does_not_read_weights_while_they_are_learned(cockpit, tmp_path, monkeypatch):
    cockpit.step()
    finished(cockpit)
    readers, weights = [], type(cockpit.run.learner).weights

    def read(learner):
        readers.append(threading.current_thread().name)
        return weights(learner)

    monkeypatch.setattr(type(cockpit.run.learner), "weights", read)
    cockpit.start()
    _, network = cockpit.export(tmp_path)
    cockpit.stop()
    assert load_network(network).weights.hidden.shape == (256, 30)
    assert set(readers) == {"bss2lab"}
    with pytest.raises(OSError, match="exists"):
        cockpit.export(network)


def test_another_sample_is_shown_at_once_while_paused(cockpit):
    cockpit.step()
    finished(cockpit)
    before = cockpit.probe.label
    other = int(np.flatnonzero(cockpit.run.data.held_out.labels != before)[0])
    cockpit.set(sample=other)
    finished(cockpit)
    assert cockpit.probe.label == cockpit.run.data.held_out.labels[other]


def test_state_goes_to_another_cockpit(cockpit, data, engine):
    cockpit.set(rho_b=1.5, sigma_d=0.2, detuned="tau", chip_seed=2)
    other = Cockpit(small(), data, key="other", engine=engine)
    assert other.from_json(cockpit.to_json())
    assert other.values == cockpit.values
    assert other.config == cockpit.config


def test_a_pause_leaves_no_thread(data, engine):
    model = Cockpit(small(epochs=500), data, engine=engine)
    model.start()
    model.pause()
    thread = engine._thread
    if thread is not None:
        thread.join(WAIT_S)
    assert not engine.alive


def test_closing_ends_its_task(cockpit, engine):
    cockpit.start()
    cockpit.close()
    engine.call("now", lambda: None).wait(WAIT_S)
    assert not [task for task in engine.tasks if task.key.startswith("cockpit/")]


def test_speech_has_controls_of_its_own(engine):
    model = Cockpit(SpeechConfig(limit=40, n_hidden=12, n_steps=40, epochs=1, threads=1), engine=engine)
    assert {"rho_r", "sigma_u"} <= set(model.controls)
    assert not {"rho_b", "rotation"} & set(model.controls)
    model.start()
    finished(model)
    assert model.phase == "finished", model.message
    assert model.frame().badge == "emulated chip · synthetic speech"
    words = model.run.data.held_out.classes
    assert panel(model, "readout").title.startswith(f"Read-out: {words[model.probe.label]} → ")


def test_long_curves_thin_out_and_keep_their_course():
    curve = Curve()
    for k in range(5 * MOST):
        curve.add(k, 2.0 * k)
    x, y = curve.arrays()
    assert len(x) <= MOST + 1
    np.testing.assert_allclose(y, 2 * x)
    assert (np.diff(x) > 0).all()
    assert curve.last == 2.0 * (5 * MOST - 1)


class FewSpikes(Objective):
    """The standard objective, and a price for every spike."""

    def terms(self, traces, labels, w_hidden, *rest):
        spikes = traces.s_hidden.sum(dim=(1, 2)).mean()
        return {**super().terms(traces, labels, w_hidden, *rest), "spikes": 0.05 * spikes}


def test_an_objective_of_ones_own_trains_and_takes_its_sliders_away(data, engine):
    model = Cockpit(small(epochs=1), data, objective=FewSpikes(), engine=engine)
    assert not {"rho_b", "rho_a", "loss_scale"} & set(model.controls)
    assert "learning_rate" in model.controls
    model.paper()
    assert model.message.kind != "error"
    model.set(epochs=1, lr_decay=0.9)
    model.start()
    finished(model)
    assert model.phase == "finished", model.message
    assert model.history.terms["spikes"].last > 0
    assert "spikes" in [layer.name for layer in panel(model, "loss").layers]
