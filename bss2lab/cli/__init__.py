"""The command line: ``bss2lab train | classify | chip | figure | study | bench | data | lab``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bss2lab.cli import bench, chip, classify, data, figure, lab, study, train
from bss2lab.errors import Bss2Error
from bss2lab.version import __version__

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """Build the argument parser; every sub-command lives in a module of its own."""
    top = argparse.ArgumentParser(prog="bss2lab", description="An emulated BrainScaleS-2 chip that learns.")
    top.add_argument("--version", action="version", version=f"bss2lab {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (train, classify, chip, figure, study, bench, data, lab):
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 1 a file is not in order, 2 bad input, 130 stopped."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (Bss2Error, OSError) as error:
        own = isinstance(error, OSError) and error.filename is None and error.strerror  # (without "[Errno 28] ")
        print(f"bss2lab: {own or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
