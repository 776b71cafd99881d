"""The mismatch of chips: one seed, one chip, everywhere; measured spread equals configured spread."""

import dataclasses
import functools
import zlib
from statistics import NormalDist

import numpy as np
import pytest

from bss2lab.chip import PROFILES, Chip
from bss2lab.chip.mismatch import Mismatch, draw, standard_normal
from bss2lab.quantize import CADC_MV_PER_LSB

N_CHIPS = 30
FIELDS = [field.name for field in dataclasses.fields(Mismatch)]


@functools.cache
def population(name):
    """The values of many chips, one array [chip, …] for each parameter."""
    chips = [draw(PROFILES[name], seed) for seed in range(N_CHIPS)]
    return {field: np.stack([getattr(chip, field) for chip in chips]) for field in FIELDS}


def test_one_seed_is_one_chip():
    for seed in (0, 7, 2**32 - 1):
        for field in FIELDS:
            first, second = (getattr(Chip(seed).mismatch, field) for _ in range(2))
            np.testing.assert_array_equal(first, second)


def test_another_seed_is_another_chip():
    one, other = Chip(0).mismatch, Chip(1).mismatch
    for field in FIELDS:
        assert (getattr(one, field) != getattr(other, field)).mean() > 0.99, field


def slow_normals(seed, parameter, n):
    """PCG64 (XSL-RR) by hand, in Python integers, from the state that NumPy's seed sequence gives it; then the
    inverse normal distribution of the standard library."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(parameter.encode())])
    start = np.random.PCG64(sequence).state["state"]
    state, increment, mask = start["state"], start["inc"], 2**128 - 1
    numbers = []
    for _ in range(n):
        state = (state * 0x2360ED051FC65DA44385DF649FCCF645 + increment) & mask
        folded = ((state >> 64) ^ state) & (2**64 - 1)
        turn = state >> 122
        bits = ((folded >> turn) | (folded << (64 - turn))) & (2**64 - 1)
        numbers.append(NormalDist().inv_cdf(((bits >> 11) + 0.5) * 2.0**-53))
    return numbers


@pytest.mark.parametrize("parameter", ["tau_mem", "leak", "cadc_offset"])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_draws_are_raw_bits_through_the_inverse_normal_distribution(seed, parameter):
    np.testing.assert_allclose(standard_normal(seed, parameter, 256), slow_normals(seed, parameter, 256), atol=1e-9)


GOLDEN = {
    "tau_mem_us": [6.03189301, 5.25916847, 5.93646199],
    "tau_syn_exc_us": [5.95232471, 6.59599979, 6.13900643],
    "leak_mv": [372.043426, 367.025758, 372.785183],
    "threshold_mv": [706.09547, 707.710913, 699.195201],
    "input_delay_us": [0.925642226, 1.03068682, 1.1619328],
    "input_gain_exc": [1.18831135, 1.1790486, 1.39048558],
    "routed_gain_inh": [1.1212769, 1.29456433, 0.99566617],
    "cadc_offset_lsb": [-3.89409107, -0.208058601, 0.0284553793],
    "cadc_gain": [0.987477243, 1.02250573, 1.02293581],
}


def test_golden_values_of_chip_0():
    """So that an update of NumPy or SciPy cannot quietly make another chip of it."""
    truth = Chip(0).mismatch
    for name, values in GOLDEN.items():
        np.testing.assert_allclose(getattr(truth, name).ravel()[: len(values)], values, rtol=1e-6, err_msg=name)


def test_formulas_of_a_few_parameters():
    z = functools.partial(slow_normals, 5)
    truth = Chip(5).mismatch
    sigma = np.sqrt(np.log(1 + 0.07**2))
    np.testing.assert_allclose(truth.tau_mem_us, 6 * np.exp(sigma * np.array(z("tau_mem", 256)) - sigma**2 / 2))
    np.testing.assert_allclose(truth.leak_mv, 80 * 4.6875 + 6 * np.array(z("leak", 256)))
    np.testing.assert_allclose(truth.threshold_mv, 150 * 4.6875 + 6 * np.array(z("threshold", 256)))
    np.testing.assert_allclose(truth.input_delay_us, 1 + 0.1 * np.array(z("input_delay", 256)))


def log_cv(values):
    """Coefficient of variation of log-normal values, from the spread of their logarithms."""
    return np.sqrt(np.expm1(np.log(values).var()))


def assert_spread(measured, configured, n):
    assert abs(measured / configured - 1) < 3 / np.sqrt(2 * n), (measured, configured)


@pytest.mark.parametrize("name", ["calibrated", "uncalibrated"])
@pytest.mark.parametrize(
    ("field", "mean", "cv"),
    [
        ("tau_mem_us", "tau_mem_us", "tau_mem_cv"),
        ("tau_syn_exc_us", "tau_syn_exc_us", "tau_syn_cv"),
        ("tau_syn_inh_us", "tau_syn_inh_us", "tau_syn_cv"),
        ("refractory_us", "refractory_us", "refractory_cv"),
        ("cadc_gain", None, "cadc_gain_cv"),
    ],
)
def test_time_constants_and_gains_spread_as_configured(name, field, mean, cv):
    """Log-normal, and the mean stays the nominal value however wide the spread."""
    profile, values = PROFILES[name], population(name)[field]
    mean, cv = getattr(profile, mean) if mean else 1.0, getattr(profile, cv)
    assert values.min() > 0
    assert_spread(log_cv(values), cv, values.size)
    assert abs(values.mean() / mean - 1) < 3 * cv / np.sqrt(values.size)
    skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    assert abs(skew - (3 * cv + cv**3)) < 0.25 * (1 + 5 * cv)  # of a log-normal distribution


@pytest.mark.parametrize("name", ["calibrated", "uncalibrated"])
@pytest.mark.parametrize(
    ("field", "mean", "sd"),
    [
        ("leak_mv", "leak_lsb", "leak_sd_mv"),
        ("reset_mv", "reset_lsb", "reset_sd_mv"),
        ("threshold_mv", "threshold_lsb", "threshold_sd_mv"),
        ("input_delay_us", "delay_us", "delay_sd_us"),
        ("routed_delay_us", "delay_us", "delay_sd_us"),
        ("cadc_offset_lsb", None, "cadc_offset_sd_lsb"),
    ],
)
def test_potentials_delays_and_offsets_spread_as_configured(name, field, mean, sd):
    profile, values = PROFILES[name], population(name)[field]
    nominal = getattr(profile, mean) if mean else 0.0
    nominal *= CADC_MV_PER_LSB if field.endswith("_mv") else 1
    sd = getattr(profile, sd)
    assert_spread(values.std(), sd, values.size)
    assert abs(values.mean() - nominal) < 3 * sd / np.sqrt(values.size)


@pytest.mark.parametrize("kind", ["exc", "inh"])
def test_synaptic_gain_is_a_neurons_times_a_synapses(kind):
    """The neuron's factor (16 %) is common to all its synapses, on input rows and on-chip rows alike."""
    profile = PROFILES["calibrated"]
    values = population("calibrated")
    rows, routed = np.log(values[f"input_gain_{kind}"]), np.log(values[f"routed_gain_{kind}"])
    neuron, again = rows.mean(axis=1), routed.mean(axis=1)  # [chip, neuron]
    assert np.corrcoef(neuron.ravel(), again.ravel())[0, 1] > 0.998
    assert_spread(np.sqrt(np.expm1(neuron.var())), profile.psp_gain_cv, neuron.size)
    synapse = rows - neuron[:, None]
    assert_spread(np.sqrt(np.expm1(synapse.var() * 256 / 255)), profile.synapse_cv, synapse.size)
    assert abs(np.corrcoef(synapse.ravel(), (routed - again[:, None]).ravel())[0, 1]) < 3 / np.sqrt(synapse.size)
    gains = values[f"input_gain_{kind}"]
    assert abs(gains.mean() / profile.synapse_mv_per_us - 1) < 3 * profile.psp_gain_cv / np.sqrt(neuron.size)


