"""The spike function: a strict step forward, the stated derivative backward."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.errors import InputError
from bss2lab.surrogate import (
    COMPILED,
    ArcTan,
    Boxcar,
    Gaussian,
    Sigmoid,
    SuperSpike,
    Triangle,
    superspike_derivative,
)  # fmt: skip

membranes = st.floats(-1e3, 1e3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fires_strictly_above_one(dtype):
    one = np.float32(1) if dtype is torch.float32 else np.float64(1)
    values = [np.nextafter(one, one * 0), one, np.nextafter(one, one * 2), -5.0, 0.0, 1e6]
    V = torch.tensor(np.array(values, dtype=one.dtype))
    S = SuperSpike()(V)
    assert S.tolist() == [0, 0, 1, 0, 0, 1]
    assert S.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(V=membranes, beta=st.floats(1e-3, 1e3), upstream=st.floats(-100, 100))
def test_derivative_is_the_stated_formula(dtype, V, beta, upstream):
    V = torch.tensor([V], dtype=dtype, requires_grad=True)
    SuperSpike(beta)(V).backward(torch.tensor([upstream], dtype=dtype))
    stated = upstream * (beta * abs(float(V.detach()) - 1) + 1) ** -2
    assert V.grad.dtype == dtype
    assert V.grad.item() == pytest.approx(stated, rel=1e-12 if dtype is torch.float64 else 3e-6, abs=1e-30)


def test_derivative_peaks_at_the_threshold_and_falls_to_a_quarter_within_one_over_beta():
    assert superspike_derivative(1.0, 50.0) == 1
    assert superspike_derivative(1.0 + 1 / 50, 50.0) == pytest.approx(0.25)
    assert superspike_derivative(1.0 - 1 / 50, 50.0) == pytest.approx(0.25)
    assert superspike_derivative(0.0, 50.0) == pytest.approx(1 / 51**2)


def test_derivative_does_not_widen_single_precision():
    V = np.linspace(-1, 3, 9, dtype=np.float32)
    assert superspike_derivative(V, np.float32(50)).dtype == np.float32
    assert superspike_derivative(V.astype(np.float64), 50.0).dtype == np.float64


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_steepness_must_be_positive(beta):
    with pytest.raises(InputError, match=r"beta: expected a number > 0, got .*; the paper uses 50"):
        SuperSpike(beta)


STATED = {
    Sigmoid: lambda x: 4 * np.exp(-x) / (1 + np.exp(-x)) ** 2,
    ArcTan: lambda x: 1 / (1 + x**2),
    Triangle: lambda x: np.maximum(0, 1 - abs(x)),
    Gaussian: lambda x: np.exp(-(x**2) / 2),
    Boxcar: lambda x: (abs(x) < 0.5).astype(float),
    SuperSpike: lambda x: (1 + abs(x)) ** -2.0,
}


@pytest.mark.parametrize("kind", COMPILED, ids=lambda kind: kind.__name__)
def test_every_slope_is_the_stated_one_and_is_1_at_the_threshold(kind):
    V = np.linspace(0.2, 1.8, 41)
    assert kind.derivative(1.0, 7.0) == pytest.approx(1)
    np.testing.assert_allclose(kind.derivative(V, 7.0), STATED[kind](7 * (V - 1)), rtol=1e-6, atol=1e-12)
    assert kind.derivative(V.astype(np.float32), np.float32(7)).dtype == np.float32
    traced = torch.tensor(V, requires_grad=True)
    kind(7.0)(traced).sum().backward()
    np.testing.assert_allclose(traced.grad, STATED[kind](7 * (V - 1)), rtol=1e-6, atol=1e-12)
