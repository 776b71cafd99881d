"""What the two compiled learners share: padded weights with their moments, the chip in the loop, sums, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bss2lab.chip import Chip
from bss2lab.errors import InputError, complain
from bss2lab.kernels import training
from bss2lab.learners.base import BatchResult, Evaluation, Samples, check_adam, restored
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.losses import AnyObjective
from bss2lab.network import chip_weights
from bss2lab.quantize import HIDDEN_SCALE, model_units_per_lsb
from bss2lab.settings import AnyConfig
from bss2lab.types import AnyWeights, Substrate

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64, Real, UInt8
    from numpy import ndarray

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015; PyTorch's defaults)."""

_f = np.float32
_NO_RECORDING = np.empty((0, 0, 0), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """All that one optimiser step needs beside weights and samples.

    Attributes:
        alive: 1 for neurons that may fire, padded, [hidden].
        cadc, fired: the chip's raw recording; empty in software.
        hidden_unit, output_unit: model units per LSB of the two layers.
        adam: rate over bias correction, β₁, β₂, ε, root of the other bias correction.
    """

    alive: Float32[ndarray, "n"]
    cadc: Real[ndarray, "b t n"]
    fired: UInt8[ndarray, "b t n"]
    hidden_unit: np.float32
    output_unit: np.float32
    adam: tuple[np.float32, ...]


class CompiledLearner(ABC):
    """A learner whose training step is one compiled call.

    Args:
        config: the run.
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        weights: the padded weights, by layer; they change in place.
        penalised: number of weights of every layer under the weight penalty.
    """

    terms: ClassVar[Mapping[str, int]]
    """Terms of the loss, and the column of the kernel's statistics that each is in."""

    _rho_w: float

    def __init__(
        self, config: AnyConfig, chip: Chip | None, weights: dict[str, ndarray], penalised: dict[str, int]
    ) -> None:
        self._config, self._chip = config, chip
        self._weights, self._penalised = weights, penalised
        self._moments = {name: np.zeros((2, *w.shape), _f) for name, w in weights.items()}
        self._step = np.zeros(1, np.int64)

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        chip, n = self._chip, len(index)
        mask = np.zeros(self._weights["hidden"].shape[1], _f)
        mask[: self._config.n_hidden] = alive
        cadc = fired = _NO_RECORDING
        scale = HIDDEN_SCALE
        if chip is not None and self._config.mode == "itl":
            held, scale = chip_weights(self.weights(), chip)
            silenced = None if alive.all() else ~alive
            raw = chip.record(chip.write(held), samples.spikes, index, seed=noise_seed, silenced=silenced)
            cadc, fired = raw.cadc, raw.fired
        weight_term = sum(
            self._rho_w * float(np.square(self._weights[name], dtype=np.float64).sum()) / size
            for name, size in self._penalised.items()
        )
        self._step += 1
        k = int(self._step[0])
        adam = learning_rate / (1 - BETA1**k), BETA1, BETA2, EPSILON, np.sqrt(1 - BETA2**k)
        units = _f(model_units_per_lsb(HIDDEN_SCALE)), _f(model_units_per_lsb(scale))
        stats = np.empty((n, training.N_STATISTICS), _f)
        self._descend(samples, index, Step(mask, cadc, fired, *units, tuple(map(_f, adam))), stats)
        total = stats.sum(axis=0, dtype=np.float64)
        terms = {name: float(total[column]) for name, column in self.terms.items()}
        return BatchResult(
            n, int(total[training.CORRECT]), float(total[training.SPIKES]), int(total[training.CLIPPED]),
            {**terms, "weight": weight_term * n},
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        if self._chip is not None:
            vote = self._config.vote
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed, vote=vote)
        stats = np.empty((len(samples), training.N_STATISTICS), _f)
        decisions = np.empty(len(samples), np.int64)
        self._classify(samples, decisions, stats)
        return Evaluation.of(decisions, samples.labels, float(stats[:, training.SPIKES].mean(dtype=np.float64)))

    def move_to(self, chip: Substrate) -> None:
        """See ``Learner.move_to``.

        Raises:
            InputError: if it is no emulated chip, which alone has a compiled loop.
        """
        if not isinstance(chip, Chip):
            fix = "start a run on it: Run(config, chip=…)"
            raise InputError(complain("chip", expected="an emulated Chip", got=type(chip).__name__, fix=fix))
        self._chip = chip

    @abstractmethod
    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``."""

    @abstractmethod
    def weights(self) -> AnyWeights:
        """See ``Learner.weights``."""

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        weights = {f"w_{name}": w for name, w in self._weights.items()}
        return {**weights, **{f"moments_{name}": m for name, m in self._moments.items()}, "step": self._step}

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        restored(state, self.state())
        check_adam(int(state["step"][0]), *(state[f"moments_{name}"][1] for name in self._weights))
        for name, value in state.items():
            self.state()[name][...] = value

    @abstractmethod
    def _descend(
        self, samples: Samples, index: Int64[ndarray, "b"], step: Step, stats: Float32[ndarray, "b s"]
    ) -> None:
        """Change weights and moments by one step; fill in the statistics of every sample."""

    @abstractmethod
    def _classify(self, samples: Samples, decisions: Int64[ndarray, "n"], stats: Float32[ndarray, "n s"]) -> None:
        """Decide on every sample in the model; fill in decisions and statistics."""
