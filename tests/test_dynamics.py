"""The equations, held to closed forms and to a general-purpose integrator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from bss2lab import dynamics
from bss2lab.kernels import Model, Traces, reference

TIME_CONSTANTS = [(6.0, 6.0), (6.0, 6.0 + 1e-9), (6.0, 6.0 - 1e-6), (6.0, 6.001), (10.0, 5.0), (0.3, 20.0), (90.0, 0.5)]
times = st.floats(0.01, 60.0)
taus = st.floats(0.3, 80.0)


def integrated_psp(t_us, tau_mem_us, tau_syn_us):
    """Solve dV/dt = −V/τ_m + I, dI/dt = −I/τ_s from V = 0, I = 1."""
    solution = solve_ivp(
        lambda _, y: [-y[0] / tau_mem_us + y[1], -y[1] / tau_syn_us],
        (0.0, max(t_us)), [0.0, 1.0], t_eval=t_us, method="DOP853", rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    return solution.y[0]


@pytest.mark.parametrize(("tau_mem_us", "tau_syn_us"), TIME_CONSTANTS)
def test_psp_solves_the_differential_equation(tau_mem_us, tau_syn_us):
    t_us = np.linspace(0.05, 40.0, 23)
    psp = [dynamics.psp(t, tau_mem_us, tau_syn_us) for t in t_us]
    np.testing.assert_allclose(psp, integrated_psp(t_us, tau_mem_us, tau_syn_us), rtol=1e-6, atol=1e-10)


@given(times, taus)
def test_psp_with_equal_time_constants_is_an_alpha_function(t_us, tau_us):
    assert dynamics.psp(t_us, tau_us, tau_us) == pytest.approx(t_us * math.exp(-t_us / tau_us), rel=1e-13)


@given(times, taus, taus)
def test_psp_is_the_difference_of_exponentials(t_us, tau_mem_us, tau_syn_us):
    rate = 1 / tau_mem_us - 1 / tau_syn_us
    if abs(rate) * t_us > 1e-3:  # closer than that, the difference itself has lost its digits
        plain = (math.exp(-t_us / tau_syn_us) - math.exp(-t_us / tau_mem_us)) / rate
        assert dynamics.psp(t_us, tau_mem_us, tau_syn_us) == pytest.approx(plain, rel=1e-10)


@given(taus, taus)
def test_psp_dies_out_without_overflow(tau_mem_us, tau_syn_us):
    assert 0 <= dynamics.psp(1e5, tau_mem_us, tau_syn_us) < 1e-100


@given(times, taus, st.floats(-1e-6, 1e-6))
def test_psp_passes_smoothly_through_equal_time_constants(t_us, tau_us, difference):
    """To first order in δ = 1/τ_s − 1/τ_m it is t e^(−t/τ_m) (1 − δt/2)."""
    tau_syn_us = 1 / (1 / tau_us + difference)
    first_order = t_us * math.exp(-t_us / tau_us) * (1 - difference * t_us / 2)
    assert dynamics.psp(t_us, tau_us, tau_syn_us) == pytest.approx(first_order, rel=1e-8)


def propagate(state, h_us, leak, tau_mem, tau_exc, tau_inh):
    V, exc, inh = state
    mu = dynamics.decay(h_us, tau_mem)
    V = dynamics.membrane_exact(
        V, (1 - mu) * leak, mu, exc, dynamics.psp(h_us, tau_mem, tau_exc), inh, dynamics.psp(h_us, tau_mem, tau_inh)
    )
    return V, exc * dynamics.decay(h_us, tau_exc), inh * dynamics.decay(h_us, tau_inh)


@given(times, st.floats(0.05, 0.95), taus, taus, taus, st.tuples(*[st.floats(-100, 100)] * 4))
def test_two_partial_steps_of_the_propagator_are_one_step(h_us, part, tau_mem, tau_exc, tau_inh, values):
    *state, leak = values
    parameters = (leak, tau_mem, tau_exc, tau_inh)
    once = propagate(state, h_us, *parameters)
    twice = propagate(propagate(state, part * h_us, *parameters), (1 - part) * h_us, *parameters)
    np.testing.assert_allclose(twice, once, rtol=1e-9, atol=1e-8)


def test_propagator_solves_the_differential_equation_with_leak_and_two_synapses():
    leak, tau_mem, tau_exc, tau_inh = 375.0, 7.0, 4.0, 11.0
    state = (420.0, 30.0, -12.0)
    solution = solve_ivp(
        lambda _, y: [-(y[0] - leak) / tau_mem + y[1] + y[2], -y[1] / tau_exc, -y[2] / tau_inh],
        (0.0, 13.0), state, method="DOP853", rtol=1e-12, atol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(propagate(state, 13.0, leak, tau_mem, tau_exc, tau_inh), solution.y[:, -1], rtol=1e-9)


@given(st.floats(-50, 150), st.floats(0.1, 100), st.floats(-0.99, 0.99), st.floats(0.01, 0.99))
def test_threshold_crossing_lies_where_the_parabola_meets_the_threshold(before, rise, bend, part):
    """V(x) = before + (1 + bend) rise x − bend rise x², which rises all the way (a straight line for bend = 0)."""
    threshold = before + (1 + bend) * rise * part - bend * rise * part**2
    crossing = dynamics.threshold_crossing(before, before + rise, (1 - bend) * rise, threshold)
    assert crossing == pytest.approx(part, abs=1e-7)


def test_threshold_crossing_behind_the_top_of_the_membrane():
    """V(x) = 4 x (1 − x) + x has passed its top at the end of the step, and met 0.9 on the way up."""
    part = dynamics.threshold_crossing(0.0, 1.0, -3.0, 0.9)
    assert 4 * part * (1 - part) + part == pytest.approx(0.9)
    assert part < 0.5


@given(st.floats(0.3, 30), st.floats(0.3, 30), st.floats(0.001, 0.1), st.floats(0, 1))
def test_a_spike_traced_back_gives_the_psp_that_started_within_the_step(tau_mem, tau_syn, h, part):
    """Current and membrane at the end of the step, to third order in h/τ."""
    k, mu = dynamics.psp(h, tau_mem, tau_syn), dynamics.decay(h, tau_mem)
    (i1, i2), (c1, c2) = dynamics.arrival_factors(h, tau_syn, k, mu)
    current = dynamics.arrival_current(1.0, i1 + i2 * part, part)
    shift = dynamics.arrival_membrane(1.0, c1 + c2 * part, 0.0, 123.0, part)
    membrane = dynamics.membrane_exact(shift, 0.0, mu, current, k, 0.0, 0.0)
    x = h / min(tau_mem, tau_syn)
    assert membrane == pytest.approx(dynamics.psp((1 - part) * h, tau_mem, tau_syn), abs=h * x**2 / 6 + 1e-12)
    assert current * dynamics.decay(h, tau_syn) == pytest.approx(
        dynamics.decay((1 - part) * h, tau_syn), abs=x**3 / 6 + 1e-12
    )
    both = dynamics.arrival_membrane(2.0, c1 + c2 * part, -3.0, c1 + c2 * part, part)
    assert both == pytest.approx(-shift, abs=1e-15)


@pytest.mark.parametrize("tau_us", [2.0, 6.0, 25.0])
def test_model_answers_a_spike_with_m_plus_1_times_a_to_the_m(tau_us):
    """With α = μ = a, a spike of weight w in bin 0 leaves V[m] = w (m + 1) a^m."""
    model = Model.from_time_constants(tau_mem_us=tau_us, tau_syn_us=tau_us, dt_us=1.7, beta=50.0)
    a = math.exp(-1.7 / tau_us)
    spikes = torch.zeros(1, 30, 1, dtype=torch.float64)
    spikes[0, 4] = 1
    traces = reference.integrate(
        torch.full((1, 1), 0.02, dtype=torch.float64), torch.zeros(1, 1).double(), spikes, model
    )
    m = np.arange(26)
    np.testing.assert_array_equal(traces.v_hidden[0, :4, 0], 0)
    np.testing.assert_allclose(traces.v_hidden[0, 4:, 0], 0.02 * (m + 1) * a**m, rtol=1e-12)


def test_model_answers_with_the_difference_of_powers_for_unequal_decays():
    """For α ≠ μ, V[m] = w (α^(m+1) − μ^(m+1)) / (α − μ)."""
    model = Model(alpha=0.8, mu=0.6, beta=50.0)
    spikes = torch.zeros(1, 20, 1, dtype=torch.float64)
    spikes[0, 0] = 1
    traces = reference.integrate(
        torch.full((1, 1), 0.1, dtype=torch.float64), torch.zeros(1, 1).double(), spikes, model
    )
    m = np.arange(20)
    np.testing.assert_allclose(traces.v_hidden[0, :, 0], 0.1 * (0.8 ** (m + 1) - 0.6 ** (m + 1)) / 0.2, rtol=1e-12)


def test_decays_belong_to_their_time_constants():
    model = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=3.0, dt_us=1.7, beta=50.0)
    assert model == (pytest.approx(math.exp(-1.7 / 3)), pytest.approx(math.exp(-1.7 / 6)), 50.0)


def test_a_spike_resets_the_membrane_by_one_in_the_step_after():
    model = Model(alpha=0.5, mu=0.5, beta=50.0)
    spikes = torch.zeros(1, 3, 1, dtype=torch.float64)
    spikes[0, 0] = 1
    traces = reference.integrate(
        torch.full((1, 1), 1.5, dtype=torch.float64), torch.full((1, 1), 0.3).double(), spikes, model
    )
    # I = 1.5, 0.75, 0.375; V = 1.5 (spike), 0.5·1.5 + 0.75 − 1 = 0.5, 0.5·0.5 + 0.375 = 0.625
    np.testing.assert_allclose(traces.v_hidden[0, :, 0], [1.5, 0.5, 0.625])
    np.testing.assert_array_equal(traces.s_hidden[0, :, 0], [1, 0, 0])
    np.testing.assert_allclose(traces.v_output[0, :, 0], [0, 0.3, 0.5 * 0.3 + 0.5 * 0.3], rtol=1e-6)


def test_a_dropped_neuron_neither_fires_nor_resets():
    model = Model(alpha=0.5, mu=0.5, beta=50.0)
    spikes = torch.zeros(1, 3, 1, dtype=torch.float64)
    spikes[0, 0] = 1
    w = torch.full((1, 2), 1.5, dtype=torch.float64)
    traces = reference.integrate(w, torch.ones(2, 1).double(), spikes, model, alive=torch.tensor([1.0, 0.0]).double())
    np.testing.assert_allclose(traces.v_hidden[0, :, 1], [1.5, 1.5, 1.125])
    assert traces.s_hidden[0].sum(0).tolist() == [1, 0]


def small_network(seed, amplitude):
    rng = np.random.default_rng(seed)
    w_hidden = torch.tensor(rng.uniform(0, amplitude, (4, 3)), requires_grad=True)
    w_output = torch.tensor(rng.normal(0, 0.5, (3, 2)), requires_grad=True)
    spikes = torch.tensor((rng.random((2, 7, 4)) < 0.3).astype(float))
    return w_hidden, w_output, spikes, rng


def test_gradient_below_threshold_is_the_finite_difference():
    """Below threshold nothing jumps, so that the model's membranes are a smooth function of the weights."""
    w_hidden, w_output, spikes, _ = small_network(0, 0.02)
    model = Model(alpha=0.75, mu=0.7, beta=50.0)

    def membranes(wh):
        traces = reference.integrate(wh, w_output.detach(), spikes, model)
        assert traces.v_hidden.max() < 1
        return traces.v_hidden

    assert membranes(w_hidden).max() > 0.05
    assert torch.autograd.gradcheck(membranes, (w_hidden,))


