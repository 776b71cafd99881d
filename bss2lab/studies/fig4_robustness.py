"""Figure 4B: training and test error on detuned chips, learned in the loop or transferred from software.

Three ways to get a network onto a chip whose neurons were detuned with a normalised spread σ_d:

- ``itl``: trained in the loop on the detuned chip;
- ``transfer``: trained in software, written to the detuned chip as it is;
- ``recalibrated``: the same weights, after the detuned chip was calibrated again (beyond the paper).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import field_validator, model_validator

from bss2lab.chip.instruments import self_active
from bss2lab.config import Config, Source, quantity
from bss2lab.errors import complain
from bss2lab.inputs import encode
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.presets import PRESETS
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.results import Mean
from bss2lab.studies.training import data_of, train_all, trained, training_job
from bss2lab.train import chip_of
from bss2lab.types import Weights, Which

if TYPE_CHECKING:
    from numpy import ndarray

Way = Literal["itl", "transfer", "recalibrated"]
WAYS: tuple[Way, ...] = ("itl", "transfer", "recalibrated")
WHICH: tuple[Which, ...] = get_args(Which)

_NOISE_SEED = 1


class RobustnessConfig(Config):
    """Figure 4B.

    Attributes:
        itl: the run in the loop; seed, chip and detuning are replaced.
        software: the run in software that is transferred; likewise.
        sigma_d: normalised spreads, in rising order.
        which: what is detuned.
    """

    itl: TrainConfig = PRESETS["default"]
    software: TrainConfig = PRESETS["software"]
    sigma_d: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    which: tuple[Which, ...] = WHICH
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)

    @field_validator("sigma_d")
    @classmethod
    def _spreads(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or list(given) != sorted(set(given)) or not all(0 <= s <= 1 for s in given):
            raise ValueError("one or more different numbers 0 … 1, in rising order")
        return given

    @field_validator("which")
    @classmethod
    def _different(cls, given: tuple[Which, ...]) -> tuple[Which, ...]:
        if not given or len(set(given)) < len(given):
            raise ValueError("one or more different names of 'tau', 'threshold', 'both'")
        return given

    @model_validator(mode="after")
    def _check(self) -> RobustnessConfig:
        for name, mode in (("itl", "itl"), ("software", "software")):
            got = getattr(self, name).mode
            if got != mode:
                raise ValueError(complain(f"{name}.mode", expected=repr(mode), got=repr(got), fix="swap the two?"))
        return self

    def conditions(self) -> list[tuple[Which, float, int]]:
        """Return (what is detuned, σ_d, seed) of every chip; at σ_d = 0 there is nothing to detune but once."""
        return [
            (which, sigma_d, seed)
            for sigma_d in self.sigma_d
            for which in (self.which if sigma_d else self.which[:1])
            for seed in range(self.seeds)
        ]


QUICK = RobustnessConfig(
    itl=PRESETS["default"].replace(epochs=2, limit=5_000, batch_size=25, lr_decay=0.6),
    software=PRESETS["software"].replace(epochs=3, limit=5_000, batch_size=25, lr_decay=0.6),
    sigma_d=(0.0, 0.4), which=("both",), seeds=1,
)  # fmt: skip


class TransferConfig(Config):
    """One network on one chip.

    Attributes:
        train: the run, in mode ``transfer``: it names the chip and how it is detuned.
        recalibrated: calibrate the detuned chip again first?
    """

    train: TrainConfig
    recalibrated: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One network on one chip.

    Attributes:
        way: how it got there.
        which, sigma_d: what was detuned, and how much.
        seed: seed of network, chip and detuning.
        train_error, test_error: fractions.
        self_active: neurons that fire without input: their leak lies over their threshold.
    """

    way: Way
    which: Which
    sigma_d: float
    seed: int
    train_error: float
    test_error: float
    self_active: int


