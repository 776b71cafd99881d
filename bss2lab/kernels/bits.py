"""Marks in bytes, found eight at a time."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _first_byte(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        zeros = builder.cttz(arguments[0], context.get_constant(types.boolean, 1))
        return builder.lshr(zeros, context.get_constant(types.uint64, 3))

    return types.int64(types.uint64), generate


first_byte: Any = intrinsic(_first_byte)
"""``first_byte(word)``, for kernels: the place, 0 … 7, of the lowest byte that is not 0 of a uint64 that is not 0.

``word &= word - np.uint64(1)`` then removes it, if every byte is 0 or 1.
"""
