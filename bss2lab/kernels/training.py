"""The fused training step: forward (or recorded), loss, backward, Adam, in one call, for any ``layers.Chain``.

For the losses and penalties below; any other goes through ``torch.autograd`` (see ``compiled``).

Samples are worked on in blocks, blocks are dealt out to parts, and parts to threads. Each part adds up gradients of
its own, and these are summed in the order of the parts: results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bss2lab import quantize
from bss2lab.kernels.jit import device, kernel, prange
from bss2lab.kernels.layers import BLOCK, ON_OUTPUTS, append_spikes, backward_block, forward_sample, part_of, transposed

if TYPE_CHECKING:
    from numpy import ndarray

_normalise = device(quantize.normalise)

NLL, BURST, RATE, READOUT, CORRECT, SPIKES, CLIPPED = range(7)
"""Columns of the per-sample statistics."""

N_STATISTICS = 7

PEAK, SUM, LAST = range(3)
"""What of an output's membrane decides: its highest sample, the sum of its samples, the last one."""

# Single-precision literals: they leave both float32 and float64 arithmetic as it is.
_ZERO, _ONE, _TWO, _TINY = np.float32(0), np.float32(1), np.float32(2), np.float32(1e-30)


class Goal(NamedTuple):
    """What a training step minimises; arrays have an entry per layer.

    Attributes:
        vote: PEAK, SUM or LAST.
        scale: factor of what decides, in the softmax.
        rho_a: penalty on squared peaks of the output membranes.
        rho_b: burst penalty; rho_r, theta_r: rate penalty.
    """

    vote: int
    scale: np.float32
    rho_a: np.float32
    rho_b: ndarray
    rho_r: ndarray
    theta_r: ndarray


class Recorded(NamedTuple):
    """A batch as a chip recorded it, and how it is brought to model units.

    Attributes:
        cadc, fired: samples, and spikes since the sample before, [batch, sample, neuron]; empty: the model runs freely.
        first: sample of model step 0; sample 0 is the baseline.
        neurons: where each layer's neurons begin.
        units: model units per LSB, of each layer.
        at_spikes: membrane that is injected in a step with a spike.
    """

    cadc: ndarray
    fired: ndarray
    first: int
    neurons: ndarray
    units: ndarray
    at_spikes: np.float32


class Rows(NamedTuple):
    """Rows of weights, as the optimiser sees them.

    Attributes:
        at, pad: where each lies in the flat array, and its length.
        decay: factor of w in the gradient of the weight penalty, ρ_w / number of weights; limit: clamp.
        learns: 0 for rows that stay as they are.
    """

    at: ndarray
    pad: ndarray
    decay: ndarray
    limit: ndarray
    learns: ndarray


class Adam(NamedTuple):
    """Adam (Kingma & Ba 2015).

    Attributes:
        rate: learning rate over 1 − β₁^k; root: √(1 − β₂^k).
        beta1, beta2, epsilon: constants.
    """

    rate: np.float32
    root: np.float32
    beta1: np.float32
    beta2: np.float32
    epsilon: np.float32


@kernel(fast=True)
def _votes(vote, v, score):
    """What decides, of every output; v is [time, output]."""
    for o in range(score.shape[0]):
        found = v[0, o]
        for t in range(1, v.shape[0]):
            found = max(found, v[t, o]) if vote == PEAK else (found + v[t, o] if vote == SUM else v[t, o])
        score[o] = found


@kernel(fast=True)
def _winner(score):
    best = 0
    for o in range(score.shape[0]):
        if score[o] > score[best]:
            best = o
    return best


@kernel(fast=True)
def _touch_peak(v, o, peak, g, grad_v):
    """Share the gradient of a maximum over time evenly among equals.

    (8-bit samples tie often; a silent output ties everywhere, and would otherwise never learn.)
    """
    ties = _ZERO
    for t in range(v.shape[0]):
        ties += _ONE if v[t, o] == peak else _ZERO
    for t in range(v.shape[0]):
        if v[t, o] == peak:
            grad_v[t, o] += g / ties


@kernel(fast=True)
def loss_of(goal, label, weight, v, grad_v, even_v, stats):
    """NLL(log_softmax(c · vote)) and ρ_a · mean_i (max_t V_i)² of one sample, and their gradient.

    Args:
        weight: factor of the gradient (1 / batch).
        v: output membranes, [time, output]; more columns than outputs are padding.
        grad_v, even_v: out, see ``layers.Room``; even_v is as long as there are outputs.
        stats: out, the sample's statistics.
    """
    n_out = even_v.shape[0]
    score, peak = np.empty(n_out, v.dtype), np.zeros(n_out, v.dtype)
    _votes(goal.vote, v, score)
    if goal.vote == PEAK or goal.rho_a != 0:
        _votes(PEAK, v, peak)
    if goal.vote != SUM or goal.rho_a != 0:
        grad_v[:] = 0
    best, c = _winner(score), goal.scale
    norm, square = c * _ZERO, c * _ZERO
    for o in range(n_out):
        norm += np.exp(c * (score[o] - score[best]))
        square += peak[o] * peak[o]
    stats[NLL] = np.log(norm) + c * (score[best] - score[label])
    stats[CORRECT] = _ONE if best == label else _ZERO
    stats[READOUT] = goal.rho_a * square / np.float32(n_out)
    for o in range(n_out):
        target = _ONE if o == label else _ZERO
        g = weight * c * (np.exp(c * (score[o] - score[best])) / norm - target)
        at_peak = weight * _TWO * goal.rho_a * peak[o] / np.float32(n_out)
        even_v[o] = g if goal.vote == SUM else _ZERO
        if goal.vote == LAST:
            grad_v[v.shape[0] - 1, o] = g
        at_peak += g if goal.vote == PEAK else _ZERO
        if at_peak != 0:
            _touch_peak(v, o, peak[o], at_peak, grad_v)


