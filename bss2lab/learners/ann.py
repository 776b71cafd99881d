"""The non-spiking baseline: a ReLU network of the same size on the pixels themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bss2lab.learners import adam
from bss2lab.learners.autograd import torch_device
from bss2lab.learners.base import BatchResult, Evaluation, Samples
from bss2lab.losses import AnyObjective
from bss2lab.settings import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.types import Substrate, Weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64
    from numpy import ndarray
    from torch import Tensor

_NAMES = ("w_hidden", "b_hidden", "w_output", "b_output")


class AnnLearner:
    """256 – hidden – 10 with rectified units, biases and cross-entropy; grey values 0 … 1 go in.

    Hidden dropout rescales the surviving units, as is usual for rate units.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._device = torch_device(config.device)
        generator = np.random.default_rng([config.seed, 0])

        def uniform(fan_in: int, *shape: int) -> Tensor:
            bound = 1 / np.sqrt(fan_in)  # PyTorch's default for linear layers
            w = generator.uniform(-bound, bound, shape).astype(np.float32)
            return torch.tensor(w, device=self._device, requires_grad=True)

        n = config.n_hidden
        self._parameters = [
            uniform(N_INPUT, N_INPUT, n),
            uniform(N_INPUT, n),
            uniform(n, n, N_OUTPUT),
            uniform(n, N_OUTPUT),
        ]
        self._adam = torch.optim.Adam(self._parameters, lr=config.learning_rate)

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        labels = torch.from_numpy(samples.labels[index]).to(self._device)
        keep = torch.from_numpy(alive.astype(np.float32) / (1 - self._config.dropout)).to(self._device)
        logits = self._logits(samples, index, keep)
        loss = functional.cross_entropy(logits, labels)
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        n = len(index)
        correct = int((logits.argmax(dim=1) == labels).sum())
        return BatchResult(n, correct, 0.0, 0, {"task": float(loss.detach()) * n})

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        with torch.no_grad():
            logits = self._logits(samples, np.arange(len(samples)), None)
        return Evaluation.of(logits.argmax(dim=1).cpu().numpy(), samples.labels, 0.0)

    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``: it minimises cross-entropy and nothing else, so that there is nothing to change."""

    def move_to(self, chip: Substrate) -> None:
        """See ``Learner.move_to``: it runs on no chip."""

    def weights(self) -> Weights:
        """See ``Learner.weights`` (the biases are left out)."""
        return Weights(*(self._parameters[k].detach().cpu().numpy() for k in (0, 2)))

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        return adam.state_of(self._named, self._adam)

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        adam.restore(self._named, self._adam, state)

    @property
    def _named(self) -> dict[str, Tensor]:
        return dict(zip(_NAMES, self._parameters, strict=True))

    def _logits(self, samples: Samples, index: Int64[ndarray, "b"], keep: Tensor | None) -> Float[Tensor, "b o"]:
        x = torch.from_numpy(samples.pixels[index].astype(np.float32) / 255).to(self._device)
        w_hidden, b_hidden, w_output, b_output = self._parameters
        hidden = functional.relu(x @ w_hidden + b_hidden)
        if keep is not None:
            hidden = hidden * keep
        return hidden @ w_output + b_output
