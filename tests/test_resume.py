"""A run that is stopped or killed anywhere and resumed is the run that was never stopped, bit for bit."""

import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest

from bss2lab import checkpoint
from bss2lab.chip import Chip
from bss2lab.errors import CheckpointError
from bss2lab.inputs import Data
from bss2lab.losses import MaxOverTime, Objective
from bss2lab.results import Epoch
from bss2lab.settings import TrainConfig
from bss2lab.train import Run, objective_of

pytestmark = pytest.mark.slow

CASES = {
    "itl": {"mode": "itl", "dropout": 0.3, "rotation": 15.0},
    "software": {"mode": "software"},
    "transfer": {"mode": "transfer", "dropout": 0.3},
    "ann": {"mode": "ann", "dropout": 0.3, "rotation": 15.0},
}
BATCHES = 3  # per epoch


def small(**changes) -> TrainConfig:
    quick = {"limit": 260, "n_hidden": 30, "epochs": 3, "threads": 1, "learning_rate": 5e-3, "batch_size": 100}
    return TrainConfig(**{**quick, **changes})


@pytest.fixture(scope="module")
def data():
    return Data.load(small())


@pytest.fixture(params=CASES)
def config(request):
    return small(**CASES[request.param])


def timeless(epochs):
    return [{f.name: getattr(e, f.name) for f in fields(Epoch) if f.name != "seconds"} for e in epochs]


def assert_same_run(one, two):
    """Compare checkpoints: weights, moments, records, position; all but the clock."""
    assert timeless(one.position.epochs) == timeless(two.position.epochs)
    assert (one.position.batch, one.position.sums) == (two.position.batch, two.position.sums)
    assert set(one.state) == set(two.state)
    for name, value in one.state.items():
        np.testing.assert_array_equal(value, two.state[name], err_msg=name)


def saved(folder):
    return checkpoint.load(folder / checkpoint.FILE)


def uninterrupted(config, data, folder, **options):
    list(Run(config, data, directory=folder, **options).fit())
    return saved(folder)


