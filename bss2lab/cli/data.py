"""``bss2lab data``: where the data sets are, and whether they are whole."""

from __future__ import annotations

import argparse
from typing import Any

from bss2lab.datasets import files
from bss2lab.datasets.catalogue import CATALOGUE


def add(commands: Any) -> None:
    """Add the sub-command."""
    p = commands.add_parser("data", help="list, fetch or verify the data sets")
    verbs = p.add_subparsers(title="verbs", required=True, metavar="VERB")
    verbs.add_parser("list", help="what is here, and where").set_defaults(run=show)
    fetch = verbs.add_parser("fetch", help="download what is missing")
    fetch.add_argument("name", help=f"data set: {', '.join(CATALOGUE)}")
    fetch.set_defaults(run=download)
    check = verbs.add_parser("verify", help="check every file byte for byte")
    check.add_argument("name", nargs="?", help="data set (default: all)")
    check.set_defaults(run=verify)


def show(_: argparse.Namespace) -> int:
    """List the files; nothing is downloaded."""
    return _print(files.listing(), failing=False)


def download(arguments: argparse.Namespace) -> int:
    """Fetch a data set into the user's cache, unless it is here."""
    for file, path in files.fetch(arguments.name).items():
        print(f"{file}  {path}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check files; return 1 if one is corrupt or missing."""
    names = [arguments.name] if arguments.name else list(CATALOGUE)
    return _print([status for name in names for status in files.verify(name)], failing=True)


def _print(statuses: list[files.FileStatus], *, failing: bool) -> int:
    for s in statuses:
        print(f"{s.dataset:<8}  {s.status:<7}  {s.where:<6}  {s.path or s.file}  {s.detail}")
    return int(failing and any(s.status != "ok" for s in statuses))
