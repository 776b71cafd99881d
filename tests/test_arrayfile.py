"""Arrays with a header in one file: what comes back is what went in, or nothing does."""

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from bss2lab import arrayfile

HEADER = {"text": "µ — “x”\n", "number": 0.1, "nested": [{"a": None}, True]}
ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "nothing": np.empty((0, 4), np.int16),
    "number": np.array(3, np.int64),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays") / "file"


def read(path, content, **options):
    path.write_bytes(content)
    return arrayfile.unpack(path, **options)


def test_what_is_read_is_what_was_packed(path):
    header, arrays = read(path, arrayfile.pack(HEADER, ARRAYS))
    assert header == arrayfile.header_of(path) == HEADER
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


@pytest.mark.parametrize("dtype", [">f4", ">i8", "<f8", "=u2", "i1"])
def test_the_order_of_bytes_does_not_matter(path, dtype):
    values = np.arange(6).reshape(2, 3)
    _, arrays = read(path, arrayfile.pack(HEADER, {"values": values.astype(dtype)}))
    np.testing.assert_array_equal(arrays["values"], values)
    assert arrays["values"].dtype == np.dtype(dtype).newbyteorder("<")


def test_the_same_content_gives_the_same_bytes():
    assert len({arrayfile.pack(HEADER, ARRAYS) for _ in range(30)}) == 1


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(path, at, bit):
    content = bytearray(arrayfile.pack(HEADER, ARRAYS))
    content[at % len(content)] ^= 1 << bit
    with pytest.raises(arrayfile.DAMAGE):
        read(path, bytes(content))


@given(st.data())
def test_a_file_cut_short_is_noticed(path, data):
    content = arrayfile.pack(HEADER, ARRAYS)
    with pytest.raises(arrayfile.DAMAGE):
        read(path, content[: data.draw(st.integers(0, len(content) - 1))])


def test_a_file_without_a_checksum_is_taken_only_where_older_versions_wrote_some(path):
    content = safetensors.numpy.save({"x": np.zeros(2)}, metadata={"bss2lab": "[1]"})
    assert read(path, content)[0] == [1]
    with pytest.raises(arrayfile.DAMAGE):
        read(path, content, sealed=True)
