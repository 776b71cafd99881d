"""Compiled forward and backward pass of the recurrent network, a block of samples at a time.

Forward, the network is driven by events: a spike, from outside or from the hidden layer one step before, adds its
weight row. Backward, every hidden neuron hears from every other at every step. That is one dense product per step,
and it is the bulk of the work: a block of samples makes it a product of matrices (see ``matmul``). Weight gradients
are added up on the way back, event by event, so that adjoints are never stored.

Blocks are dealt out to threads evenly; each has its own gradients, which are summed in the order of the blocks:
results do not depend on the number of threads. Hidden neurons are padded as in ``feedforward``; the equations are
those of ``dynamics`` and ``surrogate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab import dynamics, surrogate
from bss2lab.kernels.feedforward import (
    LANES,
    add_row,
    add_scaled_row,
    append_spikes,
    list_spikes,
    output_sample,
    padded,
    step_hidden,
)
from bss2lab.kernels.jit import device, kernel, prange
from bss2lab.kernels.matmul import PANEL, ROWS, multiply, pack

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

_ZERO, _ONE = np.float32(0), np.float32(1)

BLOCK = 2 * ROWS
"""Samples that go back in time together. More would need less traffic for weights, and more for membranes."""

_membrane_adjoint = device(dynamics.membrane_adjoint)
_current_adjoint = device(dynamics.current_adjoint)
_derivative = device(surrogate.superspike_derivative)


def pad_recurrent(w: Float[ndarray, "n n"]) -> Float[ndarray, "pad pad"]:
    """Return recurrent weights, [source, target], padded by zeros on both sides."""
    size = padded(len(w), LANES)
    out = np.zeros((size, size), w.dtype)
    out[: len(w), : len(w)] = w
    return out


@kernel(fast=True)
def forward_sample(
    w_hidden, w_recurrent, bins, units, alive, alpha, mu, v, s, current, drive, rest, spike_time, spike_unit
):
    """Run the hidden layer of one sample.

    Args:
        w_hidden, w_recurrent: [input, hidden] and [source, hidden].
        bins, units: the sample's input events, sorted by bin.
        alive: [hidden], 1 for neurons that may fire, else 0 (float).
        v, s: out, [time, hidden]; s is uint8.
        current, drive, rest: scratch, [hidden]; the last holds zeros.
        spike_time, spike_unit: out, hidden spikes in time order.

    Returns:
        The number of hidden spikes.
    """
    current[:] = 0
    drive[:] = 0
    event = 0
    n, heard = 0, 0
    for t in range(v.shape[0]):
        while event < bins.shape[0] and bins[event] == t:
            add_row(w_hidden[units[event]], drive)
            event += 1
        while heard < n:  # spikes of the step before
            add_row(w_recurrent[spike_unit[heard]], drive)
            heard += 1
        step_hidden(drive, current, v[t - 1] if t > 0 else rest, v[t], s[t], alive, alpha, mu)
        n = append_spikes(s[t], t, n, spike_time, spike_unit)
    return n


@kernel(fast=True)
def transposed(w_recurrent):
    """Return recurrent weights, [source, target], as the product with what targets say needs them."""
    panels = np.empty((w_recurrent.shape[0] // PANEL, w_recurrent.shape[1], PANEL), w_recurrent.dtype)
    pack(w_recurrent.T, panels)
    return panels


@kernel(fast=True)
def _step_adjoint(v, alive, direct, fed_back, outputs, share, lambda_v, lambda_i, alpha, mu, beta):
    """One step of the hidden layer back in time: ∂L/∂S is what the loss, recurrent neurons and outputs say."""
    for j in range(v.shape[0]):
        slope = _derivative(v[j], beta) * alive[j]
        lambda_s = direct[j] + fed_back[j] + share * outputs[j]
        lambda_v[j] = _membrane_adjoint(lambda_v[j], mu, lambda_s, slope)
        lambda_i[j] = _current_adjoint(lambda_i[j], alpha, lambda_v[j])


@kernel(fast=True)
def output_response(alpha, mu, response):
    """λ_I of an output whose ∂L/∂V is 1 at every step, [time + 1] (the last entry is 0)."""
    lambda_v = alpha * _ZERO
    lambda_i = lambda_v
    response[-1] = lambda_v
    for t in range(response.shape[0] - 2, -1, -1):
        lambda_v = _membrane_adjoint(lambda_v, mu, _ONE, _ONE)
        lambda_i = _current_adjoint(lambda_i, alpha, lambda_v)
        response[t] = lambda_i


@kernel(fast=True)
def _output_adjoint(grad_v_output, alpha, mu, adjoint):
    """λ_I of the outputs, [time + 1, output], from ∂L/∂V, [time, output]."""
    n_steps, n_out = grad_v_output.shape
    adjoint[n_steps] = 0
    for o in range(n_out):
        lambda_v = grad_v_output[0, o] * _ZERO
        lambda_i = lambda_v
        for t in range(n_steps - 1, -1, -1):
            lambda_v = _membrane_adjoint(lambda_v, mu, grad_v_output[t, o], _ONE)
            lambda_i = _current_adjoint(lambda_i, alpha, lambda_v)
            adjoint[t, o] = lambda_i


@kernel(fast=True)
def backward_block(
    panels, w_output, bins, units, first, last, spike_time, spike_unit, n_spikes, alive, v, grad_s,
    grad_v_output, alpha, mu, beta, response, adjoint_output, grad_hidden, grad_recurrent, grad_output,
):  # fmt: skip
    """Back-propagate through a block of samples, adding to the weight gradients.

    Args:
        panels: recurrent weights, transposed and packed (see ``transposed``).
        w_output: [output, hidden].
        bins, units: input events of the data set; first, last: the samples' own, [block].
        spike_time, spike_unit, n_spikes: hidden spikes in time order, [block, ·], and their number, [block].
        alive: [hidden], 1 for neurons that may fire (float).
        v: hidden membranes, modelled or recorded, [block, time, hidden].
        grad_s: ∂L/∂S from the loss itself, [block, time, hidden] or, if constant in time, [block, 1, hidden].
        grad_v_output: ∂L/∂V of the outputs, [block, time, output] or, if constant in time, [block, 1, output].
        response: ``output_response``.
        adjoint_output: scratch, [block, time + 1, output].
        grad_hidden, grad_recurrent, grad_output: in and out, [input, ·], [source, ·], [output, hidden].
    """
    block, n_steps, n_hidden = v.shape
    n_out = w_output.shape[0]
    even = grad_v_output.shape[1] == 1 and n_steps > 1
    lambda_v, lambda_i = np.zeros((block, n_hidden), v.dtype), np.zeros((block, n_hidden), v.dtype)
    fed_back, outputs = np.zeros((block, n_hidden), v.dtype), np.zeros((block, n_hidden), v.dtype)
    heard = np.zeros((block, n_hidden), v.dtype)  # what each neuron's spikes did to an output
    event, spike = last.copy(), n_spikes.copy()
    for b in range(block):
        if even:
            for o in range(n_out):
                add_scaled_row(w_output[o], grad_v_output[b, 0, o], outputs[b])
        else:
            _output_adjoint(grad_v_output[b], alpha, mu, adjoint_output[b])
    for t in range(n_steps - 1, -1, -1):
        if t < n_steps - 1:
            multiply(lambda_i, panels, fed_back)
        for b in range(block):
            share = response[t + 1] if even else response[t + 1] * _ZERO + _ONE
            if not even:
                outputs[b, :] = 0
                for o in range(n_out):
                    add_scaled_row(w_output[o], adjoint_output[b, t + 1, o], outputs[b])
            while spike[b] > 0 and spike_time[b, spike[b] - 1] == t:  # it acted on everything at t + 1
                spike[b] -= 1
                k = spike_unit[b, spike[b]]
                add_row(lambda_i[b], grad_recurrent[k])
                heard[b, k] += response[t + 1]
                if not even:
                    for o in range(n_out):
                        grad_output[o, k] += adjoint_output[b, t + 1, o]
            direct = grad_s[b, min(t, grad_s.shape[1] - 1)]
            _step_adjoint(
                v[b, t], alive, direct, fed_back[b], outputs[b], share, lambda_v[b], lambda_i[b], alpha, mu, beta
            )
            while event[b] > first[b] and bins[event[b] - 1] == t:
                event[b] -= 1
                add_row(lambda_i[b], grad_hidden[units[event[b]]])
    if even:
        for b in range(block):
            for o in range(n_out):
                add_scaled_row(heard[b], grad_v_output[b, 0, o], grad_output[o])


@kernel(parallel=True, fast=True)
def forward(
    w_hidden, w_recurrent, w_output, offsets, index, units, bins, alive, alpha, mu, v_hidden, s_hidden, v_output,
):  # fmt: skip
    """Free-running forward pass of a batch; fills [batch, time, ·] arrays (padded; s_hidden is uint8)."""
    n_steps, n_hidden = v_hidden.shape[1:]
    for b in prange(index.shape[0]):
        rest, scratch = np.zeros(n_hidden, v_hidden.dtype), np.empty((2, n_hidden), v_hidden.dtype)
        spike_time, spike_unit = np.empty(n_steps * n_hidden, np.int32), np.empty(n_steps * n_hidden, np.int32)
        first, last = offsets[index[b]], offsets[index[b] + 1]
        n_spikes = forward_sample(
            w_hidden, w_recurrent, bins[first:last], units[first:last], alive, alpha, mu,
            v_hidden[b], s_hidden[b], scratch[0], scratch[1], rest, spike_time, spike_unit,
        )  # fmt: skip
        current = np.empty(w_output.shape[0], v_hidden.dtype)
        output_sample(w_output, spike_time, spike_unit, n_spikes, alpha, mu, v_output[b], current)


@kernel(parallel=True, fast=True)
def sum_blocks(parts, total):
    """Sum gradients over the blocks, in their order."""
    for i in prange(total.shape[0]):
        total[i] = 0
        for k in range(parts.shape[0]):
            add_row(parts[k, i], total[i])


@kernel(parallel=True, fast=True)
def backward(
    w_recurrent, w_output, n_inputs, offsets, index, units, bins, alive, alpha, mu, beta, v_hidden, s_hidden,
    grad_s, grad_v_output, size, gradients,
):  # fmt: skip
    """Backward pass of a batch: weight gradients from the gradients at spikes and output membranes.

    Args:
        n_inputs: number of input rows; size: samples in a block; gradients: out, those of all rows, input rows
            first, then recurrent ones, then outputs, [input + source + output, hidden].
        (others): see ``backward_block``.
    """
    batch, n_steps, n_hidden = v_hidden.shape
    n_out = w_output.shape[0]
    n_blocks = (batch + size - 1) // size
    parts = np.zeros((n_blocks, gradients.shape[0], n_hidden), v_hidden.dtype)
    response = np.empty(n_steps + 1, v_hidden.dtype)
    output_response(alpha, mu, response)
    panels = transposed(w_recurrent)
    for k in prange(n_blocks):
        b, end = k * size, min(batch, (k + 1) * size)
        first, last, n_spikes = np.empty(end - b, np.int64), np.empty(end - b, np.int64), np.empty(end - b, np.int64)
        spike_time = np.empty((end - b, n_steps * n_hidden), np.int32)
        spike_unit = np.empty((end - b, n_steps * n_hidden), np.int32)
        for i in range(end - b):
            first[i], last[i] = offsets[index[b + i]], offsets[index[b + i] + 1]
            n_spikes[i] = list_spikes(s_hidden[b + i], spike_time[i], spike_unit[i])
        adjoint_output = np.empty((end - b, n_steps + 1, n_out), v_hidden.dtype)
        backward_block(
            panels, w_output, bins, units, first, last, spike_time, spike_unit, n_spikes, alive,
            v_hidden[b:end], grad_s[b:end], grad_v_output[b:end], alpha, mu, beta, response, adjoint_output,
            parts[k, :n_inputs], parts[k, n_inputs : n_inputs + n_hidden], parts[k, n_inputs + n_hidden :],
        )  # fmt: skip
    sum_blocks(parts, gradients)
