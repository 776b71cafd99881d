"""``bss2lab figure``: draw a panel of the paper from a saved run, or from a short one made on the spot."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from bss2lab import bundle, checkpoint
from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError, complain
from bss2lab.presets import published
from bss2lab.settings import TrainConfig
from bss2lab.storage import check_writable, write_atomically
from bss2lab.studies import fig3, results
from bss2lab.studies.catalogue import STUDIES
from bss2lab.train import Run
from bss2lab.types import Weights

PANELS = ("3a", "3b")
STUDIED = {
    "3c": ("fig3c", "draw_latency"),
    "3d": ("fig3d", "draw_continuous"),
    "3e": ("fig3e", "draw_sparsity"),
    "4b": ("fig4b", "draw_robustness"),
    "4c": ("fig4c", "draw_silencing"),
    "5b": ("fig5", "draw_speech_training"),
    "5c": ("fig5-augmented", "draw_confusion"),
    "5d": ("fig5-augmented", "draw_speakers"),
    "table1-mnist": ("table1-mnist", "draw_table1"),
    "table1-fashion": ("table1-fashion", "draw_table1"),
    "ablation": ("ablation", "draw_ablation"),
}
"""Panels drawn from a study's result: the study, and what draws it."""

RESULTS = "data/results"
QUICK = TrainConfig(epochs=3)
SHOWN = (0, 3, 5)
"""Digits of figure 3A."""


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    panels = (*PANELS, *STUDIED)
    p.add_argument("panel", choices=panels, metavar="PANEL", help=f"panel of the paper: {', '.join(panels)}")
    p.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder (default out)")
    p.add_argument(
        "--run",
        type=Path,
        action="append",
        metavar="DIR",
        dest="runs",
        help="folder of a saved run; repeat for several seeds (default: train for 3 epochs now)",
    )
    p.add_argument(
        "--result", type=Path, metavar="FILE",
        help=f"panels other than {' and '.join(PANELS)}: what `bss2lab study --json` wrote "
        f"(default: {RESULTS}/STUDY.json here, or the one that comes with the package)",
    )  # fmt: skip
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw the panel; print where it is."""
    if importlib.util.find_spec("matplotlib") is None:
        text = complain("bss2lab figure", expected="matplotlib", got="none", fix="pip install 'bss2lab[lab]'")
        raise InputError(text)
    from bss2lab import plots

    studied = arguments.panel in STUDIED
    for option, of_studies in (("runs", False), ("result", True)):
        if getattr(arguments, option) and studied != of_studies:
            name = "--run" if option == "runs" else "--result"
            want = f"with panel {' or '.join(STUDIED if of_studies else PANELS)}"
            raise InputError(complain(name, expected=want, got=arguments.panel, fix="leave it out"))
    path = arguments.out / f"{'fig' * arguments.panel[0].isdigit()}{arguments.panel}.png"
    check_writable(path)
    if studied:
        name, draw = STUDIED[arguments.panel]
        result = results.load(arguments.result or bundle.find(f"{RESULTS}/{name}.json"), name, STUDIES[name].result)
        return _write(path, getattr(plots, draw)(result))
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
        weights = runs[0].learner.weights()
        assert isinstance(weights, Weights)  # of a feed-forward network, as its configuration says
        shots = fig3.snapshots(config, weights, images, chip=runs[0].chip if isinstance(runs[0].chip, Chip) else None)
        names = images.dataset.classes if config.task == "fashion" else None
        figure = plots.draw_snapshots(shots, names)
    return _write(path, figure)


def _write(path: Path, figure: Any) -> int:
    write_atomically(path, figure.png())
    print(path)
    return 0


def _load(folder: Path) -> Run[TrainConfig]:
    """Rebuild a saved run: the profile comes from the checkpoint itself."""
    loaded = checkpoint.load(folder / checkpoint.FILE)
    if not isinstance(loaded.config, TrainConfig):
        fix = "choose a run on mnist or fashion"
        raise InputError(complain("--run", expected="a run on images", got=f"one on {loaded.config.task}", fix=fix))
    return Run(loaded.config, chip=loaded.chip(), directory=folder, resume=True)


def _quick_run() -> Run[TrainConfig]:
    print(f"no --run given: training {QUICK.epochs} epochs now", file=sys.stderr)
    training = Run(QUICK)
    for epoch in training.fit():
        print(f"epoch {epoch.epoch}: test {100 * epoch.held_out_accuracy:.2f} %", file=sys.stderr)
    return training
