"""Latency code: every bright pixel becomes one spike, the brighter the earlier.

A pixel x = value/255 is the drive of a leaky integrator that fires once:

    t(x) = τ_in · ln(x / (x − θ_in))   for x ≥ θ_in, never otherwise,

shifted so that the earliest spike of each image comes at 0 (Cramer et al. 2022; constants from the authors'
code). An 8-bit pixel takes 256 values only, so the whole code is a small table.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.datasets.images import check_grey
from bss2lab.errors import InputError, complain
from bss2lab.kernels.jit import kernel
from bss2lab.types import MAX_UNITS, Spikes

if TYPE_CHECKING:
    from jaxtyping import Float32, UInt8
    from numpy import ndarray

TIME_STAMP_US = 0.008
"""Grid of the chip's spike times in µs: 8 ns, 125 MHz [authors' code]."""

_SILENT = 255


class LatencyCode(Config):
    """Parameters of the latency code of grey images."""

    tau_in_us: float = quantity(
        8.0,
        "time constant of the code; longer spreads the spikes",
        unit="µs",
        source=Source.AUTHORS_CODE,
        gt=0,
    )
    theta_in: float = quantity(
        0.2, "grey value (0 … 1) below which a pixel stays silent", source=Source.AUTHORS_CODE, gt=0, lt=1
    )
    duration_us: float = quantity(
        34.0,
        "length of one image, 20 steps of 1.7 µs; later spikes are dropped",
        unit="µs",
        source=Source.AUTHORS_CODE,
        ge=TIME_STAMP_US,
        le=1e6,
    )


def encode(images_u8: UInt8[ndarray, "n h w"], code: LatencyCode | None = None) -> Spikes:
    """Turn grey images into input spikes.

    Pixel (row, column) drives unit row·w + column. Times are rounded to the nearest multiple of 8 ns, the
    chip's time stamp; one that would thereby reach the end of the image stays one time stamp before it.
    Events are sorted by time, and by unit where times are equal. A blank image has no event.

    Args:
        images_u8: grey values, shape [n, 16, 16] (any height and width), uint8.
        code: parameters; None: the authors'.

    Returns:
        Spikes of n samples with h·w units.

    Raises:
        InputError: if the images are not 8-bit, or not a stack [n, height, width].
    """
    check_grey(images_u8)
    n, n_units = images_u8.shape[0], images_u8.shape[1] * images_u8.shape[2]
    if not 0 < n_units <= MAX_UNITS:
        want = f"1 … {MAX_UNITS} pixels per image"
        raise InputError(complain("images", expected=want, got=n_units, fix="reduce them with images.prepare()"))
    code = code or LatencyCode()
    rank, time_us = _ranks(code.tau_in_us, code.theta_in, code.duration_us)
    pixels = np.ascontiguousarray(images_u8).reshape(n, n_units)
    pixels.flags.writeable = False  # one compiled version serves read-only and writeable arrays
    offsets = np.zeros(n + 1, dtype=np.int64)
    _count(pixels, rank, offsets)
    times = np.empty(offsets[-1], dtype=np.float32)
    units = np.empty(offsets[-1], dtype=np.int16)
    _fill(pixels, rank, time_us, offsets, times, units)
    return Spikes(times, units, offsets, n_units, code.duration_us)


def latency_table(code: LatencyCode) -> Float32[ndarray, "256 256"]:
    """Return the spike time in µs of every grey value, for every possible brightest pixel of its image.

    Args:
        code: parameters.

    Returns:
        ``table[brightest, value]``: multiples of 8 ns in [0, duration); infinity where there is no spike.
    """
    x = np.arange(256) / 255
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = np.where(x >= code.theta_in, code.tau_in_us * np.log(x / (x - code.theta_in)), np.inf)
        after_first = raw[None, :] - raw[:, None]
    value, brightest = np.arange(256)[None, :], np.arange(256)[:, None]
    fires = (value <= brightest) & np.isfinite(after_first) & (after_first < code.duration_us)
    last = math.ceil(code.duration_us / TIME_STAMP_US) - 1
    while np.float32(last * TIME_STAMP_US) >= np.float32(code.duration_us):
        last -= 1
    stamp = np.minimum(np.floor(np.where(fires, after_first, 0.0) / TIME_STAMP_US + 0.5), last)
    return np.where(fires, stamp * TIME_STAMP_US, np.inf).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _ranks(tau_in_us: float, theta_in: float, duration_us: float) -> tuple[ndarray, ndarray]:
    """Return ``rank[brightest, value]``, the place of a value's time among all times (255: silent), and
    ``time_us[brightest, rank]``. Values whose times round to the same 8 ns share a rank."""
    code = LatencyCode(tau_in_us=tau_in_us, theta_in=theta_in, duration_us=duration_us)
    table = latency_table(code)
    rank = np.full((256, 256), _SILENT, dtype=np.uint8)
    time_us = np.zeros((256, 256), dtype=np.float32)
    for brightest in range(256):
        fires = np.isfinite(table[brightest])
        distinct, place = np.unique(table[brightest, fires], return_inverse=True)
        rank[brightest, fires] = place
        time_us[brightest, : len(distinct)] = distinct
    return rank, time_us


@kernel()
def _count(pixels, rank, offsets):
    """Number of spikes of each image, summed up from the first."""
    for b in range(pixels.shape[0]):
        brightest = pixels[b].max()
        row = rank[brightest]
        count = 0
        for value in pixels[b]:
            count += row[value] != _SILENT
        offsets[b + 1] = offsets[b] + count


@kernel()
def _fill(pixels, rank, time_us, offsets, times, units):
    """Counting sort of each image's spikes by rank; it is stable, so equal times stay in order of units."""
    start = np.empty(257, dtype=np.int64)
    for b in range(pixels.shape[0]):
        brightest = pixels[b].max()
        row = rank[brightest]
        start[:] = 0
        for value in pixels[b]:
            start[np.int64(row[value]) + 1] += 1
        start[0] = offsets[b]
        for r in range(1, 256):
            start[r] += start[r - 1]
        for unit in range(pixels.shape[1]):
            r = row[pixels[b, unit]]
            if r != _SILENT:
                at = start[r]
                times[at] = time_us[brightest, r]
                units[at] = unit
                start[r] = at + 1
