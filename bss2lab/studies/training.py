"""Training as a job: what most studies are made of. Equal trainings of different studies share their record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import safetensors.numpy

from bss2lab.errors import CheckpointError, DataError, complain
from bss2lab.inputs import Data
from bss2lab.results import Epoch, versions
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.storage import write_atomically
from bss2lab.train import Run
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
    return Record({"epochs": [asdict(epoch) for epoch in run.epochs]}, run.learner.weights()._asdict())


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


def save_network(path: Path, network: Trained) -> None:
    """Write a trained network (configuration, epochs, versions, weights) to a safetensors file, whole or not at all."""
    body = {"config": network.config.model_dump(mode="json"), "versions": versions()}
    body["epochs"] = [asdict(epoch) for epoch in network.epochs]
    arrays = {name: np.ascontiguousarray(w) for name, w in network.weights._asdict().items()}
    write_atomically(path, safetensors.numpy.save(arrays, metadata={"bss2lab": json.dumps(body, allow_nan=False)}))


def load_network(path: Path) -> Trained:
    """Read a trained network back.

    Raises:
        DataError: if the file is missing or no such network.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            body = json.loads((file.metadata() or {})["bss2lab"])
            weights = Weights(*(file.get_tensor(name) for name in Weights._fields))
        config = TrainConfig(**body["config"])
        shapes = [w.shape for w in weights]
        if shapes != [(N_INPUT, config.n_hidden), (config.n_hidden, N_OUTPUT)]:
            raise ValueError(f"weights of shapes {shapes}")
        return Trained(config, tuple(Epoch(**epoch) for epoch in body["epochs"]), weights)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        fix = "make it with `bss2lab study fig3b --full --network FILE`"
        raise DataError(complain(str(path), expected="a trained network", got=got, fix=fix)) from None


def images_of(config: TrainConfig) -> Data:
    """Load the images of a run; a worker process that does many runs keeps them."""
    what = TrainConfig(task=config.task, limit=config.limit, validation=config.validation)
    data = _LOADED.get(what)  # (another thread may clear it meanwhile)
    if data is None:
        _LOADED.clear()
        data = _LOADED[what] = Data.load(what)
    return data


_LOADED: dict[TrainConfig, Data] = {}


def _relative_cost(config: TrainConfig) -> float:
    """Time of an epoch, relative to a software one on the whole training set: roughly, for the estimated end."""
    per_image = {"itl": 4.0, "transfer": 1.3, "software": 1.0, "ann": 0.8}[config.mode] + 0.6 * bool(config.rotation)
    return per_image * ((config.limit or 60_000) / 60_000)
