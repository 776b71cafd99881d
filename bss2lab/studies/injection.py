"""Injection under the microscope: one batch in the model, on the chip and in the injected graph, and its gradients.

Three gradients of one loss at the same weights, those that the chip holds:

- *injected*: values from the emulated chip's recording, derivatives of the homogeneous model (training in the loop);
- *alone*: the homogeneous model by itself, values and derivatives;
- *full knowledge*: through a twin of the chip that knows every neuron (``full_knowledge``; only an emulator has it).

The weight penalty is left out: it does not depend on the chip, and would be one and the same vector in all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bss2lab import quantize
from bss2lab.chip import Chip
from bss2lab.chip.spec import NEURONS
from bss2lab.errors import InputError, complain
from bss2lab.kernels import Traces, integrate
from bss2lab.learners import Samples
from bss2lab.network import chip_weights, traces_of
from bss2lab.settings import TrainConfig
from bss2lab.studies import full_knowledge
from bss2lab.train import objective_of
from bss2lab.types import Spikes, Weights

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64
    from numpy import ndarray

STEP = 0.02
"""Length of the trial step against a gradient, as a fraction of the layer's weight norm [assumed: small enough to
stay in the linear range of the output layer, large enough for hidden spikes to change]."""


class Gradient(NamedTuple):
    """A gradient of the batch's loss in model weights, and where it was taken.

    Attributes:
        hidden, output: ∂loss/∂W, [input, hidden] and [hidden, output].
        loss: task loss and the penalties on activity.
        accuracy: fraction of the batch that the traces classify correctly.
    """

    hidden: Tensor
    output: Tensor
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a gradient of one layer compares with the full-knowledge gradient.

    Attributes:
        cosine: of the angle between the two.
        relative_norm: its length over the reference's.
        sign_agreement: fraction of equal signs, over the weights for which neither is zero (chance: 0.5).
        loss_change: relative change of the chip's loss (its twin's: no noise, unrounded weights) after a step of
            ``STEP`` times the layer's weight norm against this gradient; negative is better.
    """

    cosine: float
    relative_norm: float
    sign_agreement: float
    loss_change: float


@dataclass(frozen=True, slots=True)
class Layers:
    """One agreement per layer."""

    hidden: Agreement
    output: Agreement


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """The same images, weights and neurons three times: in the model, on the chip, in the injected graph.

    Attributes:
        time_us: ends of the model steps, µs, [time]; the chip's samples are taken ``lag_us`` later.
        lag_us: read-out lag of the chip.
        model, recorded, injected: traces in model units, detached. Injected values are the recorded ones.
        beta: steepness of the surrogate derivative.
        labels: true classes, [batch].
    """

    time_us: Float32[ndarray, "t"]
    lag_us: float
    model: Traces
    recorded: Traces
    injected: Traces
    beta: float
    labels: Int64[ndarray, "b"]


# --- traces and gradients ---------------------------------------------------------------------------------------


def side_by_side(
    config: TrainConfig,
    weights: Weights,
    samples: Samples,
    index: Int64[ndarray, "b"],
    *,
    chip: Chip,
    noise_seed: int = 0,
) -> SideBySide:
    """Run a batch in the model, on the chip, and in the model with the chip's recording injected.

    Args:
        config: the run (time constants, step, β).
        weights: model weights; all three use them as the chip holds them.
        samples, index: encoded images, and which of them.
        chip: the emulated chip.
        noise_seed: seed of the trial-to-trial noise.

    Raises:
        InputError: if ``index`` names images that are not there, or the weights do not fit.
    """
    spikes = samples.spikes.select(index)
    recorded = _record(chip, weights, spikes, noise_seed)
    with torch.no_grad():
        leaves = _leaves(weights, chip)
        model, injected = (
            integrate(*leaves, spikes, dt_us=config.dt_us, model=config.model, recorded=r) for r in (None, recorded)
        )
    time_us = (config.dt_us * np.arange(1, config.n_steps + 1)).astype(np.float32)
    return SideBySide(
        time_us, chip.profile.readout_lag_us, model, recorded, injected, config.beta, samples.labels[index]
    )


