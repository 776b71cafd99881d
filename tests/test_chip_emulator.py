"""Running networks on the emulated chip: what a run depends on, and what it does not."""

import dataclasses

import numpy as np
import pytest
from thread_count import threads

from bss2lab.chip import PROFILES, Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.errors import InputError
from bss2lab.types import Recording, Spikes, Weights

PUBLISHED, IDEAL = PROFILES["published"], PROFILES["ideal"]
N_INPUT, N_HIDDEN, N_OUTPUT = 60, 80, 10


pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed=0, n_output=N_OUTPUT):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(0, 30, (N_INPUT, N_HIDDEN))
    hidden += 4 - hidden.mean(axis=0)  # the pattern matters, not the amount of input
    output = rng.normal(0, 8, (N_HIDDEN, n_output))
    output -= output.mean(axis=0)
    return Weights(*(w.clip(-63, 63).astype(np.int8) for w in (hidden, output)))


def images(n, seed=0, duration_us=34.0, n_spikes=40, last_us=20.0):
    """Random input; the third sample is empty."""
    rng = np.random.default_rng(seed)
    samples = []
    for b in range(n):
        count = 0 if b == 2 else n_spikes
        samples.append((np.sort(rng.uniform(0, last_us, count)), rng.integers(0, N_INPUT, count)))
    return Spikes.from_events(samples, n_units=N_INPUT, duration_us=duration_us)


def contents(recording: Recording, samples=slice(None)):
    """Everything in a recording, as comparable bytes."""
    arrays = {
        field.name: getattr(recording, field.name)[samples].tobytes()
        for field in dataclasses.fields(Recording)
        if field.name != "hidden_spikes"
    }
    spikes = recording.hidden_spikes
    chosen = spikes.select(np.arange(len(spikes))[samples])
    return arrays | {"times": chosen.times_us.tobytes(), "units": chosen.units.tobytes()}


def decide(recording: Recording):
    peak = recording.output_lsb.max(axis=1).astype(int)
    return (peak - recording.output_baseline_lsb).argmax(axis=1)


# --- what a run depends on --------------------------------------------------------------------------------------


def test_the_network_of_these_tests_is_lively():
    recording = Chip(0).run(network(), images(30), seed=0)
    fired = recording.hidden_fired[[0, 1, 3]].sum(axis=1)
    assert 0.3 < (fired > 0).mean() < 0.95
    assert recording.hidden_fired[2].sum() == 0
    assert len(set(decide(recording).tolist())) > 3
    assert np.isin(recording.output_lsb, [0, 255]).mean() < 0.05


def test_shapes_and_axes():
    recording = Chip(0).run(network(), images(4), seed=0)
    assert recording.hidden_lsb.shape == recording.hidden_fired.shape == (4, 20, N_HIDDEN)
    assert recording.output_lsb.shape == (4, 20, N_OUTPUT)
    assert recording.hidden_baseline_lsb.shape == (4, N_HIDDEN)
    assert (len(recording.hidden_spikes), recording.hidden_spikes.n_units) == (4, N_HIDDEN)


def test_the_same_seeds_repeat_a_run_bit_for_bit():
    first, second = (Chip(3).run(network(), images(5), seed=11) for _ in range(2))
    assert contents(first) == contents(second)


def test_numpy_integers_are_seeds_like_any_other():
    assert contents(Chip(np.int16(3)).run(network(), images(2), seed=np.uint32(11))) == contents(
        Chip(3).run(network(), images(2), seed=11)
    )


