"""The batched fit against scipy's, neuron by neuron; its uncertainties; data that say nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from bss2lab.chip.fits import fit

T = np.arange(0.0, 60.0, 1.7)


def exponential(t, level, drop, log_tau):
    return 100 * (level - drop * np.exp(-t / np.exp(log_tau)))


def psp(t, level, height, log_tau):
    """Difference of exponentials with a membrane of 6 µs, from 5 µs on."""
    tau, x = np.exp(log_tau), np.maximum(t - 5.0, 0.0)
    return 100 * (level + height * tau / (6.0 - tau) * (np.exp(-x / 6.0) - np.exp(-x / tau)))


def batched(curve, t=T):
    return lambda p: curve(t, p[:, 0], p[:, 1], p[:, 2])


CURVES = {
    "exponential": (exponential, (1.8, 1.2, np.log(6.0)), (1.7, 1.0, np.log(3.0))),
    "psp": (psp, (0.7, 0.5, np.log(4.0)), (0.65, 0.3, np.log(2.5))),
}


def noisy(name, n, noise, seed):
    """Data of n unlike neurons, and what they were made from."""
    curve, typical, start = CURVES[name]
    rng = np.random.default_rng(seed)
    true = np.array(typical) + rng.normal(0, 0.12, (n, 3))
    data = np.stack([curve(T, *p) for p in true]) + rng.normal(0, noise, (n, len(T)))
    return curve, true, data, np.tile(start, (n, 1))


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0])
def test_the_answers_are_those_of_scipy(name, noise):
    """Parameters, their uncertainties and the residual, each within a hundredth of the uncertainty."""
    curve, _, data, start = noisy(name, 25, noise, seed=1)
    found = fit(batched(curve), data, start)
    assert found.converged.all()
    for k, (row, guess) in enumerate(zip(data, start, strict=True)):
        best, covariance = curve_fit(curve, T, row, p0=guess)
        sd = np.sqrt(np.diag(covariance))
        assert np.abs((found.parameters[k] - best) / sd).max() < 0.01
        np.testing.assert_allclose(found.uncertainty[k], sd, rtol=0.01)
        assert found.residual[k] == pytest.approx(np.sqrt(np.mean((row - curve(T, *best)) ** 2)), rel=1e-4)


@pytest.mark.parametrize("name", CURVES)
def test_errors_are_as_large_as_the_uncertainty_says_and_without_bias(name):
    curve, true, data, start = noisy(name, 3000, 0.5, seed=2)
    found = fit(batched(curve), data, start)
    assert found.converged.all()
    z = (found.parameters - true) / found.uncertainty
    np.testing.assert_allclose(z.std(axis=0), 1.03, atol=0.07)  # Student's t of 33 degrees of freedom: 1.03
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=4 / np.sqrt(3000) + 0.03)
    np.testing.assert_allclose((np.abs(z) < 1).mean(axis=0), 0.675, atol=0.035)
    assert np.sqrt(np.mean(found.residual**2)) == pytest.approx(0.5 * np.sqrt(1 - 3 / len(T)), rel=0.02)


@given(st.floats(0.3, 2.2), st.floats(-1.5, 1.5), st.floats(np.log(1.0), np.log(30.0)), st.floats(-0.6, 0.6))
@settings(max_examples=50)
def test_exact_data_give_the_exact_parameters(level, drop, log_tau, off):
    """From a start that is up to a factor of two away."""
    drop = drop + np.copysign(0.2, drop)
    true = np.array([[level, drop, log_tau]])
    found = fit(batched(exponential), exponential(T, *true[0])[None], true + np.array([[0.1, 0.1, off]]))
    assert found.converged.all()
    np.testing.assert_allclose(found.parameters, true, atol=1e-5)
    assert found.residual[0] < 1e-4


def test_neurons_do_not_see_each_other():
    curve, _, data, start = noisy("exponential", 6, 0.5, seed=3)
    data[2], data[4] = np.nan, 1e9
    together = fit(batched(curve), data, start)
    for k in (0, 1, 3, 5):
        alone = fit(batched(curve), data[k : k + 1], start[k : k + 1])
        sd = alone.uncertainty[0]
        assert np.abs((together.parameters[k] - alone.parameters[0]) / sd).max() < 1e-3


def test_the_data_and_the_start_stay_as_they_were():
    curve, _, data, start = noisy("psp", 3, 0.5, seed=4)
    before = data.copy(), start.copy()
    fit(batched(curve), data, start)
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(start, before[1])


# --- data that say nothing: no warning (warnings are errors here), no silent NaN --------------------------------


@pytest.mark.parametrize("value", [0.0, 80.0, 255.0])
def test_a_flat_line_leaves_the_time_constant_open(value):
    data = np.full((4, len(T)), value)
    found = fit(batched(exponential), data, np.tile([value / 100, 0.3, np.log(6.0)], (4, 1)))
    assert np.isfinite(found.parameters).all()
    np.testing.assert_allclose(found.parameters[:, 0], value / 100, atol=1e-3)
    assert not np.isnan(found.uncertainty).any()
    np.testing.assert_allclose(found.residual, 0.0, atol=0.1)


def test_a_parameter_without_effect_has_an_infinite_uncertainty():
    data = np.random.default_rng(0).normal(50.0, 1.0, (5, len(T)))
    found = fit(lambda p: p[:, 0] + 0 * p[:, 1] * T, data, np.ones((5, 2)))
    np.testing.assert_allclose(found.parameters[:, 0], data.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.uncertainty[:, 0], data.std(axis=1, ddof=2) / np.sqrt(len(T)), rtol=1e-3)
    assert np.isposinf(found.uncertainty[:, 1]).all()


def test_two_parameters_that_do_the_same_have_a_huge_uncertainty():
    data = np.random.default_rng(0).normal(50.0, 1.0, (5, len(T)))
    found = fit(lambda p: p[:, 0] + p[:, 1] + 0 * T, data, np.ones((5, 2)))
    np.testing.assert_allclose(found.parameters.sum(axis=1), data.mean(axis=1), atol=1e-6)
    assert (found.uncertainty > 1e3).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite_never_converge(bad):
    curve, _, data, start = noisy("exponential", 3, 0.5, seed=5)
    data[1, 7] = bad
    found = fit(batched(curve), data, start)
    assert found.converged.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.parameters[1], start[1])
    assert np.isposinf(found.uncertainty[1]).all()
    assert np.isfinite(found.uncertainty[[0, 2]]).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_pure_noise_is_no_reason_to_warn(seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 10.0 ** rng.uniform(-3, 4), (8, len(T)))
    found = fit(batched(exponential), data, np.tile([0.0, 1.0, np.log(6.0)], (8, 1)))
    assert np.isfinite(found.parameters).all()
    assert not np.isnan(found.uncertainty).any()
    assert np.isfinite(found.residual).all()
    assert (found.residual <= 1.001 * np.sqrt(np.mean((data - exponential(T, 0.0, 1.0, np.log(6.0))) ** 2, 1))).all()


def test_too_few_steps_are_not_called_converged():
    curve, _, data, start = noisy("exponential", 5, 0.5, seed=6)
    assert not fit(batched(curve), data, start, iterations=2).converged.any()
    assert fit(batched(curve), data, start).converged.all()


def test_as_many_data_as_parameters_are_enough():
    t = np.array([0.0, 4.0, 20.0])
    data = exponential(t, 1.8, 1.2, np.log(6.0))[None]
    found = fit(batched(exponential, t), data, np.array([[1.7, 1.0, np.log(3.0)]]))
    np.testing.assert_allclose(found.parameters, [[1.8, 1.2, np.log(6.0)]], atol=1e-5)
    assert np.isfinite(found.uncertainty).all()
