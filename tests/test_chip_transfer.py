"""From codes to physics: the equations restated, their inverses, and the spreads of a population at equal codes."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bss2lab.chip import PROFILES, Chip, Codes
from bss2lab.chip.mismatch import FIELDS, draw
from bss2lab.chip.transfer import (
    CODE_MAX,
    GAINS,
    PARAMETERS,
    POTENTIALS,
    TIME_CONSTANTS,
    Transfer,
    ordinate,
    physical,
    respond,
)
from bss2lab.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)
PARAMETER = st.sampled_from(PARAMETERS)
CODE = st.integers(0, CODE_MAX)
ALL_CODES = np.arange(CODE_MAX + 1)

# nominal code, and slope (mV per code) or exponent, of the average circuit
AVERAGE = {
    "tau_mem": (80, 0.4),
    "tau_syn_exc": (300, 1.4),
    "tau_syn_inh": (300, 1.4),
    "gain_exc": (500, 1.0),
    "gain_inh": (500, 1.0),
    "leak": (200, 1.87),
    "reset": (213, 1.76),
    "threshold": (244, 2.88),
}


def written_out(parameter, nominal, factor, code):
    """The equations at the head of ``transfer``, with this chip's numbers."""
    c0, m = AVERAGE[parameter]
    if parameter in ("leak", "reset", "threshold"):
        return nominal + m * factor * (code - c0)
    ratio = ((c0 + 1.0) / (code + 1.0)) ** (m * factor)
    return nominal * ratio if parameter.startswith("tau") else nominal / ratio


@functools.cache
def wide(seed):
    return draw(PROFILES["uncalibrated"], seed)


def test_parameters_are_sorted_into_kinds():
    assert set(AVERAGE) == set(PARAMETERS) == set(FIELDS)
    assert {*TIME_CONSTANTS, *GAINS, *POTENTIALS} == set(PARAMETERS)
    assert len(PARAMETERS) == 8
    for parameter, (code, _) in AVERAGE.items():
        assert Transfer().nominal_code(parameter) == code


# --- the equations ----------------------------------------------------------------------------------------------


@given(SEEDS, PARAMETER, st.lists(CODE, min_size=256, max_size=256))
@settings(max_examples=40)
def test_circuits_follow_the_equations(seed, parameter, codes):
    circuits, codes = draw(PROFILES["uncalibrated"], seed), np.array(codes)
    truth = circuits.at(Codes.equal(Transfer()).replace(**{parameter: codes}))
    nominal = getattr(circuits.nominal, FIELDS[parameter])
    expected = written_out(parameter, nominal, circuits.slope[parameter], codes)
    np.testing.assert_allclose(getattr(truth, FIELDS[parameter]), expected, rtol=1e-11)


@given(PARAMETER, st.floats(0.5, 3000), st.floats(0.5, 2.0), CODE)
def test_any_circuit_follows_the_equations(parameter, nominal, factor, code):
    found = respond(Transfer(), parameter, np.array([nominal]), np.array([factor]), np.array([code]))
    np.testing.assert_allclose(found, [written_out(parameter, nominal, factor, code)], rtol=1e-11, atol=1e-9)


def test_a_code_acts_on_its_own_parameter_alone():
    circuits = wide(3)
    fields = [name for name in type(circuits.nominal).__dataclass_fields__ if name != "cadc_offset_lsb"]
    for parameter in PARAMETERS:
        truth = circuits.at(Codes.equal(Transfer()).replace(**{parameter: 333}))
        changed = {f for f in fields if not np.array_equal(getattr(truth, f), getattr(circuits.nominal, f))}
        assert changed == {FIELDS[parameter]}


@pytest.mark.parametrize("gain", GAINS)
def test_a_gain_code_scales_all_synapses_of_its_neuron(gain):
    circuits, codes = wide(2), np.arange(256) * 4
    truth = circuits.at(Codes.equal(Transfer()).replace(**{gain: codes}))
    ratio = getattr(truth, gain) / getattr(circuits.nominal, gain)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), rtol=1e-12)
    np.testing.assert_allclose(ratio[0], ((codes + 1) / 501) ** circuits.slope[gain], rtol=1e-12)


