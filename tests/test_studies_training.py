"""Training as a job: it goes on from its checkpoint bit for bit, and its record says all."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest

from bss2lab import checkpoint
from bss2lab.results import Epoch
from bss2lab.runner import Runner, Store
from bss2lab.settings import TrainConfig
from bss2lab.studies import training
from bss2lab.studies.training import data_of, train_all, train_network, trained, training_job
from bss2lab.train import Run

MODES = ["itl", "software", "transfer", "ann"]

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def small(**changes) -> TrainConfig:
    quick = {"limit": 200, "n_hidden": 20, "epochs": 3, "threads": 1, "dropout": 0.3}
    return TrainConfig(**{**quick, **changes})


def timeless(epochs):
    return [{f.name: getattr(e, f.name) for f in fields(Epoch) if f.name != "seconds"} for e in epochs]


def assert_same(one, other):
    """Equal in everything but the clock."""
    assert one.config == other.config
    assert timeless(one.epochs) == timeless(other.epochs)
    for name in ("hidden", "output"):
        np.testing.assert_array_equal(getattr(one.weights, name), getattr(other.weights, name), err_msg=name)


class Stopped(BaseException):
    """A kill, as far as Python can see one."""


@pytest.mark.parametrize("mode", MODES)
def test_a_training_goes_on_from_its_checkpoint_bit_for_bit(mode, tmp_path, monkeypatch):
    config = small(mode=mode)
    whole = trained(config, train_network(config, {}, None))
    assert len(whole.epochs) == 3
    assert whole.final.epoch == 3
    scratch, seen, save = tmp_path / "scratch", [], Run.save

    def stop_after_two(run):
        save(run)
        if len(run.epochs) == 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stop_after_two)
        with pytest.raises(Stopped):
            train_network(config, {}, scratch)
    monkeypatch.setattr(Run, "save", lambda run: (seen.append(len(run.epochs)), save(run)))
    assert_same(trained(config, train_network(config, {}, scratch)), whole)
    assert seen == [3]  # only the last epoch was left to do


@pytest.mark.parametrize("damage", ["empty", "of another run"])
def test_a_checkpoint_that_cannot_be_used_is_begun_anew(damage, tmp_path):
    config = small(mode="software")
    if damage == "empty":
        (tmp_path / checkpoint.FILE).write_bytes(b"")
    else:
        list(Run(small(mode="software", seed=5), data_of(config), directory=tmp_path).fit())
    one = trained(config, train_network(config, {}, tmp_path))
    assert_same(one, trained(config, train_network(config, {}, None)))


def test_a_training_survives_the_store(tmp_path):
    configs = [small(mode=mode, seed=seed) for mode in ("software", "ann") for seed in (0, 1)]
    with ThreadPoolExecutor(1) as executor:
        run = Runner(tmp_path, executor=executor)
        first, again = train_all(configs, run, "trainings"), train_all(configs, run, "trainings")
    for config, one, other in zip(configs, first, again, strict=True):
        assert one.config == config
        assert_same(one, other)
        assert one.epochs == other.epochs  # the clock too: it was read, not run
        assert isinstance(other.epochs[0], Epoch)
        assert one.weights.hidden.shape == (256, 20)
        assert one.weights.hidden.dtype == other.weights.hidden.dtype
    assert len({one.final.loss for one in first}) == 4
    assert not list((tmp_path / "unfinished").glob("*"))


def test_threads_at_once_train_as_one_after_the_other(tmp_path):
    """Different data sets, so that each pushes the other's images out of the cache."""
    configs = [small(seed=seed, limit=200 + 10 * seed, epochs=1) for seed in range(4)]
    with ThreadPoolExecutor(2) as executor:
        together = train_all(configs, Runner(executor=executor), "trainings")
    for config, one in zip(configs, together, strict=True):
        assert_same(one, trained(config, train_network(config, {}, None)))


def test_the_number_of_threads_asked_for_changes_nothing(tmp_path):
    one, four = small(mode="software", threads=1, epochs=1), small(mode="software", threads=4, epochs=1)
    assert training_job(one).key == training_job(four).key
    assert_same(trained(one, train_network(one, {}, None)), trained(one, train_network(four, {}, None)))


def test_images_are_loaded_once_for_runs_that_share_them(monkeypatch):
    loaded = []
    load = training.Data.load
    monkeypatch.setattr(training.Data, "load", lambda config: (loaded.append(config.limit), load(config))[1])
    monkeypatch.setattr(training, "_LOADED", {})
    for config in (small(limit=150), small(limit=150, seed=1), small(limit=160), small(limit=160, n_hidden=3)):
        data_of(config)
    assert loaded == [150, 160]


def test_a_job_says_what_it_is_and_what_it_costs():
    named = training_job(small(mode="software", seed=4))
    assert (named.kind, named.name) == ("training", "software, seed 4")
    assert training_job(small(), "mine").name == "mine"
    assert training_job(small(epochs=6)).cost == pytest.approx(2 * training_job(small()).cost)
    assert training_job(small(mode="itl")).cost > training_job(small(mode="software")).cost
    assert training_job(small(limit=0)).cost == pytest.approx(300 * training_job(small()).cost)


def test_a_record_of_a_training_is_whole_without_its_job(tmp_path):
    config = small(mode="software", epochs=1)
    with ThreadPoolExecutor(1) as executor:
        [one] = train_all([config], Runner(tmp_path, executor=executor), "trainings")
    record = Store(tmp_path).read(training_job(config).key)
    assert record is not None
    assert record.values["epochs"] == [dataclasses.asdict(epoch) for epoch in one.epochs]