def injected(
    config: TrainConfig, weights: Weights, samples: Samples, index: Int64[ndarray, "b"], *, chip: Chip, noise_seed: int
) -> Gradient:
    """Gradient of the injected graph: the recording's values, the model's derivatives. See ``side_by_side``."""
    spikes = samples.spikes.select(index)
    recorded = _record(chip, weights, spikes, noise_seed)
    leaves = _leaves(weights, chip)
    traces = integrate(*leaves, spikes, dt_us=config.dt_us, model=config.model, recorded=recorded)
    return _gradient(config, traces, leaves, samples.labels[index])


def alone(
    config: TrainConfig, weights: Weights, samples: Samples, index: Int64[ndarray, "b"], *, chip: Chip | None = None
) -> Gradient:
    """Gradient of the homogeneous model by itself, at the weights as the chip (None: any that rounds) holds them."""
    leaves = _leaves(weights, chip)
    traces = integrate(*leaves, samples.spikes.select(index), dt_us=config.dt_us, model=config.model)
    return _gradient(config, traces, leaves, samples.labels[index])


def full(
    config: TrainConfig, weights: Weights, samples: Samples, index: Int64[ndarray, "b"], *, chip: Chip
) -> Gradient:
    """Gradient through the chip's twin, which knows every neuron; see ``full_knowledge.simulate``."""
    scale, leaves = chip_weights(weights, chip)[1], _leaves(weights, chip)
    traces = _twin(config, leaves, scale, samples.spikes.select(index), chip)
    return _gradient(config, traces, leaves, samples.labels[index])


def _record(chip: Chip, weights: Weights, spikes: Spikes, noise_seed: int) -> Traces:
    held, scale = chip_weights(weights, chip)
    return traces_of(chip.run(held, spikes, seed=noise_seed), scale)


def _leaves(weights: Weights, chip: Chip | None) -> tuple[Tensor, Tensor]:
    """Model weights as the chip holds them, ready to receive a gradient."""
    held, scale = chip_weights(weights, chip)
    hidden, output = (
        torch.tensor(w.astype(np.float32) / np.float32(s), requires_grad=True)
        for w, s in zip(held, (quantize.HIDDEN_SCALE, scale), strict=True)
    )
    return hidden, output


def _twin(config: TrainConfig, leaves: tuple[Tensor, Tensor], scale: float, spikes: Spikes, chip: Chip) -> Traces:
    w_hidden, w_output = leaves[0] * quantize.HIDDEN_SCALE, leaves[1] * scale
    run = full_knowledge.simulate(chip, w_hidden, w_output, spikes, beta=config.beta)
    return full_knowledge.read_out(chip, run, scale)


def _loss(config: TrainConfig, traces: Traces, w_hidden: Tensor, labels: Tensor) -> Tensor:
    terms = objective_of(config).terms(traces, labels, w_hidden)
    return torch.stack([term for name, term in terms.items() if name != "weight"]).sum()


def _gradient(config: TrainConfig, traces: Traces, leaves: tuple[Tensor, Tensor], labels: ndarray) -> Gradient:
    truth = torch.from_numpy(labels)
    loss = _loss(config, traces, leaves[0], truth)
    hidden, output = torch.autograd.grad(loss, leaves)
    decided = traces.v_output.detach().amax(dim=1).argmax(dim=1)
    return Gradient(hidden, output, float(loss.detach()), float((decided == truth).to(torch.float64).mean()))


# --- comparison ---------------------------------------------------------------------------------------------------


def compare(gradient: Tensor, reference: Tensor, *, loss_change: float = 0.0) -> Agreement:
    """Compare a layer's gradient with the reference; a gradient of zeros agrees in nothing (cosine and signs 0).

    Raises:
        InputError: if the two are not of the same shape.
    """
    if gradient.shape != reference.shape:
        want, got = list(reference.shape), list(gradient.shape)
        raise InputError(complain("gradient", expected=want, got=got, fix="compare the same layer"))
    a, b = gradient.to(torch.float64).flatten(), reference.to(torch.float64).flatten()
    lengths = float(a.norm()), float(b.norm())
    cosine = float(a @ b) / (lengths[0] * lengths[1]) if min(lengths) > 0 else 0.0
    both = (a != 0) & (b != 0)
    signs = float((a.sign() == b.sign())[both].to(torch.float64).mean()) if bool(both.any()) else 0.0
    return Agreement(cosine, lengths[0] / lengths[1] if lengths[1] > 0 else 0.0, signs, loss_change)


