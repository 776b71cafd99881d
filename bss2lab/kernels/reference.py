"""The reference: a loop over the equations in plain torch, on any device and dtype, differentiable.

It is slow and obvious, and the oracle that every compiled kernel is held to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bss2lab import dynamics
from bss2lab.surrogate import SuperSpike

if TYPE_CHECKING:
    from jaxtyping import Float


class Model(NamedTuple):
    """Parameters of the homogeneous model that stands in for the chip in the backward pass.

    Attributes:
        alpha: decay of the synaptic current per step.
        mu: decay of the membrane per step.
        beta: steepness of the surrogate derivative.
    """

    alpha: float
    mu: float
    beta: float

    @classmethod
    def from_time_constants(cls, *, tau_mem_us: float, tau_syn_us: float, dt_us: float, beta: float) -> Model:
        """Compute the decays from time constants and step, all in µs."""
        return cls(dynamics.decay(dt_us, tau_syn_us), dynamics.decay(dt_us, tau_mem_us), beta)


class Traces(NamedTuple):
    """What a network did, in model units; entry t is the state at the end of step t.

    Attributes:
        v_hidden: hidden membranes, [batch, time, hidden].
        s_hidden: hidden spikes, [batch, time, hidden].
        v_output: output membranes (they do not spike), [batch, time, output].
    """

    v_hidden: Float[Tensor, "b t n"]
    s_hidden: Float[Tensor, "b t n"]
    v_output: Float[Tensor, "b t o"]


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, model: Tensor, recorded: Tensor) -> Tensor:
        return recorded.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def inject(model: Tensor, recorded: Tensor) -> Tensor:
    """Put a recording in the place of a modelled quantity: value of ``recorded``, derivative of ``model``.

    The value is the recording to the bit. (``model + (recorded − model).detach()`` is not: its rounding
    breaks ties between equal 8-bit samples, and a maximum over time then picks another sample.)
    """
    return _Inject.apply(model, recorded)  # type: ignore[no-any-return]


def integrate(
    w_hidden: Float[Tensor, "i n"],
    w_output: Float[Tensor, "n o"],
    spikes: Float[Tensor, "b t i"],
    model: Model,
    *,
    recorded: Traces | None = None,
    alive: Float[Tensor, "n"] | None = None,
    w_recurrent: Float[Tensor, "n n"] | None = None,
) -> Traces:
    """Run the two-layer network over its time grid.

    Args:
        w_hidden, w_output: weights in units of the threshold.
        w_recurrent: weights from hidden to hidden neurons, [source, target]; a spike acts in the next step.
        spikes: input spikes per time bin.
        model: decays and surrogate steepness.
        recorded: a substrate's traces to inject; without them the model runs freely.
        alive: 1 for neurons that may fire, 0 for those dropped; default all 1.

    Returns:
        The traces: modelled, or recorded with the model's derivative.
    """
    batch = spikes.shape[0]
    spike = SuperSpike(model.beta)
    V = I = S = w_hidden.new_zeros(batch, w_hidden.shape[1])
    V_out = I_out = w_output.new_zeros(batch, w_output.shape[1])
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for t, drive in enumerate((spikes @ w_hidden).unbind(1)):
        I_out = dynamics.synaptic_current(I_out, S @ w_output, model.alpha)
        V_out = dynamics.membrane(V_out, I_out, 0.0, model.mu)
        I = dynamics.synaptic_current(I, drive if w_recurrent is None else drive + S @ w_recurrent, model.alpha)
        V = dynamics.membrane(V, I, S.detach(), model.mu)
        if recorded is not None:
            V, V_out = inject(V, recorded.v_hidden[:, t]), inject(V_out, recorded.v_output[:, t])
        S = spike(V)
        if recorded is not None:
            S = inject(S, recorded.s_hidden[:, t])
        if alive is not None:
            S = S * alive
        history.append((V, S, V_out))
    v_hidden, s_hidden, v_output = (torch.stack(x, 1) for x in zip(*history, strict=True))
    return Traces(v_hidden, s_hidden, v_output)
