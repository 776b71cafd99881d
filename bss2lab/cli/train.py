"""``bss2lab train``: one run, with progress on the terminal and a full record as JSON."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bss2lab.cli.options import add_options, build, chosen
from bss2lab.cli.output import add_json, check_json, table_stream, write_json
from bss2lab.inputs import Data
from bss2lab.kernels.cache import Compiling, watching
from bss2lab.presets import PRESETS, SPEECH_PRESETS, published
from bss2lab.results import Epoch, run_record
from bss2lab.settings import TASKS, TITLES, AnyConfig, SpeechConfig
from bss2lab.train import Progress, Run


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.description = "Train a network of Cramer et al. 2022: 256–246–10 on images, 70–186 (recurrent)–20 on speech."
    tasks = p.add_subparsers(title="data sets", required=True, metavar="TASK", dest="task")
    for task, config in TASKS.items():
        _add_task(tasks, task, config)


def _add_task(tasks: Any, task: str, config: type[AnyConfig]) -> None:
    p = tasks.add_parser(
        task, help=TITLES[task], usage=f"bss2lab train {task} [options]",
        description=f"Train on {TITLES[task]}. Ctrl-C stops after the batch and keeps the checkpoint; --resume goes "
                    "on with it.",
    )  # fmt: skip
    presets = tuple(_presets(config))
    p.add_argument("--preset", choices=presets, default="default", metavar="NAME",
                   help=f"settings to start from: {', '.join(presets)}")  # fmt: skip
    p.add_argument("--save", type=Path, metavar="DIR", help="keep a checkpoint in this folder")
    p.add_argument("--resume", action="store_true", help="go on with the checkpoint in --save DIR")
    add_json(p)
    p.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    add_options(p.add_argument_group("settings"), config, skip={"task"})
    p.set_defaults(run=run)


def _presets(config: type[AnyConfig]) -> Mapping[str, AnyConfig]:
    return SPEECH_PRESETS if config is SpeechConfig else PRESETS


def run(arguments: argparse.Namespace) -> int:
    """Train; return 0, or 130 if stopped before the end."""
    if arguments.resume and arguments.save is None:
        print("bss2lab: --resume: expected --save DIR with a checkpoint, got no folder; name it", file=sys.stderr)
        return 2
    kind = TASKS[arguments.task]
    config = build(_presets(kind)[arguments.preset], chosen(arguments, kind))
    check_json(arguments)
    training = Run(config, Data.load(config, progress=True), directory=arguments.save, resume=arguments.resume)
    with _Interrupt() as interrupt, _Bar(config, training, hidden=arguments.quiet) as bar:
        for epoch in training.fit(stop=interrupt.is_set, on_batch=bar.advance):
            bar.epoch(epoch)
    write_json(arguments, run_record(config, training.profile, training.epochs))
    if not arguments.quiet:
        print(summary(config, training.epochs), file=table_stream(arguments))
    if interrupt.is_set() and not training.finished:
        kept = f"; go on with --resume --save {arguments.save}" if arguments.save else " (no --save: nothing kept)"
        print(f"bss2lab: stopped in epoch {len(training.epochs) + 1}{kept}", file=sys.stderr)
        return 130
    return 0


def summary(config: AnyConfig, epochs: list[Epoch]) -> str:
    """Return the results table of a run, beside the paper's number."""
    where = {
        "itl": "emulated chip, in the loop",
        "software": "software",
        "transfer": "software, tested on the emulated chip",
        "ann": "ReLU ANN",
    }[config.mode]
    name = "validation" if config.validation else "test"
    speech = isinstance(config, SpeechConfig)
    hidden = f"{config.n_hidden} (recurrent)" if speech else f"{config.n_hidden}"
    spikes = f"spikes/{_sample(config)}"
    lines = [
        f"\n{TITLES[config.task]}, {config.n_inputs}–{hidden}–{config.n_outputs}, {where}",
        f"{'epoch':>5}  {'loss':>8}  {'train %':>8}  {name + ' %':>12}  {spikes:>12}  {'s':>6}",
    ]
    shown = epochs if len(epochs) <= 20 else [*epochs[:3], *epochs[-10:]]
    for e in shown:
        lines.append(
            f"{e.epoch:>5}  {e.loss:>8.4f}  {100 * e.train_accuracy:>8.2f}  {100 * e.held_out_accuracy:>12.2f}  "
            f"{e.hidden_spikes_per_image:>12.1f}  {e.seconds:>6.2f}"
        )
    paper = published(config)
    if paper is not None and epochs:
        ours = 100 * epochs[-1].held_out_accuracy
        lines.append(f"paper, 100 epochs: {paper.test:.1f} ± {paper.test_spread:.1f} % test; here: {ours:.2f} %")
    return "\n".join(lines)


def _sample(config: AnyConfig) -> str:
    return "word" if isinstance(config, SpeechConfig) else "image"


class _Interrupt:
    """Turns the first Ctrl-C into a flag; the second ends the program as usual."""

    def __enter__(self) -> threading.Event:
        self._flag, self._previous = threading.Event(), None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._catch)
        return self._flag

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _catch(self, *_: object) -> None:
        self._flag.set()
        assert self._previous is not None
        signal.signal(signal.SIGINT, self._previous)


class _Bar:
    """The progress bar: batches of the whole run, with the running figures behind it."""

    def __init__(self, config: AnyConfig, training: Run[Any], *, hidden: bool) -> None:
        per_epoch = -(-len(training.data.train) // config.batch_size)
        done = per_epoch * len(training.epochs)
        self._bar = tqdm(
            total=per_epoch * config.epochs, initial=done, unit="batch", disable=hidden, file=sys.stderr,
            desc=f"{config.task} {config.mode}", mininterval=0.2, dynamic_ncols=True,
        )  # fmt: skip
        self._per_epoch, self._sample = per_epoch, _sample(config)
        self._figures = ""
        self._watching = watching(self._compiling)

    def __enter__(self) -> _Bar:
        self._watching.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.__exit__(None, None, None)
        self._bar.close()

    def _compiling(self, compiling: Compiling | None) -> None:
        self._bar.set_postfix_str(str(compiling or self._figures))

    def advance(self, progress: Progress) -> None:
        """Show a batch."""
        at = self._per_epoch * (progress.epoch - 1) + progress.batch
        self._bar.update(at - self._bar.n)

    def epoch(self, epoch: Epoch) -> None:
        """Show an epoch's figures behind the bar."""
        self._figures = (
            f"epoch {epoch.epoch}: {100 * epoch.held_out_accuracy:.2f} %, "
            f"{epoch.hidden_spikes_per_image:.0f} spikes/{self._sample}"
        )
        self._bar.set_postfix_str(self._figures)
