"""Kernels called from several threads, and in processes that were forked: both work, whatever numba's threads are."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from bss2lab.datasets import images

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
    import sys, threading
    from bss2lab.kernels import compiler

    if "unguarded" in sys.argv or {unguarded}:
        compiler.state.works_alone = False
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
    code = IN_TWO_THREADS.replace("{unguarded}", "False")
    done = run(code, NUMBA_THREADING_LAYER="workqueue")
    assert (done.returncode, done.stdout) == (0, "workqueue True\n"), done.stderr


@pytest.mark.needs("two cores")
def test_without_taking_turns_the_work_queue_ends_the_process() -> None:
    """What the test above would look like without the guard: it can fail."""
    done = run(IN_TWO_THREADS.replace("{unguarded}", "True"), NUMBA_THREADING_LAYER="workqueue")
    assert done.returncode != 0
    assert "Concurrent access" in done.stderr


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


def test_the_serial_form_gives_the_same() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (10, 28, 28)).astype(np.uint8)
    whole = images.prepare(pictures, 2)
    kernel = images._prepare
    assert not kernel.serial.targetoptions.get("parallel")
    images._prepare = kernel.serial
    try:
        assert (images.prepare(pictures, 2) == whole).all()
    finally:
        images._prepare = kernel
