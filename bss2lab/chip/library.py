"""The calibrations that chips come with: shipped with the package, kept in the user's cache, or made once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from importlib import resources
from pathlib import Path

from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Calibration
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.profile import ChipProfile
from bss2lab.errors import CalibrationError
from bss2lab.kernels import analog
from bss2lab.kernels.digest import code_digest, digest_of
from bss2lab.storage import shared_caches, user_cache

SHIPPED = range(10)
"""Numbers of the chips whose calibration comes with the package (``bss2lab chip calibrate --shipped`` remakes them)."""

_known: dict[str, Calibration] = {}


def shipped_path(seed: int) -> Path:
    """Return where the package keeps the calibration of a chip with the default profile."""
    return Path(str(resources.files("bss2lab.chip"))) / "calibrations" / f"chip{seed}.safetensors"


def cache_path(seed: int, profile: ChipProfile, cache: Path | None = None) -> Path:
    """Return where a cache (the user's) keeps the calibration of a chip: per state of the emulator's code."""
    return (cache or user_cache()) / "calibrations" / _code() / f"{_key(seed, profile)}.safetensors"


def calibration_of(seed: int, profile: ChipProfile) -> Calibration:
    """Return the calibration of a chip: the shipped one, else the cached one, else a new one.

    Noise, rounding and the fine step do not belong to the circuits: circuits of the default profile have its
    calibration whatever these are, and nothing is calibrated with an ADC that does not round.

    Args:
        seed: the chip's number.
        profile: its profile.
    """
    profile = _calibrated_as(profile)
    key = _key(seed, profile)
    if key not in _known:
        _known[key] = _shipped(seed, profile) or _cached(seed, profile) or _new(seed, profile)
    return _known[key]


def forget() -> None:
    """Forget the calibrations that this process has loaded (the files stay)."""
    _known.clear()


@functools.cache
def _code() -> str:
    """Return a digest of the code that a calibration follows from."""
    package = Path(__file__).resolve().parents[1]
    files = [*(package / "chip").glob("*.py"), package / "dynamics.py", package / "quantize.py"]
    parts = code_digest(files), digest_of(analog.emulate), digest_of(analog.program_synapses)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:24]


def _calibrated_as(profile: ChipProfile) -> ChipProfile:
    """Return the profile on which the calibration of a chip is made."""
    default = ChipProfile()
    if profile.circuits_digest() == default.circuits_digest():
        return default
    return profile.replace(rounds_weights=True, rounds_cadc=True)


def _key(seed: int, profile: ChipProfile) -> str:
    text = f"{seed} {profile.circuits_digest()} {profile.membrane_noise_mv} {profile.cadc_noise_lsb} {profile.substeps}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _shipped(seed: int, profile: ChipProfile) -> Calibration | None:
    if profile.circuits_digest() != ChipProfile().circuits_digest() or not shipped_path(seed).is_file():
        return None
    calibration = Calibration.load(shipped_path(seed))
    calibration.check_fits(seed, profile)
    return calibration


def _cached(seed: int, profile: ChipProfile) -> Calibration | None:
    for cache in (user_cache(), *shared_caches()):
        with contextlib.suppress(CalibrationError):  # not there, or damaged: it is made again
            calibration = Calibration.load(cache_path(seed, profile, cache))
            calibration.check_fits(seed, profile)
            return calibration
    return None


def _new(seed: int, profile: ChipProfile) -> Calibration:
    bare = Emulator(seed, profile.replace(calibrated=False))
    label = f"calibrating emulated chip {seed} (once; kept in the cache)"
    calibration = calibrate(bare, progress=True, label=label)
    with contextlib.suppress(OSError):  # a cache that cannot be written to: calibrated again next time
        calibration.save(cache_path(seed, profile))
    return calibration
