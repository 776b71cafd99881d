"""Measurement protocols against the hidden truth: estimates, their uncertainties, and failures by name."""

import functools

import numpy as np
import pytest
from thread_count import threads

from bss2lab.chip import Chip
from bss2lab.chip.measure import PROTOCOLS, Measurement, measure
from bss2lab.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

CHIPS = [("published", 11), ("uncalibrated", 13), ("calibrated", 0)]
POTENTIALS = ("leak", "reset", "threshold")

# quantity: median and largest |error|, relative for times and gains, in mV, LSB or 1 elsewhere: twice what is seen
LIMITS = {
    "leak": (1.1, 6.0),
    "reset": (1.2, 7.0),
    "threshold": (0.9, 5.0),
    "tau_mem": (0.0033, 0.02),
    "tau_syn_exc": (0.0055, 0.04),
    "tau_syn_inh": (0.0075, 0.04),
    "gain_exc": (0.006, 0.04),
    "gain_inh": (0.006, 0.04),
    "refractory": (0.0045, 0.05),
    "cadc_offset": (0.45, 2.2),
    "cadc_gain": (0.0035, 0.018),
}


@functools.cache
def chip_of(profile, seed):
    return Chip(seed, profile)


@functools.cache
def measured(profile, seed, quantity):
    return measure(chip_of(profile, seed), quantity, seed=77)


def hidden(chip, quantity):
    truth = chip.mismatch
    if quantity in POTENTIALS:
        return getattr(truth, f"{quantity}_mv")
    if quantity.startswith("gain"):
        return getattr(truth, quantity).mean(axis=0)
    if quantity.startswith("cadc"):
        return {"cadc_offset": truth.cadc_offset_lsb, "cadc_gain": truth.cadc_gain}[quantity]
    return getattr(truth, f"{quantity}_us")


def errors(result: Measurement, chip):
    truth = hidden(chip, result.quantity)
    return (result.value - truth) / (truth if result.unit in ("µs", "mV/µs") else 1.0)


def consistent(result: Measurement):
    """NaN where there is a failure, and nowhere else."""
    failed = np.isin(np.arange(256), list(result.failures))
    for values in (result.value, result.uncertainty, result.reading):
        assert values.shape == (256,)
        np.testing.assert_array_equal(np.isnan(values), failed)
        assert np.isfinite(values[~failed]).all()
    assert (result.uncertainty[~failed] > 0).all()
    assert all(result.failures.values())
    return failed


def reasons(result: Measurement):
    consistent(result)
    return set(result.failures.values())


# --- estimates --------------------------------------------------------------------------------------------------


def test_every_quantity_has_a_protocol_and_limits():
    assert set(PROTOCOLS) == set(LIMITS)


@pytest.mark.parametrize("quantity", PROTOCOLS)
@pytest.mark.parametrize(("profile", "seed"), CHIPS)
def test_estimates_agree_with_the_hidden_truth(profile, seed, quantity):
    chip, result = chip_of(profile, seed), measured(profile, seed, quantity)
    assert not consistent(result).any()
    assert result.quantity == quantity
    error = np.abs(errors(result, chip))
    median, largest = LIMITS[quantity]
    assert np.median(error) < median
    assert error.max() < largest


@pytest.mark.parametrize("quantity", PROTOCOLS)
@pytest.mark.parametrize(("profile", "seed"), CHIPS)
def test_errors_are_as_large_as_the_uncertainty_says(profile, seed, quantity):
    chip, result = chip_of(profile, seed), measured(profile, seed, quantity)
    z = (result.value - hidden(chip, quantity)) / result.uncertainty
    assert 0.6 < z.std() < 2.2
    assert abs(z.mean()) < 0.8


@pytest.mark.parametrize(("profile", "seed"), CHIPS)
def test_the_spread_over_neurons_is_the_hidden_one(profile, seed):
    for quantity in PROTOCOLS:
        result, truth = measured(profile, seed, quantity), hidden(chip_of(profile, seed), quantity)
        spread = truth.std() / (truth.mean() if result.unit in ("µs", "mV/µs") else 1.0)
        noise = LIMITS[quantity][0]  # adds in quadrature, and hardly at all where the spread is wide
        assert result.spread == pytest.approx(spread, rel=0.03, abs=noise)


