"""Networks of any depth, recurrence, neurons and spike functions: the compiled passes, held to the reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_count import threads

from bss2lab import dynamics
from bss2lab.errors import InputError
from bss2lab.kernels import compiled, layers, reference, training
from bss2lab.kernels.reference import LayerTraces
from bss2lab.surrogate import COMPILED
from bss2lab.topology import LIF, Layer, Network
from bss2lab.types import Spikes

pytestmark = pytest.mark.usefixtures("one_thread")

DT_US = 1.7
sizes = st.integers(1, 34)
times = st.floats(2.0, 20.0)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Chains of up to four layers; the last may fire."""
    n = draw(st.integers(1, 4))
    chain = []
    for k in range(n):
        fires = k < n - 1 or draw(st.booleans())
        spike = draw(st.sampled_from(COMPILED))(draw(st.floats(1.0, 60.0)))
        chain.append(Layer(draw(sizes), fires and draw(st.booleans()), fires, LIF(draw(times), draw(times)), spike))
    return Network(draw(sizes), chain)


class Problem(NamedTuple):
    """A network with weights, input and what else a pass needs."""

    network: Network
    decays: list[tuple[float, float]]
    weights: list[tuple[torch.Tensor, torch.Tensor | None]]
    spikes: Spikes
    alive: np.ndarray
    recorded: list[LayerTraces] | None

    @property
    def leaves(self) -> list[torch.Tensor]:
        return [w for pair in self.weights for w in pair if w is not None]

    @property
    def masks(self) -> list[torch.Tensor | None]:
        ends = np.cumsum([layer.size * layer.spiking for layer in self.network.layers])
        return [
            torch.tensor(self.alive[end - layer.size : end].astype(float)) if layer.spiking else None
            for end, layer in zip(ends, self.network.layers, strict=True)
        ]


def build(network: Network, seed: int, *, batch: int, n_steps: int, recorded: bool) -> Problem:
    rng = np.random.default_rng(seed)
    events = [int(rng.poisson(40)) if rng.random() < 0.85 else 0 for _ in range(batch)]
    duration = n_steps * DT_US
    spikes = Spikes.from_events(
        [(np.sort(rng.uniform(0, duration * 0.999, n)), rng.integers(0, network.n_input, n)) for n in events],
        n_units=network.n_input, duration_us=duration,
    )  # fmt: skip

    def drawn(mean: float, *shape: int) -> torch.Tensor:
        return torch.tensor(rng.normal(mean, 0.3, shape), requires_grad=True)

    weights = [
        (drawn(0.08, n, layer.size), drawn(-0.02, layer.size, layer.size) if layer.recurrent else None)
        for n, layer in zip(network.sources, network.layers, strict=True)
    ]
    decays = [
        (dynamics.decay(DT_US, one.neuron.tau_syn_us), dynamics.decay(DT_US, one.neuron.tau_mem_us))
        for one in network.layers
    ]
    alive = rng.random(sum(layer.size for layer in network.layers if layer.spiking)) < 0.8
    traces = None
    if recorded:
        shapes = [(batch, n_steps, layer.size) for layer in network.layers]
        traces = [
            LayerTraces(
                torch.tensor(rng.normal(0.5, 0.5, shape)), torch.tensor((rng.random(shape) < 0.2) * one.spiking * 1.0)
            )
            for shape, one in zip(shapes, network.layers, strict=True)
        ]
    return Problem(network, decays, weights, spikes, alive, traces)


def run(problem: Problem, *, by_reference: bool) -> list[LayerTraces]:
    p = problem
    if by_reference:
        dense = torch.tensor(p.spikes.dense(DT_US)).double()
        return reference.run(p.network, p.decays, p.weights, dense, recorded=p.recorded, alive=p.masks)
    found = compiled.run(p.network, p.decays, p.weights, p.spikes, DT_US, recorded=p.recorded, alive=p.alive)
    return [LayerTraces(*pair) for pair in found]


def assert_agree(got: list[torch.Tensor], want: list[torch.Tensor], tolerance: float = 1e-9) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max() + 1e-12