class After:
    """Asks for a stop after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def __call__(self):
        self.left -= 1
        return self.left <= 0


# --- stopped between batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 8, 9])
def test_a_run_stopped_once_and_resumed_equals_the_uninterrupted_one(config, data, stop_after, tmp_path):
    whole = uninterrupted(config, data, tmp_path / "whole")
    run = Run(config, data, directory=tmp_path / "parts")
    list(run.fit(stop=After(stop_after)))
    stopped = saved(tmp_path / "parts").position
    # the last batch of an epoch is followed by a stop before its evaluation
    full, rest = divmod(stop_after - 1, BATCHES)
    assert (len(stopped.epochs), stopped.batch) == (full, rest + 1)
    assert not run.finished
    resumed = Run(config, data, directory=tmp_path / "parts", resume=True)
    records = list(resumed.fit())
    assert [e.epoch for e in records] == list(range(full + 1, config.epochs + 1))  # none is repeated
    assert resumed.finished
    assert_same_run(saved(tmp_path / "parts"), whole)


def test_a_run_stopped_after_every_single_batch_equals_the_uninterrupted_one(config, data, tmp_path):
    whole = uninterrupted(config, data, tmp_path / "whole")
    for _ in range(config.epochs * BATCHES):
        run = Run(config, data, directory=tmp_path / "parts", resume=True)
        list(run.fit(stop=After(1)))
        assert not run.finished
    list(Run(config, data, directory=tmp_path / "parts", resume=True).fit())
    assert_same_run(saved(tmp_path / "parts"), whole)


def test_a_run_with_an_objective_of_its_own_resumes_as_well(data, tmp_path):
    class Mine(MaxOverTime):
        """Not the compiled loss: goes through automatic differentiation."""

        __slots__ = ()

    config = small(dropout=0.3)
    standard = objective_of(config)
    own = Objective(Mine(config.loss_scale), standard.burst, standard.readout, standard.weight)
    whole = uninterrupted(config, data, tmp_path / "whole", objective=own)
    list(Run(config, data, objective=own, directory=tmp_path / "parts").fit(stop=After(5)))
    resumed = Run(config, data, objective=own, directory=tmp_path / "parts", resume=True)
    list(resumed.fit())
    assert_same_run(saved(tmp_path / "parts"), whole)
    assert "w_hidden.exp_avg_sq" in resumed.learner.state()


def test_time_spent_before_the_stop_counts_and_the_callers_own_does_not(data, tmp_path, monkeypatch):
    config = small(mode="software", epochs=1)
    run = Run(config, data, directory=tmp_path)
    train_batch = run.learner.train_batch

    def slow(*args, **kwargs):
        time.sleep(0.05)
        return train_batch(*args, **kwargs)

    monkeypatch.setattr(run.learner, "train_batch", slow)
    begin = time.perf_counter()
    list(run.fit(stop=After(2), on_batch=lambda _: time.sleep(0.2)))
    assert 0.1 < saved(tmp_path).position.seconds < time.perf_counter() - begin - 0.4
    (record,) = Run(config, data, directory=tmp_path, resume=True).fit()
    assert record.seconds > 0.1


def test_abandoning_the_iterator_loses_no_finished_epoch(config, data, tmp_path):
    whole = uninterrupted(config, data, tmp_path / "whole")
    next(Run(config, data, directory=tmp_path / "parts").fit())
    list(Run(config, data, directory=tmp_path / "parts", resume=True).fit())
    assert_same_run(saved(tmp_path / "parts"), whole)


def test_a_longer_run_is_the_shorter_one_gone_on_with(config, data, tmp_path):
    whole = uninterrupted(config.replace(epochs=4), data, tmp_path / "whole")
    uninterrupted(config.replace(epochs=2), data, tmp_path / "parts")
    list(Run(config.replace(epochs=4), data, directory=tmp_path / "parts", resume=True).fit())
    assert_same_run(saved(tmp_path / "parts"), whole)
    assert saved(tmp_path / "parts").config.epochs == 4


def test_a_shorter_run_is_finished_at_once_and_leaves_the_longer_one_alone(data, tmp_path):
    config = small(mode="software")
    whole = uninterrupted(config, data, tmp_path)
    run = Run(config.replace(epochs=2), data, directory=tmp_path, resume=True)
    assert run.finished
    assert list(run.fit()) == []
    assert [e.epoch for e in run.epochs] == [1, 2]
    assert_same_run(saved(tmp_path), whole)


def test_another_number_of_threads_may_go_on(config, data, tmp_path):
    whole = uninterrupted(config, data, tmp_path / "whole")
    list(Run(config, data, directory=tmp_path / "parts").fit(stop=After(4)))
    list(Run(config.replace(threads=2), data, directory=tmp_path / "parts", resume=True).fit())
    assert_same_run(saved(tmp_path / "parts"), whole)


def test_resuming_a_finished_run_trains_no_further(config, data, tmp_path):
    whole = uninterrupted(config, data, tmp_path)
    run = Run(config, data, directory=tmp_path, resume=True)
    assert list(run.fit()) == []
    assert timeless(run.epochs) == timeless(whole.position.epochs)
    for name, value in run.learner.state().items():
        np.testing.assert_array_equal(value, whole.state[name], err_msg=name)


def test_resuming_where_nothing_lies_begins_the_run(data, tmp_path):
    config = small(mode="software", epochs=1)
    assert len(list(Run(config, data, directory=tmp_path / "new", resume=True).fit())) == 1


def test_beginning_afresh_where_a_checkpoint_lies_is_refused(data, tmp_path):
    config = small(mode="software", epochs=1)
    before = uninterrupted(config, data, tmp_path)
    with pytest.raises(CheckpointError, match=r"expected one without a checkpoint, got .*; pass --resume"):
        Run(config, data, directory=tmp_path)
    assert_same_run(saved(tmp_path), before)


def test_a_run_begun_on_another_chip_is_not_gone_on_with(data, tmp_path):
    config = small(epochs=1)

    class Elsewhere:
        """A substrate that is no ``Chip``."""

    list(Run(config, data, chip=Chip(5), directory=tmp_path).fit())
    with pytest.raises(CheckpointError, match="expected a run on chip 0, got one on chip 5; resume on the chip"):
        Run(config, data, directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="expected a run on another substrate, got one on chip 5"):
        checkpoint.load(tmp_path / checkpoint.FILE, config, Elsewhere())
    assert Run(config, data, chip=Chip(5), directory=tmp_path, resume=True).finished


def test_data_that_do_not_fit_the_position_are_refused(data, tmp_path):
    config = small(mode="software", limit=0)
    list(Run(config, data, directory=tmp_path).fit(stop=After(3)))  # 260 of 260 images
    fewer = Data(data.train.take(150), data.held_out)
    with pytest.raises(CheckpointError, match="260 images after batch 3, of a training set of 150"):
        Run(config, fewer, directory=tmp_path, resume=True)


# --- signals and kills -------------------------------------------------------------------------------------------


def command(folder, *more):
    return [
        *(sys.executable, "-m", "bss2lab.cli", "train", "mnist", "--limit", "1000", "--n-hidden", "40"),
        *("--dropout", "0.3", "--rotation", "15", "--threads", "1", "--epochs", "8"),
        *("--save", str(folder), "--resume", *more),
    ]


def wait_for_epoch(process, folder, epochs=1):
    """Wait until the run has finished so many epochs more; return False if it ended before."""
    path = folder / checkpoint.FILE

    def done():
        return len(saved(folder).position.epochs) if path.exists() else 0

    before, begin = done(), time.monotonic()
    while done() < before + epochs:
        if process.poll() is not None:
            return False
        assert time.monotonic() - begin < 120, "no epoch in two minutes"
        time.sleep(0.005)
    return True


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """The run of ``command``, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    config = TrainConfig(limit=1000, n_hidden=40, dropout=0.3, rotation=15.0, threads=1, epochs=8)
    return uninterrupted(config, Data.load(config), folder)


