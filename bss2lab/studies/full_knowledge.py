"""A differentiable twin of the emulated chip: it knows every neuron's parameters, which no experimenter does.

The same equations and parameter table as the compiled core (``kernels.analog``), on the same fine grid, in torch:
exact propagators, arrivals traced back to the grid, threshold crossings, refractory times, rails. Noise is off and
samples are not rounded. Its surrogate gradient is the reference that the injected graph is compared with.

Two choices make the surrogate gradient independent of the fine step, and so a property of the chip rather than of
the grid [assumed; tested]: a spike's derivative is taken at the threshold, where it happens, not at the height that
the membrane would have reached by the next grid point; and a fine step without a spike counts by its share h/Δt of
the model's step. Constants in the derivative: the times of spikes and of refractoriness. The reset is hard, as on
the chip: nothing of a membrane's past is left in it after a spike (in the model's derivative, it stays).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bss2lab import dynamics, quantize
from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE, parameter_table
from bss2lab.chip.spec import NEURONS
from bss2lab.errors import InputError, complain
from bss2lab.kernels import Traces, analog, inject
from bss2lab.quantize import CADC_MAX, CADC_MV_PER_LSB, MODEL_UNIT_MV
from bss2lab.surrogate import superspike_derivative
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray


class TwinRun(NamedTuple):
    """What the twin did, on the chip's fine grid; differentiable.

    Attributes:
        v_hidden, v_output: membranes at the grid points, mV, [batch, fine + 1, neuron].
        s_hidden: hidden spikes within each fine step, [batch, fine, hidden].
    """

    v_hidden: Float[Tensor, "b steps n"]
    v_output: Float[Tensor, "b steps o"]
    s_hidden: Float[Tensor, "b fine n"]


class _Arrivals(NamedTuple):
    """Spikes that arrive within each fine step, [batch, fine, source]: how many, and Σ f and Σ f² of their fractions.

    What ``dynamics.arrival_current`` and ``arrival_membrane`` add is linear in f and f²: these sums are all that a
    synapse needs to know.
    """

    number: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Neurons:
    """Some columns of the core's parameter table, each [neuron]; names as in ``kernels.analog``."""

    table: dict[int, Tensor]
    bend: Tensor

    def __getitem__(self, row: int) -> Tensor:
        return self.table[row]


def simulate(
    chip: Chip,
    w_hidden: Float[Tensor, "i n"],
    w_output: Float[Tensor, "n o"],
    spikes: Spikes,
    *,
    beta: float,
) -> TwinRun:
    """Run the twin of a chip, without noise.

    Args:
        chip: the emulated chip; its hidden truth is read.
        w_hidden, w_output: weights in the chip's unit, −63 … 63 (floats, so that they can have a gradient). At
            weight 0, where the excitatory synapse hands over to the inhibitory one, the derivative is their mean.
        spikes: input.
        beta: steepness of the surrogate derivative, per model unit (330 mV) above the neuron's own threshold.

    Returns:
        Membranes and spikes on the fine grid, in the dtype of the weights.

    Raises:
        InputError: if network, input and chip do not fit together.
    """
    _check(w_hidden, w_output, spikes)
    n_hidden, n_output = w_output.shape
    hidden, output = slice(0, n_hidden), slice(NEURONS - n_output, NEURONS)
    gains = _gains(chip, w_hidden, w_output)
    arrivals = _Arrivals(*(torch.from_numpy(x).to(w_hidden) for x in _input_on_grid(chip, spikes)))
    p = _neurons(chip, hidden, w_hidden)
    v_hidden, s_hidden, after = _spiking(chip, p, _drive(arrivals, _signed(w_hidden, *gains[:2])), beta)
    delay = torch.from_numpy(chip.mismatch.routed_delay_us[hidden] / chip.step_us).to(w_hidden)
    drive = _drive(_routed_on_grid(s_hidden, after, delay), _signed(w_output, *gains[2:]))
    v_output = _passive(_neurons(chip, output, w_output), drive)
    return TwinRun(v_hidden, v_output, s_hidden)


