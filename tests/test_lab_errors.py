"""The display of errors: what is counted, what a click selects, and that a sample is shown in its own trial."""

import dataclasses
import io
import wave

import numpy as np
import pytest

from bss2lab.datasets import speech, synthetic, vision
from bss2lab.datasets.synthetic import Utterance
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import Data
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Heat, Series
from bss2lab.lab.models import errors_frame, sounds
from bss2lab.lab.models.errors import Errors
from bss2lab.lab.models.judged import EVERY, Entry, Judged
from bss2lab.lab.models.shipped import IMAGES, SPEECH, shipped
from bss2lab.lab.views.listen import Listening, table_of
from bss2lab.lab.views.renderer import Renderer
from bss2lab.studies.networks import load_network

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def one_thread_network(name):
    network = load_network(shipped(name))
    return dataclasses.replace(network, config=network.config.replace(threads=1))


@pytest.fixture(scope="module")
def words():
    return speech.load("speech", "test")


@pytest.fixture(scope="module")
def listener(words):
    known = words.subset(np.flatnonzero(~np.isin(words.speakers, (4, 5)))[:20])
    return Errors(one_thread_network(SPEECH), Data(known, words.take(70)), engine=Engine())


@pytest.fixture(scope="module")
def watcher():
    images = vision.load("mnist", "test").take(450)
    return Errors(one_thread_network(IMAGES), Data(images.take(30), images), engine=Engine())


def anew(model):
    """Return the model where it begins: no test leans on the one before."""
    model.defaults()
    model.evaluate()
    assert model.wait(600)
    assert model.message.kind == "good", model.message
    return model


@pytest.fixture
def spoken(listener):
    return anew(listener)


@pytest.fixture
def seen(watcher):
    return anew(watcher)


def panels(model):
    return {panel.key: panel for panel in model.frame().panels}


def heat(panel):
    return next(layer for layer in panel.layers if isinstance(layer, Heat)).values


# --- counting ---------------------------------------------------------------------------------------------------


def test_counts_by_hand():
    judged = Judged(
        np.arange(10, 15), np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 0]), np.array([3, 3, 0, 3, 0]), (3,),
        ("a", "b"), 3, "somewhere", True,
    )  # fmt: skip
    assert np.array_equal(judged.confusion().round(1), [[50, 0, 50], [33.3, 66.7, 0]])
    assert judged.error == 40
    assert np.array_equal(judged.by_class().round(1), [50, 33.3])
    assert np.array_equal(judged.by_speaker().round(1), [50, np.nan, np.nan, 33.3], equal_nan=True)
    table = judged.by_speaker_and_class()
    assert np.array_equal(table[[0, 3]], [[np.nan, 50], [50, 0]], equal_nan=True)
    assert judged.error_of(unseen=True) == pytest.approx(100 / 3)
    assert judged.error_of(unseen=False) == 50
    assert judged.select(said=1).tolist() == [4, 2, 3]
    assert judged.select(speaker=3, wrong=True).tolist() == [1]
    assert judged.entry(1) == Entry(11, 0, 2, 3)
    assert judged.names == ("a", "b", "2")


# --- words --------------------------------------------------------------------------------------------------------


def test_words_are_judged_and_drawn(spoken, words):
    judged = spoken.judged
    assert len(judged) == 70
    assert judged.said.tolist() == words.labels[:70].tolist()
    assert 3 < judged.error < 35
    assert judged.unseen == (4, 5)
    drawn = panels(spoken)
    assert drawn["confusion"].y.names[12] == "zwei 12"
    assert np.array_equal(heat(drawn["confusion"]), np.nan_to_num(judged.confusion()).astype(np.float32))
    assert drawn["speaker-words"].y.names[3:6] == ("3", "4 unseen", "5 unseen")
    bars = {layer.name: layer.y for layer in drawn["speakers"].layers if isinstance(layer, Series)}
    assert np.isfinite(bars["never heard"]).nonzero()[0].tolist() == [4, 5]
    assert spoken.frame().badge == "emulated chip · synthetic speech"


def test_every_word_is_shown_in_the_trial_in_which_it_was_judged(spoken):
    """The running sums end at the decision, for words in the first batch and behind it."""
    spoken.set(said=EVERY, heard=EVERY, speaker=EVERY, wrong=False)
    spoken.wait(600)
    assert len(spoken.listed) == 70
    for pick in (0, 5, 40, 69):
        assert spoken.set(pick=pick)
        spoken.wait(600)
        look = spoken.look
        assert look.entry == spoken.listed[pick]
        assert int(errors_frame.votes_of(spoken, look)[-1].argmax()) == look.entry.heard
    assert spoken.listed[0].said != spoken.listed[0].heard  # wrong ones come first
    assert spoken.listed[-1].said == spoken.listed[-1].heard


def test_clicks_select(spoken):
    wrong = spoken.judged.entry(int(spoken.judged.select(wrong=True)[0]))
    spoken.clicked("confusion", wrong.heard, wrong.said)
    spoken.wait(600)
    assert wrong in spoken.listed
    assert {(one.said, one.heard) for one in spoken.listed} == {(wrong.said, wrong.heard)}
    spoken.clicked("speaker-words", wrong.said, wrong.speaker)
    spoken.wait(600)
    assert {(one.said, one.speaker) for one in spoken.listed} == {(wrong.said, wrong.speaker)}
    spoken.clicked("speakers", 4.2, 10.0)
    spoken.wait(600)
    assert spoken.listed
    assert all(one.speaker == 4 and one.said != one.heard for one in spoken.listed)
    first = spoken.look.entry
    spoken.next()
    spoken.wait(600)
    assert spoken.look.entry == spoken.listed[1] != first
    spoken.previous()
    spoken.wait(600)
    assert spoken.look.entry == first
    spoken.everything()
    spoken.wait(600)
    assert len(spoken.listed) == spoken.judged.wrong.sum()


