"""The cochlea is held to its authors' implementation, stage by stage, and to the physics that it stands for.

``golden_cochlea.npz`` holds what the authors' code made of the stimuli in ``golden_cochlea.py``; where it is
installed (``pip install lauscher``) it is also asked directly.
"""

import threading

import golden_cochlea
import numpy as np
import pytest
from golden_cochlea import RATE_HZ, chirp, probabilities, trains
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bss2lab.config import Source
from bss2lab.datasets import basilar_membrane, hair_cell
from bss2lab.datasets.basilar_membrane import BasilarMembrane, response
from bss2lab.datasets.cochlea import CochleaConfig, _padded, heard, spikes_of, spikes_of_all
from bss2lab.datasets.hair_cell import LANES, BushyCell, HairCell, bushy_spikes, firing_probability
from bss2lab.datasets.sound import Sound
from bss2lab.errors import InputError

RATE = RATE_HZ // 2
FEW = CochleaConfig(n_channels=40)


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_cochlea.FILE) as file:
        return dict(file)


def tone(frequency, seconds=0.2, amplitude=0.3):
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Sound(amplitude * np.sin(2 * np.pi * frequency * t), RATE_HZ, f"{frequency} Hz")


def noise(seed, n):
    return np.random.default_rng(seed).normal(0.0, 0.3, n)


def velocities(samples, n_channels):
    transfer = basilar_membrane.transfer(BasilarMembrane(), n_channels, RATE_HZ, len(samples))
    return basilar_membrane.velocities(basilar_membrane.spectrum(samples), transfer, 0, n_channels)


def in_lanes(channels):
    """Turn [channel, time] into what ``bushy_spikes`` takes."""
    lanes = np.zeros((channels.shape[1], LANES), dtype=np.float32)
    lanes[:, : len(channels)] = channels.T
    return lanes


def steps_of(channels, seed, cell=None):
    """Return one list of spike times in steps per channel."""
    n = len(channels)
    times, units = bushy_spikes(in_lanes(channels), cell or BushyCell(), RATE, n_channels=n, seed=seed, first=0)
    return [times[units == c] for c in range(n)]


def error(got, want):
    """Largest error of each channel, as a part of its largest value."""
    return (np.abs(got - want).max(axis=1) / np.abs(want).max(axis=1)).max()


# --- against the authors' implementation ----------------------------------------------------------


def test_velocities_are_those_of_the_authors(golden):
    got = velocities(chirp(), golden_cochlea.N_CHANNELS)
    assert got.dtype == np.float32
    assert error(got[:-1], golden["velocities"][:-1]) < 1e-5
    assert error(got, golden["velocities"]) < 1e-4  # the last channel hears 10⁻⁴ of the others: rounding shows


def test_firing_probabilities_are_those_of_the_authors(golden):
    got = firing_probability(golden["velocities"][2::3], HairCell(), RATE)
    assert got.shape == (481, LANES)
    assert error(got.T[:4], golden["probabilities"]) < 1e-4
    assert not got[:, 4:].any()


def test_a_bushy_cell_on_given_spikes_fires_when_the_authors_does(golden):
    got = steps_of(trains(), seed=0, cell=BushyCell(weight_per_s=golden_cochlea.WEIGHT))
    for c in range(len(trains())):
        assert got[c].tolist() == golden[f"train{c}"].tolist()
    assert sum(map(len, got)) > 100


def test_random_spikes_have_the_authors_rates_and_times(golden):
    """The means agree within their errors, and the pooled times come from one distribution."""
    trials = [steps_of(probabilities(), seed) for seed in range(200)]
    counts = np.array([[len(steps) for steps in trial] for trial in trials])
    theirs = golden["counts"].astype(float)
    spread = np.sqrt(counts.var(axis=0) / len(counts) + theirs.var(axis=0) / len(theirs))
    assert (np.abs(counts.mean(axis=0) - theirs.mean(axis=0)) < 4 * spread + 0.1).all()
    for c in range(1, counts.shape[1]):
        ours = np.concatenate([trial[c] for trial in trials])
        assert stats.ks_2samp(ours, golden[f"steps{c}"]).statistic < 0.05, c