def read_out(chip: Chip, run: TwinRun, output_scale: float) -> Traces:
    """Read a twin's run as the column ADC would, without rounding: in model units, at the ADC's sample times.

    Each neuron is read against its own first sample; a step with a spike shows the threshold, as in
    ``network.traces_of``.

    Args:
        chip: the chip (gain and offset of its ADC channels).
        run: what its twin did.
        output_scale: scale that the output weights were written with.
    """
    n_sub = chip.profile.substeps
    hidden_channels = slice(0, run.v_hidden.shape[2])
    output_channels = slice(NEURONS - run.v_output.shape[2], NEURONS)

    def trace(v: Tensor, channels: slice, scale: float) -> Tensor:
        gain = torch.from_numpy(chip.mismatch.cadc_gain[channels] / CADC_MV_PER_LSB).to(v)
        offset = torch.from_numpy(chip.mismatch.cadc_offset_lsb[channels]).to(v)
        samples = torch.clamp(v[:, ::n_sub] * gain + offset, 0, CADC_MAX)
        return quantize.normalise(samples[:, FIRST_SAMPLE:], samples[:, :1], quantize.model_units_per_lsb(scale))

    fired = run.s_hidden.unflatten(1, (-1, n_sub)).sum(dim=2)[:, FIRST_SAMPLE - 1 :]
    hidden = trace(run.v_hidden, hidden_channels, quantize.HIDDEN_SCALE)
    hidden = torch.where(fired > 0, torch.ones_like(hidden) * float(dynamics.THRESHOLD), hidden)
    return Traces(hidden, fired, trace(run.v_output, output_channels, output_scale))


# --- inside ---------------------------------------------------------------------------------------------------


def _check(w_hidden: Tensor, w_output: Tensor, spikes: Spikes) -> None:
    for name, w, rows in (("w_hidden", w_hidden, spikes.n_units), ("w_output", w_output, w_hidden.shape[-1])):
        if w.ndim != 2 or w.shape[0] != rows:
            want, got = f"[{rows} sources, neurons]", list(w.shape)
            raise InputError(complain(name, expected=want, got=got, fix="transposed?"))


def _gains(chip: Chip, w_hidden: Tensor, w_output: Tensor) -> list[Tensor]:
    """Ask the chip what one unit of weight does: mV/µs per spike, exc. and inh., hidden then output layer."""
    gains: list[Tensor] = []
    shapes = w_hidden.shape, w_output.shape
    plus, minus = (chip.write(Weights(*(np.full(shape, sign, np.int8) for shape in shapes))) for sign in (1, -1))
    (n_input, n_hidden), n_output = w_hidden.shape, w_output.shape[1]
    for rows in ("input_rows", "routed_rows"):
        part = np.s_[:n_input, :n_hidden] if rows == "input_rows" else np.s_[:n_hidden, NEURONS - n_output :]
        gains += [torch.from_numpy(np.abs(getattr(p, rows)[part])).to(w_hidden) for p in (plus, minus)]
    return gains


def _signed(w: Tensor, gain_exc: Tensor, gain_inh: Tensor) -> tuple[Tensor, Tensor]:
    """Excitatory and inhibitory part of a layer, mV/µs per spike (a tie at 0 shares its gradient evenly)."""
    zero = torch.zeros_like(w)
    return torch.maximum(w, zero) * gain_exc, torch.minimum(w, zero) * gain_inh


def _neurons(chip: Chip, which: slice, like: Tensor) -> _Neurons:
    table, bend = parameter_table(chip.profile, chip.mismatch, chip.step_us)
    columns = {row: torch.from_numpy(table[row, which].copy()).to(like) for row in range(analog.N_PARAMETERS)}
    return _Neurons(columns, torch.from_numpy(bend).to(like))


def _fine_steps(chip: Chip, duration_us: float) -> int:
    return (chip.samples_in(duration_us) + 1) * chip.profile.substeps


def _input_on_grid(chip: Chip, spikes: Spikes) -> list[Float[ndarray, "b fine i"]]:
    """File input spikes under the fine steps in which they arrive; see ``_Arrivals``."""
    n_steps = _fine_steps(chip, spikes.duration_us)
    start_us = chip.profile.readout_lag_us - chip.profile.cadc_period_us
    owner = np.repeat(np.arange(len(spikes)), np.diff(spikes.offsets))
    at = np.maximum((spikes.times_us + chip.mismatch.input_delay_us[spikes.units] - start_us) / chip.step_us, 0.0)
    step = np.floor(at).astype(np.int64)
    here = step < n_steps
    where, part = (owner[here], step[here], spikes.units[here]), (at - step)[here]
    sums = [np.zeros((len(spikes), n_steps, spikes.n_units)) for _ in range(3)]
    for power, total in enumerate(sums):
        np.add.at(total, where, part**power)
    return sums


def _routed_on_grid(s: Float[Tensor, "b fine n"], after: Tensor, delay: Tensor) -> _Arrivals:
    """File hidden spikes under the fine steps in which they arrive at the output synapses.

    Args:
        s: spikes within each fine step.
        after: fraction of the step after which each came.
        delay: synaptic delay of each source, in fine steps.
    """
    lag = torch.clamp(after + delay, min=1.0)
    part = lag - lag.floor()
    sums = [torch.zeros_like(s) for _ in range(3)]
    for k in range(1, min(int(lag.max()) + 1, s.shape[1])):
        here = s * (lag.floor() == k)
        for power in range(3):
            late = torch.nn.functional.pad((here * part**power)[:, :-k], (0, 0, k, 0))
            sums[power] = sums[power] + late
    return _Arrivals(*sums)


