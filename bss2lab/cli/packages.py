"""A package that is missing, broken, or does not fit the others: said in one line."""

from __future__ import annotations

import traceback
from importlib import metadata
from types import FrameType

from bss2lab.errors import complain

_LONGEST = 300


def broken_package(error: Exception) -> str | None:
    """Say which package could not be imported, its version and the fix; None if the error is of another kind.

    Whatever kind of error it is: a package raises ImportError, AttributeError, SystemError, OSError … on import.
    """
    name = _asked_for(error)
    if name is None:
        cause = error.__cause__ if isinstance(error, ImportError) else None  # (of a module loaded when asked for)
        return broken_package(cause) if isinstance(cause, Exception) else None
    package, version = _installed(name)
    got = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST].rstrip(".: ")
    fix = f"pip install -U {package}"
    return complain(f"{package} {version}".rstrip(), expected="a package that can be imported", got=got, fix=fix)


def _asked_for(error: Exception) -> str | None:
    """Return the package that this one imported when the error came; None if it did something else."""
    named = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frames = [frame for frame in frames if not frame.f_code.co_filename.startswith("<frozen importlib")]
    ours = [at for at, frame in enumerate(frames) if _package(frame) == "bss2lab"]
    if not ours or named == "bss2lab":
        return None
    inner = frames[ours[-1] + 1 :]
    if inner and (inner[0].f_code.co_name == "<module>" or isinstance(error, ImportError)):
        return _package(inner[0])
    return named or None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _installed(name: str) -> tuple[str, str]:
    """Return what pip calls a module's package, and its version ("" if it is not installed)."""
    try:
        return name, metadata.version(name)
    except metadata.PackageNotFoundError:
        packages = metadata.packages_distributions().get(name)
        return (packages[0], metadata.version(packages[0])) if packages else (name, "")