def test_the_noise_seed_changes_the_trial_and_not_the_chip():
    chip = Chip(3, PUBLISHED)
    before = {field.name: getattr(chip.mismatch, field.name).copy() for field in dataclasses.fields(chip.mismatch)}
    one, other = (chip.run(network(), images(40), seed=seed) for seed in (1, 2))
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(chip.mismatch, name), values)
    assert (one.hidden_lsb != other.hidden_lsb).mean() > 0.5
    # Trials scatter about the same chip: each neuron's resting code, mean over trials, is the chip's own.
    rest = [r.hidden_baseline_lsb.mean(axis=0) for r in (one, other)]
    truth = chip.mismatch
    exact = (truth.leak_mv / (1200 / 256) * truth.cadc_gain + truth.cadc_offset_lsb)[:N_HIDDEN]
    error = np.sqrt((2**2 + (2 / 4.6875) ** 2 + 1 / 12) / 40)
    for mean in rest:
        assert np.abs(mean - exact).max() < 4.5 * error
    assert exact.std() > 5 * error


def test_without_noise_the_noise_seed_does_nothing():
    chip = Chip(3, PUBLISHED.replace(membrane_noise_mv=0, cadc_noise_lsb=0))
    one, other = (chip.run(network(), images(3), seed=seed) for seed in (1, 2))
    assert contents(one) == contents(other)


def test_another_chip_gives_another_recording():
    quiet = PUBLISHED.replace(membrane_noise_mv=0, cadc_noise_lsb=0)
    one, other = (Chip(seed, quiet).run(network(), images(3), seed=0) for seed in (1, 2))
    assert (one.hidden_lsb != other.hidden_lsb).mean() > 0.5


@pytest.mark.needs("two cores")
def test_the_number_of_threads_does_not_show_in_a_single_bit():
    chip, w, spikes = Chip(0), network(), images(37)
    results = []
    for n in (1, 2):
        with threads(n):
            decisions, counts = chip.classify(chip.write(w), spikes, seed=5)
            results.append((contents(chip.run(w, spikes, seed=5)), decisions.tolist(), counts.tolist()))
    assert results[0] == results[1]


def test_a_sample_does_not_see_the_other_samples():
    """Its noise belongs to its place in the batch, all else to itself."""
    chip, w = Chip(0), network()
    some, others = images(30), images(30, seed=9)
    mixed = [(some if b in (4, 17) else others).sample(b) for b in range(30)]
    mixed = Spikes.from_events(mixed, n_units=N_INPUT, duration_us=34.0)
    first, second = chip.run(w, some, seed=1), chip.run(w, mixed, seed=1)
    for b in (4, 17):
        assert contents(first, slice(b, b + 1)) == contents(second, slice(b, b + 1))
    assert contents(first, slice(5, 6)) != contents(second, slice(5, 6))


def test_a_batch_of_a_data_set_is_those_samples_of_the_whole():
    """Whatever the batch, a sample of a data set keeps its noise: it goes by its number there."""
    chip, w, spikes = Chip(0), network(), images(30)
    whole = chip.record(chip.write(w), spikes, np.arange(30), seed=1)
    index = np.array([17, 4, 4, 29])
    part = chip.record(chip.write(w), spikes, index, seed=1)
    np.testing.assert_array_equal(part.cadc, whole.cadc[index])
    np.testing.assert_array_equal(part.fired, whole.fired[index])


def test_samples_have_noise_of_their_own():
    same = Spikes.from_events([images(1).sample(0)] * 3, n_units=N_INPUT, duration_us=34.0)
    recording = Chip(0).run(network(), same, seed=1)
    assert (recording.hidden_lsb[0] != recording.hidden_lsb[1]).mean() > 0.5
    assert (recording.hidden_lsb[1] != recording.hidden_lsb[2]).mean() > 0.5


def test_the_raw_recording_holds_what_run_returns():
    chip, w, spikes = Chip(0), network(), images(6)
    raw, recording = chip.record(chip.write(w), spikes, np.arange(6), seed=1), chip.run(w, spikes, seed=1)
    np.testing.assert_array_equal(raw.cadc[:, 0, :N_HIDDEN], recording.hidden_baseline_lsb)
    np.testing.assert_array_equal(raw.cadc[:, 0, -N_OUTPUT:], recording.output_baseline_lsb)
    np.testing.assert_array_equal(raw.cadc[:, FIRST_SAMPLE:, :N_HIDDEN], recording.hidden_lsb)
    np.testing.assert_array_equal(raw.cadc[:, FIRST_SAMPLE:, -N_OUTPUT:], recording.output_lsb)
    np.testing.assert_array_equal(raw.fired[:, FIRST_SAMPLE:, :N_HIDDEN], recording.hidden_fired)
    assert not raw.fired[:, :, N_HIDDEN:].any()


