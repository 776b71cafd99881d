"""The compiled network behind ``torch.autograd``: any loss on its traces can be back-propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bss2lab.errors import InputError, complain
from bss2lab.kernels import feedforward, recurrent
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
        v_hidden = torch.from_numpy(v[..., :n_hidden].copy())
        s_hidden = torch.from_numpy(s[..., :n_hidden].astype(scalar))
        ctx.mark_non_differentiable(v_hidden)
        return v_hidden, s_hidden, v_output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wo, events, mask, scalars, v, s, shape_hidden, shape_output = ctx.state
        _, grad_s, grad_v_output = grads
        pad_s = np.zeros(v.shape, v.dtype)
        pad_s[..., : shape_hidden[1]] = grad_s.numpy()
        pad_v = np.zeros((*v.shape[:2], wo.shape[0]), v.dtype)
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
        ctx.state = (wr, wo, events, mask, (*decays, scalar(model.beta)), v, s, w_hidden.shape)
        v_hidden = torch.from_numpy(v[..., :n_hidden].copy())
        s_hidden = torch.from_numpy(s[..., :n_hidden].astype(scalar))
        ctx.mark_non_differentiable(v_hidden)
        return v_hidden, s_hidden, v_output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wr, wo, events, mask, scalars, v, s, (n_inputs, n_hidden) = ctx.state
        _, grad_s, grad_v_output = grads
        pad_s = np.zeros(v.shape, v.dtype)
        pad_s[..., :n_hidden] = grad_s.numpy()
        gradients = np.empty((n_inputs + wr.shape[0] + wo.shape[0], wr.shape[1]), v.dtype)
        recurrent.backward(
            wr, wo, n_inputs, *events, mask, *scalars, v, s, pad_s, np.ascontiguousarray(grad_v_output.numpy()),
            recurrent.BLOCK, gradients,
        )  # fmt: skip
        found = torch.from_numpy(gradients[:, :n_hidden])
        hidden, looped, output = found.split([n_inputs, wr.shape[0], wo.shape[0]])
        return hidden.clone(), looped[:n_hidden].clone(), output.T.clone(), None, None, None, None, None


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

    Gradients flow from the hidden spikes and the output membranes; ``v_hidden`` is for looking at.

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