@settings(max_examples=120)
@given(networks(), st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(2, 30), st.booleans())
def test_traces_and_gradients_of_any_network_are_the_references(
    network: Network, seed: int, batch: int, n_steps: int, recorded: bool
) -> None:
    """The loss looks at every membrane and every spike."""
    problem = build(network, seed, batch=batch, n_steps=n_steps, recorded=recorded)
    got, want = (run(problem, by_reference=k) for k in (False, True))
    rng = np.random.default_rng(seed)
    losses = [torch.zeros((), dtype=torch.float64) for _ in range(2)]
    for a, b, layer in zip(got, want, network.layers, strict=True):
        torch.testing.assert_close(a.v, b.v, rtol=1e-9, atol=1e-9)
        assert torch.equal(a.s, b.s)
        on_v, on_s = (torch.tensor(rng.normal(size=a.v.shape)) for _ in range(2))
        for k, traces in enumerate((a, b)):
            losses[k] = losses[k] + (on_v * traces.v).sum() + ((on_s * traces.s).sum() if layer.spiking else 0)
    assert_agree(*(list(torch.autograd.grad(loss, problem.leaves)) for loss in losses))


@pytest.mark.parametrize("kind", COMPILED, ids=lambda kind: kind.__name__)
def test_every_spike_function_has_a_compiled_form(kind: type) -> None:
    network = Network(8, [Layer(20, spike=kind(3.0)), Layer(4, spiking=False)])
    problem = build(network, 1, batch=6, n_steps=20, recorded=False)
    grads = []
    for by_reference in (False, True):
        traces = run(problem, by_reference=by_reference)
        grads.append(list(torch.autograd.grad(traces[-1].v.square().sum(), problem.leaves)))
    assert_agree(*grads)
    assert grads[1][0].abs().max() > 1e-3


DEEP = Network(
    20, [
        Layer(30, neuron=LIF(8, 4)), Layer(17, recurrent=True, spike=COMPILED[2](3.0)),
        Layer(18, neuron=LIF(3, 9), spike=COMPILED[1](5.0)), Layer(5, spiking=False, neuron=LIF(11, 3)),
    ],
)  # fmt: skip
NETWORKS = {
    "feed-forward": Network.feed_forward(20, 30, 5),
    "recurrent": Network(20, [Layer(30, recurrent=True), Layer(5, spiking=False)]),
    "deep": DEEP,
    "read-out alone": Network.feed_forward(20, 5),
}
VOTES = {
    training.PEAK: lambda v: v.amax(dim=1),
    training.SUM: lambda v: v.sum(dim=1),
    training.LAST: lambda v: v[:, -1],
}