@dataclass(frozen=True, slots=True)
class Robustness:
    """Figure 4B.

    Attributes:
        config: what was asked for.
        points: one per way, chip and seed.
    """

    config: RobustnessConfig
    points: tuple[Point, ...]

    def at(self, way: Way, which: Which, sigma_d: float) -> list[Point]:
        """Return the points of one condition, one per seed (σ_d = 0 is the same for all that can be detuned)."""
        return [
            p for p in self.points
            if p.way == way and p.sigma_d == sigma_d and (p.which == which or sigma_d == 0)
        ]  # fmt: skip

    def error(self, way: Way, which: Which, sigma_d: float, *, train: bool = False) -> Mean:
        """Return test (or training) error, percent."""
        chosen = self.at(way, which, sigma_d)
        return Mean.of([100 * (p.train_error if train else p.test_error) for p in chosen])


def robustness(config: RobustnessConfig, run: Runner) -> Robustness:
    """Train in the loop on every chip, and transfer what was trained in software.

    Args:
        config: what to run.
        run: does the jobs.
    """
    software = train_all(
        [config.software.replace(seed=seed) for seed in range(config.seeds)], run, "figure 4B, software"
    )
    conditions = config.conditions()
    transfers = []
    for way in WAYS[1:]:
        for which, sigma_d, seed in conditions:
            source = software[seed]
            train = source.config.replace(mode="transfer", chip_seed=seed, sigma_d=sigma_d, detuned=which)
            job = TransferConfig(train=train, recalibrated=way == "recalibrated")
            name = f"{way}, {which}, σ_d {100 * sigma_d:g} %, seed {seed}"
            transfers.append(Job("transfer", name, transfer, job, source.weights._asdict()))
    moved = run(transfers, "figure 4B, transfer")
    in_the_loop = [
        config.itl.replace(seed=seed, chip_seed=seed, sigma_d=sigma_d, detuned=which)
        for which, sigma_d, seed in conditions
    ]
    learned = run([_named(one) for one in in_the_loop], "figure 4B, in the loop")
    active = {condition: record.values["self_active"] for condition, record in zip(conditions, moved, strict=False)}
    points = []
    for (which, sigma_d, seed), one, record in zip(conditions, in_the_loop, learned, strict=True):
        last = trained(one, record).final
        errors = 1 - last.train_accuracy, 1 - last.held_out_accuracy
        points.append(Point("itl", which, sigma_d, seed, *errors, active[which, sigma_d, seed]))
    for way, records in zip(WAYS[1:], (moved[: len(conditions)], moved[len(conditions) :]), strict=True):
        for (which, sigma_d, seed), record in zip(conditions, records, strict=True):
            found = record.values
            errors = found["train_error"], found["test_error"]
            points.append(Point(way, which, sigma_d, seed, *errors, int(found["self_active"])))
    return Robustness(config, tuple(points))


def _named(config: TrainConfig) -> Job:
    name = f"in the loop, {config.detuned}, σ_d {100 * config.sigma_d:g} %, seed {config.seed}"
    return training_job(config, name)


def transfer(config: TransferConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Write trained weights to a chip and count errors on the training and the test images."""
    chip = chip_of(config.train)
    if config.recalibrated and config.train.sigma_d:
        chip = chip.apply(chip.calibrate(seed=_NOISE_SEED))
    weights, images = Weights(inputs["hidden"], inputs["output"]), data_of(config.train)
    errors = {}
    for name, split in (("train_error", images.train), ("test_error", images.held_out)):
        found = evaluate_on_substrate(chip, weights, encode(split, config.train), seed=_NOISE_SEED)
        errors[name] = 1 - found.accuracy
    active = len(self_active(chip))
    return Record({**errors, "self_active": active})


def table(result: Robustness) -> str:
    """Return the errors as a Markdown table."""
    lines = [
        "| detuned | σ_d | in the loop, test error % (train) | transfer, test error % (train) "
        "| recalibrated, test error % | neurons firing without input |",
        "|---|---|---|---|---|---|",
    ]
    for which in result.config.which:
        for sigma_d in result.config.sigma_d:
            cells = []
            for way in WAYS:
                test, train = (result.error(way, which, sigma_d, train=split) for split in (False, True))
                cells.append(str(test) + (f" ({train.mean:.2f})" if way != "recalibrated" else ""))
            active = Mean.of([p.self_active for p in result.at("itl", which, sigma_d)])
            lines.append(f"| {which} | {sigma_d:g} | {' | '.join(cells)} | {active.mean:.1f} |")
    return "\n".join(lines)
