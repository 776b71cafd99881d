"""A look at a network in the middle of its training: one sample in full, and what every neuron does on many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.inputs import encode
from bss2lab.learners import Learner, Samples
from bss2lab.settings import AnyConfig
from bss2lab.studies.observation import Observation, observe
from bss2lab.types import Substrate

ACCURACY_SAMPLES = 1000
"""Test samples on which accuracy is probed between epochs [assumed: some ten milliseconds]."""

NEURON_SAMPLES = 200
"""Test samples on which the neurons are watched [assumed: enough to call one dead]."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What was seen.

    Attributes:
        seen: the network's answers, the sample on show first.
        label: true class of the sample on show.
        accuracy: fraction correct of the first samples of the test set.
        rates: mean spikes per sample of every hidden neuron, [hidden].
        dead: neurons that were silent on all samples.
        saturated: neurons that fired on every single one, and so tell nothing apart.
    """

    seen: Observation
    label: int
    accuracy: float
    rates: np.ndarray
    dead: int
    saturated: int

    @property
    def decision(self) -> int:
        """Class decided for the sample on show."""
        return int(self.seen.decisions[0])


class Prober:
    """Looks at a network.

    Args:
        config: the run.
        held_out: samples that it does not learn from.
    """

    def __init__(self, config: AnyConfig, held_out: ImageSet | SpeechSet) -> None:
        n = len(held_out)
        # spread over the file: speech is sorted by speaker
        few = np.arange(min(n, ACCURACY_SAMPLES)) * n // min(n, ACCURACY_SAMPLES)
        self._config, self._held_out = config, held_out
        self._few: Samples = encode(held_out.subset(few), config)
        self._many = few[:: max(1, len(few) // self._watched)][: self._watched]

    def look(self, learner: Learner, chip: Substrate | None, sample: int, *, noise_seed: int) -> Probe:
        """Probe a network.

        Args:
            learner: has the weights.
            chip: where it runs; None: in the model.
            sample: number of the sample on show.
            noise_seed: seed of the trial-to-trial noise.
        """
        index = np.concatenate([[sample % len(self._held_out)], self._many])
        shown = encode(self._held_out.subset(index), self._config)
        emulated = chip if isinstance(chip, Chip) else None
        seen = observe(self._config, learner.weights(), shown, chip=emulated, noise_seed=noise_seed)
        hidden = seen.hidden_spikes
        owner = np.repeat(np.arange(len(hidden)), np.diff(hidden.offsets))
        counts = np.zeros((len(hidden), hidden.n_units), np.int64)
        np.add.at(counts, (owner, hidden.units), 1)
        fired = counts[1:] > 0
        return Probe(
            seen=seen, label=int(shown.labels[0]),
            accuracy=learner.evaluate(self._few, noise_seed=noise_seed).accuracy,
            rates=counts[1:].mean(axis=0),
            dead=int((~fired.any(axis=0)).sum()), saturated=int(fired.all(axis=0).sum()),
        )  # fmt: skip

    @property
    def _watched(self) -> int:
        return NEURON_SAMPLES if self._config.on_chip else NEURON_SAMPLES // 2
