"""Results at full scale that come with the repository."""

from __future__ import annotations

from pathlib import Path

from bss2lab.errors import DataError, complain

SPEECH_NETWORK = "fig5_network.safetensors"
"""A network trained on words on the emulated chip, with augmentation."""

IMAGE_NETWORK = "fig3b_network.safetensors"
"""A network trained on MNIST on the emulated chip."""

ANATOMY = "injection_anatomy.json"
"""What injection does to the gradient, at full scale."""

_FOLDER = Path("data/results")


def shipped(name: str) -> Path:
    """Return where a file of ``data/results/`` is: below the current folder, or in the repository.

    Raises:
        DataError: if it is in neither.
    """
    places = [root / _FOLDER / name for root in (Path.cwd(), Path(__file__).resolve().parents[3])]
    for place in places:
        if place.is_file():
            return place
    fix = "run within a checkout of the repository, or pass your own"
    raise DataError(complain(str(_FOLDER / name), expected="the file", got="nothing", fix=fix))
