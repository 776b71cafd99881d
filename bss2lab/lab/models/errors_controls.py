"""What can be set where a trained network's errors are shown."""

from __future__ import annotations

from typing import Any

from bss2lab.lab.models.control import Control
from bss2lab.lab.models.judged import EVERY
from bss2lab.settings import AnyConfig, SpeechConfig

TEST, HOLD, SHOWN = "what is classified", "where", "samples shown (or click a cell)"

JUDGED = frozenset({"where", "split", "limit", "chip_seed", "sigma_d", "detuned", "noise_seed"})
"""Settings after which everything is classified anew."""

_DETUNED = (("time constants", "tau"), ("thresholds", "threshold"), ("both", "both"))


def controls_of(config: AnyConfig, classes: tuple[str, ...], n_speakers: int) -> list[Control]:
    """Return the controls.

    Args:
        config: the run that the network comes from.
        classes: names of its classes.
        n_speakers: speakers of the data set; 0: images.
    """
    kind = type(config)
    most = 2000 if isinstance(config, SpeechConfig) else 10_000
    places = (("the emulated chip", "chip"), ("the software model", "software"))
    outputs = (*classes, *map(str, range(len(classes), config.n_outputs)))

    def of(name: str, label: str, **options: Any) -> Control:
        return Control.of(kind, name, value=getattr(config, name), label=label, **options)

    def choice(name: str, label: str, names: tuple[str, ...], help: str) -> Control:
        choices = (("any", EVERY), *((word, k) for k, word in enumerate(names)))
        return Control(name, label, EVERY, "choice", help=help, choices=choices, group=SHOWN)

    controls = [
        Control(
            "split", "samples of", "held out", "choice", help="which samples it classifies", group=TEST,
            choices=(("the test set" if not config.validation else "the validation set", "held out"),
                     ("the training set", "train")),
        ),
        Control(
            "limit", "at most (0: all)", 0, "whole", 0, most, most // 20, 0, 60_000,
            help="number of samples, spread evenly over the file", group=TEST,
        ),
        Control("where", "run on", "chip" if config.on_chip else "software", "choice", choices=places, group=HOLD),
        of("chip_seed", "chip number", look="whole", low=0, high=9, step=1, group=HOLD),
        of("sigma_d", "decalibration σ_d", low=0, high=0.5, group=HOLD),
        of("detuned", "of its", look="choice", choices=_DETUNED, group=HOLD),
        Control(
            "noise_seed", "trial (noise seed)", 0, "whole", 0, 99, 1, 0, 2**31,
            help="seed of the chip's trial-to-trial noise: another trial, other noise", group=HOLD,
        ),
        choice("said", "said" if n_speakers else "class", classes, "true class of the samples shown"),
        choice("heard", "heard" if n_speakers else "decided", outputs, "class that the network decided"),
    ]  # fmt: skip
    if n_speakers:
        controls.append(choice("speaker", "speaker", tuple(map(str, range(n_speakers))), "who says the samples shown"))
    return [
        *controls,
        Control("wrong", "wrong ones alone", True, "switch", help="leave out what was decided rightly", group=SHOWN),
        Control(
            "pick", "number in the list", 0, "whole", 0, 49, 1, 0, 1_000_000, group=SHOWN,
            help="which of these samples is shown, from 0; beyond the last one it begins again",
        ),
    ]  # fmt: skip
