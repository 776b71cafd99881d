"""Figure 3, MNIST: snapshots of single images (A) and the course of training (B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError, complain
from bss2lab.inputs import encode
from bss2lab.results import Epoch
from bss2lab.settings import TrainConfig
from bss2lab.studies.observation import Observation, observe
from bss2lab.types import Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots(Observation):
    """Figure 3A: how a trained network answers to single images.

    Attributes:
        pixels: the images, [image, 16, 16].
        labels: true classes, [image].
    """

    pixels: UInt8[ndarray, "b 16 16"]
    labels: Int64[ndarray, "b"]


def snapshots(
    config: TrainConfig, weights: Weights, images: vision.ImageSet, *, chip: Chip | None = None, noise_seed: int = 0
) -> Snapshots:
    """Run a few images and keep all that figure 3A shows.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        images: the images, usually three.
        chip: where to run them; None: in the software model.
        noise_seed: seed of the trial-to-trial noise.
    """
    samples = encode(images, config)
    seen = observe(config, weights, samples, chip=chip, noise_seed=noise_seed)
    shown = {field.name: getattr(seen, field.name) for field in fields(seen)}
    return Snapshots(**shown, pixels=samples.pixels.reshape(images.prepare().shape), labels=samples.labels)


def first_of_each(images: vision.ImageSet, classes: Sequence[int]) -> vision.ImageSet:
    """Return the first image of each of these classes.

    Raises:
        InputError: if a class has no image.
    """
    index = []
    for c in classes:
        where = np.flatnonzero(images.labels == c)
        if len(where) == 0:
            got = f"{len(images)} images without one"
            raise InputError(complain(f"class {c}", expected="at least one image", got=got, fix="load more images"))
        index.append(where[0])
    return images.subset(np.array(index))


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurves:
    """Figure 3B: loss and accuracy over the epochs, one row per initialisation.

    Attributes:
        epochs: epoch numbers, [epoch].
        loss: [seed, epoch].
        train_accuracy, test_accuracy: fractions, [seed, epoch].
        emulated: was the forward pass on the emulated chip?
    """

    epochs: Int64[ndarray, "e"]
    loss: Float32[ndarray, "s e"]
    train_accuracy: Float32[ndarray, "s e"]
    test_accuracy: Float32[ndarray, "s e"]
    emulated: bool


def learning_curves(runs: Sequence[Sequence[Epoch]], *, emulated: bool) -> LearningCurves:
    """Gather runs of equal length.

    Raises:
        InputError: if there is no run, or no epoch that all of them have.
    """
    n = min((len(run) for run in runs), default=0)
    if n == 0:
        raise InputError(complain("runs", expected="at least one finished epoch", got="none", fix="train first"))

    def table(field: str) -> ndarray:
        return np.array([[getattr(e, field) for e in run[:n]] for run in runs], dtype=np.float32)

    return LearningCurves(
        epochs=np.arange(1, n + 1),
        loss=table("loss"),
        train_accuracy=table("train_accuracy"),
        test_accuracy=table("held_out_accuracy"),
        emulated=emulated,
    )
