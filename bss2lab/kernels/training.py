"""The fused training step: forward (or recorded), max-over-time loss, backward, Adam, in one call.

For the standard objective only (``losses.Objective``); any other loss goes through ``autograd.feedforward``.
"""

from __future__ import annotations

import numpy as np

from bss2lab import quantize
from bss2lab.dynamics import THRESHOLD
from bss2lab.kernels.feedforward import (
    add_output_gradient,
    backward_sample,
    events_by_unit,
    forward_sample,
    list_spikes,
    output_sample,
    row_gradient,
)
from bss2lab.kernels.jit import device, kernel, prange

_normalise = device(quantize.normalise)

NLL, BURST, READOUT, CORRECT, SPIKES, CLIPPED = range(6)
"""Columns of the per-sample statistics."""

N_STATISTICS = 6

# Single-precision literals: they leave both float32 and float64 arithmetic as it is.
_ZERO, _ONE, _TWO, _TINY = np.float32(0), np.float32(1), np.float32(2), np.float32(1e-30)


@kernel(fast=True)
def max_over_time_loss(v_output, n_out, label, c, rho_a, weight, grad_v_output, stats):
    """NLL(log_softmax(c · max_t V)) + ρ_a · mean_i (max_t V_i)² of one sample, and its gradient.

    Args:
        v_output: [time, outputs]; n_out: number of outputs.
        label: class; c: loss scale; rho_a: readout penalty; weight: factor of the gradient (1 / batch).
        grad_v_output: out, [time, outputs]; non-zero at each output's maximum, shared evenly among equals
            (8-bit samples tie often; a silent output ties everywhere, and would otherwise never learn).
        stats: out, the sample's statistics.
    """
    n_steps = v_output.shape[0]
    grad_v_output[:] = 0
    peak = np.empty(n_out, v_output.dtype)
    best = 0
    square = c * _ZERO
    for o in range(n_out):
        peak[o] = v_output[0, o]
        for t in range(1, n_steps):
            peak[o] = max(peak[o], v_output[t, o])
        square += peak[o] * peak[o]
        if peak[o] > peak[best]:
            best = o
    total = c * _ZERO
    for o in range(n_out):
        total += np.exp(c * (peak[o] - peak[best]))
    stats[NLL] = np.log(total) + c * (peak[best] - peak[label])
    stats[READOUT] = rho_a * square / np.float32(n_out)
    stats[CORRECT] = _ONE if best == label else _ZERO
    for o in range(n_out):
        p = np.exp(c * (peak[o] - peak[best])) / total
        target = _ONE if o == label else _ZERO
        g = weight * (c * (p - target) + _TWO * rho_a * peak[o] / np.float32(n_out))
        ties = _ZERO
        for t in range(n_steps):
            ties += _ONE if v_output[t, o] == peak[o] else _ZERO
        for t in range(n_steps):
            if v_output[t, o] == peak[o]:
                grad_v_output[t, o] = g / ties


@kernel(fast=True)
def burst_penalty(s, n_hidden, rho_b, weight, grad_s, stats):
    """ρ_b / N_H · Σ_i (Σ_t S_i)² of one sample; its gradient is constant in time, [1, hidden]."""
    g = grad_s[0]
    g[:] = 0
    for t in range(s.shape[0]):
        row = s[t]
        for j in range(row.shape[0]):
            g[j] += row[j]
    spikes = g[0] * _ZERO
    square = g[0] * _ZERO
    factor = weight * _TWO * rho_b / np.float32(n_hidden)
    for j in range(g.shape[0]):
        spikes += g[j]
        square += g[j] * g[j]
        g[j] *= factor
    stats[SPIKES] = spikes
    stats[BURST] = rho_b * square / np.float32(n_hidden)