def test_different_parameters_use_different_streams():
    values = population("calibrated")
    per_neuron = [name for name in FIELDS if values[name].ndim == 2]
    columns = [values[name].ravel() for name in per_neuron]
    for kind in ("exc", "inh"):
        columns.append(values[f"input_gain_{kind}"].mean(axis=1).ravel())
        columns.append(values[f"input_gain_{kind}"][:, 0].ravel() / values[f"input_gain_{kind}"].mean(axis=1).ravel())
        columns.append(values[f"routed_gain_{kind}"][:, 0].ravel() / values[f"routed_gain_{kind}"].mean(axis=1).ravel())
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert len(columns) == 17
    assert np.abs(correlation).max() < 4.5 / np.sqrt(columns[0].size)


@pytest.mark.parametrize("name", ["calibrated", "uncalibrated"])
def test_threshold_and_leak_are_correlated_as_configured(name):
    values, rho = population(name), PROFILES[name].threshold_leak_correlation
    measured = np.corrcoef(values["leak_mv"].ravel(), values["threshold_mv"].ravel())[0, 1]
    assert abs(measured - rho) < 3 * (1 - rho**2) / np.sqrt(values["leak_mv"].size)


def test_ideal_chips_are_all_alike():
    truth = Chip(12, "ideal").mismatch
    p = PROFILES["ideal"]
    expected = {
        "tau_mem_us": 6, "tau_syn_exc_us": 6, "tau_syn_inh_us": 6, "refractory_us": 2, "leak_mv": 375, "reset_mv": 375,
        "threshold_mv": 705, "input_delay_us": 1, "routed_delay_us": 1, "cadc_offset_lsb": 0, "cadc_gain": 1,
    }  # fmt: skip
    gains = {f"{source}_gain_{kind}": p.synapse_mv_per_us for source in ("input", "routed") for kind in ("exc", "inh")}
    assert set(FIELDS) == set(expected | gains)
    for field, value in (expected | gains).items():
        np.testing.assert_allclose(getattr(truth, field), value, rtol=1e-12, err_msg=field)


def test_delays_are_never_negative():
    profile = PROFILES["calibrated"].replace(delay_us=0.1, delay_sd_us=1.0)
    truth = draw(profile, 0)
    assert truth.input_delay_us.min() == truth.routed_delay_us.min() == 0


def test_a_spread_changes_its_own_parameter_alone():
    """A profile with other spreads is the same chip with its deviations scaled."""
    base, wide = (draw(PROFILES["calibrated"].replace(leak_sd_mv=sd), 3) for sd in (6.0, 12.0))
    for field in FIELDS:
        same = np.array_equal(getattr(base, field), getattr(wide, field))
        assert same == (field != "leak_mv"), field
    np.testing.assert_allclose(wide.leak_mv - 375, 2 * (base.leak_mv - 375))