@kernel(fast=True)
def penalties_of(goal, chain, unit, ends, weight, grad_s, stats):
    """Burst and rate penalty of every layer of one sample; their gradients are constant in time.

    ρ_b / N · Σ_i (Σ_t S_i)² + ρ_r · max(0, Σ S − θ_r)²

    Args:
        unit, ends: spikes, see ``layers.Room``.
        weight: factor of the gradient.
        grad_s: out, [width].
        stats: out, the sample's statistics.
    """
    stats[BURST] = _ZERO
    stats[RATE] = _ZERO
    first = 0
    for k in range(chain.pads.shape[0]):
        if not chain.spiking[k]:
            continue
        g = grad_s[chain.column[k] : chain.column[k] + chain.pads[k]]
        g[:] = 0
        for i in range(first, ends[k]):
            g[unit[i]] += _ONE
        over = max(np.float32(ends[k] - first) - goal.theta_r[k], _ZERO)
        share = goal.rho_b[k] / np.float32(chain.sizes[k])
        rate = weight * _TWO * goal.rho_r[k] * over
        square = weight * _ZERO
        for j in range(g.shape[0]):
            square += g[j] * g[j]
            g[j] = weight * _TWO * share * g[j] + rate
        stats[BURST] += share * square
        stats[RATE] += goal.rho_r[k] * over * over
        first = ends[k]
    stats[SPIKES] = first


@kernel(fast=True)
def read_recording(record, chain, n_steps, b, alive, v, time, unit, ends, marks, found):
    """Take over one sample's raw recording: membranes in model units, and spikes (see ``layers.Room``).

    A membrane sample in a step with a spike was taken after the reset: ``at_spikes`` is injected there.

    Returns:
        The number of output samples at the end of the ADC's range.
    """
    clipped, n_spikes = 0, 0
    base, last = record.cadc[b, 0], chain.pads.shape[0] - 1
    for k in range(last + 1):
        at, column, n, per_lsb = record.neurons[k], chain.column[k], chain.sizes[k], record.units[k]
        start, lives, fired = base[at : at + n], alive[column : column + n], marks[: chain.pads[k]]
        fired[:] = 0
        for t in range(n_steps):
            row = column * n_steps + t * chain.pads[k]
            samples, v_row = record.cadc[b, record.first + t][at : at + n], v[row : row + n]
            if chain.spiking[k]:
                spikes = record.fired[b, record.first + t][at : at + n]
                for j in range(n):
                    spike = spikes[j] if lives[j] > 0 else np.uint8(0)
                    trace = _normalise(np.float32(samples[j]), np.float32(start[j]), per_lsb)
                    v_row[j] = record.at_spikes if spike else trace
                    fired[j] = spike
                n_spikes = append_spikes(fired, t, n_spikes, time, unit, found)
            else:
                for j in range(n):
                    v_row[j] = _normalise(np.float32(samples[j]), np.float32(start[j]), per_lsb)
            for j in range(n if k == last else 0):
                clipped += 1 if samples[j] == 0 or samples[j] == 255 else 0
        ends[k] = n_spikes
    return clipped


@kernel(fast=True)
def adam_row(w, m, v, grad, adam, decay, limit):
    """Adam on one weight row, with the gradient 2 · decay · w of the weight penalty and a clamp to ± limit."""
    new1, new2, twice = _ONE - adam.beta1, _ONE - adam.beta2, _TWO * decay
    for j in range(w.shape[0]):
        g = grad[j] + twice * w[j]
        first = adam.beta1 * m[j] + new1 * g
        first = first if abs(first) > _TINY else _ZERO  # (subnormal numbers cost a hundred times as much)
        second = adam.beta2 * v[j] + new2 * g * g
        second = second if second > _TINY else _ZERO
        m[j], v[j] = first, second
        step = adam.rate * first / (np.sqrt(second) / adam.root + adam.epsilon)
        w[j] = min(max(w[j] - step, -limit), limit)


