"""Profiles of neurons that were measured on a device: chips resampled from them, whole neurons at a time."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, spearmanr

from bss2lab.chip import Chip, ChipProfile, Codes, load_profile
from bss2lab.chip.mismatch import draw
from bss2lab.chip.transfer import Transfer
from bss2lab.errors import InputError

pytestmark = pytest.mark.slow

TIMES = ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "refractory_us")
POTENTIALS = ("leak_mv", "reset_mv", "threshold_mv")
GAINS = ("gain_exc", "gain_inh")


def device(n=512, seed=0):
    """Made-up neurons whose parameters are strongly correlated, no two alike, and far from normal."""
    rng = np.random.default_rng(seed)
    common = rng.gamma(2.0, 1.0, n)
    return {
        "tau_mem_us": 4 + 2 * common + 0.3 * rng.normal(size=n) ** 2,
        "tau_syn_exc_us": 12 * np.exp(-0.3 * common) + 0.5 + 0.2 * rng.random(n),
        "tau_syn_inh_us": 5 + rng.random(n),
        "refractory_us": 1.5 + rng.random(n),
        "leak_mv": 380 + 40 * common + 20 * rng.normal(size=n),
        "reset_mv": 300 + 50 * np.sign(rng.normal(size=n)) + 5 * rng.random(n),
        "threshold_mv": 700 + 30 * common + 5 * rng.normal(size=n),
        "gain_exc": 0.8 + 0.2 * common,
        "gain_inh": 1.0 + 0.3 * rng.random(n),
    }


def per_neuron(truth, name):
    values = getattr(truth, name)
    return values.mean(axis=0) if name in GAINS else values


def taken(truth):
    return np.stack([per_neuron(truth, name) for name in (*TIMES, *POTENTIALS, *GAINS)], axis=1)


def table(arrays):
    return np.stack([arrays[name] for name in (*TIMES, *POTENTIALS, *GAINS)], axis=1)


def matches(rows, among):
    """For each row the index of the measured neuron that it is (relative 1e-9), or −1."""
    near = (np.abs(rows[:, None] / among[None] - 1) < 1e-9).all(axis=2)
    return np.where(near.any(axis=1), near.argmax(axis=1), -1)


# --- resampling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [256, 300, 512])
def test_a_chip_is_made_of_whole_measured_neurons_and_of_none_twice(n):
    arrays = device(n)
    truth = draw(ChipProfile.from_measurements(arrays), 3).nominal
    index = matches(taken(truth), table(arrays))
    assert (index >= 0).all()
    assert len(set(index.tolist())) == 256


@pytest.mark.parametrize("n", [2, 100, 255])
def test_of_too_few_neurons_each_is_taken_as_often_as_the_others(n):
    arrays = device(n)
    index = matches(taken(draw(ChipProfile.from_measurements(arrays), 3).nominal), table(arrays))
    assert (index >= 0).all()
    counts = np.bincount(index, minlength=n)
    assert counts.max() - counts.min() <= 1


def test_parameters_stay_correlated_as_they_were_measured():
    arrays = device()
    truth = draw(ChipProfile.from_measurements(arrays), 5).nominal
    measured, found = spearmanr(table(arrays)).statistic, spearmanr(taken(truth)).statistic
    assert np.abs(measured - np.eye(9)).max() > 0.9
    assert np.abs(found - measured).max() < 4 / np.sqrt(256)


@pytest.mark.parametrize("name", [*TIMES, *POTENTIALS, *GAINS])
def test_values_are_distributed_as_they_were_measured(name):
    arrays = device()
    profile = ChipProfile.from_measurements(arrays)
    values = np.concatenate([per_neuron(draw(profile, seed).nominal, name) for seed in range(4)])
    assert kstest(values, arrays[name]).pvalue > 1e-3
    assert kstest(values * 1.05, arrays[name]).pvalue < 0.1
    assert np.isclose(values.min(), arrays[name].min(), rtol=0.05)


def test_seeds_take_other_neurons_and_one_seed_is_one_chip():
    profile = ChipProfile.from_measurements(device())
    one, again, other = (draw(profile, seed).nominal for seed in (1, 1, 2))
    np.testing.assert_array_equal(taken(one), taken(again))
    assert (one.tau_mem_us != other.tau_mem_us).mean() > 0.9


def test_what_was_not_measured_is_drawn_as_usual():
    arrays = {name: device()[name] for name in ("tau_mem_us", "leak_mv")}
    truth, usual = draw(ChipProfile.from_measurements(arrays), 4).nominal, draw(ChipProfile(), 4).nominal
    for name in set(type(truth).__dataclass_fields__) - set(arrays):
        np.testing.assert_array_equal(getattr(truth, name), getattr(usual, name), err_msg=name)
    for name in arrays:
        assert np.isin(getattr(truth, name), arrays[name]).all()


@pytest.mark.parametrize("gain", GAINS)
def test_a_measured_gain_scales_the_neurons_synapses_that_still_differ(gain):
    arrays = {gain: device()[gain]}
    truth, usual = draw(ChipProfile.from_measurements(arrays), 4).nominal, draw(ChipProfile(), 4).nominal
    synapses, drawn = getattr(truth, gain), getattr(usual, gain)
    np.testing.assert_allclose(synapses / synapses.mean(axis=0), drawn / drawn.mean(axis=0), rtol=1e-12)
    assert (np.abs(synapses.mean(axis=0)[:, None] / arrays[gain] - 1) < 1e-12).any(axis=1).all()
    assert (synapses / synapses.mean(axis=0)).std() == pytest.approx(0.07, rel=0.03)


# --- the profile ------------------------------------------------------------------------------------------------


def test_nominal_values_are_the_measured_medians():
    arrays = device()
    profile = ChipProfile.from_measurements(arrays, name="mine", synapse_cv=0.2)
    for name in TIMES:
        assert getattr(profile, name) == pytest.approx(np.median(arrays[name]))
    for name in POTENTIALS:
        assert getattr(profile, name.replace("_mv", "_lsb")) == pytest.approx(np.median(arrays[name]) * 256 / 1200)
    assert (profile.name, profile.calibrated, profile.synapse_cv) == ("mine", False, 0.2)
    assert profile.tau_syn_cv == ChipProfile().tau_syn_cv


def test_a_measured_profile_survives_json(tmp_path):
    profile = ChipProfile.from_measurements(device(40), name="mine", cadc_noise_lsb=1.5)
    path = tmp_path / "mine.json"
    path.write_text(profile.to_json(), encoding="utf-8")
    loaded = load_profile(str(path))
    assert loaded == profile
    assert loaded.circuits_digest() == profile.circuits_digest()
    assert len(json.loads(path.read_text(encoding="utf-8"))["measured"]["leak_mv"]) == 40
    np.testing.assert_array_equal(taken(Chip(3, str(path)).mismatch), taken(Chip(3, profile).mismatch))


def test_other_measurements_are_other_circuits():
    one, other = (ChipProfile.from_measurements(device(seed=seed)) for seed in (0, 1))
    assert one.circuits_digest() != other.circuits_digest()


def test_measured_neurons_can_be_calibrated(tmp_path, monkeypatch):
    """Neurons as they are at equal codes; the new chip is brought to the usual targets."""
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    arrays = {"tau_syn_exc_us": 6 * np.exp(0.3 * rng.normal(size=300)), "leak_mv": 375 + 60 * rng.normal(size=300)}
    profile = ChipProfile.from_measurements(arrays, calibrated=True)
    chip = Chip(2, profile)
    assert chip.calibration is not None
    assert len(chip.calibration.failures) == 0
    before, after = chip.circuits.nominal, chip.mismatch
    np.testing.assert_array_equal(before.tau_syn_exc_us, draw(profile, 2).at(Codes.equal(Transfer())).tau_syn_exc_us)
    assert np.isin(before.leak_mv, arrays["leak_mv"]).all()
    assert after.tau_syn_exc_us.std() < 0.05 * before.tau_syn_exc_us.std()
    assert after.leak_mv.std() < 0.1 * before.leak_mv.std()


# --- what is refused --------------------------------------------------------------------------------------------

GOOD = device(10)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, ["measured neurons", "at least one of tau_mem_us", "got none"]),
        ({"tau_mem": [6.0, 6.0]}, ["tau_mem", "known key of MeasuredNeurons", "did you mean 'tau_mem_us'"]),
        ({**GOOD, "leak_mv": GOOD["leak_mv"][:9]}, ["as many values of every parameter", "9 of leak_mv", "10 of"]),
        ({"leak_mv": [375.0]}, ["two or more", "1 of leak_mv"]),
        ({"leak_mv": []}, ["two or more", "0 of leak_mv"]),
        ({"tau_mem_us": [6.0, np.nan]}, ["tau_mem_us", "nan"]),
        ({"leak_mv": [375.0, np.inf]}, ["leak_mv", "inf"]),
        ({"tau_mem_us": [6.1e-6, 5.9e-6]}, ["tau_mem_us: expected 0.25 … 100 µs, got 6.1e-06 for neuron 0", "unit"]),
        ({"leak_mv": [375.0, 2400.0]}, ["leak_mv: expected -500 … 2000 mV, got 2400 for neuron 1"]),
        ({"gain_exc": [1.0, -1.0]}, ["gain_exc: expected 0.001 … 1000 mV/µs, got -1 for neuron 1"]),
        ({"tau_mem_us": [[6.0, 6.0]]}, ["tau_mem_us: expected numbers, shape [neuron], got an array of shape [1, 2]"]),
        ({"tau_mem_us": 6.0}, ["tau_mem_us: expected numbers, shape [neuron], got an array of shape []"]),
        ({"tau_mem_us": "fast"}, ["tau_mem_us: expected numbers, shape [neuron], got 'fast'"]),
        ({"tau_mem_us": ["a", "b"]}, ["tau_mem_us: expected numbers, shape [neuron], got ['a', 'b']"]),
        ({"tau_mem_us": [[6.0], [6.0, 7.0]]}, ["tau_mem_us: expected numbers, shape [neuron], got [[6.0], [6.0"]),
    ],
)
def test_measurements_that_no_circuit_can_have_are_refused(arrays, words):
    with pytest.raises(InputError) as caught:
        ChipProfile.from_measurements(arrays)
    for word in words:
        assert word in str(caught.value)


@given(st.sampled_from([*TIMES, *POTENTIALS, *GAINS]), st.integers(0, 9), st.floats(allow_nan=True))
@settings(max_examples=60)
def test_any_number_is_either_taken_as_it_is_or_refused(name, neuron, value):
    arrays = {key: values.copy() for key, values in GOOD.items()}
    arrays[name][neuron] = value
    low, high = (0.25, 100) if name in TIMES else (-500, 2000) if name in POTENTIALS else (1e-3, 1e3)
    if low <= value <= high:
        assert getattr(ChipProfile.from_measurements(arrays).measured, name)[neuron] == value
    else:
        with pytest.raises(InputError, match=f"{name}|finite"):
            ChipProfile.from_measurements(arrays)


@pytest.mark.parametrize("fields", [{"leak_sd": 3.0}, {"tau_syn_cv": -1.0}])
def test_other_fields_are_checked_as_usual(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        ChipProfile.from_measurements(GOOD, **fields)
