"""The mismatch of chips: one seed, one chip, everywhere; measured spread equals configured spread."""

import dataclasses
import functools
import zlib
from statistics import NormalDist

import numpy as np
import pytest

from bss2lab.chip import PROFILES, Chip
from bss2lab.chip.mismatch import Mismatch, draw, standard_normal
from bss2lab.chip.transfer import PARAMETERS
from bss2lab.quantize import CADC_MV_PER_LSB

N_CHIPS = 30
FIELDS = [field.name for field in dataclasses.fields(Mismatch)]


@functools.cache
def population(name):
    """The values of many chips at nominal codes, one array [chip, …] for each parameter."""
    chips = [draw(PROFILES[name], seed).nominal for seed in range(N_CHIPS)]
    return {field: np.stack([getattr(chip, field) for chip in chips]) for field in FIELDS}


@pytest.mark.parametrize("profile", ["published", "uncalibrated"])
def test_one_seed_is_one_chip(profile):
    for seed in (0, 7, 2**32 - 1):
        first, second = (Chip(seed, profile) for _ in range(2))
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(first.mismatch, field), getattr(second.mismatch, field))
        for parameter in PARAMETERS:
            np.testing.assert_array_equal(first.circuits.slope[parameter], second.circuits.slope[parameter])


def test_a_calibrated_and_an_uncalibrated_chip_of_one_seed_are_the_same_silicon():
    """They differ in their codes alone."""
    one, other = Chip(7), Chip(7, "uncalibrated")
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one.circuits.nominal, field), getattr(other.circuits.nominal, field))
    for parameter in PARAMETERS:
        np.testing.assert_array_equal(one.circuits.slope[parameter], other.circuits.slope[parameter])
    assert one.mismatch.leak_mv.std() < 0.2 * other.mismatch.leak_mv.std()


def test_another_seed_is_another_chip():
    one, other = Chip(0, "published"), Chip(1, "published")
    for field in FIELDS:
        assert (getattr(one.mismatch, field) != getattr(other.mismatch, field)).mean() > 0.99, field
    for parameter in PARAMETERS:
        assert (one.circuits.slope[parameter] != other.circuits.slope[parameter]).mean() > 0.99, parameter


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
    "tau_mem_us": [6.03656541, 4.96415583, 5.90076395],
    "tau_syn_exc_us": [5.37269734, 11.6744031, 6.78510402],
    "tau_syn_inh_us": [4.04293811, 10.5544935, 8.84720285],
    "refractory_us": [1.99255627, 2.05293473, 2.02804478],
    "leak_mv": [339.028354, 277.98006, 348.053064],
    "reset_mv": [316.227038, 357.030242, 371.666872],
    "threshold_mv": [723.764576, 731.090563, 668.815438],
    "input_delay_us": [0.925642226, 1.03068682, 1.1619328],
    "routed_delay_us": [0.945205359, 0.978382159, 1.09010682],
    "gain_exc": [1.17091245, 1.25067924, 1.28918185],
    "gain_inh": [0.948313239, 1.15679196, 1.07201911],
    "cadc_offset_lsb": [-12.9803036, -0.69352867, 0.0948512644],
    "cadc_gain": [0.987477243, 1.02250573, 1.02293581],
}
GOLDEN_SLOPES = {
    "tau_mem": [0.992648801, 1.01748383, 1.01170984],
    "gain_inh": [0.977023879, 0.998957159, 0.981303312],
    "threshold": [1.06147962, 1.03669502, 1.00706404],
}


@pytest.mark.parametrize("profile", ["calibrated", "uncalibrated"])
def test_golden_values_of_chip_0(profile):
    """So that an update of NumPy or SciPy cannot quietly make another chip of it. (From ``slow_normals``.)"""
    circuits = Chip(0, profile).circuits
    assert set(GOLDEN) == set(FIELDS)
    for name, values in GOLDEN.items():
        found = getattr(circuits.nominal, name).ravel()[: len(values)]
        np.testing.assert_allclose(found, values, rtol=1e-6, err_msg=name)
    for name, values in GOLDEN_SLOPES.items():
        np.testing.assert_allclose(circuits.slope[name][: len(values)], values, rtol=1e-6, err_msg=name)


def test_formulas_of_a_few_parameters():
    def z(parameter, n=256):
        return np.array(slow_normals(5, parameter, n))

    def log_normal(mean, cv, deviate):
        sigma = np.sqrt(np.log(1 + cv**2))
        return mean * np.exp(sigma * deviate - sigma**2 / 2)

    narrow, wide = Chip(5, "published").mismatch, Chip(5, "uncalibrated").mismatch
    np.testing.assert_allclose(narrow.tau_mem_us, log_normal(6, 0.07, z("tau_mem")))
    np.testing.assert_allclose(wide.tau_mem_us, log_normal(6, 0.10, z("tau_mem")))
    np.testing.assert_allclose(wide.tau_syn_inh_us, log_normal(6, 0.35, z("tau_syn_inh")))
    np.testing.assert_allclose(narrow.leak_mv, 80 * 4.6875 + 6 * z("leak"))
    np.testing.assert_allclose(narrow.threshold_mv, 150 * 4.6875 + 6 * z("threshold"))
    common = 0.14 * z("leak") + np.sqrt(1 - 0.14**2) * z("threshold")
    np.testing.assert_allclose(wide.threshold_mv, 150 * 4.6875 + 49 * common)
    np.testing.assert_allclose(narrow.input_delay_us, 1 + 0.1 * z("input_delay"))
    for kind in ("exc", "inh"):
        neuron = log_normal(2.58 / 2.4, 0.16, z(f"psp_gain_{kind}"))
        synapses = log_normal(1, 0.07, z(f"synapse_{kind}", 3 * 256)).reshape(3, 256)
        for truth in (narrow, wide):
            np.testing.assert_allclose(getattr(truth, f"gain_{kind}")[:3], neuron * synapses)


