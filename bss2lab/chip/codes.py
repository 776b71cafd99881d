"""What is written to a chip's parameter storage: one 10-bit code per neuron and parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip.spec import NEURONS
from bss2lab.chip.transfer import CODE_MAX, PARAMETERS, Transfer
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Int16
    from numpy import ndarray

TRIM_MIN, TRIM_MAX = -128, 127
"""Range of the digital offset correction of an ADC channel, 8 bit [assumed: the width of its result]."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The codes of all 256 neurons, and the digital offset correction of their ADC channels.

    Arrays of int16, shape [neuron], read-only. A single number stands for all neurons.

    Attributes:
        tau_mem, tau_syn_exc, tau_syn_inh: biases behind the time constants, 0 … 1022 (more is faster).
        gain_exc, gain_inh: biases behind the synaptic gains, 0 … 1022.
        leak, reset, threshold: potentials, 0 … 1022.
        cadc_trim: LSB added to every sample of the channel, −128 … 127.

    Raises:
        InputError: codes that are no integers, out of range, or not one per neuron.
    """

    tau_mem: Int16[ndarray, "n"]
    tau_syn_exc: Int16[ndarray, "n"]
    tau_syn_inh: Int16[ndarray, "n"]
    gain_exc: Int16[ndarray, "n"]
    gain_inh: Int16[ndarray, "n"]
    leak: Int16[ndarray, "n"]
    reset: Int16[ndarray, "n"]
    threshold: Int16[ndarray, "n"]
    cadc_trim: Int16[ndarray, "n"]

    def __post_init__(self) -> None:
        for name, given in self.items():
            object.__setattr__(self, name, _checked(name, given))

    @classmethod
    def equal(cls, transfer: Transfer) -> Codes:
        """Return the same codes for every neuron: an uncalibrated chip."""
        nominal = {name: np.full(NEURONS, transfer.nominal_code(name)) for name in PARAMETERS}
        return cls.from_mapping({**nominal, "cadc_trim": np.zeros(NEURONS, np.int16)})

    @classmethod
    def from_mapping(cls, arrays: Mapping[str, Any]) -> Codes:
        """Build codes from named arrays (what ``dict(codes.items())`` gives).

        Raises:
            InputError: if a name is missing or unknown.
        """
        if set(arrays) != set(cls.names()):
            want, got = ", ".join(cls.names()), ", ".join(sorted(arrays))
            raise InputError(complain("codes", expected=want, got=got, fix="name each parameter once"))
        return cls(**arrays)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of all codes."""
        return (*PARAMETERS, "cadc_trim")

    def items(self) -> Iterator[tuple[str, Int16[ndarray, "n"]]]:
        """Iterate over (name, codes)."""
        return ((name, getattr(self, name)) for name in self.names())

    def replace(self, **changes: Any) -> Codes:
        """Return codes with some parameters changed; a single number stands for all neurons.

        Raises:
            InputError: unknown parameters, or codes that the chip does not have.
        """
        unknown = set(changes) - set(self.names())
        if unknown:
            want = ", ".join(self.names())
            got = ", ".join(sorted(unknown))
            raise InputError(complain("codes", expected=want, got=got, fix="name one of these parameters"))
        return Codes(**{**dict(self.items()), **changes})

    def same_as(self, other: Codes) -> bool:
        """Are all codes equal?"""
        return all(np.array_equal(mine, getattr(other, name)) for name, mine in self.items())


def _checked(name: str, given: Any) -> Int16[ndarray, "n"]:
    try:
        codes = np.asarray(given)
    except ValueError:  # lists of unequal lengths
        codes = np.asarray(None)
    if codes.dtype.kind not in "iu":
        fix = "round to whole codes"
        raise InputError(complain(f"{name} codes", expected="integers", got=codes.dtype, fix=fix))
    if codes.shape not in ((), (NEURONS,)):
        want = f"one code, or one per neuron, shape [{NEURONS}]"
        raise InputError(complain(f"{name} codes", expected=want, got=list(codes.shape), fix="match the chip"))
    low, high = (TRIM_MIN, TRIM_MAX) if name == "cadc_trim" else (0, CODE_MAX)
    bad = np.flatnonzero(np.atleast_1d((codes < low) | (codes > high)))
    if len(bad):
        got = f"{np.atleast_1d(codes)[bad[0]]} for neuron {bad[0]}"
        raise InputError(complain(f"{name} codes", expected=f"{low} … {high}", got=got, fix="stay within the range"))
    stored = np.broadcast_to(codes, (NEURONS,)).astype(np.int16)
    stored.flags.writeable = False
    return stored
