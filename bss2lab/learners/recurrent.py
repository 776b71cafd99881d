"""The fast learner of the recurrent network: the whole training step in one compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.dynamics import THRESHOLD
from bss2lab.kernels import feedforward, recurrent, recurrent_training, training
from bss2lab.learners.base import Samples
from bss2lab.learners.compiled import CompiledLearner, Step
from bss2lab.learners.start import starting_weights
from bss2lab.losses import AnyObjective, SpeechObjective, SumOverTime
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import SpeechConfig
from bss2lab.types import RecurrentWeights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64
    from numpy import ndarray

_f = np.float32


class RecurrentLearner(CompiledLearner):
    """Compiled training of the recurrent network on the standard speech objective.

    Args:
        config: the run.
        objective: the standard objective (see ``SpeechObjective.has_compiled_form``).
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        start: weights to begin with; drawn from the run's seed if not given.
    """

    terms = {"task": training.NLL, "rate": recurrent_training.RATE}  # noqa: RUF012 (a constant)

    def __init__(
        self,
        config: SpeechConfig,
        objective: SpeechObjective,
        chip: Chip | None,
        start: RecurrentWeights | None = None,
    ) -> None:
        self.aim(objective)
        self._learns_recurrent = config.recurrent == "learned"
        drawn = start or starting_weights(config)
        weights = {
            "hidden": feedforward.pad_hidden(drawn.hidden),
            "recurrent": recurrent.pad_recurrent(drawn.recurrent),
            "output": feedforward.pad_output(drawn.output),
        }
        penalised = {"hidden": config.n_inputs * config.n_hidden, "recurrent": config.n_hidden**2}
        super().__init__(config, chip, weights, penalised)
        self._scratch: tuple[ndarray, ...] = ()

    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``."""
        assert isinstance(objective, SpeechObjective)
        assert isinstance(objective.task, SumOverTime)
        self._objective, self._task = objective, objective.task
        self._rho_w = objective.weight.rho_w

    def weights(self) -> RecurrentWeights:
        """See ``Learner.weights``."""
        n, w = self._config.n_hidden, self._weights
        return RecurrentWeights(w["hidden"][:, :n], w["output"][:, :n].T, w["recurrent"][:n, :n])

    def _descend(
        self, samples: Samples, index: Int64[ndarray, "b"], step: Step, stats: Float32[ndarray, "b s"]
    ) -> None:
        cfg, goal, model, s = self._config, self._objective, self._config.model, samples.spikes
        pad = len(step.alive)
        from bss2lab.kernels.compiler import numba

        lanes, size = numba.get_num_threads(), recurrent.BLOCK
        recurrent_training.train_step(
            *self._weights.values(), *self._moments.values(), self._learns_recurrent,
            s.offsets, index, s.units, samples.bins, samples.labels, step.alive,
            _f(model.alpha), _f(model.mu), _f(model.beta), _f(self._task.scale),
            _f(goal.rate.rho_r), _f(goal.rate.theta_r),
            *(_f(goal.weight.rho_w / n) for n in self._penalised.values()), _f(WEIGHT_CLAMP), *step.adam,
            cfg.n_hidden, cfg.n_outputs, cfg.n_steps, step.cadc, step.fired, FIRST_SAMPLE,
            step.hidden_unit, step.output_unit, _f(THRESHOLD + cfg.overshoot),
            lanes, size, *self._room(lanes, size, pad), stats,
        )  # fmt: skip

    def _classify(self, samples: Samples, decisions: Int64[ndarray, "n"], stats: Float32[ndarray, "n s"]) -> None:
        cfg, s = self._config, samples.spikes
        recurrent_training.evaluate(
            *self._weights.values(), s.offsets, np.arange(len(samples)), s.units, samples.bins,
            _f(cfg.model.alpha), _f(cfg.model.mu), cfg.n_outputs, cfg.n_steps, decisions, stats,
        )  # fmt: skip

    def _room(self, lanes: int, size: int, pad: int) -> tuple[ndarray, ...]:
        """Return scratch of membranes, spikes, outputs and spike lists for every lane; kept from step to step."""
        cfg = self._config
        if not self._scratch or self._scratch[0].shape[:2] != (lanes, size):
            shape = lanes, size, cfg.n_steps
            most = cfg.n_steps * pad
            self._scratch = (
                np.zeros((*shape, pad), _f), np.zeros((*shape, pad), np.uint8), np.zeros((*shape, cfg.n_outputs), _f),
                np.empty((lanes, size, most), np.int32), np.empty((lanes, size, most), np.int32),
            )  # fmt: skip
        return self._scratch
