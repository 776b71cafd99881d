"""Where the JupyterLab runs that started this kernel, and which widget front ends it has.

A kernel cannot ask the page. But the server is one of the processes above the kernel's; the command that started it
tells which environment it runs in, and the front ends lie in that environment, or in the user's or the system's folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

_SERVER = re.compile(
    r"(jupyter[-_]?(lab|server|notebook|labhub|nbclassic)|jupyterhub[-_]singleuser|notebook|nbclassic|voila)([._-]|$)"
)
"""How the programs are named that serve notebooks: as a command, or behind ``python -m``."""

_NAMED_WITHIN = 5
"""Among so many first words of a command."""


_SYSTEM = (Path("/usr/local/share/jupyter"), Path("/usr/share/jupyter"))


@dataclass(frozen=True, slots=True)
class Process:
    """A process above this one.

    Attributes:
        pid: its number.
        command: the words that started it.
        folder: where it runs.
        path: where it looks for programs.
    """

    pid: int
    command: tuple[str, ...]
    folder: str = ""
    path: str = ""


def ancestors() -> tuple[Process, ...]:
    """Return the processes above this one, the nearest first."""
    try:
        import psutil  # comes with ipykernel

        above = psutil.Process().parents()
    except Exception:  # (missing, broken, or forbidden: then nothing is known)
        return ()
    found = []
    for one in above:
        try:
            told = one.as_dict(["cmdline", "cwd", "environ"])  # (None for what is forbidden)
        except (psutil.Error, OSError):  # it has ended
            continue
        path = (told["environ"] or {}).get("PATH", "")
        found.append(Process(one.pid, tuple(told["cmdline"] or ()), told["cwd"] or "", path))
    return tuple(found)


def server_above(processes: Iterable[Process]) -> Process | None:
    """Return the nearest process that serves notebooks, or None: by its command, or by the file that it writes."""
    known = _registered()
    return next((one for one in processes if one.pid in known or _serves(one.command)), None)


def prefix_of(process: Process) -> Path | None:
    """Return the Python environment in which a process runs, or None if its command does not tell."""
    for word in process.command[:2]:  # the interpreter, and the script that it runs
        place = Path(process.folder, word) if PurePath(word).name != word else None
        if place is None and word == process.command[0]:
            which = shutil.which(word, path=process.path)
            place = Path(process.folder, which) if which else None
        if place is None or not place.is_file():
            continue
        prefix = place.parent.parent if place.parent.name.lower() in ("bin", "scripts") else place.parent
        if any((prefix / name).exists() for name in ("pyvenv.cfg", "bin/python", "bin/python3", "python.exe")):
            return prefix
    return None


def extension(name: str, prefix: Path) -> str | None:
    """Return the version of a front end that a JupyterLab in an environment finds, or None if there is none.

    Args:
        name: as on the page, ``"anywidget"``.
        prefix: the environment.
    """
    for place in _places(prefix):
        try:
            return str(json.loads((place / "labextensions" / name / "package.json").read_text("utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def here() -> Path:
    """Return the environment of this Python."""
    return Path(sys.prefix)


def same(one: Path, other: Path) -> bool:
    """Are two folders one, whatever links lead there?"""
    return os.path.realpath(one) == os.path.realpath(other)


def _serves(command: Sequence[str]) -> bool:
    return any(_SERVER.match(PurePath(word).name) for word in command[:_NAMED_WITHIN])


def _registered() -> set[int]:
    """Return the numbers of the processes that have registered as Jupyter servers."""
    folder = Path(os.environ.get("JUPYTER_RUNTIME_DIR") or _user_folder() / "runtime")
    numbers = (re.fullmatch(r"(?:jp|nb)server-(\d+)\.json", file.name) for file in folder.glob("*server-*.json"))
    return {int(number[1]) for number in numbers if number}


def _places(prefix: Path) -> list[Path]:
    """Return the folders in which Jupyter looks for what is installed."""
    named = [Path(folder) for folder in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if folder]
    return [*named, prefix / "share/jupyter", _user_folder(), *_SYSTEM]


def _user_folder() -> Path:
    """Return the user's folder of Jupyter's data."""
    if folder := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(folder)
    try:
        from jupyter_core.paths import jupyter_data_dir  # comes with ipykernel

        return Path(jupyter_data_dir())
    except Exception:  # (missing or broken: where it lies on Linux)
        return Path(os.path.expanduser("~/.local/share/jupyter"))
