"""``bss2lab warm``: compile the kernels ahead of their first use, for this user or for everybody."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from bss2lab import warm
from bss2lab.errors import load_module
from bss2lab.storage import check_writable, environment_cache, user_cache


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.description = (
        "The first use of a kernel compiles it, once per computer. This does it beforehand, in as many processes as "
        "there are cores. What is compiled depends on the processor: for an image, compile on the kind of processor "
        "that it will run on (elsewhere kernels are compiled again)."
    )
    names = ", ".join(f"{name} ({what})" for name, (what, _) in warm.GROUPS.items())
    p.add_argument("groups", nargs="*", metavar="GROUP", help=f"what to compile (default: all): {names}")
    p.add_argument(
        "--shared", action="store_true",
        help="for everybody who uses this Python environment: a hub's image, a lab's server",
    )  # fmt: skip
    text = "into this folder; who sets BSS2LAB_SHARED_CACHE to it uses it, and never writes to it"
    p.add_argument("--folder", type=Path, metavar="DIR", help=text)
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile; return 1 if something could not be compiled."""
    load_module("bss2lab.kernels.compiler")  # (a broken numba is named once, not by every process)
    folder = arguments.folder or (environment_cache() if arguments.shared else user_cache())
    check_writable(folder / "kernels" / "any")
    warming = warm.start(arguments.groups or list(warm.GROUPS), folder=folder, quiet=False)
    with tqdm(total=len(warming.processes), unit="process", desc="compiling", leave=False, disable=None) as bar:
        for process, _ in warming.processes:
            process.wait()
            bar.update()
    failed = warming.wait()
    if failed:
        print(f"bss2lab: not compiled: {', '.join(failed)}", file=sys.stderr)
    else:
        print(f"compiled kernels are in {folder / 'kernels'}")
    return int(bool(failed))
