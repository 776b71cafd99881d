"""One neuron under the loupe: the hidden truth about it, and what the measurement protocols find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.measurement import Measurement
from bss2lab.chip.mismatch import FIELDS
from bss2lab.chip.transfer import GAINS

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

QUANTITIES = {
    "tau_mem": "τ mem", "tau_syn_exc": "τ syn exc", "tau_syn_inh": "τ syn inh", "leak": "leak", "reset": "reset",
    "threshold": "threshold", "refractory": "refractory", "gain_exc": "gain exc", "gain_inh": "gain inh",
    "cadc_offset": "ADC offset", "cadc_gain": "ADC gain",
}  # fmt: skip
"""What is measured, and its short name."""

_UNITS = {"leak": " mV", "reset": " mV", "threshold": " mV", "gain_exc": " mV/µs", "gain_inh": " mV/µs"}
_UNITS |= {"cadc_offset": " LSB", "cadc_gain": ""}


def hidden_truth(chip: Chip, quantity: str) -> Float64[ndarray, "n"]:
    """Return the hidden truth that a measurement protocol estimates, in its unit, [neuron].

    Args:
        chip: the chip, at its present codes.
        quantity: one of ``QUANTITIES``; the gain of a neuron is the mean over its synapses.
    """
    names = {**FIELDS, "refractory": "refractory_us", "cadc_offset": "cadc_offset_lsb", "cadc_gain": "cadc_gain"}
    values = getattr(chip.mismatch, names[quantity])
    return values.mean(axis=0) if quantity in GAINS else values


def lines(
    chip: Chip, neuron: int, measured: dict[str, Measurement], quantities: Sequence[str]
) -> list[tuple[str, str]]:
    """Say what is true of a neuron and what was measured.

    Returns:
        (name, text) per quantity.
    """
    found = []
    for quantity in quantities:
        truth, m = float(hidden_truth(chip, quantity)[neuron]), measured.get(quantity)
        unit = _UNITS.get(quantity, " µs")
        if m is None or neuron in m.failures:
            text = f"{truth:.3g} | {'…' if m is None else 'failed'}{unit}"
        else:  # digits as the uncertainty has them
            error = float(m.uncertainty[neuron])
            digits = int(np.clip(-np.floor(np.log10(error)), 0, 4)) if error > 0 else 4
            text = f"{truth:.{digits}f} | {m.value[neuron]:.{digits}f} ± {error:.{digits}f}{unit}"
        found.append((QUANTITIES[quantity], text))
    return found