def test_a_chip_with_many_outputs_decides_by_all_of_them():
    """More than 16 output neurons take another path through the core."""
    quiet = Chip(0, PUBLISHED.replace(membrane_noise_mv=0, cadc_noise_lsb=0))
    w, spikes = network(n_output=30), images(40)
    decisions, _ = quiet.classify(quiet.write(w), spikes, seed=1)
    np.testing.assert_array_equal(decisions, decide(quiet.run(w, spikes, seed=1)))
    assert decisions.min() < 14


def test_unused_neurons_stay_out_of_it():
    """A smaller network on the same chip: the first neurons do as they did."""
    chip, w, spikes = Chip(0), network(), images(5)
    fewer = Weights(w.hidden[:, :40], w.output[:40])
    full, small = chip.run(w, spikes, seed=1), chip.run(fewer, spikes, seed=1)
    np.testing.assert_array_equal(full.hidden_lsb[..., :40], small.hidden_lsb)


def test_no_samples_give_an_empty_recording():
    none = Spikes.from_events([], n_units=N_INPUT, duration_us=34.0)
    chip = Chip(0)
    assert chip.run(network(), none, seed=0).hidden_lsb.shape == (0, 20, N_HIDDEN)
    assert [x.tolist() for x in chip.classify(chip.write(network()), none, seed=0)] == [[], []]


def test_a_chip_says_that_it_is_emulated():
    assert repr(Chip(7)) == "Chip(seed=7, profile='calibrated') [emulated]"


# --- silenced neurons -------------------------------------------------------------------------------------------


def test_silenced_neurons_never_fire_and_do_not_reach_the_outputs():
    chip, w, spikes = Chip(0), network(), images(6)
    silenced = np.arange(N_HIDDEN) % 3 == 0
    free, muted = chip.run(w, spikes, seed=1), chip.run(w, spikes, seed=1, silenced=silenced)
    assert free.hidden_fired[..., silenced].sum() > 50
    assert muted.hidden_fired[..., silenced].sum() == 0
    assert not np.isin(muted.hidden_spikes.units, np.flatnonzero(silenced)).any()
    np.testing.assert_array_equal(muted.hidden_lsb[..., ~silenced], free.hidden_lsb[..., ~silenced])
    deaf = Weights(w.hidden, np.where(silenced[:, None], 0, w.output))
    np.testing.assert_array_equal(muted.output_lsb, chip.run(deaf, spikes, seed=1).output_lsb)
    assert (muted.output_lsb != free.output_lsb).mean() > 0.3


def test_a_silenced_neuron_is_still_recorded():
    """Its membrane rises past the threshold instead of being reset."""
    chip = Chip(0, IDEAL)
    w, spikes = Weights(np.full((N_INPUT, 2), 50), np.zeros((2, 1), int)), images(2)
    recording = chip.run(w, spikes, seed=0, silenced=np.array([True, False]))
    assert recording.hidden_lsb[0, :, 0].max() > 200
    assert recording.hidden_fired[0, :, 1].sum() > 3


# --- decisions --------------------------------------------------------------------------------------------------


def test_classify_decides_as_run_does():
    """Bit for bit where membranes have no noise of their own (hidden neurons are not digitised here, so that
    their noise runs on differently)."""
    chip = Chip(2, PUBLISHED.replace(membrane_noise_mv=0))
    w, spikes = network(), images(1203, n_spikes=30)
    decisions, counts = chip.classify(chip.write(w), spikes, seed=7)
    recording = chip.run(w, spikes, seed=7)
    np.testing.assert_array_equal(decisions[:1000], decide(recording)[:1000])
    np.testing.assert_array_equal(decisions, decide(recording))  # the second portion has its own place too
    np.testing.assert_array_equal(counts, np.diff(recording.hidden_spikes.offsets))


