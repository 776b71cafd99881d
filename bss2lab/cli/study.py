"""``bss2lab study``: the numbers behind a table or a panel, over several seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bss2lab.errors import InputError, complain
from bss2lab.results import to_json
from bss2lab.storage import check_writable, write_atomically
from bss2lab.studies import anatomy as anatomy_study
from bss2lab.studies.accuracy import ROWS, accuracy, table, to_record


def add(commands: Any) -> None:
    """Add the sub-command."""
    p = commands.add_parser("study", help="train over several seeds and print a table")
    p.add_argument(
        "name", choices=("accuracy", "anatomy"),
        help="accuracy: the network in the loop and in software; anatomy: injected gradients against full knowledge",
    )  # fmt: skip
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 … N − 1 (default 3)")
    p.add_argument("--rows", type=int, nargs="+", metavar="K", help=f"accuracy: rows to run, 1 … {len(ROWS)}")
    p.add_argument("--store", type=Path, metavar="DIR", help="keep what is done here; a stopped study goes on")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print its table."""
    if arguments.seeds < 1:
        raise InputError(complain("--seeds", expected="at least 1", got=arguments.seeds, fix="the table uses 3"))
    if arguments.rows and arguments.name != "accuracy":
        raise InputError(complain("--rows", expected="study accuracy", got=arguments.name, fix="leave it out"))
    numbers = arguments.rows or range(1, len(ROWS) + 1)
    bad = [k for k in numbers if not 1 <= k <= len(ROWS)]
    if bad:
        raise InputError(complain("--rows", expected=f"1 … {len(ROWS)}", got=bad[0], fix="leave it out for all"))
    if arguments.json is not None:
        check_writable(arguments.json)
    text, record = _anatomy(arguments) if arguments.name == "anatomy" else _accuracy(arguments, numbers)
    print(text)
    if arguments.json is not None:
        write_atomically(arguments.json, to_json(record).encode())
    return 0


def _accuracy(arguments: argparse.Namespace, numbers: Sequence[int]) -> tuple[str, dict[str, Any]]:
    outcomes = accuracy(
        range(arguments.seeds), rows=[ROWS[k - 1] for k in numbers], store=arguments.store,
        done=lambda row, seed, epoch: print(
            f"{row.name}, seed {seed}: test {100 * epoch.held_out_accuracy:.2f} %", file=sys.stderr
        ),
    )  # fmt: skip
    return table(outcomes), to_record(outcomes)


def _anatomy(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    result = anatomy_study.anatomy(
        range(arguments.seeds), store=arguments.store,
        done=lambda p: print(
            f"{p.trained}, seed {p.seed}, σ_d {100 * p.sigma_d:.0f} %: cosine {p.injected.hidden.cosine:.3f} injected, "
            f"{p.alone.hidden.cosine:.3f} model alone", file=sys.stderr
        ),
    )  # fmt: skip
    return anatomy_study.table(result), anatomy_study.to_record(result)
