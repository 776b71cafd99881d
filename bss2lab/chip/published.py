"""A real BrainScaleS-2 chip to hold the emulated one against: published numbers, and a reader for its files.

Cramer et al. measured the 512 neurons of one chip before and after their calibration and published the arrays. Not
the arrays but numbers that summarise them stand here [measured elsewhere]; whoever downloads the files gets a chip
profile from them (:func:`published_profile`).

    paper   Cramer, Kreft, Billaudelle et al., Phys. Rev. Research (2023), arXiv 2208.08329
    files   github.com/Priesemann-Group/neuromorphic-bistability, folder manuscript/data (MIT licence)

Their chip was run at an operating point of its own: τ_m 16 … 22 µs, τ_s 5 µs, and potentials (as volts at the
membrane) of about 0.46 V leak, 0.33 V reset and 0.74 V threshold; ours is at 6 µs and 375/375/703 mV. Nothing is
moved or scaled when the files are read: seconds become µs and volts become mV, which fit the 0 … 1200 mV of our ADCs
as they are. To compare shapes, divide by the median, or take the difference to it.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip.profile import ChipProfile
from bss2lab.config import Source
from bss2lab.errors import DataError, InputError, complain
from bss2lab.storage import write_atomically

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

CITATION = "Cramer et al. 2023, arXiv 2208.08329"
WHERE = "https://github.com/Priesemann-Group/neuromorphic-bistability (folder manuscript/data, MIT licence)"

FILES = {
    "tau_mem_us": ("tau_m", 1e6),
    "tau_syn_exc_us": ("tau_syn_exc", 1e6),
    "tau_syn_inh_us": ("tau_syn_inh", 1e6),
    "leak_mv": ("v_leak", 1e3),
    "reset_mv": ("v_reset", 1e3),
    "threshold_mv": ("v_thres", 1e3),
}
"""Our name -> name of the published file (and of the array in it), and factor from its unit to ours."""

_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
    AttributeError, TypeError,  # an .npy under this name has no names
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spread:
    """How one parameter is spread over the neurons of a chip.

    Attributes:
        unit: unit of all but the skewness.
        n: number of neurons.
        mean, sd: mean and standard deviation.
        median, robust_sd: median, and 1.4826 times the median absolute deviation from it.
        low, high: 5th and 95th percentile.
        skewness: third standardised moment.
        source: provenance mark, of published numbers.
    """

    unit: str
    n: int
    mean: float
    sd: float
    median: float
    robust_sd: float
    low: float
    high: float
    skewness: float
    source: Source | None = None

    @property
    def relative(self) -> float:
        """Standard deviation over mean."""
        return self.sd / self.mean

    @property
    def robust_relative(self) -> float:
        """Robust standard deviation over median."""
        return self.robust_sd / self.median

    @classmethod
    def of(cls, values: Any, unit: str) -> Spread:
        """Summarise values; NaN are left out.

        Args:
            values: one per neuron, at least one of them finite.
            unit: their unit.
        """
        x = np.asarray(values, np.float64)
        x = x[np.isfinite(x)]
        middle, sd = float(np.median(x)), float(x.std())
        low, high = np.percentile(x, (5, 95))
        skewness = float(np.mean((x - x.mean()) ** 3)) / sd**3 if sd > 0 else 0.0
        robust = 1.4826 * float(np.median(np.abs(x - middle)))
        return cls(unit, len(x), float(x.mean()), sd, middle, robust, float(low), float(high), skewness)


def _real(unit: str, *numbers: float) -> Spread:
    """Return numbers of the real chip's 512 neurons."""
    mean, sd, median, robust_sd, low, high, skewness = numbers
    return Spread(unit, 512, mean, sd, median, robust_sd, low, high, skewness, Source.MEASURED)


UNCALIBRATED = {
    "tau_mem_us": _real("µs", 16.145, 1.658, 16.154, 1.449, 13.68, 18.66, -0.98),
    "tau_syn_exc_us": _real("µs", 5.116, 1.786, 4.904, 1.739, 2.70, 8.52, 0.86),
    "tau_syn_inh_us": _real("µs", 5.302, 1.931, 5.072, 2.025, 2.76, 8.65, 0.87),
    "leak_mv": _real("mV", 455.76, 73.29, 443.46, 61.31, 360.08, 604.14, 0.97),
    "reset_mv": _real("mV", 330.04, 50.09, 329.78, 56.15, 254.04, 415.00, 0.19),
    "threshold_mv": _real("mV", 742.10, 48.78, 730.60, 42.11, 676.24, 834.75, 0.44),
    "distance_mv": _real("mV", 286.34, 71.73, 284.83, 65.27, 168.10, 419.39, 0.11),
}
"""The real chip at equal codes. ``distance_mv``: threshold − leak of each neuron."""

