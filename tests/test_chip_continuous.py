"""Continuous operation: what an image leaves behind for the next one, and what the artificial reset wipes out.

"Ideal" chips have neither mismatch nor noise. The fine step is 0.425 µs; where runs are compared that must
agree to a nanosecond, images start at the same place within a fine step.
"""

import dataclasses

import numpy as np
import pytest

from bss2lab.chip import PROFILES, Chip, Probe, run_continuously
from bss2lab.chip.continuous import ContinuousRecording
from bss2lab.chip.power import of_run
from bss2lab.errors import InputError
from bss2lab.types import Spikes, Weights

IDEAL = PROFILES["ideal"]
MV = 1200 / 256
GAIN = 2.58 / 2.4  # mV/µs per unit of weight: synaptic current over capacitance
STEP, PERIOD = 0.425, 1.7
N_INPUT, N_HIDDEN, N_OUTPUT = 60, 80, 10
NANOSECOND = 1e-3
PACE = 28 * STEP  # 11.9 µs: about the fastest pace, in whole fine steps

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed=0, n_output=N_OUTPUT):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(0, 30, (N_INPUT, N_HIDDEN))
    hidden += 4 - hidden.mean(axis=0)
    output = rng.normal(0, 8, (N_HIDDEN, n_output))
    output -= output.mean(axis=0)
    return Weights(*(w.clip(-63, 63).astype(np.int8) for w in (hidden, output)))


def inputs(*samples, n_units=N_INPUT, duration_us=34.0):
    """Spikes from one (times, units) pair per sample, in any order."""
    ordered = []
    for times, units in samples:
        order = np.argsort(times, kind="stable")
        ordered.append((np.asarray(times, float)[order], np.asarray(units, int)[order]))
    return Spikes.from_events(ordered, n_units=n_units, duration_us=duration_us)


