"""The sound of a recording, for listening: as it was kept, spoken anew, or else its spikes as tones."""

from __future__ import annotations

import functools
import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.datasets import speechfolder, synthetic
from bss2lab.datasets.cochlea import CochleaConfig
from bss2lab.datasets.sound import Sound
from bss2lab.datasets.speech import SpeechCode
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.synthetic import Utterance
from bss2lab.errors import Bss2Error

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

BURST_S = 5e-3
"""Length of the tone that stands for a spike [assumed: shorter than a sound of speech, but has a pitch]."""

TONES_HZ = 44_100
"""Sampling rate of spikes as tones: the highest channels answer to 12 kHz."""

_LEAD_S = 0.02
_PLACES = 50  # along the cochlea, between which frequencies are interpolated


@dataclass(frozen=True, slots=True, eq=False)
class Audible:
    """A sound and what it is.

    Attributes:
        sound: the sound.
        what: one sentence: the recording itself, the same utterance spoken anew, or its spikes as tones.
    """

    sound: Sound
    what: str


def audible(words: SpeechSet, i: int) -> Audible:
    """Return what a recording sounds like.

    Synthetic speech: the sound itself where it is kept; else the same utterance spoken anew, if espeak-ng is
    installed. Everything else: the spikes that the network gets, as tones.

    Args:
        words: recordings.
        i: which.

    Raises:
        InputError: if there is no such recording.
    """
    words.positions(np.asarray([i]))
    said = utterance_of(words, i)
    if said is not None:
        for sound, what in (
            (lambda: speechfolder.sound_of(words, i), "synthetic speech: the sound that its spikes were made from"),
            (lambda: synthetic.sound(said), "synthetic speech: the same utterance, spoken anew by espeak-ng"),
        ):
            try:
                return Audible(sound(), what)
            except Bss2Error:
                continue  # not kept, or no package to read it with; no espeak-ng
    return Audible(tones(words, i), "no recording: the spikes of the input channels as tones")


def utterance_of(words: SpeechSet, i: int) -> Utterance | None:
    """Return which utterance of the synthetic speech a recording is, or None if it is none."""
    if "variant" not in words.speaker_info:
        return None
    said = synthetic.utterances("test" if words.split == "test" else "train")
    number = int(words.index[i])
    found = said[number] if number < len(said) else None
    same = found is not None and (found.speaker, found.label) == (int(words.speakers[i]), int(words.labels[i]))
    return found if same else None


def tones(words: SpeechSet, i: int, code: SpeechCode | None = None) -> Sound:
    """Make spikes audible: every spike of an input channel is a burst of that channel's best frequency.

    Args:
        words: recordings.
        i: which.
        code: which channels the network gets; None: the paper's 70.

    Returns:
        A sound at 44,100 Hz, peak 0.5, as long as the recording.
    """
    code = code or SpeechCode()
    times_s, channels = words.sample(i)
    unit, off = np.divmod(channels.astype(np.int64) - code.first_channel, code.channel_step)
    heard = (off == 0) & (unit >= 0) & (unit < code.n_channels)
    n = int((float(times_s.max(initial=0.0)) + BURST_S + 2 * _LEAD_S) * TONES_HZ) + 1
    made = np.zeros(n)
    length = round(BURST_S * TONES_HZ)
    window, clock = np.hanning(length), np.arange(length) / TONES_HZ
    for time_s, frequency in zip(times_s[heard], _best_frequencies(words.n_units)[channels[heard]], strict=True):
        begin = round((float(time_s) + _LEAD_S) * TONES_HZ)
        made[begin : begin + length] += window * np.sin(2 * np.pi * frequency * (begin / TONES_HZ + clock))
    return Sound(0.5 * made / max(1e-9, float(np.abs(made).max())), TONES_HZ, "spikes as tones")


def wav(sound: Sound) -> bytes:
    """Return a sound as a WAV file, 16 bits."""
    packed = io.BytesIO()
    with wave.open(packed, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(sound.sample_rate_hz))
        file.writeframes((np.clip(np.asarray(sound.samples), -1, 1) * 32767).astype("<i2").tobytes())
    return packed.getvalue()


@functools.lru_cache(maxsize=2)
def _best_frequencies(n_channels: int) -> Float64[ndarray, "c"]:
    """Best frequency of every channel, Hz, interpolated between a few places along the cochlea."""
    few = CochleaConfig(n_channels=_PLACES).best_frequency_hz()
    places = np.linspace(0, n_channels - 1, _PLACES)
    return np.exp(np.interp(np.arange(n_channels), places, np.log(few)))
