"""Compiled forward and backward pass of a chain of layers of any depth, recurrent or not, a block of samples at a time.

Forward, a layer is driven by events: each spike of the layer before (or of the input, or its own of a step before)
adds its weight row. Backward, a layer hears from the one above in one of two ways. Membranes that are only read are
linear and all alike, so that what they send back obeys the recursion of a single one: it is carried along per neuron
below, and a row of weights is added only where the loss touches a membrane (a maximum over time: once per output).
Layers that fire, and a layer's own spikes, cost one dense product per step; a block of samples makes it a product of
matrices (see ``matmul``). Weight gradients are added up on the way back, event by event.

All weights lie in one flat array, [row, neuron] by layer, first those from the layer before, then recurrent ones;
rows are padded to a multiple of 16 with zeros, which stay so. The membranes of one sample lie in one flat array, too,
[time, neuron] by layer, and its spikes in one list. ``Chain`` says where what lies. The equations are those of
``dynamics`` and ``surrogate``, inlined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bss2lab import dynamics, surrogate
from bss2lab.kernels.bits import list_marked
from bss2lab.kernels.jit import device, kernel, prange
from bss2lab.kernels.matmul import PANEL, ROWS, multiply, pack

if TYPE_CHECKING:
    from numpy import ndarray

    from bss2lab.topology import Network

# Single-precision literals: they leave both float32 and float64 arithmetic as it is.
_ZERO, _ONE = np.float32(0), np.float32(1)

LANES = 16

BLOCK = 2 * ROWS
"""Samples that go back in time together. More would need less traffic for weights, and more for membranes."""

_synaptic_current = device(dynamics.synaptic_current)
_membrane = device(dynamics.membrane)
_fires = device(dynamics.fires)
_membrane_adjoint = device(dynamics.membrane_adjoint)
_current_adjoint = device(dynamics.current_adjoint)
_superspike = device(surrogate.superspike_derivative)
_sigmoid = device(surrogate.sigmoid_derivative)
_arctan = device(surrogate.arctan_derivative)
_triangle = device(surrogate.triangle_derivative)
_gaussian = device(surrogate.gaussian_derivative)
_boxcar = device(surrogate.boxcar_derivative)
SUPERSPIKE, SIGMOID, ARCTAN, TRIANGLE, GAUSSIAN, BOXCAR = range(6)
ON_OUTPUTS, ON_HIDDEN = 1, 2


class Chain(NamedTuple):
    """A network as kernels see it. Entry k belongs to layer k.

    Attributes:
        sources: units of the layer before (of the first layer: inputs).
        sizes, pads: neurons, and neurons padded to whole vectors.
        feeds, loops: where its weights from the layer before, and from itself, begin in the flat array; −1: none.
        column: how many (padded) neurons come before it.
        spiking: 1 if it fires.
        spike: kind of its spike function.
        alpha, mu, beta: decays per step, and steepness of the surrogate derivative.
        n_weights, width: number of weights, and of neurons, with padding.
    """

    sources: ndarray
    sizes: ndarray
    pads: ndarray
    feeds: ndarray
    loops: ndarray
    column: ndarray
    spiking: ndarray
    spike: ndarray
    alpha: ndarray
    mu: ndarray
    beta: ndarray
    n_weights: int
    width: int


class Batch(NamedTuple):
    """Samples of a data set.

    Attributes:
        offsets, units, bins: events of the data set; sample b owns ``offsets[b]:offsets[b + 1]``, sorted by bin.
        labels: classes of the data set; empty where nobody asks.
        samples: numbers of those of the batch.
        n_steps: model steps.
    """

    offsets: ndarray
    units: ndarray
    bins: ndarray
    labels: ndarray
    samples: ndarray
    n_steps: int


class Room(NamedTuple):
    """Where a block of samples is worked on.

    Attributes:
        v: membranes, [sample, time · width], by layer.
        time, unit: spikes in time order, layer after layer, [sample, ·]; ends: where each layer's end, [sample, layer].
        grad_v: ∂L/∂V where the loss touches membranes, [sample, time · width], by layer.
        even_v: the part of it that is the same at every step, [sample, width].
        grad_s: ∂L/∂S from the loss itself, as ``grad_v``; if it is constant in time, [sample, width].
    """

    v: ndarray
    time: ndarray
    unit: ndarray
    ends: ndarray
    grad_v: ndarray
    even_v: ndarray
    grad_s: ndarray


NO_LABELS = np.empty(0, np.int64)


def padded(n: int, multiple: int = LANES) -> int:
    """Return ``n`` rounded up to a multiple."""
    return -(-n // multiple) * multiple


def chain_of(network: Network, decays: Sequence[tuple[float, float]], scalar: Any = np.float32) -> Chain:
    """Lay a network out for the kernels.

    Args:
        network: layers with compiled spike functions.
        decays: of the synaptic current and of the membrane per step, for every layer.
        scalar: float32 or float64.
    """
    layers = network.layers
    sizes = [layer.size for layer in layers]
    pads = [padded(n) for n in sizes]
    sources = [network.n_input, *pads[:-1]]
    blocks = zip(sources, pads, layers, strict=True)
    begin = np.cumsum([0, *((source + pad * layer.recurrent) * pad for source, pad, layer in blocks)])
    loops = np.where([layer.recurrent for layer in layers], begin[:-1] + np.multiply(sources, pads), -1)
    alpha, mu = np.array(decays, scalar).T.copy()
    spike = [surrogate.COMPILED.index(type(layer.spike)) for layer in layers]

    def whole(values: Any) -> ndarray:
        return np.array(values, np.int64)

    return Chain(
        sources=whole(sources), sizes=whole(sizes), pads=whole(pads), feeds=whole(begin[:-1]),
        loops=whole(loops), column=whole(np.cumsum([0, *pads[:-1]])),
        spiking=whole([layer.spiking for layer in layers]), spike=whole(spike), alpha=alpha, mu=mu,
        beta=np.array([layer.spike.beta for layer in layers], scalar), n_weights=int(begin[-1]), width=sum(pads),
    )  # fmt: skip


def flat(chain: Chain, weights: Iterable[tuple[ndarray, ndarray | None]]) -> ndarray:
    """Return weights, of each layer [source, neuron] and [neuron, neuron] or None, as the kernels' flat array."""
    out = np.zeros(chain.n_weights, chain.mu.dtype)
    for view, values in zip(views(chain, out), weights, strict=True):
        for block, w in zip(view, values, strict=True):
            if block is not None:
                block[...] = w
    return out


