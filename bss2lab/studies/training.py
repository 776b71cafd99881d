"""Training as a job: what most studies are made of. Equal trainings of different studies share their record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bss2lab.errors import CheckpointError
from bss2lab.results import Epoch
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.train import Data, Run
from bss2lab.types import Weights

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A finished training.

    Attributes:
        config: what was run.
        epochs: one record per epoch.
        weights: the final weights in model units (of the ANN without its biases).
    """

    config: TrainConfig
    epochs: tuple[Epoch, ...]
    weights: Weights

    @property
    def final(self) -> Epoch:
        """The last epoch."""
        return self.epochs[-1]


def training_job(config: TrainConfig, name: str = "") -> Job:
    """Return a training as a job.

    Args:
        config: the run.
        name: what it is called; made from mode and seed if not given.
    """
    named = name or f"{config.mode}, seed {config.seed}"
    steps = config.epochs * _relative_cost(config)
    return Job("training", named, train_network, config, cost=steps)


def train_network(config: TrainConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Train a network on one thread; go on from the checkpoint in ``scratch`` if there is one."""
    alone = config.replace(threads=1)
    try:
        run = Run(alone, images_of(alone), directory=scratch, resume=True)
    except CheckpointError:  # left by a kill in an older version, or damaged: begin again
        assert scratch is not None
        shutil.rmtree(scratch, ignore_errors=True)
        run = Run(alone, images_of(alone), directory=scratch)
    for _ in run.fit():
        pass
    hidden, output = run.learner.weights()
    return Record({"epochs": [asdict(epoch) for epoch in run.epochs]}, {"hidden": hidden, "output": output})


def trained(config: TrainConfig, record: Record) -> Trained:
    """Read a training's record."""
    epochs = tuple(Epoch(**epoch) for epoch in record.values["epochs"])
    return Trained(config, epochs, Weights(record.arrays["hidden"], record.arrays["output"]))


def train_all(configs: Sequence[TrainConfig], run: Runner, label: str) -> list[Trained]:
    """Train several networks, each a job of its own.

    Args:
        configs: the runs.
        run: does the jobs.
        label: what the batch is called in the progress bar.
    """
    records = run([training_job(config) for config in configs], label)
    return [trained(config, record) for config, record in zip(configs, records, strict=True)]


def images_of(config: TrainConfig) -> Data:
    """Load the images of a run; a worker process that does many runs keeps them."""
    what = TrainConfig(task=config.task, limit=config.limit, validation=config.validation)
    if what not in _LOADED:
        _LOADED.clear()
        _LOADED[what] = Data.load(what)
    return _LOADED[what]


_LOADED: dict[TrainConfig, Data] = {}


def _relative_cost(config: TrainConfig) -> float:
    """Time of an epoch, relative to a software one on the whole training set (measured on one thread)."""
    per_image = {"itl": 4.0, "transfer": 1.3, "software": 1.0, "ann": 0.8}[config.mode] + 1.5 * bool(config.rotation)
    return per_image * ((config.limit or 60_000) / 60_000)
