"""``bss2lab lab``: JupyterLab on the notebooks."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from bss2lab.errors import InputError, complain


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.add_argument("folder", nargs="?", type=Path, help="folder to open (default: nbs/ here or in the repository)")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start JupyterLab; returns when it ends."""
    if importlib.util.find_spec("jupyterlab") is None:
        text = complain("bss2lab lab", expected="JupyterLab", got="none", fix="pip install 'bss2lab[lab]'")
        raise InputError(text)
    repository = Path(__file__).resolve().parents[2] / "nbs"
    places = [arguments.folder] if arguments.folder else [Path("nbs"), repository]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        got = ", ".join(str(place) for place in places)
        raise InputError(complain("folder", expected="one with notebooks", got=f"nothing at {got}", fix="name it"))
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(folder)])