def test_the_trim_adds_to_the_adc_offset():
    circuits, trim = wide(2), np.arange(-128, 128)
    truth = circuits.at(Codes.equal(Transfer()).replace(cadc_trim=trim))
    np.testing.assert_allclose(truth.cadc_offset_lsb - circuits.nominal.cadc_offset_lsb, trim, atol=1e-12)


# --- every code -------------------------------------------------------------------------------------------------


@given(SEEDS)
@settings(max_examples=15)
def test_every_code_of_every_circuit_gives_another_finite_value(seed):
    """Strictly monotonic: a larger code is faster, stronger or higher."""
    circuits = draw(PROFILES["uncalibrated"], seed)
    for parameter in PARAMETERS:
        nominal = np.ones(256) if parameter in GAINS else getattr(circuits.nominal, FIELDS[parameter])
        values = respond(
            Transfer(), parameter, nominal[:, None], circuits.slope[parameter][:, None], ALL_CODES[None, :]
        )
        assert values.shape == (256, 1023)
        assert np.isfinite(values).all()
        step = np.diff(values, axis=1)
        assert (step < 0 if parameter in TIME_CONSTANTS else step > 0).all(), parameter
        assert parameter in POTENTIALS or values.min() > 0


@given(
    PARAMETER,
    st.builds(
        lambda code, exponent, mv, floor: {
            **{f"{p}_code": code for p in ("tau_mem", "tau_syn", "gain", "leak", "reset", "threshold")},
            **{f"{p}_exponent": exponent for p in ("tau_mem", "tau_syn", "gain")},
            **{f"{p}_mv_per_code": mv for p in POTENTIALS},
            "bias_floor": floor,
        },
        st.integers(1, CODE_MAX), st.floats(0.05, 4), st.floats(0.01, 20), st.floats(0.01, 100),
    ),
)  # fmt: skip
def test_any_other_average_circuit_is_monotonic_too(parameter, numbers):
    transfer = Transfer(**numbers)
    values = respond(transfer, parameter, np.float64(6.0), np.float64(1.1), ALL_CODES)
    assert np.isfinite(values).all()
    step = np.diff(values)
    assert (step < 0 if parameter in TIME_CONSTANTS else step > 0).all()
    assert values[transfer.nominal_code(parameter)] == 6.0


def test_codes_reach_from_a_third_to_three_times_the_nominal_time_constant():
    """The range that figure 4 needs."""
    for parameter in TIME_CONSTANTS:
        ends = respond(Transfer(), parameter, np.float64(6.0), np.float64(1.0), np.array([0, CODE_MAX]))
        assert ends[0] > 18
        assert ends[1] < 6 / 2.7


# --- coordinates ------------------------------------------------------------------------------------------------


@given(PARAMETER, st.floats(0, CODE_MAX))
def test_code_is_the_inverse_of_the_abscissa(parameter, code):
    transfer = Transfer()
    assert transfer.code(parameter, transfer.abscissa(parameter, code)) == pytest.approx(code, abs=1e-9)


@given(PARAMETER, st.floats(1e-3, 1e6))
def test_physical_is_the_inverse_of_the_ordinate(parameter, value):
    assert physical(parameter, ordinate(parameter, value)) == pytest.approx(value, rel=1e-12)


@given(PARAMETER, st.floats(0.5, 2.0), st.floats(1, 1000), CODE, CODE)
def test_the_transfer_is_a_straight_line_in_these_coordinates(parameter, factor, nominal, one, other):
    transfer = Transfer()
    codes = np.array([one, other])
    y = ordinate(parameter, respond(transfer, parameter, np.float64(nominal), np.float64(factor), codes))
    x = transfer.abscissa(parameter, codes)
    _, m = AVERAGE[parameter]
    slope = {"t": -m, "g": m}.get(parameter[0], m) if parameter not in POTENTIALS else m
    assert transfer.slope(parameter) == slope
    assert y[1] - y[0] == pytest.approx(slope * factor * (x[1] - x[0]), abs=1e-9)


@pytest.mark.parametrize("parameter", [*TIME_CONSTANTS, *GAINS])
def test_a_coordinate_far_away_does_not_overflow(parameter):
    assert np.isfinite(Transfer().code(parameter, np.array([1e4, -1e4]))).all()


