"""``bss2lab study``: by name, quick or full, on this machine or a cluster, resumed after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import golden
import pytest

from bss2lab.cli import main
from bss2lab.cli import study as command
from bss2lab.runner import Runner
from bss2lab.studies import results
from bss2lab.studies.catalogue import STUDIES

pytestmark = pytest.mark.slow


@pytest.fixture
def small(monkeypatch):
    """All studies in miniature, on one thread of this process; yields the calls of the runner's constructor."""
    calls = []

    def here(store, **options):
        calls.append((store, options))
        return Runner(store, executor=ThreadPoolExecutor(1), watch=options["watch"])

    monkeypatch.setattr(command, "Runner", here)
    for name, config in golden.SLICES.items():
        monkeypatch.setitem(STUDIES, name, replace(STUDIES[name], quick=config))
    return calls


def test_prints_the_table_and_writes_the_result(small, tmp_path, capsys):
    path = tmp_path / "out" / "r.json"
    assert main(["study", "fig3e", "--store", str(tmp_path / "s"), "--json", str(path)]) == 0
    result = results.load(path, "fig3e", STUDIES["fig3e"].result)
    assert result.config == golden.SLICES["fig3e"]
    out = capsys.readouterr()
    assert out.out.strip() == STUDIES["fig3e"].table(result)
    assert "2/2 runs" in out.err
    assert small[0][0] == tmp_path / "s"
    assert small[0][1]["executor"] is None


def test_a_second_call_takes_everything_from_the_store(small, tmp_path, capsys):
    words = ["study", "fig3b", "--store", str(tmp_path)]
    assert main(words) == 0
    first = capsys.readouterr()
    assert main(words) == 0
    second = capsys.readouterr()
    assert first.out == second.out
    assert "2 from the store" in second.err


def test_the_number_of_seeds_and_of_workers_is_passed_on(small, tmp_path, capsys):
    assert main(["study", "fig3b", "--seeds", "1", "--workers", "3", "--store", str(tmp_path)]) == 0
    assert "1/1 runs" in capsys.readouterr().err
    assert small[0][1]["workers"] == 3


def test_figure_4a_is_measured_here(tmp_path, capsys, monkeypatch):
    asked = []
    from bss2lab.studies import fig4

    config = fig4.DetuningConfig(sigma_d=(0.0,))
    real = fig4.detuning
    monkeypatch.setattr(fig4, "detuning", lambda: asked.append(1) or real(config))
    assert main(["study", "fig4a", "--json", str(tmp_path / "a.json")]) == 0
    assert fig4.load(tmp_path / "a.json").config == config
    assert "uncalibrated" in capsys.readouterr().out
    assert asked == [1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig3b", "--seeds", "0"], "--seeds: expected at least 1, got 0"),
        (["fig3b", "--workers", "0"], "workers: expected 1 … 1024, got 0"),
        (["fig4a", "--full"], "--full: expected a study other than fig4a"),
        (["fig4a", "--seeds", "2"], "--seeds: expected a study other than fig4a"),
        (["anatomy", "--workers", "2"], "--workers: expected a study other than anatomy"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_computed(words, message, capsys):
    assert main(["study", *words]) != 0
    assert message in capsys.readouterr().err


def test_a_result_that_could_not_be_written_is_found_out_first(small, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("x", encoding="utf-8")
    assert main(["study", "fig3b", "--json", str(blocked / "r.json")]) != 0
    assert small == []
    assert "expected a place to write to" in capsys.readouterr().err


def test_workers_and_a_scheduler_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        main(["study", "fig3b", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"])
    assert "not allowed with" in capsys.readouterr().err


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
import golden
from bss2lab.cli import main
from bss2lab.studies.catalogue import STUDIES

if __name__ == "__main__":
    config = golden.TRAINING.replace(train=golden.ITL.replace(epochs=8), seeds=2)
    STUDIES["fig3b"] = replace(STUDIES["fig3b"], quick=config)
    sys.exit(main(["study", "fig3b", "--workers", "1", "--store", {store!r}, "--json", {out!r}]))
"""


def test_ctrl_c_keeps_what_is_done_and_the_next_call_goes_on(tmp_path):
    """The real command with its own processes, interrupted half-way."""
    store, out = tmp_path / "store", tmp_path / "r.json"
    script = tmp_path / "study.py"
    tests = str(Path(__file__).parent)
    script.write_text(SCRIPT.format(tests=tests, store=str(store), out=str(out)), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begun = subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(store.glob("unfinished/*/checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "Traceback" not in said
    assert f"stopped; finished runs are kept in {store}" in said
    assert not out.exists()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(out.read_text(encoding="utf-8"))["result"]["runs"]) == 2
    assert not list(store.glob("unfinished/*"))
    assert len(list(store.glob("records/*.safetensors"))) == 2