@pytest.mark.slow
@pytest.mark.needs("POSIX")
def test_a_run_killed_again_and_again_equals_the_uninterrupted_one(long_run, tmp_path):
    """Before the first epoch, in the middle of one, and just after a checkpoint."""
    for epochs, share in ((0, 0.0), (1, 0.5), (1, 0.0)):
        process = subprocess.Popen(command(tmp_path, "--quiet"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if epochs:
            assert wait_for_epoch(process, tmp_path, epochs)
            time.sleep(share * saved(tmp_path).position.epochs[-1].seconds)
        process.kill()
        process.communicate()
        if epochs:  # whole, whatever the kill hit
            assert saved(tmp_path).position.batch == 0
    assert 2 <= len(saved(tmp_path).position.epochs) < 8
    done = subprocess.run(command(tmp_path, "--quiet"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_run(saved(tmp_path), long_run)


@pytest.mark.slow
def test_ctrl_c_stops_after_the_batch_tells_how_to_go_on_and_loses_nothing(long_run, tmp_path):
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_for_epoch(process, tmp_path, 2)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    table, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("bss2lab: stopped in epoch ")
    assert f"--resume --save {tmp_path}" in errors.splitlines()[-1]
    position = saved(tmp_path).position
    assert 2 <= len(position.epochs) < 8
    assert position.batch > 0
    assert f"\n{len(position.epochs):>5}  " in table  # the table holds what was done
    done = subprocess.run(command(tmp_path, "--quiet"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_run(saved(tmp_path), long_run)


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from bss2lab import storage

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(os, sys.argv[2], die)
storage.write_atomically(Path(sys.argv[1]), b"new" * 100_000)
"""


@pytest.mark.slow
@pytest.mark.needs("POSIX")
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(moment, data, tmp_path):
    config = small(mode="software", epochs=1)
    before = uninterrupted(config, data, tmp_path)
    path = tmp_path / checkpoint.FILE
    done = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(path), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert_same_run(saved(tmp_path), before)
    left = [p for p in tmp_path.iterdir() if p != path]
    assert len(left) == 1  # what the kill left behind is not taken for a checkpoint:
    assert Run(config, data, directory=tmp_path, resume=True).finished
    path.unlink()
    assert not Run(config, data, directory=tmp_path, resume=True).epochs
