"""The IDX reader takes exactly what the format allows."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bss2lab.datasets import idx
from bss2lab.errors import DataError


def idx_bytes(array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)))
def test_round_trip(array):
    parsed = idx.parse(idx_bytes(array), "x", n_axes=array.ndim)
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)
    assert not parsed.flags.writeable


@given(hnp.arrays(np.uint8, (2, 3, 2)), st.integers(0, 27))
def test_every_truncation_is_refused(array, kept):
    whole = idx_bytes(array)
    assert len(whole) == 28
    with pytest.raises(DataError, match="pictures"):
        idx.parse(whole[:kept], "pictures", n_axes=3)


GOOD = idx_bytes(np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["magic number 00 00 08 03", "got nothing"]),
        (b"<!DOCTYPE html>", ["got 3c 21 44 4f"]),
        (b"\0\0\x0d\x03" + GOOD[4:], ["got 00 00 0d 03"]),  # floats
        (idx_bytes(np.zeros(8)), ["got 00 00 08 01", "images"]),  # labels in the place of images
        (GOOD[:12], ["header of 16 bytes", "got 12"]),
        (GOOD + b"\0", ["24 bytes for the shape (2, 2, 2)", "got 25 bytes"]),
        (b"\0\0\x08\x03" + b"\xff" * 12, ["shape (4294967295, 4294967295, 4294967295)"]),
    ],
)
def test_refusals_name_the_file_and_the_flaw(content, words):
    with pytest.raises(DataError) as caught:
        idx.parse(content, "t10k", n_axes=3)
    for word in ["t10k: expected", "fetch it anew", *words]:
        assert word in str(caught.value)
