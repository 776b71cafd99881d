"""What a computer may lack, and how to have it: ``@pytest.mark.needs("espeak-ng")`` skips a test where it is not.

``BSS2LAB_TEST_BARE=1`` hides all of it, also what is installed: the suite must pass on a bare machine.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numba
import pytest
import torch

from bss2lab.datasets import catalogue, files

BARE = os.environ.get("BSS2LAB_TEST_BARE") == "1"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PEERS = ("snntorch", "norse", "spikingjelly")


@dataclass(frozen=True)
class Need:
    """One thing.

    Attributes:
        how: what brings it.
        here: is it on this computer?
    """

    how: str
    here: Callable[[], bool]


def imported(name: str) -> Any:
    """Return a package, or None where it or what it needs is missing."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        return None


def package(*names: str) -> Callable[[], bool]:
    return lambda: all(importlib.util.find_spec(name) is not None for name in names)


def fashion_package() -> bool:
    folder = catalogue.entry("fashion").system
    return folder is not None and all((folder / file.name).is_file() for file in catalogue.FASHION.files)


NEEDS = {
    "Fashion-MNIST": Need(
        "apt-get install dataset-fashion-mnist, or bss2lab data fetch fashion",
        lambda: not BARE and None not in files.locate("fashion").values(),
    ),
    "Debian's Fashion-MNIST": Need("apt-get install dataset-fashion-mnist", fashion_package),
    "espeak-ng": Need("apt-get install espeak-ng", lambda: shutil.which("espeak-ng") is not None),
    "chromium": Need("apt-get install chromium", lambda: any(map(shutil.which, CHROMIUM))),
    **{
        name: Need(f"pip install {name}", package(name))
        for name in ("playwright", "dask", "distributed", "lauscher", "tonic")
    },
    "soundfile": Need("pip install soundfile", lambda: imported("soundfile") is not None),
    "the bench's peers": Need("make bench", package(*PEERS)),
    "a GPU": Need("a computer with a GPU that PyTorch can use", torch.cuda.is_available),
    "two cores": Need("a computer with two cores", lambda: numba.config.NUMBA_NUM_THREADS > 1),
    "POSIX": Need("Linux or macOS", lambda: os.name == "posix"),
    "a small disk": Need("Linux, and root who may mount", lambda: not BARE and sys.platform == "linux" and ROOT),
    "an ordinary user": Need("run as another user than root", lambda: os.name == "posix" and not ROOT),
    "the real chip's arrays": Need(
        "BSS2LAB_REFERENCE=FOLDER (README, Bring your own chip)", lambda: "BSS2LAB_REFERENCE" in os.environ
    ),
    "real samples of SHD": Need(
        "BSS2LAB_REFERENCE_SPEECH=FILE.npz (CONTRIBUTING)", lambda: "BSS2LAB_REFERENCE_SPEECH" in os.environ
    ),
}


def require(name: str) -> None:
    """Skip the present test unless a thing is here."""
    if not NEEDS[name].here():
        pytest.skip(f"needs {name}: {NEEDS[name].how}")


def summary(reasons: Iterable[str]) -> str:
    """Return the one line that says what was not run, and how it is."""
    counts = collections.Counter(
        reason.removeprefix("Skipped: ").removeprefix("needs ").split(":")[0] for reason in reasons
    )
    what = ", ".join(f"{name} {n}" for name, n in counts.most_common())
    return f"{counts.total()} skipped, for want of: {what}. `.ci/run` installs what it can and runs them too."
