"""The mismatch of one chip: the circuits that a seed draws from a profile, and what they do at their codes.

Draws come from PCG64's raw bits through the inverse normal distribution, one stream per parameter, so that a
seed means the same chip with every NumPy version, and a parameter added later leaves the others as they are.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip.codes import Codes
from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.spec import INPUTS, NEURONS
from bss2lab.chip.transfer import GAINS, PARAMETERS, POTENTIALS, respond
from bss2lab.quantize import CADC_MV_PER_LSB

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Mismatch:
    """The hidden truth about one chip: one value per neuron (256), source or synapse.

    Attributes:
        tau_mem_us, tau_syn_exc_us, tau_syn_inh_us, refractory_us: time constants, µs, shape [neuron].
        leak_mv, reset_mv, threshold_mv: potentials, mV, shape [neuron].
        input_delay_us, routed_delay_us: synaptic delay per input row and per source neuron, µs, shape [source].
        gain_exc, gain_inh: I/C per unit of weight of every synapse, mV/µs, shape [row, neuron].
        cadc_offset_lsb, cadc_gain: offset (LSB) and relative gain of the ADC channels, shape [neuron].
    """

    tau_mem_us: Float64[ndarray, "n"]
    tau_syn_exc_us: Float64[ndarray, "n"]
    tau_syn_inh_us: Float64[ndarray, "n"]
    refractory_us: Float64[ndarray, "n"]
    leak_mv: Float64[ndarray, "n"]
    reset_mv: Float64[ndarray, "n"]
    threshold_mv: Float64[ndarray, "n"]
    input_delay_us: Float64[ndarray, "i"]
    routed_delay_us: Float64[ndarray, "n"]
    gain_exc: Float64[ndarray, "i n"]
    gain_inh: Float64[ndarray, "i n"]
    cadc_offset_lsb: Float64[ndarray, "n"]
    cadc_gain: Float64[ndarray, "n"]


@dataclass(frozen=True, slots=True, eq=False)
class Circuits:
    """The silicon of one chip, whatever is written to it.

    Attributes:
        profile: the population that it comes from.
        nominal: what the circuits do at the nominal codes.
        slope: each circuit's factor on the slope or exponent of its transfer, by parameter, shape [neuron].
    """

    profile: ChipProfile
    nominal: Mismatch
    slope: dict[str, Float64[ndarray, "n"]]

    def at(self, codes: Codes) -> Mismatch:
        """Return the hidden truth at these codes (see ``transfer`` for the equations)."""

        def answer(parameter: str, nominal: Float64[ndarray, "n"]) -> Float64[ndarray, "n"]:
            return respond(self.profile.transfer, parameter, nominal, self.slope[parameter], getattr(codes, parameter))

        changed = {
            field: answer(parameter, getattr(self.nominal, field))
            for parameter, field in FIELDS.items()
            if parameter not in GAINS
        }
        for gain in GAINS:  # a neuron's code scales all its synapses
            changed[gain] = getattr(self.nominal, gain) * answer(gain, np.ones(NEURONS))
        offset = self.nominal.cadc_offset_lsb + codes.cadc_trim
        return replace(self.nominal, **changed, cadc_offset_lsb=offset)


FIELDS = {name: name if name in GAINS else f"{name}_{'mv' if name in POTENTIALS else 'us'}" for name in PARAMETERS}
"""Field of ``Mismatch`` that a parameter's code acts on."""


