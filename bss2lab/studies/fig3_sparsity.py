"""Figure 3E: accuracy against activity. The burst penalty is swept; every network is trained in the loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import field_validator

from bss2lab.config import Config, Source, quantity
from bss2lab.presets import PRESETS
from bss2lab.runner import Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.results import Mean
from bss2lab.studies.training import train_all


class SparsityConfig(Config):
    """Figure 3E.

    Attributes:
        train: the run; ``rho_b``, seed and chip are replaced.
        rho_b: burst penalties.
    """

    train: TrainConfig = PRESETS["default"]
    rho_b: tuple[float, ...] = (0.005, 0.015, 0.04, 0.15, 0.5, 1.0, 2.0, 5.0)
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)

    @field_validator("rho_b")
    @classmethod
    def _penalties(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or len(set(given)) < len(given) or not all(0 <= rho <= 1e3 for rho in given):
            raise ValueError("one or more different numbers 0 … 1000")
        return given


QUICK = SparsityConfig(
    train=PRESETS["default"].replace(epochs=2, limit=6_000, lr_decay=0.6), rho_b=(0.01, 0.3, 3.0), seeds=1
)


@dataclass(frozen=True, slots=True)
class Point:
    """One network.

    Attributes:
        rho_b: burst penalty.
        seed: its seed.
        spikes: mean hidden spikes per test image.
        test_accuracy, train_accuracy: fractions.
    """

    rho_b: float
    seed: int
    spikes: float
    test_accuracy: float
    train_accuracy: float


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Figure 3E.

    Attributes:
        config: what was asked for.
        points: one per network.
    """

    config: SparsityConfig
    points: tuple[Point, ...]

    def at(self, rho_b: float) -> tuple[Mean, Mean]:
        """Return spikes per image and test error (percent) at one penalty."""
        chosen = [p for p in self.points if p.rho_b == rho_b]
        return Mean.of([p.spikes for p in chosen]), Mean.of([100 * (1 - p.test_accuracy) for p in chosen])

    def accuracy_at(self, spikes: float) -> float:
        """Return the mean test accuracy at a number of spikes, percent: interpolated on the logarithm of the spikes.

        NaN where the sweep does not reach.
        """
        means = sorted((self.at(rho)[0].mean, 100 - self.at(rho)[1].mean) for rho in self.config.rho_b)
        x, y = np.array([(n, accuracy) for n, accuracy in means if n > 0] or [(np.inf, np.nan)]).T
        return float(np.interp(np.log(spikes), np.log(x), y)) if x[0] <= spikes <= x[-1] else float("nan")


def sparsity(config: SparsityConfig, run: Runner) -> Sparsity:
    """Train every network.

    Args:
        config: what to run.
        run: does the jobs.
    """
    configs = [
        config.train.replace(rho_b=rho, seed=seed, chip_seed=seed)
        for rho in config.rho_b
        for seed in range(config.seeds)
    ]
    points = []
    for one in train_all(configs, run, "figure 3E"):
        last = one.final
        spikes = last.hidden_spikes_per_image
        points.append(Point(one.config.rho_b, one.config.seed, spikes, last.held_out_accuracy, last.train_accuracy))
    return Sparsity(config, tuple(points))


def table(result: Sparsity) -> str:
    """Return the sweep as a Markdown table."""
    lines = ["| ρ_b | hidden spikes per image | test error % |", "|---|---|---|"]
    for rho in result.config.rho_b:
        spikes, error = result.at(rho)
        lines.append(f"| {rho:g} | {spikes.mean:.1f} ± {spikes.sd:.1f} | {error} |")
    return "\n".join(lines)
