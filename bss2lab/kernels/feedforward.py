"""Compiled forward and backward pass of the feed-forward network, one sample at a time.

Three facts make it fast. Input spikes are few: the drive of a step is a sum of weight rows, and the gradient
of a weight row is a sum of adjoint currents at its spike times. A sample's whole history fits the first-level
cache, so that forward and backward run over it before the next sample is touched. The loss touches the output
at few moments, and only there does the backward pass meet the output weights.

Hidden neurons are padded to a multiple of 16; padded weights are zero and stay so.
The equations are those of ``dynamics`` and ``surrogate``, inlined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab import dynamics, surrogate
from bss2lab.kernels.bits import list_marked
from bss2lab.kernels.jit import device, kernel, prange

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

# Single-precision literals: they leave both float32 and float64 arithmetic as it is.
_ZERO, _ONE = np.float32(0), np.float32(1)

LANES = 16

_synaptic_current = device(dynamics.synaptic_current)
_membrane = device(dynamics.membrane)
_fires = device(dynamics.fires)
_membrane_adjoint = device(dynamics.membrane_adjoint)
_current_adjoint = device(dynamics.current_adjoint)
_derivative = device(surrogate.superspike_derivative)


def padded(n: int, multiple: int) -> int:
    """Return ``n`` rounded up to a multiple."""
    return -(-n // multiple) * multiple


def pad_hidden(w: Float[ndarray, "i n"]) -> Float[ndarray, "i pad"]:
    """Return hidden weights with their columns padded by zeros."""
    out = np.zeros((w.shape[0], padded(w.shape[1], LANES)), w.dtype)
    out[:, : w.shape[1]] = w
    return out


def pad_output(w: Float[ndarray, "n o"]) -> Float[ndarray, "o n_pad"]:
    """Return output weights transposed, [output, hidden], their columns padded by zeros."""
    out = np.zeros((w.shape[1], padded(w.shape[0], LANES)), w.dtype)
    out[:, : w.shape[0]] = w.T
    return out


@kernel(fast=True)
def add_row(row, total):
    for j in range(total.shape[0]):
        total[j] += row[j]


@kernel(fast=True)
def step_hidden(drive, current, v_before, v_after, s_after, alive, alpha, mu):
    """One step of the hidden layer; clears the drive for the next one."""
    for j in range(drive.shape[0]):
        current[j] = _synaptic_current(current[j], drive[j], alpha)
        drive[j] = _ZERO
        before = v_before[j]
        spiked = alive[j] if _fires(before) else _ZERO
        v = _membrane(before, current[j], spiked, mu)
        v_after[j] = v
        s_after[j] = np.uint8(alive[j] if _fires(v) else _ZERO)


@kernel(fast=True)
def forward_sample(w_hidden, bins, units, alive, alpha, mu, v, s, current, drive, rest):
    """Run the hidden layer of one sample.

    Args:
        w_hidden: [input, hidden].
        bins, units: the sample's events, sorted by bin.
        alive: [hidden], 1 for neurons that may fire, else 0 (float).
        v, s: out, [time, hidden]; s is uint8.
        current, drive, rest: scratch, [hidden]; the last holds zeros.
    """
    current[:] = 0
    drive[:] = 0
    event = 0
    for t in range(v.shape[0]):
        while event < bins.shape[0] and bins[event] == t:
            add_row(w_hidden[units[event]], drive)
            event += 1
        step_hidden(drive, current, v[t - 1] if t > 0 else rest, v[t], s[t], alive, alpha, mu)


@kernel(fast=True)
def append_spikes(row, t, n, spike_time, spike_unit):
    """Append the spikes of step ``t`` to a list of ``n``. Returns their number now."""
    found = list_marked(row.view(np.uint64), spike_unit[n:])
    spike_time[n : n + found] = t
    return n + found


@kernel(fast=True)
def list_spikes(s, spike_time, spike_unit):
    """List the spikes of one sample in time order. Returns their number."""
    n = 0
    for t in range(s.shape[0]):
        n = append_spikes(s[t], t, n, spike_time, spike_unit)
    return n


@kernel(fast=True)
def output_sample(w_output, spike_time, spike_unit, n_spikes, alpha, mu, v_output, current):
    """Run the output layer of one sample on its hidden spikes (a spike of step t acts in step t + 1).

    Args:
        w_output: [output, hidden].
        spike_time, spike_unit: hidden spikes in time order.
        v_output: out, [time, output].
        current: scratch, [output].
    """
    current[:] = 0
    n_out = current.shape[0]
    at = 0
    for t in range(v_output.shape[0]):
        for o in range(n_out):
            current[o] = _synaptic_current(current[o], _ZERO, alpha)
        while at < n_spikes and spike_time[at] == t - 1:
            for o in range(n_out):
                current[o] += w_output[o, spike_unit[at]]
            at += 1
        for o in range(n_out):
            before = v_output[t - 1, o] if t > 0 else current[o] * _ZERO
            v_output[t, o] = _membrane(before, current[o], _ZERO, mu)


@kernel(fast=True)
def add_scaled_row(row, factor, total):
    for j in range(total.shape[0]):
        total[j] += factor * row[j]


@kernel(fast=True)
def _step_adjoint(v, alive, grad_s, from_outputs, lambda_v, lambda_i_next, lambda_i, alpha, mu, beta):
    """One step of the hidden layer back in time."""
    for j in range(v.shape[0]):
        slope = _derivative(v[j], beta) * alive[j]
        lambda_v[j] = _membrane_adjoint(lambda_v[j], mu, grad_s[j] + from_outputs[j], slope)
        lambda_i[j] = _current_adjoint(lambda_i_next[j], alpha, lambda_v[j])


@kernel(fast=True)
def _step_outputs_adjoint(membranes, currents, alpha, mu):
    """One step of the output layer back in time, already weighted (see ``backward_sample``)."""
    for j in range(membranes.shape[0]):
        membranes[j] = _membrane_adjoint(membranes[j], mu, _ZERO, _ZERO)
        currents[j] = _current_adjoint(currents[j], alpha, membranes[j])


@kernel(fast=True)
def backward_sample(w_output, v, alive, grad_s, grad_v_output, alpha, mu, beta, adjoint, adjoint_output, scratch):
    """Back-propagate through one sample.

    A hidden spike of step t receives Σ_o W_o λ_I,o[t+1]. The output layer is linear and its units are alike, so
    the sum obeys the same recursion as each λ_o. It is carried along per hidden neuron, and a row of output
    weights is added only where the loss touches an output: for a maximum over time, about once per output.

    Args:
        w_output: [output, hidden].
        v: hidden membranes, modelled or recorded, [time, hidden].
        alive: [hidden], 1 for neurons that may fire (float).
        grad_s: ∂L/∂S of the hidden spikes from the loss itself, [time, hidden] or, if constant in time, [1, hidden].
        grad_v_output: ∂L/∂V of the output, [time, output].
        adjoint: out, λ_I of the hidden layer, [time, hidden].
        adjoint_output: out, λ_I of the output layer, [time, output].
        scratch: [4, hidden].
    """
    n_steps, n_out = grad_v_output.shape
    for o in range(n_out):
        lambda_v = grad_v_output[0, o] * _ZERO
        lambda_i = lambda_v
        for t in range(n_steps - 1, -1, -1):
            lambda_v = _membrane_adjoint(lambda_v, mu, grad_v_output[t, o], _ONE)
            lambda_i = _current_adjoint(lambda_i, alpha, lambda_v)
            adjoint_output[t, o] = lambda_i
    scratch[:] = 0
    lambda_v_h, membranes, currents, nothing = scratch[0], scratch[1], scratch[2], scratch[3]
    touched = False
    for t in range(n_steps - 1, -1, -1):
        later = adjoint[t + 1] if t + 1 < n_steps else nothing
        direct = grad_s[min(t, grad_s.shape[0] - 1)]
        _step_adjoint(v[t], alive, direct, currents, lambda_v_h, later, adjoint[t], alpha, mu, beta)
        for o in range(n_out):
            if grad_v_output[t, o] != 0:
                add_scaled_row(w_output[o], grad_v_output[t, o] / mu, membranes)  # (the step below multiplies by μ)
                touched = True
        if touched:
            _step_outputs_adjoint(membranes, currents, alpha, mu)


@kernel(fast=True)
def add_output_gradient(spike_time, spike_unit, n_spikes, adjoint_output, grad):
    """Add one sample's ∂L/∂W of the output layer, [output, hidden]."""
    n_steps, n_out = adjoint_output.shape
    for k in range(n_spikes):
        t = spike_time[k] + 1
        if t < n_steps:
            for o in range(n_out):
                grad[o, spike_unit[k]] += adjoint_output[t, o]