def loss_change(
    config: TrainConfig,
    weights: Weights,
    samples: Samples,
    index: Int64[ndarray, "b"],
    *,
    chip: Chip,
    layer: str,
    gradient: Tensor,
    before: float | None = None,
) -> float:
    """Does a step against this gradient lower the chip's loss? Judged by its twin: no noise, unrounded weights.

    Args:
        config, weights, samples, index, chip: see ``side_by_side``.
        layer: the layer to change, ``hidden`` or ``output``.
        gradient: direction; the step is ``STEP`` times the norm of the layer's weights.
        before: loss before the step, if known (``full(…).loss``).

    Returns:
        Relative change of the loss; negative is better.
    """
    spikes, labels = samples.spikes.select(index), torch.from_numpy(samples.labels[index])
    scale, k = chip_weights(weights, chip)[1], Weights._fields.index(layer)
    with torch.no_grad():
        old = hidden, output = _leaves(weights, chip)
        step = STEP * old[k].norm() / gradient.norm().clamp(min=1e-30) * gradient
        new = (hidden - step, output) if k == 0 else (hidden, output - step)
        if before is None:
            before = float(_loss(config, _twin(config, old, scale, spikes, chip), hidden, labels))
        after = float(_loss(config, _twin(config, new, scale, spikes, chip), new[0], labels))
    return after / before - 1


def finite_differences(
    config: TrainConfig,
    weights: Weights,
    samples: Samples,
    index: Int64[ndarray, "b"],
    *,
    chip: Chip,
    synapses: Int64[ndarray, "k 2"],
) -> Float64[ndarray, "k"]:
    """Derivative of the loss in single output weights, from the emulator itself: one step up, one step down.

    Hidden spikes do not depend on output weights, so the loss is smooth in them, and its differences check ``full``.
    The membranes come from ``Chip.membranes``; they are read out without rounding.

    Args:
        config, weights, samples, index: see ``side_by_side``.
        chip: an emulated chip without membrane noise.
        synapses: (hidden neuron, output neuron) of the weights to move, at most ± 62 on the chip.

    Returns:
        ∂loss/∂W in model weights, one per synapse.

    Raises:
        InputError: if the chip has noise, or a synapse is not there or at its limit.
    """
    if chip.profile.membrane_noise_mv > 0:
        fix = "use profile.replace(membrane_noise_mv=0.0)"
        raise InputError(complain("membrane_noise_mv", expected="0", got=chip.profile.membrane_noise_mv, fix=fix))
    (hidden, output), scale = chip_weights(weights, chip)
    source, target = np.asarray(synapses).T
    there = (source >= 0) & (source < output.shape[0]) & (target >= 0) & (target < output.shape[1])
    if not there.all() or (np.abs(output[source, target]) > quantize.WEIGHT_MAX - 1).any():
        want = f"pairs below {list(output.shape)} whose weights are at most ±{quantize.WEIGHT_MAX - 1}"
        raise InputError(complain("synapses", expected=want, got="others", fix="choose others"))
    spikes, labels = samples.spikes.select(index), torch.from_numpy(samples.labels[index])
    with torch.no_grad():
        w_hidden, w_output = _leaves(weights, chip)
        run = full_knowledge.simulate(
            chip, w_hidden * quantize.HIDDEN_SCALE, w_output * scale, spikes, beta=config.beta
        )

    def loss(i: int, j: int, change: int) -> float:
        moved = output.copy()
        moved[i, j] += change
        _, membranes = chip.membranes(Weights(hidden, moved), spikes, seed=0)
        v_output = torch.from_numpy(membranes[:, :, NEURONS - output.shape[1] :]).to(torch.float64)
        traces = full_knowledge.read_out(chip, run._replace(v_output=v_output), scale)
        return float(_loss(config, traces, w_hidden, labels))

    return np.array([(loss(i, j, 1) - loss(i, j, -1)) / 2 * scale for i, j in zip(source, target, strict=True)])
