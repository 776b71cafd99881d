"""Figure 5A: how a trained network listens to single words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.errors import InputError, complain
from bss2lab.inputs import encode
from bss2lab.settings import SpeechConfig
from bss2lab.studies.observation import Observation, observe
from bss2lab.types import RecurrentWeights

if TYPE_CHECKING:
    from jaxtyping import Int64
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """Figure 5A.

    Attributes:
        seen: spikes, traces and decisions.
        labels: true class of each word, [word].
        speakers: who spoke each word, −1 if unknown, [word].
        classes: names of the words.
        synthetic: is it synthetic speech?
    """

    seen: Observation
    labels: Int64[ndarray, "b"]
    speakers: Int64[ndarray, "b"]
    classes: tuple[str, ...]
    synthetic: bool


def responses(
    config: SpeechConfig, weights: RecurrentWeights, words: SpeechSet, *, chip: Chip | None = None, noise_seed: int = 0
) -> Responses:
    """Let a network listen to a few words.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        words: the words, usually three.
        chip: where to run them; None: in the software model.
        noise_seed: seed of the trial-to-trial noise.
    """
    seen = observe(config, weights, encode(words, config), chip=chip, noise_seed=noise_seed)
    return Responses(seen, words.labels, words.speakers, words.classes, config.task == "speech")


def spoken(words: SpeechSet, names: tuple[str, ...], speaker: int | None = None) -> SpeechSet:
    """Return the first recording of each of these words.

    Args:
        words: where to look.
        names: names of classes.
        speaker: by this speaker; None: by anyone.

    Raises:
        InputError: if there is no such word, or no recording of it.
    """
    index = []
    for name in names:
        if name not in words.classes:
            want = f"one of {', '.join(words.classes)}"
            raise InputError(complain("word", expected=want, got=repr(name), fix="choose one"))
        right = (words.labels == words.classes.index(name)) & (speaker is None or words.speakers == speaker)
        if not right.any():
            fix = "choose another speaker"
            raise InputError(complain(repr(name), expected="a recording of it", got=f"none by {speaker}", fix=fix))
        index.append(int(np.flatnonzero(right)[0]))
    return words.subset(np.array(index))
