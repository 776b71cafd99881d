"""Figure 3D: one uninterrupted run of the chip, an image every 11.8 µs, with and without the artificial reset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import field_validator

from bss2lab.chip import Chip, power
from bss2lab.chip.power import Throughput
from bss2lab.chip.spec import SPEC
from bss2lab.config import Config, Source, quantity
from bss2lab.datasets import vision
from bss2lab.inputs import encode
from bss2lab.network import chip_weights
from bss2lab.presets import SWIFT
from bss2lab.quantize import model_units_per_lsb
from bss2lab.runner import Job, Record, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig3_training import QUICK as QUICK_TRAINING
from bss2lab.studies.fig3_training import TrainingConfig
from bss2lab.studies.networks import ImageNetwork
from bss2lab.studies.results import Mean
from bss2lab.studies.training import data_of, train_all
from bss2lab.train import chip_of
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, UInt8
    from numpy import ndarray

READ_STEPS = 20
"""Model steps that an image's input lasts, however few a network was trained on [authors' code]."""

FASTEST_US, RESET_US = SPEC["separation"].value, SPEC["reset_after"].value


class ContinuousConfig(Config):
    """Figure 3D.

    Attributes:
        training: the networks; by default they were trained to decide early.
        separation_us: times from image to image, µs, in rising order.
    """

    training: TrainingConfig = TrainingConfig(train=SWIFT)
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
    """

    seed: int
    separation_us: float
    reset: bool
    accuracy: float
    hidden_spikes: float


@dataclass(frozen=True, slots=True)
class Continuous:
    """Figure 3D.

    Attributes:
        config: what was asked for.
        points: one per network, separation, and with or without reset.
        images: images in each run.
        emulated_us: chip time of a run at the first separation, idle time before the first image included, µs.
    """

    config: ContinuousConfig
    points: tuple[ContinuousPoint, ...]
    images: int
    emulated_us: float

    def at(self, separation_us: float, *, reset: bool) -> Mean:
        """Return the accuracy at one separation, percent, over the seeds."""
        chosen = [p for p in self.points if p.separation_us == separation_us and p.reset == reset]
        return Mean.of([100 * p.accuracy for p in chosen])

    def throughput(self) -> Throughput:
        """Return throughput and energy of a run at the first separation, from its emulated time."""
        return power.of_run(self.images, self.emulated_us)


def continuous(config: ContinuousConfig, run: Runner) -> Continuous:
    """Train the networks (or take them from the store), and show each the test set in uninterrupted runs.

    Args:
        config: what to run.
        run: does the jobs.
    """
    networks = train_all(config.training.runs(), run, "figure 3D, training")
    records = run([_job(one, config) for one in networks], "figure 3D, streams")
    points = tuple(ContinuousPoint(**p) for record in records for p in record.values["points"])
    return Continuous(config, points, records[0].values["images"], records[0].values["emulated_us"])


def _job(network: ImageNetwork, config: ContinuousConfig) -> Job:
    job = StreamedConfig(train=network.config, separation_us=config.separation_us, reset_after_us=config.reset_after_us)
    return Job("streams", f"seed {network.config.seed}", stream_test_set, job, network.weights._asdict())


