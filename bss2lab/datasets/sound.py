"""Recorded sound: read a file, bring it to one sampling rate, give it the loudness and the ramps of SHD.

The steps before the cochlea, as in the published chain (Cramer et al. 2020, doi 10.1109/TNNLS.2020.3044364, and
its authors' code): one channel; a common root-mean-square amplitude; then a Hann ramp up at the start and down at
the end. Resampling is ours: the published recordings are at 48 kHz as they stand.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.errors import DataError, InputError, SoundWarning, complain

if TYPE_CHECKING:
    from jaxtyping import Float, Float64
    from numpy import ndarray

LONGEST_S = 5.0
"""Longest sound in seconds: a word or a short sentence. The cochlea's memory grows with it (100 MB per second)."""

SHORTEST_S = 1e-3
"""Shortest sound in seconds."""

SLOWEST_HZ, FASTEST_HZ = 4_000, 768_000
"""Sampling rates that are taken for rates of sound. Slower ones hold nothing above 2 kHz: too little of a word."""

_CANCELLED = 0.1
"""Mean of the channels over what the loudest one alone would give: below this, they cancel each other."""

SILENCE_RMS = 1e-9
"""Below this root-mean-square amplitude (full scale is 1; 24 bits end at 10⁻⁷) a sound counts as silent."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One channel of sampled sound.

    Attributes:
        samples: amplitudes, full scale is ±1, shape [samples].
        sample_rate_hz: sampling rate in Hz.
        name: what the sound is called in messages.

    Raises:
        InputError: if the samples are not one finite, real channel of 1 ms to 5 s, or the rate is no rate of sound.
    """

    samples: Float[ndarray, "samples"]
    sample_rate_hz: int
    name: str = "sound"

    def __post_init__(self) -> None:
        samples, rate = np.asarray(self.samples), self.sample_rate_hz
        if samples.dtype.kind != "f":
            fix = "divide integer samples by their full scale, 32768 for 16 bits"
            raise InputError(complain(self.name, expected="samples of type float", got=samples.dtype, fix=fix))
        if samples.ndim != 1:
            fix = "take the mean of its channels"
            raise InputError(complain(self.name, expected="one channel, [samples]", got=samples.shape, fix=fix))
        if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not SLOWEST_HZ <= rate <= FASTEST_HZ:
            what = f"sampling rate of {self.name}"
            want = f"a whole number of Hz, {SLOWEST_HZ:,} … {FASTEST_HZ:,}"
            fix = "48,000 is the rate of SHD"
            if isinstance(rate, int | np.integer) and 0 < rate < SLOWEST_HZ:
                fix = f"record anew: at {rate:,} Hz nothing above {rate // 2:,} Hz is left, too little of a word"
            raise InputError(complain(what, expected=want, got=rate, fix=fix))
        check_duration(self.name, len(samples), int(rate))
        bad = len(samples) - np.count_nonzero(np.isfinite(samples))
        if bad:
            got = f"{bad} of {len(samples)} NaN or infinite"
            raise InputError(complain(self.name, expected="finite samples", got=got, fix="record or export it anew"))
        loudest = float(np.abs(samples).max())
        if loudest > 1e6:
            want = "amplitudes with full scale 1"
            raise InputError(complain(self.name, expected=want, got=f"{loudest:g}", fix="divide by full scale"))

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate_hz

    def at(self, sample_rate_hz: int) -> Sound:
        """Return the sound at another sampling rate.

        Polyphase resampling with SciPy's default anti-aliasing filter (Kaiser window, β = 5); the same rate
        returns the samples as they are.
        """
        if sample_rate_hz == self.sample_rate_hz:
            return self
        from scipy.signal import resample_poly

        common = math.gcd(sample_rate_hz, int(self.sample_rate_hz))
        up, down = sample_rate_hz // common, int(self.sample_rate_hz) // common
        resampled = np.asarray(resample_poly(np.asarray(self.samples, dtype=np.float64), up, down))
        most = int(LONGEST_S * sample_rate_hz)
        return Sound(resampled[:most], sample_rate_hz, self.name)


def check_duration(name: str, n_samples: int, sample_rate_hz: int) -> None:
    """Refuse sounds that are empty, or too short or too long for the cochlea.

    Raises:
        InputError: if the duration is outside 1 ms … 5 s.
    """
    seconds = n_samples / sample_rate_hz
    if not SHORTEST_S <= seconds <= LONGEST_S:
        got = f"{seconds:.4g} s" if n_samples else "no sample at all"
        fix = "cut the recording into words" if seconds > LONGEST_S else "record it anew"
        want = f"{1e3 * SHORTEST_S:g} ms to {LONGEST_S:g} s of sound"
        raise InputError(complain(name, expected=want, got=got, fix=fix))


