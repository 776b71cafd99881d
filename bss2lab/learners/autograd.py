"""The general learner: any objective, any substrate, any torch device, through automatic differentiation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bss2lab.errors import InputError, complain
from bss2lab.kernels import Traces, integrate
from bss2lab.learners import adam
from bss2lab.learners.base import BatchResult, Evaluation, Samples
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.learners.start import starting_weights
from bss2lab.losses import AnyObjective
from bss2lab.network import chip_weights, traces_of
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.types import AnyWeights, Spikes, Substrate

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from numpy import ndarray


def torch_device(name: str) -> torch.device:
    """Return the device, or say that this computer has none like it.

    Raises:
        InputError: if CUDA is asked for and not there.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        got = "no CUDA device found by PyTorch"
        raise InputError(complain("device", expected=f"a working {name!r}", got=got, fix="use device='cpu'"))
    return torch.device(name)


class AutogradLearner:
    """Training through ``kernels.integrate``: slower than the fused step, and free in what it minimises.

    Args:
        config: the run.
        objective: what to minimise.
        chip: substrate in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        start: weights to begin with; drawn from the run's seed if not given.
    """

    def __init__(
        self, config: AnyConfig, objective: AnyObjective, chip: Substrate | None, start: AnyWeights | None = None
    ) -> None:
        self._config, self._objective, self._chip = config, objective, chip
        self._device = torch_device(config.device)
        drawn: AnyWeights = start or starting_weights(config)
        self._weights = {
            f"w_{name}": torch.tensor(w, device=self._device, requires_grad=True) for name, w in drawn._asdict().items()
        }
        self._kind = type(drawn)
        self._inner = [w for name, w in self._weights.items() if name != "w_output"]
        fixed = isinstance(config, SpeechConfig) and config.recurrent == "fixed"
        learned = [w for name, w in self._weights.items() if not (fixed and name == "w_recurrent")]
        self._adam = torch.optim.Adam(learned, lr=config.learning_rate)

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        spikes = samples.spikes.select(index)
        recorded = None
        if self._chip is not None and self._config.mode == "itl":
            # the substrate counts its noise from the batch's first image: no two batches share it
            recorded = self._record(self._chip, spikes, ~alive, noise_seed + int(index[0]))
        labels = torch.from_numpy(samples.labels[index]).to(self._device)
        mask = torch.from_numpy(alive.astype(np.float32)).to(self._device)
        traces = self._integrate(spikes, recorded, mask)
        terms = self._objective.terms(traces, labels, *self._inner)
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self._adam.step()
        with torch.no_grad():
            for w in self._inner:
                w.clamp_(-WEIGHT_CLAMP, WEIGHT_CLAMP)
        n = len(index)
        decisions = self._decide(traces.v_output.detach())
        return BatchResult(
            n, int((decisions == labels).sum()), float(traces.s_hidden.detach().sum()), 0,
            {name: float(term.detach()) * n for name, term in terms.items()},
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        if self._chip is not None:
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed, vote=self._config.vote)
        decisions, total = [], 0.0
        with torch.no_grad():
            for start in range(0, len(samples), 500):
                part = samples.spikes.select(np.arange(start, min(start + 500, len(samples))))
                traces = self._integrate(part)
                decisions.append(self._decide(traces.v_output).cpu().numpy())
                total += float(traces.s_hidden.sum())
        return Evaluation.of(np.concatenate(decisions), samples.labels, total / len(samples))

    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``."""
        self._objective = objective

    def move_to(self, chip: Substrate) -> None:
        """See ``Learner.move_to``."""
        self._chip = chip

    def weights(self) -> AnyWeights:
        """See ``Learner.weights``."""
        return self._kind(*(w.detach().cpu().numpy() for w in self._weights.values()))

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        return adam.state_of(self._weights, self._adam)

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        adam.restore(self._weights, self._adam, state)

    def _integrate(self, spikes: Spikes, recorded: Traces | None = None, alive: Tensor | None = None) -> Traces:
        cfg, w = self._config, self._weights
        return integrate(
            w["w_hidden"], w["w_output"], spikes, dt_us=cfg.dt_us, model=cfg.model,
            recorded=recorded, alive=alive, w_recurrent=w.get("w_recurrent"),
        )  # fmt: skip

    def _decide(self, v_output: Tensor) -> Tensor:
        vote = v_output.amax(dim=1) if self._config.vote == "peak" else v_output.sum(dim=1)
        return vote.argmax(dim=1)

    def _record(self, substrate: Substrate, spikes: Spikes, silenced: Bool[ndarray, "n"], seed: int) -> Traces:
        held, scale = chip_weights(self.weights(), substrate)
        traces = traces_of(
            substrate.run(held, spikes, seed=seed, silenced=silenced), scale, overshoot=self._config.overshoot
        )
        return Traces(*(x.to(self._device) for x in traces))
