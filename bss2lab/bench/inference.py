"""Fast inference on the emulated chip: 11.8 µs of chip time per image, noise and ADC on, decisions out."""

from __future__ import annotations

import time

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.inputs import Data, encode
from bss2lab.network import chip_weights
from bss2lab.settings import TrainConfig
from bss2lab.train import Run


def images_per_second(*, rounds: int) -> dict[str, float]:
    """Classify the 10,000 test images ``rounds`` times with a half-trained network (its spikes cost time).

    Returns:
        Median and quartiles of the rate in images per second, and the accuracy.
    """
    config = TrainConfig(limit=10_000, epochs=1)
    test = vision.load("mnist", "test")
    run = Run(config, Data(vision.load("mnist", "train").take(config.limit), test.take(500)))
    list(run.fit())
    chip = Chip(config.chip_seed, config.profile)
    program = chip.write(chip_weights(run.learner.weights(), chip)[0])
    samples = encode(test, config)
    chip.infer(program, samples.spikes, seed=0)
    seconds = []
    decisions = np.empty(0)
    for k in range(rounds):
        begin = time.perf_counter()
        decisions, _ = chip.infer(program, samples.spikes, seed=k)
        seconds.append(time.perf_counter() - begin)
    low, median, high = (float(len(samples) / s) for s in np.percentile(seconds, (75, 50, 25)))
    return {"low": low, "median": median, "high": high, "accuracy": float(np.mean(decisions == samples.labels))}