def views(chain: Chain, array: ndarray) -> list[tuple[ndarray, ndarray | None]]:
    """Return the real parts of a flat array: of each layer [source, neuron] and, if recurrent, [neuron, neuron]."""
    found: list[tuple[ndarray, ndarray | None]] = []
    before = int(chain.sources[0])
    for source, size, pad, at, loop in zip(
        chain.sources, chain.sizes, chain.pads, chain.feeds, chain.loops, strict=True
    ):
        own = array[loop : loop + pad * pad].reshape(pad, pad)[:size, :size] if loop >= 0 else None
        found.append((array[at : at + source * pad].reshape(source, pad)[:before, :size], own))
        before = int(size)
    return found


def room_for(chain: Chain, samples: int, n_steps: int, *, steady: bool) -> Room:
    """Make room for a block.

    Args:
        chain: the network.
        samples: of the block.
        n_steps: model steps.
        steady: is ∂L/∂S constant in time?
    """
    scalar, width = chain.mu.dtype, chain.width
    shape = samples, n_steps * width
    return Room(
        np.zeros(shape, scalar), np.empty(shape, np.int16), np.empty(shape, np.int16),
        np.zeros((samples, len(chain.pads)), np.int64), np.zeros(shape, scalar), np.zeros((samples, width), scalar),
        np.zeros((samples, width) if steady else shape, scalar),
    )  # fmt: skip


def spiking_units(chain: Chain, alive: Any = None) -> ndarray:
    """Return 1 for neurons that may fire, 0 for those that do not, were dropped, or are padding, [width].

    Args:
        chain: the network.
        alive: for every layer that fires, one truth per neuron, one after the other; None: all.
    """
    mask = np.zeros(chain.width, chain.mu.dtype)
    at = 0
    for column, size, fires in zip(chain.column, chain.sizes, chain.spiking, strict=True):
        if fires:
            mask[column : column + size] = 1 if alive is None else alive[at : at + size]
            at += int(size)
    return mask


# --- forward -----------------------------------------------------------------------------------------------------


@kernel(fast=True)
def add_row(row, total):
    for j in range(total.shape[0]):
        total[j] += row[j]


@kernel(fast=True)
def add_scaled_row(row, factor, total):
    for j in range(total.shape[0]):
        total[j] += factor * row[j]


