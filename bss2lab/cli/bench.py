"""``bss2lab bench``: how fast, as ratios measured in one run."""

from __future__ import annotations

import argparse
from functools import partial

from bss2lab.cli.output import add_json, check_json, table_stream, write_json
from bss2lab.errors import InputError, complain

PARTS = ("training", "speech", "chip", "studies", "fresh")


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.add_argument("--peers", action="store_true", help="also time snnTorch, norse and SpikingJelly (extra [bench])")
    p.add_argument(
        "--part", choices=PARTS, action="append", dest="parts", metavar="PART",
        help=f"run this part alone; repeat for several: {', '.join(PARTS)} (default: all)",
    )  # fmt: skip
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="thread counts (default 1 2)")
    p.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds of the interleaved timing (default 20)")
    add_json(p)
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmarks and print their table."""
    if arguments.rounds < 3:
        text = complain("--rounds", expected="at least 3", got=arguments.rounds, fix="quartiles need some rounds")
        raise InputError(text)
    if min(arguments.threads) < 1:
        got = min(arguments.threads)
        raise InputError(complain("--threads", expected="counts ≥ 1", got=got, fix="name thread counts, as in 1 2"))
    parts = tuple(dict.fromkeys(arguments.parts or PARTS))
    if arguments.peers and "training" not in parts:
        fix = "leave --peers out, or add --part training"
        raise InputError(complain("--peers", expected="the part training", got=", ".join(parts), fix=fix))
    check_json(arguments)
    from bss2lab.bench import report
    from bss2lab.machine import usable_cores

    threads = sorted({min(n, usable_cores()) for n in arguments.threads})
    say = partial(print, file=table_stream(arguments))
    record = report.run(peers=arguments.peers, threads=threads, rounds=arguments.rounds, say=say, parts=parts)
    write_json(arguments, record)
    return 0
