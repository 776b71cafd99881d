"""``bss2lab classify``: let a trained network hear a sound file."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bss2lab import bundle, checkpoint
from bss2lab.chip import Chip
from bss2lab.cli.output import add_json, check_json, table_stream, write_json
from bss2lab.datasets import catalogue
from bss2lab.datasets.recorded import words_of
from bss2lab.datasets.sound import read_sound
from bss2lab.errors import InputError, complain
from bss2lab.results import versions
from bss2lab.settings import SpeechConfig
from bss2lab.studies.listening import Heard, listen
from bss2lab.studies.networks import load_network
from bss2lab.train import chip_of, saved_learner
from bss2lab.types import RecurrentWeights

NETWORK = "data/results/fig5_network.safetensors"
SHOWN = 3


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    p.description = (
        "A spoken digit, English or German, goes through the model of the inner ear to the network on the emulated "
        "chip (WAV, FLAC or OGG, any rate, at most 5 s; several channels are averaged; silence at both ends is cut)."
    )
    p.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a sound file, one word each")
    which = p.add_mutually_exclusive_group()
    which.add_argument("--checkpoint", type=Path, metavar="DIR", help="folder of `bss2lab train speech --save DIR`")
    which.add_argument("--network", type=Path, metavar="FILE",
                       help=f"a network that a study wrote (default: {NETWORK} here, or the one that comes "
                            "with the package)")  # fmt: skip
    p.add_argument("--software", action="store_true", help="in the software model, whatever it was trained on")
    p.add_argument("--keep-silence", action="store_true", help="do not cut silence from both ends")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise of ear and chip (default 0)")
    add_json(p)
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what the network hears."""
    check_json(arguments)
    if not 0 <= arguments.seed < 2**62:
        raise InputError(complain("--seed", expected="0 … 2⁶² − 1", got=arguments.seed, fix="leave it out"))
    config, weights, chip, own = _network(arguments)
    sounds = [read_sound(path) for path in arguments.files]
    classes = (own.classes if own else catalogue.speech(config.task).classes)[: config.n_classes]
    words = words_of(sounds, classes, seed=arguments.seed, keep_silence=arguments.keep_silence)
    answers = listen(config, weights, words, chip=chip, noise_seed=arguments.seed)
    where = "software model" if chip is None else "emulated chip"
    trained = f"your own data, {own.name}" if own else catalogue.speech(config.task).title
    record = {
        "trained_on": trained, "run_on": where, "versions": versions(),
        "answers": [{"file": str(f), **asdict(a)} for f, a in zip(arguments.files, answers, strict=True)],
    }  # fmt: skip
    write_json(arguments, record)
    lines = [_line(path, answer) for path, answer in zip(arguments.files, answers, strict=True)]
    lines += [f"({where}; the network was trained on {trained}: a voice unlike those may be misheard)"]
    print("\n".join(lines), file=table_stream(arguments))
    return 0


def _line(path: Path, answer: Heard) -> str:
    ranked = ", ".join(f"{word} {100 * share:.0f} %" for word, share in answer.ranking[:SHOWN])
    return (
        f"{path}: “{answer.word}” ({ranked}); decided after {answer.decided_us:.0f} µs of chip time, "
        f"{answer.input_spikes:,} input spikes, {answer.hidden_spikes:,} hidden ones"
    )


def _network(
    arguments: argparse.Namespace,
) -> tuple[SpeechConfig, RecurrentWeights, Chip | None, checkpoint.OwnData | None]:
    """Return the network's configuration, its weights, the chip that it runs on, and whose data it learned."""
    own = None
    if arguments.checkpoint is not None:
        loaded = checkpoint.load(arguments.checkpoint / checkpoint.FILE)
        config, chip, own = loaded.config, loaded.chip(), loaded.data
        source = arguments.checkpoint
        weights: Any = saved_learner(loaded).weights()
    else:
        source = arguments.network or bundle.find(NETWORK)
        network = load_network(source)
        config, weights = network.config, network.weights
        chip = chip_of(config) if config.on_chip else None
    if not isinstance(config, SpeechConfig):
        fix = "train one with `bss2lab train speech --save DIR`"
        raise InputError(complain(str(source), expected="a network for words", got=f"one for {config.task}", fix=fix))
    return config, weights, None if arguments.software else chip, own
