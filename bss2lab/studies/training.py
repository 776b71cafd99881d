"""Training as a job: what most studies are made of. Equal trainings of different studies share their record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bss2lab.errors import CheckpointError
from bss2lab.inputs import Data
from bss2lab.results import Epoch
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import AnyConfig, TrainConfig, config_of
from bss2lab.studies.networks import ImageNetwork, Trained
from bss2lab.train import C, Run
from bss2lab.types import AnyWeights, Weights

if TYPE_CHECKING:
    from numpy import ndarray


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
    run = run_to_the_end(config.replace(threads=1), scratch)
    return Record({"epochs": [asdict(epoch) for epoch in run.epochs]}, run.learner.weights()._asdict())


def run_to_the_end(config: C, scratch: Path | None, start: AnyWeights | None = None) -> Run[C]:
    """Train; go on from the checkpoint in ``scratch`` if there is one, and begin again if it cannot be used."""
    data = data_of(config)
    try:
        run = Run(config, data, directory=scratch, resume=True, start=start)
    except CheckpointError:  # left by a kill in an older version, or damaged
        assert scratch is not None
        shutil.rmtree(scratch, ignore_errors=True)
        run = Run(config, data, directory=scratch, start=start)
    for _ in run.fit():
        pass
    return run


def trained(config: TrainConfig, record: Record) -> ImageNetwork:
    """Read a training's record."""
    epochs = tuple(Epoch(**epoch) for epoch in record.values["epochs"])
    return Trained(config, epochs, Weights(record.arrays["hidden"], record.arrays["output"]))


def train_all(configs: Sequence[TrainConfig], run: Runner, label: str) -> list[ImageNetwork]:
    """Train several networks, each a job of its own.

    Args:
        configs: the runs.
        run: does the jobs.
        label: what the batch is called in the progress bar.
    """
    records = run([training_job(config) for config in configs], label)
    return [trained(config, record) for config, record in zip(configs, records, strict=True)]


def data_of(config: AnyConfig) -> Data:
    """Load the images or words of a run; a worker process that does many runs keeps them."""
    what = config_of({"task": config.task, "limit": config.limit, "validation": config.validation})
    data = _LOADED.get(what)  # (another thread may clear it meanwhile)
    if data is None:
        _LOADED.clear()
        data = _LOADED[what] = Data.load(what)
    return data


_LOADED: dict[AnyConfig, Data] = {}


def _relative_cost(config: TrainConfig) -> float:
    """Time of an epoch, relative to a software one on the whole training set: roughly, for the estimated end."""
    per_image = {"itl": 4.0, "transfer": 1.3, "software": 1.0, "ann": 0.8}[config.mode] + 0.6 * bool(config.rotation)
    return per_image * ((config.limit or 60_000) / 60_000)
