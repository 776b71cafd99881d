"""``--json``: the record of a command, in a file or on standard output (the table then goes to standard error)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, TextIO

from bss2lab.errors import InputError, complain
from bss2lab.results import to_json
from bss2lab.storage import check_writable, write_atomically

_STDOUT = "-"


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    text = "write the full record here (no FILE, or -: to standard output)"
    parser.add_argument("--json", nargs="?", const=_STDOUT, metavar="FILE", help=text)


def json_path(arguments: argparse.Namespace) -> Path | None:
    """Return the file that the record goes to; None if it goes to standard output or nowhere."""
    return None if arguments.json in (None, _STDOUT) else Path(arguments.json)


def check_json(arguments: argparse.Namespace) -> None:
    """Find out before any work whether the record can be written.

    Raises:
        InputError: if the file is there and its name does not end in .json: ``--json a.wav`` was hardly meant.
        OSError: if the place cannot be written to.
    """
    path = json_path(arguments)
    if path is None:
        return
    if path.is_file() and path.suffix != ".json":
        fix = "name another file; for standard output, write --json after everything else"
        raise InputError(
            complain("--json", expected="a new file, or one that ends in .json", got=f"{path}, which is there", fix=fix)
        )
    check_writable(path)


def table_stream(arguments: argparse.Namespace) -> TextIO:
    """Return where the table for people goes."""
    return sys.stderr if arguments.json == _STDOUT else sys.stdout


def write_json(arguments: argparse.Namespace, record: dict[str, Any]) -> None:
    """Write the record, if it was asked for: in UTF-8, whatever the terminal's encoding."""
    if arguments.json is None:
        return
    path, content = json_path(arguments), to_json(record).encode("utf-8", "backslashreplace")  # (\\udcff is good JSON)
    if path is not None:
        write_atomically(path, content)
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content.decode("utf-8"))
