"""Six made-up recordings of three speakers: ``tests/files/spoken.h5`` is what ``python tests/spoken.py`` writes."""

from pathlib import Path

import numpy as np

from bss2lab.datasets import spikefile
from bss2lab.datasets.speechset import SpeechSet

FILE = Path(__file__).parent / "files" / "spoken.h5"
CLASSES = ("zero", "eins", "fünf")
LABELS = [0, 1, 2, 0, 1, 2]
SPEAKERS = [0, 0, 1, 1, 2, 2]
INFO = {
    "gender": np.array(["female", "male", "female"]),
    "age": np.array([31, 24, 57], dtype=np.uint16),
    "body_height": np.array([171, 183, 165], dtype=np.uint16),
}


def speech_set(samples, labels=None, speakers=None, **changes):
    """Return a set of the (times in s, units) pairs given."""
    n = len(samples)
    stop = np.cumsum([len(t) for t, _ in samples], dtype=np.int64)
    empty = (np.empty(0), np.empty(0, np.int16))
    values = {
        "times_s": np.concatenate([t for t, _ in [*samples, empty]]).astype(np.float32),
        "units": np.concatenate([u for _, u in [*samples, empty]]).astype(np.int16),
        "start": stop - np.array([len(t) for t, _ in samples], dtype=np.int64),
        "stop": stop,
        "labels": np.array(labels or [0] * n, dtype=np.int64),
        "speakers": np.array(speakers or [0] * n, dtype=np.int64),
        "index": np.arange(n),
        "classes": CLASSES,
        "n_units": 700,
        "split": "train",
        "name": "made up",
    }
    return SpeechSet(**values | changes)


def made_up(seed=0):
    """Return the six recordings: up to 40 spikes each, the fifth with none; float16 times, as in published files."""
    rng = np.random.default_rng(seed)
    samples = []
    for n in (40, 25, 33, 1, 0, 38):
        times = np.sort(rng.uniform(0, 1.4, n)).astype(np.float16)
        samples.append((times, rng.integers(0, 700, n)))
    return speech_set(samples, LABELS, SPEAKERS, speaker_info=INFO)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    spikefile.write(FILE, made_up())
