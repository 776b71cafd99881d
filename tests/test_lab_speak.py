"""The listener: sounds go the way of `listen`, words of the test set too, and what cannot be heard changes nothing."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import optional
import pytest

from bss2lab.datasets import speech
from bss2lab.datasets.recorded import words_of
from bss2lab.datasets.sound import Sound
from bss2lab.errors import InputError
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Series
from bss2lab.lab.models import speak as module
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.shipped import IMAGES, SPEECH
from bss2lab.lab.models.speak import Speak
from bss2lab.lab.views.renderer import Renderer
from bss2lab.lab.views.upload import SpeakWidget
from bss2lab.studies.listening import listen
from bss2lab.train import chip_of

soundfile = optional.imported("soundfile")
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.needs("soundfile")]
WAIT_S = 300.0
RATE = 16_000


def tone(seconds=0.25):
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * 500 * t) * np.hanning(len(t))).astype(np.float32)


def file_of(samples, form="WAV"):
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format=form)
    return content.getvalue()


@pytest.fixture(scope="module")
def network():
    return network_of(None, SPEECH)


@pytest.fixture(scope="module")
def tests():
    return speech.load("speech", "test")


@pytest.fixture
def speak(network, tests):
    model = Speak(network, engine=Engine())
    model._tests = tests
    yield model
    model.close()


@pytest.fixture(scope="module")
def after_a_tone(network):
    model = Speak(network, key="tone", engine=Engine())
    assert model.hear_samples(tone(), RATE).wait(WAIT_S)
    return model


def panel(model, key):
    (found,) = [p for p in model.frame().panels if p.key == key]
    return found


def curves(model, key):
    return [layer for layer in panel(model, key).layers if isinstance(layer, Series)]


def ranking(heard):
    return [word for word, _ in heard.ranking]


def test_a_word_of_the_test_set_is_heard_as_the_study_hears_it(speak, network, tests):
    assert speak.say_word("sieben", 3).wait(WAIT_S)
    which = np.flatnonzero(tests.labels == tests.classes.index("sieben"))[[3]]
    (answer,) = listen(network.config, network.weights, tests.subset(which), chip=chip_of(network.config))
    assert speak.heard == answer
    assert speak.trial.label == tests.classes.index("sieben")
    assert speak.source == f"“sieben” of speaker {tests.speakers[which[0]]}"
    assert speak.frame().badge == "emulated chip · synthetic speech"
    assert (speak.values["word"], speak.values["take"]) == ("sieben", 3)
    assert answer.word in speak.message.text


def test_the_button_hears_the_word_that_is_chosen_and_begins_again_after_the_last_recording(speak, tests):
    n = int((tests.labels == tests.classes.index("zwei")).sum())
    assert speak.say_word("zwei", 1).wait(WAIT_S)
    first = speak.heard
    speak.set(take=n + 1)
    speak.hear()
    assert speak.wait(WAIT_S)
    assert speak.heard == first


def test_the_picture_shows_both_layers_the_running_sums_and_the_ranking(speak):
    assert speak.say_word("four", 0).wait(WAIT_S)
    trial, heard = speak.trial, speak.heard
    (inputs,), (hidden,) = curves(speak, "input"), curves(speak, "hidden")
    assert (len(inputs.x), len(hidden.x)) == (heard.input_spikes, heard.hidden_spikes)
    assert inputs.y.max() < 70
    sums = np.cumsum(trial.seen.readout[0], axis=0)
    (winner,) = [s for s in curves(speak, "votes") if s.name == heard.word]
    np.testing.assert_allclose(winner.y, sums[:, trial.verdict.decision], rtol=1e-5)
    assert len(curves(speak, "votes")) == 20
    assert list(panel(speak, "answer").x.names) == ranking(heard)[:6]
    bars = curves(speak, "answer")[0]
    np.testing.assert_allclose(bars.y, np.sort(sums[-1])[::-1][:6], rtol=1e-4)


# --- your own voice ------------------------------------------------------------------------------------------------


def test_a_sound_takes_the_way_of_the_command_line(after_a_tone, network):
    model = after_a_tone
    words = words_of([Sound(tone(), RATE, "tone")], model.classes)
    (answer,) = listen(network.config, network.weights, words, chip=chip_of(network.config))
    assert model.heard == answer
    assert model.trial.label is None
    assert model.frame().badge == "emulated chip · your recording"
    assert model.heard.input_spikes > 100


@pytest.mark.parametrize(("form", "name"), [("WAV", "my word.wav"), ("FLAC", "ä.flac"), ("OGG", "../../x.ogg")])
def test_files_are_heard_as_their_samples_are(after_a_tone, network, form, name):
    model = Speak(network, key="file", engine=Engine())
    assert model.hear_file(name, file_of(np.stack([tone(), tone()], axis=1), form)).wait(WAIT_S)
    assert model.source == name
    assert model.message.kind == "good"
    if form != "OGG":  # lossy
        assert ranking(model.heard) == ranking(after_a_tone.heard)


BAD = {
    "nothing": (b"", "an empty file"),
    "no sound": (b"nonsense" * 100, "a sound file"),
    "a page": (b"<!DOCTYPE html><html></html>", "a web page"),
    "broken": (file_of(tone())[:30], "a sound file"),
    "silent": (file_of(np.zeros(4000)), "silence"),
    "too short": (file_of(np.ones(8) * 0.5), "1 ms to 5 s"),
    "too long": (file_of(np.zeros(6 * RATE)), "got 6 s"),
}


@pytest.mark.parametrize("what", list(BAD))
def test_a_bad_file_is_named_and_nothing_is_lost(after_a_tone, what):
    model, (content, said) = after_a_tone, BAD[what]
    before = (model.words, model.heard, model.trial, model.source)
    assert model.hear_file("mine.wav", content).wait(WAIT_S)
    assert model.message.kind == "error"
    assert model.message.text.startswith("mine.wav: expected")
    assert said in model.message.text
    assert "/tmp" not in model.message.text
    assert (model.words, model.heard, model.trial, model.source) == before


def test_a_file_that_is_too_large_is_not_even_read(after_a_tone, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert after_a_tone.hear_file("long.wav", file_of(tone())).wait(WAIT_S)
    assert "long.wav: expected at most" in after_a_tone.message.text


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(np.zeros(4000, np.float32), RATE), (np.array([np.nan] * 4000, np.float32), RATE), (np.ones(0, np.float32), RATE),
     (tone(), np.nan), (tone(), 10.0), (np.ones((2, 400), np.float32), RATE), (np.ones(400, np.int16), RATE)],
)  # fmt: skip
def test_bad_samples_are_refused_and_nothing_is_lost(after_a_tone, samples, rate):
    before = after_a_tone.heard
    assert after_a_tone.hear_samples(samples, rate).wait(WAIT_S)
    assert after_a_tone.message.kind == "error"
    assert "expected" in after_a_tone.message.text
    assert after_a_tone.heard is before


def test_a_click_that_makes_no_spike_is_said(after_a_tone):
    before = after_a_tone.heard
    click = np.zeros(20, np.float32)
    click[10] = 1.0
    after_a_tone.set(keep_silence=True)
    assert after_a_tone.hear_samples(click, RATE).wait(WAIT_S)
    assert after_a_tone.message.kind == "error"
    assert "no spike" in after_a_tone.message.text
    assert after_a_tone.heard is before
    after_a_tone.set(keep_silence=False)


# --- settings ------------------------------------------------------------------------------------------------------


def test_another_chip_hears_the_same_word(speak):
    assert speak.say_word("nine", 2).wait(WAIT_S)
    first, words = speak.heard, speak.words
    speak.set(chip_seed=4)
    assert speak.wait(WAIT_S)
    assert speak.words is words
    assert speak.heard.input_spikes == first.input_spikes
    assert speak.heard.hidden_spikes != first.hidden_spikes


def test_a_slider_that_moves_meanwhile_does_not_lose_the_sound(speak):
    assert speak.say_word("nine", 2).wait(WAIT_S)
    speak.hear_samples(tone(), RATE, "new")
    speak.set(chip_seed=1)
    assert speak.wait(WAIT_S)
    assert speak.source == "new"
    assert speak.chip().seed == 1


def test_bad_settings_are_refused_and_settings_survive_json(speak, network):
    before = dict(speak.values)
    assert speak.say_word("elf") is None
    assert "word: expected one of" in speak.message.text
    assert speak.values == before
    speak.set(word="acht", take=7, noise_seed=3, keep_silence=True)
    other = Speak(network, key="other", engine=Engine())
    assert other.from_json(speak.to_json())
    assert other.values == speak.values != before
    assert other.words is None  # nothing was heard yet: nothing is computed
    assert not other.engine.tasks


def test_a_network_for_images_is_refused():
    with pytest.raises(InputError, match="network for words"):
        Speak(network_of(None, IMAGES), engine=Engine())


# --- views ---------------------------------------------------------------------------------------------------------


def test_microphone_and_file_reach_the_model(speak):
    widget = SpeakWidget(speak, renderer=Renderer())
    samples = tone()
    widget.microphone._handle_custom_msg({"type": "sound", "rate": RATE}, [memoryview(samples.tobytes())])
    assert speak.wait(WAIT_S)
    first = speak.heard
    assert speak.source == "recording"
    widget.file.value = (
        {"name": "same.wav", "type": "audio/wav", "size": 1, "content": memoryview(file_of(samples)),
         "last_modified": datetime(2020, 1, 1, tzinfo=UTC)},
    )  # fmt: skip
    assert widget.file.value == ()  # ready for the same file once more
    assert speak.wait(WAIT_S)
    assert speak.source == "same.wav"
    assert ranking(speak.heard) == ranking(first)
    widget.close()


def test_the_browser_learns_how_long_it_may_record(speak, monkeypatch):
    widget = SpeakWidget(speak, renderer=Renderer())
    sent = []
    monkeypatch.setattr(widget.microphone, "send", lambda content, buffers=None: sent.append(content))
    widget.microphone._handle_custom_msg({"type": "hello"}, [])
    assert sent == [{"type": "longest", "seconds": pytest.approx(4.8)}]
    widget.close()
