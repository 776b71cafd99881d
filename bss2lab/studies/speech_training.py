"""Training on words as a job: the network, its course, and every decision that it ends up with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.inputs import encode
from bss2lab.learners.start import starting_weights
from bss2lab.results import Epoch
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import SpeechConfig
from bss2lab.studies.networks import SpeechNetwork, Trained
from bss2lab.studies.training import data_of, run_to_the_end
from bss2lab.types import RecurrentWeights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16
    from numpy import ndarray

_SHUFFLE = 5
"""Purpose of the random numbers that shuffle recurrent weights."""

_NOISE_SEED = 0
"""Seed of the trial-to-trial noise when a finished network is tested; the training set has the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """A network that has learned words, and what it decides on.

    Attributes:
        network: configuration, epochs and weights.
        train_decisions: class decided for every training word, without augmentation, [words].
        test_decisions: class decided for every test word, [words].
    """

    network: SpeechNetwork
    train_decisions: Int16[ndarray, "n"]
    test_decisions: Int16[ndarray, "m"]


def listening_job(config: SpeechConfig, name: str, recurrent: Float32[ndarray, "n n"] | None = None) -> Job:
    """Return a training on words as a job.

    Args:
        config: the run.
        name: what it is called.
        recurrent: recurrent weights to begin with; drawn from the run's seed if not given.
    """
    inputs = {} if recurrent is None else {"recurrent": recurrent}
    cost = config.epochs * {"itl": 1.6, "transfer": 1.1, "software": 1.0}.get(config.mode, 1.0)
    return Job("training on words", f"{name}, seed {config.seed}", train_on_words, config, inputs, cost=cost)


def train_on_words(config: SpeechConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Train on one thread, then decide on every word of both sets."""
    config = config.replace(threads=1)
    start = None
    if "recurrent" in inputs:
        start = starting_weights(config)._replace(recurrent=np.asarray(inputs["recurrent"], np.float32))
    run = run_to_the_end(config, scratch, start)
    data = data_of(config)
    train, test = (
        run.learner.evaluate(encode(words, config), noise_seed=_NOISE_SEED + k).decisions.astype(np.int16)
        for k, words in enumerate((data.train, data.held_out))
    )
    arrays = {**run.learner.weights()._asdict(), "train_decisions": train, "test_decisions": test}
    return Record({"epochs": [asdict(epoch) for epoch in run.epochs]}, arrays)


def listen_all(jobs: Sequence[Job], run: Runner, label: str) -> list[Listener]:
    """Do trainings on words.

    Args:
        jobs: made by ``listening_job``.
        run: does them.
        label: what the batch is called in the progress bar.
    """
    found = []
    for job, record in zip(jobs, run(jobs, label), strict=True):
        assert isinstance(job.config, SpeechConfig)
        epochs = tuple(Epoch(**epoch) for epoch in record.values["epochs"])
        weights = RecurrentWeights(*(record.arrays[layer] for layer in RecurrentWeights._fields))
        decisions = record.arrays["train_decisions"], record.arrays["test_decisions"]
        found.append(Listener(Trained(job.config, epochs, weights), *decisions))
    return found


def shuffled(recurrent: Float32[ndarray, "n n"], seed: int) -> Float32[ndarray, "n n"]:
    """Return recurrent weights in another order: their distribution is kept, what they have learned is lost."""
    drawn = np.random.default_rng([seed, _SHUFFLE]).permutation(np.ravel(recurrent))
    return drawn.reshape(recurrent.shape)