CALIBRATED = {
    "tau_mem_us": _real("µs", 21.619, 1.522, 21.477, 1.244, 19.52, 23.95, 1.40),
    "tau_syn_exc_us": _real("µs", 5.117, 0.251, 5.113, 0.191, 4.81, 5.45, -5.31),
    "tau_syn_inh_us": _real("µs", 5.254, 0.199, 5.254, 0.185, 4.92, 5.59, 0.00),
    "leak_mv": _real("mV", 459.54, 40.98, 458.78, 37.49, 398.19, 529.67, 0.43),
    "reset_mv": _real("mV", 323.54, 5.88, 323.47, 4.68, 312.43, 332.94, -0.03),
    "threshold_mv": _real("mV", 740.58, 6.13, 740.07, 7.02, 730.60, 751.12, 0.11),
    "distance_mv": _real("mV", 281.04, 40.21, 282.56, 37.52, 212.84, 338.34, -0.46),
}
"""The real chip after its calibration. Its leak is far worse than the other potentials (41 against 6 mV)."""


def published_spread(*, calibrated: bool) -> dict[str, Spread]:
    """Return the published numbers, by parameter."""
    return CALIBRATED if calibrated else UNCALIBRATED


CORRELATED = tuple(FILES)
"""Parameters of the correlation matrices, in their order."""


def _matrix(*rows: tuple[float, ...]) -> Float64[ndarray, "p p"]:
    """Fill a symmetric matrix with unit diagonal from the rows below it."""
    full = np.eye(len(rows) + 1)
    for k, row in enumerate(rows, start=1):
        full[k, :k] = full[:k, k] = row
    full.flags.writeable = False
    return full


CORRELATION_UNCALIBRATED = _matrix(
    (0.29,),
    (0.22, 0.46),
    (0.26, -0.22, -0.19),
    (-0.08, -0.38, -0.39, 0.44),
    (-0.26, -0.51, -0.47, 0.27, 0.44),
)
"""Rank correlations over the 512 neurons of the uncalibrated real chip, in the order of ``CORRELATED``."""

CORRELATION_WITHIN_BLOCKS = _matrix(
    (0.04,),
    (-0.10, 0.00),
    (0.43, -0.10, -0.03),
    (0.12, 0.01, 0.00, 0.35),
    (0.05, -0.04, -0.01, 0.28, 0.22),
)
"""The same within blocks of 128 neurons of the published order, mean over the four blocks (see :func:`within_blocks`).

Most of the correlations are gone: the blocks differ as a whole. (A BrainScaleS-2 chip has four quadrants of 128
neurons, each with a parameter storage of its own; that the blocks are these quadrants is our reading.)
"""

BLOCKS = 4
"""Blocks of the real chip's neurons that differ from one another as a whole."""

BETWEEN_BLOCKS = {
    "tau_mem_us": 0.29,
    "tau_syn_exc_us": 0.40,
    "tau_syn_inh_us": 0.41,
    "leak_mv": 0.12,
    "reset_mv": 0.38,
    "threshold_mv": 0.68,
}
"""Share of the uncalibrated variance that lies between the blocks' means."""


def rank_correlation(columns: Mapping[str, Any]) -> Float64[ndarray, "p p"]:
    """Return Spearman's rank correlations between the parameters ``CORRELATED``.

    Args:
        columns: one array per parameter, [neuron]; neurons with a NaN anywhere are left out.
    """
    from scipy.stats import rankdata  # a second that importing the package need not pay

    x = np.array([columns[name] for name in CORRELATED], np.float64)
    return np.corrcoef(rankdata(x[:, np.isfinite(x).all(axis=0)], axis=1))


def within_blocks(columns: Mapping[str, Any], blocks: int = BLOCKS) -> Float64[ndarray, "p p"]:
    """Return rank correlations within blocks of consecutive neurons, mean over the blocks.

    Args:
        columns: as for :func:`rank_correlation`.
        blocks: number of equal blocks.
    """
    parts = [np.array_split(np.asarray(columns[name]), blocks) for name in CORRELATED]
    each = [rank_correlation(dict(zip(CORRELATED, block, strict=True))) for block in zip(*parts, strict=True)]
    return np.mean(each, axis=0)


def between_blocks(values: Any, blocks: int = BLOCKS) -> float:
    """Return the share of a parameter's variance that lies between the means of blocks of consecutive neurons."""
    x = np.asarray(values, np.float64)
    rest = np.concatenate([part - part.mean() for part in np.array_split(x, blocks)])
    return float(1 - rest.var() / x.var())


