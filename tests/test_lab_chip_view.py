"""The chip view, driven as a person drives it."""

import json

import numpy as np
import pytest

from bss2lab.chip import Chip
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import encode
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Heat, Mark, Series
from bss2lab.lab.models.chip_view import ChipView
from bss2lab.lab.models.inspector import QUANTITIES, hidden_truth
from bss2lab.network import chip_weights
from bss2lab.settings import SpeechConfig, TrainConfig
from bss2lab.studies import fig4_silencing
from bss2lab.studies.fig4_silencing import SilencedConfig
from bss2lab.studies.networks import Trained, save_network
from bss2lab.studies.training import data_of
from bss2lab.train import Run
from bss2lab.types import RecurrentWeights

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(epochs=4, limit=500, threads=1, n_hidden=60, learning_rate=0.02)


@pytest.fixture(scope="module")
def network():
    run = Run(CONFIG, data_of(CONFIG))
    for _ in run.fit():
        pass
    return Trained(CONFIG, tuple(run.epochs), run.learner.weights())


@pytest.fixture
def view(network):
    model = ChipView(network, data_of(CONFIG), quantities=("tau_mem",), engine=Engine())
    assert model.wait(600)
    yield model
    model.close()


def panel(model, key):
    return next(p for p in model.frame().panels if p.key == key)


def test_weights_lie_where_they_are_placed(view, network):
    held, _ = chip_weights(network.weights, Chip(0))
    heat = panel(view, "weights").layers[0]
    assert isinstance(heat, Heat)
    np.testing.assert_array_equal(heat.values[:, :60], held.hidden)
    np.testing.assert_array_equal(heat.values[:60, 246:], held.output)
    assert np.isnan(heat.values[60:, 246:]).all()
    assert np.isnan(heat.values[:, 60:246]).all()
    assert (heat.low, heat.high, heat.palette) == (-63, 63, "signed")
    view.set(layout="plan")
    top, bottom = panel(view, "top").layers[0].values, panel(view, "bottom").layers[0].values
    # signed row r of neuron n: array n // 128, driver r % 128, column 2 (n % 128) + r // 128
    assert top[3, 2 * 17] == held.hidden[3, 17]
    assert top[2, 2 * 17 + 1] == held.hidden[130, 17]
    assert bottom[5, 2 * (250 - 128)] == held.output[5, 4]
    assert np.isnan(top[0, 200])


def test_the_answer_is_the_chips(view, network):
    view.set(sample=7)
    assert view.wait(600)
    one = encode(data_of(CONFIG).held_out.subset(np.array([7])), CONFIG)
    held, _ = chip_weights(network.weights, Chip(0))
    recording = Chip(0).run(held, one.spikes, seed=0)
    np.testing.assert_array_equal(view.answer.spike_us, recording.hidden_spikes.times_us)
    assert view.answer.label == one.labels[0]
    dots = [layer for layer in panel(view, "raster").layers if isinstance(layer, Series)]
    assert sum(len(d.x) for d in dots if d.name != "silenced") == len(recording.hidden_spikes.times_us)
    picture = panel(view, "image").layers[0]
    np.testing.assert_array_equal(picture.values, one.pixels[0].reshape(16, 16))


def test_the_membrane_fires_the_spikes_that_are_shown(view):
    busiest = int(np.bincount(view.answer.spike_neuron).argmax())
    view.set(neuron=busiest)
    trace, spikes, *marks = panel(view, "membrane").layers
    truth = Chip(0).mismatch
    assert len(spikes.x) == np.bincount(view.answer.spike_neuron).max() > 0
    for at in spikes.x:
        after = (trace.x > at) & (trace.x < at + truth.refractory_us[busiest])
        assert after.any()
        assert np.abs(trace.y[after] - truth.reset_mv[busiest]).min() < 3.0
    assert {m.name: m.at for m in marks} == pytest.approx(
        {"threshold": truth.threshold_mv[busiest], "leak": truth.leak_mv[busiest]}
    )


def test_silenced_neurons_are_those_of_the_study(view, network):
    alive = view.accuracy
    view.ten()
    view.ten()
    assert view.wait(600)
    assert view.silenced.sum() == 20
    job = SilencedConfig(train=CONFIG, fractions=(0.0, 20 / 60), draws=1)
    found = fig4_silencing.silence(job, network.weights._asdict(), None).values["errors"]
    assert alive == pytest.approx(1 - found[0][0], abs=1e-12)
    assert view.accuracy == pytest.approx(1 - found[1][0], abs=1e-12)
    assert not np.isin(view.answer.spike_neuron, np.flatnonzero(view.silenced)).any()
    assert view.points[0] == (0, alive)
    assert view.points[-1] == (20, view.accuracy)
    shown = panel(view, "accuracy")
    assert shown.note == f"{100 * view.accuracy:.2f} % of 500"
    assert shown.layers[1].x[-1] == 20
    assert np.isnan(panel(view, "weights").layers[0].values[:, view.silenced.argmax()]).all()
    view.wake()
    assert view.wait(600)
    assert view.accuracy == alive


