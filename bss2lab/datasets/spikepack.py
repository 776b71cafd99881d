"""A small file for recordings of spoken words as spikes: 7 bits per spike.

    8 bytes        b"BSS2SPK" and the version of the layout, 1
    4 bytes        length of the header, little endian
    header         JSON: what and whose it is, sizes, SHA-256 of the content
    blocks         the content, 256 recordings each, as raw LZMA2 streams
    32 bytes       SHA-256 of all of the above

The content of a block, one array behind the other: labels, speakers (1 byte per recording), repetitions (2), then
spikes per recording and channel, then the gaps. Spikes are sorted by recording, channel and time; a gap is the time
since the same channel's last spike, or since the start of the recording, in ticks. Numbers of two bytes are stored
as all lower bytes, then all upper ones. A tick is 1/2048 s by default: 0.49 ms, as the float16 times of the
Spiking Heidelberg Digits have between half a second and a second.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.datasets.speechset import SpeechSet, Split
from bss2lab.errors import DataError, InputError, complain
from bss2lab.kernels.jit import kernel
from bss2lab.storage import write_atomically

if TYPE_CHECKING:
    from jaxtyping import Int64
    from numpy import ndarray

TICKS_PER_S = 2048
"""Default resolution: ticks per second."""

SUFFIX = ".spk"
"""How the names of such files end."""

_MAGIC = b"BSS2SPK\x01"
_SUM = 32  # bytes of a SHA-256
_BLOCK = 256  # recordings
_MOST_TICKS = 2**15
_MOST_BYTES = 2**31  # of content: more is no set of spoken words
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]
_FIX = "replace the file"


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """What a file holds.

    Attributes:
        data: the recordings, times rounded to ticks.
        repetitions: how often the speaker had said the word before, shape [n].
        content_sha256: SHA-256 of the content, however it is compressed.
        about: what else the header says: title, origin, configuration.
    """

    data: SpeechSet
    repetitions: Int64[ndarray, "n"]
    content_sha256: str
    about: Mapping[str, Any] = field(default_factory=dict)


def write(
    path: Path | str,
    data: SpeechSet,
    repetitions: Int64[ndarray, "n"],
    *,
    about: Mapping[str, Any] | None = None,
    ticks_per_s: int = TICKS_PER_S,
) -> str:
    """Write recordings; the file is there in full or not at all.

    Args:
        path: the file; one that is there is replaced.
        data: what to write; all speakers known, at most 255 classes and speakers.
        repetitions: of each recording, 0 … 65,535, shape [n].
        about: what else to say in the header, ready for JSON.
        ticks_per_s: times are rounded to 1/``ticks_per_s`` s.

    Returns:
        SHA-256 of the content.

    Raises:
        InputError: if something does not fit into the layout.
        OSError: naming ``path``, if it cannot be written.
    """
    repetitions = np.asarray(repetitions, dtype=np.int64)
    for what, values, most in (("labels", data.labels, 255), ("speakers", data.speakers, 255),
                               ("repetitions", repetitions, 65_535)):  # fmt: skip
        if values.shape != (len(data),) or (len(values) and not 0 <= values.min() <= values.max() <= most):
            want = f"{len(data):,} numbers, 0 … {most:,}"
            got = f"{len(values):,}, {values.min(initial=0)} … {values.max(initial=0)}"
            raise InputError(complain(what, expected=want, got=got, fix="write them as HDF5 (spikefile)"))
    blocks = [_content(data, repetitions, range(first, min(first + _BLOCK, len(data))), ticks_per_s)
              for first in range(0, len(data), _BLOCK)]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        packed = list(pool.map(_compress, blocks))
    header = {
        "about": dict(about or {}),
        "blocks": [[len(p), len(b)] for p, b in zip(packed, blocks, strict=True)],
        "classes": list(data.classes),
        "n": len(data),
        "n_units": data.n_units,
        "speaker_info": {name: np.asarray(values).tolist() for name, values in data.speaker_info.items()},
        "ticks_per_s": ticks_per_s,
    }
    header["content_sha256"] = _sum_of(header, blocks)
    text = json.dumps(header, ensure_ascii=False, sort_keys=True).encode()
    body = b"".join([_MAGIC, len(text).to_bytes(4, "little"), text, *packed])
    write_atomically(Path(path), body + hashlib.sha256(body).digest())
    return header["content_sha256"]


def read(path: Path | str, *, split: Split = "train") -> Pack:
    """Read and check a whole file.

    Args:
        path: the file.
        split: what the recordings are for.

    Returns:
        The recordings, sorted by time, then channel; arrays are read-only.

    Raises:
        DataError: naming the file, if it cannot be read, is another kind of file, or is damaged in any way.
    """
    path = Path(path)
    header, parts = _opened(path)
    try:
        n, n_units, rate = (int(header[name]) for name in ("n", "n_units", "ticks_per_s"))
        sizes = [(int(a), int(b)) for a, b in header["blocks"]]
        classes = tuple(map(str, header["classes"]))
        info = {str(name): np.atleast_1d(np.array(values)) for name, values in header["speaker_info"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad(path, "a header with all its entries", f"{type(error).__name__} ({error})") from error
    if not (0 < n_units <= 2**15 and rate > 0 and len(sizes) == -(-n // _BLOCK) and n >= 0):
        raise _bad(path, "a header that fits together", f"{n} recordings in {len(sizes)} blocks, {n_units} channels")
    if sum(packed for packed, _ in sizes) != len(parts) or not 0 <= sum(raw for _, raw in sizes) < _MOST_BYTES:
        raise _bad(path, f"blocks of {sum(packed for packed, _ in sizes):,} bytes", f"{len(parts):,}")
    ends = np.cumsum([packed for packed, _ in sizes])
    cut = [(parts[end - packed : end], raw) for (packed, raw), end in zip(sizes, ends.tolist(), strict=True)]
    try:
        with ThreadPoolExecutor() as pool:
            blocks = list(pool.map(_decompress, cut))
    except (lzma.LZMAError, ValueError, MemoryError) as error:
        raise _bad(path, "whole LZMA2 streams", str(error)) from error
    content_sha256 = header.pop("content_sha256", "")
    if _sum_of(header, blocks) != content_sha256:
        raise _bad(path, f"content with SHA-256 {content_sha256}", "another one")
    loaded = [_loaded(path, block, min(_BLOCK, n - _BLOCK * i), n_units) for i, block in enumerate(blocks)]
    loaded.append(tuple(np.empty(0, d) for d in (np.uint8, np.uint8, np.uint16, np.int64, np.float32, np.int16)))
    labels, speakers, repetitions, counts, times, units = (np.concatenate(part) for part in zip(*loaded, strict=True))
    times /= np.float32(rate)
    stop = np.cumsum(counts, dtype=np.int64)
    start = stop - counts
    labels, speakers, repetitions = (a.astype(np.int64) for a in (labels, speakers, repetitions))
    index = np.arange(n)
    for array in (times, units, start, stop, labels, speakers, repetitions, index):
        array.flags.writeable = False
    data = SpeechSet(times, units, start, stop, labels, speakers, index, classes, n_units, split, str(path), info)
    return Pack(data, repetitions, content_sha256, header.get("about", {}))


def content_sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's content that its header states, having checked that the file is undamaged.

    Raises:
        DataError: naming the file, if it cannot be read, is another kind of file, or is damaged.
    """
    return str(_opened(Path(path))[0].get("content_sha256", ""))


