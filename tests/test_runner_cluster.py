"""The runner on a Dask cluster: two worker processes on this machine, told what to do over TCP."""

import logging
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jobs_for_tests import job, jobs, logged

from bss2lab.errors import InputError
from bss2lab.runner import Job, Runner, RunsFailed
from bss2lab.runner import pool as pool_module
from bss2lab.runner.pool import scheduler

pytestmark = [pytest.mark.slow, pytest.mark.needs("dask", "distributed")]


@pytest.fixture(scope="module")
def cluster():
    import dask
    import distributed

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    few = dask.config.set({"distributed.scheduler.allowed-failures": 2})  # a new worker takes seconds
    with few, distributed.LocalCluster(**options, silence_logs=logging.CRITICAL) as made:
        yield made


@pytest.fixture
def client(cluster):
    import distributed

    with distributed.Client(cluster) as made:
        yield made


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def assert_clean(folder, n):
    assert len(list((folder / "records").iterdir())) == n
    assert not [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "records"]


def assert_same(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert one.values == other.values
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name])


def test_a_cluster_gives_the_same_records_as_this_process(client, tmp_path, log):
    wanted, seen = [job(3), *jobs(6, step_s=0.01, log=str(log)), job(3)], []
    runner = Runner(tmp_path / "store", executor=client.get_executor(), watch=seen.append)
    records = runner(wanted)
    with ThreadPoolExecutor(1) as threads:
        assert_same(records, Runner(executor=threads)(wanted))
    assert_clean(tmp_path / "store", 7)
    assert (seen[-1].computed, seen[-1].running, seen[-1].seconds_left) == (7, 0, 0.0)
    assert max(status.running for status in seen if status.computed) <= 2
    before = logged(log)
    assert_same(runner(wanted), records)
    assert logged(log) == before


def test_a_killed_worker_of_a_cluster_loses_and_repeats_nothing(client, tmp_path, log):
    wanted = jobs(5, steps=40, step_s=0.03, log=str(log))
    killed = []

    def kill():
        """Kill the worker that writes the tenth line, in the middle of its job."""
        while not log.exists() or len(lines := log.read_text().splitlines()) < 10:
            time.sleep(0.01)
        killed.append(int(lines[-1].split()[-1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    records = Runner(tmp_path / "store", executor=client.get_executor())(wanted)
    killer.join()
    assert [r.values["total"] for r in records] == [sum((seed + k) ** 2 for k in range(40)) for seed in range(5)]
    counts = logged(log)
    assert len({line.split()[-1] for line in log.read_text().splitlines()}) >= 2
    assert all(n == 1 for key, n in counts.items() if key[0] != "begin")
    assert sum(counts["begin", str(seed)] for seed in range(5)) == 6
    assert_clean(tmp_path / "store", 5)


def test_a_job_that_always_kills_its_worker_is_reported(client, tmp_path, log):
    wanted = [*jobs(3, log=str(log)), job(3, misdeed="exit", log=str(log))]
    with pytest.raises(RunsFailed, match=r"1 of 4 runs(?s:.)*sum 3 .*KilledWorker"):
        Runner(tmp_path / "store", executor=client.get_executor())(wanted)
    counts = logged(log)
    assert [counts["done", str(seed)] for seed in range(4)] == [1, 1, 1, 0]
    assert 1 <= counts["begin", "3"] <= 3


def test_a_job_that_fails_on_a_cluster_is_reported_with_its_error(client, tmp_path):
    cannot = Job("sum", "a lock", threading.Lock().acquire, job().config)
    with pytest.raises(RunsFailed, match=r"2 of 3 runs(?s:.)*ValueError: this cannot be computed") as caught:
        Runner(tmp_path / "store", executor=client.get_executor())([cannot, job(1, misdeed="raise"), job(2)])
    assert {failure.job.split(" (")[0] for failure in caught.value.failures} == {"a lock", "sum 1"}
    assert len(list((tmp_path / "store" / "records").iterdir())) == 1


def test_a_cluster_is_found_by_address_and_by_file(cluster, tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text('{"address": "' + cluster.scheduler_address + '"}')
    for address in (cluster.scheduler_address, cluster.scheduler_address.removeprefix("tcp://"), str(path)):
        with scheduler(address) as executor:
            records = Runner(tmp_path / "store", executor=executor)(jobs(2))
        assert len(records) == 2


def greet(server):
    """Speak first, as some servers do that are no scheduler."""
    with server.accept()[0] as peer:
        peer.sendall(b"SSH-2.0-Other\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "kind", ["nobody listens", "nobody answers", "another server", "no address", "no file", "no scheduler's file"]
)
def test_a_wrong_address_is_said_in_time(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "_PATIENCE_S", 2)
    (tmp_path / "other.json").write_text("[]")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = {
            "nobody listens": f"tcp://127.0.0.1:{free_port()}",
            "nobody answers": f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "another server": f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "no address": "tcp://:::",
            "no file": str(tmp_path / "missing.json"),
            "no scheduler's file": str(tmp_path / "other.json"),
        }[kind]
        if kind == "another server":
            threading.Thread(target=greet, args=(silent,)).start()
        begin = time.monotonic()
        with pytest.raises(InputError, match=r"scheduler: expected one that answers at .*; start one with"):
            scheduler(address).__enter__()
        assert time.monotonic() - begin < 10