def test_clicks_choose_or_silence(view):
    view.clicked("weights", 41.4, 100.0)
    assert view.values["neuron"] == 41
    assert not view.silenced.any()
    view.clicked("bottom", 245.0, 3.0)
    assert view.values["neuron"] == 250
    view.set(click="silence")
    view.clicked("raster", 12.0, 30.3)
    assert np.flatnonzero(view.silenced).tolist() == [30]
    assert view.values["neuron"] == 30
    view.clicked("top", 61.0, 0.0)
    assert not view.silenced.any()  # column 61 is neuron 30's: awake again
    view.clicked("membrane", 10.0, 500.0)
    assert view.values["neuron"] == 30
    assert not view.silenced.any()


def test_a_silenced_neuron_climbs_over_its_threshold(view):
    busiest = int(np.bincount(view.answer.spike_neuron).argmax())
    view.set(neuron=busiest)
    view.toggle()
    assert view.wait(600)
    assert (view.answer.spike_neuron != busiest).all()
    assert view.answer.membrane_mv[:, busiest].max() > Chip(0).mismatch.threshold_mv[busiest]
    assert "(silenced)" in panel(view, "membrane").title
    view.toggle()
    assert view.wait(600)
    assert (view.answer.spike_neuron == busiest).any()


def test_measured_beside_the_truth(view):
    assert panel(view, "loupe").layers[0].name.endswith("| … µs")
    view.measure()
    assert not view.available()["measure"]
    assert view.wait(600)
    assert view.message.kind == "good"
    found, truth = view.measured["tau_mem"], Chip(0).mismatch.tau_mem_us
    assert found.value[17] == pytest.approx(truth[17], abs=5 * found.uncertainty[17])
    (line,) = [m for m in panel(view, "loupe").layers if isinstance(m, Mark)]
    assert found.uncertainty[17] == pytest.approx(0.012, abs=0.003)
    assert line.name == f"{truth[17]:.2f} | {found.value[17]:.2f} ± 0.01 µs"
    assert panel(view, "loupe").y.names == ("τ mem",)
    assert not view.available()["measure"]  # it is known now


def test_hidden_truth_has_every_quantity():
    chip = Chip(1)
    assert all(hidden_truth(chip, name).shape == (256,) for name in QUANTITIES)
    np.testing.assert_array_equal(hidden_truth(chip, "gain_inh"), chip.mismatch.gain_inh.mean(axis=0))
    np.testing.assert_array_equal(hidden_truth(chip, "reset"), chip.mismatch.reset_mv)


def test_outputs_cannot_be_silenced_and_bad_input_changes_nothing(view, tmp_path):
    view.set(neuron=250)
    assert not view.available()["toggle"]
    view.toggle()
    assert view.message.kind == "error"
    assert "hidden neuron, 0 … 59" in view.message.text
    before = dict(view.values)
    for bad in ({"neuron": 256}, {"sample": -1}, {"layout": "round"}, {"samples": 2.5}):
        assert not view.set(**bad)
        assert view.values == before
    assert not view.silenced.any()
    with pytest.raises(DataError):
        ChipView(tmp_path / "none.safetensors", engine=Engine())
    with pytest.raises(InputError, match="network"):
        ChipView(42, engine=Engine())


def test_settings_and_silenced_neurons_survive_json(view):
    view.set(neuron=5, sample=3)
    view.toggle()
    view.ten()
    assert view.wait(600)
    text, silenced = view.to_json(), np.flatnonzero(view.silenced).tolist()
    assert json.loads(text)["silenced"] == silenced
    view.defaults()
    view.wake()
    assert view.from_json(text)
    assert view.wait(600)
    assert (view.values["neuron"], view.values["sample"]) == (5, 3)
    assert np.flatnonzero(view.silenced).tolist() == silenced
    for bad in ([60], ["x"], [True], "all"):
        assert not view.from_json(json.dumps({**json.loads(text), "silenced": bad}))
        assert view.message.kind == "error"
    assert not view.from_json("{")
    assert np.flatnonzero(view.silenced).tolist() == silenced


def test_a_network_file_and_another_network(view, network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(path, network)
    view.ten()
    view.show(path)
    assert view.wait(600)
    assert not view.silenced.any()
    assert view.points == [(0, view.accuracy)]


def test_a_recurrent_network_of_words():
    config = SpeechConfig(n_hidden=40, threads=1, epochs=1)
    draw = np.random.default_rng(0)
    sizes = {"hidden": (config.n_inputs, 40), "output": (40, config.n_outputs), "recurrent": (40, 40)}
    weights = RecurrentWeights(**{k: draw.normal(0, 0.1, s).astype(np.float32) for k, s in sizes.items()})
    model = ChipView(Trained(config, (), weights), engine=Engine())
    model.set(samples=100)
    assert model.wait(600)
    assert model.message.kind != "error"
    held, _ = chip_weights(weights, Chip(0))
    np.testing.assert_array_equal(model.weights[:40, :40], held.recurrent)
    np.testing.assert_array_equal(model.weights[40 : 40 + config.n_inputs, :40], held.hidden)
    assert model.tally.total == 100
    assert model.frame().badge == "emulated chip · synthetic speech"
    assert "image" not in [p.key for p in model.frame().panels]
    model.close()
