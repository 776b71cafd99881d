"""What a run trains on and is tested on: images or spoken words, loaded, split, and encoded as spikes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from bss2lab.datasets import encoding, speech, vision
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import InputError, complain
from bss2lab.learners import Samples
from bss2lab.settings import AnyConfig, SpeechConfig, TrainConfig

if TYPE_CHECKING:
    from jaxtyping import Int, UInt8
    from numpy import ndarray

_SPLIT_SEED = 6
"""Seed of the validation split: always the same images or speakers, whatever the run's seed."""

_SEEDS = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The images or words of a run.

    Attributes:
        train: the training set.
        held_out: the test set, or the validation set if the configuration asks for one.
        origin: name of the data set in the catalogue; None: your own data, or a part of one.

    Raises:
        InputError: on construction, if one of them is empty.
    """

    train: ImageSet | SpeechSet
    held_out: ImageSet | SpeechSet
    origin: str | None = None

    def __post_init__(self) -> None:
        for what, samples in (("training set", self.train), (f"{self.held_out.split} set", self.held_out)):
            if not len(samples):
                got, fix = f"none ({samples.name})", "check what was left out of it"
                raise InputError(complain(what, expected="at least one sample", got=got, fix=fix))

    @classmethod
    def load(cls, config: AnyConfig, *, progress: bool = False) -> Data:
        """Load what a configuration asks for.

        Raises:
            DataError: if a file is corrupt or cannot be had.
            InputError: if more is to be held out than there is.
        """
        sets = _words(config, progress) if isinstance(config, SpeechConfig) else _images(config, progress)
        return cls(*sets, origin=config.task)


def encode(data: ImageSet | SpeechSet, config: AnyConfig, augment: np.random.Generator | None = None) -> Samples:
    """Encode images or words as spikes, as a configuration lays them out.

    Args:
        data: what to encode.
        config: a configuration of the same kind of data.
        augment: draws the augmentation that the configuration asks for (images: rotation; words: moves to
            neighbour channels), the same whatever is encoded together; None: no augmentation.

    Raises:
        InputError: if the data are of another kind, or have more classes than the network has outputs.
    """
    if isinstance(config, SpeechConfig) and isinstance(data, SpeechSet):
        return _encode_words(data, config, augment)
    if isinstance(config, TrainConfig) and isinstance(data, ImageSet):
        return _encode_images(data, config, augment)
    want = "spoken words" if isinstance(config, SpeechConfig) else "images"
    fix = "pass a configuration of the same task"
    raise InputError(complain("data", expected=want, got=type(data).__name__, fix=fix))


def encode_pixels(pixels: UInt8[ndarray, "n h w"], labels: Int[ndarray, "n"], config: TrainConfig) -> Samples:
    """Encode images that are already reduced to the chip's inputs, as data sets are encoded.

    Args:
        pixels: grey values, [n, 16, 16], uint8.
        labels: class of each image, [n].
        config: lays out the time axis.

    Raises:
        InputError: if the images are not 8-bit, or not a stack [n, height, width].
    """
    spikes = encoding.encode(pixels, encoding.LatencyCode(duration_us=config.duration_us))
    return Samples.of(
        pixels.reshape(len(pixels), math.prod(pixels.shape[1:])), spikes, labels.astype(np.int64), config.dt_us
    )


def augments(config: AnyConfig) -> bool:
    """Does this configuration change its training samples from epoch to epoch?"""
    return bool(config.sigma_u if isinstance(config, SpeechConfig) else config.rotation)


def _images(config: TrainConfig, progress: bool) -> tuple[ImageSet, ImageSet]:
    train = vision.load(config.task, "train", progress=progress)
    if config.limit:
        train = train.take(min(config.limit, len(train)))
    if config.validation:
        return vision.split_validation(train, config.validation, seed=_SPLIT_SEED)
    test = vision.load(config.task, "test", progress=progress)
    return train, test.take(min(config.limit, len(test))) if config.limit else test


def _words(config: SpeechConfig, progress: bool) -> tuple[SpeechSet, SpeechSet]:
    train = speech.load(config.task, "train", progress=progress)
    if config.validation:
        train, held_out = speech.split_validation(train, n_speakers=config.validation, seed=_SPLIT_SEED)
    else:
        held_out = speech.load(config.task, "test", progress=progress)
    return _some(train, config.limit), _some(held_out, config.limit)


def _some(data: SpeechSet, n: int) -> SpeechSet:
    """Take ``n`` words spread evenly over the file, so that all speakers and classes occur; 0: all."""
    return data.subset(np.arange(n) * len(data) // n) if 0 < n < len(data) else data


def _encode_images(images: ImageSet, config: TrainConfig, augment: np.random.Generator | None) -> Samples:
    turn = augment is not None and config.rotation
    angles = augment.uniform(-config.rotation, config.rotation, len(images)) if augment is not None and turn else None
    return encode_pixels(images.prepare(angles), images.labels, config)


def _encode_words(words: SpeechSet, config: SpeechConfig, augment: np.random.Generator | None) -> Samples:
    if len(words.classes) > config.n_classes:
        want, fix = f"at most {config.n_classes} classes, one per output", "set n_classes"
        raise InputError(complain(words.name, expected=want, got=len(words.classes), fix=fix))
    code = speech.SpeechCode(n_steps=config.n_steps, dt_us=config.dt_us, n_channels=config.n_channels)
    jitter, seed = None, 0
    if augment is not None and config.sigma_u:
        jitter, seed = speech.ChannelJitter(sigma=config.sigma_u), int(augment.integers(_SEEDS))
    spikes = speech.encode(words, code, jitter=jitter, seed=seed)
    none = cast("ndarray", np.empty((len(words), 0), np.uint8))
    return Samples.of(none, spikes, words.labels, config.dt_us)