def test_units_and_readings():
    """Readings are in the chip's own units: LSB of the column ADC, with the channel's offset and gain, or periods."""
    chip = chip_of("published", 11)
    truth = chip.mismatch
    units = {q: "mV" for q in POTENTIALS} | {"gain_exc": "mV/µs", "gain_inh": "mV/µs", "cadc_offset": "LSB"}
    units |= {q: "µs" for q in ("tau_mem", "tau_syn_exc", "tau_syn_inh", "refractory")} | {"cadc_gain": ""}
    for quantity, unit in units.items():
        result = measured("published", 11, quantity)
        assert result.unit == unit
        if unit == "µs":
            np.testing.assert_allclose(result.reading, result.value / 1.7)
        elif quantity in ("leak", "reset"):
            exact = hidden(chip, quantity) / (1200 / 256) * truth.cadc_gain + truth.cadc_offset_lsb
            assert np.abs(result.reading - exact).max() < 0.6
        elif quantity == "threshold":
            np.testing.assert_allclose(result.reading, result.value / (1200 / 256))
        else:
            np.testing.assert_array_equal(result.reading, result.value)


def test_times_on_the_biological_scale_are_a_thousand_times_longer():
    result = measured("published", 11, "tau_mem")
    np.testing.assert_allclose(result.biological_ms, result.value)  # µs on the chip stand for ms
    with pytest.raises(InputError) as caught:
        _ = measured("published", 11, "leak").biological_ms
    assert str(caught.value) == "leak: expected a time in µs, got mV; use value"


def test_an_unknown_quantity_lists_the_known_ones():
    with pytest.raises(InputError) as caught:
        measure(chip_of("ideal", 0), "Leak")
    assert all(name in str(caught.value) for name in LIMITS)


def test_measuring_leaves_the_chip_as_it_was():
    chip = Chip(4, "uncalibrated")
    codes, truth = chip.codes, chip.mismatch
    for quantity in ("threshold", "tau_syn_inh", "cadc_gain"):
        measure(chip, quantity)
    assert chip.codes is codes
    assert chip.mismatch is truth


@pytest.mark.parametrize("quantity", ["leak", "gain_inh"])
def test_the_seed_is_the_noise_of_the_measurement(quantity):
    """The same seed repeats it bit for bit; another is another trial, as far off as the uncertainty says."""
    again = measure(chip_of("published", 11), quantity, seed=77)
    np.testing.assert_array_equal(again.value, measured("published", 11, quantity).value)
    np.testing.assert_array_equal(again.uncertainty, measured("published", 11, quantity).uncertainty)
    other = measure(chip_of("published", 11), quantity, seed=78)
    z = (other.value - again.value) / np.hypot(other.uncertainty, again.uncertainty)
    assert 0.5 < z.std() < 2.2


@pytest.mark.needs("two cores")
@pytest.mark.parametrize("quantity", ["leak", "threshold", "tau_syn_exc"])
def test_the_number_of_threads_does_not_show(quantity):
    with threads(2):
        two = measure(chip_of("published", 11), quantity, seed=77)
    np.testing.assert_array_equal(two.value, measured("published", 11, quantity).value)


# --- what an ideal chip gives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "value", "within"),
    [
        ("leak", 375, 1.2), ("reset", 375, 1.2), ("threshold", 705, 3.5), ("tau_mem", 6, 0.03), ("refractory", 2, 0.02),
        ("tau_syn_exc", 6, 0.12), ("tau_syn_inh", 6, 0.12), ("gain_exc", 1.075, 0.01), ("gain_inh", 1.075, 0.01),
        ("cadc_offset", 0, 0.2), ("cadc_gain", 1, 0.003),
    ],
)  # fmt: skip
def test_without_any_noise_the_grid_of_the_adc_is_the_only_error(quantity, value, within):
    result = measure(chip_of("ideal", 0), quantity)
    assert not consistent(result).any()
    np.testing.assert_allclose(result.value, value, atol=within)


# --- failures have a name ---------------------------------------------------------------------------------------


def with_codes(**codes):
    return chip_of("published", 11).with_codes(**codes)


@pytest.mark.parametrize(("profile", "kind"), [("published", "inh"), ("ideal", "exc")])
def test_a_synapse_that_does_nothing_has_neither_gain_nor_time_constant(profile, kind):
    dead = np.arange(256) % 2 == 0
    chip = chip_of(profile, 11).with_codes(**{f"gain_{kind}": np.where(dead, 0, 500)})
    for quantity in (f"gain_{kind}", f"tau_syn_{kind}"):
        result = measure(chip, quantity)
        assert reasons(result) == {"its response to spikes is lost in the noise"}
        np.testing.assert_array_equal(np.isnan(result.value), dead)
        assert np.abs(errors(result, chip)[~dead]).max() < LIMITS[quantity][1]


