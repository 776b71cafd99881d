"""``bss2lab study``: the numbers behind a panel or a table, over several seeds, on all cores or on a cluster."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bss2lab.cli.output import add_json, check_json, table_stream, write_json
from bss2lab.cli.text import listing
from bss2lab.errors import InputError, complain
from bss2lab.runner import Bar, Runner, default_folder, scheduler
from bss2lab.storage import check_writable
from bss2lab.studies import anatomy as anatomy_study
from bss2lab.studies import fig4, results
from bss2lab.studies.catalogue import STUDIES, study
from bss2lab.studies.networks import save_network

_OTHERS = {
    "fig4a": "detuned neurons, measured (one chip)",
    "anatomy": "injected gradients against full knowledge (one after the other, here)",
}
"""Studies that are no batch of jobs."""

_WITH_NETWORK = tuple(name for name, one in STUDIES.items() if one.network is not None)


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    titles = {name: one.title for name, one in STUDIES.items()} | _OTHERS
    p.epilog = "studies:\n" + listing({name: titles[name] for name in sorted(titles)})
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("name", choices=sorted(titles), metavar="NAME", help="one of those below")
    p.add_argument("--full", action="store_true", help="at full scale (the paper's), instead of a quick look")
    p.add_argument("--seeds", type=int, metavar="N", help="seeds 0 … N − 1 (default: the study's own)")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: one per core)")
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on a Dask cluster: tcp://host:8786, or a scheduler file"
    )
    p.add_argument(
        "--store", type=Path, metavar="DIR",
        help="keep the record of every run here; a study that was stopped goes on (default: the user's cache)",
    )  # fmt: skip
    add_json(p)
    p.add_argument("--network", type=Path, metavar="FILE", help="fig3b, fig5…: write a trained network here")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print its table."""
    if arguments.seeds is not None and arguments.seeds < 1:
        raise InputError(complain("--seeds", expected="at least 1", got=arguments.seeds, fix="leave it out"))
    if arguments.network is not None and arguments.name not in _WITH_NETWORK:
        want = f"study {' or '.join(_WITH_NETWORK)}"
        raise InputError(complain("--network", expected=want, got=arguments.name, fix="leave it out"))
    check_json(arguments)
    if arguments.network is not None:
        check_writable(arguments.network)
    if arguments.name in _OTHERS:
        _refuse(arguments, ("full", "workers", "scheduler") + (("seeds", "store") if arguments.name == "fig4a" else ()))
    do = {"anatomy": _anatomy, "fig4a": _detuning}.get(arguments.name, _study)
    text, record = do(arguments)
    print(text, file=table_stream(arguments))
    write_json(arguments, record)
    return 0


def _study(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    chosen = study(arguments.name)
    config = chosen.configuration(full=arguments.full, seeds=arguments.seeds)
    with ExitStack() as stack:
        executor = stack.enter_context(scheduler(arguments.scheduler)) if arguments.scheduler else None
        bar = stack.enter_context(Bar())
        store = arguments.store or default_folder()
        runner = stack.enter_context(Runner(store, executor=executor, workers=arguments.workers, watch=bar))
        try:
            result = chosen.run(config, runner)
            if arguments.network is not None and chosen.network is not None:
                save_network(arguments.network, chosen.network(config, runner))
        except KeyboardInterrupt:
            print(f"\nstopped; finished runs are kept in {store}: the same command goes on", file=sys.stderr)
            raise
    return chosen.table(result), results.to_record(arguments.name, result)


def _refuse(arguments: argparse.Namespace, options: tuple[str, ...]) -> None:
    for option in options:
        if getattr(arguments, option) not in (None, False):
            want = f"a study other than {arguments.name}, which runs here, in one size"
            fix = "leave it out"
            raise InputError(complain(f"--{option}", expected=want, got=getattr(arguments, option), fix=fix))


def _detuning(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    result = fig4.detuning()
    return fig4.table(result), fig4.to_record(result)


def _anatomy(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    result = anatomy_study.anatomy(
        range(arguments.seeds or 3), store=arguments.store,
        done=lambda p: print(
            f"{p.trained}, seed {p.seed}, σ_d {100 * p.sigma_d:.0f} %: cosine {p.injected.hidden.cosine:.3f} injected, "
            f"{p.alone.hidden.cosine:.3f} model alone", file=sys.stderr
        ),
    )  # fmt: skip
    return anatomy_study.table(result), anatomy_study.to_record(result)
