"""What the instruments show of a chip, and that measurement and calibration use nothing else."""

import ast
from pathlib import Path

import numpy as np
import pytest
from thread_count import threads

import bss2lab.chip
from bss2lab import dynamics
from bss2lab.chip import PROFILES, Chip
from bss2lab.chip.instruments import MADC_STEP_MV, Stimulus, record_cadc, record_madc, self_active
from bss2lab.errors import InputError
from bss2lab.types import Spikes, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

IDEAL, PUBLISHED = PROFILES["ideal"], PROFILES["published"]
LSB_MV = 1200 / 256
EVERY_NEURON = np.arange(256)
HIDDEN = {"mismatch", "circuits", "nominal", "membranes", "_emulate", "_tables", "_table", "_gain", "_delays"}


def quiet(profile):
    return profile.replace(membrane_noise_mv=0, cadc_noise_lsb=0)


def volley(n_samples=1, at_us=5.0, n_rows=60, weight=2, duration_us=51.0):
    spikes = [(np.full(n_rows, at_us), np.arange(n_rows))] * n_samples
    return Stimulus(
        Spikes.from_events(spikes, n_units=n_rows, duration_us=duration_us), np.full((n_rows, 256), weight, np.int8)
    )


def expected_psp(chip, t_us, at_us=5.0, n_rows=60, weight=2):
    """Closed form for neurons that do not fire, on a chip whose rows all have the same delay."""
    truth, after = chip.mismatch, np.maximum(t_us[:, None] - at_us - chip.profile.delay_us, 0.0)
    current = weight * truth.gain_exc[:n_rows].sum(axis=0)
    return truth.leak_mv + current * dynamics.psp(after, truth.tau_mem_us, truth.tau_syn_exc_us)


# --- an honest interface ----------------------------------------------------------------------------------------


