"""Figure 3, MNIST: snapshots of single images (A) and the course of training (B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError, complain
from bss2lab.inputs import encode
from bss2lab.results import Epoch
from bss2lab.settings import TrainConfig
from bss2lab.studies.observation import observe
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots:
    """Figure 3A: how a trained network answers to single images.

    Attributes:
        pixels: the images, [image, 16, 16].
        labels, decisions: true class and the network's, [image].
        input_spikes: input events.
        hidden_spikes: hidden events; from the chip with 8 ns time stamps, from the model on its time grid.
        time_us: time of the read-out samples after the start of the image, µs, [time].
        readout: output membranes in model units, [image, time, output].
        limits: range of the ADC in model units, or None for the software model.
        emulated: do the spikes and traces come from the emulated chip?
    """

    pixels: UInt8[ndarray, "b 16 16"]
    labels: Int64[ndarray, "b"]
    decisions: Int64[ndarray, "b"]
    input_spikes: Spikes
    hidden_spikes: Spikes
    time_us: Float32[ndarray, "t"]
    readout: Float32[ndarray, "b t o"]
    limits: tuple[float, float] | None
    emulated: bool


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
    return Snapshots(
        pixels=samples.pixels.reshape(images.prepare().shape),
        labels=samples.labels,
        decisions=seen.decisions,
        input_spikes=seen.input_spikes,
        hidden_spikes=seen.hidden_spikes,
        time_us=seen.time_us,
        readout=seen.readout,
        limits=seen.limits,
        emulated=seen.emulated,
    )


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
