"""Each learner's state: all that the next step depends on, taken out and put back."""

import numpy as np
import pytest

from bss2lab.chip import Chip
from bss2lab.inputs import Data, encode
from bss2lab.kernels import layers
from bss2lab.learners import make_learner
from bss2lab.learners.ann import AnnLearner
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.network import initial_weights
from bss2lab.settings import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.train import objective_of

CONFIG = TrainConfig(limit=200, n_hidden=20, threads=1, learning_rate=5e-3)

MAKERS = {
    "fused": lambda config: CompiledLearner(config.replace(mode="software"), objective_of(config), None),
    "fused in the loop": lambda config: CompiledLearner(config.replace(mode="itl"), objective_of(config), Chip(3)),
    "autograd": lambda config: AutogradLearner(config.replace(mode="software"), objective_of(config), None),
    "autograd in the loop": lambda config: AutogradLearner(config.replace(mode="itl"), objective_of(config), Chip(3)),
    "ann": lambda config: AnnLearner(config.replace(mode="ann")),
}


@pytest.fixture(scope="module")
def samples():
    return encode(Data.load(CONFIG).train, CONFIG)


@pytest.fixture(params=MAKERS)
def make(request):
    return lambda config=CONFIG: MAKERS[request.param](config)


def step(learner, samples, k, batch=50):
    """Take the k-th step of a run with dropout."""
    generator = np.random.default_rng(k)
    return learner.train_batch(
        samples,
        generator.permutation(len(samples))[:batch],
        learning_rate=5e-3,
        alive=generator.random(CONFIG.n_hidden) > 0.2,
        noise_seed=k,
    )


def taken(learner):
    """Return a state that later steps cannot reach."""
    return {name: np.array(value) for name, value in learner.state().items()}


def assert_equal_states(one, two):
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_fresh_learner_given_a_state_goes_on_as_the_old_one_would(make, samples, before):
    old, new = make(), make(CONFIG.replace(seed=9))  # (another seed: other initial weights)
    for k in range(before):
        step(old, samples, k)
    new.restore(taken(old))
    for k in range(before, before + 3):
        ours, theirs = step(old, samples, k), step(new, samples, k)
        assert ours == theirs
    assert_equal_states(old.state(), new.state())
    one, two = (learner.evaluate(samples, noise_seed=5) for learner in (old, new))
    np.testing.assert_array_equal(one.decisions, two.decisions)
    assert one.hidden_spikes_per_image == two.hidden_spikes_per_image


def test_going_back_undoes_the_steps_in_between(make, samples):
    learner = make()
    for k in range(3):
        step(learner, samples, k)
    then = taken(learner)
    first = step(learner, samples, 3)
    after = taken(learner)
    assert any((after[name] != then[name]).any() for name in then)
    learner.restore(then)
    assert_equal_states(learner.state(), then)
    assert step(learner, samples, 3) == first
    assert_equal_states(learner.state(), after)


def test_every_array_of_the_state_matters(make, samples):
    """Whatever is left out of a state changes the run: nothing in it is idle."""
    learner = make()
    for k in range(3):
        step(learner, samples, k)
    state = taken(learner)
    step(learner, samples, 3)
    want = taken(learner)
    for name in state:
        other = make()
        altered = {key: np.array(value) for key, value in state.items()}
        altered[name] = altered[name] + (7 if name.endswith("step") else np.float32(0.01))
        other.restore(altered)
        step(other, samples, 3)
        assert any((other.state()[key] != want[key]).any() for key in want), name


def test_the_state_is_plain_finite_arrays_with_the_weights_in_it(make, samples):
    learner = make()
    for k in range(2):
        step(learner, samples, k)
    state = learner.state()
    assert {type(value) for value in state.values()} == {np.ndarray}
    assert all(np.isfinite(value).all() for value in state.values())
    hidden, output = learner.weights()
    assert (hidden.shape, output.shape) == ((N_INPUT, CONFIG.n_hidden), (CONFIG.n_hidden, N_OUTPUT))
    np.testing.assert_array_equal(state["w_hidden"], hidden)
    np.testing.assert_array_equal(state["w_output"], output)


def test_padding_behind_the_real_neurons_stays_zero(samples):
    learner = MAKERS["fused"](CONFIG)
    for k in range(4):
        step(learner, samples, k)
    padding = np.ones(len(learner._flat), bool)
    for pair in layers.views(learner._chain, padding):
        for real in pair:
            if real is not None:
                real[...] = False
    assert padding.any()  # there is some, or this shows nothing
    assert not learner._flat[padding].any()
    assert not learner._moments[:, padding].any()


def negative(array):
    changed = np.array(array)
    changed[...] = -1
    return changed


