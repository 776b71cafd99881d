"""The recurrent network's fused step, held to automatic differentiation with torch's own Adam."""

import numpy as np
import pytest
import torch
from thread_count import threads

from bss2lab.chip import Chip
from bss2lab.errors import InputError
from bss2lab.kernels import integrate
from bss2lab.learners import Samples
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.losses import RatePenalty, SpeechObjective, SumOverTime, WeightPenalty
from bss2lab.network import chip_weights, initial_recurrent_weights, traces_of
from bss2lab.quantize import WEIGHT_CLAMP
from bss2lab.settings import SpeechConfig
from bss2lab.types import RecurrentWeights, Spikes

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"n_channels": 12, "n_hidden": 37, "n_classes": 5, "n_steps": 60}
RATE = 1e-3
EVERYTHING = SpeechObjective(SumOverTime(0.1), RatePenalty(1e-4, 20.0), WeightPenalty(0.5))
OBJECTIVES = {
    "task": SpeechObjective(SumOverTime(0.05), RatePenalty(0.0), WeightPenalty(0.0)),
    "everything": EVERYTHING,
    "heavy penalties": SpeechObjective(SumOverTime(0.01), RatePenalty(1.0, 5.0), WeightPenalty(1e3)),
}


def config(mode, **changes):
    return SpeechConfig(mode=mode, seed=3, **{**SIZES, **changes})


def samples(n=23, seed=0):
    """Random spike trains, of five neighbouring units in each sample; one is empty."""
    rng, duration = np.random.default_rng(seed), SIZES["n_steps"] * 1.7
    counts = [0 if b == 7 else 150 for b in range(n)]
    events = [
        (np.sort(rng.uniform(0, duration * 0.999, k)), (rng.integers(0, 5, k) + b) % SIZES["n_channels"])
        for b, k in enumerate(counts)
    ]
    spikes = Spikes.from_events(events, n_units=SIZES["n_channels"], duration_us=duration)
    return Samples.of(np.zeros((n, 0), np.uint8), spikes, rng.integers(0, SIZES["n_classes"], n), 1.7)


def lively_weights():
    rng = np.random.default_rng(1)
    n_in, n, n_out = SIZES["n_channels"], SIZES["n_hidden"], SIZES["n_classes"]
    drawn = ((0.02, 0.12, (n_in, n)), (0.0, 0.2, (n, n_out)), (-0.01, 0.06, (n, n)))
    hidden, output, recurrent = (rng.normal(mean, sd, shape).astype(np.float32) for mean, sd, shape in drawn)
    return RecurrentWeights(
        hidden.clip(-WEIGHT_CLAMP, WEIGHT_CLAMP), output, recurrent.clip(-WEIGHT_CLAMP, WEIGHT_CLAMP)
    )


class Oracle:
    """The same step by ``reference.integrate``, autograd and ``torch.optim.Adam``."""

    def __init__(self, config, objective, chip, start):
        self.config, self.objective, self.chip = config, objective, chip
        self.w = {k: torch.tensor(np.array(x), requires_grad=True) for k, x in start._asdict().items()}
        learned = [k for k in self.w if k != "recurrent" or config.recurrent == "learned"]
        self.adam = torch.optim.Adam([self.w[k] for k in learned], lr=RATE)

    def weights(self):
        return RecurrentWeights(**{k: x.detach().numpy() for k, x in self.w.items()})

    def train_batch(self, samples, index, *, learning_rate, alive, noise_seed):
        spikes = samples.spikes.select(index)
        recorded = None
        if self.chip is not None:
            held, scale = chip_weights(self.weights(), self.chip)
            raw = self.chip.run(held, spikes, seed=noise_seed + int(index[0]), silenced=~alive)
            recorded = traces_of(raw, scale, overshoot=self.config.overshoot)
        traces = integrate(
            self.w["hidden"], self.w["output"], spikes, dt_us=self.config.dt_us, model=self.config.model,
            recorded=recorded, alive=torch.tensor(alive.astype(np.float32)), w_recurrent=self.w["recurrent"],
            kernel="reference",
        )  # fmt: skip
        labels = torch.from_numpy(samples.labels[index])
        terms = self.objective.terms(traces, labels, self.w["hidden"], self.w["recurrent"])
        for group in self.adam.param_groups:
            group["lr"] = learning_rate
        self.adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self.adam.step()
        with torch.no_grad():
            for k in ("hidden", "recurrent"):
                self.w[k].clamp_(-WEIGHT_CLAMP, WEIGHT_CLAMP)
        correct = int((traces.v_output.sum(dim=1).argmax(dim=1) == labels).sum())
        spikes = float(traces.s_hidden.detach().sum())
        return len(index), correct, spikes, {k: float(t.detach()) * len(index) for k, t in terms.items()}


def pair(mode, objective=EVERYTHING, **changes):
    chip = Chip(2) if mode == "itl" else None
    cfg = config(mode, **changes)
    return (kind(cfg, objective, chip, lively_weights()) for kind in (CompiledLearner, Oracle))


def mask(dropout, seed=1):
    return np.random.default_rng(seed).random(SIZES["n_hidden"]) >= dropout


def step(learner, alive, index=None, rate=RATE, noise_seed=0):
    index = np.arange(20) if index is None else index
    return learner.train_batch(samples(), index, learning_rate=rate, alive=alive, noise_seed=noise_seed)