@kernel()
def events_by_unit(offsets, index, units, bins, n_units, start, sample, step):
    """Regroup the events of a batch by input unit.

    Args:
        offsets, units, bins: events of the data set; index: the samples of the batch.
        start: out, [n_units + 1]; unit ``i`` owns entries ``start[i]:start[i + 1]`` of the next two.
        sample, step: out, position in the batch and time bin of each event.
    """
    start[:] = 0
    for b in range(index.shape[0]):
        for e in range(offsets[index[b]], offsets[index[b] + 1]):
            start[units[e] + 1] += 1
    for i in range(n_units):
        start[i + 1] += start[i]
    fill = start[:-1].copy()
    for b in range(index.shape[0]):
        for e in range(offsets[index[b]], offsets[index[b] + 1]):
            at = fill[units[e]]
            fill[units[e]] = at + 1
            sample[at] = b
            step[at] = bins[e]


@kernel(fast=True)
def row_gradient(adjoint, sample, step, total):
    """∂L/∂W of one input's weight row: the sum of the adjoint currents at its spikes."""
    total[:] = 0
    for k in range(sample.shape[0]):
        add_row(adjoint[sample[k], step[k]], total)


@kernel(parallel=True, fast=True)
def forward(w_hidden, w_output, offsets, index, units, bins, alive, alpha, mu, v_hidden, s_hidden, v_output):
    """Free-running forward pass of a batch; fills [batch, time, ·] arrays (padded; s_hidden is uint8)."""
    n_steps, n_hidden = v_hidden.shape[1:]
    for b in prange(index.shape[0]):
        rest = np.zeros(n_hidden, v_hidden.dtype)
        current, drive = np.empty(n_hidden, v_hidden.dtype), np.empty(n_hidden, v_hidden.dtype)
        spike_time, spike_unit = np.empty(n_steps * n_hidden, np.int32), np.empty(n_steps * n_hidden, np.int32)
        first, last = offsets[index[b]], offsets[index[b] + 1]
        forward_sample(
            w_hidden, bins[first:last], units[first:last], alive, alpha, mu,
            v_hidden[b], s_hidden[b], current, drive, rest,
        )  # fmt: skip
        n_spikes = list_spikes(s_hidden[b], spike_time, spike_unit)
        scratch = np.empty(w_output.shape[0], v_hidden.dtype)
        output_sample(w_output, spike_time, spike_unit, n_spikes, alpha, mu, v_output[b], scratch)


