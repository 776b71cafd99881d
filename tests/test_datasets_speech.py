"""From recordings to the chip's input: exact units and times, and randomness that hangs on nothing but its keys."""

import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import stats
from spoken import FILE, made_up, speech_set

from bss2lab.config import Source
from bss2lab.datasets import catalogue, files, speech, spikefile
from bss2lab.datasets.speech import ChannelJitter, SpeechCode, encode
from bss2lab.errors import DataError, InputError

CHANNELS = [70 + 9 * k for k in range(70)]


def plain(data, code, i):
    """The same in plain Python: one list of (time, unit) per recording, no augmentation."""
    kept = []
    for t, channel in zip(*data.sample(i), strict=True):
        place = int(channel) - code.first_channel
        unit, rest = divmod(place, code.channel_step)
        time_us = np.float32(float(t) * 1e6 / code.speed_up)
        if place >= 0 and rest == 0 and unit < code.n_channels and time_us < np.float32(code.duration_us):
            kept.append((float(time_us), unit))
    return kept


def pairs(spikes, i):
    times, units = spikes.sample(i)
    return list(zip(times.tolist(), units.tolist(), strict=True))


def test_the_layout_is_the_papers():
    code = SpeechCode()
    assert CHANNELS[-1] == 691
    assert (code.n_steps, code.dt_us, code.duration_us) == (403, 1.7, pytest.approx(685.1))
    assert {row["source"] for row in code.provenance().values()} == {Source.PAPER}
    assert ChannelJitter().provenance()["sigma"]["source"] == Source.ASSUMED


def test_golden_every_channel_once():
    """700 spikes, one per channel at 1 ms × channel: those of channels 70, 79, … come, at 0.5 µs × channel."""
    data = speech_set([(np.arange(700) / 1000, np.arange(700))])
    spikes = encode(data)
    assert spikes.n_units == 70
    assert spikes.units.tolist() == list(range(70))
    np.testing.assert_array_equal(spikes.times_us, (np.float32(np.array(CHANNELS) / 1000) * 500.0).astype(np.float32))
    assert spikes.bins(1.7).tolist() == [int(0.5 * channel / 1.7 + 1e-4) for channel in CHANNELS]


def test_golden_times_bins_and_the_end():
    """1 s is 500 µs; step 402 is the last; what is behind it is dropped; the rest is silence."""
    times = [0.0, 0.0034, 1.0, 1.369140625, 1.3702, 1.5]
    spikes = encode(speech_set([(times, [70, 79, 691, 70, 70, 70]), ([], [])]))
    assert spikes.times_us.tolist() == [0.0, float(np.float32(1.7)), 500.0, 684.5703125]
    assert spikes.units.tolist() == [0, 1, 69, 0]
    assert spikes.bins(1.7).tolist() == [0, 1, 294, 402]
    assert spikes.offsets.tolist() == [0, 4, 4]
    assert spikes.dense(1.7).shape == (2, 403, 70)


def test_golden_committed_file():
    spikes = encode(spikefile.read(FILE))
    assert np.diff(spikes.offsets).tolist() == [len(plain(made_up(), SpeechCode(), i)) for i in range(6)]
    assert spikes.units.tolist() == GOLDEN_UNITS
    assert spikes.bins(1.7).tolist() == GOLDEN_BINS


GOLDEN_UNITS = [12, 47, 63, 53, 16, 33, 38, 17]
GOLDEN_BINS = [11, 384, 32, 112, 150, 162, 334, 354]


def test_coinciding_spikes_all_count():
    data = speech_set([([0.1, 0.1, 0.1, 0.1001], [79, 79, 70, 79])])
    spikes = encode(data)
    assert spikes.units.tolist() == [1, 1, 0, 1]
    assert spikes.dense(1.7)[0, 29].tolist()[:3] == [1.0, 3.0, 0.0]


@hypothesis.given(
    seed=st.integers(0, 2**32),
    first=st.integers(0, 100),
    step=st.integers(1, 12),
    n=st.integers(1, 50),
    n_steps=st.integers(1, 500),
)
@hypothesis.settings(max_examples=40)
def test_any_layout_equals_plain_python(seed, first, step, n, n_steps):
    code = SpeechCode(first_channel=first, channel_step=step, n_channels=n, n_steps=n_steps)
    data = made_up(seed)
    spikes = encode(data, code)
    for i in range(len(data)):
        assert pairs(spikes, i) == plain(data, code, i)


def test_the_result_passes_the_checks_of_spikes():
    spikes = encode(made_up(), jitter=ChannelJitter(sigma=50.0), seed=3)
    samples = [spikes.sample(i) for i in range(6)]
    again = type(spikes).from_events(samples, n_units=70, duration_us=spikes.duration_us)
    np.testing.assert_array_equal(again.times_us, spikes.times_us)


def test_an_index_chooses_and_orders():
    data = made_up()
    whole, some = encode(data), encode(data, index=[5, 0, 5])
    assert [pairs(some, i) for i in range(3)] == [pairs(whole, i) for i in (5, 0, 5)]
    assert len(encode(data, index=np.zeros(6, bool))) == 0


# --- augmentation ---------------------------------------------------------------------------------

ALL = SpeechCode(first_channel=0, channel_step=1, n_channels=700)


def burst(channel, n=100_000):
    return speech_set([(np.zeros(n), np.full(n, channel))])


