"""Decalibration: neurons made unequal on purpose, to ask how much mismatch learning can live with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Calibration, Failure, Targets
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.instruments import self_active
from bss2lab.chip.limits import check_seed
from bss2lab.chip.mismatch import standard_normal
from bss2lab.chip.spec import NEURONS
from bss2lab.chip.transfer import TIME_CONSTANTS
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

WHICH = ("tau", "threshold")
"""What can be detuned: all time constants; the distance from leak to threshold."""

_SMALLEST_US = 0.05
"""Drawn time constants below this (a normal distribution has some below 0) count as this: out of reach anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Detuning:
    """How a chip was decalibrated.

    Attributes:
        sigma_d: normalised standard deviation of the targets.
        which: what was detuned.
        seed: seed of the targets.
        targets: each neuron's own.
        out_of_reach: targets that no code reaches; the nearest code was written.
        self_active: neurons that were seen firing without input (their leak lies over their threshold).
    """

    sigma_d: float
    which: tuple[str, ...]
    seed: int
    targets: Targets
    out_of_reach: tuple[Failure, ...]
    self_active: tuple[int, ...]

    def __repr__(self) -> str:
        return f"σ_d={self.sigma_d:g} of {' and '.join(self.which)}, detuning seed {self.seed}"


def drawn_targets(base: Targets, sigma_d: float, which: Collection[str], seed: int) -> Targets:
    """Draw individual targets around those of a calibration.

    Time constants are N(1, σ_d) times their target, each drawn on its own [assumed: the paper does not say whether
    together]; thresholds lie above the leak by N(1, σ_d) times the target's distance.

    Args:
        base: targets of the calibration.
        sigma_d: normalised standard deviation.
        which: what to detune.
        seed: seed of the draw; the same seed gives the same targets scaled with ``sigma_d``.
    """

    def factor(name: str) -> Float64[ndarray, "n"]:
        return 1 + sigma_d * standard_normal(seed, f"detuned_{name}", NEURONS)

    changes = {}
    if "tau" in which:
        changes |= {name: np.maximum(getattr(base, name) * factor(name), _SMALLEST_US) for name in TIME_CONSTANTS}
    if "threshold" in which:
        changes["threshold"] = base.leak + (base.threshold - base.leak) * factor("threshold")
    return base.replace(**changes)


E = TypeVar("E", bound=Emulator)


def check_request(sigma_d: float, which: str | Collection[str], seed: int) -> tuple[str, ...]:
    """Return the names of what is to be detuned, or say what is wrong with the request.

    Raises:
        InputError: σ_d out of range, an unknown parameter name, or a seed that is none.
    """
    names = _check_which(which)
    check_seed("decalibration seed", seed, bits=32)
    if not (isinstance(sigma_d, int | float | np.number) and 0 <= sigma_d <= 1):
        text = complain("sigma_d", expected="a number 0 … 1", got=repr(sigma_d), fix="the paper goes up to 0.5")
        raise InputError(text)
    return names


def detune(
    chip: E, calibration: Calibration, sigma_d: float, which: str | Collection[str], *, seed: int, measured: bool
) -> tuple[E, Detuning]:
    """Detune a chip; see ``Chip.decalibrate``.

    Args:
        chip: the chip, at any codes.
        calibration: its calibration.
        sigma_d, which, seed, measured: see ``Chip.decalibrate``.

    Returns:
        The chip at the codes of its targets, and how it was detuned.

    Raises:
        InputError: σ_d out of range, or an unknown parameter name.
    """
    names = check_request(sigma_d, which, seed)
    targets = drawn_targets(calibration.targets, float(sigma_d), names, seed)
    source = calibrate(chip, _readable(targets), seed=seed) if measured else calibration
    codes, missed = source.codes_for(targets)
    detuned = chip.with_codes(codes)
    active = tuple(int(n) for n in self_active(detuned))
    return detuned, Detuning(float(sigma_d), names, seed, targets, missed, active)


def _readable(targets: Targets) -> Targets:
    """Keep thresholds where they can be measured."""
    return targets.replace(threshold=np.clip(targets.threshold, 30.0, 235.0))


def _check_which(which: str | Collection[str]) -> tuple[str, ...]:
    names = WHICH if which == "both" else (which,) if isinstance(which, str) else which
    if not isinstance(names, Collection) or not names or not all(name in WHICH for name in names):
        want = "'tau', 'threshold', a set of the two, or 'both'"
        raise InputError(complain("which", expected=want, got=repr(which), fix="name what to detune"))
    return tuple(name for name in WHICH if name in set(names))
