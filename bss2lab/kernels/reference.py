"""The reference: a loop over the equations in plain torch, on any device and dtype, differentiable.

It is slow and obvious, and the oracle that every compiled kernel is held to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bss2lab import dynamics
from bss2lab.surrogate import SuperSpike
from bss2lab.topology import Layer, Network

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


class LayerTraces(NamedTuple):
    """What one layer did, or is to have done.

    Attributes:
        v: membranes, [batch, time, neuron].
        s: spikes, [batch, time, neuron]; zeros if it does not fire.
    """

    v: Float[Tensor, "b t n"]
    s: Float[Tensor, "b t n"]


def run(
    network: Network,
    decays: Sequence[tuple[float, float]],
    weights: Sequence[tuple[Tensor, Tensor | None]],
    spikes: Float[Tensor, "b t i"],
    *,
    recorded: Sequence[LayerTraces] | None = None,
    alive: Sequence[Tensor | None] | None = None,
) -> list[LayerTraces]:
    """Run a network over its time grid.

    Args:
        network: its layers.
        decays: of the synaptic current and of the membrane per step, for every layer.
        weights: in units of the threshold, for every layer: [source, neuron], and [neuron, neuron] if it is recurrent.
        spikes: input spikes per time bin.
        recorded: a substrate's traces to inject; without them the model runs freely.
        alive: for every layer, 1 for neurons that may fire, 0 for those dropped; None: all may.

    Returns:
        The traces of every layer: modelled, or recorded with the model's derivative.
    """
    batch = spikes.shape[0]
    states = [_State(*(w.new_zeros(batch, w.shape[1]) for _ in range(3))) for w, _ in weights]
    history: list[list[tuple[Tensor, Tensor]]] = [[] for _ in network.layers]
    for t, from_input in enumerate((spikes @ weights[0][0]).unbind(1)):
        drives = []
        for k, (w, own) in enumerate(weights):  # input acts at once, spikes of neurons a step later
            drive = from_input if k == 0 else states[k - 1].S @ w
            drives.append(drive if own is None else drive + states[k].S @ own)
        for k, (layer, drive) in enumerate(zip(network.layers, drives, strict=True)):
            (alpha, mu), (V, I, S) = decays[k], states[k]
            I = dynamics.synaptic_current(I, drive, alpha)
            V = dynamics.membrane(V, I, S.detach(), mu)
            if recorded is not None:
                V = inject(V, recorded[k].v[:, t])
            if layer.spiking:
                S = layer.spike(V)
                if recorded is not None:
                    S = inject(S, recorded[k].s[:, t])
                mask = None if alive is None else alive[k]
                if mask is not None:
                    S = S * mask
            states[k] = _State(V, I, S)
            history[k].append((V, S))
    return [LayerTraces(*(torch.stack(x, 1) for x in zip(*one, strict=True))) for one in history]


class _State(NamedTuple):
    V: Tensor
    I: Tensor
    S: Tensor


def two_layers(
    w_hidden: Tensor, w_output: Tensor, model: Model, w_recurrent: Tensor | None = None
) -> tuple[Network, list[tuple[float, float]], list[tuple[Tensor, Tensor | None]]]:
    """Return network, decays and weights of a network with one hidden layer, as ``run`` wants them."""
    (n_input, n), n_out = w_hidden.shape, w_output.shape[1]
    hidden = Layer(n, recurrent=w_recurrent is not None, spike=SuperSpike(model.beta))
    network = Network(n_input, [hidden, Layer(n_out, spiking=False)])
    return network, [(model.alpha, model.mu)] * 2, [(w_hidden, w_recurrent), (w_output, None)]


def by_layer(traces: Traces) -> list[LayerTraces]:
    """Return the traces of a network with one hidden layer by layer."""
    return [
        LayerTraces(traces.v_hidden, traces.s_hidden), LayerTraces(traces.v_output, torch.zeros_like(traces.v_output)),
    ]  # fmt: skip


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
    """Run the network with one hidden layer; see ``run``."""
    problem = two_layers(w_hidden, w_output, model, w_recurrent)
    given = None if recorded is None else by_layer(recorded)
    hidden, output = run(*problem, spikes, recorded=given, alive=[alive, None])
    return Traces(hidden.v, hidden.s, output.v)
