"""The training loop: what it yields, that it learns, and what its randomness depends on."""

import random
from copy import deepcopy
from dataclasses import fields

import numba
import numpy as np
import pytest
import torch
from torch.nn import functional

from bss2lab import train
from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError
from bss2lab.inputs import Data
from bss2lab.learners import BatchResult, Evaluation
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.losses import BurstPenalty, MaxOverTime, Objective, ReadoutPenalty, WeightPenalty
from bss2lab.network import chip_weights
from bss2lab.results import Epoch
from bss2lab.settings import TrainConfig
from bss2lab.train import Change, Progress, Run, fit, objective_of

MODES = ("itl", "software", "transfer", "ann")


def small(**changes) -> TrainConfig:
    """Return a run of a second or less that still learns something, whatever the defaults are tuned to."""
    quick = {"limit": 600, "n_hidden": 40, "epochs": 2, "threads": 1, "learning_rate": 5e-3, "lr_decay": 0.97}
    return TrainConfig(**{**quick, "loss_scale": 10.0, "rho_b": 5e-4, "rho_a": 0.0, "rho_w": 0.1, **changes})


@pytest.fixture(scope="module")
def data():
    return Data.load(small())


def trained(config, data, **options):
    run = Run(config, data, **options)
    return run, list(run.fit())


def timeless(epochs):
    """Return records without the wall-clock time, the one field that no two runs share."""
    return [{f.name: getattr(e, f.name) for f in fields(Epoch) if f.name != "seconds"} for e in epochs]


def assert_same_run(one, two):
    assert timeless(one.epochs) == timeless(two.epochs)
    state, other = one.learner.state(), two.learner.state()
    assert set(state) == set(other)
    for name, value in state.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


class Spy:
    """A learner that does nothing but remember what it was asked."""

    def __init__(self):
        self.batches, self.evaluated = [], []

    def train_batch(self, samples, index, *, learning_rate, alive, noise_seed):
        self.batches.append((index.copy(), learning_rate, alive.copy(), noise_seed))
        return BatchResult(len(index), 0, 0.0, 0, {"task": float(len(index))})

    def evaluate(self, samples, *, noise_seed):
        self.evaluated.append(noise_seed)
        return Evaluation(np.zeros(len(samples), int), 0.5, 1.0)


@pytest.fixture
def spy(monkeypatch):
    """Put the spy in the learner's place."""
    learner = Spy()
    monkeypatch.setattr(train, "make_learner", lambda *_: learner)
    return learner


# --- the records -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_fit_yields_one_whole_record_per_epoch(mode, data):
    epochs = list(fit(small(mode=mode, epochs=3), data))
    assert [e.epoch for e in epochs] == [1, 2, 3]
    for e in epochs:
        assert e.loss == pytest.approx(sum(e.loss_terms.values()), rel=1e-12)
        assert set(e.loss_terms) == ({"task"} if mode == "ann" else {"task", "burst", "readout", "weight"})
        assert 0 <= e.train_accuracy <= 1
        assert 0 <= e.test_accuracy <= 1
        assert e.held_out_accuracy == e.test_accuracy
        assert e.validation_accuracy is None
        assert 0 <= e.clipped_readout_fraction <= 1
        assert e.seconds > 0
        assert (e.hidden_spikes_per_image > 0) == (mode != "ann")
        # counts of whole images
        assert e.train_accuracy * 600 == pytest.approx(round(e.train_accuracy * 600), abs=1e-9)


def test_records_arrive_as_the_epochs_end_and_not_all_at_the_end(data):
    run = Run(small(epochs=3), data)
    records = run.fit()
    assert next(records).epoch == 1
    assert (len(run.epochs), run.finished) == (1, False)
    assert [e.epoch for e in records] == [2, 3]
    assert run.finished


