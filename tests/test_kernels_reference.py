"""The reference kernel, the injection, and what the common entry refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bss2lab.errors import InputError
from bss2lab.kernels import Model, Traces, inject, integrate, reference
from bss2lab.surrogate import superspike_derivative
from bss2lab.types import Spikes

MODEL = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=6.0, dt_us=1.7, beta=50.0)
floats = hnp.arrays(np.float32, 6, elements=st.floats(width=32, allow_nan=False))


@given(floats, floats, hnp.arrays(np.float32, 6, elements=st.floats(-100, 100, width=32)))
def test_injection_takes_value_from_the_recording_and_derivative_from_the_model(model, recorded, upstream):
    model, recorded = torch.tensor(model, requires_grad=True), torch.tensor(recorded, requires_grad=True)
    injected = inject(model, recorded)
    assert injected.detach().numpy().tobytes() == recorded.detach().numpy().tobytes()
    injected.backward(torch.tensor(upstream))
    np.testing.assert_array_equal(model.grad, upstream)
    assert recorded.grad is None


@given(st.integers(0, 2**32 - 1))
def test_equal_recorded_samples_share_the_gradient_of_their_maximum(seed):
    """``model + (recorded − model).detach()`` fails this: its rounding makes equal samples unequal."""
    rng = np.random.default_rng(seed)
    recorded = torch.tensor(rng.integers(0, 4, (3, 20)).astype(np.float32) * np.float32(4.6875 / 330))
    model = torch.tensor(rng.normal(0, 1, (3, 20)).astype(np.float32), requires_grad=True)
    inject(model, recorded).amax(dim=1).sum().backward()
    highest = recorded == recorded.amax(dim=1, keepdim=True)
    torch.testing.assert_close(model.grad, highest / highest.sum(dim=1, keepdim=True))


def test_injected_voltages_set_the_surrogate_derivative():
    """dW of one input spike, one hidden neuron, loss Σ_t S: Σ_t (m + 1) a^m-like sums of ∂S/∂V at recorded V."""
    n_steps = 6
    spikes = torch.zeros(1, n_steps, 1, dtype=torch.float64)
    spikes[0, 1] = 1
    recorded_v = torch.linspace(0.7, 1.2, n_steps, dtype=torch.float64).reshape(1, n_steps, 1)
    zeros = torch.zeros_like(recorded_v)
    w = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    traces = reference.integrate(
        w, torch.zeros(1, 1).double(), spikes, MODEL, recorded=Traces(recorded_v, zeros, zeros)
    )
    traces.s_hidden.sum().backward()
    m = np.arange(n_steps - 1)
    dV_dw = (m + 1) * MODEL.mu**m
    slope = superspike_derivative(recorded_v[0, 1:, 0].numpy(), 50.0)
    assert w.grad.item() == pytest.approx((dV_dw * slope).sum(), rel=1e-12)


def test_traces_with_a_recording_are_the_recording():
    rng = np.random.default_rng(0)
    shapes = (2, 5, 3), (2, 5, 3), (2, 5, 4)
    recorded = Traces(*(torch.tensor(rng.normal(size=s).astype(np.float32)) for s in shapes))
    spikes = torch.tensor((rng.random((2, 5, 6)) < 0.3).astype(np.float32))
    traces = reference.integrate(torch.randn(6, 3), torch.randn(3, 4), spikes, MODEL, recorded=recorded)
    for got, want in zip(traces, recorded, strict=True):
        assert torch.equal(got, want)


def test_samples_do_not_meet():
    rng = np.random.default_rng(0)
    w_hidden, w_output = torch.tensor(rng.normal(0.1, 0.3, (9, 7))), torch.tensor(rng.normal(0, 1, (7, 3)))
    spikes = torch.tensor((rng.random((6, 20, 9)) < 0.2).astype(float))
    together = reference.integrate(w_hidden, w_output, spikes, MODEL)
    assert together.s_hidden.sum() > 10
    for b in range(6):
        alone = reference.integrate(w_hidden, w_output, spikes[b : b + 1], MODEL)
        for whole, part in zip(together, alone, strict=True):
            np.testing.assert_allclose(whole[b : b + 1], part, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", ["auto", "compiled", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_traces_have_the_dtype_of_the_weights(kernel, dtype):
    spikes = Spikes.from_events([([0.1, 0.2], [0, 1])], n_units=2, duration_us=5.1)
    traces = integrate(
        torch.ones(2, 3, dtype=dtype), torch.ones(3, 4, dtype=dtype), spikes, dt_us=1.7, model=MODEL, kernel=kernel
    )
    assert {x.dtype for x in traces} == {dtype}
    assert [tuple(x.shape) for x in traces] == [(1, 3, 3), (1, 3, 3), (1, 3, 4)]
    assert traces.s_hidden.sum() > 0


def attempt(w_hidden=None, w_output=None, recorded=None, kernel="auto", alive=None, dt_us=1.7):
    spikes = Spikes.from_events([([0.1], [0]), ([], [])], n_units=4, duration_us=34.0)
    w_hidden = torch.zeros(4, 3) if w_hidden is None else w_hidden
    w_output = torch.zeros(3, 2) if w_output is None else w_output
    integrate(w_hidden, w_output, spikes, dt_us=dt_us, model=MODEL, recorded=recorded, kernel=kernel, alive=alive)


def traces_of_shape(batch, steps=20, hidden=3, outputs=2):
    return Traces(
        torch.zeros(batch, steps, hidden), torch.zeros(batch, steps, hidden), torch.zeros(batch, steps, outputs)
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"w_hidden": torch.zeros(3, 4)}, ["w_hidden: expected [4 inputs, hidden]", "[3, 4]", "transposed?"]),
        ({"w_output": torch.zeros(2, 3)}, ["w_output: expected [3 hidden, outputs]", "[2, 3]", "transposed?"]),
        ({"w_hidden": torch.zeros(4)}, ["w_hidden: expected [4 inputs, hidden]", "[4]"]),
        ({"w_hidden": torch.zeros(4, 3).double()}, ["one floating dtype", "torch.float64 and torch.float32"]),
        (
            {"w_hidden": torch.zeros(4, 3).int(), "w_output": torch.zeros(3, 2).int()},
            ["one floating dtype", "torch.int32", ".to(torch.float32)"],
        ),
        ({"w_hidden": torch.full((4, 3), float("nan"))}, ["w_hidden: expected finite", "12 NaN or infinite", "rate"]),
        ({"w_output": torch.full((3, 2), float("inf"))}, ["w_output: expected finite", "6 NaN or infinite"]),
        ({"recorded": traces_of_shape(3)}, ["recorded", "[2, 20, 3]", "got [3, 20, 3]", "record this very batch"]),
        ({"recorded": traces_of_shape(2, steps=1)}, ["recorded", "[2, 20, 3]", "got [2, 1, 3]"]),
        ({"recorded": traces_of_shape(2, hidden=1)}, ["recorded", "[2, 20, 3]", "got [2, 20, 1]"]),
        ({"recorded": traces_of_shape(2, outputs=1)}, ["recorded", "[2, 20, 2]", "got [2, 20, 1]"]),
        ({"alive": torch.ones(1)}, ["alive: expected [3]", "got [1]", "one per hidden neuron"]),
        ({"dt_us": 0.0}, ["dt_us: expected a step above 0", "34 µs", "got 0 µs"]),
        ({"dt_us": float("nan")}, ["dt_us: expected a step above 0", "got nan"]),
        ({"kernel": "cuda"}, ["kernel: expected 'auto', 'compiled' or 'reference'", "got 'cuda'", "'auto'"]),
        (
            {"w_hidden": torch.zeros(4, 3).half(), "w_output": torch.zeros(3, 2).half(), "kernel": "compiled"},
            ["float32 or float64 on the CPU", "torch.float16 on cpu", "reference kernel"],
        ),
    ],
)
def test_what_does_not_fit_is_refused(bad, words):
    attempt()
    with pytest.raises(InputError) as caught:
        attempt(**bad)
    for word in words:
        assert word in str(caught.value)
