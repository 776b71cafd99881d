"""What of this machine the process may use: cores and memory, as affinity and a container's limits leave them.

On Linux a container's limits are files of its control group (cgroup) and of the groups that this one lies in, version 2
or 1. Whatever cannot be read is no limit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_NO_LIMIT = 2.0**60
"""A number of bytes beyond this is version 1's way to say that there is no limit."""


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many threads this process can keep busy: its cores, or a container's quota, rounded down; at least 1.

    Args:
        root: folder in which ``proc`` and ``sys`` lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = core_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota)))


def core_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' time a container allows, or None if it sets no limit.

    Args:
        root: folder in which ``proc`` and ``sys`` lie.
    """
    found = [_share(_words(group / "cpu.max")) for group in _groups(root, "")]
    for group in _groups(root, "cpu"):
        found.append(_share(_words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")))
    return min((share for share in found if share is not None), default=None)


def usable_memory_mb(root: Path = _ROOT) -> float | None:
    """Return the memory that this process may use, MB: the machine's, or a container's limit; None if unknown.

    Args:
        root: folder in which ``proc`` and ``sys`` lie.
    """
    found = [_number(_words(group / "memory.max")) for group in _groups(root, "")]
    found += [_number(_words(group / "memory.limit_in_bytes")) for group in _groups(root, "memory")]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # a system that cannot be asked
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min((size / 2**20 for size in found if size is not None and 0 < size < _NO_LIMIT), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process' group and of all above it, as far as they can be seen from here.

    Args:
        root: folder in which ``proc`` and ``sys`` lie.
        controller: of version 1; empty: version 2.
    """
    group = _group(root, controller)
    for where, mounted in _mounts(root, controller):
        try:
            inside = group.relative_to(where)
        except ValueError:  # a container's own view: its group is mounted, and is named as seen from outside
            inside = PurePosixPath()
        place = root / mounted.relative_to("/")
        yield place
        for part in inside.parts:
            place /= part
            yield place


def _group(root: Path, controller: str) -> PurePosixPath:
    """Return the name of this process' group."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if (number == "0" and not names) if not controller else controller in names.split(","):
            return PurePosixPath(path or "/")
    return PurePosixPath("/")


def _mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Yield which group is mounted where."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3 or not words[4].startswith("/"):
            continue
        if kind[0] == "cgroup2" if not controller else kind[0] == "cgroup" and controller in kind[2].split(","):
            yield PurePosixPath(words[3]), PurePosixPath(words[4])


def _share(words: list[str]) -> float | None:
    """Return quota / period, both in µs; None if there is no quota."""
    quota, period = _number(words[:1]), _number(words[1:2])
    return quota / period if quota is not None and period is not None and quota > 0 and period > 0 else None


def _number(words: list[str]) -> float | None:
    """Return the only word as a number; None if it is none ("max", an empty file)."""
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
