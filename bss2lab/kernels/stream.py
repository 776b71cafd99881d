"""The chip's compiled core in continuous operation: image after image in one run that never starts anew.

Equations and arithmetic are those of ``kernels.analog``, whose pieces run here over one global grid of fine
steps. Membranes, currents, refractory times, spikes in flight and noise streams go on from image to image.

Grid points are counted with integers since the beginning of the run. What single precision holds (the end of
the refractory time, spike times) is counted from a base that moves along, so that nothing becomes less exact in
a long run. Spikes in flight wait in a ring of linked lists, one list per fine step, in a pool of fixed size.
"""

from __future__ import annotations

import numpy as np

from bss2lab.kernels.analog import (
    EXC,
    INH,
    N_STATES,
    RESET,
    TAIL,
    UNTIL,
    N,
    V,
    _deliver,
    _deliver_tail,
    _fire,
    _integrate,
    _sample_cadc,
    _sample_cadc_tail,
    _seed_noise,
    _start,
)
from bss2lab.kernels.bits import list_marked
from bss2lab.kernels.jit import kernel

_ZERO = np.float32(0.0)
_FARTHEST = 512
"""Steps from the base after which it moves at the latest: single precision then resolves 2⁻¹⁵ of a step."""

_FIRST_CAPACITY = 4096

_GRID_POINT, _IMAGE, _BASE, _HELD, _FREE, _SPIKES = range(6)
_N_CURSOR = 6
"""Where a run stands: grid point; image, −1 before the first; base; held at reset?; free entry; spikes so far."""


@kernel()
def _rebase(state, steps):
    """Count the ends of the refractory times from a base so many steps later (an end that has passed is 0)."""
    for j in range(N):
        state[UNTIL * N + j] = max(state[UNTIL * N + j] - steps, _ZERO)


@kernel()
def _hold(state, par):
    """The artificial reset: membranes at reset, currents at zero."""
    for j in range(N):
        state[V * N + j] = par[RESET * N + j]
        state[EXC * N + j] = _ZERO
        state[INH * N + j] = _ZERO


@kernel()
def _file(slot, fraction, source, heads, ev_next, ev_source, ev_fraction, free):
    """File an arrival under its slot of the ring; return the next free entry of the pool."""
    after = ev_next[free]
    ev_source[free] = source
    ev_fraction[free] = fraction
    ev_next[free] = heads[slot]
    heads[slot] = free
    return after


