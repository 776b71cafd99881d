"""The engine: one thread, tasks in turn, urgent ones first, one per key."""

from __future__ import annotations

import sys
import threading

import pytest

from bss2lab.kernels import cache
from bss2lab.lab.engine import Engine

pytestmark = pytest.mark.slow

WAIT_S = 120.0


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop_all()
    assert not engine.alive


def counting(log, name, n, gate=None):
    for k in range(n):
        if gate is not None:
            assert gate.wait(WAIT_S)
        log.append((name, k))
        yield


def test_a_task_runs_to_its_end(engine):
    log = []
    task = engine.start("a", counting(log, "a", 3))
    assert task.wait(WAIT_S)
    assert task.state == "done"
    assert log == [("a", 0), ("a", 1), ("a", 2)]


def test_tasks_take_turns_in_one_thread(engine):
    log, threads, gate = [], set(), threading.Event()

    def steps(name):
        for _ in range(3):
            assert gate.wait(WAIT_S)
            threads.add(threading.current_thread())
            log.append(name)
            yield

    tasks = [engine.start(name, steps(name)) for name in "ab"]
    gate.set()
    assert all(task.wait(WAIT_S) for task in tasks)
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_an_urgent_task_goes_before_one_that_is_not(engine):
    log, gate, begun = [], threading.Event(), threading.Event()

    def patient():
        begun.set()
        yield from counting(log, "patient", 3, gate)

    slow = engine.start("slow", patient())
    assert begun.wait(WAIT_S)
    fast = engine.start("fast", counting(log, "urgent", 3), urgent=True)
    gate.set()
    assert fast.wait(WAIT_S)
    assert slow.wait(WAIT_S)
    assert [name for name, _ in log] == ["patient"] + 3 * ["urgent"] + 2 * ["patient"]


def test_another_task_of_the_same_key_takes_its_place_and_closes_it(engine):
    closed, gate, log = threading.Event(), threading.Event(), []

    def endless():
        try:
            while True:
                gate.set()
                yield
        finally:
            closed.set()

    old = engine.start("train", endless())
    assert gate.wait(WAIT_S)
    new = engine.start("train", counting(log, "new", 1))
    assert new.wait(WAIT_S)
    assert old.wait(WAIT_S)
    assert closed.is_set()
    assert (old.state, new.state) == ("stopped", "done")


def test_pause_and_resume(engine):
    log, going = [], threading.Event()

    def steps():
        for k in range(1000):
            log.append(k)
            going.set()
            yield

    task = engine.start("a", steps())
    assert going.wait(WAIT_S)
    task.pause()
    engine.call("b", lambda: None).wait(WAIT_S)  # whatever step was in progress has ended by now
    n = len(log)
    assert task.state in ("paused", "done")
    if n < 1000:
        engine.call("b", lambda: None).wait(WAIT_S)
        assert len(log) == n
    task.resume()
    assert task.wait(WAIT_S)
    assert log == list(range(1000))


def test_an_error_belongs_to_its_task_and_the_others_go_on(engine):
    log = []

    def broken():
        yield
        raise ValueError("no such neuron")

    bad, good = engine.start("bad", broken()), engine.start("good", counting(log, "good", 3))
    assert bad.wait(WAIT_S)
    assert good.wait(WAIT_S)
    assert bad.state == "failed"
    assert str(bad.error) == "no such neuron"
    assert len(log) == 3


def test_the_thread_ends_when_nothing_is_left_and_comes_back(engine):
    engine.start("a", counting([], "a", 1)).wait(WAIT_S)
    thread = engine._thread
    if thread is not None:
        thread.join(WAIT_S)
    assert not engine.alive
    assert engine.start("a", counting([], "a", 1)).wait(WAIT_S)


def test_paused_tasks_keep_no_thread(engine):
    task = engine.start("a", counting([], "a", 10**9))
    engine.pause_all()
    thread = engine._thread
    if thread is not None:
        thread.join(WAIT_S)
    assert not engine.alive
    assert task.state == "paused"


def test_stop_all_leaves_neither_task_nor_thread(engine):
    for key in "abc":
        engine.start(key, counting([], key, 10**9))
    engine.stop_all()
    assert engine.tasks == ()
    assert not engine.alive


def test_without_a_compiler_every_task_ends_with_the_reason_and_the_next_one_tries_again(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "bss2lab.kernels.cache", None)
    tasks = [engine.start(name, counting([], name, 3)) for name in "ab"]
    assert all(task.wait(WAIT_S) for task in tasks)
    assert [(task.state, type(task.error)) for task in tasks] == [("failed", ModuleNotFoundError)] * 2
    engine.stop_all()
    assert not engine.alive
    monkeypatch.undo()
    task = engine.start("a", counting([], "a", 3))
    assert task.wait(WAIT_S)
    assert task.state == "done"


def test_a_listener_that_fails_stops_neither_the_computation_nor_the_other_listeners(engine, caplog):
    heard = []
    engine.listeners += [lambda: 1 / 0, lambda: heard.append(engine.waiting_for)]

    def compiling():
        cache._tell(cache.Compiling("kernel", 3, elsewhere=False))
        yield

    task = engine.start("a", compiling())
    assert task.wait(WAIT_S)
    assert (task.state, len(heard)) == ("done", 1)
    assert ["ZeroDivisionError" in record.message for record in caplog.records] == [True]
