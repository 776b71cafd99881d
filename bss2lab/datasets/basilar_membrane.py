"""Basilar membrane: the velocity of a travelling wave at every place of the cochlea, from the sound.

The linear shallow-water model of Sieroka, Dosch & Rupp (J. Acoust. Soc. Am. 120, 297, 2006), as used for SHD by
Cramer et al. (2020). At the place x (cm from the base) and the angular frequency ω the membrane has the impedance

    ξ(ω, x) = C(x) − m ω² − i ω R(x),   C(x) = C₀ e^(−αx) − a,   R(x) = δ √(C₀ m) e^(−αx/2),

a wave has the wavenumber k = ω √(ρ / (h ξ)), and with its phase, integrated from the base,

    G(ω, x) = 2 k(ω, 0) / α + ∫₀ˣ k(ω, x') dx',

pressure and velocity are

    p = √(G / k) H₀⁽¹⁾(G),   v = (2 ω / ξ) · p(x) / p(0) · Z(ω),
    Z(ω) = i √(2 C₀ / h) H₀⁽²⁾(β) / H₁⁽²⁾(β),   β = (2 ω / α) √(2 / (h C₀)).

The integral has a closed form: with E = e^(−αx/2), ξ = C₀ E² − i ω R₀ E − b, b = a + m ω², it is

    (2 i ω / α) √(ρ / (h b)) · ln(E F(1) / F(E)),   F(E) = 2 i √b √ξ − i ω R₀ E − 2 b.

Three properties of the authors' code are kept, since the published spikes have them. The velocity comes from the
positive frequencies alone, transformed at half the sampling rate: it is sampled at 24 kHz for a sound at 48 kHz,
and what lies above 12 kHz is folded back. The frequencies, from 0 to half the sampling rate, are taken to run
from 1 Hz to half the sampling rate. And the equations are those of e^(−iωt), but the transform back is that of
e^(iωt): delays have the wrong sign, and the response to a click precedes it, by 25 ms at the apex.

ln v is smooth in ln ω. It is computed once, on a coarse grid, and interpolated for every length of sound.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts are loaded when they are used: nothing but hearing needs them

from bss2lab.config import Config, Source, quantity
from bss2lab.errors import InputError, complain
from bss2lab.kernels.jit import kernel

if TYPE_CHECKING:
    from jaxtyping import Complex64, Complex128, Float, Float32, Int64
    from numpy import ndarray

LOWEST_HZ = 1.0
"""Frequency that stands for 0 in the authors' code."""

NEGLIGIBLE = 1e-7
"""A channel's response ends where it has fallen to this part of its largest value."""

_STEP = 0.01  # of the grid in ln ω; six-point interpolation is then exact to 10⁻⁵
_TAPS = 6


class BasilarMembrane(Config):
    """Constants of the membrane, in the units of the article (cm, g, s)."""

    stiffness: float = quantity(
        1e9, "stiffness at the base, C₀", unit="g s⁻² cm⁻²", source=Source.AUTHORS_CODE, gt=1e6, lt=1e12
    )
    stiffness_offset: float = quantity(
        3500.0, "what the stiffness lies below an exponential, a", unit="g s⁻² cm⁻²", source=Source.AUTHORS_CODE, ge=1
    )
    stiffness_decay: float = quantity(
        3.0, "decay of the stiffness with the place, α", unit="cm⁻¹", source=Source.AUTHORS_CODE, gt=0.1, lt=10
    )
    damping: float = quantity(
        0.15, "damping δ, in units of the critical one's half", source=Source.AUTHORS_CODE, gt=0.01, lt=1
    )
    mass: float = quantity(0.05, "mass of the membrane, m", unit="g cm⁻²", source=Source.AUTHORS_CODE, gt=0)
    height: float = quantity(0.1, "height of the scalae, h", unit="cm", source=Source.AUTHORS_CODE, gt=0)
    density: float = quantity(1.0, "density of the fluid, ρ", unit="g cm⁻³", source=Source.AUTHORS_CODE, gt=0)
    length: float = quantity(
        3.5, "place of the last channel; the first is at the base, 0", unit="cm", source=Source.AUTHORS_CODE, gt=0, le=5
    )

    def __hash__(self) -> int:
        """Equal constants share what was computed for them."""
        return hash(self.model_dump_json())

    def places(self, n_channels: int) -> Float[ndarray, "c"]:
        """Return the places of the channels in cm from the base, equally spaced."""
        return np.linspace(0.0, self.length, n_channels)

    def resonance_hz(self, place_cm: Float[ndarray, "c"]) -> Float[ndarray, "c"]:
        """Return the frequency at which stiffness and mass balance, √(C(x) / m) / 2π.

        The velocity peaks some 10 % below it (the wave is damped out before it gets there).
        """
        stiffness = self.stiffness * np.exp(-self.stiffness_decay * place_cm) - self.stiffness_offset
        return np.sqrt(np.maximum(stiffness, 0.0) / self.mass) / (2 * np.pi)


