"""What the trainer asks of a learner, and what both hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bss2lab.losses import AnyObjective
from bss2lab.types import AnyWeights, Spikes, Substrate

if TYPE_CHECKING:
    from jaxtyping import Bool, Int16, Int64, UInt8
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One encoded split: images as pixels and as spikes, or utterances as spikes alone.

    Attributes:
        pixels: grey values, [n, 256]; of utterances, none: [n, 0].
        spikes: the same as spike trains.
        labels: classes, [n].
        bins: time bin of each spike, [events].
    """

    pixels: UInt8[ndarray, "n i"]
    spikes: Spikes
    labels: Int64[ndarray, "n"]
    bins: Int16[ndarray, "events"]

    @classmethod
    def of(cls, pixels: UInt8[ndarray, "n i"], spikes: Spikes, labels: Int64[ndarray, "n"], dt_us: float) -> Samples:
        """Bundle a split; the bins follow from the spikes."""
        return cls(pixels, spikes, labels, spikes.bins(dt_us))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(slots=True)
class BatchResult:
    """Sums over the images of one batch (means of a term are sums over images, divided at the end).

    Attributes:
        images: number of images.
        correct: number classified correctly.
        hidden_spikes: spikes of all hidden neurons.
        clipped: output samples at the end of the ADC's range.
        terms: each term of the loss, summed over images.
    """

    images: int = 0
    correct: int = 0
    hidden_spikes: float = 0.0
    clipped: int = 0
    terms: dict[str, float] = field(default_factory=dict)

    def add(self, other: BatchResult) -> None:
        """Add another batch."""
        self.images += other.images
        self.correct += other.correct
        self.hidden_spikes += other.hidden_spikes
        self.clipped += other.clipped
        for name, value in other.terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Decisions on a split, and what they cost.

    Attributes:
        decisions: class decided for each sample, [n].
        accuracy: fraction correct.
        hidden_spikes_per_image: mean number of hidden spikes (0 for the ANN).
    """

    decisions: Int64[ndarray, "n"]
    accuracy: float
    hidden_spikes_per_image: float

    @classmethod
    def of(cls, decisions: Int64[ndarray, "n"], labels: Int64[ndarray, "n"], spikes: float) -> Evaluation:
        """Compare decisions with labels."""
        return cls(decisions, float(np.mean(decisions == labels)), spikes)


class Learner(Protocol):
    """Holds the weights and the optimiser; knows nothing of epochs, files or progress."""

    def train_batch(
        self,
        samples: Samples,
        index: Int64[ndarray, "b"],
        *,
        learning_rate: float,
        alive: Bool[ndarray, "n"],
        noise_seed: int,
    ) -> BatchResult:
        """Take one optimiser step on the samples named by ``index``.

        Args:
            samples: the encoded training set.
            index: this batch.
            learning_rate: Adam's rate now.
            alive: False for neurons dropped in this batch, [hidden].
            noise_seed: seed of the substrate's trial-to-trial noise.
        """
        ...

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """Classify every sample, where the mode evaluates: on the chip, in the model, or by the ANN."""
        ...

    def aim(self, objective: AnyObjective) -> None:
        """Minimise another objective of the same kind from the next step on."""
        ...

    def move_to(self, chip: Substrate) -> None:
        """Go on with another chip in the loop, or under test, from the next step on."""
        ...

    def weights(self) -> AnyWeights:
        """Return the model's weights, [input, hidden], [hidden, output] and, if recurrent, [hidden, hidden]."""
        ...

    def state(self) -> dict[str, ndarray]:
        """Return everything that the next step depends on, as arrays (the live ones: copy what is to be kept)."""
        ...

    def restore(self, state: dict[str, ndarray]) -> None:
        """Go back to a state; raises KeyError or ValueError if it is not one of this learner's."""
        ...


def restored(state: dict[str, ndarray], like: dict[str, ndarray]) -> dict[str, ndarray]:
    """Check a loaded state against the learner's own: same names, shapes and dtypes, finite numbers.

    Raises:
        ValueError: naming the first array that does not fit.
    """
    if set(state) != set(like):
        raise ValueError(f"expected arrays {sorted(like)}, got {sorted(state)}")
    for name, own in like.items():
        new = state[name]
        if new.shape != own.shape or new.dtype != own.dtype:
            raise ValueError(f"{name}: expected {own.dtype} {list(own.shape)}, got {new.dtype} {list(new.shape)}")
        if not np.isfinite(new).all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return state


def check_adam(step: float, *second_moments: ndarray) -> None:
    """Check what Adam divides by.

    Raises:
        ValueError: if it never took that many steps, or averaged squares to something negative.
    """
    if not 0 <= step < 2**53 or any((m < 0).any() for m in second_moments):
        raise ValueError("Adam: expected steps and second moments of at least 0, got negative ones")