def loud_ends(samples: Float64[ndarray, "n"], sample_rate_hz: int, below_db: float) -> tuple[int, int] | None:
    """Return the first and the last sample of what is not silent; None if there is nothing but silence.

    Args:
        samples: the sound.
        sample_rate_hz: its sampling rate.
        below_db: 10 ms whose power is so far below that of the loudest are silent (negative).
    """
    window = max(1, sample_rate_hz // 100)
    power = np.convolve(samples**2, np.ones(window) / window, mode="same")
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (below_db / 10))
    return (int(loud[0]), int(loud[-1])) if len(loud) else None


def read_sound(path: str | Path) -> Sound:
    """Read a sound file: WAV, FLAC, OGG and whatever else libsndfile knows, at any bit depth.

    Integers are scaled to full scale ±1; several channels are replaced by their mean, or by the loudest one where they
    cancel each other (one of them is wired the wrong way round). The sampling rate stays.

    Args:
        path: the file.

    Raises:
        DataError: if there is no such file, or it holds no sound.
        InputError: if what it holds is no usable sound: empty, longer than 5 s, with NaN samples.

    Warns:
        SoundWarning: if its channels cancel each other.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise DataError(complain(str(path), expected="a sound file", got=got, fix="check the path"))
    soundfile = soundfile_package()
    try:
        with soundfile.SoundFile(path) as file:
            check_duration(str(path), file.frames, file.samplerate)
            channels = file.read(dtype="float64", always_2d=True)
            rate = int(file.samplerate)
    except (RuntimeError, TypeError) as error:  # libsndfile's own; a raw format that says nothing about itself
        raise DataError(_no_sound(path, error)) from error
    return Sound(_one_channel(channels, str(path)), rate, str(path))


def _one_channel(channels: Float64[ndarray, "samples channels"], name: str) -> Float64[ndarray, "samples"]:
    """Return the mean of the channels; the loudest alone where little is left of it in the mean."""
    mean = channels.mean(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number is refused later
        left, loudness = float(mean.std()), channels.std(axis=0)
    loudest = int(loudness.argmax())
    if not left < _CANCELLED * loudness[loudest] / channels.shape[1]:
        return mean
    got = f"opposite ones, whose mean is {100 * left / loudness[loudest]:.0f} % as loud"
    fix = f"channel {loudest + 1} is taken alone: swap the poles of the other microphone"
    warnings.warn(complain(name, expected="channels that add up", got=got, fix=fix), SoundWarning, stacklevel=3)
    return channels[:, loudest]


def prepare(sound: Sound, *, sample_rate_hz: int, level_rms: float, ramp_ms: float | None) -> Float64[ndarray, "n"]:
    """Return the samples that the cochlea hears.

    Resampled, scaled to a common root-mean-square amplitude, then multiplied with the rising half of a Hann
    window at the start and the falling half at the end. Silence stays silence.

    Args:
        sound: the recording.
        sample_rate_hz: sampling rate of the cochlea in Hz.
        level_rms: root-mean-square amplitude before the ramps.
        ramp_ms: length of each ramp in ms, at most half of the sound; None: half of the sound.
    """
    samples = np.array(sound.at(sample_rate_hz).samples, dtype=np.float64)
    rms = math.sqrt(float(np.mean(samples**2)))
    if rms < SILENCE_RMS:
        return np.zeros_like(samples)
    samples *= level_rms / rms
    half = len(samples) // 2
    n = half if ramp_ms is None else min(half, round(1e-3 * ramp_ms * sample_rate_hz))
    if n:
        ramp = np.hanning(2 * n)[:n]
        samples[:n] *= ramp
        samples[-n:] *= ramp[::-1]
    return samples


def _no_sound(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        begin = file.read(512).lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<?xml")):
        got, fix = "a web page", "download the file itself, not the page about it"
    elif not begin:
        got, fix = "an empty file", "record or download it anew"
    else:
        got, fix = str(error).strip().splitlines()[-1], "convert it to WAV or FLAC"
    return complain(str(path), expected="a sound file (WAV, FLAC, OGG)", got=got, fix=fix)


def soundfile_package() -> Any:
    """Return the package soundfile, which reads and writes sound files.

    Raises:
        DataError: if it, or its library libsndfile, is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, its library libsndfile is not
        fix = "pip install soundfile (or conda install pysoundfile)"
        raise DataError(complain("soundfile", expected="it installed", got=str(error), fix=fix)) from error
    return soundfile
