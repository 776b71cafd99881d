"""Figure 2: a parallel recording of all neurons (B), and the computation graph that it is injected into (C)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bss2lab.chip import Chip
from bss2lab.errors import InputError, complain
from bss2lab.kernels import Model, Traces, reference
from bss2lab.learners import Samples
from bss2lab.network import chip_weights
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.settings import AnyConfig
from bss2lab.types import AnyWeights

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Real
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ParallelRecording:
    """Figure 2B: every membrane of the chip, digitised in parallel, for one image. Emulated.

    Attributes:
        time_us: when the samples are taken, µs after the start of the image, [time].
        cadc_lsb: samples of all neurons, LSB, [time, 256].
        spike_times_us, spike_units: spikes of the hidden neurons, [events].
        n_hidden, n_output: hidden neurons are the first, output neurons the last of the 256.
        threshold_lsb, leak_lsb: nominal potentials of the profile.
        label: class of the image.
    """

    time_us: Float32[ndarray, "t"]
    cadc_lsb: Real[ndarray, "t n"]
    spike_times_us: Float32[ndarray, "e"]
    spike_units: Int16[ndarray, "e"]
    n_hidden: int
    n_output: int
    threshold_lsb: float
    leak_lsb: float
    label: int

    @property
    def mv_per_lsb(self) -> float:
        """Millivolts per step of the ADC."""
        return CADC_MV_PER_LSB


def parallel_recording(
    config: AnyConfig, weights: AnyWeights, samples: Samples, index: int, *, chip: Chip, noise_seed: int = 0
) -> ParallelRecording:
    """Run one image or word on the emulated chip and keep all that its ADC and its neurons sent.

    Args:
        config: the run that the weights come from.
        weights: model weights.
        samples, index: encoded images or words, and which of them.
        chip: the emulated chip.
        noise_seed: seed of the trial-to-trial noise.

    Raises:
        InputError: if there is no such image, or the weights do not fit.
    """
    spikes = samples.spikes.select(np.array([index]))
    held, _ = chip_weights(weights, chip)
    raw = chip.record(chip.write(held), spikes, np.array([0]), seed=noise_seed)
    times, units = chip.run(held, spikes, seed=noise_seed).hidden_spikes.sample(0)
    start_us = chip.profile.readout_lag_us - chip.profile.cadc_period_us
    return ParallelRecording(
        time_us=(start_us + config.dt_us * np.arange(raw.cadc.shape[1])).astype(np.float32),
        cadc_lsb=raw.cadc[0],
        spike_times_us=times,
        spike_units=units,
        n_hidden=held.hidden.shape[1],
        n_output=held.output.shape[1],
        threshold_lsb=chip.profile.threshold_lsb,
        leak_lsb=chip.profile.leak_lsb,
        label=int(samples.labels[index]),
    )


@dataclass(frozen=True, slots=True)
class Node:
    """A quantity of the graph.

    Attributes:
        symbol: as in the table of ``dynamics``; layers told apart by ``_h`` and ``_o``.
        step: time step, or −1 for weights.
        injected: does a recorded value stand here in the place of the modelled one?
    """

    symbol: str
    step: int
    injected: bool


@dataclass(frozen=True, slots=True)
class ComputationGraph:
    """Figure 2C: what depends on what, as automatic differentiation sees it.

    Attributes:
        n_steps: time steps.
        nodes: the quantities.
        edges: (from, to), numbers of nodes, in the direction of the forward pass; gradients run against it.
    """

    n_steps: int
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


def computation_graph(n_steps: int = 3, *, inject: bool = True) -> ComputationGraph:
    """Read the graph off autograd: run a tiny network through ``kernels.reference`` and walk what it left behind.

    Args:
        n_steps: time steps to unroll.
        inject: inject a recording, as training in the loop does.

    Raises:
        InputError: for less than two steps, which show no recurrence.
    """
    if n_steps < 2:
        raise InputError(complain("n_steps", expected="at least 2", got=n_steps, fix="3 show the pattern"))
    w_hidden, w_output = (torch.ones(1, 1, requires_grad=True) for _ in range(2))
    recorded = Traces(*(torch.zeros(1, n_steps, 1) for _ in range(3))) if inject else None
    # Every step has input; the decays are any numbers, since only the structure is read.
    traces = reference.integrate(
        w_hidden, w_output, torch.ones(1, n_steps, 1), Model(0.5, 0.5, 50.0), recorded=recorded
    )
    names = _names(traces, n_steps)
    leaves = {id(w): symbol for w, symbol in ((w_hidden, "W_h"), (w_output, "W_o"))}
    nodes: dict[Any, Node] = {}
    edges: set[tuple[Any, Any]] = set()
    pending = list(names)
    for function in pending:
        nodes[function] = names[function]
        for source in _sources(function, names):
            variable = getattr(source, "variable", None)
            if variable is not None:
                nodes[source] = Node(leaves[id(variable)], -1, False)
            edges.add((source, function))
    order = sorted(nodes, key=lambda f: (nodes[f].step, nodes[f].symbol))
    number = {function: k for k, function in enumerate(order)}
    pairs = sorted((number[a], number[b]) for a, b in edges)
    return ComputationGraph(n_steps, tuple(nodes[f] for f in order), tuple(pairs))


def _names(traces: Traces, n_steps: int) -> dict[Any, Node]:
    """Find the autograd functions that stand for V, S and I at every step."""
    names: dict[Any, Node] = {}
    for symbol, trace in zip(("V_h", "S_h", "V_o"), traces, strict=True):
        assert trace.grad_fn is not None
        for t in range(n_steps):
            function = trace.grad_fn.next_functions[t][0]
            if function is None:
                continue  # V_o[0]: no spike has come yet, so that nothing depends on a weight
            injected = type(function).__name__ == "_InjectBackward"
            names[function] = Node(symbol, t, injected)
            if symbol != "S_h":
                model = function.next_functions[0][0] if injected else function
                current = _current(model)
                if current is not None:
                    names[current] = Node(symbol.replace("V", "I"), t, False)
    return names


def _current(membrane: Any) -> Any:
    """Return the function behind I in V = (μ V + I) − S: the sum's second operand."""
    if membrane is None:
        return None
    total = membrane.next_functions[0][0]
    return total.next_functions[1][0]


def _sources(function: Any, names: dict[Any, Node]) -> Iterator[Any]:
    """Yield the named functions and weights that a function depends on directly."""
    pending = [f for f, _ in function.next_functions]
    while pending:
        f = pending.pop()
        if f is None:
            continue
        if f in names or hasattr(f, "variable"):
            yield f
        else:
            pending.extend(g for g, _ in f.next_functions)