def _opened(path: Path) -> tuple[dict[str, Any], bytes]:
    """Check a file's outside; return its header and its blocks."""
    try:
        whole = path.read_bytes()
    except OSError as error:
        text = complain(str(path), expected="a readable file", got=error.strerror, fix="check the path")
        raise DataError(text) from error
    if not whole.startswith(_MAGIC):
        got = "an empty file" if not whole else "something else"
        raise _bad(path, f"a file that begins with {_MAGIC!r}", got)
    body, stated = whole[:-_SUM], whole[-_SUM:]
    if len(whole) < len(_MAGIC) + 4 + _SUM or hashlib.sha256(body).digest() != stated:
        raise _bad(path, "content with the SHA-256 at the file's end", f"{len(whole):,} bytes, truncated or changed")
    begin = len(_MAGIC) + 4
    length = int.from_bytes(body[len(_MAGIC) : begin], "little")
    try:
        header = json.loads(body[begin : begin + length])
    except (ValueError, RecursionError) as error:
        raise _bad(path, "a header in JSON", str(error)) from error
    if not isinstance(header, dict):
        raise _bad(path, "a header with names", type(header).__name__)
    return header, body[begin + length :]


def _content(data: SpeechSet, repetitions: ndarray, which: range, ticks_per_s: int) -> bytes:
    """Return the content of one block."""
    counts, gaps = [], []
    for i in which:
        times, units = data.sample(i)
        ticks = np.rint(times.astype(np.float64) * ticks_per_s).astype(np.int64)
        if len(ticks) and not 0 <= ticks.min() <= ticks.max() < _MOST_TICKS:
            want = f"times from 0 to {_MOST_TICKS / ticks_per_s:g} s"
            raise InputError(complain(data.name, expected=want, got=f"{times.max():g} s", fix="use fewer ticks"))
        order = np.lexsort((ticks, units))
        ticks, units = ticks[order], units[order]
        gap = np.diff(ticks, prepend=0)
        first = np.diff(units, prepend=-1) != 0
        gap[first] = ticks[first]
        count = np.bincount(units, minlength=data.n_units)
        if count.max(initial=0) > 65_535:
            got = f"{count.max():,}"
            raise InputError(
                complain("spikes of a channel", expected="at most 65,535", got=got, fix="cut the recording")
            )
        counts.append(count)
        gaps.append(gap)
    chosen = slice(which.start, which.stop)
    arrays = [data.labels[chosen], data.speakers[chosen]]
    pairs = [repetitions[chosen], np.concatenate(counts), np.concatenate(gaps)]
    planes = [plane for values in pairs for plane in (values & 255, values >> 8)]
    return b"".join(values.astype(np.uint8).tobytes() for values in (*arrays, *planes))


