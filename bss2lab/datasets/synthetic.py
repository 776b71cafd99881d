"""Synthetic speech: spoken digits of emulated speakers as spikes, in the shape of the Spiking Heidelberg Digits.

Ten English and ten German digits, twelve emulated speakers (``voices``), each of whom says every word several times;
from sound to spikes through the chain that made the Heidelberg Digits (``cochlea``). Two speakers occur in the test
set alone and make up four fifths of it. It is a stand-in for recordings of people, not a sample of them.

An utterance is a function of the seed and of (speaker, word, repetition) alone: a larger set contains the smaller
one, whatever the order and the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.datasets import cochlea, voices
from bss2lab.datasets.sound import Sound
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.voices import SPEAKERS, UNSEEN, WORDS
from bss2lab.errors import InputError, complain
from bss2lab.machine import usable_cores

if TYPE_CHECKING:
    from numpy import ndarray
    from numpy.random import Generator

TITLE = "synthetic speech"
"""What everything printed or drawn from these recordings is called."""

Part = Literal["train", "test"]

_UTTERANCE, _ROOM, _ORDER, _TESTED = range(4)  # what random numbers are for
_MOST_REPETITIONS = 1000
_ONCE_MORE = _MOST_REPETITIONS - 1  # repetition that is kept for the test set, however large the training set is
_TUNED = "set so that spikes, durations, channels and rates over time are about those of twelve samples of SHD"
_SPREAD = "not measured; set so that unseen speakers are harder than seen ones, and neither is trivial"


class SyntheticSpeechConfig(Config):
    """What is spoken, how often, and how much utterances of one word by one speaker differ."""

    seed: int = quantity(
        0, "seed of everything that is drawn", source=Source.ASSUMED, why="any will do", ge=0, lt=2**32
    )
    repetitions: int = quantity(
        10,
        "utterances of each word by each speaker, in that speaker's split",
        source=Source.ASSUMED,
        why="a quarter of SHD's 40: what fits into the repository",
        ge=1,
        le=_MOST_REPETITIONS - 1,
    )
    tested_words: int = quantity(
        10,
        "words that a speaker of the training set says once more, for the test set",
        source=Source.ASSUMED,
        why="the two unseen speakers then make up 80 % of the test set; 81 % in SHD",
        ge=0,
        le=len(WORDS),
    )
    pitch_sd: float = quantity(
        4.0, "spread of the pitch, on espeak-ng's scale 0 … 99", source=Source.ASSUMED, why=_SPREAD, ge=0, le=30
    )
    rate_sd: float = quantity(
        0.05, "spread of the logarithm of the speaking rate", source=Source.ASSUMED, why=_SPREAD, ge=0, le=0.5
    )
    tract_sd: float = quantity(
        0.01, "spread of the logarithm of the factor on all formants", source=Source.ASSUMED, why=_SPREAD, ge=0, le=0.2
    )
    stretch_sd: float = quantity(
        0.08,
        "spread of the logarithm of the duration of a word's parts",
        source=Source.ASSUMED,
        why=_SPREAD,
        ge=0,
        le=0.5,
    )
    colour_db: float = quantity(
        1.0, "spread of the gain, octave by octave", unit="dB", source=Source.ASSUMED, why=_SPREAD, ge=0, le=12
    )
    room_db: float = quantity(
        16.0, "level of the reverberation, below the voice", unit="dB", source=Source.ASSUMED, why=_TUNED, ge=0, le=60
    )
    noise_db: float = quantity(
        35.0, "mean level of the noise, below the voice", unit="dB", source=Source.ASSUMED, why=_TUNED, ge=10, le=90
    )
    lead_ms: float = quantity(
        25.0, "mean silence before the word", unit="ms", source=Source.ASSUMED, why=_TUNED, gt=0, le=200
    )
    trail_ms: float = quantity(
        110.0, "mean silence behind the word", unit="ms", source=Source.ASSUMED, why=_TUNED, gt=0, le=200
    )

    @property
    def variation(self) -> voices.Variation:
        """How much utterances differ."""
        return voices.Variation(
            self.pitch_sd, self.rate_sd, self.tract_sd, self.stretch_sd, self.colour_db, self.room_db, self.noise_db,
            self.lead_ms, self.trail_ms,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Utterance:
    """One word, said once.

    Attributes:
        speaker: number of the speaker, 0 … 11.
        label: the word: English digits 0 … 9, then German ones.
        repetition: how often this speaker has said it before; 999: once more, for the test set.
    """

    speaker: int
    label: int
    repetition: int

    @property
    def number(self) -> int:
        """A number of its own among all utterances: the random numbers of its spikes hang on it."""
        return (self.speaker * len(WORDS) + self.label) * _MOST_REPETITIONS + self.repetition


def utterances(split: Part, config: SyntheticSpeechConfig | None = None) -> list[Utterance]:
    """Return what is said in a split, in the order of its recordings: shuffled, by the seed.

    Raises:
        InputError: if there is no such split.
    """
    config = config or SyntheticSpeechConfig()
    if split not in ("train", "test"):
        raise InputError(complain("split", expected="'train' or 'test'", got=repr(split), fix="choose one of them"))
    said = []
    for speaker in range(len(SPEAKERS)):
        if (speaker in UNSEEN) == (split == "test"):
            said += [Utterance(speaker, w, r) for w in range(len(WORDS)) for r in range(config.repetitions)]
        elif split == "test":
            words = _draw(config.seed, _TESTED, speaker).permutation(len(WORDS))[: config.tested_words]
            said += [Utterance(speaker, int(w), _ONCE_MORE) for w in sorted(words)]
    order = _draw(config.seed, _ORDER, int(split == "test")).permutation(len(said))
    return [said[i] for i in order]


def sound(utterance: Utterance, config: SyntheticSpeechConfig | None = None) -> Sound:
    """Speak one utterance anew.

    Raises:
        DataError: if espeak-ng is missing.
    """
    config = config or SyntheticSpeechConfig()
    speaker, label, repetition = utterance.speaker, utterance.label, utterance.repetition
    draw = _draw(config.seed, _UTTERANCE, speaker, label, repetition)
    return voices.utter(label, SPEAKERS[speaker], config.variation, draw, _draw(config.seed, _ROOM, speaker))


def generate(
    said: Sequence[Utterance],
    config: SyntheticSpeechConfig | None = None,
    *,
    split: Part,
    threads: int = 0,
    on_utterance: Callable[[int, int], None] = lambda done, total: None,
    on_sound: Callable[[Utterance, Sound], None] = lambda utterance, sound: None,
) -> SpeechSet:
    """Speak utterances and turn them into spikes.

    Args:
        said: what to say.
        config: how; None: the defaults.
        split: what the recordings are for.
        threads: utterances at once; 0: one per core. The result does not depend on it.
        on_utterance: called with (utterances done, in all), from the calling thread.
        on_sound: called with each utterance and its sound, from the calling thread, in the order of ``said``.

    Returns:
        The recordings in the order of ``said``, numbered from 0; times in seconds.

    Raises:
        InputError: if there is nothing to say.
        DataError: if espeak-ng is missing.
    """
    config = config or SyntheticSpeechConfig()
    if not len(said):
        raise InputError(complain("utterances", expected="at least one", got="none", fix="choose some"))
    threads = threads or usable_cores()
    done = 0
    rows: list[tuple[ndarray, ndarray]] = []
    for first in range(0, len(said), _AT_ONCE):
        some = said[first : first + _AT_ONCE]
        with ThreadPoolExecutor(threads) as pool:
            sounds = list(pool.map(lambda one: sound(one, config), some))
        for one, spoken in zip(some, sounds, strict=True):
            on_sound(one, spoken)
        spikes = cochlea.spikes_of_all(
            sounds, seed=config.seed, numbers=[one.number for one in some], threads=threads,
            on_sound=lambda n, _, before=done: on_utterance(before + n, len(said)),
        )  # fmt: skip
        rows += [spikes.sample(i) for i in range(len(some))]
        done += len(some)
    counts = np.array([len(times) for times, _ in rows], dtype=np.int64)
    times_s = np.concatenate([times for times, _ in rows]).astype(np.float64) / 1e6
    units = np.concatenate([units for _, units in rows]).astype(np.int16)
    stop = np.cumsum(counts)
    labels, speakers = (np.array([getattr(one, what) for one in said], dtype=np.int64) for what in ("label", "speaker"))
    return SpeechSet(
        times_s.astype(np.float32), units, stop - counts, stop, labels, speakers, np.arange(len(said)), WORDS, 700,
        split, TITLE, speaker_info(),
    )  # fmt: skip


def speaker_info() -> dict[str, ndarray]:
    """Return what the speakers are: one array each of voice (m, f), variant, accents, pitch, rate, tract."""
    names = ("voice", "variant", "english", "german", "pitch", "rate_wpm", "tract")
    return {name: np.array([getattr(speaker, name) for speaker in SPEAKERS]) for name in names}


_AT_ONCE = 200  # utterances: their sounds take 70 MB


def _draw(*key: int) -> Generator:
    return np.random.default_rng(np.random.SeedSequence(key))
