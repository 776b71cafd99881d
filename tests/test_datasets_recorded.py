"""Your own voice: sounds become recordings like those of a data set, with silence cut at both ends."""

import io
import sys

import numpy as np
import pytest

from bss2lab.datasets import cochlea
from bss2lab.datasets.recorded import LEAD_S, MANY, TRAIL_S, without_silence, words_of
from bss2lab.datasets.sound import Sound
from bss2lab.datasets.speechset import UNKNOWN, split_validation
from bss2lab.errors import InputError

pytestmark = pytest.mark.slow

RATE = 32_000


def burst(before_s=0.0, seconds=0.2, behind_s=0.0, rate=RATE, noise=0.0, offset=0.0):
    """A tone between silences."""
    tone = 0.4 * np.sin(2 * np.pi * 800 * np.arange(round(seconds * rate)) / rate)
    samples = np.concatenate([np.zeros(round(before_s * rate)), tone, np.zeros(round(behind_s * rate))])
    return Sound(samples + noise * np.random.default_rng(0).standard_normal(len(samples)) + offset, rate, "burst")


@pytest.mark.parametrize("noise", [0.0, 0.002])
@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize(("before_s", "behind_s"), [(0.0, 0.0), (0.5, 0.0), (0.0, 1.0), (0.7, 0.7)])
def test_silent_ends_are_cut_to_a_common_length(before_s, behind_s, noise, offset):
    cut = without_silence(burst(before_s, behind_s=behind_s, noise=noise, offset=offset))
    assert cut.duration_s == pytest.approx(0.2 + LEAD_S + TRAIL_S, abs=0.012)
    assert (cut.name, cut.sample_rate_hz) == ("burst", RATE)


def test_where_the_word_begins_does_not_show_in_the_spikes():
    early, late = (words_of([burst(before)], ("tone",)) for before in (0.0, 0.6))
    assert early.n_spikes[0] == pytest.approx(late.n_spikes[0], rel=0.05)
    assert np.median(early.times_s) == pytest.approx(np.median(late.times_s), abs=0.01)


def test_sounds_become_recordings_of_an_unknown_speaker():
    data = words_of([burst(), burst(seconds=0.3)], ("a", "b"), labels=[1, 0], seed=3, keep_silence=True)
    assert (len(data), data.split, data.n_units, data.classes) == (2, "test", 700, ("a", "b"))
    assert data.labels.tolist() == [1, 0]
    assert (data.speakers == UNKNOWN).all()
    for i, sound in enumerate([burst(), burst(seconds=0.3)]):
        want = cochlea.spikes_of(sound, seed=3, sample=i)
        times, units = data.sample(i)
        np.testing.assert_array_equal(units, want.units)
        np.testing.assert_allclose(times, want.times_us / 1e6, rtol=1e-6)


def test_words_of_known_speakers_can_be_split_between_speakers():
    data = words_of([burst()] * 4, ("a", "b"), labels=[0, 1, 0, 1], speakers=[0, 0, 5, 5], split="train")
    train, held_out = split_validation(data, speakers=[5])
    assert (train.speakers.tolist(), held_out.speakers.tolist()) == ([0, 0], [5, 5])
    assert (train.labels.tolist(), held_out.split) == ([0, 1], "validation")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"speakers": [0]}, "speakers: expected 2 integers"),
        ({"speakers": ["a", "b"]}, "speakers: expected 2 integers"),
        ({"speakers": [0, -2]}, "speakers: .*got -2"),
        ({"labels": [0, 1, 0]}, "labels: expected 2 integers"),
        ({"labels": [0, 2]}, "labels: expected 0 … 1, got 2"),
    ],
)
def test_labels_and_speakers_that_do_not_fit_are_refused(options, text):
    with pytest.raises(InputError, match=text):
        words_of([burst(), burst()], ("a", "b"), **options)


def test_many_words_have_a_progress_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = {}
    for n in (1, MANY):
        monkeypatch.setattr(sys, "stderr", Terminal())
        words_of([burst()] * n, ("a",))
        shown[n] = sys.stderr.getvalue()
    assert shown[1] == ""
    assert f"/{MANY} [" in shown[MANY]


def test_silence_is_no_word():
    for sound in (Sound(np.zeros(RATE), RATE, "nothing"), Sound(np.full(RATE, 0.25), RATE, "nothing")):
        with pytest.raises(InputError, match="nothing: expected a word, got silence"):
            without_silence(sound)
