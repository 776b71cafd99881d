"""Decisions on a substrate, for evaluation: weights written as it holds them, output samples read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.learners.base import Evaluation, Samples
from bss2lab.network import chip_weights, traces_of
from bss2lab.types import AnyWeights, Substrate, Vote

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy import ndarray

_BATCH = 500


def evaluate_on_substrate(
    substrate: Substrate, weights: AnyWeights, samples: Samples, *, seed: int, vote: Vote = "peak"
) -> Evaluation:
    """Write the weights to a substrate, rounded if it rounds, and classify every sample there.

    Args:
        substrate: the emulated chip (which has a fast way to do this), or anything else behind the protocol.
        weights: model weights.
        samples: what to classify.
        seed: seed of the trial-to-trial noise.
        vote: what of an output's membrane counts: its peak, or its sum over time.
    """
    held, scale = chip_weights(weights, substrate)
    if isinstance(substrate, Chip):
        decisions, spikes = substrate.classify(substrate.write(held), samples.spikes, seed=seed, vote=vote)
        return Evaluation.of(decisions, samples.labels, float(spikes.mean()))
    found, total = [], 0.0
    for start in range(0, len(samples), _BATCH):
        part = samples.spikes.select(np.arange(start, min(start + _BATCH, len(samples))))
        traces = traces_of(substrate.run(held, part, seed=seed + start), scale)
        found.append(
            (traces.v_output.amax(dim=1) if vote == "peak" else traces.v_output.sum(dim=1)).argmax(dim=1).numpy()
        )
        total += float(traces.s_hidden.sum())
    return Evaluation.of(np.concatenate(found), samples.labels, total / len(samples))


@dataclass(frozen=True, slots=True)
class Tally:
    """Errors counted so far.

    Attributes:
        wrong: samples classified wrongly.
        seen: samples classified.
        total: samples in all.
    """

    wrong: int
    seen: int
    total: int

    @property
    def error(self) -> float:
        """Fraction wrong of those seen."""
        return self.wrong / self.seen

    @property
    def complete(self) -> bool:
        """Has every sample been seen?"""
        return self.seen == self.total


def count_errors(
    chip: Chip, weights: AnyWeights, samples: Samples, *, seed: int, vote: Vote = "peak",
    silenced: Bool[ndarray, "hidden"] | None = None, part: int = 1000,
) -> Iterator[Tally]:  # fmt: skip
    """Do what ``evaluate_on_substrate`` does part by part, and yield the errors so far after each.

    A part is spread over all samples, so that it stands for them; every sample meets the noise that it meets in one
    go, and the last tally is that of ``evaluate_on_substrate``.

    Args:
        chip, weights, samples, seed, vote: as there.
        silenced: hidden neurons that must not fire, [hidden].
        part: about so many samples at a time.
    """
    held, _ = chip_weights(weights, chip)
    program, n = chip.write(held), len(samples)
    parts = -(-n // part)
    wrong = seen = 0
    for first in range(parts):
        index = np.arange(first, n, parts)
        decisions, _ = chip.classify(program, samples.spikes, seed=seed, vote=vote, silenced=silenced, index=index)
        wrong, seen = wrong + int((decisions != samples.labels[index]).sum()), seen + len(index)
        yield Tally(wrong, seen, n)