@pytest.mark.parametrize("sigma", [0.3, 1.0, 7.3, 20.0])
def test_moves_are_rounded_normal_numbers(sigma):
    """χ² of the channels reached against the probabilities of round(N(350, σ)), from scipy."""
    units = encode(burst(350), ALL, jitter=ChannelJitter(sigma=sigma), seed=1).units
    counts = np.bincount(units, minlength=700)
    edges = np.arange(701) - 0.5
    expected = np.diff(stats.norm.cdf(edges, 350, sigma)) * len(units)
    common = expected > 10
    chi2 = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert stats.chi2.sf(chi2, common.sum() - 1) > 1e-4
    assert counts[~common].sum() < expected[~common].sum() + 40


def test_what_leaves_the_cochlea_is_dropped():
    """Half of channel 0's moves go below it (but for those that stay), and nothing wraps around."""
    units = encode(burst(0), ALL, jitter=ChannelJitter(sigma=20.0), seed=2).units
    kept = 1 - stats.norm.cdf(-0.5, 0, 20)
    assert len(units) == pytest.approx(100_000 * kept, abs=5 * np.sqrt(100_000 * kept * (1 - kept)))
    assert units.max() < 130
    top = encode(burst(699), ALL, jitter=ChannelJitter(sigma=20.0), seed=2).units
    assert top.min() > 570


def test_spikes_move_before_channels_are_chosen():
    """Channel 71 is none of the 70, and yet its neighbours' units hear it."""
    spikes = encode(burst(71, 10_000), jitter=ChannelJitter(sigma=1.0), seed=0)
    share = np.diff(stats.norm.cdf([69.5, 70.5], 71, 1.0))[0]
    assert len(spikes.units) == pytest.approx(10_000 * share, abs=250)
    assert set(spikes.units.tolist()) == {0}
    assert len(encode(burst(71, 10)).units) == 0


def test_no_jitter_and_sigma_zero_are_the_same():
    a, b = encode(made_up()), encode(made_up(), jitter=ChannelJitter(sigma=0.0), seed=5, epoch=2)
    assert a.units.tolist() == b.units.tolist()


@hypothesis.given(st.permutations(range(6)), st.integers(0, 2**62), st.integers(0, 100))
@hypothesis.settings(max_examples=25)
def test_moves_hang_on_seed_epoch_and_recording_alone(order, seed, epoch):
    jitter, data = ChannelJitter(sigma=20.0), made_up()
    draw = {"jitter": jitter, "seed": seed, "epoch": epoch}
    whole = encode(data, ALL, **draw)
    mixed = encode(data, ALL, index=np.array(order), **draw)
    split = encode(data.subset(np.array(order)), ALL, **draw)
    for place, i in enumerate(order):
        assert pairs(mixed, place) == pairs(whole, i) == pairs(split, place)
        assert pairs(encode(data, ALL, index=[i], **draw), 0) == pairs(whole, i)


def test_seeds_epochs_and_recordings_draw_differently():
    data = speech_set([(np.zeros(1000), np.full(1000, 350))] * 2)
    jitter = ChannelJitter(sigma=20.0)

    def units(seed, epoch, i):
        return tuple(encode(data, ALL, jitter=jitter, seed=seed, epoch=epoch, index=[i]).units.tolist())

    drawn = [units(seed, epoch, i) for seed in (0, 1, 2) for epoch in (0, 1, 2) for i in (0, 1)]
    assert len(set(drawn)) == 18
    moves = np.array(drawn) - 350.0
    between = np.corrcoef(moves)[np.triu_indices(18, 1)]
    assert np.abs(between).max() < 0.2  # 6 standard errors
    assert units(1, 2, 0) == units(1, 2, 0)


def test_golden_moves():
    """The numbers themselves: whoever changes them changes results."""
    units = encode(speech_set([(np.zeros(12), np.full(12, 350))]), ALL, jitter=ChannelJitter(sigma=20.0), seed=7).units
    assert units.tolist() == GOLDEN_MOVES


GOLDEN_MOVES = [346, 343, 361, 366, 332, 330, 370, 323, 371, 381, 346, 343]


# --- what is refused, and loading -----------------------------------------------------------------


def test_a_layout_that_the_recordings_do_not_have_is_refused():
    with pytest.raises(InputError, match="last channel: expected at most channel 699, got 700"):
        encode(made_up(), SpeechCode(first_channel=79))
    with pytest.raises(InputError, match="seed: expected 0 …"):
        encode(made_up(), seed=-1)
    with pytest.raises(InputError, match="epoch: expected 0 …"):
        encode(made_up(), epoch=-1)
    with pytest.raises(InputError, match="sigma: expected"):
        ChannelJitter(sigma=-1.0)
    with pytest.raises(InputError, match="recordings: expected"):
        encode(made_up(), index=[6])


def test_a_path_is_read_whatever_its_checksum():
    data = speech.load("shd", "test", path=FILE)
    assert (len(data), data.split) == (6, "test")


def test_a_file_of_the_data_set_with_too_few_recordings_is_refused(monkeypatch):
    monkeypatch.setattr(files, "path", lambda *_, **__: FILE)
    with pytest.raises(DataError, match=r"spoken\.h5: expected 8,156 recordings, got 6"):
        speech.load("shd", "train")


def test_unknown_names_and_splits_are_refused():
    with pytest.raises(InputError, match="data set: expected 'speech' or 'shd', got 'mnist'"):
        speech.load("mnist")
    with pytest.raises(InputError, match="split: expected 'train' or 'test', got 'dev'"):
        speech.load("shd", "dev")
    assert catalogue.SHD.n_samples == {"train": 8156, "test": 2264}


def test_images_do_without_h5py():
    code = "import sys, bss2lab.datasets.vision, bss2lab.datasets.speech; sys.exit('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
