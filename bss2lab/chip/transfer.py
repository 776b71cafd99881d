"""From codes to physics: what a 10-bit code of the analog parameter storage does to a neuron circuit.

Nobody sets a time constant of the chip. One writes codes, 0 … 1022 per neuron and parameter, and every circuit
answers in its own way:

    potentials                        E(c) = E₀ + m s (c − c₀)
    time constants, synaptic gains    τ(c) = τ₀ [(c₀ + f) / (c + f)]^(γ s)        (gain: the inverse ratio)

E₀, τ₀: the circuit's own value at the nominal code c₀ (drawn by the chip's seed, see ``mismatch``) · m, γ:
slope and exponent of the average circuit · s: the circuit's own factor on them · f: bias current that is left
at code 0. Both are straight lines in the coordinates of :func:`abscissa` and :func:`ordinate`; the search for
codes (``calibrate``) needs no more than that, a circuit's intercept and slope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.config import Config, Source, quantity

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

_CODE, _ASSUMED = Source.AUTHORS_CODE, Source.ASSUMED

CODE_MAX = 1022
"""Largest code of an analog storage cell [authors' code]."""

POTENTIALS = ("leak", "reset", "threshold")
TIME_CONSTANTS = ("tau_mem", "tau_syn_exc", "tau_syn_inh")
GAINS = ("gain_exc", "gain_inh")
PARAMETERS = (*TIME_CONSTANTS, *GAINS, *POTENTIALS)
"""What has a code: one per neuron each."""

_TAU_MEM_REACH = "so that the codes reach from 0.36 to 5.8 times the nominal value in the average circuit"
_TAU_SYN_REACH = "so that the codes reach from 0.18 times the nominal value to far beyond any use"


class Transfer(Config):
    """Codes to physical values, for the average circuit. The spread between circuits is the profile's."""

    tau_mem_code: int = quantity(
        80, "leak bias at which the membrane time constant is nominal",
        source=_ASSUMED, ge=1, le=CODE_MAX, why=_TAU_MEM_REACH,
    )  # fmt: skip
    tau_mem_exponent: float = quantity(
        0.4, "time constant ∝ code^−γ", source=_ASSUMED, gt=0, le=4,
        why="published spread at equal codes (10 %) over the authors' code spread at equal behaviour (25 %)",
    )  # fmt: skip
    tau_syn_code: int = quantity(
        300, "bias of both synaptic inputs at which their time constant is nominal",
        source=_ASSUMED, ge=1, le=CODE_MAX, why=_TAU_SYN_REACH,
    )  # fmt: skip
    tau_syn_exponent: float = quantity(
        1.4, "time constant ∝ code^−γ", source=_ASSUMED, gt=0, le=4,
        why="published spread at equal codes (35 %) over the authors' code spread at equal behaviour (25 %)",
    )  # fmt: skip
    gain_code: int = quantity(
        500, "bias of both synaptic inputs at which their gain is nominal",
        source=_ASSUMED, ge=1, le=CODE_MAX, why="the middle of the range",
    )  # fmt: skip
    gain_exponent: float = quantity(
        1.0, "gain ∝ code^γ", source=_ASSUMED, gt=0, le=4,
        why="a transconductor's gain is proportional to its bias current",
    )  # fmt: skip
    leak_code: int = quantity(
        200, "code at which the leak potential is nominal", source=_ASSUMED, ge=0, le=CODE_MAX,
        why="375 mV at the slope below, through the origin",
    )  # fmt: skip
    leak_mv_per_code: float = quantity(
        1.87, "slope of the leak potential", unit="mV", source=_ASSUMED, gt=0, le=20,
        why="published spread at equal codes (73 mV) over the authors' code spread (39 codes)",
    )  # fmt: skip
    reset_code: int = quantity(
        213, "code at which the reset potential is nominal", source=_ASSUMED, ge=0, le=CODE_MAX,
        why="375 mV at the slope below, through the origin",
    )  # fmt: skip
    reset_mv_per_code: float = quantity(
        1.76, "slope of the reset potential", unit="mV", source=_ASSUMED, gt=0, le=20,
        why="1.8 V over 1023 codes; the authors' code spread is not known to us",
    )  # fmt: skip
    threshold_code: int = quantity(
        244, "code at which the threshold is nominal", source=_ASSUMED, ge=0, le=CODE_MAX,
        why="703 mV at the slope below, through the origin",
    )  # fmt: skip
    threshold_mv_per_code: float = quantity(
        2.88, "slope of the threshold", unit="mV", source=_ASSUMED, gt=0, le=20,
        why="published spread at equal codes (49 mV) over the authors' code spread (17 codes)",
    )  # fmt: skip
    bias_floor: float = quantity(
        1.0, "bias current that is left at code 0, in codes", source=_ASSUMED, ge=0.01, le=100,
        why="leakage keeps the circuit finite at code 0",
    )  # fmt: skip
    slope_cv: float = quantity(
        0.03, "relative spread of slope and exponent over circuits", source=_ASSUMED, ge=0, le=0.3,
        why="not published; matching of the current sources behind them",
    )  # fmt: skip

    def nominal_code(self, parameter: str) -> int:
        """Return the code at which the average circuit shows the profile's nominal value."""
        return int(getattr(self, f"{_shared(parameter)}_code"))

    def slope(self, parameter: str) -> float:
        """Return the average circuit's slope d ordinate / d abscissa: mV per code, or ± the exponent."""
        if parameter in POTENTIALS:
            return float(getattr(self, f"{parameter}_mv_per_code"))
        sign = -1.0 if parameter in TIME_CONSTANTS else 1.0
        return sign * float(getattr(self, f"{_shared(parameter)}_exponent"))

    def abscissa(self, parameter: str, code: Any) -> Any:
        """Coordinate of a code on the axis that makes the transfer a straight line."""
        return np.asarray(code, np.float64) if parameter in POTENTIALS else np.log(np.asarray(code) + self.bias_floor)

    def code(self, parameter: str, abscissa: Any) -> Any:
        """Code (not rounded, not limited) at a coordinate: the inverse of :meth:`abscissa`."""
        return abscissa if parameter in POTENTIALS else np.exp(np.minimum(abscissa, 50.0)) - self.bias_floor


def _shared(parameter: str) -> str:
    """Excitatory and inhibitory inputs are circuits of one design: they share their constants."""
    return parameter.removesuffix("_exc").removesuffix("_inh")


def ordinate(parameter: str, value: Any) -> Any:
    """Coordinate of a physical value on the axis that makes the transfer a straight line."""
    return np.asarray(value, np.float64) if parameter in POTENTIALS else np.log(value)


def physical(parameter: str, ordinate_: Any) -> Any:
    """Physical value at a coordinate: the inverse of :func:`ordinate`."""
    return ordinate_ if parameter in POTENTIALS else np.exp(ordinate_)


def respond(
    transfer: Transfer,
    parameter: str,
    nominal: Float64[ndarray, "n"],
    slope: Float64[ndarray, "n"],
    code: ndarray,
) -> Float64[ndarray, "n"]:
    """Return what the circuits do at their codes: the equation at the head of this module.

    Args:
        transfer: the average circuit.
        parameter: one of ``PARAMETERS``.
        nominal: each circuit's value at the nominal code.
        slope: each circuit's factor on slope or exponent.
        code: each circuit's code.
    """
    step = transfer.abscissa(parameter, code) - transfer.abscissa(parameter, transfer.nominal_code(parameter))
    change = transfer.slope(parameter) * slope * step
    return nominal + change if parameter in POTENTIALS else nominal * np.exp(change)