def log_cv(values):
    """Coefficient of variation of log-normal values, from the spread of their logarithms."""
    return np.sqrt(np.expm1(np.log(values).var()))


def assert_spread(measured, configured, n):
    assert abs(measured / configured - 1) < 3 / np.sqrt(2 * n), (measured, configured)


@pytest.mark.parametrize("name", ["published", "uncalibrated"])
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


@pytest.mark.parametrize("name", ["published", "uncalibrated"])
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
    """The neuron's factor (16 %) is common to all its synapses."""
    profile = PROFILES["published"]
    values = population("published")
    rows = np.log(values[f"gain_{kind}"])
    neuron = rows.mean(axis=1)  # [chip, neuron]
    assert_spread(np.sqrt(np.expm1(neuron.var())), profile.psp_gain_cv, neuron.size)
    synapse = rows - neuron[:, None]
    assert_spread(np.sqrt(np.expm1(synapse.var() * 256 / 255)), profile.synapse_cv, synapse.size)
    gains = values[f"gain_{kind}"]
    assert abs(gains.mean() / profile.synapse_mv_per_us - 1) < 3 * profile.psp_gain_cv / np.sqrt(neuron.size)


def test_different_parameters_use_different_streams():
    values = population("published")
    per_neuron = [name for name in FIELDS if values[name].ndim == 2]
    columns = [values[name].ravel() for name in per_neuron]
    for kind in ("exc", "inh"):
        columns.append(values[f"gain_{kind}"].mean(axis=1).ravel())
        for row in (0, 255):
            columns.append(values[f"gain_{kind}"][:, row].ravel() / values[f"gain_{kind}"].mean(axis=1).ravel())
    for parameter in PARAMETERS:
        columns.append(np.stack([draw(PROFILES["published"], n).slope[parameter] for n in range(N_CHIPS)]).ravel())
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert len(columns) == 25
    assert np.abs(correlation).max() < 4.5 / np.sqrt(columns[0].size)


@pytest.mark.parametrize("name", ["published", "uncalibrated"])
def test_threshold_and_leak_are_correlated_as_configured(name):
    values, rho = population(name), PROFILES[name].threshold_leak_correlation
    measured = np.corrcoef(values["leak_mv"].ravel(), values["threshold_mv"].ravel())[0, 1]
    assert abs(measured - rho) < 3 * (1 - rho**2) / np.sqrt(values["leak_mv"].size)


def test_slopes_of_the_circuits_spread_as_configured():
    for parameter in PARAMETERS:
        slopes = np.concatenate([draw(PROFILES["published"], seed).slope[parameter] for seed in range(N_CHIPS)])
        assert_spread(log_cv(slopes), 0.03, slopes.size)
        assert abs(slopes.mean() - 1) < 3 * 0.03 / np.sqrt(slopes.size)


def test_ideal_chips_are_all_alike():
    truth = Chip(12, "ideal").mismatch
    p = PROFILES["ideal"]
    expected = {
        "tau_mem_us": 6, "tau_syn_exc_us": 6, "tau_syn_inh_us": 6, "refractory_us": 2, "leak_mv": 375, "reset_mv": 375,
        "threshold_mv": 705, "input_delay_us": 1, "routed_delay_us": 1, "cadc_offset_lsb": 0, "cadc_gain": 1,
    }  # fmt: skip
    gains = {f"gain_{kind}": p.synapse_mv_per_us for kind in ("exc", "inh")}
    assert set(FIELDS) == set(expected | gains)
    for field, value in (expected | gains).items():
        np.testing.assert_allclose(getattr(truth, field), value, rtol=1e-12, err_msg=field)
    for parameter, slope in Chip(12, "ideal").circuits.slope.items():
        np.testing.assert_array_equal(slope, 1.0, err_msg=parameter)


def test_delays_are_never_negative():
    profile = PROFILES["published"].replace(delay_us=0.1, delay_sd_us=1.0)
    truth = draw(profile, 0).nominal
    assert truth.input_delay_us.min() == truth.routed_delay_us.min() == 0


def test_a_spread_changes_its_own_parameter_alone():
    """A profile with other spreads is the same chip with its deviations scaled."""
    base, wide = (draw(PROFILES["published"].replace(leak_sd_mv=sd), 3).nominal for sd in (6.0, 12.0))
    for field in FIELDS:
        same = np.array_equal(getattr(base, field), getattr(wide, field))
        assert same == (field != "leak_mv"), field
    np.testing.assert_allclose(wide.leak_mv - 375, 2 * (base.leak_mv - 375))
