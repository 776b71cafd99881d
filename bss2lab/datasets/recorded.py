"""Your own voice: sounds become the same kind of recordings as a data set's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bss2lab.datasets import cochlea
from bss2lab.datasets.sound import Sound, loud_ends
from bss2lab.datasets.speechset import UNKNOWN, SpeechSet, Split
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Int64
    from numpy import ndarray

    from bss2lab.datasets.cochlea import CochleaConfig

MANY = 10
"""So many sounds take long enough for a progress bar."""

SILENT_DB = -35.0
"""What is so far below the loudest 10 ms counts as silence."""

LEAD_S, TRAIL_S = 0.025, 0.11
"""Silence that is left before and behind a word: about that of the Heidelberg Digits."""


def words_of(
    sounds: Sequence[Sound],
    classes: tuple[str, ...],
    *,
    labels: Sequence[int] | None = None,
    speakers: Sequence[int] | None = None,
    split: Split = "test",
    config: CochleaConfig | None = None,
    seed: int = 0,
    keep_silence: bool = False,
    progress: bool = True,
) -> SpeechSet:
    """Send sounds through the cochlea.

    Args:
        sounds: one word each.
        classes: names of the words that a network knows.
        labels: which word each is; not known if not given (all are then labelled 0).
        speakers: number of each one's speaker, from 0; unknown if not given. ``split_validation`` holds out speakers.
        split: what the recordings are for.
        config: the cochlea; None: the defaults.
        seed: seed of the transmitter's randomness.
        keep_silence: do not cut silence from both ends.
        progress: show a progress bar for many sounds on standard error, if that is a terminal.

    Returns:
        The recordings, numbered in the order of ``sounds``.

    Raises:
        InputError: if there is no sound, one of them is silent, or labels or speakers do not fit them.
    """
    n = len(sounds)
    label_of = _checked("labels", labels, n, 0, len(classes) - 1)
    speaker_of = _checked("speakers", speakers, n, UNKNOWN, np.iinfo(np.int64).max)
    heard = [sound if keep_silence else without_silence(sound) for sound in sounds]
    config = config or cochlea.CochleaConfig()
    hidden = None if progress and n >= MANY else True  # (None: shown on a terminal)
    with tqdm(total=n, desc="inner ear", unit="word", leave=False, disable=hidden) as bar:

        def show(done: int, _: int) -> None:
            bar.update(done - bar.n)

        spikes = cochlea.spikes_of_all(heard, config, seed=seed, on_sound=show)
    return SpeechSet(
        times_s=(spikes.times_us.astype(np.float64) / 1e6).astype(np.float32),
        units=spikes.units.astype(np.int16),
        start=spikes.offsets[:-1],
        stop=spikes.offsets[1:],
        labels=np.zeros(n, np.int64) if label_of is None else label_of,
        speakers=np.full(n, UNKNOWN) if speaker_of is None else speaker_of,
        index=np.arange(n),
        classes=classes,
        n_units=config.n_channels,
        split=split,
        name=", ".join(sound.name for sound in sounds[:3]),
    )


def _checked(what: str, numbers: Sequence[int] | None, n: int, low: int, high: int) -> Int64[ndarray, "n"] | None:
    if numbers is None:
        return None
    values = np.asarray(numbers)
    if values.shape != (n,) or (n and values.dtype.kind not in "iu"):
        got = f"{values.dtype} of shape {list(values.shape)}"
        raise InputError(complain(what, expected=f"{n} integers, one per sound", got=got, fix="pass one for each"))
    bad = values[(values < low) | (values > high)]
    if len(bad):
        want = f"{low} … {high}" if what == "labels" else "numbers from 0"
        raise InputError(complain(what, expected=want, got=int(bad[0]), fix="count from 0"))
    return values.astype(np.int64)


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
