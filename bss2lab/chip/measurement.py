"""What a measurement protocol returns: estimates, uncertainties, and the neurons that could not be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip.spec import SPEC
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Estimates of one quantity for every neuron.

    Attributes:
        quantity: what was measured (see ``measure.PROTOCOLS``).
        unit: µs (chip time), mV, mV/µs, LSB, or none.
        value: estimates, NaN where the protocol failed, [neuron].
        uncertainty: one standard deviation of each, in the same unit, [neuron].
        failures: neuron -> why there is no estimate.
        reading: the same in the chip's own units: potentials as the column ADC reads them (LSB, with the
            offset and gain of the channel), times in sampling periods of the column ADC; the value elsewhere.
    """

    quantity: str
    unit: str
    value: Float64[ndarray, "n"]
    uncertainty: Float64[ndarray, "n"]
    failures: dict[int, str]
    reading: Float64[ndarray, "n"]

    @property
    def biological_ms(self) -> Float64[ndarray, "n"]:
        """Times on the biological scale, ms: the chip runs 10³ times faster.

        Raises:
            InputError: if the quantity is no time.
        """
        if self.unit != "µs":
            raise InputError(complain(self.quantity, expected="a time in µs", got=self.unit, fix="use value"))
        return self.value * SPEC["speedup"].value / 1e3

    @property
    def spread(self) -> float:
        """Standard deviation over the neurons: relative for times and gains, in the unit itself otherwise.

        NaN where every neuron failed.
        """
        seen = self.value[np.isfinite(self.value)]
        if not len(seen):
            return float("nan")
        return float(seen.std() / (seen.mean() if self.unit in ("µs", "mV/µs") else 1.0))


def result(
    quantity: str,
    unit: str,
    value: ndarray,
    uncertainty: ndarray,
    failures: dict[int, str],
    *,
    reading: ndarray | None = None,
) -> Measurement:
    """Bundle estimates; neurons that failed become NaN, with their reason."""
    columns = [np.array(x, np.float64) for x in (value, uncertainty, value if reading is None else reading)]
    for column in columns:
        column[list(failures)] = np.nan
    value, uncertainty, reading = columns
    return Measurement(quantity, unit, value, uncertainty, dict(sorted(failures.items())), reading)