def first_gradients(fused, oracle):
    """After one step Adam's first moment is 0.1 of the gradient."""
    state = fused.state()
    for name in ("hidden", "output", *(["recurrent"] if fused._config.recurrent == "learned" else [])):
        yield state[f"moment1_{name}"], oracle.adam.state[oracle.w[name]]["exp_avg"].numpy()


@pytest.mark.parametrize("recurrent", ["learned", "fixed"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("mode", ["software", "itl"])
def test_one_step_equals_automatic_differentiation(mode, dropout, objective, recurrent):
    fused, oracle = pair(mode, OBJECTIVES[objective], recurrent=recurrent)
    alive = mask(dropout)
    got, (n, correct, spikes, terms) = step(fused, alive), step(oracle, alive)
    assert spikes > 20 * n
    assert (got.images, got.correct, got.hidden_spikes) == (n, correct, spikes)
    assert got.terms == pytest.approx(terms, rel=2e-5, abs=1e-6)
    for have, want in first_gradients(fused, oracle):
        assert np.abs(have - want).max() < 1e-5 * np.abs(want).max()
        assert (want != 0).mean() > 0.1
    for have, want in zip(fused.weights(), oracle.weights(), strict=True):
        assert np.abs(have - want).max() < 1e-2 * RATE


def test_steps_in_the_loop_lower_the_loss():
    fused, _ = pair("itl", OBJECTIVES["task"])
    losses = [step(fused, mask(0.0), rate=3e-3, noise_seed=k).terms["task"] for k in range(25)]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_fixed_recurrent_weights_stay():
    fused, _ = pair("software", recurrent="fixed")
    before = lively_weights()
    step(fused, mask(0.0))
    after = fused.weights()
    np.testing.assert_array_equal(after.recurrent, before.recurrent)
    assert (after.hidden != before.hidden).mean() > 0.5


@pytest.mark.needs("two cores")
@pytest.mark.parametrize("mode", ["software", "itl"])
def test_the_number_of_threads_does_not_show_in_a_single_bit(mode):
    after = []
    for n in (1, 2):
        fused, _ = pair(mode)
        with threads(n):
            results = [step(fused, mask(0.3, k), noise_seed=k) for k in range(3)]
            decisions = fused.evaluate(samples(), noise_seed=0).decisions
        after.append((results, decisions.tolist(), {k: v.tobytes() for k, v in fused.state().items()}))
    assert after[0] == after[1]


def test_a_restored_learner_goes_on_as_if_nothing_had_happened():
    first, second = (CompiledLearner(config("itl"), EVERYTHING, Chip(2)) for _ in range(2))
    for k in range(4):
        if k == 2:
            second.restore({name: array.copy() for name, array in first.state().items()})
        step(first, mask(0.3, k), noise_seed=k)
        if k >= 2:
            step(second, mask(0.3, k), noise_seed=k)
    for name, array in first.state().items():
        assert array.tobytes() == second.state()[name].tobytes(), name


@pytest.mark.parametrize("mode", ["software", "itl"])
def test_evaluation_sums_the_read_out_over_time(mode):
    fused, oracle = pair(mode)
    got = fused.evaluate(samples(), noise_seed=5)
    spikes, w = samples().spikes, {k: torch.tensor(np.array(x)) for k, x in fused.weights()._asdict().items()}
    if mode == "itl":
        held, scale = chip_weights(fused.weights(), oracle.chip)
        v_output = traces_of(oracle.chip.run(held, spikes, seed=5), scale).v_output
    else:
        v_output = integrate(
            w["hidden"], w["output"], spikes, dt_us=1.7, model=fused._config.model, w_recurrent=w["recurrent"],
            kernel="reference",
        ).v_output  # fmt: skip
    votes = v_output.sum(dim=1)
    margin = 25.0 if mode == "itl" else 1e-3  # (on the chip, sampling outputs alone draws other noise)
    clear = votes.topk(2).values.diff().abs().flatten().numpy() > margin
    assert clear.sum() > 10
    np.testing.assert_array_equal(got.decisions[clear], votes.argmax(dim=1).numpy()[clear])
    assert len(set(got.decisions.tolist())) > 1
    assert got.accuracy == np.mean(got.decisions == samples().labels)
    assert got.hidden_spikes_per_image > 20


# --- the parts --------------------------------------------------------------------------------------------------


def test_initial_weights_are_drawn_from_the_seed():
    sizes = {"tau_mem_us": 6.0, "dt_us": 1.7}
    one, again, other = (initial_recurrent_weights(70, 186, 20, **sizes, seed=s) for s in (1, 1, 2))
    assert one.recurrent.shape == (186, 186)
    assert one.recurrent.std() == pytest.approx(0.7 * (1 - np.exp(-1.7 / 6)) / np.sqrt(186), rel=0.02)
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).mean() > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_hidden": 187, "n_channels": 70}, "expected at most 256 sources, got 70 feed-forward . 187 recurrent"),
        ({"mode": "ann"}, "mode: expected 'itl', 'software' or 'transfer', got 'ann'"),
        ({"n_steps": 401}, "n_steps: expected less than or equal to 400"),
        ({"sigma_d": 0.2, "mode": "software"}, "sigma_d: expected 0 in mode 'software'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        SpeechConfig(**changes)
