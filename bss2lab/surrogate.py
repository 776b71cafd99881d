"""Spike functions: a step forward, a smooth derivative backward."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.dynamics import THRESHOLD, fires
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from torch import Tensor

_ONE = np.float32(1.0)


def superspike_derivative(V: Any, beta: Any) -> Any:
    """∂S/∂V = (β |V − 1| + 1)^−2 (SuperSpike; Zenke & Ganguli 2018, as used in Cramer et al. 2022)."""
    x = beta * abs(V - THRESHOLD) + _ONE
    return _ONE / (x * x)


@functools.cache
def _superspike() -> Any:
    """Return the torch function (made when first used: kernels inline the derivative and need no torch)."""
    import torch

    class SuperSpikeFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, V: Tensor, beta: float) -> Tensor:
            ctx.save_for_backward(V)
            ctx.beta = beta
            return fires(V).to(V.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
            (V,) = ctx.saved_tensors
            return grads[0] * superspike_derivative(V, ctx.beta), None

    return SuperSpikeFunction


@dataclass(frozen=True, slots=True)
class SuperSpike:
    """Spike function with the derivative (β |V − 1| + 1)^−2.

    Attributes:
        beta: steepness β, 50 in the paper.
    """

    beta: float = 50.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise InputError(complain("beta", expected="a number > 0", got=self.beta, fix="the paper uses 50"))

    def __call__(self, V: Tensor) -> Tensor:
        """Return 1 where ``V`` exceeds the threshold, else 0, in the dtype of ``V``."""
        return _superspike().apply(V, self.beta)