def names_in(source):
    """Every name that a module reads or imports, and every attribute, also those reached by getattr."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("module", ["measure", "calibrate"])
def test_measurement_and_calibration_do_not_look_at_the_hidden_truth(module):
    source = (Path(bss2lab.chip.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    names = set(names_in(source))
    assert not names & (HIDDEN | {"draw", "standard_normal", "Mismatch", "Circuits", "analog", "kernels"})
    assert "with_codes" in names


@pytest.mark.parametrize(
    "cheat",
    ["chip.mismatch.leak_mv", "getattr(chip, 'circuits')", "from bss2lab.chip.mismatch import draw", "c.membranes(w)"],
)
def test_the_check_sees_a_cheat(cheat):
    assert set(names_in(cheat)) & (HIDDEN | {"draw"})


def test_only_the_instruments_reach_into_the_emulator():
    """Whoever imports the instruments and the emulator's class alone cannot see more."""
    for module in ("measure", "calibrate"):
        tree = ast.parse((Path(bss2lab.chip.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "chip":
                assert node.attr in {"codes", "with_codes", "profile", "seed"}, node.attr


# --- the column ADC ---------------------------------------------------------------------------------------------


def test_silence_shows_the_leak_of_every_neuron():
    chip = Chip(5, quiet(PUBLISHED))
    record = record_cadc(chip, duration_us=17.0, seed=0, repeats=3)
    truth = chip.mismatch
    exact = truth.leak_mv / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
    assert record.samples_lsb.shape == record.fired.shape == (3, 11, 256)
    assert np.abs(record.samples_lsb - exact).max() < 0.51
    assert record.fired.sum() == 0
    np.testing.assert_allclose(record.time_us, 0.15 + 1.7 * np.arange(11))


def test_held_at_reset_every_sample_is_the_reset_potential():
    chip = Chip(5, quiet(PUBLISHED).replace(reset_lsb=40.0))
    record = record_cadc(chip, duration_us=17.0, seed=0, start="held")
    truth = chip.mismatch
    exact = truth.reset_mv / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
    assert np.abs(record.samples_lsb - exact).max() < 0.51


def test_released_from_reset_every_membrane_relaxes_to_its_leak():
    chip = Chip(5, quiet(PUBLISHED).replace(reset_lsb=30.0, leak_lsb=200.0))
    record = record_cadc(chip, duration_us=51.0, seed=0, start="reset")
    truth = chip.mismatch
    t = (record.time_us - record.time_us[0])[:, None]
    v = truth.leak_mv + (truth.reset_mv - truth.leak_mv) * np.exp(-t / truth.tau_mem_us)
    exact = v / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
    assert np.abs(record.samples_lsb[0] - exact).max() < 0.52


def test_a_stimulus_reaches_every_neuron():
    chip = Chip(5, quiet(PUBLISHED).replace(delay_sd_us=0.0))
    record = record_cadc(chip, duration_us=51.0, seed=0, stimulus=volley(2))
    truth = chip.mismatch
    exact = expected_psp(chip, record.time_us) / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
    assert record.samples_lsb.shape == (2, 31, 256)
    assert np.ptp(exact, axis=0).min() > 30
    assert np.abs(record.samples_lsb - exact).max() < 0.8  # (a volley between two fine steps: an error of order h²)


def test_neurons_fire_only_where_they_may():
    chip = Chip(5, PUBLISHED.replace(leak_lsb=200.0))
    on = EVERY_NEURON % 3 == 0
    for spiking, allowed in [(False, on & False), (True, on | True), (on, on)]:
        fired = record_cadc(chip, duration_us=34.0, seed=0, spiking=spiking).fired[0].any(axis=0)
        np.testing.assert_array_equal(fired, allowed)


def test_repeats_have_noise_of_their_own_and_seeds_repeat_them():
    chip = Chip(5, PUBLISHED)
    one, two = (record_cadc(chip, duration_us=17.0, seed=3, repeats=200).samples_lsb for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (record_cadc(chip, duration_us=17.0, seed=4).samples_lsb[0] != one[0]).mean() > 0.5
    assert (one[0] != one[1]).mean() > 0.5
    expected = np.sqrt(2.0**2 + (2.0 / LSB_MV) ** 2 + 1 / 12)
    assert one.std(axis=(0, 1)).mean() == pytest.approx(expected, rel=0.03)


def test_a_start_that_does_not_exist_is_refused():
    with pytest.raises(InputError) as caught:
        record_cadc(Chip(0, IDEAL), duration_us=17.0, seed=0, start="rset")
    assert str(caught.value) == "start: expected 'rest', 'reset' or 'held', got 'rset'; choose one of them"


# --- the fast ADC -----------------------------------------------------------------------------------------------


def test_the_fast_adc_shows_the_membrane_of_an_ideal_chip(monkeypatch):
    """Half a step off at most where the instrument has no noise: the same membranes as ``Chip.membranes``."""
    from bss2lab.chip import instruments, spec

    silent = dict(spec.SPEC) | {"madc_noise": spec.Constant(0.0, "mV", spec.SPEC["madc_noise"].source, "")}
    monkeypatch.setattr(instruments, "SPEC", silent)
    chip, stimulus = Chip(0, IDEAL), volley(weight=1)
    record = record_madc(chip, duration_us=51.0, seed=0, stimulus=stimulus, oversampling=IDEAL.substeps)
    weights = Weights(stimulus.weights.astype(int), np.zeros((256, 0), int))
    time_us, membranes = chip.membranes(weights, stimulus.spikes, seed=0)
    n = record.samples_mv.shape[1]
    np.testing.assert_allclose(record.time_us, time_us[:n], atol=1e-4)
    assert np.ptp(membranes) > 100
    assert np.abs(record.samples_mv - membranes[0, :n].T).max() <= MADC_STEP_MV / 2 + 1e-3


def test_the_fast_adc_has_ten_bits_noise_and_a_limited_range():
    chip = Chip(0, IDEAL)
    record = record_madc(chip, duration_us=51.0, seed=0)
    assert MADC_STEP_MV == 1200 / 1024
    codes = record.samples_mv / MADC_STEP_MV
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert record.samples_mv.shape == (256, 30 * 48 + 1)
    assert record.samples_mv.std() == pytest.approx(np.hypot(1.2, MADC_STEP_MV / np.sqrt(12)), rel=0.02)
    assert record.samples_mv.mean() == pytest.approx(375.0, abs=0.05)
    low, high = (chip.with_codes(leak=code) for code in (0, 1022))
    assert record_madc(low, duration_us=17.0, seed=0).samples_mv.min() == 0
    assert record_madc(high, duration_us=17.0, seed=0).samples_mv.max() == 1200 - MADC_STEP_MV


@pytest.mark.parametrize("oversampling", [6, 48])
def test_the_fast_adc_follows_the_closed_form_slow_or_fast(oversampling):
    chip = Chip(6, quiet(PUBLISHED).replace(delay_sd_us=0.0))
    record = record_madc(chip, duration_us=51.0, seed=0, stimulus=volley(), oversampling=oversampling)
    np.testing.assert_allclose(np.diff(record.time_us), 1.7 / oversampling)
    error = record.samples_mv - expected_psp(chip, record.time_us).T
    assert error.std() == pytest.approx(np.hypot(1.2, MADC_STEP_MV / np.sqrt(12)), rel=0.08)
    assert abs(error.mean()) < 0.1


def test_single_neurons_are_recorded_in_the_order_asked_for():
    chip = Chip(6, quiet(PUBLISHED))
    picked = np.array([200, 3, 3, 77])
    record = record_madc(chip, duration_us=340.0, seed=0, neurons=picked, oversampling=6)
    np.testing.assert_allclose(record.samples_mv.mean(axis=1), chip.mismatch.leak_mv[picked], atol=0.2)
    assert record_madc(chip, duration_us=17.0, seed=0, neurons=np.empty(0, int)).samples_mv.shape == (0, 481)


def test_the_fast_adc_sees_spikes_where_neurons_may_fire():
    chip = Chip(6, quiet(PUBLISHED).replace(leak_lsb=230.0))
    on = EVERY_NEURON >= 128
    samples = record_madc(chip, duration_us=34.0, seed=0, spiking=on).samples_mv
    fell = (samples[:, :-1] - samples[:, 1:] > 200).any(axis=1)
    np.testing.assert_array_equal(fell, on)


@pytest.mark.parametrize("neurons", [np.array([256]), np.array([-1]), np.array([1.0]), np.array(3), np.array([[1]])])
def test_neurons_that_are_not_on_the_chip_are_refused(neurons):
    with pytest.raises(InputError, match=r"neurons: expected neuron numbers 0 … 255, shape \[k\]"):
        record_madc(Chip(0, IDEAL), duration_us=17.0, seed=0, neurons=neurons)


def test_the_fast_adc_takes_one_stimulus_at_a_time():
    with pytest.raises(InputError, match="stimulus: expected one sample, got 2; select one"):
        record_madc(Chip(0, IDEAL), duration_us=17.0, seed=0, stimulus=volley(2))


# --- recordings that cannot be ----------------------------------------------------------------------------------

RECORD = {"cadc": record_cadc, "madc": record_madc}


@pytest.mark.parametrize("duration", [0, 0.0, -17.0, np.nan, np.inf, -np.inf, 10_001.0, 1e300, None, "17", [17.0]])
@pytest.mark.parametrize("adc", RECORD)
def test_a_duration_that_cannot_be_is_refused(adc, duration):
    with pytest.raises(InputError) as caught:
        RECORD[adc](Chip(0, IDEAL), duration_us=duration, seed=0)
    want = "duration_us: expected a number above 0 µs, at most 10,000 µs"
    assert str(caught.value) == f"{want}, got {duration!r}; the chip's times are microseconds"


@pytest.mark.parametrize("duration", [1e-3, 1.7, np.float32(17), 17])
@pytest.mark.parametrize("adc", RECORD)
def test_short_durations_have_their_samples(adc, duration):
    record = RECORD[adc](Chip(0, IDEAL), duration_us=duration, seed=0)
    periods = int(np.ceil(duration / 1.7 - 1e-6))
    assert len(record.time_us) == (periods if adc == "cadc" else 48 * periods) + 1


@pytest.mark.parametrize("repeats", [0, -1, 1.0, 2**20 + 1, 10**30, None, "3"])
def test_repeats_that_cannot_be_are_refused(repeats):
    with pytest.raises(InputError) as caught:
        record_cadc(Chip(0, IDEAL), duration_us=17.0, seed=0, repeats=repeats)
    assert str(caught.value) == f"repeats: expected an integer 1 … 1,048,576, got {repeats!r}; count from 1"


@pytest.mark.parametrize("oversampling", [0, -6, 48.0, 257, None])
def test_an_oversampling_that_cannot_be_is_refused(oversampling):
    with pytest.raises(InputError) as caught:
        record_madc(Chip(0, IDEAL), duration_us=17.0, seed=0, oversampling=oversampling)
    assert str(caught.value) == f"oversampling: expected an integer 1 … 256, got {oversampling!r}; count from 1"


@pytest.mark.parametrize(
    "spiking", [[True] * 255, [True] * 257, [True], np.ones((1, 256), bool), 1, np.ones(256), "yes"]
)
@pytest.mark.parametrize("adc", RECORD)
def test_flags_that_are_not_one_per_neuron_are_refused(adc, spiking):
    with pytest.raises(
        InputError, match=r"spiking: expected True, False, or bool \[256\], got .*; one flag per neuron"
    ):
        RECORD[adc](Chip(0, IDEAL), duration_us=17.0, seed=0, spiking=spiking)


@pytest.mark.parametrize(
    ("adc", "options"), [("cadc", {"repeats": 2**20}), ("madc", {"oversampling": 256, "duration_us": 10_000.0})]
)
def test_a_recording_beyond_any_memory_is_refused_before_it_begins(adc, options):
    with pytest.raises(InputError, match=r"recording: expected at most 134,217,728 samples, got [\d,]+; record a sh"):
        RECORD[adc](Chip(0, IDEAL), **{"duration_us": 17.0, "seed": 0, **options})


# --- self-activity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_self_active_neurons_are_those_whose_leak_lies_over_their_threshold(seed):
    """Exactly, apart from those within 4 SD of the membrane noise (2 mV)."""
    chip = Chip(seed, PROFILES["uncalibrated"].replace(leak_sd_mv=150, threshold_sd_mv=100))
    truth = chip.mismatch
    margin = np.minimum(truth.leak_mv, 1200.0) - truth.threshold_mv
    active = np.isin(EVERY_NEURON, self_active(chip))
    assert 3 < (margin > 8).sum() < 30
    assert active[margin > 8].all()
    assert not active[margin < -12].any()


def test_calibrated_chips_have_no_self_active_neurons():
    for seed in range(3):
        assert self_active(Chip(seed)).tolist() == []


def test_a_single_neuron_that_is_made_to_leak_is_found():
    chip = Chip(1)
    leak = np.array(chip.codes.leak)
    leak[[9, 250]] += 210
    assert self_active(chip.with_codes(leak=leak)).tolist() == [9, 250]


# --- threads ----------------------------------------------------------------------------------------------------


@pytest.mark.needs("two cores")
def test_recordings_do_not_depend_on_the_number_of_threads():
    chip = Chip(2, "uncalibrated")
    results = []
    for n in (1, 2):
        with threads(n):
            column = record_cadc(chip, duration_us=34.0, seed=1, repeats=21, spiking=True)
            fast = record_madc(chip, duration_us=17.0, seed=1, neurons=EVERY_NEURON[::7])
            results.append([x.tobytes() for x in (column.samples_lsb, column.fired, fast.samples_mv)])
    assert results[0] == results[1]