def stream_test_set(config: StreamedConfig, inputs: Mapping[str, ndarray], scratch: Path | None) -> Record:
    """Classify the test images in uninterrupted runs, at every separation, with and without the reset."""
    train = config.train.replace(n_steps=READ_STEPS)
    chip, held_out = chip_of(train), encode(data_of(train).held_out, train)
    weights, _ = chip_weights(Weights(inputs["hidden"], inputs["output"]), chip)
    program = chip.write(weights)
    points, emulated_us = [], 0.0
    for separation_us in config.separation_us:
        for reset in (True, False):
            recording = chip.run_continuously(
                program, held_out.spikes, seed=train.seed, separation_us=separation_us,
                reset_after_us=min(config.reset_after_us, separation_us) if reset else None,
            )  # fmt: skip
            emulated_us = emulated_us or recording.emulated_us
            accuracy = float(np.mean(recording.decisions() == held_out.labels))
            spikes = float(recording.spikes_per_image().mean())
            points.append(asdict(ContinuousPoint(train.seed, separation_us, reset, accuracy, spikes)))
    return Record({"points": points, "images": len(held_out), "emulated_us": emulated_us})


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Several consecutive images of one uninterrupted run. Times count from the start of the first image, µs.

    Attributes:
        pixels: the images in the order shown, [image, 16, 16].
        labels, decisions: true class and the network's, [image].
        image_starts_us: first input spike of each image, rising, [image].
        separation_us: length of an image's slot: image k owns [start k, start k + separation].
        resets_us: begin and end of each interval in which the reset is held, [reset, 2]; None without reset.
        input_spikes: input events; a single sample that covers the whole run.
        hidden_spikes: hidden events; likewise.
        time_us: time of the read-out samples, rising, [time].
        readout: output membranes in model units, [time, output].
        emulated: do the spikes and traces come from the emulated chip?
    """

    pixels: UInt8[ndarray, "k 16 16"]
    labels: Int64[ndarray, "k"]
    decisions: Int64[ndarray, "k"]
    image_starts_us: Float64[ndarray, "k"]
    separation_us: float
    resets_us: Float64[ndarray, "r 2"] | None
    input_spikes: Spikes
    hidden_spikes: Spikes
    time_us: Float64[ndarray, "t"]
    readout: Float32[ndarray, "t o"]
    emulated: bool = True

    @property
    def end_us(self) -> float:
        """End of the last image's slot, µs."""
        return float(self.image_starts_us[-1]) + self.separation_us


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
    samples = encode(images, config.replace(n_steps=READ_STEPS))
    rounded, scale = chip_weights(weights, chip)
    recording = chip.run_continuously(
        chip.write(rounded), samples.spikes, seed=noise_seed, separation_us=separation_us,
        reset_after_us=RESET_US if reset else None,
    )  # fmt: skip
    begin, sent = recording.start_us[0], samples.spikes
    start = recording.start_us - begin
    if recording.reset_after_us is not None:
        sent = sent.until(recording.reset_after_us)
    input_us = sent.times_us + np.repeat(start, np.diff(sent.offsets))
    shown = recording.sample_us >= begin
    end_us = float(recording.sample_us[-1] - begin) + samples.spikes.duration_us
    held = recording.reset_after_us is not None
    traces = (recording.output_lsb - recording.baseline_lsb()) * model_units_per_lsb(scale)
    hidden_us = recording.spike_us - begin
    return Stream(
        pixels=samples.pixels.reshape(-1, 16, 16),
        labels=samples.labels,
        decisions=recording.decisions(),
        image_starts_us=start,
        separation_us=recording.separation_us,
        resets_us=np.stack([start + recording.reset_after_us, start + separation_us], axis=1) if held else None,
        input_spikes=_one_sample(input_us, sent.units, sent.n_units, end_us),
        hidden_spikes=_one_sample(hidden_us, recording.spike_unit, config.n_hidden, end_us),
        time_us=recording.sample_us[shown] - begin,
        readout=traces[shown].astype(np.float32),
    )


def _one_sample(times_us: ndarray, units: ndarray, n_units: int, duration_us: float) -> Spikes:
    order = np.argsort(times_us, kind="stable")
    kept = order[times_us[order] >= 0]  # a chip may fire before it is shown anything
    return Spikes.from_events([(times_us[kept], units[kept])], n_units=n_units, duration_us=duration_us)


def table(result: Continuous) -> str:
    """Return the accuracies as a Markdown table, and what the fastest run would cost on the chip."""
    lines = ["| separation (µs) | images/s | test %, with reset | without |", "|---|---|---|---|"]
    for s in result.config.separation_us:
        rate = power.at_separation(s).images_per_s
        lines.append(f"| {s:g} | {rate:,.0f} | {result.at(s, reset=True)} | {result.at(s, reset=False)} |")
    return "\n".join([*lines, "", f"with reset: {result.throughput()}"])
