"""The training step of the 256–246–10 network, done by the compiled kernels, in the loop, and by eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.inputs import encode
from bss2lab.kernels import reference
from bss2lab.learners import Samples, make_learner
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import TrainConfig
from bss2lab.train import objective_of
from bss2lab.types import Weights

BATCH = 100
_IMAGES = 10_000
_PREPARATION_BATCHES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What every implementation is given: the same network, half trained, and the same images.

    Attributes:
        config: sizes and constants.
        samples: encoded MNIST images.
        weights: weights after 1,000 batches, so that spike counts are realistic.
        dense: one batch of input on the time grid, [batch, time, input].
        labels: its classes.
    """

    config: TrainConfig
    samples: Samples
    weights: Weights
    dense: Tensor
    labels: Tensor


def workload() -> Workload:
    """Encode images and train for 1,000 batches."""
    config = TrainConfig(mode="software")
    samples = encode(vision.load("mnist", "train").take(_IMAGES), config)
    learner = make_learner(config, objective_of(config), None)
    run_batches(learner, samples, config, _PREPARATION_BATCHES)
    weights = Weights(*(np.array(w) for w in learner.weights()))
    dense = torch.from_numpy(samples.spikes.select(np.arange(BATCH)).dense(config.dt_us))
    return Workload(config, samples, weights, dense, torch.from_numpy(samples.labels[:BATCH]))


def run_batches(learner, samples: Samples, config: TrainConfig, n: int) -> None:
    """Train for n batches."""
    alive = np.ones(config.n_hidden, bool)
    generator = np.random.default_rng(0)
    for k in range(n):
        index = generator.permutation(len(samples))[:BATCH]
        learner.train_batch(samples, index, learning_rate=1.5e-3, alive=alive, noise_seed=k)


def compiled_step(work: Workload, *, on_chip: bool) -> Callable[[], object]:
    """Return one call of the fused step: in software, or with the emulated chip and rounding in the loop."""
    config = work.config.replace(mode="itl" if on_chip else "software")
    learner = make_learner(config, objective_of(config), Chip(0) if on_chip else None)
    _load(learner, work.weights)
    alive, index = np.ones(config.n_hidden, bool), np.arange(BATCH)

    def step() -> None:
        learner.train_batch(work.samples, index, learning_rate=1e-4, alive=alive, noise_seed=0)

    return step


def eager_step(work: Workload) -> Callable[[], object]:
    """Return one step of the reference implementation in eager PyTorch.

    Its input product is taken out of the time loop, and its dense input is made beforehand and not counted:
    both in its favour.
    """
    config, objective = work.config, objective_of(work.config)
    w_hidden, w_output = (torch.tensor(w, requires_grad=True) for w in work.weights)
    adam = torch.optim.Adam([w_hidden, w_output], lr=1e-4)

    def step() -> None:
        traces = reference.integrate(w_hidden, w_output, work.dense, config.model)
        loss = torch.stack(list(objective.terms(traces, work.labels, w_hidden).values())).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            w_hidden.clamp_(-WEIGHT_CLAMP, WEIGHT_CLAMP)

    return step


def _load(learner, weights: Weights) -> None:
    learner.restore({**learner.state(), "w_hidden": weights.hidden, "w_output": weights.output})