@pytest.mark.needs("lauscher")
@pytest.mark.parametrize("n", [400, 961, 1918, 2403])
def test_velocities_and_probabilities_follow_the_oracle_for_any_length(n):
    samples = noise(n, n)
    want = golden_cochlea.oracle_velocities(samples, 9)
    got = velocities(samples, 9)
    assert error(got, want) < 2e-5
    cells = firing_probability(got, HairCell(), RATE)[:, :9].T
    assert error(cells, golden_cochlea.oracle_probabilities(want)) < 1e-4


@pytest.mark.needs("lauscher")
def test_the_whole_chain_fires_as_often_as_the_oracle_in_every_channel():
    config = CochleaConfig(n_channels=8, ramp_ms=None, level_rms=2.0)
    n = 5118
    assert _padded(n) == n  # nothing is appended, so that both see the same sound
    sound = Sound(noise(3, n) + np.sin(2 * np.pi * 300 * np.arange(n) / RATE_HZ), RATE_HZ)
    np.random.seed(2)  # noqa: NPY002 (lauscher draws from it)
    p = golden_cochlea.oracle_probabilities(golden_cochlea.oracle_velocities(heard(sound, config), 8))
    theirs = np.array([[len(s) for s in golden_cochlea.oracle_steps(p)] for _ in range(4)])
    batch = spikes_of_all([sound] * 40, config, seed=1, threads=1)
    ours = np.array([np.bincount(batch.sample(b)[1], minlength=8) for b in range(40)])
    assert theirs.sum() > 100
    spread = np.sqrt(ours.var(axis=0) * (1 / 40 + 1 / 4))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * spread + 0.5).all()


# --- physics --------------------------------------------------------------------------------------


def test_the_lowest_response_peaks_near_100_hz_and_the_highest_at_the_resonance():
    membrane = BasilarMembrane()
    best = CochleaConfig().best_frequency_hz()
    assert (np.diff(best) <= 0).all()
    assert best[-1] == pytest.approx(100, rel=0.02)
    resonance = membrane.resonance_hz(membrane.places(700))
    assert (best[60:] < resonance[60:]).all()
    assert (best[60:] > 0.85 * resonance[60:]).all()


def test_a_wave_dies_out_behind_its_place():
    frequencies = np.array([200.0, 1000.0, 4000.0])
    v = np.abs(response(BasilarMembrane(), frequencies, np.linspace(0, 3.5, 200)))
    peak = v.argmax(axis=0)
    assert (np.diff(peak) < 0).all()  # the higher the tone, the nearer to the base
    assert v[-1, 1] < 1e-6 * v[:, 1].max()


@pytest.mark.parametrize("frequency", [150.0, 300.0, 700.0, 1500.0, 3000.0, 6000.0])
def test_a_pure_tone_moves_the_place_with_its_best_frequency_most(frequency):
    config = CochleaConfig(n_channels=100)
    rms = np.sqrt(np.mean(velocities(heard(tone(frequency), config), 100) ** 2, axis=1))
    assert config.best_frequency_hz()[rms.argmax()] == pytest.approx(frequency, rel=0.08)


@pytest.mark.parametrize("frequency", [200.0, 800.0, 3000.0])
def test_a_pure_tone_makes_the_expected_channels_fire(frequency):
    """The wave runs in from the base, channel 0, and dies at its place: there the firing channels end."""
    config = CochleaConfig(n_channels=96, level_rms=1.0)
    counts = np.bincount(spikes_of(tone(frequency), config, seed=0).units, minlength=96)
    expected = np.abs(config.best_frequency_hz() - frequency).argmin()
    assert abs(np.flatnonzero(counts > counts.max() / 3)[-1] - expected) <= 4
    assert counts[expected - 5 : expected + 1].mean() > 0.5 * counts.max()
    assert counts[expected + 10 :].max(initial=0) <= 2


