"""The emulated analog core against closed forms: potentials, spike times, noise, converter.

The closed forms below are written out here and share no code with the package. "Ideal" chips have no mismatch
and no noise, so that they must obey them to within the error of the fine time step, which shrinks as its square.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from bss2lab.chip import PROFILES, Chip
from bss2lab.kernels import Model, integrate
from bss2lab.types import Spikes, Weights

IDEAL = PROFILES["ideal"]
QUIET = IDEAL.replace(threshold_lsb=255.0, membrane_max_mv=1100.0)  # never reaches its threshold
MV = 1200 / 256
GAIN = 2.58 / 2.4  # mV/µs per unit of weight: synaptic current over capacitance
PERIOD = 1.7
NO_OUTPUT = np.zeros((1, 1), int)


pytestmark = pytest.mark.usefixtures("one_thread")


def psp(t, tau_mem, tau_syn):
    """Answer of a membrane to a synaptic current e^(−t/τ_s) mV/µs: difference of exponentials or alpha function."""
    t = np.maximum(t, 0.0)
    if abs(tau_mem - tau_syn) < 1e-3 * tau_mem:
        tau = (tau_mem + tau_syn) / 2
        return t * np.exp(-t / tau)
    return (np.exp(-t / tau_mem) - np.exp(-t / tau_syn)) / (1 / tau_syn - 1 / tau_mem)


def inputs(*samples, n_units, duration_us=34.0):
    """Spikes from one (times, units) pair per sample, in any order."""
    ordered = []
    for times, units in samples:
        order = np.argsort(times, kind="stable")
        ordered.append((np.asarray(times, float)[order], np.asarray(units, int)[order]))
    return Spikes.from_events(ordered, n_units=n_units, duration_us=duration_us)


def silence(n=1, duration_us=34.0):
    return inputs(*[([], [])] * n, n_units=1, duration_us=duration_us)


def weights(hidden, output=NO_OUTPUT):
    return Weights(np.asarray(hidden, int), np.asarray(output, int))


def spike_times(chip, w, spikes):
    """Spike times as the core computes them, before they are rounded to time stamps: [sample][neuron]."""
    program = chip.write(w)
    n, most = len(spikes), 100_000 // len(spikes)
    events = np.empty((n, most), np.float32), np.empty((n, most), np.int16)
    _, counts = chip._emulate(program, spikes, np.arange(n), seed=0, events=events)
    assert counts.max() < most
    fired = []
    for b, count in enumerate(counts):
        times, units = events[0][b, :count].astype(float), events[1][b, :count]
        fired.append([np.sort(times[units == j]) for j in range(program.n_hidden)])
    return fired


class Neuron:
    """One neuron of an ideal chip, solved event by event."""

    def __init__(self, profile):
        self.leak, self.reset, self.threshold = (
            x * MV for x in (profile.leak_lsb, profile.reset_lsb, profile.threshold_lsb)
        )
        self.tau_mem = profile.tau_mem_us
        self.tau_syn = {True: profile.tau_syn_exc_us, False: profile.tau_syn_inh_us}
        self.refractory = profile.refractory_us

    def membrane(self, t, arrivals, amplitudes, since=-np.inf):
        """Potential at ``t``, if it was at reset at ``since`` (never: at leak)."""
        t = np.asarray(t, float)
        v = np.full(t.shape, self.leak)
        if np.isfinite(since):
            v += (self.reset - self.leak) * np.exp(-(t - since) / self.tau_mem)
        for at, amplitude in zip(arrivals, amplitudes, strict=True):
            tau = self.tau_syn[bool(amplitude > 0)]
            left = amplitude * np.exp(-max(since - at, 0.0) / tau)
            v += left * psp(t - max(at, since), self.tau_mem, tau)
        return v

    def spikes(self, arrivals, amplitudes, end):
        """Times of all spikes up to ``end``."""
        times, since, start = [], -np.inf, 0.0

        def above(t, since):
            return self.membrane(t, arrivals, amplitudes, since) - self.threshold

        while True:
            grid = np.arange(start, end, 0.01)
            over = np.flatnonzero(above(grid, since) > 0) if len(grid) else []
            if not len(over):
                return np.array(times)
            k = over[0]
            at = brentq(lambda t, s=since: above(t, s).item(), grid[k - 1], grid[k], xtol=1e-10) if k else grid[0]
            times.append(at)
            since = start = at + self.refractory


# --- below threshold --------------------------------------------------------------------------------------------


def worst_deviation(profile, w, spikes):
    """Largest distance from the sum of PSPs, away from the step in which a spike arrives; and the height."""
    chip = Chip(0, profile)
    time_us, v = chip.membranes(weights(w), spikes, seed=0)
    worst = height = 0.0
    for b in range(len(spikes)):
        times, units = spikes.sample(b)
        arrivals = times.astype(float) + profile.delay_us
        amplitudes = GAIN * w[units, 0]
        exact = Neuron(profile).membrane(time_us, arrivals, amplitudes)
        clear = (np.abs(time_us[:, None] - arrivals) > chip.step_us).all(axis=1)
        worst = max(worst, np.abs(v[b, :, 0] - exact)[clear].max())
        height = max(height, np.abs(exact - profile.leak_lsb * MV).max())
    return worst, height


@pytest.mark.parametrize("w", [40, -40])
def test_one_spike_gives_the_closed_form_within_half_a_percent(w):
    times = np.random.default_rng(0).uniform(0, 20, 60)
    worst, height = worst_deviation(QUIET, np.array([[w]]), inputs(*[([t], [0]) for t in times], n_units=1))
    assert height == pytest.approx(40 * GAIN * 6 / np.e, rel=1e-2)
    assert worst < 0.005 * height


@settings(max_examples=60)
@given(
    tau_mem=st.floats(1.5, 40), tau_exc=st.floats(1.5, 40), tau_inh=st.floats(1.5, 40), delay=st.floats(0, 5),
    leak=st.floats(60, 120), excitatory=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_one_spike_with_any_time_constants_and_delay(tau_mem, tau_exc, tau_inh, delay, leak, excitatory, seed):
    """The error stays below (h/τ)² of the height, with the shorter time constant for τ."""
    profile = QUIET.replace(
        tau_mem_us=tau_mem, tau_syn_exc_us=tau_exc, tau_syn_inh_us=tau_inh, delay_us=delay, leak_lsb=leak
    )
    times = np.random.default_rng(seed).uniform(0, 15, 12)
    w = np.array([[12 if excitatory else -12]])
    worst, height = worst_deviation(profile, w, inputs(*[([t], [0]) for t in times], n_units=1))
    step_us = PERIOD / profile.substeps
    assert worst < height * (step_us / min(tau_mem, tau_exc if excitatory else tau_inh)) ** 2 + 1e-3


def test_many_spikes_add_up():
    """Excitatory and inhibitory, several per input: the sum of their PSPs, within half a percent of its height."""
    rng = np.random.default_rng(1)
    profile = QUIET.replace(tau_mem_us=7.0, tau_syn_exc_us=5.0, tau_syn_inh_us=9.0)
    w = rng.integers(-12, 13, (20, 1))
    spikes = inputs(*[(rng.uniform(0, 30, 40), rng.integers(0, 20, 40)) for _ in range(20)], n_units=20)
    worst, height = worst_deviation(profile, w, spikes)
    assert 100 < height < 400
    assert worst < 0.005 * height


def test_a_chip_with_mismatch_obeys_the_closed_form_of_each_neuron():
    """Every neuron with its own time constants, leak and gain, every input with its own delay."""
    chip = Chip(4, PROFILES["uncalibrated"].replace(membrane_noise_mv=0, threshold_lsb=255, threshold_sd_mv=0))
    truth = chip.mismatch
    w = np.random.default_rng(0).integers(-20, 21, (3, 200))
    times = [3.0, 3.3, 9.1]
    time_us, v = chip.membranes(weights(w, np.zeros((200, 1))), inputs((times, [0, 1, 2]), n_units=3), seed=0)
    arrivals = times + truth.input_delay_us[:3]
    clear = (np.abs(time_us[:, None] - arrivals) > chip.step_us).all(axis=1)
    for j in range(200):
        exact = np.full(len(time_us), truth.leak_mv[j])
        for i, at in enumerate(arrivals):
            gain, tau = (
                (truth.gain_exc[i, j], truth.tau_syn_exc_us[j])
                if w[i, j] > 0
                else (truth.gain_inh[i, j], truth.tau_syn_inh_us[j])
            )
            exact += w[i, j] * gain * psp(time_us - at, truth.tau_mem_us[j], tau)
        np.testing.assert_allclose(v[0, clear, j], exact[clear], atol=1.0)


@pytest.mark.parametrize("delay_us", [0.0, 0.4, 3.0])
def test_the_synaptic_delay_shifts_the_answer(delay_us):
    chip = Chip(0, QUIET.replace(delay_us=delay_us, substeps=16))
    time_us, v = chip.membranes(weights([[63]]), inputs(([5.0], [0]), n_units=1), seed=0)
    begins = time_us[np.flatnonzero(v[0, :, 0] > 375.01)[0]]
    assert begins == pytest.approx(5.0 + delay_us, abs=2 * chip.step_us)
    half = psp(2.0, 6.0, 6.0) * 63 * GAIN
    at = np.interp(375 + half, v[0, : v[0, :, 0].argmax(), 0], time_us[: v[0, :, 0].argmax()])
    assert at == pytest.approx(5.0 + delay_us + 2.0, abs=0.01)


def test_a_spike_in_the_middle_of_its_bin_gives_the_models_trace():
    """Within one step of the converter: the read-out lag makes chip and model see a spike equally old."""
    rng = np.random.default_rng(2)
    w = rng.integers(-30, 31, (12, 30))
    bins = np.stack([rng.permutation(18)[:12] for _ in range(25)])
    spikes = inputs(*[((row + 0.5) * PERIOD, np.arange(12)) for row in bins], n_units=12)
    model = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=6.0, dt_us=PERIOD, beta=50.0)
    traces = integrate(
        torch.tensor(w / 240), torch.zeros(30, 1).double(), spikes, dt_us=PERIOD, model=model, kernel="reference"
    )
    assert traces.s_hidden.sum() == 0
    recording = Chip(0, QUIET).run(weights(w, np.zeros((30, 1))), spikes, seed=0)
    expected_lsb = 80 + traces.v_hidden.numpy() * 330 / MV
    assert np.ptp(expected_lsb) > 50
    assert np.abs(recording.hidden_lsb - expected_lsb).max() <= 1.0
    np.testing.assert_array_equal(recording.hidden_baseline_lsb, 80)


# --- spikes -----------------------------------------------------------------------------------------------------


def barrage(profile, n, n_spikes, seed, strength):
    """Samples of random strong input to one neuron, with their exact spike times."""
    rng = np.random.default_rng(seed)
    w = rng.integers(strength, 64, (n_spikes, 1)) * np.where(rng.random((n_spikes, 1)) < 0.2, -1, 1)
    spikes = inputs(*[(rng.uniform(0, 14, n_spikes), np.arange(n_spikes)) for _ in range(n)], n_units=n_spikes)
    exact = []
    for b in range(n):
        times, units = spikes.sample(b)
        arrivals = times.astype(float) + profile.delay_us
        exact.append(Neuron(profile).spikes(arrivals, GAIN * w[units, 0], 34 + profile.readout_lag_us))
    return weights(w), spikes, exact


def typical_error(profile, w, spikes, exact, *, first):
    """Median error of the spike times, where their number is right. (A membrane that all but touches the
    threshold may fire, or not, much earlier than the exact one.)"""
    errors, right = [], 0
    for (emulated,), times in zip(spike_times(Chip(0, profile), w, spikes), exact, strict=True):
        if len(emulated) == len(times):
            right += 1
            errors.extend((emulated - times)[: 1 if first else None])
    assert right > 0.75 * len(exact)
    return np.median(np.abs(errors))


def test_threshold_crossings_converge_with_the_third_power_of_the_step():
    profile = IDEAL.replace(tau_mem_us=7.0, tau_syn_exc_us=5.0, tau_syn_inh_us=8.0)
    problem = barrage(profile, 200, 14, 0, 20)
    steps = [profile.replace(substeps=substeps) for substeps in (1, 2, 4, 8, 16, 32)]
    errors = np.array([typical_error(finer, *problem, first=True) for finer in steps])
    assert (errors[:3] > 6 * errors[1:4]).all(), errors
    assert (errors[3:] < 2e-5).all()  # single precision
    assert errors[2] < 5e-4  # at the default step, µs


def test_spike_trains_with_resets_and_refractory_times_converge():
    profile = IDEAL.replace(tau_mem_us=7.0, tau_syn_exc_us=5.0, tau_syn_inh_us=8.0, reset_lsb=60.0, refractory_us=1.3)
    problem = barrage(profile, 60, 40, 1, 10)
    assert np.mean([len(times) for times in problem[2]]) > 4
    steps = [profile.replace(substeps=substeps) for substeps in (1, 2, 4, 8, 16, 32)]
    errors = np.array([typical_error(finer, *problem, first=False) for finer in steps])
    assert (errors[:-1] > 2.5 * errors[1:]).all(), errors
    assert errors[0] > 3**5 * errors[-1], errors


@pytest.mark.parametrize(("substeps", "tolerance_us"), [(4, 0.01), (16, 0.0006)])
@pytest.mark.parametrize("refractory_us", [0.0, 0.7, 2.0, 5.5])
def test_a_leak_over_the_threshold_fires_at_the_closed_form_interval(substeps, tolerance_us, refractory_us):
    """Refractory time plus τ_m ln((leak − reset)/(leak − threshold))."""
    profile = IDEAL.replace(leak_lsb=200.0, reset_lsb=70.0, threshold_lsb=150.0, refractory_us=refractory_us)
    chip = Chip(0, profile.replace(substeps=substeps))
    ((times,),) = spike_times(chip, weights([[0]]), silence(duration_us=170.0))
    assert len(times) > 10
    interval = refractory_us + 6 * np.log((200 - 70) / (200 - 150))
    np.testing.assert_allclose(np.diff(times), interval, atol=tolerance_us)


@pytest.mark.parametrize("substeps", [1, 4, 16])
@pytest.mark.parametrize("refractory_us", [1.9, 2.3, 5.5])
def test_a_reset_over_the_threshold_fires_at_the_end_of_every_refractory_time(substeps, refractory_us):
    """Never within it, however long the membrane stays over the threshold."""
    profile = IDEAL.replace(leak_lsb=160.0, reset_lsb=155.0, threshold_lsb=150.0, refractory_us=refractory_us)
    chip = Chip(0, profile.replace(substeps=substeps))
    ((times,),) = spike_times(chip, weights([[0]]), silence(duration_us=68.0))
    assert len(times) > 68 / refractory_us - 1
    np.testing.assert_allclose(np.diff(times), refractory_us, atol=1e-4)


def test_interval_error_shrinks_with_the_square_of_the_step():
    profile = IDEAL.replace(leak_lsb=200.0, threshold_lsb=150.0)
    errors = []
    for substeps in (1, 2, 4, 8, 16):
        ((times,),) = spike_times(
            Chip(0, profile.replace(substeps=substeps)), weights([[0]]), silence(duration_us=170.0)
        )
        mean = (times[-1] - times[0]) / (len(times) - 1)
        errors.append(abs(mean - 2 - 6 * np.log(120 / 50)))
    assert (np.array(errors[:-1]) > 3 * np.array(errors[1:])).all(), errors


def test_the_membrane_stays_at_reset_for_the_refractory_time_and_not_longer():
    profile = IDEAL.replace(leak_lsb=200.0, reset_lsb=70.0, threshold_lsb=150.0, refractory_us=3.1)
    chip = Chip(0, profile)
    ((times,),) = spike_times(chip, weights([[0]]), silence(duration_us=68.0))
    time_us, v = chip.membranes(weights([[0]]), silence(duration_us=68.0), seed=0)
    for at, following in itertools.pairwise(times):
        within = (time_us > at + 1e-3) & (time_us < at + 3.1 - 1e-3)
        assert within.sum() >= 6
        np.testing.assert_allclose(v[0, within, 0], 70 * MV, rtol=1e-6)
        after = (time_us > at + 3.1) & (time_us < following)
        assert after.sum() >= 10
        closed = 200 * MV - 130 * MV * np.exp(-(time_us[after] - at - 3.1) / 6)
        np.testing.assert_allclose(v[0, after, 0], closed, atol=0.7)


def test_no_interval_is_shorter_than_a_neurons_refractory_time():
    chip = Chip(9, "uncalibrated")
    rng = np.random.default_rng(0)
    w = weights(rng.integers(20, 64, (60, 100)), np.zeros((100, 1)))
    fired = spike_times(
        chip, w, inputs(*[(rng.uniform(0, 30, 200), rng.integers(0, 60, 200)) for _ in range(3)], n_units=60)
    )
    intervals = [np.diff(times) - chip.mismatch.refractory_us[j] for row in fired for j, times in enumerate(row)]
    shortest = np.concatenate(intervals)
    assert len(shortest) > 500
    assert shortest.min() > -1e-4
    assert np.quantile(shortest, 0.01) < 0.3  # the limit is felt


def test_hidden_spikes_reach_the_outputs_after_the_delay():
    """Output membranes are the sum of PSPs at hidden spike times plus delay."""
    rng = np.random.default_rng(3)
    profile = IDEAL.replace(delay_us=1.4)
    chip = Chip(0, profile)
    w = weights(rng.integers(10, 64, (30, 8)), rng.integers(-12, 13, (8, 3)))
    spikes = inputs((rng.uniform(0, 20, 60), rng.integers(0, 30, 60)), n_units=30)
    (fired,) = spike_times(chip, w, spikes)
    assert sum(len(times) for times in fired) > 15
    time_us, v = chip.membranes(w, spikes, seed=0)
    arrivals = np.concatenate(fired) + 1.4
    sources = np.repeat(np.arange(8), [len(times) for times in fired])
    clear = (np.abs(time_us[:, None] - arrivals) > chip.step_us).all(axis=1)
    assert clear.sum() > 20
    for o in range(3):
        exact = Neuron(profile).membrane(time_us, arrivals, GAIN * w.output[sources, o])
        assert np.ptp(exact) > 30
        np.testing.assert_allclose(v[0, clear, 253 + o], exact[clear], atol=0.01 * np.ptp(exact))


def test_small_and_large_output_layers_hear_the_same():
    """Up to 16 outputs take a shorter path through the core."""
    rng = np.random.default_rng(4)
    chip = Chip(0, IDEAL)
    hidden, output = rng.integers(10, 64, (30, 8)), rng.integers(-25, 26, (8, 20))
    spikes = inputs((rng.uniform(0, 20, 60), rng.integers(0, 30, 60)), n_units=30)
    large = chip.run(weights(hidden, output), spikes, seed=0).output_lsb
    small = chip.run(weights(hidden, output[:, -16:]), spikes, seed=0).output_lsb
    assert np.ptp(small) > 20
    np.testing.assert_array_equal(large[..., -16:], small)


def test_output_neurons_do_not_spike():
    chip = Chip(0, IDEAL)
    w = weights(np.full((20, 4), 63), np.full((4, 1), 63))
    recording = chip.run(w, inputs((np.linspace(0, 10, 20), np.arange(20)), n_units=20), seed=0)
    assert recording.output_lsb.max() > IDEAL.threshold_lsb + 20
    assert recording.hidden_spikes.units.max() < 4


# --- saturation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("w", "limit"), [(63, 900.0), (-63, 250.0)])
def test_membranes_saturate_and_recover(w, limit):
    chip = Chip(0, QUIET.replace(membrane_min_mv=250.0, membrane_max_mv=900.0))
    time_us, v = chip.membranes(
        weights(np.full((12, 1), w)), inputs((np.full(12, 4.0), np.arange(12)), n_units=12), seed=0
    )
    trace = v[0, :, 0]
    at_limit = np.flatnonzero(trace == limit)
    assert len(at_limit) > 10
    assert (np.diff(at_limit) == 1).all()
    assert trace.min() == min(limit, 375)
    assert trace.max() == max(limit, 375)
    end = at_limit[-1]
    current = 12 * w * GAIN * np.exp(-(time_us[end] - 5.0) / 6)
    since = time_us[end:] - time_us[end]
    exact = 375 + (limit - 375) * np.exp(-since / 6) + current * psp(since, 6, 6)
    np.testing.assert_allclose(trace[end:], exact, atol=2.0)


def test_a_leak_beyond_the_rails_rests_at_the_rail():
    chip = Chip(0, QUIET.replace(leak_lsb=20.0, membrane_min_mv=150.0))
    _, v = chip.membranes(weights([[0]]), silence(), seed=0)
    assert (v[0, :, 0] == 150).all()


# --- noise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau_mem_us", [3.0, 6.0, 15.0])
def test_membrane_noise_has_the_configured_spread_and_the_membranes_memory(tau_mem_us):
    chip = Chip(0, QUIET.replace(membrane_noise_mv=2.0, tau_mem_us=tau_mem_us))
    _, v = chip.membranes(weights([[0]]), silence(60, duration_us=50.0), seed=3)
    x = v.astype(float) - 375.0
    np.testing.assert_allclose(x.std(axis=(0, 2)), 2.0, rtol=0.05)  # at every time, from the first sample on
    assert x.std() == pytest.approx(2.0, rel=0.02)
    assert abs(x.mean()) < 0.05
    for lag in (1, 2, 4, 8, 16, 32, 64):
        correlation = (x[:, :-lag] * x[:, lag:]).mean() / x.var()
        assert correlation == pytest.approx(np.exp(-lag * chip.step_us / tau_mem_us), abs=0.02)
    neighbours = (x[:, :, :-1] * x[:, :, 1:]).mean() / x.var()
    samples = (x[:-1] * x[1:]).mean() / x.var()
    assert abs(neighbours) < 0.02
    assert abs(samples) < 0.02


def test_noise_of_the_converter_is_white_and_has_the_configured_spread():
    chip = Chip(0, QUIET.replace(cadc_noise_lsb=3.0))
    recording = chip.run(weights(np.zeros((1, 200)), np.zeros((200, 1))), silence(40), seed=3)
    x = recording.hidden_lsb.astype(float) - 80.0
    assert x.std() == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.01)  # noise and rounding
    assert abs(x.mean()) < 0.03
    for axis in range(3):
        first, second = np.delete(x, -1, axis), np.delete(x, 0, axis)
        assert abs((first * second).mean() / x.var()) < 0.015


# --- converter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leak_lsb", [0.0, 0.4, 0.6, 79.49, 79.51, 80.0, 127.25, 254.4, 254.6, 255.0])
def test_a_sample_is_the_nearest_code(leak_lsb):
    chip = Chip(0, IDEAL.replace(leak_lsb=leak_lsb, threshold_lsb=255.0))
    recording = chip.run(weights([[0]], [[0]]), silence(), seed=0)
    nearest = int(leak_lsb + 0.5)
    assert set(recording.output_lsb.ravel().tolist()) == {nearest}
    assert recording.output_baseline_lsb.tolist() == [[nearest]]


@pytest.mark.parametrize("leak_lsb", [3.0, 120.0, 250.0])
def test_codes_follow_gain_and_offset_of_each_channel_and_clip(leak_lsb):
    chip = Chip(5, IDEAL.replace(leak_lsb=leak_lsb, threshold_lsb=255.0, cadc_offset_sd_lsb=10.0, cadc_gain_cv=0.05))
    truth = chip.mismatch
    recording = chip.run(weights(np.zeros((1, 10)), np.zeros((10, 246))), silence(), seed=0)
    exact = (truth.cadc_gain * leak_lsb + truth.cadc_offset_lsb)[10:]
    codes = recording.output_lsb[0]
    assert (codes == codes[0]).all()
    assert np.abs(codes[0] - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-3
    if leak_lsb == 3:
        assert (codes[0] == 0).sum() == (exact < 0.5).sum() > 50
    if leak_lsb == 250:
        assert (codes[0] == 255).sum() == (exact >= 254.5).sum() > 50
        assert exact.max() > 256


def test_samples_are_the_membranes_at_the_end_of_each_period():
    chip = Chip(3, PROFILES["calibrated"].replace(membrane_noise_mv=0, cadc_noise_lsb=0))
    rng = np.random.default_rng(0)
    w = weights(rng.integers(-20, 63, (20, 50)), rng.integers(-60, 63, (50, 10)))
    spikes = inputs((rng.uniform(0, 30, 50), rng.integers(0, 20, 50)), n_units=20)
    time_us, v = chip.membranes(w, spikes, seed=0)
    recording = chip.run(w, spikes, seed=0)
    codes = chip.mismatch.cadc_gain * v[0] / MV + chip.mismatch.cadc_offset_lsb
    codes = np.clip(codes, 0, 255)
    assert np.abs(codes[0, :50] - recording.hidden_baseline_lsb[0]).max() < 0.51
    for t in range(20):
        at = (t + 2) * 4
        assert time_us[at] == pytest.approx((t + 1) * PERIOD + 0.85 + 1.0, abs=1e-4)
        assert np.abs(codes[at, :50] - recording.hidden_lsb[0, t]).max() < 0.51
        assert np.abs(codes[at, -10:] - recording.output_lsb[0, t]).max() < 0.51
    assert recording.hidden_fired.sum() > 20


# --- time stamps ------------------------------------------------------------------------------------------------


def test_time_stamps_are_multiples_of_8_ns_sorted_and_just_before_the_spike():
    chip = Chip(1)
    rng = np.random.default_rng(0)
    w = weights(rng.integers(0, 64, (60, 100)), np.zeros((100, 1)))
    spikes = inputs(*[(rng.uniform(0, 30, 100), rng.integers(0, 60, 100)) for _ in range(4)], n_units=60)
    stamped, raw = chip.run(w, spikes, seed=0).hidden_spikes, spike_times(chip, w, spikes)
    assert len(stamped.times_us) > 1000
    ticks = stamped.times_us.astype(float) / 0.008
    np.testing.assert_allclose(ticks, ticks.round(), atol=1e-3)
    for b in range(4):
        times, units = stamped.sample(b)
        assert (np.diff(times) >= 0).all()
        for j in range(100):
            late = raw[b][j] - times[units == j]
            assert (late > -1e-5).all()
            assert (late < 0.008 + 1e-5).all()


def test_a_spike_is_marked_in_the_sample_that_follows_it():
    chip = Chip(1)
    rng = np.random.default_rng(1)
    w = weights(rng.integers(0, 64, (60, 100)), np.zeros((100, 1)))
    spikes = inputs(*[(rng.uniform(0, 30, 100), rng.integers(0, 60, 100)) for _ in range(4)], n_units=60)
    recording = chip.run(w, spikes, seed=0)
    edges = 1.85 + PERIOD * np.arange(21)
    for b, row in enumerate(spike_times(chip, w, spikes)):
        for j, times in enumerate(row):
            counts, _ = np.histogram(times, edges)
            np.testing.assert_array_equal(recording.hidden_fired[b, :, j], counts > 0)