@kernel(parallel=True, fast=True)
def train_step(chain, weights, moments, batch, alive, goal, record, adam, rows, rooms, parts, stats):
    """One training step; updates weights and moments in place.

    Args:
        chain: the network; its last layer is read as membranes.
        weights: flat, see ``layers``; moments: Adam's two, [2, weights].
        batch: samples and their labels.
        alive: [width], 1 for neurons that may fire, else 0 (float).
        goal, record: what to minimise; the recording to inject.
        adam, rows: the optimiser, and what it does to each row of weights beside.
        rooms: scratch, one ``layers.Room`` of ``BLOCK`` samples for all lanes: axis 0 is lane · BLOCK + sample.
        parts: scratch, [part, weights].
        stats: out, [batch, 7].
    """
    size, n_parts, n_steps = batch.samples.shape[0], parts.shape[0], batch.n_steps
    last = chain.pads.shape[0] - 1
    out, end_out, pad_out = chain.column[last], chain.column[last] + chain.sizes[last], chain.pads[last]
    n_blocks = (size + BLOCK - 1) // BLOCK
    lanes = rooms.v.shape[0] // BLOCK
    weight = (goal.scale * _ZERO + _ONE) / np.float32(size)
    recorded = record.cadc.shape[0] > 0
    panels = transposed(chain, weights)
    touches = 0 if goal.vote == SUM and goal.rho_a == 0 else ON_OUTPUTS
    for lane in prange(lanes):
        room = part_of(rooms, lane * BLOCK, (lane + 1) * BLOCK)
        scratch, found = np.empty((3, chain.width), weights.dtype), np.empty(chain.width, np.int64)
        fired = np.empty(chain.width, np.uint8)
        begin, end = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
        for part in range(lane, n_parts, lanes):
            parts[part] = 0
            for block in range(part, n_blocks, n_parts):
                n = min(BLOCK, size - block * BLOCK)
                for i in range(n):
                    b = block * BLOCK + i
                    sample = batch.samples[b]
                    begin[i], end[i] = batch.offsets[sample], batch.offsets[sample + 1]
                    v, time, unit, ends, stat = room.v[i], room.time[i], room.unit[i], room.ends[i], stats[b]
                    stat[CLIPPED] = _ZERO
                    if recorded:
                        stat[CLIPPED] = read_recording(
                            record, chain, n_steps, b, alive, v, time, unit, ends, fired, found
                        )
                    else:
                        bins, units = batch.bins[begin[i] : end[i]], batch.units[begin[i] : end[i]]
                        forward_sample(
                            chain, n_steps, weights, bins, units, alive, v, time, unit, ends, scratch, fired, found
                        )
                    loss_of(
                        goal, batch.labels[sample], weight, v[out * n_steps :].reshape((n_steps, pad_out)),
                        room.grad_v[i][out * n_steps :].reshape((n_steps, pad_out)), room.even_v[i][out:end_out], stat,
                    )  # fmt: skip
                    penalties_of(goal, chain, unit, ends, weight, room.grad_s[i], stat)
                backward_block(
                    chain, n_steps, panels, batch.bins, batch.units, begin, end, n, room, alive, touches, parts[part]
                )
    for i in prange(rows.at.shape[0]):
        if rows.learns[i]:
            at, to = rows.at[i], rows.at[i] + rows.pad[i]
            total = parts[0, at:to]
            for part in range(1, n_parts):
                more = parts[part, at:to]
                for j in range(total.shape[0]):
                    total[j] += more[j]
            first, second = moments[0, at:to], moments[1, at:to]
            adam_row(weights[at:to], first, second, total, adam, rows.decay[i], rows.limit[i])


@kernel(parallel=True, fast=True)
def evaluate(chain, weights, batch, vote, decisions, spikes):
    """Let the model run freely and decide: fills the decision and the number of spikes of every sample, [batch]."""
    size, n_steps, width = batch.samples.shape[0], batch.n_steps, chain.width
    chunk = max(1, min(64, size // 8))
    last = chain.pads.shape[0] - 1
    alive = np.zeros(width, weights.dtype)
    for k in range(last + 1):
        if chain.spiking[k]:
            alive[chain.column[k] : chain.column[k] + chain.sizes[k]] = 1
    column, pad = chain.column[last], chain.pads[last]
    for c in prange((size + chunk - 1) // chunk):
        v, fired = np.empty(n_steps * width, weights.dtype), np.empty(width, np.uint8)
        time, unit = np.empty(n_steps * width, np.int16), np.empty(n_steps * width, np.int16)
        ends, score = np.empty(last + 1, np.int64), np.empty(chain.sizes[last], weights.dtype)
        scratch, found = np.empty((3, width), weights.dtype), np.empty(width, np.int64)
        for b in range(c * chunk, min(size, (c + 1) * chunk)):
            first, end = batch.offsets[batch.samples[b]], batch.offsets[batch.samples[b] + 1]
            bins, units = batch.bins[first:end], batch.units[first:end]
            forward_sample(chain, n_steps, weights, bins, units, alive, v, time, unit, ends, scratch, fired, found)
            _votes(vote, v[column * n_steps :].reshape((n_steps, pad)), score)
            decisions[b] = _winner(score)
            spikes[b] = ends[last]
