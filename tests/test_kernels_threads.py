"""Kernels called from several threads, and in processes that were forked: both work, whatever numba's threads are."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch

from bss2lab.kernels import Model, compiler, integrate, jit, layers
from bss2lab.types import Spikes

pytestmark = pytest.mark.slow

PREPARE = """
    import numpy as np
    from bss2lab.datasets import images

    PICTURES = np.random.default_rng(0).integers(0, 256, (400, 28, 28)).astype(np.uint8)

    def total(start):
        return int(images.prepare(PICTURES[start : start + 200], 2).astype(np.int64).sum())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(PREPARE) + textwrap.dedent(code)
    env = {**os.environ, "NUMBA_NUM_THREADS": "2", **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, env=env)


IN_TWO_THREADS = """
    import threading
    expected = [total(0), total(200)]
    found = [set(), set()]

    def again(k):
        for _ in range(300):
            found[k].add(total(200 * k))

    threads = [threading.Thread(target=again, args=(k,)) for k in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    import numba
    print(numba.threading_layer(), found == [{expected[0]}, {expected[1]}])
"""


def test_two_threads_share_numbas_work_queue() -> None:
    """Which would end the process if both were in it (what pip installs on macOS and Windows has no other threads)."""
    done = run(IN_TWO_THREADS, NUMBA_THREADING_LAYER="workqueue")
    assert (done.returncode, done.stdout) == (0, "workqueue True\n"), done.stderr


@pytest.mark.parametrize("alone", [True, False])
def test_threads_wait_for_each_other_only_where_they_must(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.state, "works_alone", alone)
    first, second, end = (threading.Event() for _ in range(3))

    def compute(begun: threading.Event) -> None:
        begun.set()
        assert end.wait(60)

    kernel = jit.Kernel(compute, parallel=True)
    monkeypatch.setattr(kernel, "dispatcher", compute, raising=False)
    calls = [threading.Thread(target=kernel, args=(begun,)) for begun in (first, second)]
    calls[0].start()
    assert first.wait(60)
    calls[1].start()
    side_by_side = second.wait(0.3 if alone else 60)
    end.set()
    for call in calls:
        call.join(60)
    assert side_by_side is not alone
    assert second.is_set()


FORKED = {
    "pool": """
        import multiprocessing
        expected = [total(0), total(200)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(total, [0, 200]) == expected)
    """,
    "executor": """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        expected = [total(0), total(200)]
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            print(list(pool.map(total, [0, 200])) == expected)
    """,
    "loader": """
        import torch
        expected = [total(0), total(200)]

        class Totals(torch.utils.data.Dataset):
            def __len__(self):
                return 2
            def __getitem__(self, k):
                return total(200 * k)

        loader = torch.utils.data.DataLoader(Totals(), batch_size=1, num_workers=2, multiprocessing_context="fork")
        print([int(t) for t in loader] == expected)
    """,
    "while another thread compiles": """
        import multiprocessing, threading, time
        from numba.core.compiler_lock import global_compiler_lock
        expected, locked = total(0), threading.Event()

        def compile_():
            with global_compiler_lock:
                locked.set()
                time.sleep(0.5)

        threading.Thread(target=compile_).start()
        locked.wait()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.map(total, [0]) == [expected])
    """,
    "training": """
        import multiprocessing
        import torch
        from bss2lab import Run, TrainConfig
        torch.set_num_threads(2)
        (torch.rand(2000, 2000) @ torch.rand(2000, 2000)).sum()

        def train(seed):
            config = TrainConfig(mode="software", seed=seed, epochs=1, limit=200, n_hidden=16)
            return [epoch.test_accuracy for epoch in Run(config).fit()]

        expected = [train(0), train(1)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(train, [0, 1])
        print(all(abs(a[0] - b[0]) < 0.02 for a, b in zip(found, expected)))
    """,
}


@pytest.mark.needs("POSIX")
@pytest.mark.parametrize("how", FORKED)
def test_kernels_run_on_one_thread_in_a_forked_process(how: str) -> None:
    done = run(FORKED[how], PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_the_serial_form_of_kernels_that_call_each_other_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    serial = layers.backward.serial
    called = serial.py_func.__globals__["backward_block"]
    assert layers.backward.targetoptions["parallel"]
    assert not any(kernel.targetoptions.get("parallel") for kernel in (serial, called))
    spikes = Spikes.from_events([([2.0, 5.0, 7.0], [0, 3, 4])] * 5, n_units=5, duration_us=17.0)

    def slopes() -> list[np.ndarray]:
        seed = torch.Generator().manual_seed(0)
        w = [torch.rand(shape, generator=seed).requires_grad_() for shape in ((5, 8), (8, 3), (8, 8))]
        traces = integrate(*w[:2], spikes, dt_us=1.7, model=Model(0.7, 0.7, 50.0), w_recurrent=w[2], kernel="compiled")
        return [slope.numpy() for slope in torch.autograd.grad(traces.v_output.square().sum(), w)]

    expected = slopes()
    assert all(abs(slope).max() > 0.1 for slope in expected)
    monkeypatch.setattr(layers, "backward", serial)
    for got, want in zip(slopes(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * abs(want).max())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_that_started_before_any_kernel_do_not_end_a_forked_process() -> None:
    code = """
        import multiprocessing
        from bss2lab.train import set_threads
        set_threads(2)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.map_async(total, [0]).get(timeout=30)[0] > 0)
    """
    done = run(code, PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