def second_moments(state):
    return [name for name in state if name.startswith("moment2") or name.endswith("exp_avg_sq")]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda s: s.pop("w_hidden"), "expected arrays"),
        (lambda s: s.update(extra=np.zeros(3, np.float32)), "expected arrays"),
        (lambda s: s.update(w_hidden=s["w_hidden"].T), "w_hidden: expected float32"),
        (lambda s: s.update(w_hidden=s["w_hidden"][:, :-1]), "w_hidden: expected float32"),
        (lambda s: s.update(w_output=s["w_output"].astype(np.float64)), "w_output: expected float32 .* got float64"),
        (lambda s: s.update(w_hidden=np.full_like(s["w_hidden"], np.nan)), "w_hidden: expected finite numbers"),
        (lambda s: s.update(w_output=np.full_like(s["w_output"], -np.inf)), "w_output: expected finite numbers"),
        (lambda s: s.update({k: negative(s[k]) for k in second_moments(s)}), "second moments of at least 0"),
        (lambda s: s.update({k: negative(s[k]) for k in s if k.endswith("step")}), "steps .* of at least 0"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(make, samples, break_it, words):
    learner = make()
    step(learner, samples, 0)
    before = taken(learner)
    bad = taken(learner)
    break_it(bad)
    with pytest.raises(ValueError, match=words):
        learner.restore(bad)
    assert_equal_states(learner.state(), before)


def test_the_state_of_another_size_is_refused(make, samples):
    with pytest.raises(ValueError, match="expected float32"):
        make().restore(make(CONFIG.replace(n_hidden=200)).state())


# --- what the learners begin with and report ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fused", "autograd"])
def test_spiking_learners_begin_with_the_initial_weights_of_their_seed(name):
    config = CONFIG.replace(seed=4)
    want = initial_weights(N_INPUT, config.n_hidden, N_OUTPUT, tau_mem_us=config.tau_mem_us, dt_us=config.dt_us, seed=4)
    for have, expected in zip(MAKERS[name](config).weights(), want, strict=True):
        np.testing.assert_array_equal(have, expected)


def test_the_ann_begins_within_torchs_bounds_for_linear_layers():
    hidden, output = MAKERS["ann"](CONFIG).weights()
    assert 0.95 / np.sqrt(N_INPUT) < np.abs(hidden).max() <= 1 / np.sqrt(N_INPUT)
    assert 0.9 / np.sqrt(CONFIG.n_hidden) < np.abs(output).max() <= 1 / np.sqrt(CONFIG.n_hidden)
    assert abs(hidden.mean()) < 0.1 * hidden.std()


def test_the_ann_rescales_what_dropout_leaves(samples):
    """The mean over masks of the thinned network's loss gradient path: logits keep their expected size."""
    config = CONFIG.replace(mode="ann", dropout=0.5)
    learner = AnnLearner(config)
    index, everyone = np.arange(200), np.ones(config.n_hidden, bool)
    # With everyone alive and dropout 0.5, hidden rates are doubled: the loss is that of doubled output weights.
    doubled = AnnLearner(config.replace(dropout=0.0))
    state = {k: np.array(v) for k, v in learner.state().items()}
    state["w_output"] *= 2
    doubled.restore(state)
    options = {"learning_rate": 1e-30, "alive": everyone, "noise_seed": 0}
    one, two = (x.train_batch(samples, index, **options) for x in (learner, doubled))
    assert one.terms["task"] == pytest.approx(two.terms["task"], rel=1e-6)


@pytest.mark.parametrize("name", ["fused", "fused in the loop", "autograd", "ann"])
def test_a_batch_reports_sums_over_its_images(name, samples):
    learner = MAKERS[name](CONFIG)
    for k in range(10):
        step(learner, samples, k)
    options = {"learning_rate": 1e-30, "alive": np.ones(CONFIG.n_hidden, bool), "noise_seed": 0}
    halves = [learner.train_batch(samples, part, **options) for part in (np.arange(100), np.arange(100, 200))]
    whole = learner.train_batch(samples, np.arange(200), **options)
    halves[0].add(halves[1])
    assert (whole.images, whole.correct, whole.clipped) == (200, halves[0].correct, halves[0].clipped)
    assert whole.hidden_spikes == halves[0].hidden_spikes
    for name, value in whole.terms.items():
        assert halves[0].terms[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("name", ["fused in the loop", "autograd in the loop"])
def test_an_evaluation_on_the_chip_has_the_noise_of_its_seed(name, samples):
    learner = MAKERS[name](CONFIG)
    for k in range(10):
        step(learner, samples, k)
    spikes = [learner.evaluate(samples, noise_seed=seed).hidden_spikes_per_image for seed in (1, 1, 2, 3)]
    assert spikes[0] == spikes[1]
    assert len(set(spikes)) == 3


def test_the_factory_takes_the_compiled_learner_wherever_it_can():
    class Elsewhere:
        """A substrate that is no ``Chip``."""

    def kind(config, chip=None, objective=None):
        return type(make_learner(config, objective or objective_of(config), chip))

    assert kind(CONFIG.replace(mode="software")) is CompiledLearner
    assert kind(CONFIG, Chip(0)) is CompiledLearner
    assert kind(CONFIG.replace(mode="transfer"), Chip(0)) is CompiledLearner
    assert kind(CONFIG, Elsewhere()) is AutogradLearner
    assert kind(CONFIG.replace(mode="ann")) is AnnLearner