@kernel(fast=True)
def read_recording(cadc, fired, first, alive, n_hidden, n_out, hidden_unit, output_unit, threshold, v, s, v_output):
    """Take over one sample's raw recording in model units.

    A membrane sample in a bin with a spike was taken after the reset: the model's value at a spike is the
    threshold, and that is what is injected there [assumed: it trains better than the sample itself].

    Returns:
        The number of output samples at the end of the ADC's range.
    """
    clipped = 0
    base_out = cadc.shape[1] - n_out
    for t in range(v.shape[0]):
        codes, spikes, start, v_row, s_row = cadc[first + t], fired[first + t], cadc[0], v[t], s[t]
        for j in range(n_hidden):
            spike = spikes[j] if alive[j] > 0 else np.uint8(0)
            trace = _normalise(np.float32(codes[j]), np.float32(start[j]), hidden_unit)
            v_row[j] = threshold if spike else trace
            s_row[j] = spike
        for o in range(n_out):
            code = codes[base_out + o]
            clipped += 1 if code == 0 or code == 255 else 0
            v_output[t, o] = _normalise(np.float32(code), np.float32(start[base_out + o]), output_unit)
    return clipped


@kernel(fast=True)
def adam_row(w, m, v, grad, rate, beta1, beta2, epsilon, correction2, decay, limit):
    """Adam on one weight row, with the gradient 2 · decay · w of the weight penalty and a clamp to ± limit.

    ``rate`` is the learning rate over 1 − β1^k, ``correction2`` is √(1 − β2^k).
    """
    new1, new2, twice = _ONE - beta1, _ONE - beta2, _TWO * decay
    for j in range(w.shape[0]):
        g = grad[j] + twice * w[j]
        first = beta1 * m[j] + new1 * g
        first = first if abs(first) > _TINY else _ZERO  # (subnormal numbers cost a hundred times as much)
        second = beta2 * v[j] + new2 * g * g
        second = second if second > _TINY else _ZERO
        m[j], v[j] = first, second
        step = rate * first / (np.sqrt(second) / correction2 + epsilon)
        w[j] = min(max(w[j] - step, -limit), limit)