def test_louder_sound_makes_more_spikes():
    counts = [
        len(spikes_of(tone(800.0), FEW.replace(level_rms=level), seed=0).units)
        for level in (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
    ]
    assert counts == sorted(counts)
    assert counts[-1] > 20 * max(1, counts[0])


def test_silence_leaves_the_rare_spontaneous_spikes():
    """64 spikes per second and fibre, 40 fibres: below the bushy cell's threshold but for fluctuations."""
    assert HairCell().spontaneous_per_s() == pytest.approx(64.8, rel=0.01)
    got = spikes_of(Sound(np.zeros(RATE_HZ), RATE_HZ), CochleaConfig(n_channels=128), seed=0)
    assert 20 < len(got.units) < 160  # 0.16 … 1.25 per second and channel
    assert got.times_us.max() - got.times_us.min() > 0.8e6


def test_loudness_of_the_recording_does_not_matter():
    quiet, loud = tone(500.0, amplitude=0.01), tone(500.0, amplitude=0.9)
    counts = [len(spikes_of(s, FEW, seed=0).units) for s in (quiet, loud)]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_columns_without_a_channel_say_nothing():
    """Neither fill the lists, which are sized for the channels, nor change what the channels say."""
    loud = np.full((400, LANES), 0.02, dtype=np.float32)
    alone = loud.copy()
    alone[:, 3:] = 0
    found = [bushy_spikes(x, BushyCell(), RATE, n_channels=3, seed=5, first=7) for x in (loud, alone)]
    assert len(found[0][0]) > 0
    assert set(found[0][1]) <= {7, 8, 9}
    for got, want in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)


def test_intervals_of_one_fibre_are_a_dead_time_and_a_geometric_wait():
    """One fibre with a weight so large that each of its spikes is one of the bushy cell."""
    p = 0.02
    cell = BushyCell(n_fibres=1, weight_per_s=1e6, tau_mem_ms=1e-3, tau_syn_ms=1e-3)
    waits = np.concatenate([np.diff(s) for s in steps_of(np.full((8, 60_000), p, np.float32), seed=4, cell=cell)])
    assert waits.min() == 25  # the bushy cell itself rests a step longer and misses what comes after 24
    k = np.arange(600)
    chance = p * (1 - p) ** (k - 24.0) * (k >= 25) + p * p * (1 - p) ** (k - 48.0) * (k >= 48)
    observed = np.bincount(waits, minlength=600)[:600].cumsum() / len(waits)
    assert np.abs(observed - chance.cumsum()).max() < 1.95 / np.sqrt(len(waits))


@given(p=st.floats(0, 0.5, width=32))
def test_the_hazard_is_the_logarithm(p):
    assert hair_cell._hazard(np.float32(p)) == pytest.approx(-np.log1p(-p), rel=2e-6, abs=1e-30)


# --- seeds, batches, bad input --------------------------------------------------------------------


def equal(a, b):
    return np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])


def test_a_seed_is_a_set_of_spikes_whatever_runs_beside_it():
    sounds = [tone(400.0, 0.05), tone(900.0, 0.11), tone(400.0, 0.05)]
    one = spikes_of_all(sounds, FEW, seed=7, threads=1)
    three = spikes_of_all(sounds, FEW, seed=7, threads=3)
    assert len(one) == 3
    assert one.n_units == 40
    assert one.duration_us == pytest.approx(0.11e6, abs=50)
    for b, sound in enumerate(sounds):
        assert equal(one.sample(b), three.sample(b))
        alone = spikes_of(sound, FEW, seed=7, sample=b)
        assert equal(one.sample(b), alone.sample(0))
    assert not equal(one.sample(0), one.sample(2))  # the same sound, another sample
    assert not equal(spikes_of(sounds[0], FEW, seed=8).sample(0), one.sample(0))


def test_a_channels_randomness_does_not_depend_on_the_others():
    p = np.full((3, 4000), 0.012, dtype=np.float32)
    three, two = steps_of(p, seed=5), steps_of(p[:2], seed=5)
    assert [s.tolist() for s in two] == [s.tolist() for s in three[:2]]
    assert three[0].tolist() != three[1].tolist()


def test_spikes_lie_on_the_grid_and_are_sorted():
    spikes = spikes_of(tone(600.0), FEW, seed=0)
    steps = spikes.times_us * 1e-6 * RATE
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    order = np.lexsort((spikes.units, np.round(steps)))
    assert (order == np.arange(len(order))).all()


