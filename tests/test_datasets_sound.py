"""Sound files: what can be used is brought to one form, what cannot is named. Nothing becomes NaN on the way."""

import contextlib
import math

import numpy as np
import optional
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bss2lab.datasets.sound import FASTEST_HZ, LONGEST_S, SLOWEST_HZ, Sound, prepare, read_sound
from bss2lab.errors import Bss2Error, DataError, InputError, SoundWarning

soundfile = optional.imported("soundfile")
pytestmark = pytest.mark.needs("soundfile")


def tone(rate=48_000, frequency=1000.0, seconds=0.1, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def rms(x):
    return math.sqrt(np.mean(np.square(x)))


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "subtype", "error"),
    [
        ("wav", "PCM_U8", 1 / 120),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 1e-7),
        ("flac", "PCM_16", 1e-4),
        ("flac", "PCM_24", 1e-6),
        ("ogg", "VORBIS", 0.05),
    ],
)
def test_every_format_gives_back_what_was_written(tmp_path, suffix, subtype, error):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), 48_000, subtype=subtype)
    got = read_sound(path)
    assert got.sample_rate_hz == 48_000
    assert got.duration_s == pytest.approx(0.1)
    np.testing.assert_allclose(got.samples, tone(), atol=error)


def test_channels_are_replaced_by_their_mean(tmp_path):
    left, right = tone(), tone(frequency=300.0, amplitude=0.25)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 48_000, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(tmp_path / "stereo.wav").samples, (left + right) / 2, atol=1e-7)


def write(path, *channels, rate=48_000):
    soundfile.write(path, np.stack(channels, axis=1), rate, "FLOAT")
    return path


@pytest.mark.parametrize("rest", [0.0, 0.02])
def test_channels_that_cancel_give_way_to_the_loudest_one(tmp_path, rest):
    left = tone()
    path = write(tmp_path / "opposite.wav", (1 - rest) * left, -left)
    with pytest.warns(SoundWarning, match=r"opposite\.wav.*channel [12] is taken alone"):
        got = read_sound(path)
    np.testing.assert_allclose(np.abs(got.samples), np.abs(left), atol=1e-6)


def test_one_loud_channel_among_silent_ones_and_different_channels_are_averaged(tmp_path):
    """(Warnings are errors here.)"""
    silent, offset = np.zeros_like(tone()), np.full_like(tone(), 0.3)
    for channels in ([tone()] + [silent] * 7, [tone(), tone(frequency=300.0)], [tone() + offset, tone() - offset]):
        got = read_sound(write(tmp_path / "x.wav", *channels))
        np.testing.assert_allclose(got.samples, np.mean(channels, axis=0), atol=1e-6)


def test_a_slow_file_is_named_with_what_is_needed_and_why(tmp_path):
    path = write(tmp_path / "slow.wav", tone(2000, 200.0), rate=2000)
    with pytest.raises(InputError, match=r"slow\.wav: .*4,000 … .*got 2000; .*nothing above 1,000 Hz is left"):
        read_sound(path)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_pitch_loudness_and_duration(rate):
    got = Sound(tone(rate), rate).at(48_000)
    assert got.sample_rate_hz == 48_000
    assert got.duration_s == pytest.approx(0.1, abs=1e-4)
    middle = slice(1000, -1000)  # the filter rings at both ends
    np.testing.assert_allclose(got.samples[middle], tone()[: len(got.samples)][middle], atol=5e-3)


def test_what_a_lower_rate_cannot_hold_is_filtered_out_not_folded():
    assert rms(Sound(tone(96_000, 30_000.0), 96_000).at(48_000).samples) < 0.02


def test_the_longest_sound_survives_resampling():
    rate = 22_051
    got = Sound(np.full(int(LONGEST_S * rate), 0.1), rate).at(48_000)
    assert got.duration_s <= LONGEST_S


