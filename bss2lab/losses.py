"""Task losses and regularisers, each a named object that maps traces to a number.

An ``Objective`` bundles them. The standard one (max over time with the three penalties) also exists in
compiled form; any other sum of these, or of your own, is back-propagated through the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from torch.nn import functional

from bss2lab.errors import InputError, complain
from bss2lab.kernels import Traces, training

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def check_labels(labels: Int64[Tensor, "b"], n_classes: int) -> None:
    """Refuse labels that name no output neuron.

    Raises:
        InputError: if a label lies outside 0 … n_classes − 1.
    """
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < n_classes):
        got = f"{int(labels.min())} … {int(labels.max())}"
        want = f"0 … {n_classes - 1}, one per output neuron"
        raise InputError(complain("labels", expected=want, got=got, fix="renumber the classes"))


@dataclass(frozen=True, slots=True)
class MaxOverTime:
    """NLL(log_softmax(c · max_t V_out)): each output neuron's highest membrane value is its vote.

    Samples that tie for the maximum share its gradient evenly.

    Attributes:
        scale: the factor c.
    """

    scale: float = 10.0

    def __call__(self, traces: Traces, labels: Int64[Tensor, "b"]) -> Float[Tensor, ""]:
        """Return the mean loss of the batch."""
        check_labels(labels, traces.v_output.shape[-1])
        return functional.cross_entropy(self.scale * traces.v_output.amax(dim=1), labels)


@dataclass(frozen=True, slots=True)
class SumOverTime:
    """NLL(log_softmax(c · Σ_t V_out)): each output neuron's membrane, summed over time, is its vote.

    Attributes:
        scale: the factor c (the paper has none, that is 1, on sums in units of its own).
    """

    scale: float = 1.0

    def __call__(self, traces: Traces, labels: Int64[Tensor, "b"]) -> Float[Tensor, ""]:
        """Return the mean loss of the batch."""
        check_labels(labels, traces.v_output.shape[-1])
        return functional.cross_entropy(self.scale * traces.v_output.sum(dim=1), labels)


@dataclass(frozen=True, slots=True)
class RatePenalty:
    """ρ_r · max(0, Σ_i,t S_i[t] − θ_r)²: spikes of the hidden layer beyond a number are costly."""

    rho_r: float = 0.0
    theta_r: float = 0.0

    def __call__(self, traces: Traces) -> Float[Tensor, ""]:
        """Return the penalty's mean over the batch."""
        return self.rho_r * (traces.s_hidden.sum(dim=(1, 2)) - self.theta_r).clamp(min=0).square().mean()


@dataclass(frozen=True, slots=True)
class BurstPenalty:
    """ρ_b · (1/N_H) Σ_i (Σ_t S_i[t])²: many spikes of one neuron for one input are costly."""

    rho_b: float = 5e-4

    def __call__(self, traces: Traces) -> Float[Tensor, ""]:
        """Return the penalty's mean over the batch."""
        return self.rho_b * traces.s_hidden.sum(dim=1).square().mean()


@dataclass(frozen=True, slots=True)
class ReadoutPenalty:
    """ρ_a · mean_i (max_t V_out,i)²: keeps the output membranes inside the ADC's range."""

    rho_a: float = 0.0

    def __call__(self, traces: Traces) -> Float[Tensor, ""]:
        """Return the penalty's mean over the batch."""
        return self.rho_a * traces.v_output.amax(dim=1).square().mean()


@dataclass(frozen=True, slots=True)
class WeightPenalty:
    """ρ_w · mean(W_hidden²): keeps the hidden weights inside the synapses' range."""

    rho_w: float = 0.1

    def __call__(self, w_hidden: Float[Tensor, "i n"]) -> Float[Tensor, ""]:
        """Return the penalty."""
        return self.rho_w * w_hidden.square().mean()


def _goal(
    vote: int, scale: float, *, rho_a: float = 0.0, rho_b: float = 0.0, rho_r: float = 0.0, theta_r: float = 0.0
) -> training.Goal:
    """Return a goal of the kernels, with penalties on the hidden layer."""
    per_layer = (np.array([x, 0.0], np.float32) for x in (rho_b, rho_r, theta_r))
    return training.Goal(vote, np.float32(scale), np.float32(rho_a), *per_layer)


@dataclass(frozen=True, slots=True)
class Objective:
    """What training minimises: a task loss and the three penalties.

    Attributes:
        task: any callable (traces, labels) -> scalar.
        burst, readout, weight: the penalties.
    """

    task: Callable[[Traces, Tensor], Tensor] = MaxOverTime()
    burst: BurstPenalty = BurstPenalty()
    readout: ReadoutPenalty = ReadoutPenalty()
    weight: WeightPenalty = WeightPenalty()

    @property
    def has_compiled_form(self) -> bool:
        """Can the fused training step be used?"""
        standard = BurstPenalty, ReadoutPenalty, WeightPenalty
        parts = self.burst, self.readout, self.weight
        return (
            type(self) is Objective
            and type(self.task) is MaxOverTime
            and all(type(part) is kind for part, kind in zip(parts, standard, strict=True))
        )

    def compiled(self) -> tuple[training.Goal, dict[str, int], float]:
        """Return it as the kernels want it, the column of their statistics that each term is in, and ρ_w."""
        assert isinstance(self.task, MaxOverTime)
        goal = _goal(training.PEAK, self.task.scale, rho_a=self.readout.rho_a, rho_b=self.burst.rho_b)
        columns = {"task": training.NLL, "burst": training.BURST, "readout": training.READOUT}
        return goal, columns, self.weight.rho_w

    def terms(self, traces: Traces, labels: Tensor, w_hidden: Tensor, *_: Tensor) -> dict[str, Float[Tensor, ""]]:
        """Return every term of the loss by name; their sum is the loss."""
        return {
            "task": self.task(traces, labels),
            "burst": self.burst(traces),
            "readout": self.readout(traces),
            "weight": self.weight(w_hidden),
        }


@dataclass(frozen=True, slots=True)
class SpeechObjective:
    """What training on speech minimises: a task loss, the rate penalty, and weight penalties.

    Attributes:
        task: any callable (traces, labels) -> scalar.
        rate: the rate penalty.
        weight: the penalty on input weights and, likewise, on recurrent weights.
    """

    task: Callable[[Traces, Tensor], Tensor] = SumOverTime()
    rate: RatePenalty = RatePenalty()
    weight: WeightPenalty = WeightPenalty()

    @property
    def has_compiled_form(self) -> bool:
        """Can the fused training step be used?"""
        return (
            type(self) is SpeechObjective
            and type(self.task) is SumOverTime
            and type(self.rate) is RatePenalty
            and type(self.weight) is WeightPenalty
        )

    def compiled(self) -> tuple[training.Goal, dict[str, int], float]:
        """See ``Objective.compiled``."""
        assert isinstance(self.task, SumOverTime)
        goal = _goal(training.SUM, self.task.scale, rho_r=self.rate.rho_r, theta_r=self.rate.theta_r)
        return goal, {"task": training.NLL, "rate": training.RATE}, self.weight.rho_w

    def terms(
        self, traces: Traces, labels: Tensor, w_hidden: Tensor, w_recurrent: Tensor
    ) -> dict[str, Float[Tensor, ""]]:
        """Return every term of the loss by name; their sum is the loss."""
        return {
            "task": self.task(traces, labels),
            "rate": self.rate(traces),
            "weight": self.weight(w_hidden) + self.weight(w_recurrent),
        }


AnyObjective = Objective | SpeechObjective
"""What a run may minimise: of the feed-forward or of the recurrent network."""