def read_published_spread(folder: Path | str, calibrated: bool) -> dict[str, Float64[ndarray, "n"]]:
    """Read the published arrays that a user has downloaded.

    Seconds become µs, volts become mV; nothing else is changed (see the head of this module). PSP heights are not
    read: they were published per weight, not per neuron.

    Args:
        folder: holds ``tau_m.npz``, ``tau_syn_exc.npz``, ``tau_syn_inh.npz``, ``v_leak.npz``, ``v_reset.npz``
            and ``v_thres.npz``, each with an array of its own name and one with ``_uncal`` behind it.
        calibrated: after the calibration (else: at equal codes).

    Returns:
        Arrays under the names that ``ChipProfile.from_measurements`` takes, [neuron].

    Raises:
        DataError: a missing folder, file or array; a damaged file; NaN; different numbers of neurons.
    """
    folder = Path(folder)
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        fix = f"download {', '.join(f'{file}.npz' for file, _ in FILES.values())} from {WHERE}"
        raise DataError(complain(str(folder), expected="a folder with the published arrays", got=got, fix=fix))
    columns = {}
    for name, (file, factor) in FILES.items():
        columns[name] = factor * _read(folder / f"{file}.npz", file if calibrated else f"{file}_uncal")
    lengths = {FILES[name][0]: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{n} in {file}.npz" for file, n in lengths.items())
        fix = "take all files from one measurement"
        raise DataError(complain(str(folder), expected="as many neurons in every file", got=got, fix=fix))
    return columns


def _read(path: Path, key: str) -> Float64[ndarray, "n"]:
    fix = f"download it anew from {WHERE}"
    if not path.is_file():
        raise DataError(complain(str(path), expected="a file of the published arrays", got="nothing there", fix=fix))
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            names = list(file.files)
            values = np.asarray(file[key]) if key in names else None
    except _DAMAGE as error:
        got = str(error) or type(error).__name__
        raise DataError(complain(str(path), expected="a whole .npz file of numbers", got=got, fix=fix)) from None
    if values is None:
        got = ", ".join(names) or "none"
        raise DataError(complain(str(path), expected=f"an array {key!r}", got=got, fix=fix))
    if values.ndim != 1 or values.dtype.kind not in "iuf" or len(values) < 2:
        got = f"{values.dtype} of shape {list(values.shape)}"
        want = "one number per neuron, two or more"
        raise DataError(complain(f"{path}, {key}", expected=want, got=got, fix=fix))
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        got = f"{values[bad[0]]} for neuron {bad[0]} (of {len(bad)} such)"
        fix = "leave these neurons out of every file"
        raise DataError(complain(f"{path}, {key}", expected="finite numbers", got=got, fix=fix))
    return values.astype(np.float64)


def published_profile(
    folder: Path | str, *, calibrated: bool = False, recalibrate: bool = False, name: str | None = None
) -> ChipProfile:
    """Make a chip profile from the published arrays: chips of it are resampled from the real chip's neurons.

    Args:
        folder: see :func:`read_published_spread`.
        calibrated: take the neurons as they were after the real calibration (else: at equal codes).
        recalibrate: let our calibration routine loose on new chips; for neurons at equal codes alone.
        name: name of the profile.

    Raises:
        DataError: the files cannot be used.
        InputError: values that no circuit can have (files in other units?), or both kinds of calibration at once.
    """
    if calibrated and recalibrate:
        text = complain("recalibrate", expected="neurons at equal codes", got="calibrated ones", fix="choose one")
        raise InputError(text)
    columns = read_published_spread(folder, calibrated)
    name = name or f"real-{'calibrated' if calibrated else 'uncalibrated'}"
    return ChipProfile.from_measurements(columns, name=name, calibrated=recalibrate)


def write_published_profile(folder: Path | str, out: Path, *, calibrated: bool = False) -> ChipProfile:
    """Write the profile of the published arrays as JSON (what ``bss2lab chip profile`` does).

    The file is written whole or not at all; pass its path as a profile: ``Chip(7, "my_chip.json")``.

    Args:
        folder: see :func:`read_published_spread`.
        out: the file to write; its name, without ``.json``, becomes the profile's.
        calibrated: take the neurons as they were after the real calibration.

    Returns:
        The profile.

    Raises:
        DataError: the files cannot be used.
        InputError: values that no circuit can have, or a name that does not end in ``.json``.
        OSError: if ``out`` cannot be written.
    """
    out = Path(out)
    if out.suffix != ".json":
        fix = f"write to {out.stem or 'my_chip'}.json"
        raise InputError(complain("--out", expected="a file name that ends in .json", got=repr(out.name), fix=fix))
    profile = published_profile(folder, calibrated=calibrated, name=out.stem)
    write_atomically(out, profile.to_json().encode())
    return profile
