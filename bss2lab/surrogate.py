"""Spike functions: a step forward, a smooth derivative backward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bss2lab.dynamics import THRESHOLD, fires
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from torch import Tensor

_ONE, _FOUR, _HALF, _E = np.float32(1.0), np.float32(4.0), np.float32(0.5), np.float32(np.e)


def superspike_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = (β |V − 1| + 1)^−2 (SuperSpike; Zenke & Ganguli 2018, as used in Cramer et al. 2022)."""
    x = beta * abs(V - THRESHOLD) + _ONE
    return _ONE / (x * x)


def sigmoid_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = 4 σ(x) (1 − σ(x)), x = β (V − 1), σ(x) = 1/(1 + e^−x)."""
    decay = _E ** -(beta * abs(V - THRESHOLD))
    return _FOUR * decay / ((decay + _ONE) * (decay + _ONE))


def arctan_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = 1/(1 + x²), x = β (V − 1): the slope of an arcus tangent."""
    x = beta * (V - THRESHOLD)
    return _ONE / (x * x + _ONE)


def triangle_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = max(0, 1 − β |V − 1|) (Bellec et al. 2018, there times 0.3)."""
    x = _ONE - beta * abs(V - THRESHOLD)
    return _HALF * (x + abs(x))


def gaussian_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = exp(−x²/2), x = β (V − 1)."""
    x = beta * (V - THRESHOLD)
    return _E ** -(_HALF * x * x)


def boxcar_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = 1 where β |V − 1| < 1/2, else 0."""
    x = beta * abs(V - THRESHOLD)
    return _ONE * (x < _HALF)


@functools.cache
def _spike() -> Any:
    """Return the torch function (made when first used: kernels inline the derivatives and need no torch)."""
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, V: Tensor, derivative: Callable[[Any, Any], Any], beta: float) -> Tensor:
            ctx.save_for_backward(V)
            ctx.derivative, ctx.beta = derivative, beta
            return fires(V).to(V.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
            (V,) = ctx.saved_tensors
            return grads[0] * ctx.derivative(V, ctx.beta), None, None

    return Spike


@dataclass(frozen=True, slots=True)
class SpikeFunction:
    """A step forward; backward a slope that is 1 at the threshold and falls within about 1/β of it.

    Attributes:
        beta: steepness β, 50 in the paper.

    Raises:
        InputError: if it is not positive.
    """

    beta: float = 50.0

    derivative: ClassVar[Callable[[Any, Any], Any]]

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise InputError(complain("beta", expected="a number > 0", got=self.beta, fix="the paper uses 50"))

    def __call__(self, V: Tensor) -> Tensor:
        """Return 1 where ``V`` exceeds the threshold, else 0, in the dtype of ``V``."""
        return _spike().apply(V, type(self).derivative, self.beta)


@dataclass(frozen=True, slots=True)
class SuperSpike(SpikeFunction):
    """Slope (β |V − 1| + 1)^−2, the paper's."""

    derivative = staticmethod(superspike_derivative)


@dataclass(frozen=True, slots=True)
class Sigmoid(SpikeFunction):
    """Slope of a logistic function."""

    derivative = staticmethod(sigmoid_derivative)


@dataclass(frozen=True, slots=True)
class ArcTan(SpikeFunction):
    """Slope 1/(1 + β² (V − 1)²)."""

    derivative = staticmethod(arctan_derivative)


@dataclass(frozen=True, slots=True)
class Triangle(SpikeFunction):
    """Slope max(0, 1 − β |V − 1|)."""

    derivative = staticmethod(triangle_derivative)


@dataclass(frozen=True, slots=True)
class Gaussian(SpikeFunction):
    """Slope exp(−β² (V − 1)²/2)."""

    derivative = staticmethod(gaussian_derivative)


@dataclass(frozen=True, slots=True)
class Boxcar(SpikeFunction):
    """Slope 1 within 1/(2 β) of the threshold."""

    derivative = staticmethod(boxcar_derivative)


COMPILED: tuple[type[SpikeFunction], ...] = (SuperSpike, Sigmoid, ArcTan, Triangle, Gaussian, Boxcar)
"""Spike functions that the compiled kernels know, by number."""