@kernel(parallel=True, fast=True)
def train_step(
    w_hidden,
    w_output,
    moments_hidden,
    moments_output,
    offsets,
    index,
    units,
    bins,
    labels,
    alive,
    alpha,
    mu,
    beta,
    c,
    rho_a,
    rho_b,
    decay,
    limit,
    rate,
    beta1,
    beta2,
    epsilon,
    correction2,
    n_hidden,
    n_out,
    n_steps,
    cadc,
    fired,
    first,
    hidden_unit,
    output_unit,
    adjoint,
    stats,
):
    """One training step of the 2-layer network; updates weights and moments in place.

    Args:
        w_hidden, w_output: padded weights, [input, hidden] and [output, hidden].
        moments_hidden, moments_output: Adam's two moments, [2, ...] of the same shapes.
        offsets, units, bins, labels: the data set; index: samples of this batch.
        alive: [hidden], 1, or 0 for dropped neurons (float).
        alpha, mu, beta: the model; c, rho_a, rho_b, decay, limit: the objective and the weight clamp.
        rate, beta1, beta2, epsilon, correction2: Adam.
        n_hidden, n_out, n_steps: real sizes.
        cadc, fired, first, hidden_unit, output_unit: raw recording to inject and its units; cadc of batch
            size 0: run the model freely.
        adjoint: scratch, [batch, time, hidden].
        stats: out, [batch, 6].
    """
    batch = index.shape[0]
    pad_out, pad_hid = w_output.shape
    recorded = cadc.shape[0] > 0
    dtype = w_hidden.dtype
    weight = (alpha * _ZERO + _ONE) / np.float32(batch)
    threshold = alpha * _ZERO + THRESHOLD
    chunk = max(1, min(13, batch // 4))
    n_chunks = (batch + chunk - 1) // chunk
    adjoint_output = np.empty((batch, n_steps, pad_out), dtype)
    spike_time = np.empty((batch, n_steps * pad_hid), np.int32)
    spike_unit = np.empty((batch, n_steps * pad_hid), np.int32)
    n_spikes = np.empty(batch, np.int64)
    n_events = 0
    for b in range(batch):
        n_events += offsets[index[b] + 1] - offsets[index[b]]
    for k in prange(n_chunks):
        v, s = np.empty((n_steps, pad_hid), dtype), np.zeros((n_steps, pad_hid), np.uint8)
        v_output, grad_v_output = np.zeros((n_steps, pad_out), dtype), np.zeros((n_steps, pad_out), dtype)
        grad_s, scratch = np.empty((1, pad_hid), dtype), np.empty((4, pad_hid), dtype)
        rest, scratch_out = np.zeros(pad_hid, dtype), np.empty(pad_out, dtype)
        v[:] = 0
        for b in range(k * chunk, min(batch, (k + 1) * chunk)):
            first_event, last_event = offsets[index[b]], offsets[index[b] + 1]
            stats[b, CLIPPED] = 0
            if recorded:
                stats[b, CLIPPED] = read_recording(
                    cadc[b], fired[b], first, alive, n_hidden, n_out, hidden_unit, output_unit, threshold,
                    v, s, v_output,
                )  # fmt: skip
            else:
                forward_sample(
                    w_hidden, bins[first_event:last_event], units[first_event:last_event], alive, alpha, mu,
                    v, s, scratch[0], scratch[1], rest,
                )  # fmt: skip
            n_spikes[b] = list_spikes(s, spike_time[b], spike_unit[b])
            if not recorded:
                output_sample(w_output, spike_time[b], spike_unit[b], n_spikes[b], alpha, mu, v_output, scratch_out)
            max_over_time_loss(v_output, n_out, labels[index[b]], c, rho_a, weight, grad_v_output, stats[b])
            burst_penalty(s, n_hidden, rho_b, weight, grad_s, stats[b])
            backward_sample(
                w_output, v, alive, grad_s, grad_v_output, alpha, mu, beta,
                adjoint[b], adjoint_output[b], scratch,
            )  # fmt: skip
    n_units = w_hidden.shape[0]
    start = np.empty(n_units + 1, np.int64)
    sample, step = np.empty(n_events, np.int32), np.empty(n_events, np.int32)
    events_by_unit(offsets, index, units, bins, n_units, start, sample, step)
    for i in prange(n_units):
        grad = np.empty(pad_hid, dtype)
        row_gradient(adjoint, sample[start[i] : start[i + 1]], step[start[i] : start[i + 1]], grad)
        adam_row(
            w_hidden[i], moments_hidden[0, i], moments_hidden[1, i], grad,
            rate, beta1, beta2, epsilon, correction2, decay, limit,
        )  # fmt: skip
    grad_output = np.zeros((pad_out, pad_hid), dtype)
    for b in range(batch):
        add_output_gradient(spike_time[b], spike_unit[b], n_spikes[b], adjoint_output[b], grad_output)
    no_decay = decay * _ZERO
    no_limit = limit * _ZERO + np.float32(3e38)
    for o in range(n_out):
        adam_row(
            w_output[o], moments_output[0, o], moments_output[1, o], grad_output[o],
            rate, beta1, beta2, epsilon, correction2, no_decay, no_limit,
        )  # fmt: skip


@kernel(parallel=True, fast=True)
def evaluate(w_hidden, w_output, offsets, index, units, bins, alpha, mu, n_out, n_steps, decisions, stats):
    """Decisions of the freely running model, [batch]; fills SPIKES of ``stats``, [batch, 6]."""
    pad_out, pad_hid = w_output.shape
    dtype = w_hidden.dtype
    batch = index.shape[0]
    chunk = max(1, min(64, batch // 4))
    n_chunks = (batch + chunk - 1) // chunk
    alive = np.ones(pad_hid, dtype)
    for k in prange(n_chunks):
        v, s = np.empty((n_steps, pad_hid), dtype), np.zeros((n_steps, pad_hid), np.uint8)
        v_output, scratch_out = np.empty((n_steps, pad_out), dtype), np.empty(pad_out, dtype)
        scratch, rest = np.empty((2, pad_hid), dtype), np.zeros(pad_hid, dtype)
        spike_time, spike_unit = np.empty(n_steps * pad_hid, np.int32), np.empty(n_steps * pad_hid, np.int32)
        for b in range(k * chunk, min(batch, (k + 1) * chunk)):
            first, last = offsets[index[b]], offsets[index[b] + 1]
            forward_sample(
                w_hidden, bins[first:last], units[first:last], alive, alpha, mu,
                v, s, scratch[0], scratch[1], rest,
            )  # fmt: skip
            n_spikes = list_spikes(s, spike_time, spike_unit)
            output_sample(w_output, spike_time, spike_unit, n_spikes, alpha, mu, v_output, scratch_out)
            best = -1
            highest = v_output[0, 0]
            for o in range(n_out):
                for t in range(n_steps):
                    if best < 0 or v_output[t, o] > highest:
                        best, highest = o, v_output[t, o]
            decisions[b] = best
            stats[b, SPIKES] = n_spikes