BAD_FILES = {
    "page.wav": (b"<!DOCTYPE html><html><body>404</body></html>", DataError, "a web page"),
    "empty.wav": (b"", DataError, "an empty file"),
    "noise.wav": (bytes(range(256)) * 4, DataError, "a sound file"),
    "text.flac": (b"fLaC but not really", DataError, "a sound file"),
    "headerless.raw": (bytes(100), DataError, "a sound file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_sound_is_refused(tmp_path, name):
    content, kind, words = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=words) as caught:
        read_sound(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="got nothing there"):
        read_sound(tmp_path / "gone.wav")
    with pytest.raises(DataError, match="got a folder"):
        read_sound(tmp_path)


def test_a_file_without_samples_and_one_with_nan_are_refused(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.empty(0), 48_000)
    with pytest.raises(InputError, match=r"none\.wav: expected 1 ms to 5 s of sound, got no sample at all"):
        read_sound(tmp_path / "none.wav")
    broken = tone()
    broken[7:9] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 48_000, subtype="FLOAT")
    with pytest.raises(InputError, match="got 2 of 4800 NaN or infinite"):
        read_sound(tmp_path / "nan.wav")


def test_a_long_recording_is_refused_before_it_is_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", np.zeros(600 * 4_000, dtype=np.int16), 4_000)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InputError, match="got 600 s; cut the recording into words"):
        read_sound(tmp_path / "long.wav")


@given(content=st.binary(max_size=300), magic=st.sampled_from([b"", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC", b"OggS"]))
def test_any_bytes_give_a_sound_or_a_named_error(tmp_path_factory, content, magic):
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(magic + content)
    with contextlib.suppress(Bss2Error):
        assert np.isfinite(read_sound(path).samples).all()


# --- Sound ----------------------------------------------------------------------------------------

BAD_SOUNDS = [
    (np.zeros(4800, dtype=np.int16), 48_000, "samples of type float"),
    (np.zeros((2, 4800)), 48_000, "one channel"),
    (np.zeros(4800), 0, "a whole number of Hz"),
    (np.zeros(4800), 48_000.0, "a whole number of Hz"),
    (np.zeros(4800), 10**9, "a whole number of Hz"),
    (np.zeros(0), 48_000, "no sample at all"),
    (np.zeros(10), 48_000, "1 ms to 5 s"),
    (np.zeros(48_000 * 6), 48_000, "1 ms to 5 s"),
    (np.full(4800, np.inf), 48_000, "finite samples"),
    (np.full(4800, 3e7), 48_000, "full scale 1"),
]


@pytest.mark.parametrize(("samples", "rate", "words"), BAD_SOUNDS)
def test_unusable_samples_are_refused(samples, rate, words):
    with pytest.raises(InputError, match=words):
        Sound(samples, rate)


# --- loudness and ramps ---------------------------------------------------------------------------


def test_loudness_is_set_before_the_ramps():
    flat = prepare(Sound(tone(), 48_000), sample_rate_hz=48_000, level_rms=0.3, ramp_ms=0.0)
    assert rms(flat) == pytest.approx(0.3)
    ramped = prepare(Sound(tone(), 48_000), sample_rate_hz=48_000, level_rms=0.3, ramp_ms=10.0)
    np.testing.assert_allclose(ramped[480:-480], flat[480:-480])
    t = np.arange(480) / 959
    np.testing.assert_allclose(ramped[:480], flat[:480] * np.sin(np.pi * t) ** 2, atol=1e-12)
    np.testing.assert_allclose(ramped[-480:], (flat[-480:][::-1] * np.sin(np.pi * t) ** 2)[::-1], atol=1e-12)


def test_ramps_without_a_length_meet_in_the_middle():
    got = prepare(Sound(np.ones(4800), 48_000), sample_rate_hz=48_000, level_rms=1.0, ramp_ms=None)
    assert got[0] == got[-1] == 0
    assert got.argmax() in (2399, 2400)
    np.testing.assert_allclose(got, got[::-1])


@pytest.mark.parametrize("quiet", [0.0, 1e-12])
def test_silence_stays_silence(quiet):
    sound = Sound(np.full(4800, quiet), 48_000)
    assert not prepare(sound, sample_rate_hz=48_000, level_rms=0.3, ramp_ms=None).any()


@given(
    samples=hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1, 1, width=32)),
    rate=st.sampled_from([SLOWEST_HZ, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, FASTEST_HZ]),
    ramp_ms=st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_any_sound_is_heard_at_the_level_or_refused(samples, rate, ramp_ms):
    if len(samples) < rate / 1000:
        with pytest.raises(InputError, match="1 ms"):
            Sound(samples, rate)
        return
    got = prepare(Sound(samples, rate), sample_rate_hz=48_000, level_rms=0.3, ramp_ms=ramp_ms)
    assert np.isfinite(got).all()
    assert rms(got) <= 0.3 * (1 + 1e-9)
    assert abs(len(got) - len(samples) * 48_000 / rate) < 2
