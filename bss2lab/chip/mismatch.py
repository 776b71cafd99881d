"""The mismatch of one chip: what a seed draws from a profile.

Draws come from PCG64's raw bits through the inverse normal distribution, one stream per parameter, so that a
seed means the same chip with every NumPy version, and a parameter added later leaves the others as they are.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.spec import INPUTS, NEURONS
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
        input_gain_exc, input_gain_inh: I/C per unit of weight, mV/µs, synapses of the input rows, [row, neuron].
        routed_gain_exc, routed_gain_inh: the same for the synapses that on-chip spikes use, [source, neuron].
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
    input_gain_exc: Float64[ndarray, "i n"]
    input_gain_inh: Float64[ndarray, "i n"]
    routed_gain_exc: Float64[ndarray, "n n"]
    routed_gain_inh: Float64[ndarray, "n n"]
    cadc_offset_lsb: Float64[ndarray, "n"]
    cadc_gain: Float64[ndarray, "n"]


def standard_normal(seed: int, parameter: str, *shape: int) -> Float64[ndarray, "..."]:
    """Standard normal numbers that depend on the seed and the parameter's name alone."""
    stream = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(parameter.encode())]))
    bits = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
    return ndtri((bits.astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)


def _spread(mean: float, cv: float, z: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    """Log-normal values with the given mean and coefficient of variation (always positive)."""
    sigma = np.sqrt(np.log1p(cv**2))
    return mean * np.exp(sigma * z - sigma**2 / 2)


def draw(profile: ChipProfile, seed: int) -> Mismatch:
    """Draw a chip.

    Time constants and gains are log-normal (positive, right-skewed, as the published uncalibrated time
    constants are); potentials, offsets and delays are normal.

    Args:
        profile: nominal values and spreads.
        seed: the chip's number; the same seed is always the same chip.
    """

    def z(parameter: str, *shape: int) -> Float64[ndarray, "..."]:
        return standard_normal(seed, parameter, *(shape or (NEURONS,)))

    def potential(lsb: float, sd_mv: float, deviate: Float64[ndarray, "n"]) -> Float64[ndarray, "n"]:
        return lsb * CADC_MV_PER_LSB + sd_mv * deviate

    def gain(parameter: str, rows: int) -> Float64[ndarray, "i n"]:
        neuron = _spread(profile.synapse_mv_per_us, profile.psp_gain_cv, z(f"psp_gain_{parameter.split('_')[-1]}"))
        return neuron * _spread(1.0, profile.synapse_cv, z(f"synapse_{parameter}", rows, NEURONS))

    p = profile
    z_leak, rho = z("leak"), p.threshold_leak_correlation
    z_threshold = rho * z_leak + np.sqrt(1 - rho**2) * z("threshold")
    return Mismatch(
        tau_mem_us=_spread(p.tau_mem_us, p.tau_mem_cv, z("tau_mem")),
        tau_syn_exc_us=_spread(p.tau_syn_exc_us, p.tau_syn_cv, z("tau_syn_exc")),
        tau_syn_inh_us=_spread(p.tau_syn_inh_us, p.tau_syn_cv, z("tau_syn_inh")),
        refractory_us=_spread(p.refractory_us, p.refractory_cv, z("refractory")),
        leak_mv=potential(p.leak_lsb, p.leak_sd_mv, z_leak),
        reset_mv=potential(p.reset_lsb, p.reset_sd_mv, z("reset")),
        threshold_mv=potential(p.threshold_lsb, p.threshold_sd_mv, z_threshold),
        input_delay_us=np.maximum(p.delay_us + p.delay_sd_us * z("input_delay", INPUTS), 0.0),
        routed_delay_us=np.maximum(p.delay_us + p.delay_sd_us * z("routed_delay"), 0.0),
        input_gain_exc=gain("input_exc", INPUTS),
        input_gain_inh=gain("input_inh", INPUTS),
        routed_gain_exc=gain("routed_exc", NEURONS),
        routed_gain_inh=gain("routed_inh", NEURONS),
        cadc_offset_lsb=p.cadc_offset_sd_lsb * z("cadc_offset"),
        cadc_gain=_spread(1.0, p.cadc_gain_cv, z("cadc_gain")),
    )