def test_classify_decides_as_run_does_up_to_noise():
    chip, w, spikes = Chip(2), network(), images(300)
    decisions, counts = chip.classify(chip.write(w), spikes, seed=7)
    trials = [chip.run(w, spikes, seed=seed) for seed in (7, 8)]
    between = (decide(trials[0]) == decide(trials[1])).mean()
    assert (decisions == decide(trials[0])).mean() > between - 0.08
    assert counts.mean() == pytest.approx(np.diff(trials[0].hidden_spikes.offsets).mean(), rel=0.02)


# --- fast inference ---------------------------------------------------------------------------------------------


def leaky(**changes):
    """Neurons that fire all by themselves, from reset, at once after each other."""
    return IDEAL.replace(leak_lsb=250.0, reset_lsb=70.0, threshold_lsb=110.0, refractory_us=0.2, **changes)


def test_nothing_fires_after_the_artificial_reset():
    """The number of spikes is that of a free run from the same state, up to the reset."""
    chip = Chip(0, leaky())
    w = Weights(np.zeros((N_INPUT, 3), int), np.zeros((3, 2), int))
    silence = Spikes.from_events([([], [])], n_units=N_INPUT, duration_us=34.0)
    free = chip.run(w, silence, seed=0).hidden_spikes
    first = free.sample(0)[0][free.sample(0)[1] == 0]  # starts at leak: fires at once, then from reset
    after_first = first[1:] - first[0]
    for reset_us in (5.0, 10.0, 15.0):
        _, counts = chip.infer(chip.write(w), silence, seed=0, separation_us=17.0, reset_after_us=reset_us)
        held_from = np.floor((reset_us - 0.15) / 0.425) * 0.425 + 0.425
        expected = 3 * (after_first - 0.2 < held_from).sum()
        assert counts.tolist() == [expected]
        assert expected >= 3


@pytest.mark.parametrize("profile", [IDEAL, leaky(tau_mem_us=0.5)])
def test_late_input_is_lost_in_the_artificial_reset(profile):
    """Not even a barrage of all inputs at once makes a neuron fire, and decisions do not see it."""
    chip = Chip(0, profile)
    w = Weights(np.full((N_INPUT, 5), 63), np.eye(5, 3, dtype=int) * 63)
    early = images(20, last_us=8.0, n_spikes=10)
    late = np.full(N_INPUT, 12.5), np.arange(N_INPUT)
    both = [
        (np.concatenate([t, late[0]]), np.concatenate([u, late[1]])) for t, u in (early.sample(b) for b in range(20))
    ]
    both = Spikes.from_events(both, n_units=N_INPUT, duration_us=34.0)
    program = chip.write(w)
    want = chip.infer(program, early, seed=0, separation_us=17.0)
    got = chip.infer(program, both, seed=0, separation_us=17.0)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert want[1].max() > 4
    later = chip.infer(program, both, seed=0, separation_us=17.0, reset_after_us=16.0)
    assert (later[1] > want[1]).all()


