"""Arrays and a JSON header in one safetensors file, under a checksum: the form of whatever is kept and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

if TYPE_CHECKING:
    from numpy import ndarray

DAMAGE = (
    safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError,
    RecursionError,
)  # fmt: skip
"""What reading a damaged or hostile file, and making sense of its header, may raise."""

_SUM = "sha256"


def pack(header: Mapping[str, Any], arrays: Mapping[str, ndarray], *, key: str = "bss2lab") -> bytes:
    """Return the content of a file; the same header and arrays give the same bytes.

    Args:
        header: anything that JSON can hold; neither NaN nor infinity.
        arrays: name -> array of any shape and byte order (what is read back is little-endian).
        key: under which the header stands in the file's metadata.

    Raises:
        ValueError, TypeError: if the header is no JSON.
    """
    text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    kept = {name: np.asarray(a, np.asarray(a).dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    return _in_order(safetensors.numpy.save(kept, metadata={key: text, _SUM: _digest(text, kept)}))


def unpack(path: Path, *, key: str = "bss2lab", sealed: bool = False) -> tuple[Any, dict[str, ndarray]]:
    """Read header and arrays back, whole: a single changed bit is noticed.

    Args:
        path: the file.
        key: under which the header stands in the file's metadata.
        sealed: refuse a file without a checksum. (Otherwise it is one of an older version, and taken as it is.)

    Raises:
        *DAMAGE: if the file is missing, of another kind, or not what was written.
    """
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    text = metadata[key]
    unknown = set(metadata) - {key, _SUM}
    if unknown:
        raise ValueError(f"unknown metadata {sorted(unknown)}")
    if (sealed or _SUM in metadata) and metadata[_SUM] != _digest(text, arrays):
        raise ValueError("the checksum does not fit: the file was changed or damaged")
    return json.loads(text), arrays


def header_of(path: Path, *, key: str = "bss2lab") -> Any:
    """Return the header alone, unchecked, without reading the arrays.

    Raises:
        *DAMAGE: if the file is missing or of another kind.
    """
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads((file.metadata() or {})[key])


def _in_order(content: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in an order that differs from process to process."""
    behind = 8 + int.from_bytes(content[:8], "little")
    fields = json.loads(content[8:behind])
    fields["__metadata__"] = dict(sorted(fields["__metadata__"].items()))
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[behind:]


def _digest(text: str, arrays: Mapping[str, ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
