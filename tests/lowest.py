"""Print, one a line, the oldest versions that pyproject.toml allows of what core and lab need (`make test-lowest`).

What these need in turn is as new as they allow, but for ``HELD_BACK``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HELD_BACK: dict[str, str] = {}
"""Further packages that must not be the newest: requirement -> why."""


def lowest() -> list[str]:
    """Return ``name==version`` of every requirement of core and lab."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = []
    for line in [*project["dependencies"], *project["optional-dependencies"]["lab"]]:
        match = re.fullmatch(r"([\w.-]+)>=([\d.]+)(?:,<[\d.]+)?", line)
        if match is None:
            raise SystemExit(f"pyproject.toml: expected name>=version or name>=version,<version, got {line}")
        pins.append(f"{match[1]}=={match[2]}")
    return pins


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        raise SystemExit("the oldest packages exist for Python 3.11 alone: make test-lowest PYTHON=python3.11")
    print("\n".join([*lowest(), *HELD_BACK]))
