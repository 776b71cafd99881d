"""One entry, two implementations: the compiled kernels for the CPU, the reference for everything else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bss2lab.errors import InputError, complain
from bss2lab.kernels import compiled, reference
from bss2lab.kernels.reference import Model, Traces, inject
from bss2lab.machine import core_quota, usable_cores
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Float

if core_quota() is not None and "OMP_NUM_THREADS" not in os.environ:  # torch would start a thread per core
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))

__all__ = ["Model", "Traces", "inject", "integrate"]


def integrate(
    w_hidden: Float[Tensor, "i n"],
    w_output: Float[Tensor, "n o"],
    spikes: Spikes,
    *,
    dt_us: float,
    model: Model,
    recorded: Traces | None = None,
    alive: Float[Tensor, "n"] | None = None,
    w_recurrent: Float[Tensor, "n n"] | None = None,
    kernel: str = "auto",
) -> Traces:
    """Run the two-layer network, differentiably.

    Args:
        w_hidden, w_output: weights in units of the threshold, [input, hidden] and [hidden, output].
        spikes: input spike trains.
        dt_us: model step, µs.
        model: decays and surrogate steepness.
        recorded: a substrate's traces to inject (value from the recording, derivative from the model).
        alive: 1 for neurons that may fire, 0 for dropped ones, [hidden].
        w_recurrent: weights from hidden to hidden neurons, [source, target]; without them the network is feed-forward.
        kernel: ``compiled``, ``reference``, or ``auto``: compiled on the CPU, reference elsewhere.

    Returns:
        Traces of hidden membranes and spikes and of output membranes, [batch, time, neuron]; a loss may look at any.

    Raises:
        InputError: shapes or dtypes that do not fit, weights that are not finite, an unknown kernel.
    """
    _check(w_hidden, w_output, w_recurrent, spikes, spikes.n_steps(dt_us), recorded, alive)
    if kernel == "auto":
        kernel = "compiled" if w_hidden.device.type == "cpu" else "reference"
    if kernel == "compiled":
        problem = reference.two_layers(w_hidden, w_output, model, w_recurrent)
        lives = None if alive is None else alive.numpy()
        given = None if recorded is None else reference.by_layer(recorded)
        (v, s), (out, _) = compiled.run(*problem, spikes, dt_us, recorded=given, alive=lives)
        return Traces(v, s, out)
    if kernel == "reference":
        x = compiled.dense(spikes, dt_us, w_hidden)
        return reference.integrate(
            w_hidden, w_output, x, model, recorded=recorded, alive=alive, w_recurrent=w_recurrent
        )
    want = "'auto', 'compiled' or 'reference'"
    raise InputError(complain("kernel", expected=want, got=repr(kernel), fix="leave it at 'auto'"))


def _check(
    w_hidden: Tensor, w_output: Tensor, w_recurrent: Tensor | None, spikes: Spikes, steps: int,
    recorded: Traces | None, alive: Tensor | None,
) -> None:  # fmt: skip
    if w_hidden.ndim != 2 or w_hidden.shape[0] != spikes.n_units:
        want, got = f"[{spikes.n_units} inputs, hidden]", list(w_hidden.shape)
        raise InputError(complain("w_hidden", expected=want, got=got, fix="transposed?"))
    if w_output.ndim != 2 or w_output.shape[0] != w_hidden.shape[1]:
        want, got = f"[{w_hidden.shape[1]} hidden, outputs]", list(w_output.shape)
        raise InputError(complain("w_output", expected=want, got=got, fix="transposed?"))
    n = w_hidden.shape[1]
    if w_recurrent is not None and list(w_recurrent.shape) != [n, n]:
        got = list(w_recurrent.shape)
        raise InputError(complain("w_recurrent", expected=f"[{n} hidden, {n} hidden]", got=got, fix="match w_hidden"))
    if w_recurrent is not None and w_recurrent.dtype != w_hidden.dtype:
        got = f"{w_recurrent.dtype} beside {w_hidden.dtype}"
        raise InputError(complain("weights", expected="one floating dtype", got=got, fix="use .to(torch.float32)"))
    if w_hidden.dtype != w_output.dtype or not w_hidden.is_floating_point():
        got = f"{w_hidden.dtype} and {w_output.dtype}"
        raise InputError(complain("weights", expected="one floating dtype", got=got, fix="use .to(torch.float32)"))
    for name, w in (("w_hidden", w_hidden), ("w_output", w_output), ("w_recurrent", w_recurrent)):
        if w is not None and not bool(w.isfinite().all()):
            bad = int((~w.isfinite()).sum())
            text = complain(
                name, expected="finite weights", got=f"{bad} NaN or infinite", fix="lower the learning rate"
            )
            raise InputError(text)
    (n_hidden, n_output), fix = w_output.shape, "record this very batch"
    for name, trace in recorded._asdict().items() if recorded is not None else ():
        want, got = [len(spikes), steps, n_output if name == "v_output" else n_hidden], list(trace.shape)
        if got != want:
            raise InputError(complain(f"recorded {name}", expected=want, got=got, fix=fix))
    if alive is not None and list(alive.shape) != [n_hidden]:
        want, got = [n_hidden], list(alive.shape)
        raise InputError(complain("alive", expected=want, got=got, fix="pass one per hidden neuron"))
