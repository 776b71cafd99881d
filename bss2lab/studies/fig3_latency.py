"""Figure 3C: how soon a decision is ready. Accuracy against the end of the read-out interval [0, T]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.config import Config, Source, quantity
from bss2lab.inputs import encode
from bss2lab.network import chip_weights
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig3_training import QUICK as QUICK_TRAINING
from bss2lab.studies.fig3_training import TrainingConfig
from bss2lab.studies.networks import ImageNetwork
from bss2lab.studies.training import data_of, train_all
from bss2lab.train import chip_of
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

_BATCH = 500


class LatencyConfig(Config):
    """Figure 3C.

    Attributes:
        training: the networks, those of figure 3B.
    """

    training: TrainingConfig = TrainingConfig()
    phases: int = quantity(
        4,
        "the images are shown at this many phases of the ADC's clock, so that T is resolved finer than its period",
        source=Source.ASSUMED,
        ge=1,
        le=16,
        why="a quarter of the period: the emulation's fine step",
    )
    read_steps: int = quantity(
        20, "model steps that are read, however few a network was trained on", source=Source.AUTHORS_CODE, ge=2, le=400
    )


QUICK = LatencyConfig(training=QUICK_TRAINING, phases=2)


class DecisionConfig(Config):
    """One network, its decisions over time.

    Attributes:
        train: the run that the weights come from.
        phases: phases of the ADC's clock.
        read_steps: model steps that are read.
    """

    train: TrainConfig
    phases: int
    read_steps: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Figure 3C.

    Attributes:
        config: what was asked for.
        until_us: ends T of the read-out interval, µs after the first input spike, rising.
        accuracy: fraction correct of the test images if only samples in [0, T] count, one row per seed.
    """

    config: LatencyConfig
    until_us: tuple[float, ...]
    accuracy: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> Float64[ndarray, "t"]:
        """Mean accuracy over the seeds, percent."""
        return 100 * np.array(self.accuracy).mean(axis=0)

    def ready_us(self, tolerance: float = 0.1) -> float:
        """Return the first T at which the mean accuracy is within ``tolerance`` points of its peak, µs."""
        mean = self.mean
        return self.until_us[int(np.flatnonzero(mean >= mean.max() - tolerance)[0])]


def latency(config: LatencyConfig, run: Runner) -> Latency:
    """Train the networks (or take them from the store), and read their decisions early.

    Args:
        config: what to run.
        run: does the jobs.
    """
    networks = train_all(config.training.runs(), run, "figure 3C, training")
    records = run([_job(one, config) for one in networks], "figure 3C, decisions")
    rows = tuple(tuple(record.values["accuracy"]) for record in records)
    return Latency(config, tuple(records[0].values["until_us"]), rows)


def _job(network: ImageNetwork, config: LatencyConfig) -> Job:
    one = DecisionConfig(train=network.config, phases=config.phases, read_steps=config.read_steps)
    return Job("decisions", f"seed {network.config.seed}", decide_early, one, network.weights._asdict())


def decide_early(config: DecisionConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Classify the test images from the samples in [0, T], for every T at which a sample is taken."""
    train = config.train.replace(n_steps=config.read_steps)
    chip, held_out = chip_of(train), encode(data_of(train).held_out, train)
    weights, _ = chip_weights(Weights(inputs["hidden"], inputs["output"]), chip)
    shift_us = chip.profile.cadc_period_us / config.phases
    found: dict[float, float] = {}
    for phase in range(config.phases):
        late = delayed(held_out.spikes, phase * shift_us)
        hits = []
        for start in range(0, len(held_out), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(held_out)))
            recording = chip.run(weights, late.select(index), seed=start + phase)
            peak = np.maximum.accumulate(recording.output_lsb.astype(np.int16), axis=1)
            decisions = (peak - recording.output_baseline_lsb[:, None]).argmax(axis=2)
            hits.append(decisions == held_out.labels[index, None])
        accuracy = np.concatenate(hits).mean(axis=0)
        sample_us = train.dt_us * np.arange(1, len(accuracy) + 1) + chip.profile.readout_lag_us - phase * shift_us
        found |= {round(float(t), 4): a for t, a in zip(sample_us, accuracy.tolist(), strict=True)}
    times = sorted(t for t in found if t < train.duration_us)
    return Record({"until_us": times, "accuracy": [found[t] for t in times]})


def delayed(spikes: Spikes, by_us: float) -> Spikes:
    """Return the same samples, all spikes later by a fixed time (those pushed over the end are dropped)."""
    later = Spikes(
        spikes.times_us + np.float32(by_us), spikes.units, spikes.offsets, spikes.n_units, spikes.duration_us + by_us
    )
    return later.until(spikes.duration_us)


def table(result: Latency) -> str:
    """Return the curve as a Markdown table."""
    lines = ["| T (µs) | test % |", "|---|---|"]
    lines += [f"| {t:.2f} | {a:.2f} |" for t, a in zip(result.until_us, result.mean, strict=True)]
    return "\n".join([*lines, "", f"within 0.1 points of the peak at {result.ready_us():.2f} µs"])