def test_progress_comes_from_the_calling_thread_and_may_stop_the_work():
    sounds, seen = [tone(500.0, 0.02)] * 5, []
    spikes_of_all(sounds, FEW, seed=0, threads=2, on_sound=lambda *now: seen.append((*now, threading.get_ident())))
    assert seen == [(k, 5, threading.get_ident()) for k in range(1, 6)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spikes_of_all(sounds, FEW, seed=0, threads=2, on_sound=stop)


@settings(max_examples=25)
@given(n=st.integers(48, 3000), rate=st.sampled_from([16_000, 44_100, 48_000]), seed=st.integers(0, 2**64 - 1))
def test_any_sound_gives_valid_spikes(n, rate, seed):
    got = spikes_of(Sound(noise(n, n), rate), CochleaConfig(n_channels=5), seed=seed)
    assert got.n_units == 5
    assert abs(got.duration_us - 1e6 * n / rate) < 100


@given(n=st.integers(1, 240_000))
def test_lengths_are_padded_by_at_most_a_quarter(n):
    padded = _padded(n)
    assert padded % 2 == 0
    assert n <= padded <= max(30, 1.25 * n + 4)


@pytest.mark.parametrize(
    "words",
    [
        {"n_channels": 1}, {"sample_rate_hz": 47_999}, {"sample_rate_hz": 8_000}, {"level_rms": 0.0},
        {"level_rms": float("nan")}, {"ramp_ms": -1.0}, {"channels": 70},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(words):
    with pytest.raises(InputError, match=f"{next(iter(words))}: expected"):
        CochleaConfig(**words)


@pytest.mark.parametrize("words", [{"height": 1e-9}, {"stiffness_decay": 9.9}])
def test_a_membrane_beyond_single_numbers_is_refused(words):
    config = FEW.replace(membrane=BasilarMembrane(**words), sample_rate_hz=192_000)
    with pytest.raises(InputError, match=f"membrane: expected .* with {next(iter(words))}"):
        spikes_of(tone(500.0), config, seed=0)


def test_extreme_cells_still_give_spikes_or_none():
    fast = HairCell(release_per_s=8000, loss_per_s=8000, reuptake_per_s=8000, reprocessing_per_s=8000, firing_per_s=1e6)
    strong = BushyCell(n_fibres=10_000, weight_per_s=1e9, refractory_ms=0.0)
    config = FEW.replace(sample_rate_hz=32_000, hair_cell=fast, bushy_cell=strong, level_rms=1000.0)
    spikes = spikes_of(tone(500.0), config, seed=0)
    assert len(spikes.units) > 40 * 500  # every other step, all of them
    assert not len(spikes_of(tone(500.0), FEW.replace(bushy_cell=BushyCell(weight_per_s=0.0)), seed=0).units)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, True, None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InputError, match="seed: expected an integer"):
        spikes_of(tone(500.0), FEW, seed=seed)


def test_bad_batches_are_refused():
    with pytest.raises(InputError, match="recordings: expected at least one sound"):
        spikes_of_all([], FEW, seed=0)
    with pytest.raises(InputError, match="threads: expected 0"):
        spikes_of_all([tone(500.0)], FEW, seed=0, threads=-1)
    with pytest.raises(InputError, match="numbers: expected 1, one per sound, got 2"):
        spikes_of_all([tone(500.0)], FEW, seed=0, numbers=[0, 1])
    with pytest.raises(InputError, match="sample: expected"):
        spikes_of(tone(500.0), FEW, seed=0, sample=-1)


def test_numbers_name_the_sounds_whatever_their_place():
    sounds = [tone(500.0), tone(900.0)]
    batch = spikes_of_all(sounds, FEW, seed=3, numbers=[70, 4], threads=1)
    for place, (sound, number) in enumerate(zip(sounds, (70, 4), strict=True)):
        assert equal(batch.sample(place), spikes_of(sound, FEW, seed=3, sample=number).sample(0))


def test_every_constant_says_where_it_comes_from():
    for config in (CochleaConfig, BasilarMembrane, HairCell, BushyCell):
        for name, row in config.provenance().items():
            assert row["source"] in {str(s) for s in Source}, name
    assert CochleaConfig.provenance()["ramp_ms"]["why"]
