"""``bss2lab lab``: JupyterLab on the notebooks; away from a checkout, on a copy of them."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from bss2lab import bundle, warm
from bss2lab.errors import DataError, InputError, complain
from bss2lab.storage import write_atomically

COPIES = Path("bss2lab-notebooks")
"""Folder for copies of the notebooks, below the current one."""


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.description = (
        "Open JupyterLab on the notebooks: nbs/ here or in the checkout; away from one, a copy of them in "
        f"{COPIES}/. What stands behind -- goes to JupyterLab: bss2lab lab -- --no-browser --port 9999"
    )
    p.add_argument("words", nargs="*", metavar="FOLDER", help="folder to open")
    p.add_argument("--copy", nargs="?", const=COPIES, type=Path, metavar="DIR",
                   help=f"copy the notebooks into DIR (default {COPIES}), except those that are there")  # fmt: skip
    p.add_argument("--no-open", action="store_true", help="only copy")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start JupyterLab; returns when it ends."""
    words = [word for word in arguments.words if word != "--"]
    named = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    if named and arguments.copy:
        fix = "leave one of them out"
        raise InputError(complain("folder", expected="FOLDER or --copy DIR", got="both", fix=fix))
    if named and not named.is_dir():
        raise InputError(complain("folder", expected="one with notebooks", got=f"nothing at {named}", fix="name one"))
    if not arguments.no_open and importlib.util.find_spec("jupyterlab") is None:
        text = complain("bss2lab lab", expected="JupyterLab", got="none", fix="pip install 'bss2lab[lab]'")
        raise InputError(text)
    folder = named or (copy_to(arguments.copy) if arguments.copy else _usual() or _offered())
    if folder is None or arguments.no_open:
        return 0
    warm.start()
    child = subprocess.Popen([sys.executable, "-m", "jupyterlab", *words, str(folder)])
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # JupyterLab has it from the terminal too: it asks, and ends by itself
            continue


def copy_to(folder: Path) -> Path:
    """Copy the notebooks into a folder and return it. A file that is there is kept, and named if it differs.

    Raises:
        DataError: if the package has no notebooks.
        OSError: naming the file, if something cannot be written.
    """
    source, kept = bundle.path("nbs"), []
    if not source.is_dir():
        raise DataError(complain("notebooks", expected=f"{source}", got="none", fix=bundle.restore("nbs")))
    for file in sorted([*source.glob("*.ipynb"), source / "README.md"]):
        target = folder / file.name
        if not target.exists():
            write_atomically(target, file.read_bytes())
        elif not target.is_file() or target.read_bytes() != file.read_bytes():
            kept.append(file.name)
    print(f"notebooks: {folder}")
    if kept:
        print(f"kept as they are, though the package's differ: {', '.join(kept)}")
    return folder


def _usual() -> Path | None:
    """Return the notebooks here, those of the checkout, or copies that were made before."""
    checkout = bundle.checkout()
    here = Path("nbs")
    if (here / "00_tour.ipynb").is_file():  # (other projects have an nbs/ too)
        return here
    places = [*([checkout / "nbs"] if checkout else []), COPIES]
    return next((place for place in places if place.is_dir()), None)


def _offered() -> Path | None:
    """Ask whether to copy the notebooks; None: no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fix = "--copy [DIR] copies those of the package and opens them; or name a FOLDER"
        got = f"neither nbs nor {COPIES} in {Path.cwd()}"
        raise InputError(complain("folder", expected="one with notebooks", got=got, fix=fix))
    try:
        answer = input(f"copy the notebooks into ./{COPIES} and open them? [Y/n] ").strip().lower()
    except EOFError:
        answer = "n"
    return copy_to(COPIES) if answer in ("", "y", "yes") else None