def response(
    membrane: BasilarMembrane, frequency_hz: Float[ndarray, "f"], place_cm: Float[ndarray, "c"]
) -> Complex128[ndarray, "c f"]:
    """Return the velocity per amplitude of the sound, v(ω, x), for every place and frequency.

    Args:
        membrane: constants.
        frequency_hz: frequencies in Hz, above 0, shape [f].
        place_cm: places in cm from the base, shape [c].
    """
    p, w = membrane, 2 * np.pi * np.asarray(frequency_hz, dtype=np.float64)[None, :]
    half_decay = np.exp(-p.stiffness_decay * np.asarray(place_cm, dtype=np.float64)[:, None] / 2)
    at_base = np.ones((1, 1))
    b = p.stiffness_offset + p.mass * w**2
    friction = 1j * w * p.damping * math.sqrt(p.stiffness * p.mass)

    def impedance(e: ndarray) -> ndarray:
        return p.stiffness * e**2 - friction * e - b

    def wavenumber(e: ndarray) -> ndarray:
        return w * np.sqrt(p.density / (p.height * impedance(e)))

    def primitive(e: ndarray) -> ndarray:
        return 2j * np.sqrt(b) * np.sqrt(impedance(e)) - friction * e - 2 * b

    travelled = np.log(half_decay * primitive(at_base) / primitive(half_decay))
    phase_at_base = 2 / p.stiffness_decay * wavenumber(at_base)
    phase = phase_at_base + 2j * w / p.stiffness_decay * np.sqrt(p.density / (p.height * b)) * travelled
    pressure = np.sqrt(phase / wavenumber(half_decay)) * scipy.special.hankel1(0, phase)
    pressure_at_base = np.sqrt(phase_at_base / wavenumber(at_base)) * scipy.special.hankel1(0, phase_at_base)
    beta = 2 * w / p.stiffness_decay * math.sqrt(2 / (p.height * p.stiffness))
    inlet = 1j * math.sqrt(2 * p.stiffness / p.height) * scipy.special.hankel2(0, beta) / scipy.special.hankel2(1, beta)
    return 2 * w / impedance(half_decay) * pressure / pressure_at_base * inlet


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Response of all channels to the frequencies of a sound of one length.

    Attributes:
        values: responses of one channel after the other, each up to where it becomes negligible.
        starts: channel ``c`` owns ``values[starts[c]:starts[c + 1]]``, shape [c + 1].
        n_bins: number of frequencies, which is also the number of samples of the velocity.
    """

    values: Complex64[ndarray, "entries"]
    starts: Int64[ndarray, "c+1"]
    n_bins: int


@functools.lru_cache(maxsize=3)
def transfer(membrane: BasilarMembrane, n_channels: int, sample_rate_hz: int, n_samples: int) -> Transfer:
    """Return the response to the frequencies of a sound of ``n_samples``, to 10⁻⁵ of its value.

    The last three are kept in memory (60 MB per second of sound each).

    Raises:
        InputError: if the constants are so far off that the response over- or underflows.
    """
    grid, nodes = _nodes(membrane, n_channels, sample_rate_hz)
    n_bins = n_samples // 2 + 1
    at = (np.log(np.linspace(LOWEST_HZ, sample_rate_hz // 2, n_bins)) - grid[0]) / _STEP
    left = np.clip(np.floor(at).astype(np.int64) - (_TAPS // 2 - 1), 0, len(grid) - _TAPS)
    weights = _lagrange(at - left)
    size = np.real(nodes)
    loud = size > size.max(axis=1, keepdims=True) + math.log(NEGLIGIBLE)
    last = len(grid) - 1 - loud[:, ::-1].argmax(axis=1)  # the last node that counts
    counts = np.searchsorted(at, last + 1.0, side="right")
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.empty(starts[-1], dtype=np.complex64)
    _expand(nodes, left, weights, starts, values)
    values.flags.writeable = False
    return Transfer(values, starts, n_bins)


def spectrum(samples: Float[ndarray, "n"]) -> Complex64[ndarray, "k"]:
    """Return the positive frequencies of a sound, shape [n // 2 + 1]."""
    return np.asarray(scipy.fft.rfft(np.asarray(samples, dtype=np.float64)), dtype=np.complex64)


def velocities(spectrum: Complex64[ndarray, "k"], transfer: Transfer, first: int, last: int) -> Float32[ndarray, "c t"]:
    """Return the velocity at the channels ``first:last``, at half the sound's sampling rate.

    Args:
        spectrum: of the sound (see :func:`spectrum`).
        transfer: response for its length.
        first, last: range of channels.

    Returns:
        float32, shape [last − first, n_bins].
    """
    folded = np.empty((last - first, transfer.n_bins // 2 + 1), dtype=np.complex64)
    pairs = (x.view(np.float32) for x in (spectrum, transfer.values))
    _fold(*pairs, transfer.starts[first : last + 1], folded.view(np.float32))
    return np.asarray(scipy.fft.irfft(folded, n=transfer.n_bins, axis=1))


@functools.lru_cache(maxsize=3)
def _nodes(membrane: BasilarMembrane, n_channels: int, sample_rate_hz: int) -> tuple[ndarray, ndarray]:
    """Return the grid of ln f and ln v on it, phase unwrapped, shape [channels, grid]."""
    begin, end = math.log(LOWEST_HZ), math.log(sample_rate_hz / 2)
    grid = begin + _STEP * np.arange(-_TAPS, math.ceil((end - begin) / _STEP) + _TAPS + 1)
    with np.errstate(all="ignore"):
        velocity = response(membrane, np.exp(grid), membrane.places(n_channels))
    if not (np.isfinite(velocity).all() and velocity.all()):
        got = "overflow or underflow with " + ", ".join(f"{k} {v:g}" for k, v in membrane.changes().items())
        fix = "stay closer to the published constants"
        raise InputError(complain("membrane", expected="constants that a wave can travel with", got=got, fix=fix))
    return grid, np.log(np.abs(velocity)) + 1j * np.unwrap(np.angle(velocity), axis=1)


def _lagrange(at: ndarray) -> ndarray:
    """Weights of the nodes 0 … 5 for the polynomial's value at ``at``, shape [len(at), 6]."""
    weights = np.ones((len(at), _TAPS))
    for j in range(_TAPS):
        for k in range(_TAPS):
            if k != j:
                weights[:, j] *= (at - k) / (j - k)
    return weights


@kernel()
def _expand(nodes, left, weights, starts, values):
    """Interpolate ln v, and take the exponential."""
    for c in range(nodes.shape[0]):
        for k in range(starts[c + 1] - starts[c]):
            re, im = 0.0, 0.0
            for j in range(_TAPS):
                node = nodes[c, left[k] + j]
                re += weights[k, j] * node.real
                im += weights[k, j] * node.imag
            size = math.exp(re)
            values[starts[c] + k] = complex(size * math.cos(im), size * math.sin(im))


@kernel()
def _fold(spectrum, values, starts, folded):
    """Multiply, and make the real part's spectrum: Re Σ X[k] eᶦ… has the bins (X[k] + X*[n − k]) / 2.

    All but ``starts`` are views of complex numbers as pairs of real ones, which the compiler vectorises.
    """
    n, n_folded = spectrum.shape[0] // 2, folded.shape[1] // 2
    half = np.float32(0.5)
    for c in range(folded.shape[0]):
        row, own = folded[c], values[2 * starts[c] : 2 * starts[c + 1]]
        count = own.shape[0] // 2
        low = min(count, n_folded)
        for k in range(low):
            re, im, a, b = own[2 * k], own[2 * k + 1], spectrum[2 * k], spectrum[2 * k + 1]
            row[2 * k] = half * (re * a - im * b)
            row[2 * k + 1] = half * (re * b + im * a)
        row[2 * low :] = 0
        for k in range(n_folded, count):
            re, im, a, b = own[2 * k], own[2 * k + 1], spectrum[2 * k], spectrum[2 * k + 1]
            row[2 * (n - k)] += half * (re * a - im * b)
            row[2 * (n - k) + 1] -= half * (re * b + im * a)
        row[0], row[1] = 2 * row[0], 0
        if n % 2 == 0:
            row[n], row[n + 1] = 2 * row[n], 0