@kernel(parallel=True, fast=True)
def backward(
    w_output,
    offsets,
    index,
    units,
    bins,
    alive,
    alpha,
    mu,
    beta,
    v_hidden,
    s_hidden,
    grad_s,
    grad_v_output,
    adjoint,
    grad_hidden,
    grad_output,
):
    """Backward pass of a batch: weight gradients from the gradients at spikes and output membranes.

    ``adjoint`` is scratch, [batch, time, hidden]; ``grad_hidden`` [input, hidden] and ``grad_output``
    [output, hidden] are filled. The order of every sum is fixed, whatever the number of threads.
    """
    batch, n_steps, n_hidden = v_hidden.shape
    adjoint_output = np.empty(grad_v_output.shape, grad_v_output.dtype)
    for b in prange(batch):
        scratch = np.empty((4, n_hidden), v_hidden.dtype)
        backward_sample(
            w_output, v_hidden[b], alive, grad_s[b], grad_v_output[b], alpha, mu, beta,
            adjoint[b], adjoint_output[b], scratch,
        )  # fmt: skip
    n_units = grad_hidden.shape[0]
    n_events = 0
    for b in range(batch):
        n_events += offsets[index[b] + 1] - offsets[index[b]]
    start = np.empty(n_units + 1, np.int64)
    sample, step = np.empty(n_events, np.int32), np.empty(n_events, np.int32)
    events_by_unit(offsets, index, units, bins, n_units, start, sample, step)
    for i in prange(n_units):
        row_gradient(adjoint, sample[start[i] : start[i + 1]], step[start[i] : start[i + 1]], grad_hidden[i])
    grad_output[:] = 0
    spike_time, spike_unit = np.empty(n_steps * n_hidden, np.int32), np.empty(n_steps * n_hidden, np.int32)
    for b in range(batch):
        n_spikes = list_spikes(s_hidden[b], spike_time, spike_unit)
        add_output_gradient(spike_time, spike_unit, n_spikes, adjoint_output[b], grad_output)
