"""Calibration: what it reaches on a chip it has never seen, what it says of the rest, and its file."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bss2lab.chip import Chip, ChipProfile, Codes
from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Calibration, Targets
from bss2lab.chip.transfer import Transfer
from bss2lab.errors import CalibrationError, InputError
from bss2lab.types import Spikes, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 4711  # no calibration of this chip comes with the package
LSB_MV = 1200 / 256
NEURONS = np.arange(256)


@pytest.fixture(scope="module")
def bare():
    return Chip(SEED, "uncalibrated")


@pytest.fixture(scope="module")
def calibration(bare, one_thread):
    return calibrate(bare)


@pytest.fixture(scope="module")
def chip(bare, calibration):
    return bare.apply(calibration)


def run(chip):
    """Everything that a lively run records, as comparable bytes."""
    rng = np.random.default_rng(0)
    w = Weights(rng.integers(-20, 40, (30, 200)), rng.integers(-60, 60, (200, 10)))
    samples = [(np.sort(rng.uniform(0, 20, 40)), rng.integers(0, 30, 40)) for _ in range(3)]
    r = chip.run(w, Spikes.from_events(samples, n_units=30, duration_us=34.0), seed=5)
    assert r.hidden_fired.sum() > 20
    arrays = (r.hidden_lsb, r.output_lsb, r.hidden_fired, r.hidden_spikes.times_us, r.hidden_spikes.units)
    return [a.tobytes() for a in arrays]


# --- what it reaches --------------------------------------------------------------------------------------------


def test_every_neuron_is_calibrated_to_the_authors_targets(calibration, bare):
    assert calibration.failures == ()
    assert (calibration.chip_seed, calibration.circuits) == (SEED, bare.profile.circuits_digest())
    for name, value in [("tau_mem", 6), ("tau_syn_exc", 6), ("tau_syn_inh", 6), ("leak", 80), ("reset", 80),
                        ("threshold", 150)]:  # fmt: skip
        np.testing.assert_array_equal(getattr(calibration.targets, name), value)
        assert calibration.achieved[name].mean() == pytest.approx(value, rel=0.005)
    assert np.isnan(calibration.targets.gain_exc).all()
    assert set(calibration.achieved) == set(calibration.curves) == set(calibration.targets.searched)
    assert bare.codes.same_as(Codes.equal(bare.profile.transfer))


def test_the_hidden_truth_is_at_its_targets(chip):
    """In the published spread after calibration, and in practice far closer."""
    truth = chip.mismatch
    for name, limit in [("tau_mem_us", 0.07), ("tau_syn_exc_us", 0.05), ("tau_syn_inh_us", 0.05)]:
        error = getattr(truth, name) / 6.0 - 1
        assert error.std() < limit / 5
        assert abs(error.mean()) < 0.003
        assert np.abs(error).max() < limit
    for name, target in [("leak_mv", 375), ("reset_mv", 375), ("threshold_mv", 703.1)]:
        error = getattr(truth, name) - target
        assert error.std() < 6.0
        assert abs(error.mean()) < 1.0
    assert ((truth.threshold_mv - truth.leak_mv) / 328.1).std() < 0.03


def test_potentials_are_at_their_targets_as_the_column_adc_reads_them(chip):
    truth = chip.mismatch
    for name in ("leak_mv", "reset_mv"):
        reading = getattr(truth, name) / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
        assert np.abs(reading - 80).max() < 0.6
    assert (115 * truth.cadc_gain + truth.cadc_offset_lsb - 115).std() < 0.4


def test_calibration_narrows_every_spread(chip, bare):
    before, after = bare.mismatch, chip.mismatch
    for name in ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "leak_mv", "reset_mv", "threshold_mv",
                 "cadc_offset_lsb"):  # fmt: skip
        assert getattr(after, name).std() < 0.3 * getattr(before, name).std(), name
    for name in ("gain_exc", "gain_inh", "refractory_us", "cadc_gain"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_what_it_claims_to_have_achieved_is_true(calibration, chip):
    truth = chip.mismatch
    for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh"):
        np.testing.assert_allclose(calibration.achieved[name], getattr(truth, f"{name}_us"), rtol=0.02)
        assert calibration.residual[name] < 0.01
    np.testing.assert_allclose(calibration.achieved["threshold"] * LSB_MV, truth.threshold_mv, atol=5)
    for name in ("leak", "reset", "threshold"):
        assert 0.3 < calibration.residual[name] < 2.0
    assert calibration.residual["threshold − leak"] < 0.01
    assert repr(calibration) == f"Calibration(chip {SEED}, 0 failures) [emulated]"


def test_measured_curves_are_the_circuits_own(calibration, bare):
    """Intercept and slope of a circuit's straight line; the residual of the ADC's channel belongs to it."""
    transfer, circuits = bare.profile.transfer, bare.circuits
    for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh", "threshold"):
        slope = calibration.curves[name][1] / transfer.slope(name)
        assert (slope / circuits.slope[name] - 1).std() < 0.012, name
        assert np.corrcoef(slope, circuits.slope[name])[0, 1] > 0.9


def test_a_calibrated_chip_is_quieter_than_the_noise_between_its_neurons(chip, bare):
    """As a user would look at it: resting codes of all neurons, mean of many runs."""
    w = Weights(np.zeros((1, 256), int), np.zeros((256, 0), int))
    silence = Spikes.from_events([([], [])] * 200, n_units=1, duration_us=17.0)
    rest = [c.run(w, silence, seed=1).hidden_baseline_lsb.mean(axis=0) for c in (bare, chip)]
    assert rest[0].std() > 10
    assert rest[1].std() < 0.5


# --- targets of one's own ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def individual(bare, one_thread):
    """One calibration with other targets for each neuron, gains among them, and a few that no code reaches."""
    ramp = NEURONS / 255
    targets = Targets(
        tau_mem=4 + 5 * ramp, tau_syn_exc=9 - 4 * ramp, tau_syn_inh=5.0, gain_exc=0.8 + 0.5 * ramp, gain_inh=1.1,
        leak=70 + 25 * ramp, reset=60.0, threshold=160 - 30 * ramp,
    )  # fmt: skip
    tau, gain = targets.tau_mem.copy(), targets.gain_exc.copy()
    tau[7], gain[9] = 0.5, 9.0
    targets = targets.replace(tau_mem=tau, gain_exc=gain)
    return targets, calibrate(bare, targets, seed=3)


def test_every_neuron_reaches_a_target_of_its_own(individual, bare):
    targets, found = individual
    truth = bare.apply(found).mismatch
    easy = ~np.isin(NEURONS, [7, 9])
    for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh"):
        error = getattr(truth, f"{name}_us") / getattr(targets, name) - 1
        assert np.abs(error[easy]).max() < 0.04, name
        assert error[easy].std() < 0.012
    for name in ("gain_exc", "gain_inh"):
        error = getattr(truth, name).mean(axis=0) / getattr(targets, name) - 1
        assert error[easy].std() < 0.02, name
        assert np.abs(error[easy]).max() < 0.08
    assert (truth.threshold_mv / LSB_MV - targets.threshold).std() < 0.5
    for name in ("leak", "reset"):
        reading = getattr(truth, f"{name}_mv") / LSB_MV * truth.cadc_gain + truth.cadc_offset_lsb
        assert np.abs(reading - getattr(targets, name)).max() < 0.8


def test_targets_out_of_reach_are_named_with_numbers_and_the_nearest_code_is_written(individual):
    _, found = individual
    where = {(failure.neuron, failure.parameter) for failure in found.failures}
    assert {(7, "tau_mem"), (9, "gain_exc")} <= where
    assert {neuron for neuron, _ in where} <= {7, 9}  # (what cannot be reached may spoil that neuron's other targets)
    reasons = {(f.neuron, f.parameter): f.reason for f in found.failures}
    assert reasons[7, "tau_mem"].startswith("out of reach: target 0.5 µs, code 1022 gives ")
    assert reasons[9, "gain_exc"].startswith("out of reach: target 9 mV/µs, code 1022 gives ")
    assert float(reasons[7, "tau_mem"].split()[-2]) == pytest.approx(2.2, rel=0.35)
    assert (found.codes.tau_mem[7], found.codes.gain_exc[9]) == (1022, 1022)
    assert list(found.failures) == sorted(found.failures, key=lambda f: (found.targets.searched.index(f.parameter),
                                                                        f.neuron))  # fmt: skip


def test_codes_for_other_targets_follow_from_the_measured_curves(calibration, bare):
    targets = calibration.targets.replace(tau_mem=9.0, threshold=130.0 + 20 * NEURONS / 255, tau_syn_exc=4.0)
    codes, missed = calibration.codes_for(targets)
    truth = bare.with_codes(codes).mismatch
    assert missed == ()
    assert (truth.tau_mem_us / 9.0 - 1).std() < 0.02
    assert (truth.tau_syn_exc_us / 4.0 - 1).std() < 0.02
    assert (truth.threshold_mv / LSB_MV - targets.threshold).std() < 1.0
    for name in ("leak", "reset", "tau_syn_inh", "gain_exc", "cadc_trim"):
        np.testing.assert_array_equal(getattr(codes, name), getattr(calibration.codes, name))
    with pytest.raises(InputError, match="gain_exc target: expected a calibration that measured it, got none"):
        calibration.codes_for(calibration.targets.replace(gain_exc=1.0))


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn_exc", "gain_inh", "leak", "threshold"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_targets_that_are_not_finite_are_refused(name, value):
    values = np.full(256, 5.0)
    values[3] = value
    with pytest.raises(InputError, match=rf"{name} target: expected finite numbers.*, got {value} for neuron 3"):
        Targets().replace(**{name: values})


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ({"tau_mem": -6.0}, "tau_mem target: expected finite numbers above 0 in µs, got -6.0 for neuron 0"),
        ({"tau_syn_inh": 0.0}, "tau_syn_inh target: expected finite numbers above 0 in µs, got 0.0 for neuron 0"),
        ({"gain_exc": -1.0}, "gain_exc target: expected finite numbers above 0 in mV/µs, got -1.0"),
        ({"leak": np.zeros(255)}, "leak target: expected one number, or one per neuron, shape [256], got shape [255]"),
        ({"leak": np.zeros((256, 1))}, "got shape [256, 1]; match the chip"),
        ({"leak": np.zeros(1)}, "got shape [1]; match the chip"),
        ({"reset": "low"}, "reset target: expected one number, or one per neuron, shape [256], got 'low'"),
        ({"reset": [[1.0], [2.0, 3.0]]}, "got [[1.0], [2.0, 3.0]]"),
        ({"tau": 6.0}, "targets: expected tau_mem, tau_syn_exc, tau_syn_inh, gain_exc, gain_inh, leak, reset, "
                       "threshold, got tau; name one of these"),
    ],
)  # fmt: skip
def test_impossible_targets_are_refused(targets, text):
    with pytest.raises(InputError) as caught:
        Targets().replace(**targets)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["leak", "reset", "threshold"])
@pytest.mark.parametrize("value", [-1.0, 256.0])
def test_potentials_that_the_column_adc_cannot_read_are_refused(bare, name, value):
    values = np.full(256, 100.0)
    values[200] = value
    with pytest.raises(InputError, match=rf"{name} target: expected 0 … 255 LSB.*, got {value:g} LSB for neuron 200"):
        calibrate(bare, Targets().replace(**{name: values}))


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_saved_calibration_makes_the_same_chip_bit_for_bit(calibration, chip, bare, tmp_path):
    calibration.save(tmp_path / "mine.safetensors")
    loaded = Calibration.load(tmp_path / "mine.safetensors")
    assert loaded.codes.same_as(calibration.codes)
    assert (loaded.chip_seed, loaded.circuits, loaded.failures) == (SEED, calibration.circuits, ())
    assert loaded.profile == calibration.profile
    for name in calibration.achieved:
        np.testing.assert_array_equal(loaded.achieved[name], calibration.achieved[name])
        np.testing.assert_array_equal(loaded.curves[name], calibration.curves[name])
        np.testing.assert_array_equal(getattr(loaded.targets, name), getattr(calibration.targets, name))
    assert loaded.to_bytes() == calibration.to_bytes()
    applied = bare.apply(loaded)
    assert applied.calibration is loaded
    assert bare.calibration is None
    assert run(applied) == run(chip) == run(bare.with_codes(calibration.codes))
    assert run(bare) != run(chip)


def test_failures_are_kept_in_the_file(individual, tmp_path):
    _, found = individual
    found.save(tmp_path / "x")
    assert Calibration.load(tmp_path / "x").failures == found.failures != ()


def test_a_calibration_of_another_chip_is_refused_and_both_are_named(calibration):
    with pytest.raises(CalibrationError) as caught:
        Chip(12, "uncalibrated").apply(calibration)
    assert "calibration: expected one of chip 12, got one of chip 4711" in str(caught.value)
    other = ChipProfile(calibrated=False, leak_sd_mv=70.0)
    with pytest.raises(CalibrationError) as caught:
        Chip(SEED, other).apply(calibration)
    for digest in (calibration.circuits, other.circuits_digest()):
        assert digest in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match=r"got nothing at .*nowhere"):
        Calibration.load(tmp_path / "nowhere")
    with pytest.raises(CalibrationError):
        Calibration.load(tmp_path)


@pytest.fixture(scope="module")
def original(calibration):
    """The calibration behind a call (hypothesis would print all of its arrays)."""
    return lambda: calibration


FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(folder, content):
    path = folder / "fuzzed"
    path.write_bytes(content)
    return Calibration.load(path)


@given(data=st.data())
@FUZZ
def test_a_truncated_file_is_always_refused(original, tmp_path, data):
    content = original().to_bytes()
    with pytest.raises(CalibrationError, match="expected a whole calibration of bss2lab"):
        load(tmp_path, content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.fixture(scope="module")
def written(calibration):
    """What is in the file, with its checksum and, as older versions wrote it, without."""
    contents = {"sealed": calibration.to_bytes(), "unsealed": rewritten(calibration)}
    return contents.__getitem__


@pytest.mark.parametrize("form", ["sealed", "unsealed"])
@given(data=st.data())
@FUZZ
def test_flipped_bits_are_refused_or_harmless_to_read(written, form, tmp_path, data):
    content = bytearray(written(form))
    for _ in range(data.draw(st.integers(1, 4))):
        # half of them in the header, where they hurt
        at = data.draw(st.integers(0, 4000) | st.integers(0, len(content) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(CalibrationError):
        loaded = load(tmp_path, bytes(content))
        assert all(loaded.codes.items())
        loaded.codes_for(loaded.targets)
        assert loaded.residual


@given(data=st.data())
@FUZZ
def test_one_flipped_bit_is_always_noticed(written, tmp_path, data):
    content = bytearray(written("sealed"))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CalibrationError):
        load(tmp_path, bytes(content))


@pytest.mark.parametrize(
    ("array", "value", "expected"),
    [
        ("targets.tau_mem", 1e6, ["tau_mem target", "neuron 7", "1e+06"]),
        ("achieved.tau_syn_exc", 1e-9, ["achieved tau_syn_exc", "neuron 7", "1e-09"]),
        ("achieved.leak", -np.inf, ["achieved leak", "neuron 7", "-inf"]),
        ("curves.tau_mem", 300.0, ["tau_mem curve", "neuron 7", "slope 300"]),
        ("curves.tau_syn_inh", 1e-30, ["tau_syn_inh curve", "neuron 7", "slope 1e-30"]),
        ("curves.threshold", -2.88, ["threshold curve", "neuron 7", "slope -2.88"]),
    ],
)
def test_what_no_circuit_can_have_is_refused_by_name(calibration, tmp_path, array, value, expected):
    kind, name = array.split(".")
    values = np.array(getattr(calibration, kind)[name] if kind != "targets" else getattr(calibration.targets, name))
    values[(1, 7) if kind == "curves" else 7] = value
    with pytest.raises(CalibrationError) as caught:
        load(tmp_path, rewritten(calibration, arrays={array: values.astype(np.float32)}))
    assert all(text in str(caught.value) for text in expected)


@pytest.mark.parametrize("value", [1e30, -200.0])
def test_a_curve_that_lies_out_of_reach_is_refused(calibration, tmp_path, value):
    curve = calibration.curves["tau_mem"].astype(np.float32)
    curve[0, 7] = value
    with pytest.raises(CalibrationError, match="tau_mem curve"):
        load(tmp_path, rewritten(calibration, arrays={"curves.tau_mem": curve}))


@pytest.mark.slow
def test_calibrations_of_the_oddest_chips_and_targets_can_be_loaded(tmp_path):
    transfer = Transfer(tau_mem_exponent=4, tau_syn_exponent=4, gain_exponent=4, bias_floor=0.01, slope_cv=0.3)
    profile = ChipProfile(calibrated=False, tau_mem_us=20, tau_syn_exc_us=0.3, leak_sd_mv=300, transfer=transfer)
    targets = Targets(tau_mem=20.0, tau_syn_exc=0.05, gain_exc=3.0, gain_inh=0.01, leak=10.0, reset=250.0)
    found = calibrate(Chip(3, profile), targets)
    assert found.failures
    found.save(tmp_path / "odd")
    loaded = Calibration.load(tmp_path / "odd")
    assert loaded.to_bytes() == found.to_bytes()
    assert loaded.codes_for(targets)[0].same_as(found.codes)


def test_thresholds_at_the_leak_have_no_relative_residual(calibration):
    same = dataclasses.replace(calibration, targets=calibration.targets.replace(threshold=80.0))
    assert np.isnan(same.residual["threshold − leak"])


@given(st.binary(max_size=200) | st.just(b"\x02\0\0\0\0\0\0\0{}"))
@FUZZ
def test_files_of_another_kind_are_refused(tmp_path, content):
    with pytest.raises(CalibrationError):
        load(tmp_path, content)


def rewritten(calibration, header=None, arrays=None):
    """The calibration's file with changes in its header or its arrays (None: left out)."""
    content = calibration.to_bytes()
    length = int.from_bytes(content[:8], "little")
    meta = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["calibration"])
    kept = {**safetensors.numpy.load(content), **(arrays or {})}
    meta = meta | header if isinstance(header, dict) else meta if header is None else header
    kept = {k: v for k, v in kept.items() if v is not None}
    return safetensors.numpy.save(kept, metadata={"calibration": json.dumps(meta)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(["format", "chip_seed", "circuits", "failures", "profile"]), value=JSON)
@FUZZ
def test_anything_in_the_header_is_refused_or_kept(original, tmp_path, key, value):
    with contextlib.suppress(CalibrationError):
        loaded = load(tmp_path, rewritten(original(), {key: value}))
        assert (loaded.chip_seed, loaded.failures) == (value if key == "chip_seed" else SEED, ())
        assert loaded.profile.circuits_digest() == loaded.circuits == original().circuits
        assert key != "format" or value == 1


@pytest.mark.parametrize(
    "arrays",
    [
        {"codes.leak": None},
        {"codes.leak": np.zeros(255, np.int16)},
        {"codes.leak": np.full(256, 2000, np.int16)},
        {"codes.leak": np.zeros(256, np.float32)},
        {"codes.other": np.zeros(256, np.int16)},
        {"targets.tau_mem": np.full(256, np.nan, np.float32)},
        {"achieved.leak": None},
        {"achieved.leak": np.zeros((3, 256), np.float32)},
        {"curves.leak": None},
        {"curves.leak": np.zeros((2, 256), np.float32)},
        {"curves.leak": np.full((2, 256), np.nan, np.float32)},
        {"curves.leak": np.ones((3, 256), np.float32)},
        {"curves.other": np.ones((2, 256), np.float32)},
    ],
)
def test_arrays_that_do_not_belong_are_refused(calibration, tmp_path, arrays):
    with pytest.raises(CalibrationError):
        load(tmp_path, rewritten(calibration, arrays=arrays))


@pytest.mark.parametrize(
    "header",
    [
        [],
        3,
        "x",
        {"format": 2},
        {"chip_seed": float("inf")},
        {"chip_seed": 2.5},
        {"chip_seed": -1},
        {"profile": {"leak_sd_mv": 70.0}},
        {"circuits": "0" * 16},
        {"failures": [{"neuron": 1}]},
        {"failures": [{"neuron": 256, "parameter": "leak", "reason": "x"}]},
        {"failures": [{"neuron": 1, "parameter": "lead", "reason": "x"}]},
    ],
)
def test_headers_that_do_not_belong_are_refused(calibration, tmp_path, header):
    with pytest.raises(CalibrationError, match="expected a whole calibration of bss2lab"):
        load(tmp_path, rewritten(calibration, header))


def test_a_rewritten_file_is_the_same_one(calibration, tmp_path):
    """(The last two tests would pass for nothing otherwise.)"""
    assert load(tmp_path, rewritten(calibration)).to_bytes() == calibration.to_bytes()
