"""The runner: keys, the store, order, failures and status, with executors inside this process."""

import contextlib
import errno
import io
import json
import os
import pickle
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import jobs_for_tests as jt
import numpy as np
import pytest
from filelock import FileLock
from jobs_for_tests import job, jobs, logged

from bss2lab import storage
from bss2lab.errors import Bss2Error, DataError, InputError
from bss2lab.runner import Bar, DamagedRecord, Job, LocalPool, Record, Runner, RunsFailed, Status, Store
from bss2lab.runner import batch as batch_module
from bss2lab.runner import job as job_module
from bss2lab.runner import pool as pool_module
from bss2lab.runner import run as run_module
from bss2lab.runner.pool import default_workers, scheduler
from bss2lab.runner.store import describe
from bss2lab.settings import TrainConfig
from bss2lab.studies.training import training_job


class Inline(Executor):
    """Does a job when it is sent."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Later(Executor):
    """Keeps jobs until it is told to do one; the others can be cancelled."""

    def __init__(self):
        self.sent = []

    def submit(self, fn, /, *args, **kwargs):
        self.sent.append((Future(), fn, args, kwargs))
        return self.sent[-1][0]

    def do(self, index):
        future, fn, args, kwargs = self.sent[index]
        future.set_running_or_notify_cancel()
        future.set_result(fn(*args, **kwargs))


@pytest.fixture(autouse=True)
def _quick(monkeypatch, one_thread):
    monkeypatch.setattr(batch_module, "_BUSY_S", 0.02)
    monkeypatch.setattr(run_module, "_TICK_S", 0.02)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def inline(folder=None, **options):
    return Runner(folder, executor=Inline(), **options)


def assert_same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.values == other.values
        assert set(one.arrays) == set(other.arrays)
        for name, array in one.arrays.items():
            assert (array.dtype, array.shape) == (other.arrays[name].dtype, other.arrays[name].shape)
            np.testing.assert_array_equal(array, other.arrays[name])


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_clean(folder, keys):
    """Records of these jobs, and nothing else: no lock, no checkpoint, no half-written file."""
    assert files(folder) == sorted(os.path.join("records", f"{key}.safetensors") for key in keys)
    assert not list((folder / "unfinished").glob("*"))


# --- keys --------------------------------------------------------------------------------------------------------

OTHER = {
    "task": "fashion", "mode": "transfer", "epochs": 16, "batch_size": 99, "learning_rate": 1e-3, "lr_decay": 0.9,
    "seed": 1, "chip_seed": 1, "profile": "ideal", "sigma_d": 0.1, "detuned": "tau", "n_hidden": 10, "n_steps": 19,
    "dt_us": 1.8, "tau_mem_us": 7.0, "tau_syn_us": 7.0, "beta": 49.0, "loss_scale": 2.0, "rho_b": 0.1, "rho_a": 0.1,
    "rho_w": 0.2, "dropout": 0.1, "rotation": 1.0, "validation": 100, "limit": 500, "device": "cuda",
}  # fmt: skip


def test_a_key_depends_on_every_field_but_the_threads():
    assert set(OTHER) | {"threads"} == set(TrainConfig.model_fields)
    keys = [training_job(TrainConfig()).key]
    keys += [training_job(TrainConfig(**{name: value})).key for name, value in OTHER.items()]
    assert len(set(keys)) == len(keys)
    assert training_job(TrainConfig(threads=3)).key == keys[0]


def test_a_key_depends_on_kind_and_inputs_and_numerics_but_not_on_name_and_cost(monkeypatch):
    config, one = jt.Sum(), {"w": np.arange(4.0)}
    base = Job("sum", "a", jt.sum_up, config, one)
    assert Job("sum", "b", jt.sum_up, config, {"w": np.arange(8.0)[::2] / 2}, cost=9.0).key == base.key
    others = [
        {"w": np.arange(4.0) + 1e-16 * np.arange(4)[::-1]}, {"v": np.arange(4.0)}, {"w": np.arange(4)}, {},
        {"w": np.arange(4.0).reshape(2, 2)}, {"w": np.arange(4.0).reshape(1, 4)}, {"w": np.array(0.0)},
        {"w": np.zeros(1)},
    ]  # fmt: skip
    keys = [base.key, Job("product", "a", jt.sum_up, config, one).key]
    keys += [Job("sum", "a", jt.sum_up, config, inputs).key for inputs in others]
    monkeypatch.setattr(job_module, "NUMERICS", -1)
    keys.append(base.key)
    assert len(set(keys)) == len(keys)


def test_a_chip_profile_in_a_file_counts_by_its_content(tmp_path):
    def key(name, content):
        (tmp_path / name).write_text(json.dumps(content))
        return training_job(TrainConfig(profile=str(tmp_path / name))).key

    one = key("a.json", {"name": "mine"})
    assert key("b.json", {"name": "mine"}) == one
    assert key("a.json", {"name": "other"}) != one


# --- order, equal jobs, what is there ----------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False])
def test_records_come_in_the_order_of_the_jobs_and_equal_jobs_are_done_once(stored, folder, log):
    def slow_first(seed):
        return job(seed, step_s=0.002 * (5 - seed), log=str(log))

    wanted = [slow_first(seed) for seed in (3, 0, 4, 0, 1, 3)]
    with ThreadPoolExecutor(3) as pool:
        records = Runner(folder if stored else None, executor=pool)(wanted)
    assert [r.values["total"] for r in records] == [sum((s + k) ** 2 for k in range(3)) for s in (3, 0, 4, 0, 1, 3)]
    assert [logged(log)["done", str(seed)] for seed in range(5)] == [1, 1, 0, 1, 1]
    if stored:
        assert_clean(folder, {j.key for j in wanted})


def test_what_is_in_the_store_is_not_computed_again_and_is_the_same(folder, log):
    first = inline(folder)(jobs(4, log=str(log)))
    seen = []
    again = inline(folder, watch=seen.append)([*jobs(4, log=str(log)), job(9, log=str(log))])
    assert_same(again[:4], first)
    assert all(logged(log)["done", str(seed)] == 1 for seed in [0, 1, 2, 3, 9])
    assert (seen[0].found, seen[-1].found, seen[-1].computed) == (4, 4, 1)


def test_a_record_is_the_same_computed_and_found(folder):
    wanted = [job(0, task=jt.returns_a_tuple)]
    computed, found, unkept = inline(folder)(wanted), inline(folder)(wanted), inline()(wanted)
    assert computed[0].values == {"pair": [1, 2], "by number": {"3": "x"}}
    assert computed[0].arrays["z"].shape == ()
    assert_same(computed, found)
    assert_same(computed, unkept)
    np.testing.assert_array_equal(found[0].arrays["b"], [0, 1, 2])


def test_no_jobs_are_no_work():
    assert inline()([]) == []


def test_a_job_done_elsewhere_is_kept_here_too(tmp_path):
    """The worker's store is another folder (a machine without a shared one): computed there, found there."""

    class Elsewhere(Inline):
        def submit(self, fn, job, folder):
            return super().submit(fn, job, tmp_path / "there")

    inline(tmp_path / "there")(jobs(1))
    Runner(tmp_path / "here", executor=Elsewhere())(jobs(2))
    assert_clean(tmp_path / "here", {j.key for j in jobs(2)})


