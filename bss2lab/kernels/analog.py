"""The compiled core of the emulated chip: 256 analog neurons, integrated exactly between fine steps.

One call emulates a batch, sample by sample, in parallel and without shared state: the result does not depend
on the number of threads. The arithmetic is strict IEEE single precision, so it does not depend on the width
of the vector unit either.

Within a sample, time advances in fine steps of length h (a fraction of the CADC period). Between grid points
every neuron follows its exact exponential propagator. The current of a spike that arrives within a step is
traced back to the step's beginning, such that membrane and current are right at its end (to third order in h);
threshold crossings follow from a parabola (third order); the end of the refractory time is interpolated within
the step (second order).
"""

# The neuron count is a literal, and each kind of state is one flat array, on purpose: the compiler then proves
# that the loops over neurons do not overlap in memory, and vectorises them.

from __future__ import annotations

import numpy as np

from bss2lab import dynamics
from bss2lab.kernels.bits import list_marked
from bss2lab.kernels.jit import device, kernel, prange
from bss2lab.kernels.noise import advance as _advance
from bss2lab.kernels.noise import mix as _mix
from bss2lab.kernels.noise import normal as _normal

N = 256
"""Neurons of the chip (two circuits joined each)."""

TAIL = N - 16
"""The last 16 neurons, where small output layers sit: work that concerns them alone can skip the others."""

MU, REST, ALPHA_EXC, ALPHA_INH, K_EXC, K_INH, RESET, THRESHOLD, REFRACTORY, NOISE = range(10)
LOW, HIGH, ADC_GAIN, ADC_OFFSET, START, STATIONARY, SPREAD = range(10, 17)
I_EXC, V_EXC, I_INH, V_INH, LEAK, H_OVER_TAU = range(17, 23)
N_PARAMETERS = 23
"""Rows of the parameter table, each of 256 neurons; see ``chip.program`` for how they are filled."""

V, EXC, INH, UNTIL = range(4)
N_STATES = 4
"""Membrane, mV; synaptic currents, mV/µs; when the refractory time ends, in steps since the start."""

_membrane_exact = device(dynamics.membrane_exact)
_threshold_crossing = device(dynamics.threshold_crossing)
_synaptic_current = device(dynamics.synaptic_current)
_arrival_current = device(dynamics.arrival_current)
_arrival_membrane = device(dynamics.arrival_membrane)

_TO_UNIT = np.float32(2.0**-31)
_MAX_CODE = np.float32(255.0)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF_LSB = np.float32(0.5)


@kernel()
def program_synapses(weights, gain_exc, gain_inh, first_neuron, rows):
    """Turn weights into what the synapses do, mV/µs per spike.

    Args:
        weights: int8 [source, target]; float32 where the synapses hold real numbers.
        gain_exc, gain_inh: mV/µs per unit of weight of each synapse, [256, 256].
        first_neuron: chip neuron of the first target.
        rows: out, float32 [256, 256].
    """
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            w = np.float32(weights[i, j])
            at = first_neuron + j
            rows[i, at] = max(w, _ZERO) * gain_exc[i, at] + min(w, _ZERO) * gain_inh[i, at]


