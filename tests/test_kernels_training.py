"""The fused training step, held to automatic differentiation with torch's own Adam."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_count import threads

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.datasets.encoding import encode
from bss2lab.kernels import Traces, integrate, layers, training
from bss2lab.learners import Samples, autograd
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.losses import BurstPenalty, MaxOverTime, Objective, RatePenalty, ReadoutPenalty, SumOverTime, WeightPenalty
from bss2lab.network import chip_weights
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import TrainConfig
from bss2lab.topology import Layer, Network

LESS_ONE = ("no-mismatch", "no-noise", "no-weight-rounding", "no-cadc-rounding")
N_HIDDEN = 37
RATE = 1.5e-3
EVERYTHING = Objective(MaxOverTime(10.0), BurstPenalty(0.05), ReadoutPenalty(0.1), WeightPenalty(0.5))
OBJECTIVES = {
    "task": Objective(MaxOverTime(7.0), BurstPenalty(0.0), ReadoutPenalty(0.0), WeightPenalty(0.0)),
    "defaults": Objective(),
    "everything": EVERYTHING,
    "heavy penalties": Objective(MaxOverTime(1.0), BurstPenalty(5.0), ReadoutPenalty(20.0), WeightPenalty(1e4)),
}


pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def samples(n=60):
    """Random images, a quarter of the pixels bright; one image in the first batch is blank."""
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 256, (n, 16, 16))
    images = np.where(rng.random((n, 16, 16)) < 0.25, grey, 0).astype(np.uint8)
    images[7] = 0
    return Samples.of(images.reshape(n, 256), encode(images), rng.integers(0, 10, n), 1.7)


def config(mode):
    return TrainConfig(mode=mode, n_hidden=N_HIDDEN, seed=3)


def chip_for(mode, profile="calibrated"):
    return Chip(2, profile) if mode == "itl" else None


def lively_weights(seed=0):
    """Large enough that most hidden neurons fire; not so large that chip outputs saturate."""
    rng = np.random.default_rng(seed)
    w_hidden = rng.normal(0.012, 0.06, (256, N_HIDDEN)).clip(-WEIGHT_CLAMP, WEIGHT_CLAMP)
    return w_hidden.astype(np.float32), rng.normal(0, 0.2, (N_HIDDEN, 10)).astype(np.float32)


def set_weights(learner, w_hidden, w_output):
    learner.restore(learner.state() | {"w_hidden": w_hidden, "w_output": w_output})


def pair(mode, objective=EVERYTHING, profile="calibrated"):
    learners = [kind(config(mode), objective, chip_for(mode, profile)) for kind in (CompiledLearner, AutogradLearner)]
    for learner in learners:
        set_weights(learner, *lively_weights())
    return learners


def masks(dropout, n_steps):
    rng = np.random.default_rng(1)
    return [rng.random(N_HIDDEN) >= dropout for _ in range(n_steps)]


def step(learner, alive, k=0, index=None, rate=RATE):
    index = np.arange(20) if index is None else index
    return learner.train_batch(samples(), index, learning_rate=rate, alive=alive, noise_seed=k)


def assert_same_batch(got, want):
    assert (got.images, got.correct, got.hidden_spikes) == (want.images, want.correct, want.hidden_spikes)
    assert got.terms == pytest.approx(want.terms, rel=2e-5, abs=1e-6)


def assert_same_weights(fused, oracle, tolerance):
    """``tolerance`` in units of the learning rate, the largest change that one step of Adam makes."""
    for got, want in zip(fused.weights(), oracle.weights(), strict=True):
        assert np.abs(got - want).max() < tolerance * RATE


def first_gradients(learner):
    """After one step Adam's first moment is 0.1 of the gradient (the step itself is little more than its sign)."""
    state = learner.state()
    if isinstance(learner, CompiledLearner):
        return state["moment1_hidden"] * 10, state["moment1_output"] * 10
    return state["w_hidden.exp_avg"] * 10, state["w_output.exp_avg"] * 10


def assert_same_gradients(fused, oracle):
    for got, want in zip(first_gradients(fused), first_gradients(oracle), strict=True):
        assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()
        assert (want != 0).mean() > 0.1