def standard_normal(seed: int, parameter: str, *shape: int) -> Float64[ndarray, "..."]:
    """Standard normal numbers that depend on the seed and the parameter's name alone."""
    from scipy.special import ndtri  # a tenth of a second that importing the package need not pay

    stream = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(parameter.encode())]))
    bits = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
    return ndtri((bits.astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)


def _spread(mean: float, cv: float, z: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    """Log-normal values with the given mean and coefficient of variation (always positive)."""
    sigma = np.sqrt(np.log1p(cv**2))
    return mean * np.exp(sigma * z - sigma**2 / 2)


def draw(profile: ChipProfile, seed: int) -> Circuits:
    """Draw a chip.

    Time constants and gains are log-normal (positive, right-skewed, as the published uncalibrated time
    constants are); potentials, offsets and delays are normal. Where the profile carries measured neurons, whole
    neurons are resampled from them, so that their parameters stay correlated as they were.

    Args:
        profile: nominal values and spreads.
        seed: the chip's number; the same seed is always the same chip.
    """

    def z(parameter: str, *shape: int) -> Float64[ndarray, "..."]:
        return standard_normal(seed, parameter, *(shape or (NEURONS,)))

    def potential(lsb: float, sd_mv: float, deviate: Float64[ndarray, "n"]) -> Float64[ndarray, "n"]:
        return lsb * CADC_MV_PER_LSB + sd_mv * deviate

    def gain(kind: str) -> Float64[ndarray, "i n"]:
        neuron = _spread(profile.synapse_mv_per_us, profile.psp_gain_cv, z(f"psp_gain_{kind}"))
        return neuron * _spread(1.0, profile.synapse_cv, z(f"synapse_{kind}", INPUTS, NEURONS))

    p = profile
    z_leak, rho = z("leak"), p.threshold_leak_correlation
    z_threshold = rho * z_leak + np.sqrt(1 - rho**2) * z("threshold")
    nominal = Mismatch(
        tau_mem_us=_spread(p.tau_mem_us, p.tau_mem_cv, z("tau_mem")),
        tau_syn_exc_us=_spread(p.tau_syn_exc_us, p.tau_syn_cv, z("tau_syn_exc")),
        tau_syn_inh_us=_spread(p.tau_syn_inh_us, p.tau_syn_cv, z("tau_syn_inh")),
        refractory_us=_spread(p.refractory_us, p.refractory_cv, z("refractory")),
        leak_mv=potential(p.leak_lsb, p.leak_sd_mv, z_leak),
        reset_mv=potential(p.reset_lsb, p.reset_sd_mv, z("reset")),
        threshold_mv=potential(p.threshold_lsb, p.threshold_sd_mv, z_threshold),
        input_delay_us=np.maximum(p.delay_us + p.delay_sd_us * z("input_delay", INPUTS), 0.0),
        routed_delay_us=np.maximum(p.delay_us + p.delay_sd_us * z("routed_delay"), 0.0),
        gain_exc=gain("exc"),
        gain_inh=gain("inh"),
        cadc_offset_lsb=p.cadc_offset_sd_lsb * z("cadc_offset"),
        cadc_gain=_spread(1.0, p.cadc_gain_cv, z("cadc_gain")),
    )
    if p.measured is not None:
        nominal = replace(nominal, **_resample(p, seed, nominal))
    slope = {name: _spread(1.0, p.transfer.slope_cv, z(f"slope_{name}")) for name in PARAMETERS}
    return Circuits(p, nominal, slope)


def _resample(profile: ChipProfile, seed: int, drawn: Mismatch) -> dict[str, Float64[ndarray, "..."]]:
    """Take whole measured neurons, each at most as often as the chip is larger than the measurement.

    Args:
        profile: with measured neurons.
        seed: the chip's number.
        drawn: supplies the synapse-to-synapse spread, which the measured gain of a neuron scales.
    """
    assert profile.measured is not None
    columns = profile.measured.columns()
    n = len(next(iter(columns.values())))
    turns = [np.argsort(standard_normal(seed, f"measured_{k}", n), kind="stable") for k in range(-(-NEURONS // n))]
    row = np.concatenate(turns)[:NEURONS]
    taken = {name: values[row] for name, values in columns.items()}
    for gain in set(GAINS) & set(taken):
        synapses = getattr(drawn, gain)
        taken[gain] = synapses / synapses.mean(axis=0) * taken[gain]
    return taken
