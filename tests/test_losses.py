"""Every term of the loss against the formula, written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.errors import InputError
from bss2lab.kernels import Traces
from bss2lab.losses import (
    BurstPenalty,
    MaxOverTime,
    Objective,
    ReadoutPenalty,
    SpeechObjective,
    WeightPenalty,
    check_labels,
)

seeds = st.integers(0, 2**32 - 1)


def random_traces(seed, batch=4, steps=6, hidden=5, outputs=3):
    rng = np.random.default_rng(seed)
    v_output = rng.normal(0, 0.5, (batch, steps, outputs))
    s_hidden = (rng.random((batch, steps, hidden)) < 0.4).astype(float)
    traces = Traces(
        torch.zeros(batch, steps, hidden), torch.tensor(s_hidden), torch.tensor(v_output, requires_grad=True)
    )
    return traces, torch.tensor(rng.integers(0, outputs, batch)), torch.tensor(rng.normal(0, 0.1, (7, hidden)))


def highest(traces):
    return traces.v_output.detach().numpy().max(axis=1).tolist()


@given(seeds, st.floats(0.1, 30))
def test_max_over_time_is_the_negative_log_probability(seed, scale):
    traces, labels, _ = random_traces(seed)
    total = 0.0
    for peaks, label in zip(highest(traces), labels.tolist(), strict=True):
        total -= math.log(math.exp(scale * peaks[label]) / sum(math.exp(scale * p) for p in peaks))
    assert MaxOverTime(scale)(traces, labels).item() == pytest.approx(total / 4, rel=1e-9, abs=1e-9)


def test_max_over_time_shares_its_gradient_among_equal_samples():
    """8-bit samples tie: each of k equal maxima gets 1/k of the gradient, other samples none."""
    v = torch.tensor([[[0.0, 0.4], [0.7, 0.1], [0.7, 0.4], [0.2, 0.4]]], dtype=torch.float64, requires_grad=True)
    MaxOverTime(10.0)(Traces(v, v, v), torch.tensor([0])).backward()
    p = math.exp(4.0) / (math.exp(4.0) + math.exp(7.0))  # probability of the wrong class
    expected = [[0, 10 * p / 3], [-10 * p / 2, 0], [-10 * p / 2, 10 * p / 3], [0, 10 * p / 3]]
    np.testing.assert_allclose(v.grad[0], expected, rtol=1e-12)


@given(seeds, st.floats(0, 2))
def test_burst_penalty(seed, rho_b):
    """ρ_b · (1/N_H) Σ_i (Σ_t S_i[t])², mean over the batch."""
    traces, _, _ = random_traces(seed)
    counts = traces.s_hidden.numpy().sum(axis=1)
    want = rho_b * sum(n**2 for sample in counts for n in sample) / 5 / 4
    assert BurstPenalty(rho_b)(traces).item() == pytest.approx(want)


@given(seeds, st.floats(0, 2))
def test_readout_penalty(seed, rho_a):
    """ρ_a · mean_i (max_t V_out,i)², mean over the batch."""
    traces, _, _ = random_traces(seed)
    want = rho_a * sum(p**2 for sample in highest(traces) for p in sample) / 3 / 4
    assert ReadoutPenalty(rho_a)(traces).item() == pytest.approx(want)


@given(seeds, st.floats(0, 2))
def test_weight_penalty(seed, rho_w):
    """ρ_w · mean(W²)."""
    w = random_traces(seed)[2]
    want = rho_w * sum(x**2 for row in w.tolist() for x in row) / 35
    assert WeightPenalty(rho_w)(w).item() == pytest.approx(want)


def test_defaults_are_the_authors():
    objective = Objective()
    assert objective.task == MaxOverTime(scale=10.0)
    assert (objective.burst.rho_b, objective.readout.rho_a, objective.weight.rho_w) == (5e-4, 0.0, 0.1)


@given(seeds)
def test_terms_are_named_and_each_is_its_own_object(seed):
    traces, labels, w = random_traces(seed)
    objective = Objective(MaxOverTime(3.0), BurstPenalty(0.2), ReadoutPenalty(0.3), WeightPenalty(0.4))
    terms = objective.terms(traces, labels, w)
    assert {name: term.item() for name, term in terms.items()} == {
        "task": MaxOverTime(3.0)(traces, labels).item(),
        "burst": BurstPenalty(0.2)(traces).item(),
        "readout": ReadoutPenalty(0.3)(traces).item(),
        "weight": WeightPenalty(0.4)(w).item(),
    }
    sum(terms.values()).backward()  # the sum of the terms is differentiable in the traces
    assert traces.v_output.grad.abs().sum() > 0


def sum_over_time(traces, labels):
    return torch.nn.functional.cross_entropy(traces.v_output.sum(dim=1), labels)


def test_a_task_loss_of_ones_own_goes_through():
    traces, labels, w = random_traces(0)
    objective = Objective(task=sum_over_time)
    assert not objective.has_compiled_form
    assert Objective().has_compiled_form
    scores = traces.v_output.detach().numpy().sum(axis=1)
    want = np.mean([np.log(np.exp(s).sum()) - s[k] for s, k in zip(scores, labels.tolist(), strict=True)])
    assert objective.terms(traces, labels, w)["task"].item() == pytest.approx(want)


def test_a_subclass_of_the_task_loss_is_not_mistaken_for_it():
    class Louder(MaxOverTime):
        def __call__(self, traces, labels):
            return 2 * super().__call__(traces, labels)

    assert not Objective(task=Louder()).has_compiled_form


@pytest.mark.parametrize(("labels", "got"), [([0, 3], "0 … 3"), ([-1, 2], "-1 … 2")])
def test_labels_out_of_range_are_refused(labels, got):
    with pytest.raises(InputError) as caught:
        MaxOverTime()(random_traces(0, batch=2)[0], torch.tensor(labels))
    for word in ["labels: expected 0 … 2", "one per output neuron", f"got {got}", "renumber"]:
        assert word in str(caught.value)


def test_no_labels_and_the_outermost_labels_are_fine():
    check_labels(torch.tensor([], dtype=torch.int64), 3)
    check_labels(torch.tensor([0, 2]), 3)


class Sparse(Objective):
    """An objective with a term of its own."""

    def terms(self, traces, labels, w_hidden, *rest):
        return {**super().terms(traces, labels, w_hidden, *rest), "own": traces.s_hidden.sum(dim=(1, 2)).mean()}


class Gentle(BurstPenalty):
    """Another burst penalty."""

    def __call__(self, traces):
        return 0.5 * super().__call__(traces)


@pytest.mark.parametrize("objective", [Sparse(), Objective(burst=Gentle()), Objective(readout=lambda traces: 0.0)])
def test_whoever_changes_a_term_is_not_given_the_compiled_one(objective):
    assert not objective.has_compiled_form


def test_the_same_holds_for_speech():
    class Own(SpeechObjective):
        pass

    assert SpeechObjective().has_compiled_form
    assert not Own().has_compiled_form
    assert not SpeechObjective(task=MaxOverTime()).has_compiled_form
