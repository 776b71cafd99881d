"""What the decalibration bench sets and finds: its controls, a place in their space, and what is known there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from bss2lab.chip.mismatch import Mismatch
from bss2lab.lab.models.control import Control
from bss2lab.learners.readout import Tally
from bss2lab.presets import PRESETS
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig4_robustness import RobustnessConfig
from bss2lab.types import Which

Line = Literal["here", "itl", "transfer", "recalibrated"]
LINES: tuple[Line, ...] = ("here", "itl", "transfer", "recalibrated")
"""Trained in the loop on this very chip; in the loop, on a calibrated one; in software, written to the detuned chip;
the same after it was calibrated again."""

SHORT = RobustnessConfig(
    itl=PRESETS["default"].replace(epochs=3, lr_decay=0.7),
    software=PRESETS["software"].replace(epochs=3, lr_decay=0.7),
)
"""Trainings of some ten seconds."""

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
        of("epochs", "epochs", look="whole", low=1, high=15, step=1, group=_TRAINING),
        Control(
            "limit", "training images", itl.limit or ALL, "whole", 1000, ALL, 1000, 100, ALL, "",
            "first images of the training set; more take longer", group=_TRAINING,
        ),
    ]  # fmt: skip
