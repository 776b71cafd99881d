"""The fast learner: the whole training step in one compiled call, on the model or in the loop with a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.kernels import feedforward, training
from bss2lab.learners.base import Samples
from bss2lab.learners.compiled import CompiledLearner, Step
from bss2lab.learners.start import starting_weights
from bss2lab.losses import AnyObjective, MaxOverTime, Objective
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import TrainConfig
from bss2lab.types import Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64
    from numpy import ndarray

_f = np.float32


class FusedLearner(CompiledLearner):
    """Compiled training of the feed-forward network on the standard objective.

    Args:
        config: the run.
        objective: the standard objective (see ``Objective.has_compiled_form``).
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        start: weights to begin with; drawn from the run's seed if not given.
    """

    terms = {"task": training.NLL, "burst": training.BURST, "readout": training.READOUT}  # noqa: RUF012 (a constant)

    def __init__(
        self, config: TrainConfig, objective: Objective, chip: Chip | None, start: Weights | None = None
    ) -> None:
        self.aim(objective)
        drawn = start or starting_weights(config)
        weights = {"hidden": feedforward.pad_hidden(drawn.hidden), "output": feedforward.pad_output(drawn.output)}
        self._inner = config.n_inputs * config.n_hidden
        super().__init__(config, chip, weights, {"hidden": self._inner})
        self._adjoint = np.empty((0, 0, 0), _f)

    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``."""
        assert isinstance(objective, Objective)
        assert isinstance(objective.task, MaxOverTime)
        self._objective, self._task = objective, objective.task
        self._rho_w = objective.weight.rho_w

    def weights(self) -> Weights:
        """See ``Learner.weights``."""
        n, w = self._config.n_hidden, self._weights
        return Weights(w["hidden"][:, :n], w["output"][: self._config.n_outputs, :n].T)

    def _descend(
        self, samples: Samples, index: Int64[ndarray, "b"], step: Step, stats: Float32[ndarray, "b s"]
    ) -> None:
        cfg, goal, model, s = self._config, self._objective, self._config.model, samples.spikes
        if self._adjoint.shape[0] < len(index):
            self._adjoint = np.empty((len(index), cfg.n_steps, len(step.alive)), _f)
        training.train_step(
            *self._weights.values(), *self._moments.values(),
            s.offsets, index, s.units, samples.bins, samples.labels, step.alive,
            _f(model.alpha), _f(model.mu), _f(model.beta), _f(self._task.scale), _f(goal.readout.rho_a),
            _f(goal.burst.rho_b), _f(goal.weight.rho_w / self._inner), _f(WEIGHT_CLAMP), *step.adam,
            cfg.n_hidden, cfg.n_outputs, cfg.n_steps, step.cadc, step.fired, FIRST_SAMPLE,
            step.hidden_unit, step.output_unit, self._adjoint, stats,
        )  # fmt: skip

    def _classify(self, samples: Samples, decisions: Int64[ndarray, "n"], stats: Float32[ndarray, "n s"]) -> None:
        cfg, s = self._config, samples.spikes
        training.evaluate(
            *self._weights.values(), s.offsets, np.arange(len(samples)), s.units, samples.bins,
            _f(cfg.model.alpha), _f(cfg.model.mu), cfg.n_outputs, cfg.n_steps, decisions, stats,
        )  # fmt: skip