@pytest.mark.parametrize("mode", MODES)
def test_loss_falls_and_accuracy_rises(mode, data):
    epochs = list(fit(small(mode=mode, epochs=5), data))
    losses = [e.loss for e in epochs]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.6 * losses[0]
    assert epochs[-1].train_accuracy > epochs[0].train_accuracy + 0.2
    assert epochs[-1].test_accuracy > 0.5  # chance is 0.1


def test_the_penalties_act_on_what_they_name(data):
    plain = small(mode="software", epochs=3, rho_b=0.0, rho_a=0.0, rho_w=0.0)
    run, free = trained(plain, data)
    changes = {"rho_b": 0.1}, {"rho_a": 1.0}, {"rho_w": 100.0}
    quiet, calm, light = (trained(plain.replace(**change), data) for change in changes)
    assert [free[-1].loss_terms[name] for name in ("burst", "readout", "weight")] == [0, 0, 0]
    assert quiet[1][-1].hidden_spikes_per_image < 0.7 * free[-1].hidden_spikes_per_image
    assert calm[1][-1].loss_terms["readout"] > 0
    assert np.square(light[0].learner.weights().hidden).mean() < 0.5 * np.square(run.learner.weights().hidden).mean()


def test_on_batch_is_told_every_batch_in_order(data):
    seen = []
    config = small(batch_size=250)
    list(Run(config, data).fit(on_batch=lambda p: seen.append((p.epoch, p.batch, p.batches, p.result.images))))
    assert seen == [(1, 1, 3, 250), (1, 2, 3, 500), (1, 3, 3, 600), (2, 1, 3, 250), (2, 2, 3, 500), (2, 3, 3, 600)]


def test_every_image_is_used_once_per_epoch_in_a_new_order(spy, data):
    list(Run(small(batch_size=250, epochs=2), data).fit())
    sizes = [len(index) for index, *_ in spy.batches]
    assert sizes == [250, 250, 100, 250, 250, 100]
    first, second = (np.concatenate([index for index, *_ in part]) for part in (spy.batches[:3], spy.batches[3:]))
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order), np.arange(600))
    assert (first != second).mean() > 0.9
    assert (first != np.arange(600)).mean() > 0.9


def test_the_learning_rate_decays_per_epoch_and_reaches_the_optimiser(spy, data):
    config = small(epochs=4, lr_decay=0.5, learning_rate=0.01)
    epochs = list(Run(config, data).fit())
    want = [0.01, 0.005, 0.0025, 0.00125]
    assert [e.learning_rate for e in epochs] == pytest.approx(want, rel=1e-12)
    handed = [rate for _, rate, _, _ in spy.batches]
    assert handed == pytest.approx(np.repeat(want, 6), rel=1e-12)


def test_a_rate_that_has_decayed_to_nothing_changes_nothing(data):
    run = Run(small(mode="software", epochs=2, lr_decay=1e-12), data)
    records = run.fit()
    next(records)
    before = run.learner.weights().hidden.copy()
    next(records)
    np.testing.assert_allclose(run.learner.weights().hidden, before, atol=1e-9)


# --- transfer ----------------------------------------------------------------------------------------------------


