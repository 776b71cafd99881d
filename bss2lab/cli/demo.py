"""``bss2lab demo``: train on the emulated chip, print results, draw figure 3A and 3B."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from bss2lab.cli import figure, train
from bss2lab.cli.options import add_options
from bss2lab.settings import TrainConfig
from bss2lab.storage import check_writable

OPTIONS = {"epochs", "limit", "n_hidden", "seed", "chip_seed", "threads"}
"""Settings of the training that can be changed here; ``bss2lab train mnist`` has all of them."""


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.description = (
        "Train the emulated chip on MNIST in the loop (2 minutes), print results, draw figure 3A and 3B. Ctrl-C stops "
        "after the batch; the same command goes on."
    )
    p.add_argument("--run", type=Path, dest="save", default=Path("runs/demo"), metavar="DIR",
                   help="folder of the checkpoint (default runs/demo)")  # fmt: skip
    p.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder of the figures (default out)")
    add_options(p.add_argument_group("settings"), TrainConfig, skip=set(TrainConfig.model_fields) - OPTIONS)
    p.set_defaults(run=run, task="mnist", mode="itl", preset="default", resume=True, json=None, quiet=False)


def run(arguments: argparse.Namespace) -> int:
    """Train, then draw; return 0, or 130 if stopped before the end."""
    drawable = importlib.util.find_spec("matplotlib") is not None
    if drawable:
        check_writable(arguments.out / "fig3a.png")
    stopped = train.run(arguments)
    if stopped:
        return stopped
    if not drawable:
        print("no figures without matplotlib: pip install 'bss2lab[lab]', then the same command", file=sys.stderr)
        return 0
    for panel in figure.PANELS:
        figure.run(argparse.Namespace(panel=panel, runs=[arguments.save], result=None, out=arguments.out))
    return 0
