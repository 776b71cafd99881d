"""The command line. Only the module of the command that runs is imported: ``bss2lab --help`` needs no package."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from bss2lab.cli import text
from bss2lab.cli.packages import broken_package
from bss2lab.errors import Bss2Error, SoundWarning, WeightsWarning
from bss2lab.version import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "train on MNIST in the loop, print results, draw figure 3A and 3B",
    "train": "train a network on the emulated chip, in software, or as an ANN",
    "classify": "let a trained network hear a sound file",
    "chip": "look at, measure, calibrate or decalibrate an emulated chip",
    "figure": "draw a panel of the paper as PNG",
    "study": "run a study of the paper and print its table",
    "bench": "time the package, as ratios measured interleaved in one run",
    "data": "list, fetch, verify or make the data sets",
    "warm": "compile the kernels ahead of their first use",
    "lab": "open JupyterLab on the notebooks",
}
"""Every sub-command, with its line in the help. It lives in a module of its name, whose ``add`` fills its parser."""

_COMPILING = ("demo", "train")
"""Commands that need kernels so surely that these are compiled in the background while the command is loaded."""

_CUT_OFF = 141
"""What a shell reports of a tool whose reader has gone (128 + SIGPIPE): not 0, for not everything was written."""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the argument parser; of the sub-commands, only ``command`` has its options."""
    top = argparse.ArgumentParser(prog="bss2lab", description="An emulated BrainScaleS-2 chip that learns.")
    top.add_argument("--version", action="version", version=f"bss2lab {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        p = commands.add_parser(name, help=line)
        if name == command:
            import_module(f"bss2lab.cli.{name}").add(p)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 done, 1 a file is not in order, 2 bad input or a broken package, 130 stopped, 141 nobody
        reads the output any more (``| head``).
    """
    words = sys.argv[1:] if argv is None else list(argv)
    text.prepare()
    try:
        try:
            _compile_ahead(words)
            arguments = parser(next((word for word in words if word != "--"), None)).parse_args(words)
            with _plain_warnings():
                return arguments.run(arguments)
        finally:
            text.flush()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        cut_off = isinstance(error, BrokenPipeError) and text.readers_gone()
        text.discard()
        if cut_off:
            return _CUT_OFF
        line = broken_package(error) or _in_words(error)
        if line is None:
            raise
        with contextlib.suppress(OSError):
            print(f"bss2lab: {line}", file=sys.stderr)
        text.discard()
        return 2


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Let our own warnings be one line on standard error, without a place in the code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def ours(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, (SoundWarning, WeightsWarning)):
                print(f"bss2lab: {message}", file=sys.stderr)
            else:
                show(message, category, *rest)

        warnings.showwarning = ours  # type: ignore[assignment]
        yield


def _compile_ahead(words: Sequence[str]) -> None:
    if not words or words[0] not in _COMPILING or {"-h", "--help", "ann"} & set(words):
        return
    with contextlib.suppress(Exception):  # the command itself says what is wrong
        from bss2lab import warm

        warm.start(("words", "chip") if {"speech", "shd"} & set(words) else warm.FIRST)


def _in_words(error: Exception) -> str | None:
    """Return the text of an error that is meant for the user; None if it is a fault of the program."""
    if not isinstance(error, (Bss2Error, OSError)):
        return None
    own = isinstance(error, OSError) and error.filename is None and error.strerror  # (without "[Errno 28] ")
    return own or str(error)
