"""Where the files are that come with the package: data sets, saved results, networks, notebooks.

In a checkout they are the repository's own folders ``data/`` and ``nbs/``; an installed wheel carries copies of them.
"""

from __future__ import annotations

from pathlib import Path

from bss2lab.errors import DataError, complain

_PACKAGE = Path(__file__).resolve().parent
_CARRIED = _PACKAGE / "bundled"


def checkout() -> Path | None:
    """Return the folder of the checkout that the package runs from; None if it was installed from a wheel."""
    root = _PACKAGE.parent
    return root if not _CARRIED.is_dir() and (root / "pyproject.toml").is_file() else None


def path(name: str) -> Path:
    """Return where a file or folder that comes with the package lies. Does not look whether it is there.

    Args:
        name: its path in the repository, ``data/…`` or ``nbs``, with slashes on every system.
    """
    return (checkout() or _CARRIED) / name


def find(name: str) -> Path:
    """Return a file or folder: the user's own below the current folder if there is one, else the package's.

    Args:
        name: its path in the repository, such as ``data/results/fig3b.json``.

    Raises:
        DataError: if it is in neither place.
    """
    places = [Path.cwd() / name, path(name)]
    for place in places:
        if place.exists():
            return place
    got = f"nothing at {' or '.join(map(str, dict.fromkeys(places)))}"
    raise DataError(complain(name, expected="a file of your own or the package's", got=got, fix=restore(name)))


def results(*, write: bool = False) -> Path:
    """Return the folder of the results that were computed at full scale, which the notebooks draw.

    Args:
        write: new results are going to be written: away from a checkout the folder is ``data/results`` below the
            current one, so that an installed package stays as it is.
    """
    return Path.cwd() / "data" / "results" if write and checkout() is None else path("data/results")


def restore(name: str) -> str:
    """Say how to get back a file or folder that came with the package and is missing or damaged."""
    root = checkout()
    if root is not None and (root / ".git").exists():
        return f"it comes with the repository: `git checkout {name}`"
    return "it comes with the package: install bss2lab anew"
