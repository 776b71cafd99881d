"""Decisions on a substrate, for evaluation: weights written as it holds them, output samples read."""

from __future__ import annotations

import numpy as np

from bss2lab.chip import Chip
from bss2lab.learners.base import Evaluation, Samples
from bss2lab.network import chip_weights, traces_of
from bss2lab.types import AnyWeights, Substrate, Vote

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
