"""What is written to a chip and what comes back from it, in the form that the compiled core works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab import dynamics
from bss2lab.chip.mismatch import Mismatch
from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.spec import NEURONS
from bss2lab.kernels import analog
from bss2lab.quantize import CADC_MV_PER_LSB

if TYPE_CHECKING:
    from jaxtyping import Float32, Real, UInt8
    from numpy import ndarray

NEVER_MV = np.float32(1e9)
"""A threshold no membrane reaches: spiking switched off."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Weights written to a chip: what each synapse does to the membrane behind it.

    Attributes:
        n_input, n_hidden, n_output: size of the layers; hidden neurons are 0 … n_hidden − 1, output neurons the last.
        input_rows: mV/µs per spike of an input row, [row, neuron].
        routed_rows: mV/µs per spike of an on-chip neuron, [source, neuron].
        recurrent: do hidden spikes come back to hidden neurons?
    """

    n_input: int
    n_hidden: int
    n_output: int
    input_rows: Float32[ndarray, "i n"]
    routed_rows: Float32[ndarray, "n n"]
    recurrent: bool = False

    @property
    def routes_to_tail(self) -> bool:
        """Do on-chip spikes reach the last neurons alone, as many as the core has a short cut for?"""
        return not self.recurrent and self.outputs_in_tail

    @property
    def outputs_in_tail(self) -> bool:
        """Are the outputs among the last neurons that the core has a short cut for?"""
        return self.n_output <= NEURONS - analog.TAIL


@dataclass(frozen=True, slots=True, eq=False)
class RawRecording:
    """Digitised membranes of all 256 neurons as they leave the chip.

    Attributes:
        cadc: uint8 [batch, sample, 256]; sample 0 precedes the input, model step ``t`` is sample ``t + 2``.
            Float32 from a chip whose ADC does not round (``ChipProfile.rounds_cadc``).
        fired: uint8 [batch, sample, 256]: spikes since the sample before.
    """

    cadc: Real[ndarray, "b t n"]
    fired: UInt8[ndarray, "b t n"]


FIRST_SAMPLE = 2
"""Entry of ``RawRecording`` that stands for the end of model step 0 (0: baseline, 1: end of step −1)."""


def parameter_table(
    profile: ChipProfile, truth: Mismatch, step_us: float
) -> tuple[Float32[ndarray, "parameter n"], Float32[ndarray, "4"]]:
    """Fill the compiled core's parameter table: propagators over one fine step, potentials, noise, ADC.

    Returns:
        The table, and the factors that all neurons share (``bend`` of the core).
    """
    table = np.zeros((analog.N_PARAMETERS, NEURONS))
    taus = (truth.tau_mem_us, truth.tau_syn_exc_us, truth.tau_syn_inh_us)
    for row, tau in zip((analog.MU, analog.ALPHA_EXC, analog.ALPHA_INH), taus, strict=True):
        table[row] = [dynamics.decay(step_us, one) for one in tau]
    table[analog.K_EXC] = dynamics.psp(step_us, truth.tau_mem_us, truth.tau_syn_exc_us)
    table[analog.K_INH] = dynamics.psp(step_us, truth.tau_mem_us, truth.tau_syn_inh_us)
    mu = table[analog.MU]
    factors = (
        *dynamics.arrival_factors(step_us, truth.tau_syn_exc_us, table[analog.K_EXC], mu),
        *dynamics.arrival_factors(step_us, truth.tau_syn_inh_us, table[analog.K_INH], mu),
    )
    bend = np.array([c2.mean() for _, c2 in factors])
    # One c₂ for all neurons (the core reads less); c₁ takes over most of the difference: ¾ f comes closest to f².
    rows = (analog.I_EXC, analog.V_EXC, analog.I_INH, analog.V_INH)
    for row, (c1, c2), common in zip(rows, factors, bend, strict=True):
        table[row] = c1 + 0.75 * (c2 - common)
    table[analog.LEAK], table[analog.H_OVER_TAU] = truth.leak_mv, step_us / truth.tau_mem_us
    table[analog.REST] = (1 - mu) * truth.leak_mv
    table[analog.RESET] = np.clip(truth.reset_mv, profile.membrane_min_mv, profile.membrane_max_mv)
    table[analog.THRESHOLD] = truth.threshold_mv
    table[analog.REFRACTORY] = truth.refractory_us / step_us
    # Stationary noise of SD σ needs kicks of SD σ √(1 − μ²); the core draws them uniform in ±1, SD 1/√3.
    kick = np.sqrt(3 * (1 - mu**2))
    table[analog.NOISE] = profile.membrane_noise_mv * kick
    table[analog.STATIONARY] = 1 / kick
    table[analog.LOW], table[analog.HIGH] = profile.membrane_min_mv, profile.membrane_max_mv
    table[analog.ADC_GAIN] = truth.cadc_gain / CADC_MV_PER_LSB
    table[analog.ADC_OFFSET] = truth.cadc_offset_lsb
    table[analog.START] = np.clip(truth.leak_mv, profile.membrane_min_mv, profile.membrane_max_mv)
    table[analog.SPREAD] = profile.cadc_noise_lsb
    return table.astype(np.float32), bend.astype(np.float32)
