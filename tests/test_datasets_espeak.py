"""Synthetic speech: what can be said is a sound, what cannot is named; all with and without the program."""

import re

import numpy as np
import pytest

from bss2lab.datasets import espeak
from bss2lab.datasets.cochlea import CochleaConfig, spikes_of
from bss2lab.datasets.espeak import speak
from bss2lab.errors import DataError, InputError

needs_espeak = pytest.mark.needs("espeak-ng")


@needs_espeak
def test_a_word_is_a_sound_and_the_same_each_time():
    one, again = speak("three"), speak("three")
    assert one.sample_rate_hz == 22_050
    assert 0.3 < one.duration_s < 1.5
    np.testing.assert_array_equal(one.samples, again.samples)
    assert np.abs(one.samples).max() > 0.05


@needs_espeak
def test_the_version_is_told():
    assert re.fullmatch(r"espeak-ng \d+\.\d+\S*", espeak.version())


@needs_espeak
def test_every_setting_matters():
    plain = speak("sieben", language="de")
    for other in (
        speak("sieben", language="en"),
        speak("sieben", language="de", variant="f2"),
        speak("sieben", language="de", pitch=80),
        speak("sieben", language="de", rate_wpm=200),
        speak("sieben", language="de", amplitude=40),
    ):
        assert not np.array_equal(plain.samples, other.samples)
    assert speak("seven", rate_wpm=90).duration_s > speak("seven", rate_wpm=250).duration_s


@needs_espeak
def test_a_text_that_looks_like_an_option_is_spoken():
    assert speak("--version").duration_s > 0.2


@needs_espeak
def test_spoken_digits_make_as_many_spikes_as_those_of_shd():
    """Samples of SHD have 3,500 to 12,900."""
    assert 3_000 < len(spikes_of(speak("nine"), CochleaConfig(), seed=0).units) < 15_000


@needs_espeak
@pytest.mark.parametrize("words", [{"language": "xx"}, {"language": "en", "variant": "nobody-of-that-name"}])
def test_an_unknown_voice_is_refused_or_falls_back_to_the_language(words):
    try:
        sound = speak("one", **words)
    except InputError as error:
        assert "a voice of espeak-ng" in str(error)  # noqa: PT017 (some versions ignore unknown variants)
    else:
        assert words["language"] == "en"
        assert sound.duration_s > 0.2


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({"text": ""}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "a" * 201}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": 7}, "text"),
        ({"text": "one", "language": "-w/etc/x"}, "language"),
        ({"text": "one", "language": "../en"}, "language"),
        ({"text": "one", "variant": "a b"}, "variant"),
        ({"text": "one", "pitch": 100}, "pitch"),
        ({"text": "one", "rate_wpm": 10}, "rate_wpm"),
        ({"text": "one", "amplitude": 1.5}, "amplitude"),
        ({"text": "one", "pitch": True}, "pitch"),
    ],
)
def test_bad_arguments_are_refused(words, name):
    with pytest.raises(InputError, match=f"^{name}: expected"):
        speak(**words)


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setattr(espeak, "PROGRAM", "espeak-that-is-nowhere")
    for call in (lambda: speak("one"), espeak.version):
        with pytest.raises(DataError, match="expected the program installed"):
            call()