def test_decisions_of_fast_inference_use_the_samples_before_the_reset_alone():
    """Samples come at 1.85, 3.55, … µs; a reset at 10 µs leaves those up to 8.65 µs, which the chip and the run
    from rest share where leak and reset are equal."""
    quiet = IDEAL.replace(cadc_offset_sd_lsb=5.0, cadc_gain_cv=0.03)
    chip, w, spikes = Chip(1, quiet), network(), images(60, last_us=12.0)
    recording = chip.run(w, spikes, seed=0)
    program = chip.write(w)
    for reset_us, samples in ((10.0, 4), (7.0, 3), (20.0, 10)):
        peak = recording.output_lsb[:, :samples].max(axis=1)
        first = chip.record(program, spikes, np.arange(60), seed=0).cadc[:, 1, -N_OUTPUT:]
        rise = np.maximum(peak, first).astype(int) - recording.output_baseline_lsb
        decisions, _ = chip.infer(program, spikes, seed=0, separation_us=22.1, reset_after_us=reset_us)
        np.testing.assert_array_equal(decisions, rise.argmax(axis=1))
    slow = decide(recording)
    assert (slow != decisions).any()


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_after_the_reset_does_not_count(seed):
    """Where all outputs fall from reset to a lower leak, the slowest wins, though the reset lifts all again."""
    chip = Chip(seed, IDEAL.replace(leak_lsb=20.0, reset_lsb=140.0, threshold_lsb=255.0, tau_mem_cv=0.4))
    w = Weights(np.zeros((N_INPUT, 1), int), np.zeros((1, 5), int))
    silence = Spikes.from_events([([], [])], n_units=N_INPUT, duration_us=34.0)
    decisions, _ = chip.infer(chip.write(w), silence, seed=0, separation_us=17.0, reset_after_us=10.0)
    assert decisions.tolist() == [chip.mismatch.tau_mem_us[-5:].argmax()]


def test_fast_inference_starts_from_reset():
    """A leak far above the reset shows as a rise from the reset potential."""
    chip = Chip(0, IDEAL.replace(leak_lsb=140.0, reset_lsb=60.0, threshold_lsb=255.0))
    w = Weights(np.zeros((N_INPUT, 1), int), np.zeros((1, 2), int))
    silence = Spikes.from_events([([], [])], n_units=N_INPUT, duration_us=34.0)
    raw, _ = chip._emulate(chip.write(w), silence, np.arange(1), seed=0, n_periods=9, reset_step=30)
    time_us = 1.7 * np.arange(10)
    rise = 140 - 80 * np.exp(-time_us / 6)
    held = time_us > 30 * 0.425
    np.testing.assert_allclose(raw.cadc[0, :, -1], np.where(held, 60, rise), atol=0.51)


@pytest.mark.parametrize("reset_us", [0.0, 1.0, 12.0, -3.0, float("nan")])
def test_a_reset_outside_the_time_per_image_is_refused(reset_us):
    chip = Chip(0)
    with pytest.raises(InputError, match=r"reset_after_us: expected 1\.85 µs … the separation of 11\.8 µs, got"):
        chip.infer(chip.write(network()), images(1), seed=0, reset_after_us=reset_us)
    chip.infer(chip.write(network()), images(1), seed=0, reset_after_us=1.85)
    chip.infer(chip.write(network()), images(1), seed=0, reset_after_us=11.8)


# --- self-activity ----------------------------------------------------------------------------------------------


def test_a_neuron_that_leaks_over_its_threshold_fires_without_input():
    """On a chip that is worse than uncalibrated; those fire whose leak lies above the threshold."""
    chip = Chip(1, PROFILES["uncalibrated"].replace(leak_sd_mv=150, threshold_sd_mv=100, membrane_noise_mv=0))
    truth = chip.mismatch
    w = Weights(np.zeros((N_INPUT, 246), int), np.zeros((246, 10), int))
    silence = Spikes.from_events([([], [])], n_units=N_INPUT, duration_us=340.0)
    fires = chip.run(w, silence, seed=0).hidden_fired[0].sum(axis=0) > 0
    leaky = np.minimum(truth.leak_mv, 1200)[:246] > truth.threshold_mv[:246]
    np.testing.assert_array_equal(fires, leaky)
    assert 0 < leaky.sum() < 20


def test_calibrated_chips_are_silent_without_input():
    w = Weights(np.zeros((N_INPUT, 246), int), np.zeros((246, 10), int))
    silence = Spikes.from_events([([], [])] * 5, n_units=N_INPUT, duration_us=340.0)
    assert Chip(1).run(w, silence, seed=0).hidden_fired.sum() == 0
