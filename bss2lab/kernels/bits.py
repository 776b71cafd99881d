"""Marks in bytes, found eight at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from bss2lab.kernels.jit import Intrinsic, kernel


def _first_byte(typing_context: Any, word: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        zeros = builder.cttz(arguments[0], context.get_constant(types.boolean, 1))
        return builder.lshr(zeros, context.get_constant(types.uint64, 3))

    return types.int64(types.uint64), generate


first_byte: Any = Intrinsic(_first_byte)
"""``first_byte(word)``, for kernels: the place, 0 … 7, of the lowest byte that is not 0 of a uint64 that is not 0.

For loops that go without a list (see ``datasets.hair_cell``).
"""


@kernel()
def list_marked(words, places):
    """List where the bytes that are not 0 stand, in their order; return their number.

    Args:
        words: the bytes as uint64, eight in each. (View them once, outside of loops: a view counts references.)
        places: out, as long as there are bytes; entries beyond the number are left as they are.
    """
    n = 0
    for k in range(words.shape[0]):
        word = words[k]
        while word != 0:
            place = first_byte(word)
            word &= ~(np.uint64(0xFF) << np.uint64(8 * place))
            places[n] = 8 * k + place
            n += 1
    return n