@kernel(fast=True)
def _step(drive, current, v_before, v_after, s_after, alive, alpha, mu):
    """One step of a layer; clears the drive for the next one."""
    for j in range(drive.shape[0]):
        current[j] = _synaptic_current(current[j], drive[j], alpha)
        drive[j] = _ZERO
        before = v_before[j]
        spiked = alive[j] if _fires(before) else _ZERO
        v = _membrane(before, current[j], spiked, mu)
        v_after[j] = v
        s_after[j] = np.uint8(alive[j] if _fires(v) else _ZERO)


@kernel(fast=True)
def append_spikes(row, t, n, time, unit, found):
    """Append the spikes of step ``t``, marks in a row of bytes, to a list of ``n``. Returns their number now."""
    more = list_marked(row.view(np.uint64), found)
    for i in range(more):
        time[n + i] = t
        unit[n + i] = found[i]
    return n + more


@kernel(fast=True)
def _forward_layer(chain, k, n_steps, weights, times, units, late, alive, v, time, unit, n, scratch, fired, found):
    """Run a layer of one sample on the spikes of the one before it; they act at once, or one step ``late``.

    Returns:
        The number of spikes in the list of the sample, to which those of this layer are appended.
    """
    pad, column = chain.pads[k], chain.column[k]
    w = weights[chain.feeds[k] : chain.feeds[k] + chain.sources[k] * pad].reshape((chain.sources[k], pad))
    loop = chain.loops[k]
    own = weights[loop : loop + pad * pad].reshape((pad, pad)) if loop >= 0 else w
    current, drive, rest, marks = scratch[0][:pad], scratch[1][:pad], scratch[2][:pad], fired[:pad]
    current[:] = 0
    drive[:] = 0
    rest[:] = 0
    lives = alive[column : column + pad]
    event, heard, at = 0, n, column * n_steps
    for t in range(n_steps):
        while event < times.shape[0] and times[event] + late == t:
            add_row(w[units[event]], drive)
            event += 1
        if loop >= 0:
            while heard < n:  # its own spikes of the step before
                add_row(own[unit[heard]], drive)
                heard += 1
        before = v[at - pad : at] if t > 0 else rest
        _step(drive, current, before, v[at : at + pad], marks, lives, chain.alpha[k], chain.mu[k])
        at += pad
        if chain.spiking[k]:
            n = append_spikes(marks, t, n, time, unit, found)
    return n


@kernel(fast=True)
def forward_sample(chain, n_steps, weights, bins, units, alive, v, time, unit, ends, scratch, fired, found):
    """Run all layers of one sample freely.

    Args:
        chain, weights: the network.
        bins, units: the sample's input events, sorted by bin.
        alive: [width], 1 for neurons that may fire, else 0 (float).
        v, time, unit, ends: out, see ``Room``.
        scratch: [3, width]; fired: uint8 [width]; found: int64 [width].
    """
    n = _forward_layer(chain, 0, n_steps, weights, bins, units, 0, alive, v, time, unit, 0, scratch, fired, found)
    ends[0] = n
    for k in range(1, chain.pads.shape[0]):
        first, last = ends[k - 2] if k > 1 else 0, ends[k - 1]
        n = _forward_layer(
            chain, k, n_steps, weights, time[first:last], unit[first:last], 1, alive, v, time, unit, n,
            scratch, fired, found,
        )  # fmt: skip
        ends[k] = n


@kernel(parallel=True, fast=True)
def forward(chain, weights, batch, alive, room):
    """Run a batch freely; fills its membranes and spikes."""
    for b in prange(batch.samples.shape[0]):
        scratch, found = np.empty((3, chain.width), weights.dtype), np.empty(chain.width, np.int64)
        fired = np.empty(chain.width, np.uint8)
        first, last = batch.offsets[batch.samples[b]], batch.offsets[batch.samples[b] + 1]
        forward_sample(
            chain, batch.n_steps, weights, batch.bins[first:last], batch.units[first:last], alive,
            room.v[b], room.time[b], room.unit[b], room.ends[b], scratch, fired, found,
        )  # fmt: skip


@kernel()
def spread_spikes(k, room, s):
    """Mark the spikes of layer k in ``s``, [sample, time, neuron], which holds zeros."""
    for b in range(s.shape[0]):
        for i in range(room.ends[b, k - 1] if k > 0 else 0, room.ends[b, k]):
            s[b, room.time[b, i], room.unit[b, i]] = 1