def test_transfer_trains_the_software_weights_bit_for_bit_and_tests_them_on_the_chip(data):
    software, records = trained(small(mode="software"), data)
    transfer, other = trained(small(mode="transfer"), data)
    for one, two in zip(software.learner.weights(), transfer.learner.weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [(e.loss, e.train_accuracy) for e in records] == [(e.loss, e.train_accuracy) for e in other]
    assert records[-1].hidden_spikes_per_image != other[-1].hidden_spikes_per_image


def test_transfer_evaluates_rounded_weights_on_that_very_chip(data):
    config = small(mode="transfer", profile="ideal")  # without noise, so that the noise's seed does not matter
    run, epochs = trained(config, data)
    chip = Chip(config.chip_seed, "ideal")
    samples = train.encode(data.held_out, config)
    decisions, spikes = chip.classify(chip.write(chip_weights(run.learner.weights())[0]), samples.spikes, seed=99)
    assert epochs[-1].test_accuracy == np.mean(decisions == data.held_out.labels)
    assert epochs[-1].hidden_spikes_per_image == spikes.mean()


def test_another_chip_changes_the_test_of_a_transfer_and_not_its_training(data):
    one, two = (trained(small(mode="transfer", chip_seed=k, profile="uncalibrated"), data)[1] for k in (1, 2))
    assert [e.loss for e in one] == [e.loss for e in two]
    assert one[-1].hidden_spikes_per_image != two[-1].hidden_spikes_per_image


def test_another_chip_changes_training_in_the_loop(data):
    one, two = (trained(small(chip_seed=k), data)[1] for k in (1, 2))
    assert one[0].loss != two[0].loss


# --- randomness --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_equal_seeds_give_equal_runs_and_other_seeds_others(mode, data):
    config = small(mode=mode, dropout=0.2, rotation=10)
    one, two = Run(config, data), Run(config, data)
    list(one.fit())
    torch.rand(7)  # what is drawn elsewhere does not matter
    random.random()
    list(two.fit())
    assert_same_run(one, two)
    other = trained(config.replace(seed=1), data)[1]
    assert all(a.loss != b.loss for a, b in zip(one.epochs, other, strict=True))


@pytest.mark.parametrize("mode", [*MODES, "own objective"])
def test_the_number_of_threads_changes_not_one_bit(mode, data):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two cores: a computer with two cores")
    config = small(mode="itl" if mode == "own objective" else mode, dropout=0.2)
    objective = with_task(config, Mine(config.loss_scale)) if mode == "own objective" else None
    one, _ = trained(config, data, objective=objective)
    two, _ = trained(config.replace(threads=2), data, objective=objective)
    assert_same_run(one, two)


def test_threads_are_those_asked_for_and_no_more_than_there_are(monkeypatch):
    most = numba.config.NUMBA_NUM_THREADS
    monkeypatch.setattr("bss2lab.train.usable_cores", lambda: 2 * most)
    assert train.set_threads(1) == 1
    assert numba.get_num_threads() == 1
    assert train.set_threads(10_000) == most
    assert train.set_threads(0) == most
    assert numba.get_num_threads() == most
    monkeypatch.setattr("bss2lab.train.usable_cores", lambda: 1)  # a container's quota
    assert train.set_threads(0) == numba.get_num_threads() == 1
    assert train.set_threads(most) == most


def test_one_dropout_mask_per_batch_drawn_from_the_seed(spy, data):
    config = small(dropout=0.4, n_hidden=240, epochs=2)
    list(Run(config, data).fit())
    masks = np.array([alive for _, _, alive, _ in spy.batches])
    assert masks.shape == (12, 240)
    assert masks.dtype == bool
    assert len({mask.tobytes() for mask in masks}) == 12
    # 2880 draws: five standard deviations of a fair one are 0.046
    assert masks.mean() == pytest.approx(0.6, abs=0.046)
    first, spy.batches = list(spy.batches), []
    list(Run(config, data).fit())
    np.testing.assert_array_equal(masks, [alive for _, _, alive, _ in spy.batches])
    assert [noise for *_, noise in first] == [noise for *_, noise in spy.batches]


def test_the_substrates_noise_is_new_in_every_epoch_and_in_every_test(spy, data):
    config = small(epochs=3)
    list(Run(config, data).fit())
    training = [{noise for *_, noise in spy.batches[6 * k : 6 * k + 6]} for k in range(3)]
    seeds = set.union(*training, set(spy.evaluated))
    assert len(spy.evaluated) == 3
    assert len(seeds) == sum(len(part) for part in training) + 3  # no two are the same
    list(Run(config.replace(seed=1), data).fit())
    assert not seeds & {noise for *_, noise in spy.batches[18:]}


def test_without_dropout_every_neuron_lives_in_every_batch(spy, data):
    list(Run(small(dropout=0.0), data).fit())
    assert all(alive.all() for _, _, alive, _ in spy.batches)


@pytest.mark.parametrize("mode", ["itl", "software"])
def test_a_dropped_neuron_neither_fires_nor_learns_in_its_batch(mode, data):
    config = small(mode=mode, rho_w=0.0, learning_rate=0.05)
    run = Run(config, data)
    list(run.fit())
    samples, index = train.encode(data.train, config), np.arange(100)
    nobody, half = np.zeros(40, bool), np.arange(40) < 20
    silent = run.learner.train_batch(samples, index, learning_rate=1e-30, alive=nobody, noise_seed=1)
    assert silent.hidden_spikes == 0
    fresh = Run(config, data).learner
    before = fresh.weights().hidden.copy()
    fresh.train_batch(samples, index, learning_rate=0.05, alive=half, noise_seed=1)
    moved = (fresh.weights().hidden != before).any(axis=0)
    assert moved[:20].any()
    assert not moved[20:].any()


def test_rotation_encodes_the_training_images_anew_in_every_epoch(monkeypatch, spy, data):
    calls = []
    original = train.encode

    def encode(images, config, augment=None):
        angles = None if augment is None else deepcopy(augment).uniform(-15, 15, len(images))
        calls.append((images.split, angles))
        samples = original(images, config, augment)
        np.testing.assert_array_equal(samples.pixels.reshape(-1, 16, 16), images.prepare(angles))
        return samples

    monkeypatch.setattr(train, "encode", encode)
    list(Run(small(rotation=15, epochs=3), data).fit())
    assert [split for split, _ in calls] == ["test", "train", "train", "train"]
    assert calls[0][1] is None
    angles = np.array([turned for _, turned in calls[1:]])
    assert angles.shape == (3, 600)
    assert np.abs(angles).max() <= 15
    assert angles.min() < -14
    assert angles.max() > 14
    assert (angles[0] != angles[1]).all()
    calls.clear()
    list(Run(small(rotation=0, epochs=3), data).fit())
    assert calls == [("test", None), ("train", None)]


# --- validation --------------------------------------------------------------------------------------------------


def test_a_validation_run_never_loads_the_test_set(monkeypatch):
    original = vision.load

    def load(name, split, **options):
        assert split != "test", "the test set is only ever reported"
        return original(name, split, **options)

    monkeypatch.setattr(vision, "load", load)
    run = Run(small(validation=150))
    assert (len(run.data.train), len(run.data.held_out)) == (450, 150)
    assert run.data.held_out.split == "validation"
    for e in run.fit():
        assert e.test_accuracy is None
        assert e.validation_accuracy == e.held_out_accuracy
        assert e.validation_accuracy * 150 == pytest.approx(round(e.validation_accuracy * 150), abs=1e-9)
    with pytest.raises(AssertionError, match="only ever reported"):
        Run(small())


def test_every_seed_tunes_on_the_same_validation_set():
    one, two = (Data.load(small(validation=100, seed=k)) for k in (0, 1))
    np.testing.assert_array_equal(one.held_out.images, two.held_out.images)


def test_limit_takes_the_first_images_of_both_sets(data):
    assert (len(data.train), len(data.held_out)) == (600, 600)
    np.testing.assert_array_equal(data.train.images, vision.load("mnist", "train").images[:600])
    everything = Data.load(TrainConfig())
    assert (len(everything.train), len(everything.held_out)) == (60_000, 10_000)


# --- objectives and substrates of one's own ----------------------------------------------------------------------


class Mine:
    """The standard loss, written by a user."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, traces, labels):
        return functional.cross_entropy(self.scale * traces.v_output.amax(dim=1), labels)


def with_task(config, task):
    standard = objective_of(config)
    return Objective(task, standard.burst, standard.readout, standard.weight)


def test_a_loss_of_ones_own_trains_and_agrees_with_the_compiled_form(data):
    config = small(mode="software", limit=600, epochs=3, rho_a=0.01)
    compiled, fast = trained(config, data)
    mine, slow = trained(config, data, objective=with_task(config, Mine(config.loss_scale)))
    assert isinstance(compiled.learner, CompiledLearner)
    assert isinstance(mine.learner, AutogradLearner)
    assert slow[0].loss == pytest.approx(fast[0].loss, rel=1e-4)
    for name, term in fast[0].loss_terms.items():
        assert slow[0].loss_terms[name] == pytest.approx(term, abs=1e-4 * fast[0].loss), name
    assert slow[-1].loss < 0.9 * slow[0].loss


def test_a_loss_of_ones_own_trains_in_the_loop(data):
    config = small(epochs=3)
    run, epochs = trained(config, data, objective=with_task(config, Mine(config.loss_scale)))
    assert isinstance(run.learner, AutogradLearner)
    assert epochs[-1].loss < 0.9 * epochs[0].loss
    assert epochs[-1].test_accuracy > 0.3


def test_another_loss_minimises_something_else(data):
    """The sum of the membranes instead of their maximum: the terms are those of this loss."""

    def sum_over_time(traces, labels):
        return functional.cross_entropy(traces.v_output.sum(dim=1), labels)

    config = small(mode="software", epochs=3)
    epochs = list(fit(config, data, objective=with_task(config, sum_over_time)))
    standard = list(fit(config, data))
    assert epochs[0].loss != pytest.approx(standard[0].loss, rel=1e-3)
    assert epochs[-1].loss < epochs[0].loss


def test_the_objective_carries_the_configured_penalties():
    config = small(loss_scale=3.0, rho_b=0.25, rho_a=0.5, rho_w=0.125)
    want = Objective(MaxOverTime(3.0), BurstPenalty(0.25), ReadoutPenalty(0.5), WeightPenalty(0.125))
    assert objective_of(config) == want


class Borrowed:
    """A substrate that is no ``Chip``: the protocol's one method, handed on."""

    def __init__(self, chip):
        self._chip, self.runs = chip, 0

    def run(self, weights, spikes, *, seed, silenced=None):
        self.runs += 1
        return self._chip.run(weights, spikes, seed=seed, silenced=silenced)


def test_any_substrate_can_be_trained_in_the_loop(data):
    config = small(profile="ideal", dropout=0.2)
    borrowed = Borrowed(Chip(config.chip_seed, "ideal"))
    run, slow = trained(config, data, chip=borrowed)
    assert isinstance(run.learner, AutogradLearner)
    assert borrowed.runs == 2 * (6 + 2)  # batches, and the test set in parts of 500
    assert run.profile is None
    fast = trained(config, data)[1]
    # the ideal chip has no noise: the first epoch is the chip's own, up to rounding in the gradient
    assert slow[0].loss == pytest.approx(fast[0].loss, rel=0.02)


def test_no_two_batches_of_an_epoch_share_the_noise_of_the_chip(data):
    """Two batches of the same image, seen by the learner that hands whole batches to the substrate."""
    recordings = []

    class Kept(Borrowed):
        def run(self, weights, spikes, *, seed, silenced=None):
            recordings.append(super().run(weights, spikes, seed=seed, silenced=silenced))
            return recordings[-1]

    config = small(limit=4, batch_size=2, epochs=1, learning_rate=1e-30)
    same = data.train.subset(np.zeros(4, int))
    list(Run(config, Data(same, same), chip=Kept(Chip(0))).fit())
    first, second = recordings[:2]
    assert (first.hidden_lsb != second.hidden_lsb).mean() > 0.3


def test_a_chip_of_ones_own_takes_the_place_of_the_configured_one(data):
    own = Chip(7, "ideal")
    run, epochs = trained(small(), data, chip=own)
    assert run.chip is own
    assert run.profile is own.profile
    assert timeless(epochs) == timeless(trained(small(chip_seed=7, profile="ideal"), data)[1])


# --- bad input ---------------------------------------------------------------------------------------------------


def test_a_model_step_that_is_not_the_chips_sampling_period_is_refused_in_the_loop(data):
    with pytest.raises(InputError, match=r"dt_us: expected the chip's sampling period, 1.7 µs, got 2 µs; "):
        Run(small(dt_us=2.0), data)
    assert len(trained(small(mode="software", dt_us=2.0), data)[1]) == 2


def test_an_unknown_profile_is_refused(data):
    with pytest.raises(InputError, match=r"profile: expected one of calibrated, .*, got 'nonsense'"):
        Run(small(profile="nonsense"), data)


def test_cuda_is_refused_where_there_is_none(monkeypatch, data):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for mode in ("software", "itl", "ann"):
        with pytest.raises(InputError, match=r"expected a working 'cuda', got no CUDA device .*; use device='cpu'"):
            Run(small(device="cuda", mode=mode), data)


def test_learning_that_diverges_says_so_instead_of_yielding_nan(data):
    config = small(mode="software")
    bad = with_task(config, lambda traces, labels: traces.v_output.sum() * float("nan"))
    with pytest.raises(InputError, match=r"expected finite weights, got .* NaN or infinite; lower the learning rate"):
        list(fit(config, data, objective=bad))


def test_a_run_that_pauses_between_steps_is_the_run_that_did_not(data):
    config = small(epochs=2)
    whole = list(Run(config, data).fit())
    steps = [event for event in Run(config, data).steps() if not isinstance(event, Progress)]
    assert [e.loss for e in steps] == [e.loss for e in whole]


def test_a_change_holds_from_the_next_batch_on(data):
    changed, other = Run(small(epochs=1), data), Run(small(epochs=1), data)
    a, b = changed.steps(), other.steps()
    first, same = next(a), next(b)
    assert first.last.terms == same.last.terms
    changed.change(rho_b=10.0)
    assert next(a).last.terms["burst"] == pytest.approx(10.0 / other.config.rho_b * next(b).last.terms["burst"])
    assert changed.config.rho_b == 10.0
    assert changed.changes == [Change(1, 1, {"rho_b": 10.0})]


def test_a_learning_rate_of_almost_nothing_stops_learning_at_once(data):
    run = Run(small(epochs=1), data)
    steps = run.steps()
    next(steps)
    run.change(learning_rate=1e-12)
    before = run.learner.weights().output.copy()
    next(steps)
    np.testing.assert_allclose(run.learner.weights().output, before, atol=1e-9)


def test_epochs_may_be_added_while_it_goes_on(data):
    run = Run(small(epochs=1), data)
    steps = run.steps()
    next(steps)
    run.change(epochs=2)
    assert sum(isinstance(event, Epoch) for event in steps) == 2


def test_rotation_may_be_turned_on_and_off(data):
    run, other = Run(small(epochs=2), data), Run(small(epochs=2), data)
    run.change(rotation=90.0)
    assert run.fit().__next__().loss != other.fit().__next__().loss
    run.change(rotation=0.0)
    assert run._unchanging is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_hidden": 8}, "one of dropout, epochs"),
        ({"rho_b": -1.0}, "greater than or equal to 0"),
        ({"rho_x": 1}, "rho_x"),
    ],
)
def test_a_change_that_cannot_be_is_refused_whole(data, settings, words):
    run = Run(small(), data)
    with pytest.raises(InputError, match=words):
        run.change(dropout=0.3, **settings)
    assert run.config == small()
    assert run.changes == []


def test_penalties_of_an_objective_of_ones_own_are_not_changed_behind_its_back(data):
    run = Run(small(mode="software"), data, objective=Objective())
    with pytest.raises(InputError, match="one of dropout"):
        run.change(rho_b=1.0)


def test_the_chip_may_be_swapped_in_mid_run(data):
    run, other = Run(small(epochs=1), data), Run(small(epochs=1), data)
    a, b = run.steps(), other.steps()
    next(a), next(b)
    run.move_to(Chip(run.config.chip_seed, run.config.profile).decalibrate(0.5))
    assert next(a).last.terms["task"] > next(b).last.terms["task"]
    with pytest.raises(InputError, match="a run on a chip"):
        Run(small(mode="software"), data).move_to(Chip(1, "ideal"))