def test_records_can_be_read_without_knowing_the_job(folder):
    inline(folder)([job(3, inputs={"w": np.ones(2)})])
    [path] = (folder / "records").iterdir()
    about = describe(path)
    assert (about["kind"], about["name"], about["config"]["seed"]) == ("sum", "sum 3", 3)
    with pytest.raises(DamagedRecord, match="expected a record"):
        describe(folder / "nothing")


# --- two drivers -------------------------------------------------------------------------------------------------


def test_two_drivers_on_one_store_share_the_work(folder, log):
    """Both begin at once; each job is done by one of them, and both have all records."""
    wanted, results, gate = jobs(12, step_s=0.002, log=str(log)), {}, threading.Barrier(2)

    def drive(name):
        with ThreadPoolExecutor(2) as pool:
            gate.wait()
            results[name] = Runner(folder, executor=pool)(wanted)

    drivers = [threading.Thread(target=drive, args=(name,)) for name in "ab"]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert_same(results["a"], results["b"])
    assert all(logged(log)["begin", str(seed)] == 1 for seed in range(12))
    assert_clean(folder, {j.key for j in wanted})


def test_a_job_that_another_process_holds_is_tried_again_when_the_others_are_done(folder, log):
    wanted = jobs(3, log=str(log))
    (folder / "locks").mkdir(parents=True)
    other = FileLock(folder / "locks" / f"{wanted[0].key}.lock", thread_local=False)
    other.acquire()
    timer = threading.Timer(0.15, other.release, kwargs={"force": True})
    timer.start()
    assert len(inline(folder)(wanted)) == 3
    timer.join()
    order = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("begin")]
    assert order == ["1", "2", "0"]


