"""The compiled network behind ``torch.autograd``: any loss on its traces can be back-propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bss2lab.errors import InputError, complain
from bss2lab.kernels import feedforward, recurrent, reference
from bss2lab.kernels.reference import Model, Traces
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        w_hidden: Tensor,
        w_output: Tensor,
        spikes: Spikes,
        dt_us: float,
        model: Model,
        recorded: Traces | None,
        alive: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        scalar = w_hidden.detach().numpy().dtype.type
        wh = feedforward.pad_hidden(w_hidden.detach().numpy())
        wo = feedforward.pad_output(w_output.detach().numpy())
        batch, n_hidden, n_out = len(spikes), w_hidden.shape[1], w_output.shape[1]
        n_steps = spikes.n_steps(dt_us)
        v = np.zeros((batch, n_steps, wh.shape[1]), scalar)
        s = np.zeros((batch, n_steps, wh.shape[1]), np.uint8)
        mask = np.zeros(wh.shape[1], scalar)
        mask[:n_hidden] = 1 if alive is None else alive.numpy()
        index, bins = np.arange(batch), spikes.bins(dt_us)
        events = spikes.offsets, index, spikes.units, bins
        decays = scalar(model.alpha), scalar(model.mu)
        if recorded is None:
            out = np.zeros((batch, n_steps, wo.shape[0]), scalar)
            feedforward.forward(wh, wo, *events, mask, *decays, v, s, out)
            v_output = torch.from_numpy(out[..., :n_out].copy())
        else:
            v[..., :n_hidden] = recorded.v_hidden.numpy()
            s[..., :n_hidden] = recorded.s_hidden.numpy() * mask[:n_hidden]
            v_output = recorded.v_output.clone()
        ctx.state = (wo, events, mask, (*decays, scalar(model.beta)), v, s, w_hidden.shape, w_output.shape)
        ctx.inputs = spikes, dt_us, model
        ctx.set_materialize_grads(False)
        v_hidden = torch.from_numpy(v[..., :n_hidden].copy())
        s_hidden = torch.from_numpy(s[..., :n_hidden].astype(scalar))
        return v_hidden, s_hidden, v_output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        wo, events, mask, scalars, v, s, shape_hidden, shape_output = ctx.state
        grad_v, grad_s, grad_v_output = grads
        if grad_v is not None:
            weights = np.zeros(shape_hidden, v.dtype), wo[: shape_output[1], : shape_output[0]].T
            found = _by_reference(ctx.inputs, weights, v, s, mask, grads)
            return *found, None, None, None, None, None
        pad_s = np.zeros(v.shape, v.dtype)
        pad_v = np.zeros((*v.shape[:2], wo.shape[0]), v.dtype)
        if grad_s is not None:
            pad_s[..., : shape_hidden[1]] = grad_s.numpy()
        if grad_v_output is not None:
            pad_v[..., : shape_output[1]] = grad_v_output.numpy()
        grad_hidden = np.empty((shape_hidden[0], v.shape[2]), v.dtype)
        grad_output = np.empty(wo.shape, v.dtype)
        feedforward.backward(
            wo, *events, mask, *scalars, v, s, pad_s, pad_v, np.empty_like(v), grad_hidden, grad_output
        )
        hidden = torch.from_numpy(grad_hidden[:, : shape_hidden[1]].copy())
        output = torch.from_numpy(grad_output[: shape_output[1], : shape_output[0]].T.copy())
        return hidden, output, None, None, None, None, None


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        w_hidden: Tensor,
        w_recurrent: Tensor,
        w_output: Tensor,
        spikes: Spikes,
        dt_us: float,
        model: Model,
        recorded: Traces | None,
        alive: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        scalar = w_hidden.detach().numpy().dtype.type
        wh = feedforward.pad_hidden(w_hidden.detach().numpy())
        wr = recurrent.pad_recurrent(w_recurrent.detach().numpy())
        wo = feedforward.pad_output(w_output.detach().numpy())
        batch, n_hidden, n_out = len(spikes), w_hidden.shape[1], w_output.shape[1]
        n_steps = spikes.n_steps(dt_us)
        v = np.zeros((batch, n_steps, wh.shape[1]), scalar)
        s = np.zeros((batch, n_steps, wh.shape[1]), np.uint8)
        mask = np.zeros(wh.shape[1], scalar)
        mask[:n_hidden] = 1 if alive is None else alive.numpy()
        events = spikes.offsets, np.arange(batch), spikes.units, spikes.bins(dt_us)
        decays = scalar(model.alpha), scalar(model.mu)
        if recorded is None:
            out = np.zeros((batch, n_steps, n_out), scalar)
            recurrent.forward(wh, wr, wo, *events, mask, *decays, v, s, out)
            v_output = torch.from_numpy(out)
        else:
            v[..., :n_hidden] = recorded.v_hidden.numpy()
            s[..., :n_hidden] = recorded.s_hidden.numpy() * mask[:n_hidden]
            v_output = recorded.v_output.clone()
        ctx.state = (wr, wo, events, mask, (*decays, scalar(model.beta)), v, s, w_hidden.shape, n_out)
        ctx.inputs = spikes, dt_us, model
        ctx.set_materialize_grads(False)
        v_hidden = torch.from_numpy(v[..., :n_hidden].copy())
        s_hidden = torch.from_numpy(s[..., :n_hidden].astype(scalar))
        return v_hidden, s_hidden, v_output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        wr, wo, events, mask, scalars, v, s, (n_inputs, n_hidden), n_out = ctx.state
        grad_v, grad_s, grad_v_output = grads
        if grad_v is not None:
            weights = np.zeros((n_inputs, n_hidden), v.dtype), wo[:n_out, :n_hidden].T, wr[:n_hidden, :n_hidden]
            hidden, output, looped = _by_reference(ctx.inputs, weights, v, s, mask, grads)
            return hidden, looped, output, None, None, None, None, None
        pad_s, pad_v = np.zeros(v.shape, v.dtype), np.zeros((*v.shape[:2], n_out), v.dtype)
        if grad_s is not None:
            pad_s[..., :n_hidden] = grad_s.numpy()
        if grad_v_output is not None:
            pad_v[...] = grad_v_output.numpy()
        gradients = np.empty((n_inputs + wr.shape[0] + wo.shape[0], wr.shape[1]), v.dtype)
        recurrent.backward(wr, wo, n_inputs, *events, mask, *scalars, v, s, pad_s, pad_v, recurrent.BLOCK, gradients)
        found = torch.from_numpy(gradients[:, :n_hidden])
        hidden, looped, output = found.split([n_inputs, wr.shape[0], wo.shape[0]])
        return hidden.clone(), looped[:n_hidden].clone(), output.T.clone(), None, None, None, None, None


def _refuse_second_derivatives() -> None:
    """Gradients of the compiled kernels are plain numbers: a graph of them would lack the network's part.

    (``once_differentiable`` would let it pass where the loss is linear in the traces.)
    """
    if torch.is_grad_enabled():
        got, fix = "create_graph=True", "pass kernel='reference' to integrate()"
        raise InputError(complain("backward", expected="first derivatives alone", got=got, fix=fix))


def _by_reference(
    inputs: tuple[Spikes, float, Model], weights: tuple[ndarray, ...], v: ndarray, s: ndarray, mask: ndarray,
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Back-propagate by the reference kernel, about what the compiled one computed.

    Args:
        inputs: spikes, step in µs, and model.
        weights: hidden (any numbers: no derivative depends on them), output and, if there are some, recurrent ones.
        v, s, mask: padded membranes, spikes and living neurons of the forward pass.
        grads: of the traces; None: nothing looked at that one.

    Returns:
        One gradient for each of ``weights``; None where nothing depends on them.
    """
    spikes, dt_us, model = inputs
    leaves = [torch.tensor(w, requires_grad=True) for w in weights]
    n = leaves[0].shape[1]
    states = torch.from_numpy(v[..., :n]), torch.from_numpy(s[..., :n].astype(v.dtype))
    recorded = Traces(*states, states[0].new_zeros(*v.shape[:2], leaves[1].shape[1]))  # (read-out is linear)
    with torch.enable_grad():
        traces = reference.integrate(
            leaves[0], leaves[1], dense(spikes, dt_us, leaves[0]), model, recorded=recorded,
            alive=torch.from_numpy(mask[:n]), w_recurrent=leaves[2] if len(leaves) > 2 else None,
        )  # fmt: skip
    pairs = [(trace, grad) for trace, grad in zip(traces, grads, strict=True) if grad is not None]
    return torch.autograd.grad([t for t, _ in pairs], leaves, [g for _, g in pairs], allow_unused=True)