@kernel()
def _seed_noise(rng, seed, sample):
    """Give every neuron of one sample a stream of its own."""
    base = _mix(np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(sample))
    for j in range(N):
        rng[j] = np.uint32(_mix(base + np.uint64(j) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) | np.uint32(1)


@kernel()
def _push(step, fraction, source, heads, ev_next, ev_source, ev_fraction, n_events):
    """File an arrival under its fine step (a linked list per step)."""
    ev_source[n_events] = source
    ev_fraction[n_events] = fraction
    ev_next[n_events] = heads[step]
    heads[step] = n_events
    return n_events + 1


@kernel()
def _deliver(row, now, part, bend_i_exc, bend_v_exc, bend_i_inh, bend_v_inh, state, par):
    """Let a spike act on every neuron, ``part`` of a step after the grid point ``now``.

    The positive entries of its synapse row excite, the negative ones inhibit. Currents and membranes change at the
    grid point so that they are right at the end of the step (see ``dynamics.arrival_current``).
    """
    for j in range(N):
        w = row[j]
        excites = max(w, _ZERO)
        inhibits = min(w, _ZERO)
        exc = state[EXC * N + j] + _arrival_current(excites, par[I_EXC * N + j] + bend_i_exc, part)
        inh = state[INH * N + j] + _arrival_current(inhibits, par[I_INH * N + j] + bend_i_inh, part)
        shift = _arrival_membrane(
            excites, par[V_EXC * N + j] + bend_v_exc, inhibits, par[V_INH * N + j] + bend_v_inh, part
        )
        awake = state[UNTIL * N + j] <= now
        state[EXC * N + j] = exc
        state[INH * N + j] = inh
        state[V * N + j] += shift if awake else _ZERO


@kernel()
def _deliver_tail(row, now, part, bend_i_exc, bend_v_exc, bend_i_inh, bend_v_inh, state, par):
    """The same for the neurons from ``TAIL`` on alone."""
    for j in range(TAIL, N):
        w = row[j]
        excites = max(w, _ZERO)
        inhibits = min(w, _ZERO)
        exc = state[EXC * N + j] + _arrival_current(excites, par[I_EXC * N + j] + bend_i_exc, part)
        inh = state[INH * N + j] + _arrival_current(inhibits, par[I_INH * N + j] + bend_i_inh, part)
        shift = _arrival_membrane(
            excites, par[V_EXC * N + j] + bend_v_exc, inhibits, par[V_INH * N + j] + bend_v_inh, part
        )
        awake = state[UNTIL * N + j] <= now
        state[EXC * N + j] = exc
        state[INH * N + j] = inh
        state[V * N + j] += shift if awake else _ZERO


@kernel()
def _integrate(step, state, par, rng, fired, crossing):
    """One fine step of all neurons; marks those that crossed their threshold."""
    # (Whether any did is not summed up here: numba widens the sum to 64 bits, and halves the lanes of the whole loop.)
    now = np.float32(step + 1)
    for j in range(N):
        bits = _advance(rng[j])
        rng[j] = bits
        noise = par[NOISE * N + j] * (np.float32(np.int32(bits)) * _TO_UNIT)
        before = state[V * N + j]
        exc = state[EXC * N + j]
        inh = state[INH * N + j]
        free = _membrane_exact(
            before, par[REST * N + j], par[MU * N + j], exc, par[K_EXC * N + j], inh, par[K_INH * N + j]
        )
        awake = min(max(now - state[UNTIL * N + j], _ZERO), _ONE)
        after = before + awake * (free + noise - before)
        after = min(max(after, par[LOW * N + j]), par[HIGH * N + j])
        state[V * N + j] = after
        state[EXC * N + j] = _synaptic_current(exc, _ZERO, par[ALPHA_EXC * N + j])
        state[INH * N + j] = _synaptic_current(inh, _ZERO, par[ALPHA_INH * N + j])
        over = (after > par[THRESHOLD * N + j]) & (awake > _ZERO)
        crossing[j] = before
        fired[j] = np.uint8(over)


@device
def _digitise(j, state, par, rng):
    bits = _advance(rng[j])
    rng[j] = bits
    code = par[ADC_GAIN * N + j] * state[V * N + j] + par[ADC_OFFSET * N + j] + par[SPREAD * N + j] * _normal(bits)
    return np.uint8(np.int32(min(max(code, _ZERO), _MAX_CODE) + _HALF_LSB))


@kernel()
def _sample_cadc(state, par, rng, out):
    """Digitise all membranes at the same moment."""
    for j in range(N):
        out[j] = _digitise(j, state, par, rng)


@kernel()
def _sample_cadc_tail(state, par, rng, out):
    """The same for the neurons from ``TAIL`` on alone."""
    for j in range(TAIL, N):
        out[j] = _digitise(j, state, par, rng)


@kernel()
def _sample_cadc_exactly(state, par, rng, first, out):
    """The same for the neurons from ``first`` on, with codes that are not rounded (``_digitise`` rounds these)."""
    for j in range(first, N):
        bits = _advance(rng[j])
        rng[j] = bits
        code = par[ADC_GAIN * N + j] * state[V * N + j] + par[ADC_OFFSET * N + j] + par[SPREAD * N + j] * _normal(bits)
        out[j] = min(max(code, _ZERO), _MAX_CODE)


@kernel()
def _fire(j, step, step_us, state, par, crossing):
    """Reset a neuron that crossed its threshold; return the time of the crossing, in steps since the start.

    What the refractory time leaves of the step, the membrane spends rising from reset. A neuron that begins the
    step, or wakes in it, above its threshold fires there and then.
    """
    now = np.float32(step + 1)
    awake = min(max(now - state[UNTIL * N + j], _ZERO), _ONE)
    before, after = crossing[j], state[V * N + j]
    rise = par[H_OVER_TAU * N + j] * (par[LEAK * N + j] - after)
    rise = awake * (rise + step_us * (state[EXC * N + j] + state[INH * N + j]))
    threshold = par[THRESHOLD * N + j]
    part = np.float32(_threshold_crossing(before, after, rise, threshold)) if before < threshold else _ZERO
    within = (_ONE - awake) + awake * min(max(part, _ZERO), _ONE)
    reset = par[RESET * N + j]
    free = _membrane_exact(
        reset, par[REST * N + j], par[MU * N + j],
        state[EXC * N + j], par[K_EXC * N + j], state[INH * N + j], par[K_INH * N + j],
    )  # fmt: skip
    left = par[REFRACTORY * N + j] - (_ONE - within)
    state[V * N + j] = reset + max(-left, _ZERO) * (free - reset)
    state[UNTIL * N + j] = now + max(left, _ZERO)
    return np.float32(step) + within


@kernel()
def _start(state, par, rng, from_reset):
    """Begin a sample: membranes at leak with their stationary noise, or at reset; currents at zero."""
    for j in range(N):
        bits = _advance(rng[j])
        rng[j] = bits
        resting = par[START * N + j] + par[NOISE * N + j] * par[STATIONARY * N + j] * _normal(bits)
        state[V * N + j] = par[RESET * N + j] if from_reset else resting
        state[EXC * N + j] = _ZERO
        state[INH * N + j] = _ZERO
        state[UNTIL * N + j] = _ZERO


@kernel(parallel=True)
def emulate(
    times_us,
    units,
    offsets,
    index,
    input_rows,
    routed_rows,
    input_delay,
    routed_delay,
    route_to_tail,
    par,
    bend,
    start_us,
    step_us,
    n_periods,
    n_sub,
    reset_step,
    from_reset,
    seed,
    sample_ids,
    sample_tail,
    cadc,
    cadc_exact,
    fired_out,
    event_time,
    event_unit,
    event_count,
    membranes,
    probe,
    probe_mv,
):
    """Emulate a batch on the chip.

    Args:
        times_us, units, offsets: input spikes (see ``types.Spikes``).
        index: the samples to run, shape [batch].
        input_rows: effective synapses of the input rows, mV/µs per spike, shape [256, 256].
        routed_rows: the same for spikes of the chip's own neurons, shape [256, 256].
        input_delay, routed_delay: synaptic delay per source, µs, shape [256].
        route_to_tail: routed spikes reach the last 16 neurons alone.
        par: parameter table, flat [23 · 256]; rows named at the top of this module.
        bend: the factors c₂ of ``dynamics.arrival_factors`` for the rows I_EXC … V_INH, all neurons alike, [4].
        start_us: time of the first grid point, µs after the start of the sample.
        step_us, n_sub, n_periods: fine step; fine steps per CADC period; CADC periods to emulate.
        reset_step: from this fine step on, membranes are held at reset and currents at zero.
        from_reset: start at the reset potential instead of at rest.
        seed, sample_ids: seed of the noise, and the number of each sample's own noise stream, shape [batch].
        sample_tail: digitise the last 16 neurons alone.
        cadc: out, uint8 [batch, n_periods + 1, 256]; entry 0 is the sample at the start.
        cadc_exact: out, the same without rounding, float32, in its place; or None (another compilation, so that
            the usual one is not burdened with it).
        fired_out: out, uint8 [batch, n_periods + 1, 256], spikes since the sample before; or empty.
        event_time, event_unit, event_count: out, spikes as events, [batch, capacity]; capacity 0 to skip.
        membranes: out, mV at every grid point, [batch, n_periods · n_sub + 1, 256]; or empty.
        probe: the one neuron of each sample whose membrane is wanted at every grid point, [batch]; or empty.
        probe_mv: out, that membrane, mV, [batch, n_periods · n_sub + 1]; or empty.
    """
    batch = len(index)
    n_steps = n_periods * n_sub
    keep_fired = fired_out.shape[0] > 0
    keep_membranes = membranes.shape[0] > 0
    keep_probe = probe_mv.shape[0] > 0
    first = TAIL if sample_tail else 0
    capacity = event_time.shape[1]
    chunk = max(1, min(16, batch // 8))
    n_chunks = (batch + chunk - 1) // chunk
    for c in prange(n_chunks):
        state = np.empty(N_STATES * N, np.float32)
        rng = np.empty(N, np.uint32)
        marks, who = np.empty(N // 8, np.uint64), np.empty(N, np.int64)
        fired = marks.view(np.uint8)
        crossing = np.empty(N, np.float32)
        heads = np.empty(n_steps, np.int32)
        most = 0
        for b in range(c * chunk, min(batch, (c + 1) * chunk)):
            most = max(most, offsets[index[b] + 1] - offsets[index[b]])
        most += N * n_steps
        ev_next = np.empty(most, np.int32)
        ev_source = np.empty(most, np.int32)
        ev_fraction = np.empty(most, np.float32)
        for b in range(c * chunk, min(batch, (c + 1) * chunk)):
            _seed_noise(rng, seed, sample_ids[b])
            _start(state, par, rng, from_reset)
            if cadc_exact is not None:
                _sample_cadc_exactly(state, par, rng, first, cadc_exact[b, 0])
            elif sample_tail:
                _sample_cadc_tail(state, par, rng, cadc[b, 0])
            else:
                _sample_cadc(state, par, rng, cadc[b, 0])
            if keep_membranes:
                membranes[b, 0, :] = state[V * N : (V + 1) * N]
            if keep_probe:
                probe_mv[b, 0] = state[V * N + probe[b]]
            if keep_fired:
                fired_out[b, :, :] = 0
            heads[:] = -1
            n_events = 0
            for e in range(offsets[index[b]], offsets[index[b] + 1]):
                at = max((times_us[e] + input_delay[units[e]] - start_us) / step_us, _ZERO)
                step = np.int64(at)
                if step < n_steps:
                    n_events = _push(
                        step, at - np.float32(step), units[e], heads, ev_next, ev_source, ev_fraction, n_events
                    )
            n_spikes = 0
            for step in range(n_steps):
                held = step > reset_step
                now = np.float32(step)
                event = -1 if held else heads[step]
                while event >= 0:
                    source, part = ev_source[event], ev_fraction[event]
                    b0, b1, b2, b3 = part * bend[0], part * bend[1], part * bend[2], part * bend[3]
                    if source < N:
                        _deliver(input_rows[source], now, part, b0, b1, b2, b3, state, par)
                    else:
                        if route_to_tail:
                            _deliver_tail(routed_rows[source - N], now, part, b0, b1, b2, b3, state, par)
                        else:
                            _deliver(routed_rows[source - N], now, part, b0, b1, b2, b3, state, par)
                    event = ev_next[event]
                if not held:
                    _integrate(step, state, par, rng, fired, crossing)
                    for k in range(list_marked(marks, who)):
                        j = who[k]
                        at = _fire(j, step, step_us, state, par, crossing)
                        if keep_fired:
                            fired_out[b, step // n_sub + 1, j] = 1
                        if n_spikes < capacity:
                            event_time[b, n_spikes] = start_us + at * step_us
                            event_unit[b, n_spikes] = j
                        n_spikes += 1
                        at = max(at + routed_delay[j] / step_us, np.float32(step + 1))
                        arrival = np.int64(at)
                        if arrival < n_steps:
                            part = at - np.float32(arrival)
                            n_events = _push(arrival, part, N + j, heads, ev_next, ev_source, ev_fraction, n_events)
                if step >= reset_step:
                    for j in range(N):
                        state[V * N + j] = par[RESET * N + j]
                        state[EXC * N + j] = _ZERO
                        state[INH * N + j] = _ZERO
                if keep_membranes:
                    membranes[b, step + 1, :] = state[V * N : (V + 1) * N]
                if keep_probe:
                    probe_mv[b, step + 1] = state[V * N + probe[b]]
                if (step + 1) % n_sub == 0:
                    if cadc_exact is not None:
                        _sample_cadc_exactly(state, par, rng, first, cadc_exact[b, (step + 1) // n_sub])
                    elif sample_tail:
                        _sample_cadc_tail(state, par, rng, cadc[b, (step + 1) // n_sub])
                    else:
                        _sample_cadc(state, par, rng, cadc[b, (step + 1) // n_sub])
            event_count[b] = n_spikes
