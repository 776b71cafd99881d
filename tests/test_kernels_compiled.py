"""The compiled kernels, held to the reference: traces, gradients of any loss, any number of threads."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_count import threads

from bss2lab.errors import InputError
from bss2lab.kernels import Model, Traces, integrate
from bss2lab.types import Spikes

DT_US = 1.7


pytestmark = pytest.mark.usefixtures("one_thread")


def random_spikes(rng, batch, n_input, n_steps, mean_events):
    """Events at random times; units may fire several times, also within one bin; some samples are empty."""
    samples = []
    for _ in range(batch):
        n = rng.poisson(mean_events) if rng.random() < 0.85 else 0
        times = np.sort(rng.uniform(0, n_steps * DT_US * 0.999, n))
        samples.append((times, rng.integers(0, n_input, n)))
    return Spikes.from_events(samples, n_units=n_input, duration_us=n_steps * DT_US)


class Case(NamedTuple):
    """Sizes of a random problem, and the seed of everything in it."""

    n_input: int
    n_hidden: int
    n_output: int
    batch: int
    n_steps: int
    mean_events: int
    dropout: bool
    recurrent: bool
    seed: int


cases = st.builds(
    Case,
    n_input=st.integers(1, 40),
    n_hidden=st.integers(1, 60),
    n_output=st.integers(1, 12),
    batch=st.integers(1, 12),
    n_steps=st.integers(2, 40),
    mean_events=st.integers(0, 60),
    dropout=st.booleans(),
    recurrent=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


def build(case):
    """Network, input, recording, mask and loss of a case."""
    rng = np.random.default_rng(case.seed)
    hidden, output = (case.batch, case.n_steps, case.n_hidden), (case.batch, case.n_steps, case.n_output)
    tau_mem_us, tau_syn_us = rng.uniform(2, 20, 2)
    return {
        "w_hidden": rng.normal(0.05, 0.2, (case.n_input, case.n_hidden)),
        "w_output": rng.normal(0, 0.5, (case.n_hidden, case.n_output)),
        "w_recurrent": rng.normal(-0.02, 0.2, (case.n_hidden, case.n_hidden)) if case.recurrent else None,
        "spikes": random_spikes(rng, case.batch, case.n_input, case.n_steps, case.mean_events),
        "model": Model.from_time_constants(
            tau_mem_us=tau_mem_us, tau_syn_us=tau_syn_us, dt_us=DT_US, beta=rng.uniform(1, 80)
        ),
        "recorded": (rng.normal(0.5, 0.5, hidden), rng.random(hidden) < 0.2, rng.normal(0, 0.7, output)),
        "alive": rng.random(case.n_hidden) < 0.6 if case.dropout else None,
        "loss": (rng.normal(size=hidden), rng.normal(size=output)),
    }


def run(problem, kernel, dtype, *, inject, loss):
    """Traces and weight gradients of one problem."""
    names = [w for w in ("w_hidden", "w_output", "w_recurrent") if problem[w] is not None]
    weights = {w: torch.tensor(problem[w], dtype=dtype, requires_grad=True) for w in names}
    alive = None if problem["alive"] is None else torch.tensor(problem["alive"], dtype=dtype)
    recorded = Traces(*(torch.tensor(x, dtype=dtype) for x in problem["recorded"])) if inject else None
    traces = integrate(
        **weights,
        spikes=problem["spikes"],
        dt_us=DT_US,
        model=problem["model"],
        recorded=recorded,
        alive=alive,
        kernel=kernel,
    )
    loss(problem, traces).backward()
    return traces, *(torch.zeros_like(w) if w.grad is None else w.grad for w in weights.values())


def linear(problem, traces):
    """An arbitrary gradient at every hidden spike and every output sample."""
    on_spikes, on_outputs = (torch.tensor(x).to(traces.v_output) for x in problem["loss"])
    return (traces.s_hidden * on_spikes).sum() + (traces.v_output * on_outputs).sum()


def peaks(problem, traces):
    """Only maxima over time count; hidden spikes do not enter directly."""
    return torch.nn.functional.softplus(traces.v_output.amax(dim=1)).sum()


def bursts(problem, traces):
    """Only hidden spikes count."""
    return traces.s_hidden.sum(dim=1).square().sum()


def membranes(problem, traces):
    """Only hidden membranes count: the read-out does not."""
    return (traces.v_hidden * torch.tensor(problem["loss"][0]).to(traces.v_hidden)).square().sum()


def everything(problem, traces):
    """A gradient at every trace."""
    return linear(problem, traces) + membranes(problem, traces)


def assert_gradients_agree(got, want, tolerance, at_least=(0.0, 0.0, 0.0)):
    """Largest error below ``tolerance`` times the largest gradient (or a scale that is at least so large)."""
    for g, w, floor in zip(got, want, at_least[: len(got)], strict=True):
        assert g.dtype == w.dtype
        scale = max(w.abs().max().item(), floor)
        error = (g - w).abs().max().item()
        assert error < tolerance * scale or error == scale == 0


def without_signs(problem):
    """The gradients if no two terms cancelled: every term of the sums counted with its magnitude."""
    positive = problem | {
        "w_output": abs(problem["w_output"]),
        "w_recurrent": None if problem["w_recurrent"] is None else abs(problem["w_recurrent"]),
        "loss": tuple(abs(x) for x in problem["loss"]),
    }
    return [g.max().item() for g in run(positive, "reference", torch.float64, inject=True, loss=linear)[1:]]


@pytest.mark.parametrize("loss", [linear, peaks, bursts, everything])
@settings(max_examples=150)
@given(case=cases)
def test_double_precision_gradients_with_a_recording(loss, case):
    problem = build(case)
    traces, *got = run(problem, "compiled", torch.float64, inject=True, loss=loss)
    expected, *want = run(problem, "reference", torch.float64, inject=True, loss=loss)
    for a, b in zip(traces, expected, strict=True):
        assert torch.equal(a, b)
    assert_gradients_agree(got, want, 1e-10)


@settings(max_examples=150)
@given(case=cases)
def test_single_precision_gradients_with_a_recording(case):
    """Where terms cancel to below a twentieth, the rounding of the terms counts, in either kernel."""
    problem = build(case)
    traces, *got = run(problem, "compiled", torch.float32, inject=True, loss=linear)
    expected, *want = run(problem, "reference", torch.float32, inject=True, loss=linear)
    for a, b in zip(traces, expected, strict=True):
        assert torch.equal(a, b)
    assert_gradients_agree(got, want, 1e-5, [g / 20 for g in without_signs(problem)])


@pytest.mark.parametrize("loss", [linear, everything])
@settings(max_examples=150)
@given(case=cases)
def test_free_running_spikes_and_gradients(loss, case):
    problem = build(case)
    traces, *got = run(problem, "compiled", torch.float64, inject=False, loss=loss)
    expected, *want = run(problem, "reference", torch.float64, inject=False, loss=loss)
    assert torch.equal(traces.s_hidden, expected.s_hidden)
    torch.testing.assert_close(traces.v_hidden, expected.v_hidden, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(traces.v_output, expected.v_output, rtol=1e-10, atol=1e-10)
    assert_gradients_agree(got, want, 1e-10)


@settings(max_examples=150)
@given(case=cases)
def test_free_running_spikes_in_single_precision(case):
    """The same spikes, in every sample whose membranes stay clear of the threshold by more than rounding."""
    problem = build(case)
    traces, *_ = run(problem, "compiled", torch.float32, inject=False, loss=linear)
    expected, *_ = run(problem, "reference", torch.float64, inject=False, loss=linear)
    clear = ((expected.v_hidden - 1).abs().amin(dim=(1, 2)) > 1e-4).numpy()
    for got, want in zip(traces, expected, strict=True):
        rounding = 5e-6 * max(1, want.abs().max().item())
        np.testing.assert_allclose(got.detach()[clear], want.detach()[clear], atol=rounding, rtol=0)


def example(batch=12, *, recurrent=False):
    return build(Case(40, 60, 7, batch, 30, 60, dropout=False, recurrent=recurrent, seed=0))


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_random_problems_are_lively(recurrent):
    """Else the comparisons above would compare silence with silence."""
    traces, *grads = run(example(recurrent=recurrent), "compiled", torch.float64, inject=False, loss=linear)
    assert 0.05 < traces.s_hidden.mean() < 0.5
    assert all(g.abs().min() < g.abs().max() / 3 for g in grads)


def test_units_that_fire_twice_in_a_bin_count_twice():
    model = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=6.0, dt_us=DT_US, beta=50.0)
    w = torch.tensor([[0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    twice = Spikes.from_events([([2.0, 2.1], [0, 0])], n_units=1, duration_us=17.0)
    once = Spikes.from_events([([2.0], [0])], n_units=1, duration_us=17.0)

    def one(spikes):
        return integrate(w, torch.zeros(2, 1).double(), spikes, dt_us=DT_US, model=model, kernel="compiled")

    torch.testing.assert_close(one(twice).v_hidden, 2 * one(once).v_hidden)
    grads = [torch.autograd.grad(one(spikes).s_hidden.sum(), w)[0] for spikes in (twice, once)]
    assert (grads[0] > grads[1]).all()


def test_a_recurrent_spike_acts_one_step_later():
    model = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=6.0, dt_us=DT_US, beta=50.0)
    w = torch.tensor([[1.5, 0.0]]), torch.zeros(2, 1)
    loop = torch.tensor([[0.0, 0.75], [0.0, 0.0]])
    once = Spikes.from_events([([2.0], [0])], n_units=1, duration_us=17.0)
    for kernel in ("compiled", "reference"):
        traces = integrate(*w, once, dt_us=DT_US, model=model, w_recurrent=loop, kernel=kernel)
        assert traces.s_hidden[0, :3, 0].tolist() == [0, 1, 1]
        assert traces.v_hidden[0, :3, 1].tolist() == [0, 0, 0.75]


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 2), torch.float32, r"w_recurrent: expected \[2 hidden, 2 hidden\], got \[3, 2\]"),
        ((2, 2), torch.float64, "weights: expected one floating dtype, got torch.float64 beside torch.float32"),
    ],
)
def test_recurrent_weights_that_do_not_fit_are_refused(shape, dtype, message):
    spikes = Spikes.from_events([([2.0], [0])], n_units=1, duration_us=17.0)
    model = Model(0.7, 0.7, 50.0)
    with pytest.raises(InputError, match=message):
        integrate(
            torch.zeros(1, 2), torch.zeros(2, 1), spikes, dt_us=DT_US, model=model,
            w_recurrent=torch.zeros(shape, dtype=dtype),
        )  # fmt: skip


@pytest.mark.parametrize("inject", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_loss_on_hidden_membranes_alone_has_the_reference_kernels_gradient(inject, recurrent):
    problem = example(recurrent=recurrent)
    _, *got = run(problem, "auto", torch.float64, inject=inject, loss=membranes)
    _, *want = run(problem, "reference", torch.float64, inject=inject, loss=membranes)
    assert want[0].abs().max() > 0
    assert_gradients_agree(got, want, 1e-10)


@pytest.mark.parametrize("loss", [linear, peaks, membranes])
@pytest.mark.parametrize("recurrent", [False, True])
def test_second_derivatives_are_refused_and_not_left_out(recurrent, loss):
    """Those of another term (here of weight decay) would come out alone; the reference kernel has them all."""
    problem = example(batch=2, recurrent=recurrent)

    def penalty(kernel):
        w = {n: torch.tensor(problem[n]) for n in ("w_hidden", "w_output", "w_recurrent") if problem[n] is not None}
        w["w_output"].requires_grad_()
        w["w_hidden"].requires_grad_()
        traces = integrate(**w, spikes=problem["spikes"], dt_us=DT_US, model=problem["model"], kernel=kernel)
        total = loss(problem, traces) + w["w_hidden"].square().sum()
        (slope,) = torch.autograd.grad(total, w["w_hidden"], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), w["w_hidden"])[0] - 4 * slope.detach()

    assert penalty("reference").abs().max() > 0
    with pytest.raises(InputError, match="reference"):
        penalty("compiled")


@pytest.mark.needs("two cores")
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_number_of_threads_does_not_show_in_a_single_bit(dtype, recurrent):
    problem = example(batch=37, recurrent=recurrent)
    results = []
    for n in (1, 2):
        with threads(n):
            traces, *grads = run(problem, "compiled", dtype, inject=False, loss=linear)
            results.append([x.detach().numpy().tobytes() for x in (*traces, *grads)])
    assert results[0] == results[1]


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_batch_is_its_samples(recurrent):
    problem = example(batch=5, recurrent=recurrent)
    whole, *grads = run(problem, "compiled", torch.float64, inject=False, loss=linear)
    totals = [torch.zeros_like(g) for g in grads]
    for b in range(5):
        part = problem | {
            "spikes": problem["spikes"].select(np.array([b])),
            "loss": tuple(x[b : b + 1] for x in problem["loss"]),
        }
        traces, *some = run(part, "compiled", torch.float64, inject=False, loss=linear)
        for a, c in zip(whole, traces, strict=True):
            assert torch.equal(a[b : b + 1], c)
        for total, g in zip(totals, some, strict=True):
            total += g
    assert_gradients_agree(totals, grads, 1e-12)