@pytest.mark.parametrize("kernel", ["compiled", "reference"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("mode", ["software", "itl"])
def test_one_step_equals_automatic_differentiation(mode, dropout, objective, kernel, monkeypatch):
    monkeypatch.setattr(autograd, "integrate", functools.partial(integrate, kernel=kernel))
    fused, oracle = pair(mode, OBJECTIVES[objective])
    (alive,) = masks(dropout, 1)
    got, want = step(fused, alive), step(oracle, alive)
    assert got.hidden_spikes > 10 * got.images
    assert_same_batch(got, want)
    assert_same_gradients(fused, oracle)
    assert_same_weights(fused, oracle, 5e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_software_steps_stay_together(dropout):
    fused, oracle = pair("software")
    for k, alive in enumerate(masks(dropout, 8)):
        index = np.random.default_rng(k).permutation(60)[:20]
        assert_same_batch(step(fused, alive, k, index), step(oracle, alive, k, index))
    assert_same_weights(fused, oracle, 2e-2)
    moved = np.abs(fused.weights().hidden - lively_weights()[0])
    assert np.median(moved) > RATE


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_steps_in_the_loop_stay_together(dropout):
    """Same chip, same noise. (Weights are set equal before each step: else one that rounds to another integer
    on the chip would change the recording. The optimiser's moments are left alone.)"""
    fused, oracle = pair("itl")
    for k, alive in enumerate(masks(dropout, 8)):
        set_weights(fused, *oracle.weights())
        assert_same_batch(step(fused, alive, k), step(oracle, alive, k))
        assert_same_weights(fused, oracle, 5e-3)


@pytest.mark.parametrize("profile", LESS_ONE)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_steps_on_a_chip_less_one_of_its_limits_stay_together(profile, dropout):
    fused, oracle = pair("itl", profile=profile)
    for k, alive in enumerate(masks(dropout, 4)):
        set_weights(fused, *oracle.weights())
        assert_same_batch(step(fused, alive, k), step(oracle, alive, k))
        if k == 0:
            assert_same_gradients(fused, oracle)
        assert_same_weights(fused, oracle, 5e-3)


@pytest.mark.parametrize("mode", ["software", "itl"])
def test_hidden_weights_are_clamped_to_the_synapses(mode):
    fused, oracle = pair(mode)
    alive = np.ones(N_HIDDEN, bool)
    for learner in (fused, oracle):
        step(learner, alive, rate=0.2)
    for learner in (fused, oracle):
        hidden, output = learner.weights()
        assert np.abs(hidden).max() == np.float32(WEIGHT_CLAMP)
        assert (np.abs(hidden) == np.float32(WEIGHT_CLAMP)).mean() > 0.01
        assert np.abs(output).max() > WEIGHT_CLAMP
    np.testing.assert_allclose(fused.weights().hidden, oracle.weights().hidden, atol=1e-3)


def test_dropped_neurons_stand_still_but_for_the_weight_penalty():
    fused, _ = pair("software", Objective(weight=WeightPenalty(0.0)))
    before = [w.copy() for w in fused.weights()]
    alive = np.arange(N_HIDDEN) % 3 > 0
    result = step(fused, alive)
    assert result.hidden_spikes > 0
    hidden, output = fused.weights()
    np.testing.assert_array_equal(hidden[:, ~alive], before[0][:, ~alive])
    np.testing.assert_array_equal(output[~alive], before[1][~alive])
    assert (hidden[:, alive] != before[0][:, alive]).mean() > 0.5


def test_a_recording_of_output_samples_at_the_ends_of_the_range_is_counted():
    chip = Chip(0, Chip(0).profile.replace(leak_lsb=250.0, reset_lsb=250.0, threshold_lsb=255.0))
    fused = CompiledLearner(config("itl"), EVERYTHING, chip)
    set_weights(fused, *lively_weights())
    rounded, _ = chip_weights(fused.weights())
    index = np.arange(5, 25)
    raw = chip.record(chip.write(rounded), samples().spikes, index, seed=9)
    outputs = raw.cadc[:, FIRST_SAMPLE:, -10:]
    result = step(fused, np.ones(N_HIDDEN, bool), 9, index)
    assert result.clipped == ((outputs == 0) | (outputs == 255)).sum() > 0


def test_training_lowers_the_loss():
    fused, _ = pair("itl", Objective())
    losses = [step(fused, np.ones(N_HIDDEN, bool), k, rate=5e-3).terms["task"] for k in range(30)]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("software", None), ("itl", "calibrated"), ("transfer", "calibrated"), *(("itl", name) for name in LESS_ONE)],
)
def test_evaluation_agrees(mode, profile):
    chip = None if profile is None else Chip(2, profile)
    fused, oracle = (kind(config(mode), EVERYTHING, chip) for kind in (CompiledLearner, AutogradLearner))
    for learner in (fused, oracle):
        set_weights(learner, *lively_weights())
    got, want = (learner.evaluate(samples(), noise_seed=5) for learner in (fused, oracle))
    np.testing.assert_array_equal(got.decisions, want.decisions)
    assert len(set(got.decisions.tolist())) > 3
    assert got.accuracy == want.accuracy == np.mean(got.decisions == samples().labels)
    assert got.hidden_spikes_per_image == pytest.approx(want.hidden_spikes_per_image)
    assert got.hidden_spikes_per_image > 10


def test_software_evaluation_is_the_argmax_of_the_reference():
    fused, _ = pair("software")
    hidden, output = (torch.tensor(w.astype(float)) for w in lively_weights())
    traces = integrate(hidden, output, samples().spikes, dt_us=1.7, model=config("software").model, kernel="reference")
    peaks = traces.v_output.amax(dim=1)
    margin = peaks.topk(2).values.diff().abs().flatten().numpy()
    decisions = fused.evaluate(samples(), noise_seed=0).decisions
    clear = margin > 1e-4
    assert clear.sum() > 50
    np.testing.assert_array_equal(decisions[clear], peaks.argmax(dim=1).numpy()[clear])


@pytest.mark.needs("two cores")
@pytest.mark.parametrize("mode", ["software", "itl"])
def test_the_number_of_threads_does_not_show_in_a_single_bit(mode):
    after = []
    for n in (1, 2):
        fused, _ = pair(mode)
        with threads(n):
            results = [step(fused, alive, k) for k, alive in enumerate(masks(0.3, 3))]
            decisions = fused.evaluate(samples(), noise_seed=0).decisions
        after.append((results, decisions.tolist(), {k: v.tobytes() for k, v in fused.state().items()}))
    assert after[0] == after[1]


def test_restored_learners_go_on_as_if_nothing_had_happened():
    for kind in (CompiledLearner, AutogradLearner):
        first, second = (kind(config("itl"), EVERYTHING, Chip(2)) for _ in range(2))
        for k, alive in enumerate(masks(0.3, 4)):
            if k == 2:
                second.restore({name: array.copy() for name, array in first.state().items()})
            step(first, alive, k)
            if k >= 2:
                step(second, alive, k)
        for name, array in first.state().items():
            assert array.tobytes() == second.state()[name].tobytes(), name


def goal(vote, scale, rho_a=0.0, *, rho_b=0.0, rho_r=0.0, theta_r=0.0):
    return training.Goal(vote, scale, rho_a, *(np.array([x, 0.0]) for x in (rho_b, rho_r, theta_r)))


def penalties(s, goal):
    """Gradient and statistics of the spikes of one layer, [time, neuron]."""
    network = Network(1, [Layer(s.shape[1]), Layer(1, spiking=False)])
    chain = layers.chain_of(network, [(0.5, 0.5)] * 2, np.float64)
    (units,), grad, stats = np.nonzero(s)[1:], np.full(chain.width, np.nan), np.zeros(training.N_STATISTICS)
    training.penalties_of(goal, chain, units.astype(np.int16), np.array([len(units)] * 2), 1 / 5, grad, stats)
    return grad[: s.shape[1]], stats


# --- the parts --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.floats(0, 5), st.sampled_from([1, 2, 10, 12]), st.booleans())
@settings(max_examples=150)
def test_loss_of_one_sample_equals_torch(seed, rho_a, n_out, recorded):
    """Value and gradient, on smooth traces and on traces of 8-bit samples with many ties."""
    rng = np.random.default_rng(seed)
    v = np.zeros((20, 15))
    v[:, :n_out] = rng.integers(-3, 4, (20, n_out)) * 0.0142 if recorded else rng.normal(0, 0.4, (20, n_out))
    if seed % 3 == 0:
        v[:, n_out // 2] = 0  # a silent output ties everywhere
    label = int(rng.integers(n_out))
    grad, even, stats = np.full_like(v, np.nan), np.full(n_out, np.nan), np.zeros(training.N_STATISTICS)
    training.loss_of(goal(training.PEAK, 10.0, rho_a), label, 1 / 7, v, grad, even, stats)

    traced = torch.tensor(v[None, :, :n_out], requires_grad=True)
    traces = Traces(traced, traced, traced)
    task, readout = MaxOverTime(10.0)(traces, torch.tensor([label])), ReadoutPenalty(rho_a)(traces)
    ((task + readout) / 7).backward()
    assert stats[training.NLL] == pytest.approx(task.item(), rel=1e-9, abs=1e-12)
    assert stats[training.READOUT] == pytest.approx(readout.item(), rel=1e-9)
    np.testing.assert_allclose(grad[:, :n_out], traced.grad[0], rtol=1e-9, atol=1e-12)
    assert not grad[:, n_out:].any()
    assert not even.any()
    best = v[:, :n_out].max(axis=0)
    assert stats[training.CORRECT] == (best[label] == best.max() and (best[:label] < best[label]).all())


def test_loss_of_extreme_read_outs_is_finite():
    v = np.array([[500.0, -500.0, 0.0]])
    grad, stats = np.empty_like(v), np.zeros(training.N_STATISTICS)
    training.loss_of(goal(training.PEAK, 10.0), 1, 1.0, v, grad, np.empty(3), stats)
    assert stats[training.NLL] == 10_000
    assert grad.tolist() == [[10.0, -10.0, 0.0]]


@given(st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_burst_penalty_of_one_sample_equals_torch(seed, rho_b):
    rng = np.random.default_rng(seed)
    s = rng.random((20, 11)) < 0.3
    grad, stats = penalties(s, goal(training.PEAK, 1.0, rho_b=rho_b))
    traced = torch.tensor(s[None].astype(float), requires_grad=True)
    penalty = BurstPenalty(rho_b)(Traces(traced, traced, traced))
    (penalty / 5).backward()
    assert stats[training.BURST] == pytest.approx(penalty.item())
    assert stats[training.SPIKES] == s.sum()
    np.testing.assert_allclose(np.broadcast_to(grad, (20, 11)), traced.grad[0], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("spikes", "theta"), [(40, 10.0), (10, 40.0), (0, 0.0)])
def test_rate_penalty_of_one_sample_equals_torch(spikes, theta):
    s = np.zeros((20, 11), bool)
    s.flat[:spikes] = True
    grad, stats = penalties(s, goal(training.SUM, 1.0, rho_r=0.01, theta_r=theta))
    traced = torch.tensor(s[None].astype(float), requires_grad=True)
    penalty = RatePenalty(0.01, theta)(Traces(traced, traced, traced))
    (penalty / 5).backward()
    assert stats[training.RATE] == pytest.approx(penalty.item())
    np.testing.assert_allclose(np.broadcast_to(grad, (20, 11)), traced.grad[0])


@given(st.integers(0, 2**32 - 1), st.floats(0, 5), st.sampled_from([1, 2, 5, 20]))
@settings(max_examples=100)
def test_loss_on_the_sum_over_time_equals_torch(seed, rho_a, n_out):
    rng = np.random.default_rng(seed)
    v, label = rng.normal(0, 0.4, (50, n_out)), int(rng.integers(n_out))
    grad, even, stats = np.zeros_like(v), np.full(n_out, np.nan), np.zeros(training.N_STATISTICS)
    training.loss_of(goal(training.SUM, 0.3, rho_a), label, 1 / 7, v, grad, even, stats)
    traced = torch.tensor(v[None], requires_grad=True)
    traces = Traces(traced, traced, traced)
    task, readout = SumOverTime(0.3)(traces, torch.tensor([label])), ReadoutPenalty(rho_a)(traces)
    ((task + readout) / 7).backward()
    assert stats[training.NLL] == pytest.approx(task.item(), rel=1e-9, abs=1e-12)
    assert stats[training.READOUT] == pytest.approx(readout.item(), rel=1e-9)
    np.testing.assert_allclose(grad + even, traced.grad[0], rtol=1e-9, atol=1e-12)
    assert stats[training.CORRECT] == (v.sum(axis=0).argmax() == label)


@pytest.mark.parametrize(("decay", "limit"), [(0.0, 3e38), (0.02, 0.3)])
def test_adam_is_torchs_adam(decay, limit):
    """60 steps with gradients over twelve decades, with and without the weight penalty and the clamp."""
    rng = np.random.default_rng(0)
    f = np.float32
    size = 200
    scale = 10.0 ** rng.uniform(-10, 2, size)
    w, m, v = rng.normal(0, 0.2, size).clip(-limit, limit).astype(f), np.zeros(size, f), np.zeros(size, f)
    oracle = torch.tensor(w.astype(float), requires_grad=True)
    adam = torch.optim.Adam([oracle], lr=RATE)
    for k in range(1, 61):
        grad = rng.normal(0.3, 1, size) * scale * (rng.random(size) < 0.7)
        rate = RATE * 0.97**k
        how = training.Adam(f(rate / (1 - 0.9**k)), f(np.sqrt(1 - 0.999**k)), f(0.9), f(0.999), f(1e-8))
        training.adam_row(w, m, v, grad.astype(f), how, f(decay), f(limit))
        adam.param_groups[0]["lr"] = rate
        oracle.grad = torch.tensor(grad) + 2 * decay * oracle.detach()
        adam.step()
        with torch.no_grad():
            oracle.clamp_(-limit, limit)
    np.testing.assert_allclose(w, oracle.detach(), atol=RATE * 1e-2)
    assert np.abs(w).max() <= f(limit)
    if limit < 1:
        assert (np.abs(w) == f(limit)).any()