def _loaded(path: Path, block: bytes, n: int, n_units: int) -> tuple[ndarray, ...]:
    """Take a block apart: labels, speakers, repetitions, spikes per recording, times in ticks, channels."""
    flat = np.frombuffer(block, dtype=np.uint8)
    n_cells = n * n_units
    spikes, odd = divmod(len(flat) - 4 * n - 2 * n_cells, 2)
    if spikes < 0 or odd:
        raise _bad(path, f"whole arrays for {n} recordings", f"{len(flat):,} bytes")
    ends = np.cumsum([n, n, n, n, n_cells, n_cells, spikes])
    labels, speakers, low, high, count_low, count_high, gap_low, gap_high = np.split(flat, ends)
    counts = _paired(count_low, count_high).reshape(n, n_units)
    per_recording = counts.sum(axis=1, dtype=np.int64)
    if per_recording.sum() != spikes:
        raise _bad(path, f"{per_recording.sum():,} spikes, as counted", f"{spikes:,}")
    times, units = np.empty(spikes, np.float32), np.empty(spikes, np.int16)
    if not _unravel(counts, _paired(gap_low, gap_high), times, units):
        raise _bad(path, f"times below {_MOST_TICKS:,} ticks", "later ones")
    return labels, speakers, _paired(low, high), per_recording, times, units


def _paired(low: ndarray, high: ndarray) -> ndarray:
    return low.astype(np.uint16) | (high.astype(np.uint16) << 8)


@kernel()
def _unravel(counts, gaps, times, units):
    """Sort each recording by time, then channel, by counting; false if a time is out of range."""
    ticks = np.empty(len(gaps), dtype=np.int32)
    first = 0
    for b in range(counts.shape[0]):
        event = first
        behind = np.zeros(_MOST_TICKS + 1, dtype=np.int32)  # events before each tick
        for c in range(counts.shape[1]):
            t = 0
            for _ in range(counts[b, c]):
                t += np.int32(gaps[event])
                if t >= _MOST_TICKS:
                    return False
                ticks[event] = t
                behind[t + 1] += 1
                event += 1
        for t in range(_MOST_TICKS):
            behind[t + 1] += behind[t]
        event = first
        for c in range(counts.shape[1]):
            for _ in range(counts[b, c]):
                t = ticks[event]
                place = first + behind[t]
                behind[t] += 1
                times[place] = np.float32(t)
                units[place] = c
                event += 1
        first = event
    return True


def _sum_of(header: Mapping[str, Any], blocks: list[bytes]) -> str:
    """SHA-256 of the content: of what the header says of it, and of the blocks before compression."""
    names = ("classes", "n", "n_units", "speaker_info", "ticks_per_s")
    what = {name: header[name] for name in names if name in header}
    digest = hashlib.sha256(json.dumps(what, ensure_ascii=False, sort_keys=True).encode())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _compress(block: bytes) -> bytes:
    return lzma.compress(block, lzma.FORMAT_RAW, filters=_FILTERS)


def _decompress(part: tuple[bytes, int]) -> bytes:
    packed, n_bytes = part
    if not 0 <= n_bytes < _MOST_BYTES:
        raise ValueError(f"a block of {n_bytes:,} bytes")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    block = decoder.decompress(packed, n_bytes + 1)
    if len(block) != n_bytes or decoder.unused_data:
        raise ValueError(f"{len(block):,} instead of {n_bytes:,} bytes")
    return block


def _bad(path: Path, expected: object, got: object) -> DataError:
    return DataError(complain(str(path), expected=expected, got=got, fix=_FIX))
