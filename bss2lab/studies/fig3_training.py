"""Figure 3B: loss and accuracy over the epochs, for several initialisations."""

from __future__ import annotations

from dataclasses import dataclass

from bss2lab.config import Config, Source, quantity
from bss2lab.presets import FULL, PRESETS
from bss2lab.results import Epoch
from bss2lab.runner import Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig3 import LearningCurves, learning_curves
from bss2lab.studies.networks import ImageNetwork
from bss2lab.studies.results import Mean
from bss2lab.studies.training import train_all


class TrainingConfig(Config):
    """Figure 3B.

    Attributes:
        train: the run; seed and chip are replaced by each seed's.
    """

    train: TrainConfig = FULL["mnist", "itl", False]
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)

    def runs(self) -> list[TrainConfig]:
        """Return one configuration per seed."""
        return [self.train.replace(seed=seed, chip_seed=seed) for seed in range(self.seeds)]


QUICK = TrainingConfig(train=PRESETS["default"].replace(epochs=3, limit=10_000, lr_decay=0.6), seeds=2)


@dataclass(frozen=True, slots=True)
class Training:
    """Figure 3B.

    Attributes:
        config: what was asked for.
        runs: every epoch of every seed.
    """

    config: TrainingConfig
    runs: tuple[tuple[Epoch, ...], ...]

    @property
    def curves(self) -> LearningCurves:
        """The curves as arrays."""
        return learning_curves(self.runs, emulated=self.config.train.on_chip)

    @property
    def test(self) -> Mean:
        """Test accuracy after the last epoch, percent."""
        return Mean.of([100 * run[-1].held_out_accuracy for run in self.runs])


def training(config: TrainingConfig, run: Runner) -> Training:
    """Train every initial condition.

    Args:
        config: what to run.
        run: does the jobs.
    """
    done = train_all(config.runs(), run, "figure 3B")
    return Training(config, tuple(one.epochs for one in done))


def network(config: TrainingConfig, run: Runner) -> ImageNetwork:
    """Return the first network of the study."""
    return train_all(config.runs()[:1], run, "network")[0]


def table(result: Training) -> str:
    """Return the final accuracies as a Markdown table."""
    lines = ["| seed | epochs | train % | test % | hidden spikes per image | seconds |", "|---|---|---|---|---|---|"]
    for seed, epochs in enumerate(result.runs):
        last, seconds = epochs[-1], sum(e.seconds for e in epochs)
        lines.append(
            f"| {seed} | {len(epochs)} | {100 * last.train_accuracy:.2f} | {100 * last.held_out_accuracy:.2f} | "
            f"{last.hidden_spikes_per_image:.1f} | {seconds:.0f} |"
        )
    return "\n".join([*lines, f"| all | | | {result.test} | | |"])
