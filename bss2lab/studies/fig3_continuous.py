"""Figure 3D: one uninterrupted run of the chip, an image every 11.8 µs, with and without the artificial reset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import field_validator

from bss2lab.chip import Chip, ContinuousRecording, power
from bss2lab.chip.power import Throughput
from bss2lab.chip.spec import SPEC
from bss2lab.config import Config, Source, quantity
from bss2lab.datasets import vision
from bss2lab.network import chip_weights
from bss2lab.quantize import model_units_per_lsb
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig3_training import QUICK as QUICK_TRAINING
from bss2lab.studies.fig3_training import TrainingConfig
from bss2lab.studies.results import Mean
from bss2lab.studies.training import Trained, images_of, train_all
from bss2lab.train import chip_of, encode
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, UInt8
    from numpy import ndarray

FASTEST_US, RESET_US = SPEC["separation"].value, SPEC["reset_after"].value


class ContinuousConfig(Config):
    """Figure 3D.

    Attributes:
        training: the networks, those of figure 3B.
        separation_us: times from image to image, µs, in rising order.
    """

    training: TrainingConfig = TrainingConfig()
    separation_us: tuple[float, ...] = (FASTEST_US, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0)
    reset_after_us: float = quantity(
        RESET_US, "artificial reset after the first spike of an image", unit="µs", source=Source.PAPER, gt=0, le=1e3
    )

    @field_validator("separation_us")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or list(given) != sorted(set(given)) or given[0] <= 0:
            raise ValueError("one or more different times above 0 µs, in rising order")
        return given


QUICK = ContinuousConfig(training=QUICK_TRAINING, separation_us=(FASTEST_US, 20.0, 50.0, 200.0))


class StreamedConfig(Config):
    """One network in continuous operation.

    Attributes:
        train: the run that the weights come from.
        separation_us, reset_after_us: see ``ContinuousConfig``.
    """

    train: TrainConfig
    separation_us: tuple[float, ...]
    reset_after_us: float


@dataclass(frozen=True, slots=True)
class ContinuousPoint:
    """The test set in one uninterrupted run.

    Attributes:
        seed: seed of network and chip.
        separation_us: time from image to image, µs.
        reset: with the artificial reset?
        accuracy: fraction correct.
        hidden_spikes: mean number per image.
        emulated_us: chip time of the whole run, µs.
        images: number of images.
    """

    seed: int
    separation_us: float
    reset: bool
    accuracy: float
    hidden_spikes: float
    emulated_us: float
    images: int


@dataclass(frozen=True, slots=True)
class Continuous:
    """Figure 3D.

    Attributes:
        config: what was asked for.
        points: one per network, separation, and with or without reset.
    """

    config: ContinuousConfig
    points: tuple[ContinuousPoint, ...]

    def at(self, separation_us: float, *, reset: bool) -> Mean:
        """Return the accuracy at one separation, percent, over the seeds."""
        chosen = [p for p in self.points if p.separation_us == separation_us and p.reset == reset]
        return Mean.of([100 * p.accuracy for p in chosen])

    def throughput(self) -> Throughput:
        """Return throughput and energy of the fastest run with reset, from its emulated time."""
        fastest = next(p for p in self.points if p.separation_us == self.config.separation_us[0] and p.reset)
        return power.of_run(fastest.images, fastest.emulated_us)


def continuous(config: ContinuousConfig, run: Runner) -> Continuous:
    """Train the networks (or take them from the store), and show each the test set in uninterrupted runs.

    Args:
        config: what to run.
        run: does the jobs.
    """
    networks = train_all(config.training.runs(), run, "figure 3D, training")
    records = run([_job(one, config) for one in networks], "figure 3D, streams")
    return Continuous(config, tuple(ContinuousPoint(**p) for record in records for p in record.values["points"]))


def _job(network: Trained, config: ContinuousConfig) -> Job:
    job = StreamedConfig(train=network.config, separation_us=config.separation_us, reset_after_us=config.reset_after_us)
    return Job("streams", f"seed {network.config.seed}", stream_test_set, job, network.weights._asdict())


def stream_test_set(config: StreamedConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Classify the test images in uninterrupted runs, at every separation, with and without the reset."""
    train = config.train
    chip, held_out = chip_of(train), encode(images_of(train).held_out, train)
    weights, _ = chip_weights(Weights(inputs["hidden"], inputs["output"]), chip)
    program = chip.write(weights)
    points = []
    for separation_us in config.separation_us:
        for reset in (True, False):
            recording = chip.run_continuously(
                program, held_out.spikes, seed=train.seed, separation_us=separation_us,
                reset_after_us=min(config.reset_after_us, separation_us) if reset else None,
            )  # fmt: skip
            accuracy = float(np.mean(recording.decisions() == held_out.labels))
            spikes = float(recording.spikes_per_image().mean())
            where = train.seed, separation_us, reset
            point = dict(zip(("seed", "separation_us", "reset"), where, strict=True))
            point |= {"accuracy": accuracy, "hidden_spikes": spikes}
            points.append(point | {"emulated_us": recording.emulated_us, "images": len(held_out)})
    return Record({"points": points})


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A stretch of one uninterrupted run, for drawing. Times in µs after the first image's start.

    Attributes:
        pixels: the images, [image, 16, 16].
        labels, decisions: true class and the network's, [image].
        start_us: start of every image, [image].
        reset_us: start of the artificial reset in every image, which lasts until the next one; None: no reset.
        separation_us: time from image to image.
        input_spikes, hidden_spikes: (time, unit) of all events.
        time_us: times of the ADC samples, [time].
        readout: output membranes in model units, [time, output].
    """

    pixels: UInt8[ndarray, "b 16 16"]
    labels: Int64[ndarray, "b"]
    decisions: Int64[ndarray, "b"]
    start_us: Float64[ndarray, "b"]
    reset_us: Float64[ndarray, "b"] | None
    separation_us: float
    input_spikes: tuple[ndarray, ndarray]
    hidden_spikes: tuple[ndarray, ndarray]
    time_us: Float64[ndarray, "t"]
    readout: Float32[ndarray, "t o"]


def stream(
    config: TrainConfig, weights: Weights, images: vision.ImageSet, *, chip: Chip, reset: bool = True,
    separation_us: float = FASTEST_US, noise_seed: int = 0,
) -> Stream:  # fmt: skip
    """Show a few images to the chip in one uninterrupted run and keep all that figure 3D shows.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        images: the images, in the order of the run.
        chip: where to run them.
        reset: with the artificial reset?
        separation_us: time from image to image, µs.
        noise_seed: seed of the trial-to-trial noise.
    """
    samples = encode(images, config)
    rounded, scale = chip_weights(weights, chip)
    recording = chip.run_continuously(
        chip.write(rounded), samples.spikes, seed=noise_seed, separation_us=separation_us,
        reset_after_us=RESET_US if reset else None,
    )  # fmt: skip
    return _stretch(recording, samples.spikes, samples.labels, samples.pixels.reshape(-1, 16, 16), scale)


def _stretch(recording: ContinuousRecording, spikes: Spikes, labels: ndarray, pixels: ndarray, scale: float) -> Stream:
    begin = recording.start_us[0]
    start = recording.start_us - begin
    owner = np.repeat(np.arange(len(spikes)), np.diff(spikes.offsets))
    sent = np.ones(len(owner), bool) if recording.reset_after_us is None else spikes.times_us < recording.reset_after_us
    input_us = (spikes.times_us + start[owner])[sent]
    order = np.argsort(input_us, kind="stable")
    shown = recording.sample_us >= begin - 5.0
    traces = (recording.output_lsb - recording.baseline_lsb()) * model_units_per_lsb(scale)
    return Stream(
        pixels=pixels,
        labels=labels,
        decisions=recording.decisions(),
        start_us=start,
        reset_us=None if recording.reset_after_us is None else start + recording.reset_after_us,
        separation_us=recording.separation_us,
        input_spikes=(input_us[order], spikes.units[sent][order]),
        hidden_spikes=(recording.spike_us - begin, recording.spike_unit),
        time_us=recording.sample_us[shown] - begin,
        readout=traces[shown].astype(np.float32),
    )


def table(result: Continuous) -> str:
    """Return the accuracies as a Markdown table, and what the fastest run would cost on the chip."""
    lines = ["| separation (µs) | images/s | test %, with reset | without |", "|---|---|---|---|"]
    for s in result.config.separation_us:
        rate = power.at_separation(s).images_per_s
        lines.append(f"| {s:g} | {rate:,.0f} | {result.at(s, reset=True)} | {result.at(s, reset=False)} |")
    return "\n".join([*lines, "", f"with reset: {result.throughput()}"])
