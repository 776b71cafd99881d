"""Results at full scale that come with the repository."""

from __future__ import annotations

from pathlib import Path

from bss2lab.errors import DataError, complain

IMAGES = "fig3b_network.safetensors"
"""A network trained on MNIST on the emulated chip (figure 3B)."""

SPEECH = "fig5_network.safetensors"
"""A network trained on synthetic speech on the emulated chip, with augmentation (figure 5)."""

ANATOMY = "injection_anatomy.json"
"""What injection does to the gradient."""

_FOLDER = Path("data") / "results"


def shipped(name: str) -> Path:
    """Return where a file of ``data/results/`` is: in the repository, or below the current folder or one above it.

    Raises:
        DataError: if it is nowhere.
    """
    places = [Path(__file__).resolve().parents[3], Path.cwd(), *Path.cwd().parents]
    found = next((path for place in places if (path := place / _FOLDER / name).is_file()), None)
    if found is None:
        fix = "run within a checkout of the repository, or pass your own"
        raise DataError(complain(str(_FOLDER / name), expected="the file", got="nothing", fix=fix))
    return found
