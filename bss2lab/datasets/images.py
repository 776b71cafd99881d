"""From 28×28 grey images to the 16×16 pixels that fit the chip's 256 inputs: rotate, crop, reduce.

All steps keep 8-bit pixels, as an ordinary image pipeline does. Every reduction is a pair of small matrix
products, ``R X Rᵀ``, one row of ``R`` per target pixel; what differs is ``R``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.errors import InputError, complain
from bss2lab.kernels.jit import device, kernel, prange

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, UInt8
    from numpy import ndarray

SIZE = 16
"""Pixels per side of a prepared image: 16×16 = 256 inputs, the fan-in of a neuron on the chip."""

_FIXED_POINT = 2.0**22
_CHUNK = 64


class Resampling(StrEnum):
    """How the cubic reduction treats detail that the smaller image cannot show.

    ``antialiased``: Keys' cubic (a = −0.5) stretched by the reduction factor, rounded to 8 bit after each
    axis; bit for bit the BICUBIC of the Pillow library.
    ``spline``: the interpolating cubic spline, sampled with no smoothing at points that spread from the first
    pixel's centre to the last one's. This is ``scipy.ndimage.zoom``, which the authors' code calls; it leaves
    fewer bright pixels (57 input spikes per MNIST test image against 65).
    """

    ANTIALIASED = "antialiased"
    SPLINE = "spline"


def prepare(
    images: UInt8[ndarray, "n h w"],
    crop: int,
    size: int = SIZE,
    rotation_deg: Float[ndarray, "n"] | None = None,
    resampling: Resampling | str = Resampling.ANTIALIASED,
) -> UInt8[ndarray, "n s s"]:
    """Rotate (optionally), crop and reduce square grey images.

    A rotation turns the whole image about its centre, counter-clockwise for positive angles, with bilinear
    interpolation on a black surround, before the crop. (The authors' code turns the 16×16 image instead.)

    Args:
        images: grey values, shape [n, 28, 28] (any square size), uint8.
        crop: pixels dropped on each side: 2 for MNIST, 0 for Fashion-MNIST.
        size: pixels per side of the result.
        rotation_deg: one angle per image in degrees, shape [n]; None: no rotation.
        resampling: see :class:`Resampling`.

    Returns:
        Grey values, shape [n, size, size], uint8.

    Raises:
        InputError: if an argument has the wrong type, shape or range.
    """
    check_grey(images)
    n, side = images.shape[0], images.shape[1]
    if images.shape[2] != side:
        got = f"shape {images.shape}"
        raise InputError(complain("images", expected="square images [n, 28, 28]", got=got, fix="pad or cut them"))
    if not 0 <= crop < side / 2:
        text = complain("crop", expected=f"0 … {(side - 1) // 2} px", got=crop, fix="MNIST takes 2, Fashion-MNIST 0")
        raise InputError(text)
    if size < 2:
        raise InputError(complain("size", expected="at least 2 px", got=size, fix="the chip takes 16"))
    between, rows = _rows(resampling, side - 2 * crop, size)
    nonzero = rows != 0.0
    first = nonzero.argmax(axis=1)
    last = rows.shape[1] - nonzero[:, ::-1].argmax(axis=1)
    cos, sin = _turns(n, rotation_deg)
    frozen = np.ascontiguousarray(images).view()
    frozen.flags.writeable = False  # one compiled version serves read-only and writeable arrays
    out = np.empty((n, size, size), dtype=np.uint8)
    _prepare(frozen, crop, np.ascontiguousarray(rows.T), rows, first, last, between, cos, sin, out)
    return out


def rotation_angles(n: int, max_deg: float, seed: int | np.random.Generator) -> Float32[ndarray, "n"]:
    """Draw one rotation angle per image, uniform in ±``max_deg`` degrees.

    Args:
        n: number of angles.
        max_deg: largest angle in degrees; the paper turns by up to 15°.
        seed: seed, or a generator, which is advanced.

    Returns:
        Angles in degrees, shape [n].

    Raises:
        InputError: if ``max_deg`` lies outside 0 … 180.
    """
    if not 0 <= max_deg <= 180:
        raise InputError(complain("max_deg", expected="0 … 180 degrees", got=max_deg, fix="the paper uses 15"))
    return np.random.default_rng(seed).uniform(-max_deg, max_deg, n).astype(np.float32)


def check_grey(images: ndarray) -> None:
    """Raise InputError unless ``images`` is a stack [n, height, width] of 8-bit grey values."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        fix = "scale to 0 … 255 and convert: (255 * x).round().astype(np.uint8)"
        raise InputError(complain("images", expected="a NumPy array of uint8", got=got, fix=fix))
    if images.ndim != 3:
        fix = "add or drop an axis: images[None] for a single one"
        got = f"shape {images.shape}"
        raise InputError(complain("images", expected="shape [n, height, width]", got=got, fix=fix))


def antialiased_rows(source: int, target: int) -> Float[ndarray, "target source"]:
    """Return the matrix R of the antialiased cubic reduction of one axis.

    Row i weighs the source pixels by ``k((x + ½ − c) / s)``, c = (i + ½)·source/target, s = max(1,
    source/target), with Keys' kernel k for a = −½ (R. Keys, IEEE TASSP 29 (1981) 1153), normalised to sum 1,
    in units of 2⁻²² as 8-bit image libraries hold them.

    Args:
        source: pixels of the source axis.
        target: pixels of the target axis.
    """
    scale = source / target
    stretch = max(1.0, scale)
    centre = (np.arange(target) + 0.5)[:, None] * scale
    pixel = np.arange(source)[None, :]
    # Only pixels whose centre lies within the kernel's support, as image libraries delimit it
    begin, end = np.floor(centre - 2 * stretch + 0.5), np.floor(centre + 2 * stretch + 0.5)
    rows = np.where((pixel >= begin) & (pixel < end), _keys((pixel + 0.5 - centre) / stretch), 0.0)
    rows /= rows.sum(axis=1, keepdims=True)
    return np.trunc(rows * _FIXED_POINT + np.copysign(0.5, rows)) / _FIXED_POINT


def spline_rows(source: int, target: int) -> Float[ndarray, "target source"]:
    """Return the matrix R that samples the interpolating cubic spline of one axis, ends on ends.

    R = S B⁻¹: B maps spline coefficients to pixels, S to the positions i·(source − 1)/(target − 1); beyond
    the ends the coefficients are mirrored.

    Args:
        source: pixels of the source axis, at least 2.
        target: pixels of the target axis, at least 2.
    """
    at_pixels = _b_spline_rows(np.arange(source, dtype=np.float64), source)
    at_targets = _b_spline_rows(np.arange(target) * ((source - 1) / (target - 1)), source)
    return np.ascontiguousarray(np.linalg.solve(at_pixels.T, at_targets.T).T)


def _rows(resampling: Resampling | str, source: int, target: int) -> tuple[bool, ndarray]:
    """Return whether the image is rounded between the two axes, and R."""
    if resampling not in list(Resampling):
        want = " or ".join(repr(kind.value) for kind in Resampling)
        raise InputError(complain("resampling", expected=want, got=repr(resampling), fix="choose one of them"))
    if source < 2:
        raise InputError(complain("crop", expected="2 px or more left over", got=source, fix="crop less"))
    if resampling == Resampling.SPLINE:
        return False, spline_rows(source, target)
    return True, antialiased_rows(source, target)


def _keys(x: ndarray) -> ndarray:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _b_spline_rows(position: ndarray, n: int) -> ndarray:
    rows = np.zeros((len(position), n))
    whole = np.floor(position).astype(int)
    for tap in range(-1, 3):
        x = np.abs(position - (whole + tap))
        near = 2 / 3 - x * x + x**3 / 2
        far = np.maximum(2.0 - x, 0.0) ** 3 / 6
        index = np.abs(whole + tap)
        index = np.where(index >= n, 2 * (n - 1) - index, index)  # the mirror: −1 → 1, n → n − 2
        np.add.at(rows, (np.arange(len(position)), np.clip(index, 0, n - 1)), np.where(x < 1.0, near, far))
    return rows


def _turns(n: int, rotation_deg: ndarray | None) -> tuple[ndarray, ndarray]:
    if rotation_deg is None:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    angles = np.asarray(rotation_deg)
    if angles.shape != (n,) or not np.isfinite(angles).all():
        got = f"shape {angles.shape}" if angles.shape != (n,) else "NaN or infinity"
        text = complain("rotation_deg", expected=f"{n} finite angles", got=got, fix="use rotation_angles()")
        raise InputError(text)
    radians = np.deg2rad(angles.astype(np.float64))
    return np.cos(radians).astype(np.float32), np.sin(radians).astype(np.float32)


@kernel(parallel=True)
def _prepare(images, crop, columns, rows, first, last, between, cos, sin, out):
    n, side = images.shape[0], images.shape[1]
    inner, size = side - 2 * crop, rows.shape[0]
    # Black margin, wide enough that no turned pixel of the image looks beyond it
    margin = int(0.21 * side) + 2
    for chunk in prange((n + _CHUNK - 1) // _CHUNK):
        stage = np.zeros((side + 2 * margin, side + 2 * margin), dtype=np.float32)
        square = np.empty((inner, inner), dtype=np.float64)
        half = np.empty((inner, size), dtype=np.float64)
        full = np.empty(size, dtype=np.float64)
        for b in range(chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)):
            if len(cos) == 0:
                for y in range(inner):
                    for x in range(inner):
                        square[y, x] = images[b, y + crop, x + crop]
            else:
                for y in range(side):
                    for x in range(side):
                        stage[y + margin, x + margin] = images[b, y, x]
                _turn(stage, margin, side, crop, cos[b], sin[b], square)
            for y in range(inner):
                half[y, :] = 0.0
                for x in range(inner):
                    grey = square[y, x]
                    if grey != 0.0:
                        for i in range(size):
                            half[y, i] += columns[x, i] * grey
                if between:
                    for i in range(size):
                        half[y, i] = min(max(np.floor(half[y, i] + 0.5), 0.0), 255.0)
            for j in range(size):
                full[:] = 0.0
                for y in range(first[j], last[j]):
                    weight = rows[j, y]
                    for i in range(size):
                        full[i] += weight * half[y, i]
                for i in range(size):
                    out[b, j, i] = np.uint8(min(max(np.floor(full[i] + 0.5), 0.0), 255.0))


@device
def _turn(stage, margin, side, crop, cos, sin, square):
    """Fill ``square`` with the turned, cropped image: bilinear, rounded to 8 bit."""
    half = np.float32(0.5)
    one = np.float32(1.0)
    centre = half * np.float32(side - 1)
    origin = centre + np.float32(margin)
    for y in range(square.shape[0]):
        dy = np.float32(y + crop) - centre
        for x in range(square.shape[1]):
            dx = np.float32(x + crop) - centre
            from_x = origin + cos * dx - sin * dy
            from_y = origin + sin * dx + cos * dy
            left, top = np.int32(from_x), np.int32(from_y)
            fx, fy = from_x - np.float32(left), from_y - np.float32(top)
            upper = (one - fx) * stage[top, left] + fx * stage[top, left + 1]
            lower = (one - fx) * stage[top + 1, left] + fx * stage[top + 1, left + 1]
            square[y, x] = np.floor((one - fy) * upper + fy * lower + half)
