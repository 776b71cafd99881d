"""Twelve emulated speakers, and what makes two recordings of one word by one speaker differ.

A speaker is a voice of ``espeak-ng`` with a pitch, a rate and a vocal tract of its own, in a room of its own. An
utterance is spoken anew with a slightly other pitch, rate and vocal tract; its parts are stretched unevenly; it comes
through a slightly other microphone, with reverberation and noise, and with some silence around it. None of it is
measured on people: it is *synthetic speech*, made to be about as variable as the Heidelberg Digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss2lab.datasets import espeak
from bss2lab.datasets.sound import Sound, loud_ends
from bss2lab.errors import DataError, complain

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray
    from numpy.random import Generator

RATE_HZ = 22_050
"""Sampling rate of espeak-ng and of every sound here."""

_FRAME_MS, _SEARCH_MS = 24.0, 6.0  # of the time stretching: two periods of a low voice; half a period each way
_KNOT_MS = 120.0  # about one sound of speech: as long as a stretch lasts
_SILENT_DB = -38.0  # below the loudest 10 ms: cut at both ends
_MICROPHONE_DB = (0.0, 0.0, 0.0, -1.0, -2.0, -5.0, -7.0, 7.0, 12.0)  # at 62.5 Hz, 125 Hz … 16 kHz, see _coloured


@dataclass(frozen=True, slots=True)
class Speaker:
    """One emulated speaker.

    Attributes:
        voice: ``"m"`` for a low voice, ``"f"`` for a high one, as espeak-ng declares the variant.
        variant: variant of espeak-ng: formants, breath, roughness and range of pitch.
        english: espeak-ng's voice for English words; ``"de"``: with a German accent.
        german: espeak-ng's voice for German words; ``"en"``: with an English accent.
        pitch: espeak-ng's pitch, 0 … 99.
        rate_wpm: speaking rate in words per minute.
        tract: factor on all formants (a longer vocal tract has a smaller one).
        tilt_db: slope of the spectrum, dB per octave.
    """

    voice: Literal["m", "f"]
    variant: str
    english: str
    german: str
    pitch: int
    rate_wpm: int
    tract: float
    tilt_db: float


SPEAKERS = (
    Speaker("m", "m3", "en", "de", pitch=46, rate_wpm=190, tract=0.93, tilt_db=-0.5),
    Speaker("f", "f2", "de", "de", pitch=42, rate_wpm=150, tract=0.95, tilt_db=0.5),
    Speaker("m", "m1", "en-gb-scotland", "en", pitch=52, rate_wpm=140, tract=1.06, tilt_db=1.0),
    Speaker("f", "f4", "en", "de", pitch=48, rate_wpm=195, tract=0.90, tilt_db=-0.5),
    Speaker("m", "m7", "de", "de", pitch=50, rate_wpm=165, tract=1.03, tilt_db=0.0),
    Speaker("f", "f5", "en", "en", pitch=46, rate_wpm=170, tract=1.02, tilt_db=0.0),
    Speaker("m", "m2", "de", "de", pitch=62, rate_wpm=185, tract=1.01, tilt_db=0.5),
    Speaker("f", "f1", "en-gb-x-rp", "en", pitch=54, rate_wpm=140, tract=1.00, tilt_db=0.0),
    Speaker("m", "m4", "en-us", "de", pitch=38, rate_wpm=160, tract=0.90, tilt_db=-1.5),
    Speaker("f", "f3", "de", "de", pitch=38, rate_wpm=175, tract=0.94, tilt_db=-1.0),
    Speaker("m", "m6", "en-us", "en", pitch=44, rate_wpm=135, tract=1.10, tilt_db=1.5),
    Speaker("f", "f2", "en-us", "de", pitch=60, rate_wpm=180, tract=1.09, tilt_db=-1.5),
)
"""The speakers; numbers 4 and 5 occur in the test set alone, as in the Heidelberg Digits."""

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
)
"""What is said, by label: English digits, then German ones."""

_ACCENTED = (
    *("siero", "wann", "tu", "sri", "foor", "faif", "six", "sewwen", "eet", "nain"),
    *("nool", "[[aIns]]", "[[tsv'aI]]", "dry", "feer", "foonf", "zex", "zeebun", "ahkt", "noyn"),
)  # the same words, spelled for the other language's voice

UNSEEN = (4, 5)
"""Speakers that occur in the test set alone: a low and a high voice."""


@dataclass(frozen=True, slots=True)
class Variation:
    """How much utterances of one word by one speaker differ; ``synthetic.SyntheticSpeechConfig`` says why.

    Attributes:
        pitch: standard deviation of espeak-ng's pitch.
        rate: standard deviation of the logarithm of the speaking rate.
        tract: standard deviation of the logarithm of the factor on all formants.
        stretch: standard deviation of the logarithm of the duration of a word's parts.
        colour_db: standard deviation of the gain of the microphone, octave by octave.
        room_db: level of the reverberation below the direct sound.
        noise_db: level of the noise below the speech.
        lead_ms: mean silence before the word.
        trail_ms: mean silence behind the word.
    """

    pitch: float
    rate: float
    tract: float
    stretch: float
    colour_db: float
    room_db: float
    noise_db: float
    lead_ms: float
    trail_ms: float


def utter(label: int, speaker: Speaker, variation: Variation, draw: Generator, room: Generator) -> Sound:
    """Speak a word as one speaker does, once.

    Args:
        label: number of the word in ``WORDS``.
        speaker: who speaks.
        variation: how much utterances differ.
        draw: random numbers of this utterance.
        room: random numbers of the speaker's room, the same for each of the speaker's utterances.

    Returns:
        The sound at 22,050 Hz, peak 0.5.

    Raises:
        DataError: if espeak-ng is missing, or says nothing.
    """
    pitch, rate, tract = draw.normal(0.0, (variation.pitch, variation.rate, variation.tract))
    stretches = draw.normal(0.0, variation.stretch, 64)
    colours = draw.normal(0.0, variation.colour_db, 9)
    noise_db = variation.noise_db + draw.uniform(-5.0, 5.0)
    lead, trail = 1e-3 * draw.gamma(2.0, (variation.lead_ms / 2, variation.trail_ms / 2))
    english = label < len(WORDS) // 2
    voice = speaker.english if english else speaker.german
    spoken = espeak.speak(
        (WORDS if english == voice.startswith("en") else _ACCENTED)[label],
        language=voice,
        variant=speaker.variant,
        pitch=int(np.clip(round(speaker.pitch + pitch), 0, 99)),
        rate_wpm=int(np.clip(round(speaker.rate_wpm * math.exp(rate)), 80, 450)),
    ).at(RATE_HZ)
    samples = _cut(np.asarray(spoken.samples, dtype=np.float64), spoken.name)
    factor = speaker.tract * math.exp(tract)
    samples = _stretched(_resampled(samples, factor), factor * np.exp(stretches))
    samples = _coloured(samples, speaker.tilt_db, colours)
    samples = _in_room(samples, variation.room_db, room)
    before, behind = (np.zeros(round(min(s, 0.3) * RATE_HZ)) for s in (lead, trail))
    level = float(np.sqrt(np.mean(samples**2)))
    samples = np.concatenate([before, samples, behind])
    samples += level * 10 ** (-noise_db / 20) * _pink(len(samples), draw)
    return Sound(0.5 * samples / np.abs(samples).max(), RATE_HZ, spoken.name)


def _cut(samples: Float64[ndarray, "n"], name: str) -> Float64[ndarray, "m"]:
    """Cut what is silent at both ends."""
    window = RATE_HZ // 100
    loud = loud_ends(samples, RATE_HZ, _SILENT_DB)
    if loud is None:
        raise DataError(complain(name, expected="a word", got="silence", fix=f"try {espeak.PROGRAM} by hand"))
    return samples[max(0, loud[0] - window) : loud[1] + window]


def _resampled(samples: Float64[ndarray, "n"], factor: float) -> Float64[ndarray, "m"]:
    """Play faster by ``factor``: all frequencies are multiplied by it. Band-limited, by the Fourier transform."""
    from scipy.signal import resample

    return np.asarray(resample(samples, round(len(samples) / factor)))


def _stretched(samples: Float64[ndarray, "n"], stretches: Float64[ndarray, "k"]) -> Float64[ndarray, "m"]:
    """Make parts of a sound longer or shorter, without moving its frequencies.

    Waveform-similarity overlap-add (Verhelst & Roelands 1993): Hann windows half over each other, each taken from
    where the sound continues best what was laid down before.

    Args:
        samples: the sound.
        stretches: factor on the duration, at every 120 ms of the result; linear in between.
    """
    half, search = round(5e-4 * _FRAME_MS * RATE_HZ), round(1e-3 * _SEARCH_MS * RATE_HZ)
    window = np.hanning(2 * half + 1)[:-1]
    padded = np.concatenate([np.zeros(half + search), samples, np.zeros(3 * half + search)])
    n_most = 4 * len(samples) // half + 8
    knots = np.arange(len(stretches)) * (1e-3 * _KNOT_MS * RATE_HZ)
    steps = half / np.interp(np.arange(n_most) * float(half), knots, stretches)
    where = np.concatenate([[0.0], np.cumsum(steps)])
    where = where[: np.searchsorted(where, len(samples) + half)]
    made = np.zeros((len(where) + 1) * half)
    taken = search
    for k, wish in enumerate(where):
        begin = round(wish) + search
        if k:
            expected = padded[taken + half : taken + 3 * half]
            around = padded[begin - search : begin + search + 2 * half]
            if len(around) < 2 * half + 2 * search:
                around = np.pad(around, (0, 2 * half + 2 * search - len(around)))
            expected = np.pad(expected, (0, 2 * half - len(expected)))
            begin += int(np.correlate(around, expected, mode="valid").argmax()) - search
        piece = padded[begin : begin + 2 * half]
        made[k * half : k * half + len(piece)] += window[: len(piece)] * piece
        taken = begin
    return made[half:]


def _coloured(samples: Float64[ndarray, "n"], tilt_db: float, colours: Float64[ndarray, "9"]) -> Float64[ndarray, "n"]:
    """Change the spectrum: a slope in dB per octave around 1 kHz, and a gain in dB at 62.5 Hz, 125 Hz … 16 kHz.

    Every speaker's spectrum is bent in one way on top of that (``_MICROPHONE_DB``): espeak-ng's vowels are too strong
    from 1 to 4 kHz, and its hisses too weak above 5 kHz, against the twelve samples of SHD that we have.
    """
    spectrum = np.fft.rfft(samples)
    octave = np.log2(np.clip(np.fft.rfftfreq(len(samples), 1 / RATE_HZ), 62.5, 16_000.0) / 1000.0)
    gain_db = tilt_db * np.clip(octave, -3.0, 3.0) + np.interp(octave, np.arange(-4.0, 5.0), colours + _MICROPHONE_DB)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), n=len(samples))


def _in_room(samples: Float64[ndarray, "n"], room_db: float, room: Generator) -> Float64[ndarray, "m"]:
    """Add reverberation: noise that decays by 60 dB within 0.15 … 0.35 s, ``room_db`` below the direct sound."""
    from scipy.signal import fftconvolve

    decay_s = room.uniform(0.15, 0.35)
    time_s = np.arange(round(0.6 * decay_s * RATE_HZ)) / RATE_HZ
    tail = room.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail[: round(3e-3 * RATE_HZ)] = 0.0  # the walls are half a metre away
    tail *= 10 ** (-room_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(samples, tail))


def _pink(n: int, draw: Generator) -> Float64[ndarray, "n"]:
    """Noise of equal power in every octave from 50 Hz, of unit root-mean-square amplitude."""
    spectrum = np.fft.rfft(draw.standard_normal(n))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(n, 1 / RATE_HZ), 50.0))
    noise = np.fft.irfft(spectrum, n=n)
    return noise / np.sqrt(np.mean(noise**2))
