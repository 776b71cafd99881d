"""Reader of IDX, the format of the MNIST files: a big-endian header, then unsigned bytes."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.errors import DataError, complain

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from numpy import ndarray

UNSIGNED_BYTE = 0x08


def parse(content: bytes, what: str, *, n_axes: int) -> UInt8[ndarray, "..."]:
    """Read an IDX file of unsigned bytes.

    The header is two zero bytes, the element type, the number of axes, then one big-endian uint32 per axis.

    Args:
        content: the whole file, decompressed.
        what: name of the file, for errors.
        n_axes: number of axes that must come: 3 for images, 1 for labels.

    Returns:
        A read-only view of ``content``, uint8, of the shape that the header states.

    Raises:
        DataError: if the magic number, the number of axes or the length is wrong.
    """
    fix = f"this is no IDX file of {'labels' if n_axes == 1 else 'images'}, or it is damaged: fetch it anew"
    magic = bytes((0, 0, UNSIGNED_BYTE, n_axes))
    if content[:4] != magic:
        got = content[:4].hex(" ") or "nothing"
        raise DataError(complain(what, expected=f"IDX magic number {magic.hex(' ')}", got=got, fix=fix))
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise DataError(complain(what, expected=f"a header of {start} bytes", got=len(content), fix=fix))
    shape = struct.unpack(f">{n_axes}I", content[4:start])
    size = start + math.prod(shape)
    if len(content) != size:
        want = f"{size} bytes for the shape {shape} in its header"
        raise DataError(complain(what, expected=want, got=f"{len(content)} bytes", fix=fix))
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