@kernel()
def _grown(array):
    """Return a copy with twice the room."""
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@kernel()
def _advance(
    times_us, units, offsets, first_step, phase, hold_step, sent_before_us,
    input_rows, routed_rows, input_delay_us, routed_delay, route_to_tail, par, bend,
    step_us, n_steps, n_sub, cadc, probe, probe_step, probe_mv,
    state, rng, fired, marks, who, crossing, codes, heads, ev_next, ev_source, ev_fraction,
    spike_us, spike_unit, cursor,
):  # fmt: skip
    """Go on from where the cursor stands; return whether that was to the end, or to where spikes need more room.

    All arrays come from outside: in the function that makes an array, numba counts references for each event.
    """
    step_us_single = np.float32(step_us)
    mask = len(heads) - 1
    n_output = cadc.shape[1]
    in_tail = n_output <= N - TAIL
    n_images = len(first_step)
    image, base, free, n_spikes = cursor[_IMAGE], cursor[_BASE], cursor[_FREE], cursor[_SPIKES]
    held = cursor[_HELD] > 0
    for g in range(cursor[_GRID_POINT], n_steps + 1):
        if n_spikes + N > len(spike_us):
            cursor[_GRID_POINT], cursor[_IMAGE], cursor[_BASE] = g, image, base
            cursor[_HELD], cursor[_FREE], cursor[_SPIKES] = np.int64(held), free, n_spikes
            return False
        # Grid point g: the end of the step before.
        if image >= 0 and g == hold_step[image]:
            held = True
        if held:
            _hold(state, par)
        if g % n_sub == 0:
            if in_tail:
                _sample_cadc_tail(state, par, rng, codes)
            else:
                _sample_cadc(state, par, rng, codes)
            for o in range(n_output):
                cadc[g // n_sub, o] = codes[N - n_output + o]
        if 0 <= g - probe_step < len(probe_mv):
            for i in range(len(probe)):
                probe_mv[g - probe_step, i] = state[V * N + probe[i]]
        if g == n_steps:
            break
        # Fine step g.
        starts = image + 1 < n_images and g == first_step[image + 1]
        if starts or g - base >= _FARTHEST:
            _rebase(state, np.float32(g - base))
            base = g
        if starts:
            image += 1
            held = False
            for e in range(offsets[image], offsets[image + 1]):
                if times_us[e] >= sent_before_us:
                    break
                source = units[e]
                at = max(phase[image] + (np.float64(times_us[e]) + input_delay_us[source]) / step_us, 0.0)
                after = np.int64(at)
                free = _file(
                    (g + after) & mask, np.float32(at - after), source, heads, ev_next, ev_source, ev_fraction, free
                )
        step = g - base
        now = np.float32(step)
        event = heads[g & mask]
        heads[g & mask] = -1
        while event >= 0:
            if not held:
                source, part = ev_source[event], ev_fraction[event]
                b0, b1, b2, b3 = part * bend[0], part * bend[1], part * bend[2], part * bend[3]
                if source < N:
                    _deliver(input_rows[source], now, part, b0, b1, b2, b3, state, par)
                elif route_to_tail:
                    _deliver_tail(routed_rows[source - N], now, part, b0, b1, b2, b3, state, par)
                else:
                    _deliver(routed_rows[source - N], now, part, b0, b1, b2, b3, state, par)
            later = ev_next[event]
            ev_next[event] = free
            free = event
            event = later
        if not held:
            _integrate(step, state, par, rng, fired, crossing)
            for k in range(list_marked(marks, who)):
                j = who[k]
                at = _fire(j, step, step_us_single, state, par, crossing)
                spike_us[n_spikes] = (base + np.float64(at)) * step_us
                spike_unit[n_spikes] = j
                n_spikes += 1
                at = max(at + routed_delay[j], np.float32(step + 1))
                after = np.int64(at)
                part = at - np.float32(after)
                free = _file((base + after) & mask, part, N + j, heads, ev_next, ev_source, ev_fraction, free)
    cursor[_SPIKES] = n_spikes
    return True


@kernel()
def emulate_stream(
    times_us,
    units,
    offsets,
    first_step,
    phase,
    hold_step,
    sent_before_us,
    input_rows,
    routed_rows,
    input_delay_us,
    routed_delay,
    route_to_tail,
    par,
    bend,
    step_us,
    n_steps,
    n_sub,
    ring,
    in_flight,
    seed,
    cadc,
    probe,
    probe_step,
    probe_mv,
):
    """Emulate images one after the other, in one run from rest.

    Grid point ``g`` lies ``g · step_us`` after the beginning of the run, fine step ``g`` follows on it.

    Args:
        times_us, units, offsets: input spikes of every image, from its start (see ``types.Spikes``).
        first_step: fine step in which each image starts, rising, shape [image].
        phase: where in that step, 0 … 1, shape [image].
        hold_step: grid point of each image's artificial reset, beyond its first step and at most the first step of
            the next; from here to there membranes are held at reset, currents at zero. Beyond the run: never. [image]
        sent_before_us: input spikes that come this late after the start of their image are not sent.
        input_rows, routed_rows: effective synapses, mV/µs per spike, [256, 256]; see ``analog.emulate``.
        input_delay_us: synaptic delay per input row, µs, [256].
        routed_delay: synaptic delay per source neuron, fine steps, float32 [256].
        route_to_tail: routed spikes reach the last 16 neurons alone.
        par, bend: parameter table, flat [23 · 256], and the shared factors [4]; see ``analog.emulate``.
        step_us: length of a fine step, float64.
        n_steps, n_sub: fine steps to emulate, and per CADC period.
        ring: slots of the ring, a power of two; more than the steps from the filing of a spike to its arrival.
        in_flight: most spikes that can be under way at the same time.
        seed: seed of the noise.
        cadc: out, uint8 [n_steps // n_sub + 1, n_output]: samples of the last neurons at grid points 0, n_sub, …
        probe: neurons whose membranes are wanted at every grid point, [probe]; or empty.
        probe_step: first grid point of them.
        probe_mv: out, those membranes, mV, [grid point, probe].

    Returns:
        Times of all spikes, µs after the beginning of the run (float64), and the neurons that fired (int16).
    """
    state = np.empty(N_STATES * N, np.float32)
    rng = np.empty(N, np.uint32)
    marks, who = np.empty(N // 8, np.uint64), np.empty(N, np.int64)
    fired = marks.view(np.uint8)
    crossing = np.empty(N, np.float32)
    codes = np.empty(N, np.uint8)
    heads = np.full(ring, -1, np.int32)
    ev_next = np.arange(1, in_flight + 1).astype(np.int32)
    ev_source = np.empty(in_flight, np.int32)
    ev_fraction = np.empty(in_flight, np.float32)
    spike_us = np.empty(_FIRST_CAPACITY, np.float64)
    spike_unit = np.empty(_FIRST_CAPACITY, np.int16)
    cursor = np.zeros(_N_CURSOR, np.int64)
    cursor[_IMAGE] = -1
    _seed_noise(rng, seed, 0)
    _start(state, par, rng, False)
    while not _advance(
        times_us, units, offsets, first_step, phase, hold_step, sent_before_us,
        input_rows, routed_rows, input_delay_us, routed_delay, route_to_tail, par, bend,
        step_us, n_steps, n_sub, cadc, probe, probe_step, probe_mv,
        state, rng, fired, marks, who, crossing, codes, heads, ev_next, ev_source, ev_fraction,
    spike_us, spike_unit, cursor,
    ):  # fmt: skip
        spike_us, spike_unit = _grown(spike_us), _grown(spike_unit)
    return spike_us[: cursor[_SPIKES]].copy(), spike_unit[: cursor[_SPIKES]].copy()
