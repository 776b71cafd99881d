"""The sample explorer: what it shows is what the chip did, whatever is chosen, cut or played."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bss2lab.datasets import speech, vision
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import Data, encode
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Heat, Mark, Series
from bss2lab.lab.models import look as module
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.look import Look
from bss2lab.lab.models.shipped import IMAGES, SPEECH
from bss2lab.lab.views.renderer import Renderer
from bss2lab.lab.views.widget import LabWidget
from bss2lab.lab.wire import packed
from bss2lab.studies.listening import listen
from bss2lab.studies.networks import Trained
from bss2lab.studies.observation import observe
from bss2lab.train import chip_of

pytestmark = pytest.mark.usefixtures("one_thread")
WAIT_S = 600.0


@pytest.fixture(scope="module")
def images():
    return vision.load("mnist", "test").take(20)


@pytest.fixture(scope="module")
def words():
    return speech.load("speech", "test").subset(np.arange(5) * 90)


def answered(model):
    assert model.wait(WAIT_S)
    return model


@pytest.fixture
def look(images):
    model = answered(Look(data=images, engine=Engine()))
    yield model
    model.close()


@pytest.fixture(scope="module")
def spoken(words):
    model = answered(Look(network_of(None, SPEECH), words, key="spoken", engine=Engine()))
    yield model
    model.close()


def panel(model, key):
    (found,) = [p for p in model.frame().panels if p.key == key]
    return found


def series(model, key, name):
    return [layer for layer in panel(model, key).layers if isinstance(layer, Series) and layer.name == name]


def events(spikes):
    times, units = spikes.sample(0)
    return sorted(zip(times.tolist(), units.tolist(), strict=True))


def drawn(one):
    return sorted(zip(one.x.tolist(), (one.y - one.origin).astype(int).tolist(), strict=True))


def marks(model, key):
    return [(m.at, m.along) for m in panel(model, key).layers if isinstance(m, Mark)]


# --- what is shown is what happened --------------------------------------------------------------------------------


def test_an_image_is_run_as_the_test_set_is(look, images):
    network = network_of(None, IMAGES)
    chip = chip_of(network.config)
    for sample, noise in ((0, 0), (7, 3)):
        look.set(sample=sample, noise_seed=noise)
        answered(look)
        alone = encode(images.subset(np.array([sample])), network.config)
        seen = observe(network.config, network.weights, alone, chip=chip, noise_seed=noise)
        assert events(look.trial.seen.hidden_spikes) == events(seen.hidden_spikes)
        np.testing.assert_array_equal(look.trial.seen.readout, seen.readout)
        assert (look.trial.label, look.trial.verdict.decision) == (images.labels[sample], seen.decisions[0])
        assert look.message.text == look.trial.sentence()


def test_the_raster_has_every_spike_once_hidden_ones_above_the_inputs(look):
    (inputs,), (hidden,) = series(look, "raster", "input"), series(look, "raster", "hidden")
    picked = series(look, "raster", "")
    assert drawn(inputs) == events(look.trial.seen.input_spikes)
    assert sorted([*drawn(hidden), *(e for one in picked for e in drawn(one))]) == events(look.trial.seen.hidden_spikes)
    assert hidden.origin == 256
    assert hidden.thing == "neuron"
    assert hidden.y.min() >= 256 > inputs.y.max()


def test_the_read_out_has_a_curve_per_class(look):
    for k, name in enumerate("0123456789"):
        (curve,) = series(look, "readout", name)
        np.testing.assert_array_equal(curve.y, look.trial.seen.readout[0, :, k])
        np.testing.assert_array_equal(curve.x, look.trial.seen.time_us)
    assert look.frame().badge == "emulated chip"


def test_the_image_is_shown_as_it_lies_on_the_inputs(look, images):
    (heat,) = [layer for layer in panel(look, "image").layers if isinstance(layer, Heat)]
    np.testing.assert_array_equal(heat.values, images.prepare()[0])


def test_it_begins_with_the_busiest_neuron(look):
    _, units = look.trial.seen.hidden_spikes.sample(0)
    counts = np.bincount(units)
    assert counts[look.values["neuron"]] == counts.max() >= 2
    assert look.chosen == (look.values["neuron"],)


def test_the_membrane_rises_to_its_threshold_and_is_reset_at_every_spike(look):
    neuron = look.values["neuron"]
    (v,), (_,) = series(look, "membranes", "membrane"), series(look, "membranes", "column ADC")
    truth = look.chip().mismatch
    times = [t for t, unit in events(look.trial.seen.hidden_spikes) if unit == neuron]
    assert len(times) >= 2
    for t in times:
        before, after = v.y[v.x <= t][-1], v.y[v.x > t][:2]
        assert truth.leak_mv[neuron] < before < truth.threshold_mv[neuron] + 1
        assert np.abs(after - truth.reset_mv[neuron]).min() < 1e-2
    assert v.y.max() < truth.threshold_mv[neuron] + 1
    (spikes,) = series(look, "membranes", "spikes")
    assert spikes.x[::3].tolist() == times
    assert {(m, "y") for m in (truth.threshold_mv[neuron], truth.leak_mv[neuron])} <= set(marks(look, "membranes"))


def test_the_dots_are_what_the_adc_makes_of_that_very_membrane(look):
    """One noise, one run: the samples lie on the line but for offset, gain and noise of the ADC."""
    found = look.membranes
    step = np.searchsorted(found.time_us, found.sample_us)
    np.testing.assert_allclose(found.time_us[step], found.sample_us, atol=1e-3)
    difference = found.samples_mv - found.membranes_mv[step]
    away = found.samples_mv > 30  # the ADC ends at 0
    assert np.median(np.abs(difference[away])) < 12
    other = np.roll(found.membranes_mv, 1, axis=1)[step]
    assert np.median(np.abs((found.samples_mv - other)[away])) > 2 * np.median(np.abs(difference[away]))


# --- chip and noise ------------------------------------------------------------------------------------------------


def test_another_trial_and_another_chip_fire_otherwise(look):
    first = events(look.trial.seen.hidden_spikes)
    for changes in ({"noise_seed": 1}, {"noise_seed": 0, "chip_seed": 3}, {"chip_seed": 0, "sigma_d": 0.4}):
        look.set(**changes)
        answered(look)
        assert events(look.trial.seen.hidden_spikes) != first, changes
    assert look.chip().detuning is not None
    look.set(sigma_d=0.0)
    answered(look)
    assert events(look.trial.seen.hidden_spikes) == first


# --- choosing neurons ----------------------------------------------------------------------------------------------


def test_a_click_chooses_the_neuron_under_it(look):
    look.clicked("raster", 5.0, 256 + 41.3)
    assert look.chosen == (41,)
    assert look.values["neuron"] == 41
    assert panel(look, "membranes").title == "Hidden neuron 41"
    for where in (("raster", 5.0, 100.0), ("readout", 5.0, 300.0), ("raster", 5.0, 256 + 246.0)):
        look.clicked(*where)
        assert look.chosen == (41,), where


def test_a_brush_chooses_neurons_of_many_those_that_fired_most_there(look):
    look.brushed("raster", (0.0, 256 + 9.6), (34.0, 256 + 13.4))
    assert look.chosen == (10, 11, 12, 13)
    assert panel(look, "membranes").y.names == ("10", "11", "12", "13")
    look.brushed("raster", (0.0, 200.0), (34.0, 600.0))
    _, units = look.trial.seen.hidden_spikes.sample(0)
    counts = np.bincount(units, minlength=246)
    assert len(look.chosen) == 8
    assert sorted(counts[list(look.chosen)]) == sorted(counts)[-8:]
    assert "246 neurons" in look.message.text
    before = look.chosen
    look.brushed("raster", (0.0, 0.0), (34.0, 200.0))
    assert look.chosen == before
    assert "no hidden neuron" in look.message.text
    look.busiest()
    assert look.chosen == (int(counts.argmax()),)


def test_lanes_keep_to_themselves_and_show_each_membrane_between_leak_and_threshold(look):
    look.brushed("raster", (0.0, 256.0), (34.0, 600.0))
    found, chosen = look.membranes, list(look.chosen)
    lines = [s for s in panel(look, "membranes").layers if isinstance(s, Series) and len(s.x) == len(found.time_us)]
    levels = [s for s in panel(look, "membranes").layers if isinstance(s, Series) and s.style == "dashed"]
    assert len(lines) == 8
    for k, (neuron, line) in enumerate(zip(chosen, lines, strict=True)):
        assert k - 0.451 < line.y.min()
        assert line.y.max() < k + 0.451
        leak, threshold = levels[2 * k].y[0], levels[2 * k + 1].y[0]
        distance = (found.membranes_mv[:, neuron] - found.leak_mv[neuron]) / (
            found.threshold_mv[neuron] - found.leak_mv[neuron]
        )
        np.testing.assert_allclose((line.y - leak) / (threshold - leak), distance, atol=1e-3)


# --- time ----------------------------------------------------------------------------------------------------------


def test_what_comes_later_than_the_time_shown_is_not_drawn(look):
    look.set(time=9.0)
    for key in ("raster", "readout", "membranes"):
        assert (9.0, "x") in marks(look, key)
        for one in panel(look, key).layers:
            if isinstance(one, Series) and len(one.x):
                assert one.x.max() <= 9.0, (key, one.name)
    (inputs,) = series(look, "raster", "input")
    early = [e for e in events(look.trial.seen.input_spikes) if e[0] <= 9.0]
    assert drawn(inputs) == early
    look.set(time=36.0)
    assert all(along == "y" for _, along in marks(look, "raster"))


def test_playing_moves_the_time_to_the_end_and_no_further(look, monkeypatch):
    monkeypatch.setattr(module, "PLAY_S", 0.4)
    monkeypatch.setattr(module, "STEP_S", 0.02)
    seen = []
    end = look.watch(lambda urgent: seen.append(look.values["time"]))
    look.play()
    (task,) = [t for t in look.engine.tasks if t.key == "look/play"]
    assert look.available()["halt"]
    assert task.wait(20)
    end()
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[0] < 10
    assert look.values["time"] == 36.0
    assert look.available() == {"play": True, "halt": False, "busiest": True}


@pytest.mark.parametrize("how", ["halt", "pause", "slider"])
def test_playing_stops_where_it_is_told_to(look, monkeypatch, how):
    monkeypatch.setattr(module, "STEP_S", 0.01)
    look.set(time=5.0)
    look.play()
    (task,) = [t for t in look.engine.tasks if t.key == "look/play"]
    if how == "slider":
        look.set(time=20.0)
    else:
        getattr(look, how)()
    assert task.wait(10)
    at = look.values["time"]
    assert at == 20.0 if how == "slider" else 5.0 <= at < 36.0
    time.sleep(0.05)
    assert look.values["time"] == at
    assert look.available()["play"]


def test_a_browser_that_sends_the_slider_back_does_not_stop_the_play(look, monkeypatch):
    """Browsers round what they are told: 7.625 comes back as 7.624999999999999."""
    widget = LabWidget(look, renderer=Renderer())
    (bound,) = [b for b in widget.bounds if b._control.name == "time"]
    monkeypatch.setattr(module, "STEP_S", 0.01)
    look.play()
    task = next(t for t in look.engine.tasks if t.key == "look/play")
    places = []
    while look.values["time"] < 2.0 and not task.wait(0.02):
        bound.sync()
        places.append(bound.slider.value)
    for place in places[1:]:
        bound.slider.value = place - 1e-15 * 36
    assert not look.available()["play"]
    bound.slider.value = 30.0  # a hand
    assert look.available()["play"]
    assert look.values["time"] == 30.0
    assert task.wait(10)
    widget.close()


# --- bad input, state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [{"sample": 20}, {"sample": -1}, {"neuron": 246}, {"time": 36.1}, {"sigma_d": 2.0}, {"no_such": 1}]
)
def test_bad_settings_are_refused_and_nothing_moves(look, bad):
    before, trial = dict(look.values), look.trial
    assert not look.set(noise_seed=5, **bad)
    assert look.message.kind == "error"
    assert look.values == before
    assert look.trial is trial


def test_settings_survive_json(look, images):
    look.set(sample=4, noise_seed=2, chip_seed=1, neuron=17, time=12.5)
    answered(look)
    other = answered(Look(data=images, key="other", engine=Engine()))
    assert other.from_json(look.to_json())
    answered(other)
    assert other.values == look.values
    assert other.chosen == (17,)
    assert events(other.trial.seen.hidden_spikes) == events(look.trial.seen.hidden_spikes)
    assert packed(other.frame())[1] == packed(look.frame())[1]


def test_before_the_first_answer_it_says_what_it_waits_for(images):
    engine = Engine()
    engine.start("held", iter(lambda: time.sleep(0.01), 1), urgent=True)
    model = Look(data=Data(images, images), engine=engine)
    model.trial = model.membranes = None
    assert all(not any(isinstance(x, Series) for x in p.layers) for p in model.frame().panels)
    assert not any(model.available().values())
    engine.stop_all()


def test_what_is_no_spiking_network_is_refused(tmp_path):
    with pytest.raises(DataError, match="trained network"):
        network_of(tmp_path / "none.safetensors", IMAGES)
    shipped = network_of(None, IMAGES)
    ann = Trained(shipped.config.replace(mode="ann"), shipped.epochs, shipped.weights)
    with pytest.raises(InputError, match="spiking"):
        network_of(ann, IMAGES)


# --- speech --------------------------------------------------------------------------------------------------------


def test_a_word_is_heard_as_the_study_hears_it(spoken, words):
    network = network_of(None, SPEECH)
    (answer,) = listen(network.config, network.weights, words.subset(np.array([0])), chip=chip_of(network.config))
    trial = spoken.trial
    assert (trial.said, trial.verdict.decided_us) == (answer.word, answer.decided_us)
    assert trial.seen.readout.shape == (1, 400, 20)
    assert spoken.frame().badge == "emulated chip · synthetic speech"
    assert [p.key for p in spoken.frame().panels] == ["raster", "readout", "membranes"]
    (inputs,) = series(spoken, "raster", "input")
    assert len(inputs.x) == answer.input_spikes
    assert spoken.membranes.membranes_mv.shape == (1605, 186)


def test_of_twenty_words_the_strongest_and_the_true_one_are_named(spoken):
    curves = [s for s in panel(spoken, "readout").layers if isinstance(s, Series)]
    named = {s.name for s in curves if s.name}
    assert len(curves) == 20
    assert {spoken.trial.said, spoken.trial.classes[spoken.trial.label]} <= named
    assert 4 <= len(named) <= 5
