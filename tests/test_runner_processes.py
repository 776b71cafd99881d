"""The runner's own pool of processes: what survives when some or all of them are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
from jobs_for_tests import job, jobs, logged

from bss2lab.errors import Bss2Error
from bss2lab.runner import Job, Runner, RunsFailed, Store
from bss2lab.runner import batch as batch_module
from bss2lab.runner.pool import LocalPool

pytestmark = [
    pytest.mark.slow,  # a process needs two seconds to import torch and numba
    pytest.mark.needs("POSIX"),
]

TESTS = Path(__file__).parent
PATIENCE_S = 240
"""On an idle machine nothing here takes more than ten seconds."""


def totals(records):
    return [record.values["total"] for record in records]


def expected(n, steps=3):
    return [sum((seed + k) ** 2 for k in range(steps)) for seed in range(n)]


def assert_clean(folder, n):
    """So many records, and nothing else: no lock, no checkpoint, no half-written file."""
    left = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "records"]
    assert not left
    names = [p.name for p in (folder / "records").iterdir()]
    assert len(names) == n
    assert all(name.endswith(".safetensors") and not name.startswith(".") for name in names)
    assert not list((folder / "unfinished").glob("*"))


def assert_nothing_repeated(log):
    """No finished job was begun again, and no step that was kept was made again (it is noted after it is kept)."""
    counts = logged(log)
    assert not [key for key in counts if key[0] == "again"]
    assert not [key for key, n in counts.items() if key[0].startswith("step") and n > 1]


def wait_until(true, what, patience_s=PATIENCE_S):
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < patience_s, f"not within {patience_s} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - begin


def assert_gone(processes):
    """No worker outlives its driver."""
    wait_until(lambda: not any(p.is_running() and p.status() != "zombie" for p in processes), "no orphans", 30)


def workers_of(pid):
    """Worker processes of a process, oldest first (not the one that multiprocessing keeps for its bookkeeping)."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in children:
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            pass
    return found


def begun(log, seed):
    return logged(log)["begin", str(seed)]


@pytest.fixture(scope="module")
def pool():
    """One pool for the tests that need no pool of their own: starting its processes is what takes the time."""
    runner = Runner(workers=2)
    yield runner._pool
    runner.close()


@pytest.fixture
def runner(pool, tmp_path):
    made = Runner(tmp_path / "store", workers=2)
    made._pool = pool
    return made


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def test_processes_do_jobs_on_one_thread_each_and_a_large_input_and_record_arrive(runner, tmp_path, log):
    big = {"w": np.ones(1_500_000)}  # far more than a pipe holds
    wanted = [job(seed, inputs=big, size=1_000_000, log=str(log)) for seed in range(3)]
    wanted.append(Job("probe", "probe", probe, wanted[0].config))
    *sums, probed = runner([*wanted, wanted[0]])[:4]
    assert totals(sums) == [total + 1_500_000 for total in expected(3)]
    assert all(record.arrays["ramp"].shape == (1_000_000,) for record in sums)
    assert probed.values == {"numba": 1, "torch": 1, "OMP_NUM_THREADS": "1", "interruptible": False}
    assert_clean(tmp_path / "store", 4)


def probe(config, inputs, scratch):
    import numba
    import torch

    from bss2lab.runner import Record

    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    threads = {"numba": numba.get_num_threads(), "torch": torch.get_num_threads()}
    return Record({**threads, "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"], "interruptible": not deaf})


def test_the_environment_is_left_as_it_was(monkeypatch, pool, runner):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    runner(jobs(1))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_jobs_that_cannot_be_sent_or_received_fail_and_the_others_are_done(runner, log):
    class Local:
        def __call__(self, config, inputs, scratch):
            raise AssertionError

    wanted = [
        job(0, log=str(log)),
        Job("sum", "local function", lambda *_: None, job(1).config),
        Job("sum", "local class", Local(), job(2).config),
        Job("sum", "not there", _moved(), job(3).config),
        job(4, misdeed="raise"),
        job(5, misdeed="sys.exit"),
        job(6, log=str(log)),
    ]
    runner([job(7), job(8)])  # all workers are there
    before = workers_of(os.getpid())
    with pytest.raises(RunsFailed, match="5 of 7 runs") as caught:
        runner(wanted)
    names = [failure.job.split(" (")[0] for failure in caught.value.failures]
    assert sorted(names) == ["local class", "local function", "not there", "sum 4", "sum 5"]
    assert (logged(log)["done", "0"], logged(log)["done", "6"]) == (1, 1)
    assert workers_of(os.getpid()) == before  # no worker died of it
    reasons = {f.job.split(" (")[0]: f.reason for f in caught.value.failures}
    assert "gone" in reasons["not there"]