def integrate(
    w_hidden: Float[Tensor, "i n"],
    w_output: Float[Tensor, "n o"],
    spikes: Spikes,
    dt_us: float,
    model: Model,
    *,
    recorded: Traces | None = None,
    alive: Float[Tensor, "n"] | None = None,
    w_recurrent: Float[Tensor, "n n"] | None = None,
) -> Traces:
    """Run the network by the compiled kernels; see ``reference.integrate``, whose result this is.

    The compiled backward pass begins at the hidden spikes and the output membranes. A loss on ``v_hidden`` gets its
    gradient too, by way of the reference kernel, at the reference kernel's speed.

    Raises:
        InputError: if the weights are not on the CPU, or not float32 or float64, or do not fit the input.
    """
    named = {"w_hidden": w_hidden, "w_output": w_output, "w_recurrent": w_recurrent}
    for name, w in named.items():
        if w is None:
            continue
        if w.device.type != "cpu" or w.dtype not in (torch.float32, torch.float64):
            got = f"{w.dtype} on {w.device}"
            fix = "use the reference kernel on other devices"
            raise InputError(complain(name, expected="float32 or float64 on the CPU", got=got, fix=fix))
    if w_recurrent is not None:
        return Traces(*_Recurrent.apply(w_hidden, w_recurrent, w_output, spikes, dt_us, model, recorded, alive))
    return Traces(*_FeedForward.apply(w_hidden, w_output, spikes, dt_us, model, recorded, alive))


def dense(spikes: Spikes, dt_us: float, like: Tensor) -> Tensor:
    """Return spikes as counts on the time grid, on the device and in the dtype of ``like``."""
    counts: ndarray = spikes.dense(dt_us)
    return torch.from_numpy(counts).to(like)
