"""The equations. Every one stands here, once; reference loop, compiled kernels and chip all call these.

The functions are pure and use operators alone, so the same line works on Python floats, NumPy arrays and
torch tensors (with autograd), and compiles inside numba.

======  ==========================================  ===========================================
symbol  meaning                                     unit
======  ==========================================  ===========================================
V       membrane, leak at 0 and threshold at 1      1 (chip: mV)
I       synaptic current                            1 per step (chip: mV/µs, i.e. current over C)
S       spikes in a time bin, 0 or 1                1
W       weight                                      1 (chip: integer −63 … 63)
α       decay of I over one step, exp(−Δt/τ_s)      1
μ       decay of V over one step, exp(−Δt/τ_m)      1
β       steepness of the surrogate derivative       1
Δt, h   model step (1.7 µs), fine step of the chip  µs
τ_m τ_s membrane and synaptic time constants        µs
λ_X     ∂loss/∂X, the adjoint of X                  –
======  ==========================================  ===========================================

Model (Cramer et al. 2022, discretised leaky integrate-and-fire with current-based synapses):

    I[t+1] = α I[t] + Σ_j W_j S_j[t]
    V[t+1] = μ V[t] + I[t+1] − S[t]           (the updated current enters: authors' code)
    S[t]   = 1 if V[t] > 1 else 0
    ∂S/∂V  = (β |V − 1| + 1)^−2               (see ``surrogate``)

The reset term −S[t] counts as a constant in the derivative [assumed: the usual choice; differentiating
through the reset makes surrogate gradients worse].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

THRESHOLD = np.float32(1.0)
"""Threshold of the model in its own unit. (Single precision, so that it never widens a kernel's arithmetic.)"""


def decay(dt_us: float, tau_us: float) -> float:
    """α or μ: what is left of a quantity with time constant ``tau_us`` after ``dt_us``."""
    return math.exp(-dt_us / tau_us)


def synaptic_current(I: Any, drive: Any, alpha: Any) -> Any:
    """I[t+1] = α I[t] + Σ W S[t]; ``drive`` is the sum."""
    return alpha * I + drive


def membrane(V: Any, I: Any, S: Any, mu: Any) -> Any:
    """V[t+1] = μ V[t] + I[t+1] − S[t]."""
    return mu * V + I - S


def fires(V: Any) -> Any:
    """S[t]: does the membrane lie above the threshold?"""
    return V > THRESHOLD


def membrane_adjoint(lambda_next: Any, mu: Any, lambda_S: Any, dS_dV: Any) -> Any:
    """λ_V[t] = μ λ_V[t+1] + λ_S[t] ∂S/∂V."""
    return mu * lambda_next + lambda_S * dS_dV


def current_adjoint(lambda_next: Any, alpha: Any, lambda_V: Any) -> Any:
    """λ_I[t] = α λ_I[t+1] + λ_V[t]; the weight gradient is ∂L/∂W = Σ_t S[t] λ_I[t+1]."""
    return alpha * lambda_next + lambda_V


# --- the substrate's equations: continuous time, integrated exactly -------------------------------------
#
#     dV/dt = −(V − E_leak)/τ_m + (I_exc + I_inh)/C        dI/dt = −I/τ_s
#
# Over a step h without input the solution is linear in the state, with the factors below.


def psp(t_us: Any, tau_mem_us: Any, tau_syn_us: Any) -> Any:
    """Membrane response at ``t_us`` to a current of unit amplitude (1 mV/µs) that starts at 0, in mV.

    t e^(−t/τ) (1 − e^(−x))/x with x = t |1/τ_s − 1/τ_m| and τ the longer of the two: the difference of
    exponentials, in a form that also holds for τ_m = τ_s and never overflows. It is both the closed-form
    post-synaptic potential and the propagator. NumPy arrays and numbers, not for kernels.
    """
    x = t_us * abs(1.0 / tau_syn_us - 1.0 / tau_mem_us)
    ratio = np.where(x > 1e-9, -np.expm1(-x) / np.maximum(x, 1e-9), 1.0 - 0.5 * x)
    return t_us * np.exp(-t_us / np.maximum(tau_mem_us, tau_syn_us)) * ratio


def membrane_exact(V: Any, rest: Any, mu: Any, I_exc: Any, k_exc: Any, I_inh: Any, k_inh: Any) -> Any:
    """V(t + h) = μ V + (1 − μ) E_leak + κ_exc I_exc + κ_inh I_inh, with ``rest`` = (1 − μ) E_leak, κ = psp(h)."""
    return mu * V + rest + k_exc * I_exc + k_inh * I_inh


def threshold_crossing(V_before: Any, V_after: Any, rise_after: Any, V_threshold: Any) -> Any:
    """Fraction of the step after which the membrane meets the threshold, for V_after above it.

    The parabola through ``V_before`` and ``V_after`` with the slope ``rise_after`` (V per step) at the end:
    V(1 − y) = V_after − r y + (r − V_after + V_before) y², solved for y in the form that never cancels.
    """
    over = V_after - V_threshold
    bend = rise_after - V_after + V_before
    root = rise_after * rise_after - 4 * bend * over
    return 1 - 2 * over / (rise_after + abs(root) ** 0.5)


# A spike that arrives at the fraction f of a step is traced back to the step's beginning: changing current and
# membrane there by the amounts below gives, at the end of the step, those of a PSP that started at f.


def arrival_current(W: Any, c: Any, f: Any) -> Any:
    """ΔI = W e^(f h/τ_s) = W (1 + c f), where c = c₁ + c₂ f with the first pair of :func:`arrival_factors`."""
    return W + W * (f * c)


def arrival_membrane(W_exc: Any, c_exc: Any, W_inh: Any, c_inh: Any, f: Any) -> Any:
    """ΔV = f (c_exc W_exc + c_inh W_inh): what the current traced back adds too much before the spike arrives.

    Here c = c₁ + c₂ f with the second pair of :func:`arrival_factors`.
    """
    return f * (W_exc * c_exc + W_inh * c_inh)


def arrival_factors(h_us: Any, tau_syn_us: Any, k: Any, mu: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return (c₁, c₂) of ΔI and of ΔV, right to third order in h/τ.

    With x = h/τ_s: e^(f x) ≈ 1 + x f + x² f²/2, and ΔV = (psp((1 − f) h) − κ e^(f x)) / μ with the parabola
    psp(g h) ≈ g h − g² (h − κ).
    """
    x = h_us / tau_syn_us
    return (x, x * x / 2), ((h_us - 2 * k - k * x) / mu, -(h_us - k + k * x * x / 2) / mu)