def _drive(arrivals: _Arrivals, rows: tuple[Tensor, Tensor]) -> list[_Arrivals]:
    """What arrives at each neuron, mV/µs, through its excitatory and through its inhibitory synapses."""
    return [_Arrivals(*(sums @ part for sums in arrivals)) for part in rows]


def _arrive(p: _Neurons, drive: list[_Arrivals], step: int, state: tuple[Tensor, Tensor, Tensor], free: Any) -> Any:
    """Trace the step's arrivals back to its beginning (``dynamics.arrival_current``): new membrane and currents.

    Args:
        p, drive, step: neurons, what arrives at them, and the fine step.
        state: membrane, excitatory and inhibitory current.
        free: 0 for neurons in their refractory time, whose membrane is held; 1 for the others.
    """
    v, *currents = state
    rows = ((analog.I_EXC, analog.V_EXC), (analog.I_INH, analog.V_INH))
    for k, (current, membrane) in enumerate(rows):
        number, first, second = (x[:, step] for x in drive[k])
        bend = p.bend[current - analog.I_EXC], p.bend[membrane - analog.I_EXC]
        currents[k] = currents[k] + number + p[current] * first + bend[0] * second
        v = v + free * (p[membrane] * first + bend[1] * second)
    return v, currents[0], currents[1]


def _propagate(p: _Neurons, v: Tensor, exc: Tensor, inh: Tensor) -> Tensor:
    return dynamics.membrane_exact(v, p[analog.REST], p[analog.MU], exc, p[analog.K_EXC], inh, p[analog.K_INH])


def _decay(p: _Neurons, exc: Tensor, inh: Tensor) -> tuple[Tensor, Tensor]:
    return (
        dynamics.synaptic_current(exc, 0.0, p[analog.ALPHA_EXC]),
        dynamics.synaptic_current(inh, 0.0, p[analog.ALPHA_INH]),
    )


def _spiking(chip: Chip, p: _Neurons, drive: list[_Arrivals], beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Run the hidden neurons; return membranes, spikes, and the fraction of the step after which each spike came."""
    batch, n_steps, n = drive[0].number.shape
    exc = inh = dead = p[analog.START].new_zeros(batch, n)
    v = p[analog.START].expand(batch, n)
    at_threshold = torch.full_like(v, float(superspike_derivative(dynamics.THRESHOLD, beta)))
    threshold, reset = p[analog.THRESHOLD], p[analog.RESET]
    membranes, spikes, fractions = [v], [], []
    for step in range(n_steps):
        v, exc, inh = _arrive(p, drive, step, (v, exc, inh), (dead <= 0).to(v.dtype))
        awake = torch.clamp(1 - dead, 0, 1)
        after = torch.clamp(v + awake * (_propagate(p, v, exc, inh) - v), p[analog.LOW], p[analog.HIGH])
        exc, inh = _decay(p, exc, inh)
        height = float(dynamics.THRESHOLD) + (after - threshold) / MODEL_UNIT_MV
        with torch.no_grad():
            fired = dynamics.fires(height) & (awake > 0)
            slope = torch.where(fired, at_threshold, superspike_derivative(height, beta) / chip.profile.substeps)
            rise = awake * (p[analog.H_OVER_TAU] * (p[analog.LEAK] - after) + chip.step_us * (exc + inh))
            crossing = dynamics.threshold_crossing(v, after, rise, threshold)
            part = torch.where(fired, torch.where(v < threshold, crossing, torch.zeros_like(v)), 0.5)
            within = (1 - awake) + awake * torch.clamp(part, 0, 1)
            left = p[analog.REFRACTORY] - (1 - within)
            dead = torch.where(fired, torch.clamp(left, min=0), torch.clamp(dead - 1, min=0))
        s = inject(slope * height, fired.to(v.dtype))
        rising = _propagate(p, reset, exc, inh)
        v = torch.where(fired, reset + torch.clamp(-left, min=0) * (rising - reset), after)
        membranes.append(v)
        spikes.append(s)
        fractions.append(within)
    return torch.stack(membranes, 1), torch.stack(spikes, 1), torch.stack(fractions, 1)


def _passive(p: _Neurons, drive: list[_Arrivals]) -> Tensor:
    """Run the output neurons, whose threshold is off; return their membranes."""
    batch, n_steps, n = drive[0].number.shape
    exc = inh = p[analog.START].new_zeros(batch, n)
    v = p[analog.START].expand(batch, n)
    membranes = [v]
    for step in range(n_steps):
        v, exc, inh = _arrive(p, drive, step, (v, exc, inh), 1.0)
        v = torch.clamp(_propagate(p, v, exc, inh), p[analog.LOW], p[analog.HIGH])
        exc, inh = _decay(p, exc, inh)
        membranes.append(v)
    return torch.stack(membranes, 1)
