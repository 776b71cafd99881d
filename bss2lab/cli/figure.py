"""``bss2lab figure``: draw a panel of the paper from a saved run, or from a short one made on the spot."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from bss2lab import checkpoint
from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError, complain
from bss2lab.presets import published
from bss2lab.settings import TrainConfig
from bss2lab.storage import check_writable, write_atomically
from bss2lab.studies import fig3
from bss2lab.train import Run

PANELS = ("3a", "3b")
QUICK = TrainConfig(epochs=3)
SHOWN = (0, 3, 5)
"""Digits of figure 3A."""


def add(commands: Any) -> None:
    """Add the sub-command."""
    p = commands.add_parser("figure", help="draw a panel of the paper as PNG")
    p.add_argument("panel", choices=PANELS, help="panel of the paper")
    p.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder (default out)")
    p.add_argument(
        "--run",
        type=Path,
        action="append",
        metavar="DIR",
        dest="runs",
        help="folder of a saved run; repeat for several seeds (default: train for 3 epochs now)",
    )
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw the panel; print where it is."""
    if importlib.util.find_spec("matplotlib") is None:
        text = complain("bss2lab figure", expected="matplotlib", got="none", fix="pip install 'bss2lab[lab]'")
        raise InputError(text)
    from bss2lab import plots

    path = arguments.out / f"fig{arguments.panel}.png"
    check_writable(path)
    runs = [_load(folder) for folder in arguments.runs or []] or [_quick_run()]
    config, epochs = runs[0].config, [r.epochs for r in runs]
    if arguments.panel == "3b":
        curves = fig3.learning_curves(epochs, emulated=config.on_chip)
        figure = plots.draw_learning_curves(curves, published(config))
    elif config.mode == "ann":
        fix = "choose one of another mode, or panel 3b"
        raise InputError(complain("--run", expected="a spiking network", got="a run of mode 'ann'", fix=fix))
    else:
        images = fig3.first_of_each(vision.load(config.task, "test"), SHOWN)
        shots = fig3.snapshots(
            config, runs[0].learner.weights(), images, chip=runs[0].chip if isinstance(runs[0].chip, Chip) else None
        )
        names = images.dataset.classes if config.task == "fashion" else None
        figure = plots.draw_snapshots(shots, names)
    write_atomically(path, figure.png())
    print(path)
    return 0


def _load(folder: Path) -> Run:
    """Rebuild a saved run: the profile comes from the checkpoint itself."""
    loaded = checkpoint.load(folder / checkpoint.FILE)
    return Run(loaded.config, chip=loaded.chip(), directory=folder, resume=True)


def _quick_run() -> Run:
    print(f"no --run given: training {QUICK.epochs} epochs now", file=sys.stderr)
    training = Run(QUICK)
    for epoch in training.fit():
        print(f"epoch {epoch.epoch}: test {100 * epoch.held_out_accuracy:.2f} %", file=sys.stderr)
    return training
