"""The fast learner: the whole training step in one compiled call, on the model or in the loop with a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.kernels import feedforward, training
from bss2lab.learners.base import BatchResult, Evaluation, Samples, check_adam, restored
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.losses import MaxOverTime, Objective
from bss2lab.network import chip_weights, initial_weights
from bss2lab.quantize import HIDDEN_SCALE, WEIGHT_CLAMP, model_units_per_lsb
from bss2lab.settings import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.types import Weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from numpy import ndarray

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015; PyTorch's defaults)."""

_f = np.float32
_NO_RECORDING = np.empty((0, 0, 0), np.uint8)


class FusedLearner:
    """Compiled training on the standard objective.

    Args:
        config: the run.
        objective: the standard objective (see ``Objective.has_compiled_form``).
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
    """

    def __init__(self, config: TrainConfig, objective: Objective, chip: Chip | None) -> None:
        assert isinstance(objective.task, MaxOverTime)
        self._config, self._objective, self._task, self._chip = config, objective, objective.task, chip
        start = initial_weights(
            N_INPUT, config.n_hidden, N_OUTPUT, tau_mem_us=config.tau_mem_us, dt_us=config.dt_us, seed=config.seed
        )
        self._hidden = feedforward.pad_hidden(start.hidden)
        self._output = feedforward.pad_output(start.output)
        self._moments = np.zeros((2, *self._hidden.shape), _f), np.zeros((2, *self._output.shape), _f)
        self._step = np.zeros(1, np.int64)
        self._adjoint = np.empty((0, 0, 0), _f)

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        cfg, goal, chip = self._config, self._objective, self._chip
        mask = np.zeros(self._hidden.shape[1], _f)
        mask[: cfg.n_hidden] = alive
        cadc = fired = _NO_RECORDING
        scale = HIDDEN_SCALE
        if chip is not None and cfg.mode == "itl":
            held, scale = chip_weights(self.weights(), chip)
            silenced = None if alive.all() else ~alive
            raw = chip.record(chip.write(held), samples.spikes, index, seed=noise_seed, silenced=silenced)
            cadc, fired = raw.cadc, raw.fired
        if self._adjoint.shape[0] < len(index):
            self._adjoint = np.empty((len(index), cfg.n_steps, self._hidden.shape[1]), _f)
        stats = np.empty((len(index), training.N_STATISTICS), _f)
        weight_term = (
            goal.weight.rho_w * float(np.square(self._hidden, dtype=np.float64).sum()) / self._n_hidden_weights
        )
        self._step += 1
        k = int(self._step[0])
        model, s = cfg.model, samples.spikes
        training.train_step(
            self._hidden, self._output, *self._moments,
            s.offsets, index, s.units, samples.bins, samples.labels, mask,
            _f(model.alpha), _f(model.mu), _f(model.beta), _f(self._task.scale), _f(goal.readout.rho_a),
            _f(goal.burst.rho_b), _f(goal.weight.rho_w / self._n_hidden_weights), _f(WEIGHT_CLAMP),
            _f(learning_rate / (1 - BETA1**k)), _f(BETA1), _f(BETA2), _f(EPSILON), _f(np.sqrt(1 - BETA2**k)),
            cfg.n_hidden, N_OUTPUT, cfg.n_steps, cadc, fired, FIRST_SAMPLE,
            _f(model_units_per_lsb(HIDDEN_SCALE)), _f(model_units_per_lsb(scale)), self._adjoint, stats,
        )  # fmt: skip
        total = stats.sum(axis=0, dtype=np.float64)
        terms = {
            "task": float(total[training.NLL]), "burst": float(total[training.BURST]),
            "readout": float(total[training.READOUT]), "weight": weight_term * len(index),
        }  # fmt: skip
        return BatchResult(
            len(index), int(total[training.CORRECT]), float(total[training.SPIKES]),
            int(total[training.CLIPPED]), terms,
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        cfg = self._config
        if self._chip is not None:
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed)
        stats = np.empty((len(samples), training.N_STATISTICS), _f)
        decisions = np.empty(len(samples), np.int64)
        s = samples.spikes
        training.evaluate(
            self._hidden, self._output, s.offsets, np.arange(len(samples)), s.units, samples.bins,
            _f(cfg.model.alpha), _f(cfg.model.mu), N_OUTPUT, cfg.n_steps, decisions, stats,
        )  # fmt: skip
        return Evaluation.of(decisions, samples.labels, float(stats[:, training.SPIKES].mean(dtype=np.float64)))

    def weights(self) -> Weights:
        """See ``Learner.weights``."""
        n = self._config.n_hidden
        return Weights(self._hidden[:, :n], self._output[:N_OUTPUT, :n].T)

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        first, second = self._moments
        return {
            "w_hidden": self._hidden, "w_output": self._output,
            "moments_hidden": first, "moments_output": second, "step": self._step,
        }  # fmt: skip

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        restored(state, self.state())
        check_adam(int(state["step"][0]), state["moments_hidden"][1], state["moments_output"][1])
        for name, value in state.items():
            self.state()[name][...] = value

    @property
    def _n_hidden_weights(self) -> int:
        return N_INPUT * self._config.n_hidden