def images(n, seed=0, n_spikes=40, last_us=20.0):
    """Random input; every image's first spike comes at 0, as images are encoded."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, last_us, (n, n_spikes))
    times[:, 0] = 0.0
    return inputs(*zip(times, rng.integers(0, N_INPUT, (n, n_spikes)), strict=True))


def silence(n=1):
    return inputs(*[([], [])] * n, n_units=1)


def answers(recording: ContinuousRecording, until_us=np.inf):
    """Hidden spikes of each image, from its start: (units, times), ordered by unit."""
    found = []
    for k, start in enumerate(recording.start_us):
        end = min(start + until_us, *recording.start_us[k + 1 : k + 2], np.inf)
        here = (recording.spike_us >= start) & (recording.spike_us < end)
        times, units = recording.spike_us[here] - start, recording.spike_unit[here]
        order = np.lexsort((times, units))
        found.append((units[order], times[order]))
    return found


def assert_same(one, other, tolerance_us=NANOSECOND):
    """The same neurons fire at the same times; and there is something to compare."""
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=0, atol=tolerance_us)
    assert len(one[0]) > 10


def differ(one, other, by_us=0.01):
    return len(one[0]) != len(other[0]) or (one[0] != other[0]).any() or np.abs(one[1] - other[1]).max() > by_us


def from_rest(chip, w, spikes):
    """What every image does alone, as ``answers`` has it, before times are rounded to stamps; and all samples."""
    events = np.empty((len(spikes), 20_000), np.float32), np.empty((len(spikes), 20_000), np.int16)
    raw, counts = chip._emulate(chip.write(w), spikes, np.arange(len(spikes)), seed=0, events=events)
    found = []
    for times, units, count in zip(*events, counts, strict=True):
        order = np.lexsort((times[:count], units[:count]))
        found.append((units[:count][order], times[:count][order]))
    return found, raw.cadc


# --- one image ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_us", [0.0, 1.0, 20.0])
def test_one_image_does_what_it_does_from_rest(delay_us):
    """Grid and sampling fall on the same times as in a run from rest, which begins a period before its lag."""
    chip, w, spikes = Chip(0, IDEAL.replace(delay_us=delay_us)), network(), images(1)
    (alone,), cadc = from_rest(chip, w, spikes)
    lead_us = 100 * PERIOD - (chip.profile.readout_lag_us - PERIOD)
    recording = run_continuously(
        chip, chip.write(w), spikes, seed=0, separation_us=60.0, reset_after_us=None, lead_us=lead_us
    )
    last_us = 20 * PERIOD + chip.profile.readout_lag_us
    assert_same(answers(recording, last_us)[0], alone)
    samples = recording.output_lsb[100 : 100 + 22].astype(int)
    assert np.ptp(samples) > 20
    assert np.abs(samples - cadc[0, :, -N_OUTPUT:]).max() <= 1
    assert (samples == cadc[0, :, -N_OUTPUT:]).mean() > 0.99


def test_many_outputs_are_sampled_like_few():
    chip, w, spikes = Chip(0, IDEAL), network(n_output=20), images(3)
    few = Weights(w.hidden, w.output[:, -16:])
    large, small = (run_continuously(chip, chip.write(x), spikes, seed=0).output_lsb for x in (w, few))
    assert np.ptp(small) > 20
    np.testing.assert_array_equal(large[:, -16:], small)


# --- image after image -------------------------------------------------------------------------------------------


def test_with_the_reset_an_image_is_the_same_every_time():
    chip = Chip(0, IDEAL)
    spikes = images(1).select(np.zeros(6, int))
    recording = run_continuously(chip, chip.write(network()), spikes, seed=0, separation_us=PACE)
    first, *others = answers(recording)
    for other in others:
        assert_same(other, first)


def test_with_the_reset_an_image_does_not_see_the_one_before():
    chip, some = Chip(0, IDEAL), images(6)
    program = chip.write(network())
    alone = answers(run_continuously(chip, program, some.select([5]), seed=0, separation_us=PACE))[0]
    for before in range(5):
        recording = run_continuously(chip, program, some.select([before, 5]), seed=0, separation_us=PACE)
        assert_same(answers(recording)[1], alone)


def test_without_the_reset_an_image_meets_the_one_before_at_a_fast_pace_alone():
    chip, w, some = Chip(0, IDEAL), network(), images(6)
    program = chip.write(w)
    alone, _ = from_rest(chip, w, some)
    lead_us = 100 * STEP - 0.15

    def run(index, separation_us):
        return answers(
            run_continuously(
                chip, program, some.select(index), seed=0, separation_us=separation_us, reset_after_us=None,
                lead_us=lead_us,
            )
        )  # fmt: skip

    for before in range(5):
        assert differ(run([before, 5], PACE)[1], run([5, 5], PACE)[1])
        assert_same(run([before, 5], 470 * STEP)[1], alone[5])  # 199.75 µs
    for answer, exact in zip(run(np.arange(6), 470 * STEP), alone, strict=True):
        assert_same(answer, exact)


def test_membranes_add_up_the_spikes_of_all_images():
    """Images of 34 µs, one every 5.1 µs, below threshold: closed form. Neither pace nor lead fit the grid."""
    profile = IDEAL.replace(threshold_lsb=255.0, membrane_max_mv=1100.0)
    rng = np.random.default_rng(1)
    n, lead_us, pace_us = 12, 20.33, 5.13
    samples = [(rng.uniform(0, 33, 4), np.arange(4)) for _ in range(n)]
    w = Weights(np.array([[15], [-12], [11], [-16]]), np.zeros((1, 1), int))
    chip = Chip(0, profile)
    recording = run_continuously(
        chip, chip.write(w), inputs(*samples, n_units=4), seed=0, separation_us=pace_us, reset_after_us=None,
        lead_us=lead_us, probe=Probe((0,)),
    )  # fmt: skip
    trace = recording.membranes
    exact, clear = np.full(len(trace.time_us), 375.0), np.ones(len(trace.time_us), bool)
    for k, (times, units) in enumerate(samples):
        for t, u in zip(times, units, strict=True):
            since = trace.time_us - (lead_us + k * pace_us + t + 1.0)
            exact += GAIN * w.hidden[u, 0] * np.maximum(since, 0) * np.exp(-np.maximum(since, 0) / 6)
            clear &= np.abs(since) > STEP
    assert np.ptp(exact) > 100
    assert clear.sum() > 50
    np.testing.assert_allclose(trace.mv[clear, 0], exact[clear], atol=2e-3 * np.ptp(exact))


# --- long runs ---------------------------------------------------------------------------------------------------


def test_an_image_is_the_same_after_a_second_of_idling():
    """One second is 2.35 million fine steps; single precision would resolve 60 ns there."""
    chip, spikes = Chip(0, IDEAL), images(1)
    program = chip.write(network())
    early, late = (
        run_continuously(
            chip, program, spikes, seed=0, separation_us=34.0, reset_after_us=None, lead_us=n * STEP
        )
        for n in (100, 2_352_941)
    )  # fmt: skip
    assert_same(answers(late)[0], answers(early)[0])


def test_an_image_is_the_same_after_twenty_thousand_intervals():
    chip = Chip(0, IDEAL)
    spikes = images(1).select([0, 0])
    recording = run_continuously(chip, chip.write(network()), spikes, seed=0, separation_us=9_411_765 * STEP)
    assert recording.start_us[1] - recording.start_us[0] == pytest.approx(20_000 * 200, abs=0.2)
    first, last = answers(recording)
    assert_same(last, first)


def test_neurons_that_fire_by_themselves_keep_their_interval():
    """A leak over the threshold: τ ln((E − V_r)/(E − θ)) after the refractory time, over and over."""
    profile = IDEAL.replace(leak_lsb=200.0, reset_lsb=70.0, threshold_lsb=130.0)
    chip = Chip(0, profile)
    w = Weights(np.zeros((1, 20), int), np.zeros((20, 1), int))
    recording = run_continuously(
        chip, chip.write(w), silence(), seed=0, separation_us=10_000.0, reset_after_us=None, lead_us=0.0
    )
    interval = 6 * np.log((200 - 70) / (200 - 130)) + 2
    assert len(recording.spike_us) == pytest.approx(20 * 10_000 / interval, abs=40)
    assert len(recording.spike_us) > 30_000
    assert (np.diff(recording.spike_us) >= 0).all()
    for j in range(20):
        between = np.diff(recording.spike_us[recording.spike_unit == j])
        np.testing.assert_allclose(between, interval, atol=5e-3)
        assert between.mean() == pytest.approx(interval, abs=4e-3)  # second order in the fine step


# --- noise -------------------------------------------------------------------------------------------------------


def test_the_seed_decides_the_noise_and_all_of_it():
    chip, spikes = Chip(3), images(20)
    program = chip.write(network())
    one, again, other = (run_continuously(chip, program, spikes, seed=seed) for seed in (1, 1, 2))
    for field in dataclasses.fields(ContinuousRecording):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))
    assert (one.output_lsb != other.output_lsb).mean() > 0.5
    assert len(one.spike_us) != len(other.spike_us) or (one.spike_us != other.spike_us).mean() > 0.9


def test_noise_goes_on_from_image_to_image():
    """No image sees the noise of another one again: their samples are uncorrelated."""
    chip = Chip(0, IDEAL.replace(membrane_noise_mv=20.0, cadc_noise_lsb=1.0, threshold_lsb=255.0))
    w = Weights(np.zeros((1, 1), int), np.zeros((1, 16), int))
    recording = run_continuously(
        chip, chip.write(w), silence(200), seed=0, separation_us=32 * PERIOD, reset_after_us=None, lead_us=0.0
    )
    x = recording.output_lsb[1:].reshape(200, 32, 16).astype(float)
    x -= x.mean()
    assert x.std() == pytest.approx(np.hypot(20 / MV, np.sqrt(1 + 1 / 12)), rel=0.02)
    assert abs((x[1:] * x[:-1]).mean() / x.var()) < 0.02


# --- the artificial reset ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("separation_us", "reset_us"), [(17.0, 10.0), (11.8, 10.0), (20.0, 20.0), (8.33, 3.1)])
def test_membranes_are_held_at_reset_until_the_next_image(separation_us, reset_us):
    """Then they rise to the leak. Reset and release come within one fine step of their times."""
    chip = Chip(0, IDEAL.replace(leak_lsb=140.0, reset_lsb=60.0, threshold_lsb=255.0))
    w = Weights(np.zeros((1, 1), int), np.zeros((1, 1), int))
    recording = run_continuously(
        chip, chip.write(w), silence(8), seed=0, separation_us=separation_us, reset_after_us=reset_us,
        probe=Probe((0, 200, 255)),
    )  # fmt: skip
    trace = recording.membranes
    since = trace.time_us[:, None] - recording.start_us
    lead = trace.time_us <= recording.start_us[0]
    np.testing.assert_allclose(trace.mv[lead], 140 * MV, atol=1e-2)
    for k in range(8):
        held = (since[:, k] >= reset_us + STEP) & (since[:, k] < separation_us - STEP)
        assert (trace.mv[held] == np.float32(60 * MV)).all()
        if k > 0:
            free = (since[:, k] > 0) & (since[:, k] < reset_us - STEP)
            early, late = (140 - 80 * np.exp(-(since[free, k] + shift) / 6) for shift in (STEP, 0.0))
            assert free.sum() > 3
            assert (trace.mv[free] <= early[:, None] * MV + 1e-2).all()
            assert (trace.mv[free] >= late[:, None] * MV - 1e-2).all()


def test_what_arrives_in_the_hold_has_no_effect():
    """Neither a spike sent just before the reset that arrives after it, nor one that would come after it."""
    chip, w = Chip(0, IDEAL.replace(delay_us=1.0)), network()
    base = [images(5, last_us=8.0).sample(b) for b in range(5)]
    more = [
        (np.concatenate([t, np.full(30, 9.5), np.full(30, 12.0)]), np.concatenate([u, np.arange(60)])) for t, u in base
    ]
    runs = [
        run_continuously(
            chip, chip.write(w), inputs(*samples), seed=0, separation_us=17.0, reset_after_us=reset_us,
            probe=Probe(tuple(range(256))),
        )
        for samples, reset_us in ((base, 10.0), (more, 10.0), (more, 16.0))
    ]  # fmt: skip
    np.testing.assert_array_equal(runs[0].membranes.mv, runs[1].membranes.mv)
    np.testing.assert_array_equal(runs[0].spike_us, runs[1].spike_us)
    np.testing.assert_array_equal(runs[0].output_lsb, runs[1].output_lsb)
    assert np.ptp(runs[0].membranes.mv) > 100
    assert len(runs[2].spike_us) > len(runs[0].spike_us)


def test_without_the_reset_late_input_reaches_into_the_next_image():
    chip = Chip(0, IDEAL)
    w = Weights(np.full((N_INPUT, 5), 20), np.zeros((5, 1), int))
    spikes = inputs((np.full(40, 15.0), np.arange(40)), ([], []))
    recording = run_continuously(
        chip, chip.write(w), spikes, seed=0, separation_us=11.8, reset_after_us=None, lead_us=10.0
    )
    assert len(recording.spike_us) >= 5
    assert recording.spike_us.min() > 10 + 15 + 1
    assert recording.spikes_per_image().tolist() == [0, len(recording.spike_us)]


# --- sampling and decisions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "separation_us", "lead_us"), [(7, 11.8, None), (3, 200.0, 13.7), (5, 17.0, 0.0)])
def test_the_converter_runs_on_its_own_clock(n, separation_us, lead_us):
    chip = Chip(0, IDEAL)
    recording = run_continuously(
        chip, chip.write(network()), images(n), seed=0, separation_us=separation_us, lead_us=lead_us,
        probe=Probe(tuple(range(246, 256))),
    )  # fmt: skip
    wanted = (64 * PERIOD if lead_us is None else lead_us) + n * separation_us
    assert wanted - 1e-6 <= recording.emulated_us < wanted + PERIOD
    assert len(recording.sample_us) == len(recording.output_lsb) == round(recording.emulated_us / PERIOD) + 1
    np.testing.assert_allclose(recording.sample_us, PERIOD * np.arange(len(recording.sample_us)), rtol=1e-12)
    trace = recording.membranes
    np.testing.assert_allclose(trace.time_us[::4], recording.sample_us, rtol=1e-12)
    assert np.ptp(trace.mv) > 50
    assert np.abs(trace.mv[::4] / MV - recording.output_lsb).max() < 0.51
    cost = of_run(n, recording.emulated_us)
    assert cost.energy_uj == pytest.approx(0.2 * recording.emulated_us)


@pytest.mark.parametrize("reset_us", [3.0, 10.0, 11.8, None])
def test_an_image_is_decided_by_the_samples_between_its_start_and_its_reset(reset_us):
    chip = Chip(0, IDEAL)
    recording = run_continuously(chip, chip.write(network()), images(50), seed=0, reset_after_us=reset_us)
    for start, (first, end) in zip(recording.start_us, recording.window, strict=True):
        since = recording.sample_us - start
        inside = np.flatnonzero((since > 1e-4) & (since < (reset_us or 11.8) - STEP))
        allowed = np.flatnonzero((since > 1e-4) & (since < (reset_us or 11.8) + 1e-4))
        assert end > first
        assert set(inside) <= set(range(first, end)) <= set(allowed)
    assert len({end - first for first, end in recording.window}) == 2  # the clock drifts against the images
    assert recording.n_idle == 65
    assert (recording.sample_us[: recording.n_idle] <= recording.start_us[0] + 1e-6).all()


def test_at_a_slow_pace_an_image_is_decided_by_as_many_samples_as_a_run_records():
    chip = Chip(0, IDEAL)
    recording = run_continuously(
        chip, chip.write(network()), images(3), seed=0, separation_us=200.0, reset_after_us=None
    )
    last_us = recording.sample_us[recording.window[:, 1] - 1] - recording.start_us
    assert (last_us <= 34 + 1.85 + 1e-6).all()
    assert (last_us > 34 + 0.15 - 1e-6).all()


def test_the_highest_sample_above_its_baseline_in_the_window_wins():
    lsb = np.full((10, 3), 80, np.uint8) + np.array([0, 20, 0], np.uint8)
    lsb[4] = [90, 101, 80]
    lsb[6, 2] = 200  # after the first window, before the second
    lsb[8] = [81, 104, 83]
    recording = ContinuousRecording(
        separation_us=5.1, reset_after_us=3.4, emulated_us=9 * PERIOD, start_us=np.array([4.0, 9.1]) * 1.2,
        sample_us=PERIOD * np.arange(10), output_lsb=lsb, window=np.array([[3, 6], [7, 9]]), n_idle=3,
        spike_us=np.empty(0), spike_unit=np.empty(0, np.int16), membranes=None,
    )  # fmt: skip
    assert recording.baseline_lsb().tolist() == [80, 100, 80]
    assert recording.decisions().tolist() == [0, 1]


def test_decisions_agree_with_fast_inference_as_well_as_that_agrees_with_itself():
    """On a calibrated chip, up to noise and to where the samples fall; on slow images without reset likewise."""
    chip, spikes = Chip(2), images(600, last_us=8.0)
    program = chip.write(network())
    fast, again = (chip.infer(program, spikes, seed=seed)[0] for seed in (7, 8))
    by_chance = np.mean([(fast == np.roll(fast, k)).mean() for k in range(1, 20)])
    repeat = (fast == again).mean()
    decided = run_continuously(chip, program, spikes, seed=9).decisions()
    assert by_chance < 0.3
    assert (decided == fast).mean() > repeat - 0.1
    slow, again = (chip.classify(program, spikes, seed=seed)[0] for seed in (7, 8))
    decided = run_continuously(chip, program, spikes, seed=9, separation_us=200.0, reset_after_us=None).decisions()
    assert (decided == slow).mean() > (slow == again).mean() - 0.1


def test_no_images_give_the_lead_alone():
    chip = Chip(0, IDEAL)
    recording = run_continuously(chip, chip.write(network()), images(2).select([]), seed=0)
    assert recording.emulated_us == pytest.approx(64 * PERIOD)
    assert recording.output_lsb.shape == (65, N_OUTPUT)
    assert recording.decisions().shape == recording.spikes_per_image().shape == (0,)


def test_a_chip_has_the_run_as_a_method():
    chip = Chip(0)
    program = chip.write(network())
    one, other = chip.run_continuously(program, images(3), seed=1), run_continuously(chip, program, images(3), seed=1)
    np.testing.assert_array_equal(one.output_lsb, other.output_lsb)


# --- probes ------------------------------------------------------------------------------------------------------


def test_a_probe_records_its_window_alone():
    chip = Chip(1)
    program = chip.write(network())
    whole, part = (
        run_continuously(chip, program, images(4), seed=0, probe=probe).membranes
        for probe in (Probe((3, 255)), Probe((255, 3), 113.0, 140.0))
    )
    inside = (whole.time_us >= 113) & (whole.time_us <= 140)
    assert inside.sum() == len(part.time_us) == 64
    np.testing.assert_array_equal(part.time_us, whole.time_us[inside])
    np.testing.assert_array_equal(part.mv, whole.mv[inside][:, ::-1])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (((),), r"probed neurons: expected chip neurons 0 … 255, at least one, got none"),
        (((3, 256),), r"probed neurons: expected chip neurons 0 … 255, at least one, got \[256\]"),
        (((1.5,),), r"probed neurons"),
        (((0,), 5.0, 5.0), r"probed window: expected 0 ≤ start < stop in µs, got 5\.0 … 5\.0"),
        (((0,), -1.0), r"probed window"),
        (((0,), 0.0, float("nan")), r"probed window"),
    ],
)
def test_probes_that_make_no_sense_are_refused(arguments, match):
    with pytest.raises(InputError, match=match):
        Probe(*arguments)


def test_a_probe_beyond_the_run_is_refused():
    chip = Chip(0, IDEAL)
    with pytest.raises(InputError, match=r"probed window: expected a window .* within the run's 132\.6 µs, got 500"):
        run_continuously(chip, chip.write(network()), images(2), seed=0, probe=Probe((0,), 500.0, 600.0))


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"separation_us": 1.0, "reset_after_us": None}, r"separation_us: expected 1\.7 µs … 1e\+09 µs, got 1\.0; "),
        ({"separation_us": float("nan")}, r"separation_us: .* got nan; "),
        ({"separation_us": float("inf")}, r"separation_us: .* got inf; "),
        ({"reset_after_us": 12.0}, r"reset_after_us: expected 2\.125 µs … 11\.8 µs, got 12\.0; or None"),
        ({"reset_after_us": 1.8}, r"reset_after_us: expected 2\.125 µs … 11\.8 µs, got 1\.8"),
        ({"reset_after_us": "10"}, r"reset_after_us: .* got '10'"),
        ({"lead_us": -1.0}, r"lead_us: expected 0 µs … 1e\+09 µs, got -1\.0; 64 CADC periods"),
        ({"lead_us": True}, r"lead_us: .* got True"),
        ({"seed": -1}, r"noise seed: expected an integer"),
        ({"spikes": silence()}, r"input spikes: expected 60 units, one per row of the hidden weights, got 1"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, match):
    chip = Chip(0, IDEAL)
    with pytest.raises(InputError, match=match):
        run_continuously(chip, chip.write(network()), **({"spikes": images(1), "seed": 0} | changes))


def test_the_chips_own_period_counts():
    chip = Chip(0, IDEAL.replace(cadc_period_us=5.0, substeps=10))
    program = chip.write(network())
    with pytest.raises(InputError, match=r"reset_after_us: expected 5\.5 µs … 11\.8 µs, got 5\.2"):
        run_continuously(chip, program, images(1), seed=0, reset_after_us=5.2)
    recording = run_continuously(chip, program, images(3), seed=0, lead_us=20.0)
    np.testing.assert_allclose(np.diff(recording.sample_us), 5.0)


def test_an_adc_that_does_not_round_is_refused_and_not_rounded_in_silence():
    chip = Chip(0, "no-cadc-rounding")
    weights = Weights(np.ones((4, 3), np.int8), np.ones((3, 2), np.int8))
    spikes = Spikes.from_events([(np.array([0.0]), np.array([1]))], n_units=4, duration_us=34.0)
    with pytest.raises(InputError, match="continuous operation: expected a chip whose column ADC rounds"):
        chip.run_continuously(chip.write(weights), spikes, seed=0)
