"""Made-up words for tests of what learns: each class a burst of spikes in a part of the channels of its own."""

import numpy as np
from spoken import speech_set


def words(n=90, seed=0, n_speakers=3, strange=0, **changes):
    """Words of three classes by some speakers, in turns; the last ``strange`` speakers spread their channels more."""
    rng = np.random.default_rng(seed)
    labels = [k % 3 for k in range(n)]
    speakers = [k // 3 % n_speakers for k in range(n)]
    samples = []
    for label, speaker in zip(labels, speakers, strict=True):
        width = 220 if speaker >= n_speakers - strange else 60
        times = np.sort(rng.uniform(0, 0.19, 300)).astype(np.float32)
        units = np.clip(rng.normal(150 + 200 * label, width, 300), 0, 699)
        samples.append((times, units.astype(np.int16)))
    return speech_set(samples, labels, speakers, **changes)