def test_the_list_and_the_player_follow(spoken):
    spoken.everything()
    spoken.wait(600)
    beside = Listening(spoken, renderer=Renderer())
    entry = spoken.look.entry
    assert f">{entry.index}<" in table_of(spoken)
    with wave.open(io.BytesIO(beside.player.value)) as file:
        assert file.getnframes() == len(spoken.look.audible.sound.samples)
    spoken.next()
    spoken.wait(600)
    before = beside.player.value
    beside.draw()
    assert beside.player.value != before
    beside.close()


def test_another_trial_and_the_way_back(spoken):
    settings, heard = spoken.to_json(), spoken.judged.heard.copy()
    assert spoken.set(noise_seed=3)
    assert spoken.wait(600)
    assert "trial 3" in spoken.judged.where
    assert not np.array_equal(spoken.judged.heard, heard)
    assert spoken.from_json(settings)
    assert spoken.wait(600)
    assert np.array_equal(spoken.judged.heard, heard)
    assert spoken.to_json() == settings


def test_bad_settings_change_nothing(spoken):
    before = dict(spoken.values)
    for bad in ({"sigma_d": 2.0}, {"said": 20}, {"limit": -1}, {"split": "all"}, {"pick": 1.5}, {"nonsense": 1}):
        assert not spoken.set(**bad)
        assert spoken.message.kind == "error"
        assert spoken.values == before
    assert not spoken.from_json("{}")
    assert "expected" in spoken.message.text


# --- sounds -------------------------------------------------------------------------------------------------------


def test_a_kept_sound_is_the_utterance(words):
    heard = sounds.audible(words, 3)
    assert "made from" in heard.what
    said = sounds.utterance_of(words, 3)
    assert isinstance(said, Utterance)
    assert (said.speaker, said.label) == (words.speakers[3], words.labels[3])


def test_what_is_not_kept_is_spoken_anew_or_sonified(words, monkeypatch):
    def missing(*args):
        raise DataError("not here")

    asked = []
    monkeypatch.setattr(sounds.speechfolder, "sound_of", missing)
    monkeypatch.setattr(synthetic, "sound", lambda said: asked.append(said) or sounds.tones(words, 3))
    assert "spoken anew" in sounds.audible(words, 3).what
    assert asked == [sounds.utterance_of(words, 3)]
    monkeypatch.setattr(synthetic, "sound", missing)
    assert "tones" in sounds.audible(words, 3).what
    others = dataclasses.replace(words, speaker_info={})  # no synthetic speech: nothing of ours may be played
    assert sounds.utterance_of(others, 3) is None
    with pytest.raises(InputError):
        sounds.audible(words, len(words))


def test_a_spike_is_a_burst_at_its_channels_frequency(words):
    one = dataclasses.replace(
        words, times_s=np.array([0.2, 0.4], np.float32), units=np.array([70 + 9 * 30, 71], np.int16),
        start=np.array([0]), stop=np.array([2]), labels=np.array([0]), speakers=np.array([0]), index=np.array([0]),
    )  # fmt: skip
    sound = sounds.tones(one, 0)
    loud = np.flatnonzero(np.abs(sound.samples) > 0.01) / sound.sample_rate_hz
    assert loud.min() > 0.2
    assert loud.max() < 0.2 + sounds.BURST_S + 0.03  # the spike of an unused channel is not heard
    spectrum = np.abs(np.fft.rfft(sound.samples, 2**16))
    peak = np.fft.rfftfreq(2**16, 1 / sound.sample_rate_hz)[spectrum.argmax()]
    wanted = float(sounds._best_frequencies(700)[70 + 9 * 30])
    assert 800 < wanted < 2500
    assert peak == pytest.approx(wanted, rel=0.1)


# --- images -------------------------------------------------------------------------------------------------------


def test_images(seen):
    judged = seen.judged
    assert 0.5 < judged.error < 8
    assert (judged.speakers == -1).all()
    drawn = panels(seen)
    assert set(drawn) == {"confusion", "tiles", "classes", "raster", "votes"}
    assert drawn["confusion"].y.names == tuple("0123456789")
    assert len(seen.tiles) == judged.wrong.sum()
    bars = drawn["classes"].layers[0]
    assert np.allclose(bars.y, judged.by_class())
    assert int(errors_frame.votes_of(seen, seen.look)[-1].argmax()) == seen.look.entry.heard
    seen.clicked("tiles", 17.0 + 5, 3.0)
    seen.wait(600)
    assert seen.look.entry == seen.listed[1]
    assert seen.frame().badge == "emulated chip"
    assert errors_frame.tile_at(300.0, 3.0, 5) is None


def test_detuning_hurts_and_software_does_not_know_it(seen):
    calibrated = seen.judged.error
    assert seen.set(sigma_d=0.5, limit=200)
    assert seen.wait(600)
    assert len(seen.judged) == 200
    assert seen.judged.error > calibrated + 10
    assert seen.set(where="software")
    assert seen.wait(600)
    assert seen.judged.where == "software model"
    assert seen.frame().badge == "software model"
    assert int(errors_frame.votes_of(seen, seen.look)[-1].argmax()) == seen.look.entry.heard


def test_wrong_networks_and_data_are_refused(words, tmp_path):
    with pytest.raises(DataError, match="trained network"):
        Errors(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="images"):
        Errors(one_thread_network(IMAGES), Data(words, words))
    network = one_thread_network(IMAGES)
    with pytest.raises(InputError, match="a spiking network"):
        Errors(dataclasses.replace(network, config=network.config.replace(mode="ann")))
