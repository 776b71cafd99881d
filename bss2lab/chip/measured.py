"""Neurons measured on a device, as part of a chip profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import model_validator

from bss2lab.config import Config
from bss2lab.errors import InputError, complain
from bss2lab.quantize import CADC_MV_PER_LSB

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

_TIMES = ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "refractory_us")
_POTENTIALS = ("leak_mv", "reset_mv", "threshold_mv")
_GAINS = ("gain_exc", "gain_inh")
_RANGE = {
    **dict.fromkeys(_TIMES, (0.25, 100.0, "µs")),
    **dict.fromkeys(_POTENTIALS, (-500.0, 2000.0, "mV")),
    **dict.fromkeys(_GAINS, (1e-3, 1e3, "mV/µs")),
}


class MeasuredNeurons(Config):
    """Measured parameters, entry k of every list belonging to neuron k. None: not measured.

    Attributes:
        tau_mem_us, tau_syn_exc_us, tau_syn_inh_us, refractory_us: time constants, µs.
        leak_mv, reset_mv, threshold_mv: potentials, mV on the scale of the ADC (0 … 1200).
        gain_exc, gain_inh: mean over a neuron's synapses, mV/µs per unit of weight.
    """

    tau_mem_us: tuple[float, ...] | None = None
    tau_syn_exc_us: tuple[float, ...] | None = None
    tau_syn_inh_us: tuple[float, ...] | None = None
    refractory_us: tuple[float, ...] | None = None
    leak_mv: tuple[float, ...] | None = None
    reset_mv: tuple[float, ...] | None = None
    threshold_mv: tuple[float, ...] | None = None
    gain_exc: tuple[float, ...] | None = None
    gain_inh: tuple[float, ...] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> MeasuredNeurons:
        """Check arrays and keep them.

        Raises:
            InputError: unknown names, no array at all, arrays that are no list of numbers.
        """
        columns = {}
        for name, values in arrays.items():
            try:
                column = np.asarray(values, np.float64)
                got = f"an array of shape {list(column.shape)}"
            except (TypeError, ValueError):
                column, got = np.empty((0, 0)), repr(values)[:60]
            if name in cls.model_fields and column.ndim != 1:
                fix = "pass one number per neuron"
                raise InputError(complain(name, expected="numbers, shape [neuron]", got=got, fix=fix))
            columns[name] = tuple(float(x) for x in column.ravel())
        return cls(**columns)

    @model_validator(mode="after")
    def _check(self) -> MeasuredNeurons:
        columns = self.columns()
        if not columns:
            want = f"at least one of {', '.join(type(self).model_fields)}"
            raise ValueError(complain("measured neurons", expected=want, got="none", fix="pass an array"))
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or min(lengths.values()) < 2:
            got = ", ".join(f"{n} of {name}" for name, n in lengths.items())
            want = "as many values of every parameter, two or more"
            raise ValueError(complain("measured neurons", expected=want, got=got, fix="keep complete neurons alone"))
        for name, values in columns.items():
            low, high, unit = _RANGE[name]
            bad = np.flatnonzero(~((values >= low) & (values <= high)))
            if len(bad):
                got = f"{values[bad[0]]:g} for neuron {bad[0]}"
                fix = "check the unit, and leave such neurons out"
                raise ValueError(complain(name, expected=f"{low:g} … {high:g} {unit}", got=got, fix=fix))
        return self

    def columns(self) -> dict[str, Float64[ndarray, "k"]]:
        """Return what was measured, by name."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: np.array(values) for name, values in given.items() if values is not None}

    def nominal(self) -> dict[str, float]:
        """Return the profile's nominal values that the measured medians stand for."""
        fields = {}
        for name, values in self.columns().items():
            middle = float(np.median(values))
            if name in _TIMES:
                fields[name] = middle
            elif name in _POTENTIALS:
                fields[name.replace("_mv", "_lsb")] = float(np.clip(middle / CADC_MV_PER_LSB, 0, 255))
        return fields