@pytest.mark.parametrize("parameter", TIME_CONSTANTS)
def test_the_text_says_how_far_the_codes_of_time_constants_reach(parameter):
    """In the average circuit: at the largest code, and at the smallest."""
    field = "tau_mem_code" if parameter == "tau_mem" else "tau_syn_code"
    one = np.ones(1)
    (low,), (high,) = (respond(Transfer(), parameter, one, one, np.array([code])) for code in (CODE_MAX, 0))
    text = (
        f"from {low:.2f} to {high:.1f} times" if high < 10 else f"from {low:.2f} times the nominal value to far beyond"
    )
    assert text in Transfer.provenance()[field]["why"]


@pytest.mark.parametrize("floor", [0.0, 0.009, -1.0, 100.1, float("nan")])
def test_a_floor_of_the_bias_that_cannot_be_is_refused(floor):
    """Without one, a time constant at code 0 would be infinite."""
    with pytest.raises(InputError, match=r"bias_floor: expected .* got"):
        Transfer(bias_floor=floor)


@pytest.mark.parametrize("parameter", [*TIME_CONSTANTS, *GAINS])
def test_the_smallest_floor_keeps_every_circuit_finite_and_above_zero(parameter):
    found = respond(Transfer(bias_floor=0.01), parameter, np.full(1, 6.0), np.full(1, 1.3), np.array([0]))
    assert 0 < found[0] < 1e12


# --- a population at equal codes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_nominal_codes_give_the_nominal_values_bit_for_bit(name):
    circuits = draw(PROFILES[name], 12)
    truth = circuits.at(Codes.equal(circuits.profile.transfer))
    for field in type(truth).__dataclass_fields__:
        np.testing.assert_array_equal(getattr(truth, field), getattr(circuits.nominal, field), err_msg=field)


def pooled(values, n_chips=20):
    return np.concatenate([values(Chip(seed, "uncalibrated").mismatch) for seed in range(n_chips)])


@pytest.mark.parametrize(("field", "percent"), [("tau_mem_us", 10), ("tau_syn_exc_us", 35), ("tau_syn_inh_us", 35)])
def test_equal_codes_spread_time_constants_as_published(field, percent):
    values = pooled(lambda truth: getattr(truth, field))
    cv = np.sqrt(np.expm1(np.log(values).var()))  # of a log-normal distribution
    assert 100 * cv == pytest.approx(percent, rel=3 / np.sqrt(2 * values.size))
    assert values.mean() == pytest.approx(6.0, rel=3 * percent / 100 / np.sqrt(values.size))


@pytest.mark.parametrize(("field", "sd_mv"), [("leak_mv", 73), ("threshold_mv", 49), ("reset_mv", 50)])
def test_equal_codes_spread_potentials_as_published(field, sd_mv):
    values = pooled(lambda truth: getattr(truth, field))
    assert values.std() == pytest.approx(sd_mv, rel=3 / np.sqrt(2 * values.size))


def test_equal_codes_spread_the_distance_from_leak_to_threshold_as_published():
    values = pooled(lambda truth: truth.threshold_mv - truth.leak_mv)
    assert values.std() / values.mean() == pytest.approx(0.25, rel=0.04)
    assert values.mean() == pytest.approx(328, abs=4)


def shipped(parameter):
    return np.concatenate([getattr(Chip(seed).codes, parameter) for seed in range(10)]).astype(float)


@pytest.mark.parametrize("parameter", TIME_CONSTANTS)
def test_codes_of_calibrated_time_constants_scatter_as_in_the_authors_file(parameter):
    codes = shipped(parameter)
    assert codes.std() / codes.mean() == pytest.approx(0.25, abs=0.015)
    assert codes.mean() == pytest.approx(AVERAGE[parameter][0], rel=0.05)


@pytest.mark.parametrize(("parameter", "scatter"), [("leak", 39), ("threshold", 17)])
def test_codes_of_calibrated_potentials_scatter_as_in_the_authors_file(parameter, scatter):
    codes = shipped(parameter)
    assert codes.std() == pytest.approx(scatter, rel=0.06)
    assert codes.mean() == pytest.approx(AVERAGE[parameter][0], abs=3)


def test_calibrated_chips_leave_their_gains_alone_and_trim_their_adc():
    for gain in GAINS:
        np.testing.assert_array_equal(shipped(gain), 500)
    assert shipped("cadc_trim").std() == pytest.approx(10, rel=0.06)
