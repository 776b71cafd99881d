"""The training step of the recurrent 70–186–20 network: compiled, in the loop, and in eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bss2lab.bench.harness import Timing, interleave
from bss2lab.chip import Chip
from bss2lab.kernels import integrate, reference
from bss2lab.learners import Samples
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.losses import RatePenalty, SpeechObjective, SumOverTime, WeightPenalty
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import SpeechConfig
from bss2lab.train import set_threads
from bss2lab.types import RecurrentWeights, Spikes

EAGER, SOFTWARE, IN_THE_LOOP = "eager PyTorch", "compiled, software", "compiled, in the loop with the emulated chip"

BATCH = 100
INPUT_SPIKES = 700
"""Per sample. Twelve published SHD samples have 406 to 1,377 in the 70 channels."""


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What every implementation is given: the same network and the same input.

    Attributes:
        config: sizes and constants.
        samples: one batch of random spike trains.
        weights: random weights with which the hidden layer fires as a trained one does, some 1,500 times.
        dense: the input on the time grid, [batch, time, input].
        hidden_spikes: mean number per sample with these weights, in the model.
    """

    config: SpeechConfig
    samples: Samples
    weights: RecurrentWeights
    dense: Tensor
    hidden_spikes: float


def workload() -> Workload:
    """Draw input and weights."""
    config, rng = SpeechConfig(mode="software"), np.random.default_rng(0)
    n_in, n, n_out = config.n_channels, config.n_hidden, config.n_classes
    events = [
        (np.sort(rng.uniform(0, config.duration_us * 0.999, INPUT_SPIKES)), rng.integers(0, n_in, INPUT_SPIKES))
        for _ in range(BATCH)
    ]
    spikes = Spikes.from_events(events, n_units=n_in, duration_us=config.duration_us)
    samples = Samples.of(np.zeros((BATCH, 0), np.uint8), spikes, rng.integers(0, n_out, BATCH), config.dt_us)
    drawn = ((0.0, 0.2, (n_in, n)), (0.0, 0.1, (n, n_out)), (-0.012, 0.03, (n, n)))
    hidden, output, recurrent = (rng.normal(mean, sd, shape).astype(np.float32) for mean, sd, shape in drawn)
    weights = RecurrentWeights(hidden.clip(-WEIGHT_CLAMP, WEIGHT_CLAMP), output, recurrent)
    dense = torch.from_numpy(spikes.dense(config.dt_us))
    w = {name: torch.from_numpy(x) for name, x in weights._asdict().items()}
    traces = reference.integrate(w["hidden"], w["output"], dense, config.model, w_recurrent=w["recurrent"])
    return Workload(config, samples, weights, dense, float(traces.s_hidden.sum()) / BATCH)


def objective_of(config: SpeechConfig) -> SpeechObjective:
    """Return the standard objective with a configuration's penalties."""
    return SpeechObjective(
        SumOverTime(config.loss_scale), RatePenalty(config.rho_r, config.theta_r), WeightPenalty(config.rho_w)
    )


def compiled_step(work: Workload, *, on_chip: bool) -> Callable[[], object]:
    """Return one call of the fused step: in software, or with the emulated chip and rounding in the loop."""
    config = work.config.replace(mode="itl" if on_chip else "software")
    learner = CompiledLearner(config, objective_of(config), Chip(0) if on_chip else None, start=work.weights)
    alive, index = np.ones(config.n_hidden, bool), np.arange(BATCH)

    def step() -> None:
        learner.train_batch(work.samples, index, learning_rate=1e-6, alive=alive, noise_seed=0)

    return step


def eager_step(work: Workload) -> Callable[[], object]:
    """Return one step of the reference implementation in eager PyTorch (input product out of the time loop)."""
    config, objective = work.config, objective_of(work.config)
    w = {name: torch.tensor(x, requires_grad=True) for name, x in work.weights._asdict().items()}
    adam = torch.optim.Adam(list(w.values()), lr=1e-6)
    labels = torch.from_numpy(work.samples.labels)

    def step() -> None:
        traces = reference.integrate(w["hidden"], w["output"], work.dense, config.model, w_recurrent=w["recurrent"])
        terms = objective.terms(traces, labels, w["hidden"], w["recurrent"])
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()
        with torch.no_grad():
            for name in ("hidden", "recurrent"):
                w[name].clamp_(-WEIGHT_CLAMP, WEIGHT_CLAMP)

    return step


def gradient_error(work: Workload, dtype: torch.dtype) -> float:
    """Return the largest error of a compiled weight gradient against the reference's, with the same spikes injected.

    Relative to the largest entry of each projection's gradient; the loss is the standard one on one sample in ten.
    """
    part, objective = work.samples.spikes.select(np.arange(0, BATCH, 10)), objective_of(work.config)
    labels = torch.from_numpy(work.samples.labels[::10])
    like = {name: torch.tensor(x, dtype=dtype) for name, x in work.weights._asdict().items()}
    given: dict[str, Any] = {"spikes": part, "dt_us": work.config.dt_us, "model": work.config.model}

    def run(kernel: str, recorded: Any = None) -> tuple[Any, list[Tensor]]:
        w = {name: x.clone().requires_grad_() for name, x in like.items()}
        named = {f"w_{name}": x for name, x in w.items()}
        traces = integrate(**named, **given, recorded=recorded, kernel=kernel)
        terms = objective.terms(traces, labels, w["hidden"], w["recurrent"])
        torch.stack(list(terms.values())).sum().backward()
        gradients = [x.grad for x in w.values() if x.grad is not None]
        return type(traces)(*(x.detach() for x in traces)), gradients

    recorded, _ = run("reference")
    pairs = zip(run("compiled", recorded)[1], run("reference", recorded)[1], strict=True)
    return max(float((got - want).abs().max() / want.abs().max()) for got, want in pairs)


def measure(threads: list[int], *, rounds: int) -> dict[str, Any]:
    """Time the steps, interleaved, at several numbers of threads.

    Args:
        threads: numbers of threads.
        rounds: rounds of the interleaved timing.

    Returns:
        ``hidden_spikes``; ``gradient_error`` of float32 and float64; ``threads``: number -> case -> timing.
    """
    set_threads(0)
    work = workload()
    found: dict[str, Any] = {"hidden_spikes": work.hidden_spikes, "threads": {}}
    found["gradient_error"] = {
        str(dtype).removeprefix("torch."): gradient_error(work, dtype) for dtype in (torch.float32, torch.float64)
    }
    for n in threads:
        used = set_threads(n)
        cases = {
            EAGER: eager_step(work),
            SOFTWARE: compiled_step(work, on_chip=False),
            IN_THE_LOOP: compiled_step(work, on_chip=True),
        }
        timings: dict[str, Timing] = interleave(cases, reference=EAGER, rounds=rounds, inner=2, warm_up=1)
        found["threads"][str(used)] = {name: asdict(t) for name, t in timings.items()}
    return found
