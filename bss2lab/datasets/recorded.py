"""Your own voice: sounds become the same kind of recordings as a data set's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.datasets import cochlea
from bss2lab.datasets.sound import Sound, loud_ends
from bss2lab.datasets.speechset import UNKNOWN, SpeechSet
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from bss2lab.datasets.cochlea import CochleaConfig

SILENT_DB = -35.0
"""What is so far below the loudest 10 ms counts as silence."""

LEAD_S, TRAIL_S = 0.025, 0.11
"""Silence that is left before and behind a word: about that of the Heidelberg Digits."""


def words_of(
    sounds: Sequence[Sound],
    classes: tuple[str, ...],
    *,
    labels: Sequence[int] | None = None,
    config: CochleaConfig | None = None,
    seed: int = 0,
    keep_silence: bool = False,
) -> SpeechSet:
    """Send sounds through the cochlea.

    Args:
        sounds: one word each.
        classes: names of the words that a network knows.
        labels: which word each is; not known if not given (all are then labelled 0).
        config: the cochlea; None: the defaults.
        seed: seed of the transmitter's randomness.
        keep_silence: do not cut silence from both ends.

    Returns:
        Recordings of a test set, of unknown speakers.

    Raises:
        InputError: if there is no sound, or one of them is silent.
    """
    heard = [sound if keep_silence else without_silence(sound) for sound in sounds]
    config = config or cochlea.CochleaConfig()
    spikes = cochlea.spikes_of_all(heard, config, seed=seed)
    n = len(sounds)
    return SpeechSet(
        times_s=(spikes.times_us.astype(np.float64) / 1e6).astype(np.float32),
        units=spikes.units.astype(np.int16),
        start=spikes.offsets[:-1],
        stop=spikes.offsets[1:],
        labels=np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64),
        speakers=np.full(n, UNKNOWN),
        index=np.arange(n),
        classes=classes,
        n_units=config.n_channels,
        split="test",
        name=", ".join(sound.name for sound in sounds[:3]),
    )


def without_silence(sound: Sound) -> Sound:
    """Cut a sound's silent ends; a little silence is left, or put there.

    Raises:
        InputError: if all of it is silent.
    """
    rate = sound.sample_rate_hz
    samples = np.asarray(sound.samples, dtype=np.float64)
    loud = loud_ends(samples - samples.mean(), rate, SILENT_DB)
    if loud is None:
        raise InputError(complain(sound.name, expected="a word", got="silence", fix="record it anew"))
    lead, trail = round(LEAD_S * rate), round(TRAIL_S * rate)
    padded = np.pad(samples, (lead, trail))
    return replace(sound, samples=padded[loud[0] : loud[1] + 1 + lead + trail])
