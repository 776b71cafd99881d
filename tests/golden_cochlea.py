"""What the authors' own implementation of the cochlea (``lauscher``) makes of small, simple stimuli.

``python tests/golden_cochlea.py`` computes ``golden_cochlea.npz`` anew (needs ``pip install lauscher``). The tests
compare with that file, so that they need no lauscher, and with lauscher itself where it is installed.
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("golden_cochlea.npz")
RATE_HZ, N_CHANNELS = 48_000, 12
TRIALS = 24
WEIGHT = 4000.0  # of the bushy cells that meet `trains`


def chirp(n=960):
    """Two tones and a rising one, loud enough to drive the hair cells hard."""
    t = np.arange(n) / RATE_HZ
    ramp = np.sin(np.pi * np.arange(n) / n) ** 2
    return ramp * (np.sin(2 * np.pi * 440 * t) + 0.6 * np.sin(2 * np.pi * 2500 * t) + np.sin(2e6 * t**2))


def trains(n=2400):
    """Spike trains of which every spike is one of all 40 fibres at once: sparse, dense, in volleys. [4, n] of 0, 1."""
    t = np.arange(n)
    return np.stack([t % 311 == 7, t % 37 == 5, (t * t) % 101 < 9, (t // 200) % 2 == 1]).astype(np.float32)


def probabilities(n=2400):
    """Firing probabilities: at rest, higher, modulated, in bursts, beyond ½. Shape [6, n]."""
    t = np.arange(n)
    rest = np.full(n, 0.0027)
    tone = 0.03 * np.maximum(0, np.sin(2 * np.pi * t / 97))
    burst = np.where((t // 300) % 3 == 1, 0.2, 0.001)
    sure = np.where(t % 400 < 3, 0.9, 0.002)
    return np.stack([rest, rest * 4, rest * 8, tone, burst, sure]).astype(np.float32)


def oracle_velocities(samples, n_channels):
    from lauscher.transformations import BasilarMembrane

    model = BasilarMembrane(channels=n_channels)
    n = len(samples) // 2 + 1
    omega = 2 * np.pi * np.linspace(1, RATE_HZ // 2, n)
    return np.array([model.process_single_channel(c, omega, np.fft.fft(samples)[:n]) for c in model.ch])


def oracle_probabilities(velocities):
    from lauscher.transformations import HairCell

    return np.array([HairCell()._meddis(v.astype(np.float64), RATE_HZ // 2) for v in velocities])


def oracle_steps(probabilities, **constants):
    """One list of spike times in steps per channel; the fibres' spikes come from NumPy's global generator."""
    from lauscher.transformations import BushyCell

    model, rate = BushyCell(**constants), RATE_HZ // 2
    return [np.flatnonzero(model._lif(model._sample(p, rate), rate)) for p in probabilities]


def compute():
    np.random.seed(1)  # noqa: NPY002 (lauscher draws from it)
    velocities = oracle_velocities(chirp(), N_CHANNELS)
    trials = [oracle_steps(probabilities()) for _ in range(TRIALS)]
    golden = {
        "velocities": velocities.astype(np.float32),
        "probabilities": oracle_probabilities(velocities[2::3]).astype(np.float32),
        "counts": np.array([[len(steps) for steps in trial] for trial in trials], dtype=np.uint16),
    }
    for c, steps in enumerate(oracle_steps(trains(), weight=WEIGHT)):
        golden[f"train{c}"] = steps.astype(np.uint16)
    for c in range(len(probabilities())):
        golden[f"steps{c}"] = np.concatenate([trial[c] for trial in trials]).astype(np.uint16)
    return golden


if __name__ == "__main__":
    np.savez_compressed(FILE, **compute())
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")