class _moved:
    """Pickles as a function that no worker finds."""

    def __call__(self, *_):
        raise AssertionError

    def __reduce__(self):
        return _find, ("gone",)


def _find(name):
    raise ModuleNotFoundError(f"No module named {name!r}")


def test_a_runner_without_a_store_leaves_nothing(pool, log, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    runner = Runner(workers=1)
    with runner:
        assert runner.store is None
        assert totals(runner(jobs(2, log=str(log)))) == expected(2)
        assert list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


def test_a_killed_worker_costs_its_step_and_nothing_else(runner, tmp_path, log):
    """The worker of each job is killed once, in the middle, by a watcher that sees its steps."""
    killed = set()

    def kill(status):
        for line in log.read_text().splitlines() if log.exists() else []:
            what, seed, pid = line.split()
            if what == "step3" and not killed:
                killed.add(seed)
                os.kill(int(pid), signal.SIGKILL)

    runner._watch = kill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bss2lab.runner.run._TICK_S", 0.02)
        records = runner(jobs(3, steps=12, step_s=0.03, log=str(log)))
    assert totals(records) == expected(3, 12)
    assert len(killed) == 1
    assert_nothing_repeated(log)
    assert_clean(tmp_path / "store", 3)


@pytest.mark.parametrize("misdeed", ["exit", "kill and pretend progress"])
def test_a_job_that_always_kills_its_worker_takes_no_other_with_it(misdeed, runner, tmp_path, log, monkeypatch):
    monkeypatch.setattr(batch_module, "_LIVES", 3)
    monkeypatch.setattr(batch_module, "_MOST_LIVES", 3)
    wanted = jobs(5, steps=2, log=str(log))
    wanted[1] = job(1, misdeed=misdeed, log=str(log))
    seen = []
    runner._watch = seen.append
    with pytest.raises(RunsFailed, match="1 of 5 runs") as caught:
        runner(wanted)
    [failure] = caught.value.failures
    assert failure.job.startswith("sum 1 ")
    assert "its worker process was killed 3 times" in failure.reason
    counts = logged(log)
    assert [counts["done", str(seed)] > 0 for seed in range(5)] == [True, False, True, True, True]
    assert_nothing_repeated(log)
    assert counts["begin", "1"] == 3
    assert (seen[-1].computed + seen[-1].found, seen[-1].failed) == (4, 1)


def test_an_executor_of_the_user_s_own_processes_works(tmp_path, log):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        runner = Runner(tmp_path / "store", executor=executor)
        assert totals(runner(jobs(3, log=str(log)))) == expected(3)
        with pytest.raises(Bss2Error, match="executor: expected workers that live"):
            runner([job(7, misdeed="exit"), *jobs(3, log=str(log))])
    assert all(logged(log)["done", str(seed)] == 1 for seed in range(3))
    assert len(list((tmp_path / "store" / "records").iterdir())) == 3


# --- the driver itself is killed, interrupted, or has no room ------------------------------------------------------

DRIVER = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
sys.path.insert(0, {tests!r})
from jobs_for_tests import job, jobs
from bss2lab.errors import Bss2Error
from bss2lab.runner import Runner

if __name__ == "__main__":
    from pathlib import Path
    folder, log, out = map(Path, sys.argv[1:4])
    options = json.loads(sys.argv[4])
    n = options.pop("n")
    with Runner(folder, workers=2) as run:
        try:
            records = run(jobs(n, log=str(log), **options))
        except Bss2Error as error:
            sys.exit(str(error))
    out.write_text(json.dumps([r.values["total"] for r in records]))
"""


class Driver:
    """A script that does a study in a process of its own."""

    def __init__(self, tmp_path, **options):
        self.script = tmp_path / "driver.py"
        self.script.write_text(DRIVER.format(tests=str(TESTS)))
        self.folder, self.log, self.out = tmp_path / "store", tmp_path / "log", tmp_path / "out.json"
        self.options = options
        self.all = []

    def start(self, **more):
        words = [sys.executable, str(self.script), str(self.folder), str(self.log), str(self.out)]
        process = subprocess.Popen(
            [*words, json.dumps(self.options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )
        self.all.append(process)
        return process

    def end(self):
        for process in self.all:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def driver(tmp_path, request):
    made = Driver(tmp_path, **request.param)
    yield made
    made.end()


def wait_for_steps(driver, n):
    """Wait until some worker has made so many steps more; the driver must live as long."""
    before = steps_done(driver.log)
    wait_until(lambda: steps_done(driver.log) >= before + n or driver.all[-1].poll() is not None, "a step")
    assert driver.all[-1].poll() is None, driver.all[-1].communicate()


def steps_done(log):
    return sum(n for key, n in logged(log).items() if key[0].startswith("step"))


@pytest.mark.parametrize("driver", [{"n": 4, "steps": 8, "step_s": 0.05}], indirect=True)
def test_ctrl_c_ends_all_cleanly_and_a_rerun_goes_on(driver):
    """As a terminal does it: the signal goes to the whole process group; while workers start, and in the middle."""
    for steps in (0, 4):
        process = driver.start(start_new_session=True)
        wait_until(lambda pid=process.pid: len(workers_of(pid)) == 2, "workers")
        wait_until(lambda steps=steps: steps_done(driver.log) >= steps, "steps")
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (1, 130, -signal.SIGINT)
        assert errors.count("Traceback") <= 1, errors  # the driver's own
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert "SpawnProcess" not in errors
        assert_gone(family)
    again = driver.start()
    _, errors = again.communicate(timeout=PATIENCE_S)
    assert (again.returncode, errors) == (0, "")
    assert json.loads(driver.out.read_text()) == expected(4, 8)
    assert_nothing_repeated(driver.log)
    assert_clean(driver.folder, 4)


@pytest.mark.parametrize("driver", [{"n": 8, "steps": 6, "step_s": 0.1}], indirect=True)
def test_two_drivers_at_once_compute_nothing_twice(driver, tmp_path):
    one, driver_out = driver.start(), driver.out
    driver.out = tmp_path / "other.json"
    two = driver.start()
    for process in (one, two):
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
    assert json.loads(driver_out.read_text()) == json.loads(driver.out.read_text()) == expected(8, 6)
    assert all(n == 1 for n in logged(driver.log).values())
    assert_clean(driver.folder, 8)


@pytest.mark.parametrize("driver", [{"n": 8, "steps": 60, "step_s": 0.02}], indirect=True)
def test_kills_of_workers_and_drivers_lose_and_repeat_nothing(driver):
    """SIGKILL for a worker and for the driver, in the middle of their work and while workers start."""
    driver.start()
    for victim, moment in (("worker", "work"), ("driver", "work"), ("worker", "start"), ("driver", "start")):
        process = driver.all[-1]
        if moment == "work":
            wait_for_steps(driver, 5)
        wait_until(lambda process=process: len(workers_of(process.pid)) == 2, "workers")
        if victim == "worker":
            workers_of(process.pid)[0].kill()
            continue
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert_gone(family)
        assert "Traceback" not in process.communicate()[1]
        driver.start()
    process = driver.all[-1]
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, ""), errors
    assert json.loads(driver.out.read_text()) == expected(8, 60)
    assert_nothing_repeated(driver.log)
    assert_clean(driver.folder, 8)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from jobs_for_tests import jobs
from bss2lab.runner import Runner
Runner(workers=2)(jobs(2))
"""


def test_a_script_without_its_main_guard_says_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(TESTS)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert "put the call below `if __name__ == '__main__':`" in done.stderr  # each worker
    last = done.stderr.splitlines()[-1]
    assert "worker processes: expected to start, got processes that end before their first job" in last


def test_a_program_that_ends_without_closing_is_silent(tmp_path):
    text = SCRIPT.format(tests=str(TESTS)).replace("Runner(workers=2)(jobs(2))", "")
    text += "if __name__ == '__main__':\n    run = Runner(workers=2)\n    run(jobs(2))\n"
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a megabyte, if this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs a small disk: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.needs("a small disk")
def test_a_full_disk_is_named_and_a_rerun_with_room_goes_on(small_disk, pool, log):
    store = small_disk / "store"
    runner = Runner(store, workers=2)
    runner._pool = pool
    wanted = jobs(8, size=12_500, log=str(log))  # records of 100 kB
    with pytest.raises(RunsFailed) as caught:
        runner(wanted)
    text = str(caught.value)
    assert f"{store}{os.sep}" in text
    assert "got No space left on device; free space or choose another folder" in text
    reasons = [failure.reason for failure in caught.value.failures]
    assert "not begun: the store cannot be written to" in reasons
    kept = list((store / "records").glob("*.safetensors"))
    assert 3 <= len(kept) <= 5
    assert not list((store / "records").rglob(".*.part"))  # (a job that meets the full disk may leave its own)
    whole = [Store(store).read(path.stem) for path in kept]
    assert all(record is not None for record in whole)
    counts = logged(log)
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert totals(runner(wanted)) == expected(8)
    after = logged(log)
    again = [seed for seed in range(8) if after["done", str(seed)] > counts["done", str(seed)]]
    assert len(again) == 8 - len(kept)
    assert_clean(store, 8)


def test_a_pool_that_was_discarded_starts_anew(tmp_path):
    pool = LocalPool(1)
    try:
        for seed in (0, 1):
            assert pool.submit(job(seed), tmp_path).result(PATIENCE_S).computed
            assert pool.discard()
    finally:
        pool.discard()
