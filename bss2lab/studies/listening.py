"""What a trained network makes of single words: which it hears, how surely, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.inputs import encode
from bss2lab.settings import SpeechConfig
from bss2lab.studies.observation import observe
from bss2lab.types import RecurrentWeights

if TYPE_CHECKING:
    from numpy import ndarray


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
    sums = np.cumsum(seen.readout, axis=1)
    n = len(words.classes)
    answers = []
    for b in range(len(words)):
        surety = _softmax(config.loss_scale * sums[b, -1, :n].astype(np.float64))
        order = np.argsort(-surety, kind="stable")
        best = int(order[0])
        behind = np.flatnonzero(sums[b, :, :n].argmax(axis=1) != best)
        first = int(behind[-1]) + 1 if len(behind) else 0
        answers.append(
            Heard(
                word=words.classes[best],
                ranking=tuple((words.classes[k], float(surety[k])) for k in order),
                decided_us=float(seen.time_us[min(first, len(seen.time_us) - 1)]),
                input_spikes=len(seen.input_spikes.sample(b)[0]),
                hidden_spikes=len(seen.hidden_spikes.sample(b)[0]),
            )
        )
    return tuple(answers)


def _softmax(votes: ndarray) -> ndarray:
    raised = np.exp(votes - votes.max())
    return raised / raised.sum()
