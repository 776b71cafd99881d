"""What models of networks on chips have in common: the network they are handed, test samples, waiting."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.datasets import speech, vision
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import DataError, InputError, complain
from bss2lab.lab.models.base import ViewModel
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.studies.networks import Trained, load_network

NETWORK = Path("data") / "results" / "fig3b_network.safetensors"
"""Network trained in the loop at full length; it comes with the repository."""

Given = Trained[Any, Any] | Path | str | None


def network_of(given: Given) -> Trained[Any, Any]:
    """Return a trained network.

    Args:
        given: the network, or a file of one; None: the one that comes with the repository.

    Raises:
        DataError: if the file is missing or no network.
        InputError: if it is something else.
    """
    if isinstance(given, Trained):
        return given
    if given is not None and not isinstance(given, str | Path):
        want, got = "a trained network or the path of one", type(given).__name__
        raise InputError(complain("network", expected=want, got=got, fix="pass a file or a Trained"))
    if given is not None:
        return load_network(Path(given))
    places = [Path(__file__).parents[3], Path.cwd(), *Path.cwd().parents]
    found = next((place / NETWORK for place in places if (place / NETWORK).is_file()), None)
    if found is None:
        want, fix = f"{NETWORK} of the repository", "pass network=FILE"
        raise DataError(complain("network", expected=want, got="none found", fix=fix))
    return load_network(found)


def settle(model: ViewModel, timeout_s: float) -> bool:
    """Wait until all that a model computes is done (or paused); False if the time ran out first."""
    end = time.monotonic() + timeout_s
    for task in model.engine.tasks:
        if task.key.split("/")[0] == model.key and task.state == "running":
            task.wait(max(0.0, end - time.monotonic()))
    left = [t for t in model.engine.tasks if t.key.split("/")[0] == model.key and t.state == "running"]
    return not left or (time.monotonic() < end and settle(model, end - time.monotonic()))


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