def test_a_threshold_above_the_rail_cannot_be_measured():
    high = np.arange(256) < 40
    chip = with_codes(threshold=np.where(high, 600, 244))
    assert (hidden(chip, "threshold")[high] > 1300).all()
    result = measure(chip, "threshold")
    np.testing.assert_array_equal(consistent(result), high)
    assert all("not seen to fire twice with its leak at 245 LSB" in why for why in result.failures.values())
    assert np.abs(errors(result, chip)[~high]).max() < LIMITS["threshold"][1]
    result = measure(chip, "refractory")
    np.testing.assert_array_equal(consistent(result), high)
    assert reasons(result) == {"it fired less than four times"}


@pytest.mark.parametrize("code", [0, 1022])
@pytest.mark.parametrize("quantity", ["leak", "reset"])
def test_a_potential_beyond_the_rails_is_no_number(quantity, code):
    chip = with_codes(**{quantity: code})
    result = measure(chip, quantity)
    failed = consistent(result)
    beyond = (hidden(chip, quantity) < 0) | (hidden(chip, quantity) > 1200)
    assert beyond.any()
    assert failed[beyond].all()
    assert reasons(result) <= {"the membrane is at a supply rail", "the column ADC is at the end of its range"}
    assert np.abs(errors(result, chip)[~failed]).max(initial=0.0) < LIMITS[quantity][1]


@pytest.mark.parametrize("kind", ["exc", "inh"])
def test_a_response_beyond_the_rails_is_clipped_and_says_so(kind):
    chip = with_codes(**{f"gain_{kind}": 1022, "tau_mem": 5, f"tau_syn_{kind}": 120})
    for quantity in (f"gain_{kind}", f"tau_syn_{kind}"):
        result = measure(chip, quantity)
        failed = consistent(result)
        assert failed.mean() > 0.9
        assert "its response leaves the column ADC's range" in reasons(result)
        assert np.abs(errors(result, chip)[~failed]).max(initial=0.0) < 0.1


def test_a_time_constant_that_the_protocol_does_not_resolve_is_no_number():
    slow = np.arange(256) % 4 == 0
    chip = with_codes(tau_syn_exc=np.where(slow, 0, 300))  # milliseconds
    result = measure(chip, "tau_syn_exc")
    np.testing.assert_array_equal(consistent(result), slow)
    known = {"the fit did not converge", "its response leaves the column ADC's range"}
    assert all(why in known or why.endswith("µs is outside what this protocol resolves") for why in reasons(result))
    assert np.abs(errors(result, chip)[~slow]).max() < LIMITS["tau_syn_exc"][1]


@pytest.mark.parametrize("trim", [-128, 127])
def test_membranes_that_cannot_be_brought_into_the_range_have_no_time_constants(trim):
    """An ADC offset as large as this hides half of the range."""
    off = np.arange(256) < 100
    chip = with_codes(cadc_trim=np.where(off, trim, 0))
    result = measure(chip, "tau_mem")
    np.testing.assert_array_equal(consistent(result), off)
    assert "no code lets it relax from 60 to 180 LSB" in reasons(result)
    for quantity in ("tau_syn_exc", "gain_exc"):
        result = measure(chip, quantity)
        assert consistent(result)[off].all()
        assert any(why.startswith("no membrane time constant") for why in result.failures.values())
        assert np.abs(errors(result, chip)[~off]).max() < LIMITS[quantity][1]


def test_a_quantity_that_failed_everywhere_has_no_spread():
    assert np.isnan(measure(with_codes(gain_exc=0), "gain_exc").spread)


@pytest.mark.parametrize(("code", "tau_us"), [(0, 35), (1022, 2.2)])
def test_slow_and_fast_membranes_are_measured_too(code, tau_us):
    chip = with_codes(tau_mem=code)
    result = measure(chip, "tau_mem")
    assert not consistent(result).any()
    assert np.median(result.value) == pytest.approx(tau_us, rel=0.03)
    assert np.median(np.abs(errors(result, chip))) < 0.007
    assert np.abs(errors(result, chip)).max() < 0.04
