"""The fused training step of the recurrent network: forward (or recorded), sum-over-time loss, backward, Adam.

For the standard speech objective only; any other loss goes through ``torch.autograd``. A loss on the *sum* of an
output's membrane has a gradient that is constant in time, and so has the rate penalty: on the way back, outputs and
penalties cost next to nothing (see ``recurrent.backward_block``).
"""

from __future__ import annotations

import numpy as np

from bss2lab.kernels.feedforward import list_spikes, output_sample
from bss2lab.kernels.jit import kernel, prange
from bss2lab.kernels.recurrent import backward_block, forward_sample, output_response, sum_blocks, transposed
from bss2lab.kernels.training import CLIPPED, CORRECT, NLL, SPIKES, adam_row, read_recording

RATE = 1
"""Column of the per-sample statistics (the others: see ``training``)."""

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


@kernel(fast=True)
def sum_over_time_loss(v_output, n_out, label, c, weight, grad_v_output, stats):
    """NLL(log_softmax(c · Σ_t V)) of one sample, and its gradient.

    Args:
        v_output: [time, outputs]; n_out: number of outputs.
        label: class; c: loss scale; weight: factor of the gradient (1 / batch).
        grad_v_output: out, [1, outputs]: the same at every step.
        stats: out, the sample's statistics.
    """
    total = np.zeros(n_out, v_output.dtype)
    for t in range(v_output.shape[0]):
        for o in range(n_out):
            total[o] += v_output[t, o]
    best = 0
    for o in range(n_out):
        if total[o] > total[best]:
            best = o
    norm = c * _ZERO
    for o in range(n_out):
        norm += np.exp(c * (total[o] - total[best]))
    stats[NLL] = np.log(norm) + c * (total[best] - total[label])
    stats[CORRECT] = _ONE if best == label else _ZERO
    for o in range(n_out):
        target = _ONE if o == label else _ZERO
        grad_v_output[0, o] = weight * c * (np.exp(c * (total[o] - total[best])) / norm - target)


@kernel(fast=True)
def rate_penalty(n_spikes, rho_r, theta_r, weight, grad_s, stats):
    """ρ_r · max(0, Σ S − θ_r)² of one sample; its gradient is the same for every neuron and step, [1, hidden]."""
    over = max(weight * _ZERO + np.float32(n_spikes) - theta_r, weight * _ZERO)
    stats[SPIKES] = n_spikes
    stats[RATE] = rho_r * over * over
    grad_s[0, :] = weight * _TWO * rho_r * over