# --- damaged records ---------------------------------------------------------------------------------------------


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def other_record(content, path):
    [other] = [p for p in path.parent.iterdir() if p != path]
    return other.read_bytes()


DAMAGES = {
    "empty": lambda c, _: b"",
    "truncated": lambda c, _: c[:-5],
    "cut in the header": lambda c, _: c[:20],
    "bit in the header": lambda c, _: flipped(c, c.index(b"total")),
    "bit in an array": lambda c, _: flipped(c, len(c) - 3),
    "nonsense": lambda c, _: (n := b'{"__metadata__":{"bss2lab":"[1,2]"}}   ') and len(n).to_bytes(8, "little") + n,
    "text": lambda c, _: b'{"values": {}}',
    "another job's": other_record,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_set_aside_and_computed_again(damage, folder, log):
    wanted = jobs(2, log=str(log))
    before = inline(folder)(wanted)
    path = Store(folder).path(wanted[0].key)
    bad = DAMAGES[damage](path.read_bytes(), path)
    path.write_bytes(bad)
    seen = []
    assert_same(inline(folder, watch=seen.append)(wanted), before)
    notes = [status.note for status in seen if status.note]
    assert len(notes) == 1
    assert str(path) in notes[0]
    assert "expected a whole record, got" in notes[0]
    aside = folder / "damaged" / path.name
    assert str(aside) in notes[0]
    assert aside.read_bytes() == bad
    assert (logged(log)["done", "0"], logged(log)["done", "1"]) == (2, 1)
    assert_same(inline(folder)(wanted), before)
    assert logged(log)["done", "0"] == 2


def test_whatever_byte_is_damaged_the_record_is_refused_or_unharmed(folder):
    wanted = [job(0, size=2)]
    [before] = inline(folder)(wanted)
    store, key = Store(folder), wanted[0].key
    content = store.path(key).read_bytes()
    refused = 0
    for at in range(0, len(content), 3):
        store.path(key).write_bytes(flipped(content, at))
        try:
            assert_same([store.read(key)], [before])
        except DamagedRecord:
            refused += 1
    assert refused > 0.95 * len(content) / 3  # the rest is the space that fills up the header


def test_a_damaged_record_that_another_process_is_mending_is_left_to_it(folder, log):
    wanted = jobs(1, log=str(log))
    inline(folder)(wanted)
    store, key = Store(folder), wanted[0].key
    good = store.path(key).read_bytes()
    store.path(key).write_bytes(b"")
    other, begun = threading.Event(), threading.Event()

    def mend():
        with store.claim(key):
            begun.set()
            other.wait()
            store.path(key).write_bytes(good)

    mender = threading.Thread(target=mend)
    mender.start()
    begun.wait()
    threading.Timer(0.1, other.set).start()
    inline(folder)(wanted)
    mender.join()
    assert logged(log)["done", "0"] == 1
    assert not (folder / "damaged").exists()


@pytest.mark.needs("an ordinary user")
def test_a_record_that_may_not_be_read_is_not_taken_for_a_missing_one(folder):
    inline(folder)(jobs(1))
    path = Store(folder).path(job(0).key)
    path.chmod(0)
    with pytest.raises(DataError, match="expected a readable record, got Permission denied"):
        inline(folder)(jobs(1))
    path.chmod(0o644)


def test_too_many_open_files_are_no_reason_to_throw_a_record_away(folder, monkeypatch):
    inline(folder)(jobs(1))

    def no_more(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", no_more)
    with pytest.raises(DataError, match="expected a readable record, got Too many open files"):
        inline(folder)(jobs(1))
    monkeypatch.undo()
    assert_clean(folder, {job(0).key})


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failed_job_is_named_the_others_are_kept_and_a_rerun_tries_it_alone(folder, log):
    wanted = [job(0, log=str(log)), job(1, misdeed="raise", log=str(log)), job(2, log=str(log))]
    for attempt in (1, 2):
        with pytest.raises(RunsFailed) as caught:
            inline(folder)(wanted)
        text = str(caught.value)
        assert text.startswith("1 of 3 runs: expected to finish, got errors; mend the cause and start again")
        assert str(folder) in text
        assert "sum 1 (seed=1, log=" in text
        assert "misdeed='raise'): ValueError: this cannot be computed" in text
        [failure] = caught.value.failures
        assert "in _raise" in failure.details
        assert [logged(log)["begin", str(seed)] for seed in range(3)] == [1, attempt, 1]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (jt.returns_a_lambda, "values of sum 0: expected what JSON can hold, got Object of type function"),
        (jt.returns_nan, "values of sum 0: expected what JSON can hold, got Out of range float"),
        (jt.returns_objects, "array 'names' of sum 0: expected an array of numbers, got object"),
        (jt.returns_nothing, "result of sum 0: expected a Record, got NoneType"),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_a_result_that_no_file_can_hold_is_a_failure_that_says_so(task, reason, stored, folder):
    with pytest.raises(RunsFailed, match=reason):
        inline(folder if stored else None)([job(0, task=task), job(1)])
    if stored:
        assert len(list((folder / "records").iterdir())) == 1


def test_a_task_that_leaves_the_program_is_a_failure():
    with pytest.raises(RunsFailed, match="SystemExit: 2"):
        inline()([job(0, misdeed="sys.exit"), job(1)])


def test_an_error_of_a_job_s_own_file_stops_no_other_job(folder, log):
    wanted = [job(0, misdeed="forbidden"), *[job(seed, log=str(log)) for seed in (1, 2)]]
    with pytest.raises(RunsFailed, match="1 of 3 runs"):
        inline(folder)(wanted)
    assert (logged(log)["done", "1"], logged(log)["done", "2"]) == (1, 1)


def test_many_failures_are_not_all_listed():
    with pytest.raises(RunsFailed) as caught:
        inline()(jobs(30, misdeed="raise"))
    assert len(caught.value.failures) == 30
    assert str(caught.value).splitlines()[-1] == "  … and 10 more"


def test_a_profile_that_changes_under_a_run_is_not_kept_under_the_old_key(folder, tmp_path):
    profile = tmp_path / "mine.json"
    profile.write_text('{"name": "a"}')

    def change(config, inputs, scratch):
        profile.write_text('{"name": "b"}')
        return Record({})

    with pytest.raises(RunsFailed, match="got a file that changed during the run"):
        inline(folder)([Job("x", "x", change, TrainConfig(profile=str(profile)))])
    assert not list((folder / "records").glob("*"))


class Broken(Inline):
    """An executor whose workers die with the third job."""

    def __init__(self):
        self.n = 0

    def submit(self, fn, /, *args, **kwargs):
        self.n += 1
        if self.n < 3:
            return super().submit(fn, *args, **kwargs)
        future = Future()
        future.set_exception(BrokenExecutor("all dead"))
        return future


def test_a_given_executor_that_breaks_down_is_reported_and_what_was_done_is_kept(folder, log):
    with pytest.raises(Bss2Error, match="executor: expected workers that live, got all dead; start again") as caught:
        Runner(folder, executor=Broken())(jobs(4, log=str(log)))
    assert str(folder) in str(caught.value)
    assert len(inline(folder)(jobs(4, log=str(log)))) == 4
    assert all(logged(log)["done", str(seed)] == 1 for seed in range(4))


def test_jobs_that_the_executor_cancels_are_reported_too():
    later = Later()

    def lose(status):
        for future, *_ in later.sent:
            if future.cancel():
                future.set_running_or_notify_cancel()

    with pytest.raises(Bss2Error, match="executor: expected workers that live, got a job cancelled"):
        Runner(executor=later, watch=lose)(jobs(2))


def test_ctrl_c_takes_back_what_the_executor_has_not_begun(folder):
    later = Later()

    def interrupt(status):
        if len(later.sent) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Runner(folder, executor=later, watch=interrupt)(jobs(3))
    assert all(future.cancelled() for future, *_ in later.sent)


def test_an_executor_that_takes_no_more_says_so():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        Runner(executor=pool)(jobs(1))


# --- a full disk -------------------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_study_at_once_and_a_rerun_goes_on(folder, log, monkeypatch):
    wanted = jobs(6, log=str(log))
    inline(folder)(wanted[:2])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(RunsFailed) as caught:
        inline(folder)(wanted)
    text = str(caught.value)
    assert f"{Store(folder).path(wanted[2].key)}: expected a place to write to, got No space left on device" in text
    assert "free space or choose another folder" in text
    assert [f.reason.split(":")[0] for f in caught.value.failures] == ["OSError", *["not begun"] * 3]
    assert sum(logged(log)["begin", str(seed)] for seed in range(6)) == 3  # one was tried
    assert len(list((folder / "records").iterdir())) == 2
    assert not list(folder.rglob("*.part"))
    monkeypatch.undo()
    assert len(inline(folder)(wanted)) == 6
    assert_clean(folder, {j.key for j in wanted})
    assert sum(logged(log)["begin", str(seed)] for seed in range(6)) == 7


def test_a_full_disk_takes_back_what_an_executor_has_not_begun(folder, monkeypatch):
    later, seen = Later(), []

    def watch(status):
        seen.append(status)
        if len(later.sent) == 5 and not later.sent[1][0].done():
            monkeypatch.setattr(storage.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            later.do(1)

    with pytest.raises(RunsFailed, match="5 of 5 runs"):
        Runner(folder, executor=later, watch=watch)(jobs(5))
    assert [future.cancelled() for future, *_ in later.sent] == [True, False, True, True, True]
    assert (seen[-1].failed, seen[-1].total) == (5, 5)


def test_a_store_that_is_a_file_is_named(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises((RunsFailed, DataError), match=r"/f"):
        inline(tmp_path / "f")(jobs(3))


# --- leftovers ---------------------------------------------------------------------------------------------------


def test_what_a_process_leaves_that_is_killed_after_the_last_stroke_is_removed(folder):
    wanted = jobs(3)
    inline(folder)(wanted)
    store = Store(folder)
    for j in wanted[:2]:  # the record is there; its checkpoint and its lock too
        store.scratch(j.key).mkdir(parents=True)
        (store.scratch(j.key) / "state.json").write_text("[1, 1]")
        (folder / "locks" / f"{j.key}.lock").touch()
    inline(folder)(wanted)
    assert_clean(folder, {j.key for j in wanted})


def test_what_a_process_leaves_that_is_killed_while_it_writes_is_removed(folder):
    wanted = jobs(1)
    (folder / "records").mkdir(parents=True)
    (folder / "records" / f".{wanted[0].key}.safetensors.abc.part").write_bytes(b"half")
    inline(folder)(wanted)
    assert_clean(folder, {wanted[0].key})


def test_a_write_that_ctrl_c_ends_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_atomically(tmp_path / "f", b"x")
    assert not list(tmp_path.iterdir())


def test_the_stage_of_a_job_grows_with_its_checkpoint_and_survives_its_end(folder, monkeypatch):
    store = Store(folder)
    assert store.stage("k") == 0.0
    store.scratch("k").mkdir(parents=True)
    file = store.scratch("k") / "a"
    file.touch()
    os.utime(file, (5, 5))
    assert store.stage("k") == 5.0
    monkeypatch.setattr(Path, "glob", lambda *_: iter([file, folder / "just removed"]))
    assert store.stage("k") == 5.0


# --- the status --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_the_status_adds_up(workers, folder):
    inline(folder)(jobs(2))
    seen = []
    wanted = [*jobs(8, step_s=0.0), job(8, misdeed="raise"), job(0)]
    with ThreadPoolExecutor(workers) as pool, pytest.raises(RunsFailed):
        Runner(folder, executor=pool, watch=seen.append)(wanted, "mine")
    for status in seen:
        assert (status.label, status.total, status.found) == ("mine", 9, 2)
        assert 0 <= status.running <= 9 - status.done
        assert status.seconds_left is None or 0 <= status.seconds_left < 60
    assert [s.done for s in seen] == sorted(s.done for s in seen)
    assert (seen[-1].found, seen[-1].computed, seen[-1].failed, seen[-1].running) == (2, 6, 1, 0)
    assert seen[0].seconds_left is None
    assert seen[-1].seconds_left == 0.0


@pytest.mark.parametrize("workers", [1, 4])
def test_the_time_left_counts_who_works(workers):
    """Eight equal jobs: when the first are done, the estimate is what is left over the number of hands."""
    seen, each = [], 0.12
    with ThreadPoolExecutor(workers) as pool:
        Runner(executor=pool, watch=seen.append)(jobs(8, steps=1, step_s=each))
    first = next(s for s in seen if s.computed)
    left = (8 - first.computed) * each / workers
    assert 0.4 * left < first.seconds_left < 2.5 * left
    assert max(s.running for s in seen if s.computed) <= workers


def test_a_job_s_cost_counts_in_the_time_left():
    later, seen = Later(), []

    def watch(status):
        seen.append(status)
        if later.sent and not status.computed:
            later.do(0)
        elif status.computed == 1:
            later.do(1)

    Runner(executor=later, watch=watch)([job(0, cost=1.0, step_s=0.03), job(1, cost=10.0, step_s=0.0)])
    first = next(s for s in seen if s.computed == 1)
    assert 0.5 < first.seconds_left < 4.0  # ten times 3 × 0.03 s


def test_the_status_is_readable():
    assert str(Status("runs", 5)) == ""
    assert str(Status("runs", 5, running=2, found=1, failed=1)) == "2 running, 1 from the store, 1 failed"
    assert "ends about" in str(Status("runs", 5, running=2, seconds_left=60.0))
    assert "ends" not in str(Status("runs", 5, computed=5, seconds_left=0.0))


def test_a_log_file_gets_one_line_per_job_done(capsys):
    with Bar() as bar:
        inline(watch=bar)(jobs(2), "sums")
        bar(Status("sums", 2, computed=2, note="look here"))
    lines = capsys.readouterr().err.split("\n")
    assert [line.partition(" (")[0] for line in lines] == [
        "sums: 0/2 runs", "sums: 1/2 runs", "sums: 2/2 runs", "look here", "",
    ]  # fmt: skip


def test_lines_go_to_another_stream_if_one_is_given(capsys):
    shown = io.StringIO()
    with Bar(shown) as bar:
        inline(watch=bar)(jobs(1), "sums")
    assert [line.partition(" (")[0] for line in shown.getvalue().split("\n")] == [
        "sums: 0/1 runs",
        "sums: 1/1 runs",
        "",
    ]
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_bar_that_notes_do_not_break(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Bar() as bar:
        for done in range(4):
            bar(Status("sums", 3, computed=done, running=3 - done, note="look here" if done == 1 else ""))
        bar(Status("others", 1))
    text = terminal.getvalue()
    assert text.count("\n") == 3  # the note, and the end of each bar
    assert "\rlook here\n" in text
    assert "sums: 3/3 runs |" in text
    assert "others: 0/1 runs |" in text


# --- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, -1, 2000])
def test_a_number_of_workers_that_is_none_is_refused(workers):
    with pytest.raises(InputError, match=f"workers: expected 1 … 1024, got {workers}; leave it out"):
        Runner(workers=workers)


def test_a_scheduler_needs_dask(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(InputError, match=r"expected Dask, got no such package; pip install 'bss2lab\[cluster\]'"):
        scheduler("tcp://nowhere:1").__enter__()


def test_a_local_pool_starts_no_process_before_it_has_a_job():
    pool = LocalPool(2)
    assert pool.discard() is False
    with contextlib.suppress(pickle.PicklingError, AttributeError):
        pool.submit(job(0, task=lambda *_: None), Path("unused"))
        raise AssertionError("a lambda was pickled")
    assert pool.discard() is False


@pytest.mark.parametrize(
    ("cores", "memory_mb", "workers"), [(8, None, 8), (8, 4000.0, 3), (1, 99_000.0, 1), (4, 500.0, 1)]
)
def test_as_many_workers_as_cores_and_memory_allow(monkeypatch, cores, memory_mb, workers):
    monkeypatch.setattr(pool_module, "usable_cores", lambda: cores)
    monkeypatch.setattr(pool_module, "usable_memory_mb", lambda: memory_mb)
    assert default_workers() == workers
