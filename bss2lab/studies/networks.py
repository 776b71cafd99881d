"""Trained networks on their way to and from files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter

from bss2lab import arrayfile
from bss2lab.errors import DataError, complain
from bss2lab.learners.start import check_start
from bss2lab.results import Epoch, versions
from bss2lab.settings import SpeechConfig, TrainConfig, config_of
from bss2lab.storage import write_atomically
from bss2lab.types import RecurrentWeights, Weights

C = TypeVar("C", TrainConfig, SpeechConfig)
W = TypeVar("W", Weights, RecurrentWeights)


@dataclass(frozen=True, slots=True, eq=False)
class Trained(Generic[C, W]):
    """A finished training.

    Attributes:
        config: what was run.
        epochs: one record per epoch.
        weights: the final weights in model units (of the ANN without its biases).
    """

    config: C
    epochs: tuple[Epoch, ...]
    weights: W

    @property
    def final(self) -> Epoch:
        """The last epoch."""
        return self.epochs[-1]


_EPOCHS = TypeAdapter(tuple[Epoch, ...])

ImageNetwork = Trained[TrainConfig, Weights]
SpeechNetwork = Trained[SpeechConfig, RecurrentWeights]


def save_network(path: Path, network: Trained[Any, Any]) -> None:
    """Write a trained network (configuration, epochs, versions, weights) to a safetensors file, whole or not at all."""
    body = {"config": network.config.model_dump(mode="json"), "versions": versions()}
    body["epochs"] = [asdict(epoch) for epoch in network.epochs]
    write_atomically(path, arrayfile.pack(body, network.weights._asdict()))


def load_network(path: Path) -> Trained[Any, Any]:
    """Read a trained network back.

    Raises:
        DataError: if the file is missing or no such network.
    """
    try:
        body, arrays = arrayfile.unpack(path)
        config: Any = config_of(body["config"])
        kind = RecurrentWeights if isinstance(config, SpeechConfig) else Weights
        weights: Any = kind(*(arrays[name] for name in kind._fields))
        check_start(config, weights)
        for name, w in weights._asdict().items():
            if w.dtype != np.float32 or not np.isfinite(w).all():
                raise ValueError(f"{name} weights: expected finite float32, got {w.dtype}, or NaN or infinity")
        return Trained(config, _EPOCHS.validate_python(body["epochs"]), weights)
    except arrayfile.DAMAGE as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        fix = "make it with `bss2lab study NAME --full --network FILE`"
        raise DataError(complain(str(path), expected="a trained network", got=got, fix=fix)) from None
