"""Random numbers of the emulated chip, from integers alone: the same on every machine."""

from __future__ import annotations

import numpy as np

from bss2lab.kernels.jit import device

_TO_NORMAL = np.float32(1.0 / np.sqrt(4 * (256**2 - 1) / 12))


@device
def mix(x):
    """One round of the splitmix64 finaliser."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@device
def advance(x):
    """Next state of a 32-bit xorshift generator (Marsaglia 2003); its bits are the random number."""
    x = np.uint32(x ^ np.uint32(x << np.uint32(13)))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(17)))
    return np.uint32(x ^ np.uint32(x << np.uint32(5)))


@device
def normal(bits):
    """Roughly standard normal number from 32 random bits: the sum of four bytes (kurtosis 2.7)."""
    total = (
        np.int32(bits & np.uint32(255))
        + np.int32((bits >> np.uint32(8)) & np.uint32(255))
        + np.int32((bits >> np.uint32(16)) & np.uint32(255))
        + np.int32(bits >> np.uint32(24))
    )
    return np.float32(np.int32(total - 510)) * _TO_NORMAL