@kernel()
def collect_spikes(k, s, room):
    """List the spikes of layer k, [sample, time, neuron], after those of the layers before it."""
    for b in range(s.shape[0]):
        n = room.ends[b, k - 1] if k > 0 else 0
        for t in range(s.shape[1]):
            for j in range(s.shape[2]):
                if s[b, t, j] > 0:
                    room.time[b, n] = t
                    room.unit[b, n] = j
                    n += 1
        room.ends[b, k] = n


# --- backward ----------------------------------------------------------------------------------------------------


@kernel(fast=True)
def transposed(chain, weights):
    """Return weights as products with what targets say need them: flat, every block packed as ``matmul.pack`` does."""
    out = np.empty_like(weights)
    for k in range(chain.pads.shape[0]):
        pad = chain.pads[k]
        for part in range(2):
            at, n = (chain.feeds[k], chain.sources[k]) if part == 0 else (chain.loops[k], pad)
            if at >= 0 and (part == 1 or k > 0):
                w = weights[at : at + n * pad].reshape((n, pad))
                pack(w.T, out[at : at + n * pad].reshape((n // PANEL, pad, PANEL)))
    return out


@kernel(fast=True)
def _slopes(kind, v, alive, beta, slope):
    """∂S/∂V of one layer at one step."""
    if kind == SIGMOID:
        for j in range(v.shape[0]):
            slope[j] = _sigmoid(v[j], beta) * alive[j]
    elif kind == ARCTAN:
        for j in range(v.shape[0]):
            slope[j] = _arctan(v[j], beta) * alive[j]
    elif kind == TRIANGLE:
        for j in range(v.shape[0]):
            slope[j] = _triangle(v[j], beta) * alive[j]
    elif kind == GAUSSIAN:
        for j in range(v.shape[0]):
            slope[j] = _gaussian(v[j], beta) * alive[j]
    else:
        for j in range(v.shape[0]):
            slope[j] = _boxcar(v[j], beta) * alive[j]


@kernel(fast=True)
def _step_adjoint(slope, direct, fed, share, heard, lambda_v, lambda_i, alpha, mu):
    """One step of a layer back in time: ∂L/∂S is what the loss, layers that fire and read-outs say."""
    for j in range(slope.shape[0]):
        lambda_s = direct[j] + fed[j] + share * heard[j]
        lambda_v[j] = _membrane_adjoint(lambda_v[j], mu, lambda_s, slope[j])
        lambda_i[j] = _current_adjoint(lambda_i[j], alpha, lambda_v[j])


@kernel(fast=True)
def _step_superspike_adjoint(v, alive, beta, direct, fed, share, heard, lambda_v, lambda_i, alpha, mu):
    """The same with the usual spike function, in one go."""
    for j in range(v.shape[0]):
        lambda_s = direct[j] + fed[j] + share * heard[j]
        slope = _superspike(v[j], beta) * alive[j]
        lambda_v[j] = _membrane_adjoint(lambda_v[j], mu, lambda_s, slope)
        lambda_i[j] = _current_adjoint(lambda_i[j], alpha, lambda_v[j])


@kernel(fast=True)
def _step_readout_adjoint(grad_v, even_v, lambda_v, lambda_i, alpha, mu):
    """One step back in time of membranes that are only read."""
    for j in range(grad_v.shape[0]):
        lambda_v[j] = _membrane_adjoint(lambda_v[j], mu, grad_v[j] + even_v[j], _ONE)
        lambda_i[j] = _current_adjoint(lambda_i[j], alpha, lambda_v[j])


@kernel(fast=True)
def _add_unit(panels, unit, factor, total):
    """Add what one target says, ``factor``, to all its sources."""
    for p in range(panels.shape[0]):
        for j in range(PANEL):
            total[p * PANEL + j] += factor * panels[p, unit, j]


@kernel(fast=True)
def _hear_readouts(panels, grad_v, membranes, currents, alpha, mu, touched):
    """One step back of what a layer hears from membranes above it. Returns whether it heard anything yet."""
    for o in range(grad_v.shape[0]):
        if grad_v[o] != 0:
            _add_unit(panels, o, grad_v[o] / mu, membranes)  # (the step below multiplies by μ)
            touched = True
    if touched:
        for j in range(membranes.shape[0]):
            membranes[j] = _membrane_adjoint(membranes[j], mu, _ZERO, _ZERO)
            currents[j] = _current_adjoint(currents[j], alpha, membranes[j])
    return touched


@kernel(fast=True)
def _response(alpha, mu, response):
    """λ_I of a membrane whose ∂L/∂V is 1 at every step, [time + 1] (the last entry is 0)."""
    lambda_v = alpha * _ZERO
    lambda_i = lambda_v
    response[-1] = lambda_v
    for t in range(response.shape[0] - 2, -1, -1):
        lambda_v = _membrane_adjoint(lambda_v, mu, _ONE, _ONE)
        lambda_i = _current_adjoint(lambda_i, alpha, lambda_v)
        response[t] = lambda_i


@kernel(fast=True)
def _backward_layer(
    chain, k, n_steps, panels, bins, units, first, last, n, room, alive, above, adjoint, touches, gradient
):
    """Back-propagate through one layer of a block, adding to its weight gradients.

    Args:
        above: λ_I of the layer above, [time + 1, sample, ·], if that fires.
        adjoint: out, λ_I of this layer, [time + 1, sample, ·]; or one entry, if nobody needs it.
        (others): see ``backward_block``.
    """
    pad, column = chain.pads[k], chain.column[k]
    fires, kind, beta, alpha, mu = chain.spiking[k] > 0, chain.spike[k], chain.beta[k], chain.alpha[k], chain.mu[k]
    at, rows, loop = chain.feeds[k], chain.sources[k], chain.loops[k]
    grad = gradient[at : at + rows * pad].reshape((rows, pad))
    looped = loop >= 0
    grad_own = gradient[loop : loop + pad * pad].reshape((pad, pad)) if looped else grad
    of_own = panels[loop : loop + pad * pad] if looped else panels[:0]
    own = of_own.reshape((pad // PANEL if looped else 0, pad, PANEL))
    hears = k + 1 < chain.pads.shape[0]
    up = k + 1 if hears else k
    pad_up, column_up, alpha_up, mu_up = chain.pads[up], chain.column[up], chain.alpha[up], chain.mu[up]
    linear, dense = hears and not chain.spiking[up], hears and chain.spiking[up] > 0
    out = panels[chain.feeds[up] : chain.feeds[up] + (pad * pad_up if hears else 0)]
    out_panels = out.reshape((pad // PANEL if hears else 0, pad_up, PANEL))
    dtype = room.v.dtype
    lambda_v, lambda_i = np.zeros((n, pad), dtype), np.zeros((n, pad), dtype)
    fed, fed_up, heard = np.zeros((n, pad), dtype), np.zeros((n, pad), dtype), np.zeros((n, pad), dtype)
    membranes, even = np.zeros((n, pad), dtype), np.zeros((n, pad), dtype)
    slope, response = np.zeros(pad, dtype), np.zeros(n_steps + 1, dtype)
    touched = np.zeros(n, np.bool_)
    event, begin = np.empty(n, np.int64), np.empty(n, np.int64)
    spike, end = np.empty(n, np.int64), np.empty(n, np.int64)
    sparse, steady = linear and touches & ON_OUTPUTS > 0, False
    for b in range(n):
        event[b] = last[b] if k == 0 else room.ends[b, k - 1]
        begin[b] = first[b] if k == 0 else (room.ends[b, k - 2] if k > 1 else 0)
        spike[b] = room.ends[b, k]
        end[b] = room.ends[b, k - 1] if k > 0 else 0
        for o in range(pad_up if linear else 0):
            if room.even_v[b, column_up + o] != 0:
                _add_unit(out_panels, o, room.even_v[b, column_up + o], even[b])
                steady = True
    currents = np.zeros((n, pad), dtype) if steady and sparse else heard
    if steady:
        _response(alpha_up, mu_up, response)
    one = alpha * _ZERO + _ONE
    lives, nothing = alive[column : column + pad], np.zeros(pad, dtype)
    stride = pad if room.grad_s.shape[1] > chain.width else 0  # (0: ∂L/∂S is constant in time)
    from_s = column * n_steps if stride else column
    for t in range(n_steps - 1, -1, -1):
        row = column * n_steps + t * pad
        if t < n_steps - 1:
            if looped:
                multiply(lambda_i, own, fed)
            if dense:
                multiply(above[t + 1], out_panels, fed_up)
                for b in range(n if looped else 0):
                    add_row(fed[b], fed_up[b])
        for b in range(n):
            v_adjoint, i_adjoint = lambda_v[b], lambda_i[b]
            if looped:
                while spike[b] > end[b] and room.time[b, spike[b] - 1] == t:  # it acted on the layer itself at t + 1
                    spike[b] -= 1
                    add_row(i_adjoint, grad_own[room.unit[b, spike[b]]])
            if fires:
                share, said = (response[t + 1], even[b]) if steady else (one, currents[b])
                if steady and sparse:
                    heard[b] = currents[b] + share * even[b]
                    share, said = one, heard[b]
                v, fed_back = room.v[b][row : row + pad], fed_up[b] if dense else fed[b]
                direct = room.grad_s[b][from_s + t * stride : from_s + t * stride + pad]
                if touches & ON_HIDDEN:
                    add_scaled_row(room.grad_v[b][row : row + pad], _ONE / mu, v_adjoint)
                if kind == SUPERSPIKE:
                    _step_superspike_adjoint(
                        v, lives, beta, direct, fed_back, share, said, v_adjoint, i_adjoint, alpha, mu
                    )
                else:
                    _slopes(kind, v, lives, beta, slope)
                    _step_adjoint(slope, direct, fed_back, share, said, v_adjoint, i_adjoint, alpha, mu)
            else:
                grad_v = room.grad_v[b][row : row + pad] if touches & ON_OUTPUTS else nothing
                even_v = room.even_v[b][column : column + pad]
                _step_readout_adjoint(grad_v, even_v, v_adjoint, i_adjoint, alpha, mu)
            if k == 0:
                while event[b] > begin[b] and bins[event[b] - 1] == t:
                    event[b] -= 1
                    add_row(i_adjoint, grad[units[event[b]]])
            else:
                while event[b] > begin[b] and room.time[b, event[b] - 1] >= t - 1:
                    event[b] -= 1
                    if room.time[b, event[b]] == t - 1:  # (spikes of the last step act on nothing)
                        add_row(i_adjoint, grad[room.unit[b, event[b]]])
            if sparse:
                from_up = column_up * n_steps + t * pad_up
                touch = room.grad_v[b][from_up : from_up + pad_up]
                touched[b] = _hear_readouts(out_panels, touch, membranes[b], currents[b], alpha_up, mu_up, touched[b])
        if adjoint.shape[0] > 1:
            adjoint[t] = lambda_i


@kernel(fast=True)
def backward_block(chain, n_steps, panels, bins, units, first, last, n, room, alive, touches, gradient):
    """Back-propagate through a block of samples, adding to the weight gradients.

    Args:
        chain: the network; panels: its weights, ``transposed``.
        bins, units: input events of the data set; first, last: the samples' own, [sample].
        n: number of samples.
        room: what they did, and gradients of the loss.
        alive: [width], 1 for neurons that may fire (float).
        touches: ON_OUTPUTS, if ``room.grad_v`` is not 0 for the membranes of the last layer, plus ON_HIDDEN, if it
            is not for those of layers that fire.
        gradient: in and out, flat as the weights.
    """
    above = np.zeros((1, n, 1), room.v.dtype)
    for k in range(chain.pads.shape[0] - 1, -1, -1):
        kept = n_steps + 1 if k > 0 and chain.spiking[k] else 1
        adjoint = np.zeros((kept, n, chain.pads[k]), room.v.dtype)
        _backward_layer(
            chain, k, n_steps, panels, bins, units, first, last, n, room, alive, above, adjoint, touches, gradient
        )
        above = adjoint


@kernel(fast=True)
def part_of(room, first, last):
    """Return the room of some samples."""
    own = slice(first, last)
    return Room(
        room.v[own], room.time[own], room.unit[own], room.ends[own], room.grad_v[own], room.even_v[own],
        room.grad_s[own],
    )  # fmt: skip


@kernel(parallel=True, fast=True)
def backward(chain, weights, batch, alive, room, touches, parts):
    """Back-propagate through a batch. Fills ``parts``, [part, weights], whose sum is the gradient."""
    size, n_parts = batch.samples.shape[0], parts.shape[0]
    panels = transposed(chain, weights)
    for part in prange(n_parts):
        parts[part] = 0
        begin, end = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
        for block in range(part, (size + BLOCK - 1) // BLOCK, n_parts):
            n = min(BLOCK, size - block * BLOCK)
            for i in range(n):
                sample = batch.samples[block * BLOCK + i]
                begin[i], end[i] = batch.offsets[sample], batch.offsets[sample + 1]
            backward_block(
                chain, batch.n_steps, panels, batch.bins, batch.units, begin, end, n,
                part_of(room, block * BLOCK, block * BLOCK + n), alive, touches, parts[part],
            )  # fmt: skip


def parts_of(batch: int, n_steps: int, width: int) -> int:
    """Return in how many parts gradients are added up: more for more work, whatever the number of threads."""
    return max(1, min(-(-batch // BLOCK), 16, batch * n_steps * width // 2**17))
