"""What the decalibration bench sets and finds: its controls, a place in their space, and what is known there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bss2lab.chip.mismatch import Mismatch
from bss2lab.lab.models.control import Control
from bss2lab.learners.readout import Tally
from bss2lab.presets import PRESETS
from bss2lab.results import Epoch
from bss2lab.runner import Job, Record
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig4_robustness import RobustnessConfig
from bss2lab.studies.training import run_to_the_end, training_job
from bss2lab.types import AnyWeights, Weights, Which

if TYPE_CHECKING:
    from numpy import ndarray

Line = Literal["here", "itl", "transfer", "recalibrated"]
LINES: tuple[Line, ...] = ("here", "itl", "transfer", "recalibrated")
"""Trained in the loop on this very chip; in the loop, on a calibrated one; in software, written to the detuned chip;
the same after it was calibrated again."""

SHORT = RobustnessConfig(
    itl=PRESETS["default"].replace(epochs=3, limit=20_000, lr_decay=0.7),
    software=PRESETS["software"].replace(epochs=3, limit=20_000, lr_decay=0.7),
)
"""Trainings of some seconds: enough to go on from a trained network; one that begins anew needs more."""

ALL = 60_000
"""Images of the training set."""

_DETUNED = (("time constants", "tau"), ("thresholds", "threshold"), ("both", "both"))
_CHIP, _TRAINING = "emulated chip (answers at once)", "training (from the next one on)"


@dataclass(frozen=True, slots=True)
class Place:
    """A chip, and how it is detuned.

    Attributes:
        chip: its number.
        which: what is detuned (at σ_d = 0, where nothing is: always ``both``).
        sigma_d: normalised spread.
    """

    chip: int
    which: Which
    sigma_d: float

    @classmethod
    def of(cls, chip: int, which: Which, sigma_d: float) -> Place:
        """Make one; nothing detuned is the same whatever it is."""
        return cls(chip, which if sigma_d else "both", sigma_d)

    def __str__(self) -> str:
        what = {"tau": "time constants", "threshold": "thresholds", "both": "time constants and thresholds"}
        return (
            f"chip {self.chip}, σ_d {self.sigma_d:.3g} of {what[self.which]}" if self.sigma_d else f"chip {self.chip}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What is known at one place.

    Attributes:
        place: where.
        calibrated, detuned: the hidden truth before and after.
        self_active: neurons that fire without input.
        tallies: errors counted so far, by line.
    """

    place: Place
    calibrated: Mismatch
    detuned: Mismatch
    self_active: int
    tallies: dict[Line, Tally] = field(default_factory=dict)


def training_from(config: TrainConfig, start: Weights | None) -> Job:
    """Return a training as a job: from given weights, or anew, when its record is shared with all studies.

    Args:
        config: the run.
        start: weights to begin with, in model units; None: drawn from the run's seed.
    """
    if start is None:
        return training_job(config)
    return Job("training from weights", "going on", train_on, config, start._asdict())


def train_on(config: TrainConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Train on one thread, beginning with given weights."""
    run = run_to_the_end(config.replace(threads=1), scratch, Weights(inputs["hidden"], inputs["output"]))
    return record_of(tuple(run.epochs), run.learner.weights())


def record_of(epochs: tuple[Epoch, ...], weights: AnyWeights) -> Record:
    """Return a training's record, which ``studies.training.trained`` reads."""
    return Record({"epochs": [asdict(epoch) for epoch in epochs]}, weights._asdict())


def controls_of(config: RobustnessConfig) -> list[Control]:
    """Return the bench's controls; training begins at the values of its in-the-loop run."""
    itl = config.itl

    def of(name: str, label: str, **options: Any) -> Control:
        return Control.of(TrainConfig, name, value=getattr(itl, name), label=label, **options)

    return [
        of("sigma_d", "decalibration σ_d", low=0, high=0.5, live=True, group=_CHIP),
        of("detuned", "of its", look="choice", choices=_DETUNED, live=True, group=_CHIP),
        of("chip_seed", "chip number", look="whole", low=0, high=9, step=1, live=True, group=_CHIP),
        Control(
            "images", "test images", 10_000, "whole", 1000, 10_000, 1000, 100, 10_000, "",
            "images on which errors are counted, spread over the test set", group=_CHIP,
        ),
        Control(
            "begin", "in the loop, begin", "home", "choice", group=_TRAINING,
            choices=(("with the in-the-loop network", "home"), ("anew", "anew")),
            help="weights that “train in the loop here” begins with: those learned on the other chip, or random ones",
        ),
        of("epochs", "epochs", look="whole", low=1, high=15, step=1, group=_TRAINING),
        Control(
            "limit", "training images", itl.limit or ALL, "whole", 1000, ALL, 1000, 100, ALL, "",
            "first images of the training set; more take longer", group=_TRAINING,
        ),
    ]  # fmt: skip
