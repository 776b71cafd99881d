"""What models of networks on chips have in common: the network they are handed, test samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.datasets import speech, vision
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import InputError, complain
from bss2lab.lab.models.shipped import IMAGES, shipped
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.studies.networks import Trained, load_network

Given = Trained[Any, Any] | Path | str | None


def network_of(given: Given, name: str = IMAGES) -> Trained[Any, Any]:
    """Return a trained network of spiking neurons.

    Args:
        given: the network, or a file of one; None: one that comes with the package.
        name: file name of the one that is taken for None, below ``data/results``.

    Raises:
        DataError: if the file is missing or no network.
        InputError: if it is something else, or does not spike.
    """
    if given is not None and not isinstance(given, Trained | str | Path):
        want, got = "a trained network or the path of one", type(given).__name__
        raise InputError(complain("network", expected=want, got=got, fix="pass a file or a Trained"))
    found = given if isinstance(given, Trained) else load_network(shipped(name) if given is None else Path(given))
    if found.config.mode == "ann":
        fix = "pass one that was trained in the loop"
        raise InputError(complain("network", expected="a spiking network", got="a ReLU network", fix=fix))
    return found


def held_out(config: AnyConfig) -> ImageSet | SpeechSet:
    """Return all test samples of a configuration's data set.

    Raises:
        DataError: if a file is corrupt or cannot be had.
    """
    if isinstance(config, SpeechConfig):
        return speech.load(config.task, "test", progress=False)
    return vision.load(config.task, "test")


def spread(samples: ImageSet | SpeechSet, n: int) -> ImageSet | SpeechSet:
    """Return ``n`` samples spread over the file (which may be sorted), or all if there are fewer."""
    n = min(n, len(samples))
    return samples.subset(np.arange(n) * len(samples) // n)
