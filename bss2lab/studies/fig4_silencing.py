"""Figure 4C: what remains when hidden neurons fall silent, for networks trained with and without dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import field_validator, model_validator

from bss2lab.config import Config, Source, quantity
from bss2lab.errors import complain
from bss2lab.inputs import encode
from bss2lab.network import chip_weights
from bss2lab.presets import DROPOUT, FULL, PRESETS
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.networks import ImageNetwork
from bss2lab.studies.results import Mean
from bss2lab.studies.training import data_of, train_all
from bss2lab.train import chip_of
from bss2lab.types import Weights

if TYPE_CHECKING:
    from numpy import ndarray


class SilencingConfig(Config):
    """Figure 4C.

    Attributes:
        without, dropout: the two runs; seed and chip are replaced.
        fractions: of hidden neurons silenced after training, in rising order from 0.
    """

    without: TrainConfig = FULL["mnist", "itl", False]
    dropout: TrainConfig = DROPOUT
    fractions: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
    draws: int = quantity(
        5, "random choices of the silenced neurons for each network", source=Source.ASSUMED, ge=1, le=1000,
        why="not published; the choice matters less than the network",
    )  # fmt: skip
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)

    @field_validator("fractions")
    @classmethod
    def _from_zero(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or given[0] != 0 or list(given) != sorted(set(given)) or not given[-1] < 1:
            raise ValueError("different numbers from 0 to below 1, in rising order")
        return given

    @model_validator(mode="after")
    def _check(self) -> SilencingConfig:
        if self.without.dropout == self.dropout.dropout:
            want, got = "another one than without.dropout", self.dropout.dropout
            raise ValueError(complain("dropout.dropout", expected=want, got=got, fix="the paper compares 0 and 0.4"))
        return self


_SHORT = PRESETS["default"].replace(epochs=3, limit=5_000, batch_size=25, lr_decay=0.6)
QUICK = SilencingConfig(
    without=_SHORT, dropout=_SHORT.replace(dropout=0.4), fractions=(0.0, 0.15, 0.3, 0.5), draws=2, seeds=1
)


class SilencedConfig(Config):
    """One network with neurons silenced.

    Attributes:
        train: the run that the weights come from.
        fractions, draws: see ``SilencingConfig``.
    """

    train: TrainConfig
    fractions: tuple[float, ...]
    draws: int


@dataclass(frozen=True, slots=True)
class Point:
    """One network with a fraction of its hidden neurons silenced.

    Attributes:
        dropout: dropout in training.
        seed: its seed.
        fraction: silenced.
        test_error: mean over the random choices, a fraction.
    """

    dropout: float
    seed: int
    fraction: float
    test_error: float


@dataclass(frozen=True, slots=True)
class Silencing:
    """Figure 4C.

    Attributes:
        config: what was asked for.
        points: one per network and fraction.
    """

    config: SilencingConfig
    points: tuple[Point, ...]

    def error(self, dropout: float, fraction: float) -> Mean:
        """Return the test error, percent, over the seeds."""
        chosen = [p for p in self.points if p.dropout == dropout and p.fraction == fraction]
        return Mean.of([100 * p.test_error for p in chosen])

    def increase(self, dropout: float, fraction: float) -> float:
        """Return by how much the mean error grows against all neurons alive, percent of that (NaN if that is 0)."""
        alive = self.error(dropout, 0.0).mean
        return 100 * (self.error(dropout, fraction).mean / alive - 1) if alive else float("nan")


def silencing(config: SilencingConfig, run: Runner) -> Silencing:
    """Train the networks, silence some of their neurons, and test.

    Args:
        config: what to run.
        run: does the jobs.
    """
    configs = [
        one.replace(seed=seed, chip_seed=seed)
        for one in (config.without, config.dropout)
        for seed in range(config.seeds)
    ]
    networks = train_all(configs, run, "figure 4C, training")
    records = run([_job(network, config) for network in networks], "figure 4C, silencing")
    points = []
    for network, record in zip(networks, records, strict=True):
        for fraction, errors in zip(config.fractions, record.values["errors"], strict=True):
            points.append(Point(network.config.dropout, network.config.seed, fraction, float(np.mean(errors))))
    return Silencing(config, tuple(points))


def _job(network: ImageNetwork, config: SilencingConfig) -> Job:
    job = SilencedConfig(train=network.config, fractions=config.fractions, draws=config.draws)
    name = f"dropout {network.config.dropout:g}, seed {network.config.seed}"
    return Job("silenced", name, silence, job, network.weights._asdict())


def silence(config: SilencedConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Test a network on its chip with random hidden neurons held below their threshold.

    With one random order per draw, a larger fraction silences the neurons of the smaller one and more.
    """
    train = config.train
    chip, held_out = chip_of(train), encode(data_of(train).held_out, train)
    weights, _ = chip_weights(Weights(inputs["hidden"], inputs["output"]), chip)
    program = chip.write(weights)
    errors = []
    for fraction in config.fractions:
        errors.append([])
        for draw in range(config.draws):
            order = np.random.default_rng([train.seed, draw]).permutation(train.n_hidden)
            silenced = np.zeros(train.n_hidden, bool)
            silenced[order[: round(fraction * train.n_hidden)]] = True
            decisions, _ = chip.classify(program, held_out.spikes, seed=draw, silenced=silenced)
            errors[-1].append(float(np.mean(decisions != held_out.labels)))
    return Record({"errors": errors})


def table(result: Silencing) -> str:
    """Return the errors as a Markdown table."""
    c = result.config
    kinds = (c.without.dropout, c.dropout.dropout)
    lines = [
        "| silenced % | " + " | ".join(f"test error %, dropout {100 * d:g} % (relative)" for d in kinds) + " |",
        "|---|---|---|",
    ]
    for fraction in c.fractions:
        cells = [f"{result.error(d, fraction)} ({result.increase(d, fraction):+.0f} %)" for d in kinds]
        lines.append(f"| {100 * fraction:g} | {' | '.join(cells)} |")
    return "\n".join(lines)
