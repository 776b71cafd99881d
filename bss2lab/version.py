"""Version of the package, and of its numbers."""

import platform
import sys
from importlib import metadata
from pathlib import Path

__version__ = "0.1.0"

NUMERICS = 5
"""Raised whenever a change moves a result; CHANGELOG.md says under *Numerics* what moved."""


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("numpy", "scipy", "torch", "numba")
    return {
        "bss2lab": __version__,
        "numerics": str(NUMERICS),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
        "machine": f"{platform.machine()} {sys.platform}",
    }


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
