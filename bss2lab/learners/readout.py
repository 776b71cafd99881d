"""Decisions on an emulated chip, for evaluation: weights rounded and written, output samples read."""

from __future__ import annotations

from bss2lab.chip import Chip
from bss2lab.learners.base import Evaluation, Samples
from bss2lab.network import chip_weights
from bss2lab.types import Weights


def evaluate_on_chip(chip: Chip, weights: Weights, samples: Samples, *, seed: int) -> Evaluation:
    """Write the rounded weights to a chip and classify every sample there.

    Args:
        chip: the emulated chip.
        weights: model weights.
        samples: what to classify.
        seed: seed of the trial-to-trial noise.
    """
    rounded, _ = chip_weights(weights)
    decisions, spikes = chip.classify(chip.write(rounded), samples.spikes, seed=seed)
    return Evaluation.of(decisions, samples.labels, float(spikes.mean()))