def gradients_of_step(problem: Problem, labels: np.ndarray, goal: training.Goal) -> tuple[list, np.ndarray]:
    """Gradients and statistics of one fused step (Adam's first moment is the gradient where β₁ is 0)."""
    chain, s = layers.chain_of(problem.network, problem.decays, np.float64), problem.spikes
    n, n_steps = len(s), s.n_steps(DT_US)
    flat = layers.flat(
        chain, [tuple(None if w is None else w.detach().numpy() for w in pair) for pair in problem.weights]
    )
    moments, stats = np.zeros((2, len(flat))), np.zeros((n, training.N_STATISTICS))
    starts = np.cumsum([0, *(layer.size for layer in problem.network.layers[:-1])])
    cadc = fired = np.empty((0, 0, 0), np.uint8)
    if problem.recorded is not None:
        v, spikes = (np.concatenate([getattr(t, name).numpy() for t in problem.recorded], axis=2) for name in "vs")
        cadc = np.concatenate([np.zeros((n, 2, v.shape[2])), v], axis=1)
        fired = np.concatenate([np.zeros((n, 2, v.shape[2])), spikes], axis=1).astype(np.uint8)
    record = training.Recorded(cadc, fired, 2, starts, np.ones(len(starts)), 1.0)
    lengths = [
        (at + i * pad, pad)
        for at, loop, rows, pad in zip(chain.feeds, chain.loops, chain.sources, chain.pads, strict=True)
        for i in range(rows + (pad if loop >= 0 else 0))
    ]
    at, pad = (np.array(x, np.int64) for x in zip(*lengths, strict=True))
    rows = training.Rows(at, pad, np.zeros(len(at)), np.full(len(at), 1e9), np.ones(len(at), np.int64))
    batch = layers.Batch(s.offsets, s.units, s.bins(DT_US), labels, np.arange(n), n_steps)
    training.train_step(
        chain, flat, moments, batch, layers.spiking_units(chain, problem.alive), goal, record,
        training.Adam(0.0, 1.0, 0.0, 0.999, 1e-8), rows, layers.room_for(chain, 2 * layers.BLOCK, n_steps, steady=True),
        np.empty((3, len(flat))), stats,
    )  # fmt: skip
    found = [torch.tensor(x) for pair in layers.views(chain, moments[0]) for x in pair if x is not None]
    return found, stats


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("vote", VOTES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_automatic_differentiation(name: str, vote: int, recorded: bool) -> None:
    """Any loss on the read-out, and penalties on every layer that fires."""
    network = NETWORKS[name]
    problem = build(network, 3, batch=23, n_steps=25, recorded=recorded)
    if problem.recorded is not None:  # a membrane in a step with a spike is injected at the threshold
        problem = problem._replace(
            recorded=[LayerTraces(v.float().double(), s) for v, s in problem.recorded]  # (ADC samples are float32)
        )
        at_threshold = [
            LayerTraces(torch.where(t.s * (1 if m is None else m) > 0, torch.ones_like(t.v), t.v), t.s)
            for t, m in zip(problem.recorded, problem.masks, strict=True)
        ]
        expected = run(problem._replace(recorded=at_threshold), by_reference=True)
    else:
        expected = run(problem, by_reference=True)
    n = len(network.layers)
    rho_b, rho_r, theta_r = 0.02 + 0.01 * np.arange(n), 1e-3 * np.ones(n), 5.0 + np.arange(n)
    labels = np.random.default_rng(0).integers(0, 5, 23)
    got, stats = gradients_of_step(problem, labels, training.Goal(vote, 3.0, 0.01, rho_b, rho_r, theta_r))
    v = expected[-1].v
    task = torch.nn.functional.cross_entropy(3.0 * VOTES[vote](v), torch.tensor(labels))
    loss = task + 0.01 * v.amax(dim=1).square().mean()
    for k, (traces, layer) in enumerate(zip(expected, network.layers, strict=True)):
        if layer.spiking:
            counts, total = traces.s.sum(dim=1), traces.s.sum(dim=(1, 2))
            over = (total - theta_r[k]).clamp(min=0)
            loss = loss + rho_b[k] * counts.square().mean() + rho_r[k] * over.square().mean()
    assert_agree(got, list(torch.autograd.grad(loss, problem.leaves)))
    parts = [training.NLL, training.BURST, training.RATE, training.READOUT]
    assert stats[:, parts].sum() / 23 == pytest.approx(loss.item(), rel=1e-9)
    assert stats[:, training.NLL].mean() == pytest.approx(task.item(), rel=1e-9)
    fired = sum(t.s.sum().item() for t, layer in zip(expected, network.layers, strict=True) if layer.spiking)
    assert stats[:, training.SPIKES].sum() == fired


@pytest.mark.needs("two cores")
def test_the_number_of_threads_does_not_show_in_a_single_bit() -> None:
    problem = build(DEEP, 5, batch=40, n_steps=20, recorded=False)
    zeros = np.zeros(len(DEEP.layers))
    goal, labels = training.Goal(training.PEAK, 3.0, 0.0, zeros, zeros, zeros), np.arange(40) % 5
    found = []
    for n in (1, 2):
        with threads(n):
            found.append([g.numpy().tobytes() for g in gradients_of_step(problem, labels, goal)[0]])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer(0), "layer size: expected an integer of at least 1, got 0"),
        (lambda: Layer(5, recurrent=True, spiking=False), "expected spiking=True, got spiking=False"),
        (lambda: Layer(5, spike=3), "spike: expected a spike function, got 3"),
        (lambda: LIF(tau_mem_us=6e-6), "tau_mem_us: expected 0.05 … 10,000 µs, got 6e-06"),
        (lambda: Network(5, []), "layers: expected at least one layer"),
        (lambda: Network(5, [Layer(4, spiking=False), Layer(3)]), "the hidden layer feeds the next"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
