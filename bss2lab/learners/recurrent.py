"""The fast learner of the recurrent network: the whole training step in one compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.kernels import feedforward, recurrent, recurrent_training, training
from bss2lab.learners.base import BatchResult, Evaluation, Samples, check_adam, restored
from bss2lab.learners.fused import BETA1, BETA2, EPSILON
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.losses import SpeechObjective, SumOverTime
from bss2lab.network import chip_weights, initial_recurrent_weights
from bss2lab.quantize import HIDDEN_SCALE, WEIGHT_CLAMP, model_units_per_lsb
from bss2lab.settings import SpeechConfig
from bss2lab.types import RecurrentWeights

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from numpy import ndarray

_f = np.float32
_NO_RECORDING = np.empty((0, 0, 0), np.uint8)
_LAYERS = ("hidden", "recurrent", "output")


class RecurrentLearner:
    """Compiled training of the recurrent network on the standard speech objective.

    Args:
        config: the run.
        objective: the standard objective (see ``SpeechObjective.has_compiled_form``).
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        start: weights to begin with; drawn from the run's seed if not given.
    """

    def __init__(
        self, config: SpeechConfig, objective: SpeechObjective, chip: Chip | None, start: RecurrentWeights | None = None
    ) -> None:
        assert isinstance(objective.task, SumOverTime)
        self._config, self._objective, self._task, self._chip = config, objective, objective.task, chip
        sizes = config.n_channels, config.n_hidden, config.n_classes
        drawn = start or initial_recurrent_weights(
            *sizes, tau_mem_us=config.tau_mem_us, dt_us=config.dt_us, seed=config.seed
        )
        self._weights = {
            "hidden": feedforward.pad_hidden(drawn.hidden),
            "recurrent": recurrent.pad_recurrent(drawn.recurrent),
            "output": feedforward.pad_output(drawn.output),
        }
        self._moments = {name: np.zeros((2, *w.shape), _f) for name, w in self._weights.items()}
        self._step = np.zeros(1, np.int64)
        self._scratch: tuple[ndarray, ...] = ()

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        cfg, goal, chip = self._config, self._objective, self._chip
        pad = self._weights["hidden"].shape[1]
        mask = np.zeros(pad, _f)
        mask[: cfg.n_hidden] = alive
        cadc = fired = _NO_RECORDING
        scale = HIDDEN_SCALE
        if chip is not None and cfg.mode == "itl":
            held, scale = chip_weights(self.weights(), chip)
            silenced = None if alive.all() else ~alive
            raw = chip.record(chip.write(held), samples.spikes, index, seed=noise_seed, silenced=silenced)
            cadc, fired = raw.cadc, raw.fired
        stats = np.empty((len(index), training.N_STATISTICS), _f)
        weight_term = goal.weight.rho_w * sum(
            float(np.square(self._weights[name], dtype=np.float64).sum()) / n for name, n in self._sizes.items()
        )
        self._step += 1
        k = int(self._step[0])
        model, s = cfg.model, samples.spikes
        lanes, size = numba.get_num_threads(), recurrent.block_size(pad)
        recurrent_training.train_step(
            *(self._weights[name] for name in _LAYERS), *(self._moments[name] for name in _LAYERS),
            cfg.recurrent == "learned", s.offsets, index, s.units, samples.bins, samples.labels, mask,
            _f(model.alpha), _f(model.mu), _f(model.beta), _f(self._task.scale),
            _f(goal.rate.rho_r), _f(goal.rate.theta_r),
            _f(goal.weight.rho_w / self._sizes["hidden"]), _f(goal.weight.rho_w / self._sizes["recurrent"]),
            _f(WEIGHT_CLAMP), _f(learning_rate / (1 - BETA1**k)), _f(BETA1), _f(BETA2), _f(EPSILON),
            _f(np.sqrt(1 - BETA2**k)), cfg.n_hidden, cfg.n_classes, cfg.n_steps, cadc, fired, FIRST_SAMPLE,
            _f(model_units_per_lsb(HIDDEN_SCALE)), _f(model_units_per_lsb(scale)),
            lanes, size, *self._room(lanes, size, pad), stats,
        )  # fmt: skip
        total = stats.sum(axis=0, dtype=np.float64)
        terms = {
            "task": float(total[training.NLL]), "rate": float(total[recurrent_training.RATE]),
            "weight": weight_term * len(index),
        }  # fmt: skip
        return BatchResult(
            len(index), int(total[training.CORRECT]), float(total[training.SPIKES]),
            int(total[training.CLIPPED]), terms,
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        cfg = self._config
        if self._chip is not None:
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed, vote="sum")
        stats = np.empty((len(samples), training.N_STATISTICS), _f)
        decisions = np.empty(len(samples), np.int64)
        s = samples.spikes
        recurrent_training.evaluate(
            *(self._weights[name] for name in _LAYERS), s.offsets, np.arange(len(samples)), s.units, samples.bins,
            _f(cfg.model.alpha), _f(cfg.model.mu), cfg.n_classes, cfg.n_steps, decisions, stats,
        )  # fmt: skip
        return Evaluation.of(decisions, samples.labels, float(stats[:, training.SPIKES].mean(dtype=np.float64)))

    def weights(self) -> RecurrentWeights:
        """See ``Learner.weights``."""
        n, w = self._config.n_hidden, self._weights
        return RecurrentWeights(w["hidden"][:, :n], w["output"][:, :n].T, w["recurrent"][:n, :n])

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        weights = {f"w_{name}": w for name, w in self._weights.items()}
        return {**weights, **{f"moments_{name}": m for name, m in self._moments.items()}, "step": self._step}

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        restored(state, self.state())
        check_adam(int(state["step"][0]), *(state[f"moments_{name}"][1] for name in _LAYERS))
        for name, value in state.items():
            self.state()[name][...] = value

    @property
    def _sizes(self) -> dict[str, int]:
        n = self._config.n_hidden
        return {"hidden": self._config.n_channels * n, "recurrent": n * n}

    def _room(self, lanes: int, size: int, pad: int) -> tuple[ndarray, ...]:
        """Return scratch of membranes, spikes, outputs and spike lists for every lane; kept from step to step."""
        cfg = self._config
        if not self._scratch or self._scratch[0].shape[:2] != (lanes, size):
            shape = lanes, size, cfg.n_steps
            most = cfg.n_steps * pad
            self._scratch = (
                np.zeros((*shape, pad), _f), np.zeros((*shape, pad), np.uint8), np.zeros((*shape, cfg.n_classes), _f),
                np.empty((lanes, size, most), np.int32), np.empty((lanes, size, most), np.int32),
            )  # fmt: skip
        return self._scratch
