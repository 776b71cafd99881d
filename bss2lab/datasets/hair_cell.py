"""Hair cells and bushy cells: from the membrane's velocity to spikes.

**Hair cell** (Meddis, J. Acoust. Soc. Am. 79, 702, 1986, and 83, 1056, 1988). Transmitter moves from the free pool q
into the cleft c, is partly lost, partly taken back into the store w, and returns from there; A, B, g, y, l, r, x
are rates and M the size of the pool:

    k = g (v + A)₊ / ((v + A)₊ + B),
    dq/dt = y (M − q)₊ + x w − k q,   dc/dt = k q − (l + r) c,   dw/dt = r c − x w,

in Euler steps of one sample, from the rest at v = 0. Each fibre of the nerve fires with the probability h c dt per
sample, and not again for 1 ms.

**Bushy cell** (Cramer et al. 2020). A leaky integrate-and-fire neuron on 40 fibres: each spike adds 1 to an
exponentially decaying current I, the membrane integrates w I / 40 and decays, fires at 1 and then rests for 1 ms.

How 40 fibres become one random draw. That none of n fibres fires has the probability e^(−n λ), λ = −ln(1 − p).
So the fibres that are not refractory are lined up, time step after time step, and the distance to the next one
that fires, in units of λ, is exponentially distributed. This is the very process of 40 independent fibres, but
random numbers are spent on spikes alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.kernels.bits import first_byte
from bss2lab.kernels.jit import device, kernel
from bss2lab.kernels.noise import mix

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Int32
    from numpy import ndarray

LANES = 32
"""Channels that are computed side by side."""

_TILE = 128  # samples that are turned at once

_MOST_FIBRES = 10_000
_FASTEST = 8_000.0  # 1/s: two such rates together still empty a pool in no less than one step at 32 kHz
_SURE = np.float32(40.0)  # λ of a fibre that fires for certain
_NEXT_TO_NOTHING = np.float32(1e-30)  # what decays below it is 0 (subnormal numbers cost many times as much)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class HairCell(Config):
    """Constants of the transmitter pools (Meddis's letters in brackets)."""

    permeability_offset: float = quantity(
        5.0, "offset of the velocity [A]", unit="velocity", source=Source.AUTHORS_CODE, gt=0, le=1e6
    )
    permeability_half: float = quantity(
        300.0, "velocity of half the release rate [B]", unit="velocity", source=Source.AUTHORS_CODE, gt=0, le=1e6
    )
    release_per_s: float = quantity(
        2000.0, "largest release rate [g]", unit="1/s", source=Source.AUTHORS_CODE, gt=0, le=_FASTEST
    )
    replenishment_per_s: float = quantity(
        5.05, "rate of new transmitter [y]", unit="1/s", source=Source.AUTHORS_CODE, gt=0, le=_FASTEST
    )
    loss_per_s: float = quantity(
        2500.0, "loss from the cleft [l]", unit="1/s", source=Source.AUTHORS_CODE, ge=0, le=_FASTEST
    )
    reuptake_per_s: float = quantity(
        6580.0, "return from the cleft [r]", unit="1/s", source=Source.AUTHORS_CODE, gt=0, le=_FASTEST
    )
    reprocessing_per_s: float = quantity(
        66.3, "rate from the store to the free pool [x]", unit="1/s", source=Source.AUTHORS_CODE, gt=0, le=_FASTEST
    )
    firing_per_s: float = quantity(
        50_000.0, "firing rate per transmitter in the cleft [h]", unit="1/s", source=Source.AUTHORS_CODE, ge=0, le=1e6
    )
    pool: float = quantity(1.0, "transmitter in a full pool [M]", source=Source.AUTHORS_CODE, gt=0, le=1e3)

    def rest(self) -> tuple[float, float, float]:
        """Return free pool, cleft and store in equilibrium without sound."""
        k = self.release_per_s * self.permeability_offset / (self.permeability_offset + self.permeability_half)
        leaving = self.loss_per_s + self.reuptake_per_s
        cleft = self.pool * self.replenishment_per_s * k / (self.loss_per_s * k + self.replenishment_per_s * leaving)
        return cleft * leaving / k, cleft, cleft * self.reuptake_per_s / self.reprocessing_per_s

    def spontaneous_per_s(self) -> float:
        """Return the firing rate of one fibre without sound, before its refractory time."""
        return self.firing_per_s * self.rest()[1]


class BushyCell(Config):
    """Constants of the fibres and of the neuron that gathers them."""

    n_fibres: int = quantity(40, "fibres per bushy cell", source=Source.AUTHORS_CODE, ge=1, le=_MOST_FIBRES)
    tau_mem_ms: float = quantity(1.0, "membrane time constant", unit="ms", source=Source.AUTHORS_CODE, gt=0)
    tau_syn_ms: float = quantity(0.5, "synaptic time constant", unit="ms", source=Source.AUTHORS_CODE, gt=0)
    refractory_ms: float = quantity(
        1.0, "refractory time of fibres and bushy cells", unit="ms", source=Source.AUTHORS_CODE, ge=0, le=100
    )
    weight_per_s: float = quantity(
        13_000.0,
        "weight of all fibres together; one has 1/n of it",
        unit="threshold/s",
        source=Source.AUTHORS_CODE,
        ge=0,
        le=1e9,
    )


def firing_probability(velocity: Float32[ndarray, "c t"], cell: HairCell, rate_hz: int) -> Float32[ndarray, "t lanes"]:
    """Return the probability that one fibre fires in one sample, were it not refractory.

    Args:
        velocity: of the membrane, float32, at most 32 channels.
        cell: constants.
        rate_hz: sampling rate of the velocity.

    Returns:
        float32, time first, shape [t, 32]; columns without a channel are 0.
    """
    probability = np.empty((velocity.shape[1], LANES), dtype=np.float32)
    rates = (
        cell.release_per_s, cell.replenishment_per_s, cell.loss_per_s + cell.reuptake_per_s,
        cell.reuptake_per_s, cell.reprocessing_per_s, cell.firing_per_s,
    )  # fmt: skip
    steps = np.array([rate / rate_hz for rate in rates], dtype=np.float32)
    sizes = np.array([cell.permeability_offset, cell.permeability_half, cell.pool], dtype=np.float32)
    _release(velocity, np.array(cell.rest(), dtype=np.float32), steps, sizes, probability)
    return probability


def bushy_spikes(
    probability: Float32[ndarray, "t lanes"], cell: BushyCell, rate_hz: int, *, n_channels: int, seed: int, first: int
) -> tuple[Int32[ndarray, "events"], Int16[ndarray, "events"]]:
    """Draw the fibres' spikes and return those of the bushy cells.

    Args:
        probability: of a spike of one fibre per sample (see :func:`firing_probability`).
        cell: constants.
        rate_hz: sampling rate of the probability.
        n_channels: how many columns hold a channel.
        seed: 64-bit seed; a channel's random numbers depend on it and on the channel's number alone.
        first: number of the first channel.

    Returns:
        Time (in samples) and channel of every spike, in order of time.
    """
    refractory = cell.refractory_ms * 1e-3 * rate_hz
    dead = max(1, math.ceil(refractory - 1e-9))
    n_steps = len(probability)
    times = np.empty(n_channels * (n_steps // dead + 2), dtype=np.int32)
    units = np.empty(len(times), dtype=np.int16)
    decay = [math.exp(-1e3 / (rate_hz * tau)) for tau in (cell.tau_mem_ms, cell.tau_syn_ms)]
    gain = cell.weight_per_s / cell.n_fibres / rate_hz
    n = _fire(
        probability, n_channels, first, np.uint64(seed), cell.n_fibres, dead, np.float32(decay[0]),
        np.float32(decay[1]), np.float32(gain), np.float32(refractory), times, units,
    )  # fmt: skip
    return times[:n], units[:n]


@device
def _positive(x):
    return x if x > np.float32(0) else np.float32(0)


@kernel()
def _release(velocity, rest, steps, sizes, probability):
    """Euler steps of the transmitter pools; the velocity is turned to [time, lane] in tiles on the way."""
    n_lanes, n_steps = velocity.shape
    release, replenish, leave, take_back, reprocess, fire = steps
    offset, half, pool = sizes
    tile = np.zeros((_TILE, LANES), dtype=np.float32)
    free, cleft, store = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    free[:], cleft[:], store[:] = rest[0], rest[1], rest[2]
    for begin in range(0, n_steps, _TILE):
        n = min(_TILE, n_steps - begin)
        for i in range(n_lanes):
            for j in range(n):
                tile[j, i] = velocity[i, begin + j]
        for j in range(n):
            for i in range(LANES):
                above = _positive(tile[j, i] + offset)
                q, c, w = free[i], cleft[i], store[i]
                ejected = release * (above / (above + half)) * q
                returned = reprocess * w
                free[i] = _positive(q + replenish * _positive(pool - q) - ejected + returned)
                new = _positive(c + ejected - leave * c)
                cleft[i] = new
                store[i] = _positive(w + take_back * c - returned)
                probability[begin + j, i] = new * fire
    for t in range(n_steps):
        for i in range(n_lanes, LANES):
            probability[t, i] = 0


@device
def _hazard(p):
    """−ln(1 − p) for p ≤ ½, to single precision: the series of 2 artanh(s)."""
    s = p / (np.float32(2) - p)
    x = s * s
    tail = np.float32(1 / 3) + x * (
        np.float32(1 / 5) + x * (np.float32(1 / 7) + x * (np.float32(1 / 9) + x * np.float32(1 / 11)))
    )
    return np.float32(2) * s * (np.float32(1) + x * tail)


@device
def _large_hazard(p):
    """−ln(1 − p) for p > ½; 40 for what is certain."""
    return min(_SURE, np.float32(-math.log1p(-p))) if p < np.float32(1) else _SURE


@device
def _exponential(state):
    """Exponentially distributed number, from the next of a splitmix64 sequence: its upper 24 bits."""
    bits = np.int32(mix(state) >> np.uint64(40))
    return -math.log((np.float32(bits) + np.float32(0.5)) * np.float32(2.0**-24))


@kernel()
def _fire(
    probability, n_lanes, first, seed, n_fibres, dead, keep_membrane, keep_current, gain, refractory, times, units
):
    """Fibres and bushy cells of up to 32 channels, step by step; returns the number of spikes."""
    zero, one = np.float32(0), np.float32(1)
    ready = np.full(LANES, n_fibres, dtype=np.float32)  # fibres that are not refractory
    fired = np.zeros((dead, LANES), dtype=np.float32)  # fibres' spikes of the last steps, a ring
    ahead = np.empty(LANES, dtype=np.float32)  # distance to the next spike, in units of λ
    current, membrane = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    resting = np.zeros(LANES, dtype=np.float32)  # steps for which the bushy cell still rests
    hazard = np.empty(LANES, dtype=np.float32)  # λ of this step
    marked = np.zeros(LANES, dtype=np.uint8)  # channels to look at one by one
    words = marked.view(np.uint64)  # eight marks, 0 or 1 each: word & (word - 1) is without its first
    state = np.empty(LANES, dtype=np.uint64)
    for i in range(LANES):
        state[i] = mix(mix(seed) + np.uint64(first + i + 1) * _GOLDEN)
        ahead[i] = _exponential(state[i])
    n_spikes = 0
    slot = 0
    for t in range(probability.shape[0]):
        for i in range(LANES):
            p = min(probability[t, i], one)
            n = ready[i] + fired[slot, i]
            ready[i] = n
            fired[slot, i] = zero
            hazard[i] = _hazard(p)
            left = ahead[i] - n * hazard[i]
            ahead[i] = left
            marked[i] = np.uint8((left < zero) | (p > np.float32(0.5)))
        for k in range(words.shape[0]):
            word = words[k]
            while word != 0:
                i = 8 * k + first_byte(word)
                word &= word - np.uint64(1)
                p, step = min(probability[t, i], one), hazard[i]
                distance = ahead[i] + ready[i] * step  # undo the step
                if p > np.float32(0.5):
                    step = _large_hazard(p)
                n = np.int32(ready[i])
                count = 0
                while distance < n * step:
                    count += 1
                    n = max(np.int32(0), np.int32(n - 1 - np.int32(distance / step)))
                    state[i] += _GOLDEN
                    distance = _exponential(state[i])
                ahead[i] = distance - n * step
                fired[slot, i] = np.float32(count)
                ready[i] -= np.float32(count)
        for i in range(LANES):
            spikes = membrane[i] >= one
            wait = refractory if spikes else resting[i]
            now = current[i] * keep_current + fired[slot, i]
            v = zero if spikes else membrane[i] * keep_membrane
            v = v if wait > zero else v + now * gain
            membrane[i] = min(v, one) if v > _NEXT_TO_NOTHING else zero
            current[i] = now if now > _NEXT_TO_NOTHING else zero
            resting[i] = wait - one
            marked[i] = np.uint8(spikes)
        for k in range(words.shape[0]):
            word = words[k]
            while word != 0:
                i = 8 * k + first_byte(word)
                word &= word - np.uint64(1)
                if i < n_lanes:
                    times[n_spikes] = t - 1
                    units[n_spikes] = first + i
                    n_spikes += 1
        slot = slot + 1 if slot + 1 < dead else 0
    return n_spikes
