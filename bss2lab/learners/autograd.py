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
from bss2lab.losses import Objective
from bss2lab.network import chip_weights, initial_weights, traces_of
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.types import Spikes, Substrate, Weights

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
    """

    def __init__(self, config: TrainConfig, objective: Objective, chip: Substrate | None) -> None:
        self._config, self._objective, self._chip = config, objective, chip
        self._device = torch_device(config.device)
        start = initial_weights(
            N_INPUT, config.n_hidden, N_OUTPUT, tau_mem_us=config.tau_mem_us, dt_us=config.dt_us, seed=config.seed
        )
        self._weights = [torch.tensor(w, device=self._device, requires_grad=True) for w in start]
        self._adam = torch.optim.Adam(self._weights, lr=config.learning_rate)

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
        w_hidden, w_output = self._weights
        traces = integrate(
            w_hidden,
            w_output,
            spikes,
            dt_us=self._config.dt_us,
            model=self._config.model,
            recorded=recorded,
            alive=mask,
        )
        terms = self._objective.terms(traces, labels, w_hidden)
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self._adam.step()
        with torch.no_grad():
            w_hidden.clamp_(-WEIGHT_CLAMP, WEIGHT_CLAMP)
        n = len(index)
        peak = traces.v_output.detach().amax(dim=1)
        return BatchResult(
            n, int((peak.argmax(dim=1) == labels).sum()), float(traces.s_hidden.detach().sum()), 0,
            {name: float(term.detach()) * n for name, term in terms.items()},
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        if self._chip is not None:
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed)
        decisions, total = [], 0.0
        with torch.no_grad():
            for start in range(0, len(samples), 500):
                part = samples.spikes.select(np.arange(start, min(start + 500, len(samples))))
                traces = integrate(
                    self._weights[0], self._weights[1], part, dt_us=self._config.dt_us, model=self._config.model
                )
                decisions.append(traces.v_output.amax(dim=1).argmax(dim=1).cpu().numpy())
                total += float(traces.s_hidden.sum())
        return Evaluation.of(np.concatenate(decisions), samples.labels, total / len(samples))

    def weights(self) -> Weights:
        """See ``Learner.weights``."""
        return Weights(*(w.detach().cpu().numpy() for w in self._weights))

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        return adam.state_of(self._named, self._adam)

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        adam.restore(self._named, self._adam, state)

    @property
    def _named(self) -> dict[str, Tensor]:
        return dict(zip(("w_hidden", "w_output"), self._weights, strict=True))

    def _record(self, substrate: Substrate, spikes: Spikes, silenced: Bool[ndarray, "n"], seed: int) -> Traces:
        held, scale = chip_weights(self.weights(), substrate)
        traces = traces_of(substrate.run(held, spikes, seed=seed, silenced=silenced), scale)
        return Traces(*(x.to(self._device) for x in traces))
