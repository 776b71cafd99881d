"""What a trained network makes of single words: which it hears, how surely, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.inputs import encode
from bss2lab.settings import SpeechConfig
from bss2lab.studies.observation import Observation, observe, verdict
from bss2lab.types import RecurrentWeights


@dataclass(frozen=True, slots=True)
class Heard:
    """A network's answer to one word.

    Attributes:
        word: what it heard.
        ranking: the words by their votes, best first, with the softmax of the votes as the loss takes it.
        decided_us: chip time from which on the word had the highest vote, µs.
        input_spikes: spikes that reached the chip.
        hidden_spikes: spikes of the hidden neurons.
    """

    word: str
    ranking: tuple[tuple[str, float], ...]
    decided_us: float
    input_spikes: int
    hidden_spikes: int


def listen(
    config: SpeechConfig, weights: RecurrentWeights, words: SpeechSet, *, chip: Chip | None = None, noise_seed: int = 0
) -> tuple[Heard, ...]:
    """Let a network hear words.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        words: what is said.
        chip: where to run them; None: in the software model.
        noise_seed: seed of the trial-to-trial noise.
    """
    seen = observe(config, weights, encode(words, config), chip=chip, noise_seed=noise_seed)
    return tuple(heard(config, seen, b, words.classes) for b in range(len(words)))


def heard(config: SpeechConfig, seen: Observation, b: int, classes: tuple[str, ...]) -> Heard:
    """Return what a network heard in one word.

    Args:
        config: the run that the weights come from.
        seen: the network's answers.
        b: number of the word.
        classes: the words that its outputs stand for.
    """
    found = verdict(config, seen, b, n_classes=len(classes))
    order = np.argsort(-found.shares, kind="stable")
    return Heard(
        word=classes[found.decision],
        ranking=tuple((classes[k], float(found.shares[k])) for k in order),
        decided_us=found.decided_us,
        input_spikes=len(seen.input_spikes.sample(b)[0]),
        hidden_spikes=len(seen.hidden_spikes.sample(b)[0]),
    )
