"""Results at full scale that come with the package."""

from __future__ import annotations

from pathlib import Path

from bss2lab import bundle

IMAGES = "fig3b_network.safetensors"
"""A network trained on MNIST on the emulated chip (figure 3B)."""

SPEECH = "fig5_network.safetensors"
"""A network trained on synthetic speech on the emulated chip, with augmentation (figure 5)."""

ANATOMY = "injection_anatomy.json"
"""What injection does to the gradient."""


def shipped(name: str) -> Path:
    """Return where a file of ``data/results/`` is: the user's own below the current folder, or the package's.

    Raises:
        DataError: if it is nowhere.
    """
    return bundle.find(f"data/results/{name}")
