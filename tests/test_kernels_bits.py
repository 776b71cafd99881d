"""Marks in bytes, found eight at a time."""

import numpy as np
import pytest

from bss2lab.kernels.bits import first_byte
from bss2lab.kernels.jit import kernel


@kernel()
def places(marks, found):
    words = marks.view(np.uint64)
    n = 0
    for k in range(words.shape[0]):
        word = words[k]
        while word != 0:
            found[n] = 8 * k + first_byte(word)
            word &= word - np.uint64(1)
            n += 1
    return n


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_finds_every_mark_once_and_in_order(share):
    marks = (np.random.default_rng(1).random(256) < share).astype(np.uint8)
    found = np.full(256, -1)
    n = places(marks, found)
    np.testing.assert_array_equal(found[:n], np.flatnonzero(marks))


@pytest.mark.parametrize("place", range(8))
def test_finds_any_byte_alone(place):
    marks, found = np.zeros(8, np.uint8), np.empty(8, np.int64)
    marks[place] = 1
    assert places(marks, found) == 1
    assert found[0] == place