def test_output_gradient_with_injected_spikes_is_the_finite_difference():
    """Given the hidden spikes, output membranes are linear in the output weights."""
    w_hidden, w_output, spikes, rng = small_network(1, 0.02)
    model = Model(alpha=0.75, mu=0.7, beta=50.0)
    fired = torch.tensor((rng.random((2, 7, 3)) < 0.4).astype(float))

    def outputs(wo):
        free = reference.integrate(w_hidden.detach(), wo, spikes, model)
        # a recording that is the model's own: inject() keeps its derivative
        traces = reference.integrate(
            w_hidden.detach(), wo, spikes, model,
            recorded=Traces(free.v_hidden.detach(), fired, outputs_for(wo.detach(), fired, model)),
        )  # fmt: skip
        return traces.v_output

    assert torch.autograd.gradcheck(outputs, (w_output,))


def outputs_for(w_output, fired, model):
    """Output membranes by convolution with the model's impulse response."""
    n_steps = fired.shape[1]
    m = np.arange(n_steps)
    response = (model.alpha ** (m + 1) - model.mu ** (m + 1)) / (model.alpha - model.mu)
    drive = fired.numpy() @ w_output.numpy()
    out = np.zeros((fired.shape[0], n_steps, w_output.shape[1]))
    for t in range(n_steps):
        for s in range(t):
            out[:, t] += response[t - 1 - s] * drive[:, s]
    return torch.tensor(out)


