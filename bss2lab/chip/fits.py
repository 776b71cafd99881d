"""Least-squares fits of one model to the recordings of many neurons at once (Levenberg–Marquardt, batched).

``scipy.optimize.curve_fit`` gives the same answers one neuron at a time (the tests compare the two); a
calibration needs a hundred thousand of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64
    from numpy import ndarray

_STEP = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Result of a fit.

    Attributes:
        parameters: best parameters, [neuron, parameter].
        uncertainty: their standard deviations, from the curvature and the residuals, [neuron, parameter]; infinite
            where predictions do not depend on the parameter.
        residual: root mean square of the residuals, [neuron].
        converged: did the steps become small? Never where data are not finite, [neuron].
    """

    parameters: Float64[ndarray, "n p"]
    uncertainty: Float64[ndarray, "n p"]
    residual: Float64[ndarray, "n"]
    converged: Bool[ndarray, "n"]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # of models that are tried far away
def fit(
    model: Callable[[Float64[ndarray, "n p 1"]], Float64[ndarray, "n t"]],
    data: Float64[ndarray, "n t"],
    start: Float64[ndarray, "n p"],
    *,
    iterations: int = 40,
    tolerance: float = 1e-7,
) -> Fit:
    """Fit ``model`` to each row of ``data``; a step to where the model is not finite is never taken.

    Args:
        model: parameters [neuron, parameter, 1] -> predictions [neuron, time].
        data: what was recorded.
        start: where the search begins. Scale parameters to be of order 1.
        iterations: limit of the steps.
        tolerance: a neuron has converged when its parameters move by less than this.
    """
    p = start.astype(np.float64).copy()
    n, k = p.shape
    damping = np.full(n, 1e-3)
    error = data - model(p[..., None])
    cost = np.square(error).sum(axis=1)
    converged = np.zeros(n, bool)
    normal = np.tile(np.eye(k), (n, 1, 1))
    for _ in range(iterations):
        jacobian = np.stack([_derivative(model, p, i) for i in range(k)], axis=1)
        jacobian[~np.isfinite(jacobian)] = 0.0
        normal = jacobian @ jacobian.transpose(0, 2, 1)
        gradient = (jacobian @ error[..., None])[..., 0]
        diagonal = np.maximum(np.einsum("nii->ni", normal), 1e-12)
        damped = normal + (damping[:, None] * diagonal)[:, :, None] * np.eye(k)
        move = np.linalg.solve(damped, gradient[..., None])[..., 0]
        tried = p + move
        new_error = data - model(tried[..., None])
        new_cost = np.square(new_error).sum(axis=1)
        better = new_cost <= cost  # (False for NaN)
        converged = np.abs(move).max(axis=1) < tolerance * (1 + np.abs(p).max(axis=1))
        p = np.where(better[:, None], tried, p)
        error = np.where(better[:, None], new_error, error)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
        if (converged | (damping >= 1e9)).all():
            break
    known = np.isfinite(cost)
    inverse, freedom = _inverse_diagonal(normal), max(data.shape[1] - k, 1)
    told = known[:, None] & np.isfinite(inverse)
    uncertainty = np.where(told, np.sqrt(cost[:, None] / freedom * np.where(told, inverse, 0.0)), np.inf)
    return Fit(p, uncertainty, np.sqrt(cost / data.shape[1]), (converged | (damping >= 1e9)) & known)


def _inverse_diagonal(normal: Float64[ndarray, "n p p"]) -> Float64[ndarray, "n p"]:
    """Diagonal of each inverse; infinite for a parameter without any curvature."""
    curvature = np.einsum("nii->ni", normal)
    scale = np.sqrt(np.where(curvature > 0, curvature, 1.0))
    correlation = normal / (scale[:, :, None] * scale[:, None, :])
    inverse = np.linalg.inv(correlation + 1e-12 * np.eye(normal.shape[1]))
    return np.where(curvature > 0, np.einsum("nii->ni", inverse) / np.square(scale), np.inf)


def _derivative(model: Callable, p: Float64[ndarray, "n p"], i: int) -> Float64[ndarray, "n t"]:
    up, down = p.copy(), p.copy()
    step = _STEP * (1 + np.abs(p[:, i]))
    up[:, i] += step
    down[:, i] -= step
    return (model(up[..., None]) - model(down[..., None])) / (2 * step)[:, None]
