"""Marks in bytes, found eight at a time."""

import numpy as np
import pytest

from bss2lab.kernels.bits import list_marked


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_lists_every_mark_once_and_in_order(share, dtype):
    rng = np.random.default_rng(1)
    marks = ((rng.random(256) < share) * rng.integers(1, 256, 256)).astype(np.uint8)
    found = np.full(256, -1, dtype)
    n = list_marked(marks.view(np.uint64), found)
    np.testing.assert_array_equal(found[:n], np.flatnonzero(marks))
    assert (found[n:] == -1).all()


@pytest.mark.parametrize("value", [1, 128, 255])
@pytest.mark.parametrize("place", range(8))
def test_finds_any_byte_alone(place, value):
    marks, found = np.zeros(8, np.uint8), np.empty(8, np.int64)
    marks[place] = value
    assert list_marked(marks.view(np.uint64), found) == 1
    assert found[0] == place
