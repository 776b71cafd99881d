"""Reader and writer of the HDF5 layout in which the Spiking Heidelberg Digits are published.

    spikes/times      one row of spike times per recording, seconds (ragged)
    spikes/units      one row of channels 0 … 699 per recording, as long as that of its times (ragged)
    labels            class of each recording
    extra/keys        names of the classes
    extra/speaker     number of each recording's speaker
    extra/meta_info/  gender, age, body_height …: one entry per speaker

Source: Cramer et al. 2020, doi 10.1109/TNNLS.2020.3044364. Files of other origin in the same layout are read
as well, whatever their number of classes and speakers. Only ``spikes`` and ``labels`` must be there: without
``extra/keys`` the classes are called "0", "1", … up to the highest label; without ``extra/speaker`` the
speakers are unknown (−1); without ``extra/meta_info`` nothing is known of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.datasets import packing
from bss2lab.datasets.speechset import UNKNOWN, SpeechSet, Split
from bss2lab.errors import DataError, InputError, complain
from bss2lab.storage import replacing
from bss2lab.types import MAX_UNITS

if TYPE_CHECKING:
    from numpy import ndarray

N_UNITS = 700
"""Channels of the cochlea model (Cramer et al. 2020)."""

_CHUNK = 256  # recordings that are read at once
_FIX = "replace the file"


def read(path: Path | str, *, split: Split = "train", n_units: int = N_UNITS) -> SpeechSet:
    """Read a whole file into memory: 6 bytes per spike, times as float32 (the published float16 are exact in it).

    Recordings whose times do not rise are sorted, spikes of equal time in the order of the file.

    Args:
        path: the file.
        split: what the recordings are for.
        n_units: number of channels of the cochlea model.

    Returns:
        All recordings, read-only.

    Raises:
        InputError: if ``n_units`` is not in 1 … 32,768.
        DataError: naming the file, if it cannot be read, is no HDF5, lacks a data set, or holds anything that
            is no recording: rows of unequal length, times that are negative or not finite, channels, labels or
            speakers out of range.
    """
    import h5py  # slow to import, and images do without it

    if not 0 < n_units <= MAX_UNITS:
        raise InputError(complain("n_units", expected=f"1 … {MAX_UNITS}", got=n_units, fix="the digits have 700"))
    path = Path(path)
    try:
        wrong = packing.not_hdf5(path)
        if wrong:
            raise _bad(path, "an HDF5 file", wrong)
        with h5py.File(path, "r") as file:
            return _read(path, file, split, n_units)
    except DataError:
        raise
    except OSError as error:
        if "lock file" in str(error) or "already open for write" in str(error):
            want, got = "a file that no program has open for writing", f"a locked one ({_first_line(error)})"
            fix = "close it there; if nobody writes to it, set HDF5_USE_FILE_LOCKING=FALSE before Python starts"
            raise DataError(complain(str(path), expected=want, got=got, fix=fix)) from error
        if error.errno:  # of the file system
            text = complain(str(path), expected="a readable file", got=error.strerror, fix="check the path")
            raise DataError(text) from error
        raise _bad(path, "a whole HDF5 file", f"a truncated or damaged one ({_first_line(error)})") from error
    except (KeyError, ValueError, TypeError, RuntimeError, MemoryError, AttributeError, SystemError) as error:
        raise _bad(path, "a whole HDF5 file", f"a damaged one ({_first_line(error)})") from error


def write(path: Path | str, data: SpeechSet) -> None:
    """Write recordings in the published layout; the file is there in full or not at all.

    Times are written as float32, channels, labels and speakers as the smallest customary integers; unknown
    speakers are left out. Read back, it gives the same recordings, numbered from 0.

    Args:
        path: the file; one that is there is replaced.
        data: what to write.

    Raises:
        InputError: if some speakers are known and others are not.
        OSError: naming ``path``, if it cannot be written.
    """
    import h5py

    unknown = data.speakers == UNKNOWN
    if unknown.any() and not unknown.all():
        fix = "write them to two files"
        raise InputError(complain(data.name, expected="all speakers known, or none", got="some unknown", fix=fix))
    with replacing(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        spikes = file.create_group("spikes")
        for name, events, dtype in (("times", data.times_s, np.float32), ("units", data.units, np.uint16)):
            rows = spikes.create_dataset(name, (len(data),), h5py.vlen_dtype(dtype))
            for row, (first, behind) in enumerate(zip(data.start, data.stop, strict=True)):
                rows[row] = events[first:behind].astype(dtype)
        file.create_dataset("labels", data=data.labels.astype(np.uint16))
        extra = file.create_group("extra")
        extra.create_dataset("keys", data=_encoded(data.classes))
        if not unknown.all() or not len(data):
            extra.create_dataset("speaker", data=data.speakers.astype(np.uint16))
        info = extra.create_group("meta_info")
        for name, values in data.speaker_info.items():
            info.create_dataset(name, data=_encoded(tuple(values)) if values.dtype.kind in "OU" else values)


def _read(path: Path, file: Any, split: Split, n_units: int) -> SpeechSet:
    import h5py

    times, units, labels = (_dataset(path, file, name) for name in ("spikes/times", "spikes/units", "labels"))
    n = len(labels)
    for name, rows in (("spikes/times", times), ("spikes/units", units)):
        if h5py.check_vlen_dtype(rows.dtype) is None:
            raise _bad(path, f"{name} with one row of any length per recording", f"{rows.dtype}")
        if len(rows) != n:
            raise _bad(path, f"{n:,} rows in {name}, one per label", f"{len(rows):,}")
    if n * 16 > path.stat().st_size:  # of every row, the file holds at least length and address
        raise _bad(path, f"rows of {n:,} recordings", f"a file of {path.stat().st_size:,} bytes")
    # Rows are stored as they are, so the file's size bounds their number; pages that stay empty take no memory.
    most = path.stat().st_size // sum(h5py.check_vlen_dtype(rows.dtype).itemsize for rows in (times, units))
    flat_t, flat_u = np.empty(most, np.float32), np.empty(most, np.int16)
    counts = np.zeros(n, np.int64)
    filled = 0
    for first in range(0, n, _CHUNK):
        t, u, count = _chunk(path, times[first : first + _CHUNK], units[first : first + _CHUNK], first, n_units)
        if filled + len(t) > most:
            raise _bad(path, f"at most {most:,} spikes, for its size", "rows that share their memory")
        flat_t[filled : filled + len(t)], flat_u[filled : filled + len(t)] = t, u
        counts[first : first + _CHUNK] = count
        filled += len(t)
    flat_t, flat_u = flat_t[:filled], flat_u[:filled]
    stop = np.cumsum(counts)
    start = stop - counts
    label_of = _integers(path, labels, "labels")
    extra = file.get("extra", {})
    if "keys" in extra:
        classes = tuple(map(_text, _dataset(path, file, "extra/keys")[:]))
    else:
        classes = tuple(map(str, range(int(label_of.max(initial=-1)) + 1)))
    speakers = np.full(n, UNKNOWN, dtype=np.int64)
    if "speaker" in extra:
        speakers = _integers(path, _dataset(path, file, "extra/speaker"), "extra/speaker")
        if speakers.min(initial=0) < 0:
            raise _bad(path, "speakers numbered from 0", int(speakers.min()))
    info = {}
    for name in extra.get("meta_info", {}):
        values = _dataset(path, file, f"extra/meta_info/{name}")[:]
        info[name] = np.array(list(map(_text, values))) if values.dtype.kind in "OSU" else values
    index = np.arange(n, dtype=np.int64)
    for array in (flat_t, flat_u, start, stop, label_of, speakers, index):
        array.flags.writeable = False
    return SpeechSet(flat_t, flat_u, start, stop, label_of, speakers, index, classes, n_units, split, str(path), info)


def _chunk(path: Path, times: ndarray, units: ndarray, first: int, n_units: int) -> tuple[ndarray, ndarray, ndarray]:
    """Check some recordings' rows; return times, units and number of spikes per recording."""
    count = np.array([len(row) for row in times], dtype=np.int64)
    other = np.array([len(row) for row in units], dtype=np.int64)
    if (count != other).any():
        b = int(np.argmax(count != other))
        want = f"as many units as times in recording {first + b}"
        raise _bad(path, want, f"{other[b]:,} units and {count[b]:,} times")
    t = np.concatenate([*times, np.empty(0, np.float32)])
    u = np.concatenate([*units, np.empty(0, np.int16)])
    owner = np.repeat(np.arange(len(count)), count)
    if t.dtype.kind != "f" or (len(u) and any(row.dtype.kind not in "iu" for row in units)):
        raise _bad(path, "times as real numbers and units as integers", f"{times[0].dtype} and {units[0].dtype}")
    with np.errstate(over="ignore"):
        t = t.astype(np.float32)
    wrong = ~(np.isfinite(t) & (t >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise _bad(path, "times ≥ 0 s and finite", f"{t[at]:g} in recording {first + owner[at]}")
    wrong = (u < 0) | (u >= n_units)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise _bad(path, f"units 0 … {n_units - 1}", f"{u[at]:g} in recording {first + owner[at]}")
    if ((np.diff(t) < 0) & (np.diff(owner) == 0)).any():
        order = np.lexsort((t, owner))
        t, u = t[order], u[order]
    return t, u.astype(np.int16), count


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return one of the file's data sets, which must have one axis."""
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        here = ", ".join(map(str, file)) or "nothing"
        raise _bad(path, f"a data set {name}", f"a file with {here}" if found is None else f"{name} of another kind")
    if found.ndim != 1:
        raise _bad(path, f"{name} with one axis", f"shape {found.shape}")
    return found


def _integers(path: Path, dataset: Any, name: str) -> ndarray:
    values = dataset[:]
    if values.dtype.kind not in "iu":
        raise _bad(path, f"integers in {name}", values.dtype)
    return values.astype(np.int64)


def _encoded(names: tuple[Any, ...]) -> ndarray:
    """Return texts as the fixed-length bytes of the published files, UTF-8."""
    return np.array([str(name).encode() for name in names], dtype="S")


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _bad(path: Path, expected: object, got: object) -> DataError:
    return DataError(complain(str(path), expected=expected, got=got, fix=_FIX))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
