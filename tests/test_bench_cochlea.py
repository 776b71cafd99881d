"""The cochlea's benchmark returns what it says; how fast it is, is not for a test to say."""

import numpy as np
import pytest

from bss2lab.bench import cochlea
from bss2lab.datasets.cochlea import CochleaConfig
from bss2lab.errors import InputError


def test_the_record_is_whole(monkeypatch):
    monkeypatch.setattr(cochlea, "CochleaConfig", lambda: CochleaConfig(n_channels=4))
    got = cochlea.seconds_per_second(rounds=2, oracle=False)
    assert 0 < got.low_s <= got.median_s <= got.high_s
    assert got.processor_s > 0
    assert got.oracle_s is None
    assert got.ratio is None


def test_the_vowel_is_a_vowel():
    sound = cochlea.vowel(0.5)
    power = np.abs(np.fft.rfft(sound.samples))
    assert sound.duration_s == 0.5
    assert np.argmax(power) * 2 == pytest.approx(120, abs=2)  # the fundamental


@pytest.mark.needs("lauscher")
def test_the_oracle_is_extrapolated_to_all_channels():
    few, many = (cochlea.oracle_seconds(CochleaConfig(n_channels=n), n_channels=1, seconds=0.02) for n in (10, 100))
    assert many > 3 * few > 0


@pytest.mark.parametrize("words", [{"rounds": 0}, {"rounds": 1, "oracle_channels": 0}])
def test_nothing_to_time_is_refused(words):
    with pytest.raises(InputError, match="expected at least 1"):
        cochlea.seconds_per_second(**words)