def test_outputs_are_the_convolution_of_hidden_spikes_with_the_impulse_response():
    w_hidden, w_output, spikes, _ = small_network(2, 1.5)
    model = Model(alpha=0.75, mu=0.7, beta=50.0)
    traces = reference.integrate(w_hidden.detach(), w_output.detach(), spikes, model)
    assert 3 < traces.s_hidden.sum() < 40
    np.testing.assert_allclose(traces.v_output, outputs_for(w_output.detach(), traces.s_hidden, model), atol=1e-12)


@pytest.mark.parametrize("injected", [False, True])
def test_adjoint_equations_give_the_gradient_of_autograd(injected):
    """λ_V, λ_I by the formulas of ``dynamics``, written out for one sample, against back-propagation."""
    w_hidden, w_output, spikes, rng = small_network(3, 1.5)
    spikes = spikes[:1]
    model = Model(alpha=0.75, mu=0.7, beta=20.0)
    shapes = (1, 7, 3), (1, 7, 2)
    recorded = None
    if injected:
        fired = torch.tensor((rng.random(shapes[0]) < 0.4).astype(float))
        recorded = Traces(
            torch.tensor(rng.normal(0.5, 0.5, shapes[0])), fired, torch.tensor(rng.normal(0, 1, shapes[1]))
        )
    traces = reference.integrate(w_hidden, w_output, spikes, model, recorded=recorded)
    grad_s, grad_v = torch.tensor(rng.normal(size=shapes[0])), torch.tensor(rng.normal(size=shapes[1]))
    ((traces.s_hidden * grad_s).sum() + (traces.v_output * grad_v).sum()).backward()

    V, S = traces.v_hidden[0].detach().numpy(), traces.s_hidden[0].detach().numpy()
    slope = 1 / (20.0 * np.abs(V - 1) + 1) ** 2
    wo = w_output.detach().numpy()
    v_out = i_out = np.zeros(2)
    v_hid = i_hid = np.zeros(3)
    want_hidden, want_output = np.zeros((4, 3)), np.zeros((3, 2))
    for t in reversed(range(7)):
        lambda_s = grad_s[0, t].numpy() + wo @ i_out  # i_out is still that of step t + 1
        if t + 1 < 7:
            want_output += np.outer(S[t], i_out)
        v_out = dynamics.membrane_adjoint(v_out, model.mu, grad_v[0, t].numpy(), 1.0)
        i_out = dynamics.current_adjoint(i_out, model.alpha, v_out)
        v_hid = dynamics.membrane_adjoint(v_hid, model.mu, lambda_s, slope[t])
        i_hid = dynamics.current_adjoint(i_hid, model.alpha, v_hid)
        want_hidden += np.outer(spikes[0, t].numpy(), i_hid)
    np.testing.assert_allclose(w_hidden.grad, want_hidden, rtol=1e-10)
    np.testing.assert_allclose(w_output.grad, want_output, rtol=1e-10)
