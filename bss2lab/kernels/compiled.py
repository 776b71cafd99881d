"""The compiled network behind ``torch.autograd``: any loss on its traces can be back-propagated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bss2lab.errors import InputError, complain
from bss2lab.kernels import layers
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy import ndarray

    from bss2lab.kernels.reference import LayerTraces
    from bss2lab.topology import Network


class _Problem(NamedTuple):
    """What a pass needs beside weights: the network as the kernels see it, its input, and what is injected."""

    chain: layers.Chain
    batch: layers.Batch
    alive: ndarray
    recorded: Sequence[LayerTraces] | None


class _Compiled(torch.autograd.Function):
    """Weights of all layers, one after the other, to membranes and spikes of all layers."""

    @staticmethod
    def forward(ctx: Any, problem: _Problem, *weights: Tensor) -> tuple[Tensor, ...]:
        chain, batch, alive, recorded = problem
        n_steps, size = batch.n_steps, len(batch.samples)
        room = layers.room_for(chain, size, n_steps, steady=False)
        flat = layers.flat(chain, _by_layer(chain, [w.detach().numpy() for w in weights]))
        if recorded is None:
            layers.forward(chain, flat, batch, alive, room)
        traces = []
        for k, v in enumerate(_of_layers(chain, room.v, n_steps)):
            if recorded is not None:
                v[...] = recorded[k].v.detach().numpy()
                if chain.spiking[k]:
                    lives = alive[chain.column[k] : chain.column[k] + chain.sizes[k]]
                    layers.collect_spikes(k, recorded[k].s.detach().numpy() * lives, room)
                else:
                    room.ends[:, k] = room.ends[:, k - 1] if k else 0
            s = np.zeros(v.shape, v.dtype)
            layers.spread_spikes(k, room, s)
            traces += [torch.from_numpy(v.copy()), torch.from_numpy(s)]
        ctx.problem, ctx.room, ctx.flat = problem, room, flat
        ctx.set_materialize_grads(False)
        return tuple(traces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        # Gradients of the compiled kernels are plain numbers: a graph of them would lack the network's part.
        # (``once_differentiable`` would let it pass where the loss is linear in the traces.)
        if torch.is_grad_enabled():
            got, fix = "create_graph=True", "pass kernel='reference'"
            raise InputError(complain("backward", expected="first derivatives alone", got=got, fix=fix))
        (chain, batch, alive, _), room = ctx.problem, ctx.room
        touches = 0
        views = zip(*(_of_layers(chain, x, batch.n_steps) for x in (room.grad_v, room.grad_s)), strict=True)
        for k, (grad_v, grad_s) in enumerate(views):
            for view, grad in ((grad_v, grads[2 * k]), (grad_s, grads[2 * k + 1])):
                view[...] = 0 if grad is None else grad.numpy()
            if grads[2 * k] is not None:
                touches |= layers.ON_HIDDEN if chain.spiking[k] else layers.ON_OUTPUTS
        parts = np.empty(
            (layers.parts_of(len(batch.samples), batch.n_steps, chain.width), chain.n_weights), room.v.dtype
        )
        layers.backward(chain, ctx.flat, batch, alive, room, touches, parts)
        found = [x for pair in layers.views(chain, parts.sum(axis=0)) for x in pair if x is not None]
        return None, *(torch.from_numpy(x.copy()) for x in found)


def _by_layer(chain: layers.Chain, weights: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pair each layer's weights with its recurrent ones, or None."""
    rest = iter(weights)
    return [(next(rest), next(rest) if loop >= 0 else None) for loop in chain.loops]


def _of_layers(chain: layers.Chain, array: ndarray, n_steps: int) -> list[ndarray]:
    """Return [sample, time, neuron] of every layer in an array [sample, time · width]."""
    return [
        array[:, column * n_steps : (column + pad) * n_steps].reshape(len(array), n_steps, pad)[..., :size]
        for column, pad, size in zip(chain.column, chain.pads, chain.sizes, strict=True)
    ]


def run(
    network: Network, decays: Sequence[tuple[float, float]], weights: Sequence[tuple[Tensor, Tensor | None]],
    spikes: Spikes, dt_us: float, *, recorded: Sequence[LayerTraces] | None = None,
    alive: Bool[ndarray, "n"] | None = None,
) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    """Run a network by the compiled kernels; see ``reference.run``, whose result this is.

    Raises:
        InputError: if the weights are not on the CPU, or not float32 or float64.
    """
    given = [w for pair in weights for w in pair if w is not None]
    for w in given:
        if w.device.type != "cpu" or w.dtype not in (torch.float32, torch.float64):
            got = f"{w.dtype} on {w.device}"
            fix = "use the reference kernel on other devices"
            raise InputError(complain("weights", expected="float32 or float64 on the CPU", got=got, fix=fix))
    chain = layers.chain_of(network, decays, given[0].detach().numpy().dtype.type)
    samples, bins = np.arange(len(spikes)), spikes.bins(dt_us)
    batch = layers.Batch(spikes.offsets, spikes.units, bins, layers.NO_LABELS, samples, spikes.n_steps(dt_us))
    problem = _Problem(chain, batch, layers.spiking_units(chain, alive), recorded)
    traces = _Compiled.apply(problem, *given)
    return list(zip(traces[::2], traces[1::2], strict=True))


def dense(spikes: Spikes, dt_us: float, like: Tensor) -> Tensor:
    """Return spikes as counts on the time grid, on the device and in the dtype of ``like``."""
    counts: ndarray = spikes.dense(dt_us)
    return torch.from_numpy(counts).to(like)