@kernel(parallel=True, fast=True)
def train_step(
    w_hidden, w_recurrent, w_output, moments_hidden, moments_recurrent, moments_output, learn_recurrent,
    offsets, index, units, bins, labels, alive, alpha, mu, beta, c, rho_r, theta_r, decay, decay_recurrent, limit,
    rate, beta1, beta2, epsilon, correction2, n_hidden, n_out, n_steps, cadc, fired, first_sample,
    hidden_unit, output_unit, at_spikes, lanes, size, v, s, v_output, spike_time, spike_unit, stats,
):  # fmt: skip
    """One training step; updates weights and moments in place.

    Args:
        w_hidden, w_recurrent, w_output: padded weights, [input, hidden], [source, hidden] and [output, hidden].
        moments_hidden, moments_recurrent, moments_output: Adam's two moments, [2, ...] of the same shapes.
        learn_recurrent: change the recurrent weights?
        offsets, units, bins, labels: the data set; index: samples of this batch.
        alive: [hidden], 1, or 0 for dropped neurons (float).
        alpha, mu, beta: the model; c, rho_r, theta_r, decay, decay_recurrent, limit: objective and clamp.
        rate, beta1, beta2, epsilon, correction2: Adam.
        n_hidden, n_out, n_steps: real sizes.
        cadc, fired, first_sample, hidden_unit, output_unit: raw recording to inject and its units; cadc of batch
            size 0: run the model freely.
        at_spikes: membrane that is injected in a bin with a spike.
        lanes: number of threads that share the work; size: samples in a block.
        v, s, v_output, spike_time, spike_unit: scratch, [lane, block, time, ·] and [lane, block, time · hidden].
        stats: out, [batch, 6].
    """
    batch = index.shape[0]
    n_inputs, pad = w_hidden.shape
    recorded = cadc.shape[0] > 0
    weight = (alpha * _ZERO + _ONE) / np.float32(batch)
    n_blocks = (batch + size - 1) // size
    rows = n_inputs + w_recurrent.shape[0] + w_output.shape[0]
    parts = np.empty((n_blocks, rows, pad), w_hidden.dtype)
    response = np.empty(n_steps + 1, w_hidden.dtype)
    output_response(alpha, mu, response)
    panels = transposed(w_recurrent)
    for lane in prange(lanes):
        current, drive, rest = np.empty(pad, v.dtype), np.empty(pad, v.dtype), np.zeros(pad, v.dtype)
        current_out = np.empty(w_output.shape[0], v.dtype)
        first, last, n_spikes = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
        grad_s = np.empty((size, 1, pad), v.dtype)
        grad_v_output = np.zeros((size, 1, w_output.shape[0]), v.dtype)
        unused = np.empty((size, 1, w_output.shape[0]), v.dtype)
        for k in range(lane, n_blocks, lanes):
            parts[k] = 0
            n = min(size, batch - k * size)
            for i in range(n):
                b = k * size + i
                sample = index[b]
                first[i], last[i] = offsets[sample], offsets[sample + 1]
                stats[b] = 0
                v_sample, s_sample, out = v[lane, i], s[lane, i], v_output[lane, i]
                if recorded:
                    stats[b, CLIPPED] = read_recording(
                        cadc[b], fired[b], first_sample, alive, n_hidden, n_out, hidden_unit, output_unit, at_spikes,
                        v_sample, s_sample, out,
                    )  # fmt: skip
                    n_spikes[i] = list_spikes(s_sample, spike_time[lane, i], spike_unit[lane, i])
                else:
                    n_spikes[i] = forward_sample(
                        w_hidden, w_recurrent, bins[first[i] : last[i]], units[first[i] : last[i]], alive, alpha, mu,
                        v_sample, s_sample, current, drive, rest, spike_time[lane, i], spike_unit[lane, i],
                    )  # fmt: skip
                    output_sample(
                        w_output, spike_time[lane, i], spike_unit[lane, i], n_spikes[i], alpha, mu, out, current_out
                    )
                sum_over_time_loss(out, n_out, labels[sample], c, weight, grad_v_output[i], stats[b])
                rate_penalty(n_spikes[i], rho_r, theta_r, weight, grad_s[i], stats[b])
            backward_block(
                panels, w_output, bins, units, first[:n], last[:n], spike_time[lane], spike_unit[lane],
                n_spikes[:n], alive, v[lane, :n], grad_s[:n], grad_v_output[:n], alpha, mu, beta, response, unused,
                parts[k, :n_inputs], parts[k, n_inputs : n_inputs + pad], parts[k, n_inputs + pad :],
            )  # fmt: skip
    gradients = np.empty((rows, pad), w_hidden.dtype)
    sum_blocks(parts, gradients)
    no_decay, no_limit = decay * _ZERO, limit * _ZERO + np.float32(3e38)
    for i in prange(rows):
        if i < n_inputs:
            adam_row(
                w_hidden[i], moments_hidden[0, i], moments_hidden[1, i], gradients[i],
                rate, beta1, beta2, epsilon, correction2, decay, limit,
            )  # fmt: skip
        elif i < n_inputs + pad:
            j = i - n_inputs
            if learn_recurrent:
                adam_row(
                    w_recurrent[j], moments_recurrent[0, j], moments_recurrent[1, j], gradients[i],
                    rate, beta1, beta2, epsilon, correction2, decay_recurrent, limit,
                )  # fmt: skip
        else:
            j = i - n_inputs - pad
            adam_row(
                w_output[j], moments_output[0, j], moments_output[1, j], gradients[i],
                rate, beta1, beta2, epsilon, correction2, no_decay, no_limit,
            )  # fmt: skip


@kernel(parallel=True, fast=True)
def evaluate(
    w_hidden, w_recurrent, w_output, offsets, index, units, bins, alpha, mu, n_out, n_steps, decisions, stats
):  # fmt: skip
    """Decisions of the freely running model, [batch]; fills SPIKES of ``stats``, [batch, 6]."""
    pad = w_hidden.shape[1]
    dtype = w_hidden.dtype
    batch = index.shape[0]
    chunk = max(1, min(16, batch // 8))
    alive = np.ones(pad, dtype)
    for k in prange((batch + chunk - 1) // chunk):
        v, s = np.empty((n_steps, pad), dtype), np.zeros((n_steps, pad), np.uint8)
        out, current_out = np.empty((n_steps, w_output.shape[0]), dtype), np.empty(w_output.shape[0], dtype)
        scratch, rest = np.empty((2, pad), dtype), np.zeros(pad, dtype)
        spike_time, spike_unit = np.empty(n_steps * pad, np.int32), np.empty(n_steps * pad, np.int32)
        for b in range(k * chunk, min(batch, (k + 1) * chunk)):
            first, last = offsets[index[b]], offsets[index[b] + 1]
            n = forward_sample(
                w_hidden, w_recurrent, bins[first:last], units[first:last], alive, alpha, mu,
                v, s, scratch[0], scratch[1], rest, spike_time, spike_unit,
            )  # fmt: skip
            output_sample(w_output, spike_time, spike_unit, n, alpha, mu, out, current_out)
            best, highest = 0, out[0, 0]
            for o in range(n_out):
                total = out[0, o] * _ZERO
                for t in range(n_steps):
                    total += out[t, o]
                if o == 0 or total > highest:
                    best, highest = o, total
            decisions[b] = best
            stats[b, SPIKES] = n
