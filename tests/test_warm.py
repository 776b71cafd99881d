"""Compiling ahead: everything that a first run needs, in processes of its own, once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bss2lab import storage, warm
from bss2lab.errors import InputError

USED = {
    "images": """
        import numpy as np
        from bss2lab import Run, TrainConfig
        from bss2lab.network import chip_weights
        run = Run(TrainConfig(epochs=1, limit=200, rotation=10.0, dropout=0.1))
        list(run.fit())
        list(Run(TrainConfig(epochs=1, limit=200, mode="software")).fit())
        spikes, (held, _) = run._held_out.spikes, chip_weights(run.learner.weights(), run.chip)
        run.chip.infer(run.chip.write(held), spikes, seed=0)
        run.chip.run(held, spikes.select(np.arange(3)), seed=0)
        run.chip.membranes(held, spikes.select(np.arange(3)), seed=0)
    """,
    "words": """
        from bss2lab import Run, SpeechConfig
        list(Run(SpeechConfig(epochs=1, limit=20, sigma_u=10.0)).fit())
        list(Run(SpeechConfig(epochs=1, limit=20, mode="software")).fit())
    """,
    "sound": """
        from bss2lab import bundle
        from bss2lab.datasets.recorded import words_of
        from bss2lab.datasets.sound import read_sound
        words_of([read_sound(bundle.path("data/speech/example.wav"))], ("seven",))
    """,
}


def asked_for(*parts: str) -> list[set[str]]:
    """Return the files of all kernels that a program asks for, up to the end of each of its parts."""
    tell = "\nimport json; from bss2lab.kernels import cache; print('asked', json.dumps(list(cache.used)))\n"
    script = "".join(textwrap.dedent(part) + tell for part in parts)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("asked ") for line in done.stdout.splitlines() if line.startswith("asked ")]
    return [set(json.loads(line)) for line in told]


@pytest.mark.slow
def test_all_that_users_need_is_compiled_and_what_a_first_run_needs_comes_first() -> None:
    each = "from bss2lab import warm\nfor name in {}: warm.GROUPS[name][1]()"
    first, everything = asked_for(each.format("warm.FIRST"), each.format("warm.GROUPS"))
    images, _, used = asked_for(*USED.values())
    assert images <= first
    assert used <= everything


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Processes that note what they should compile, but for the group "ear", which fails; returns their groups."""
    started: list[tuple[str, ...]] = []

    def process(cache: Path, names: tuple[str, ...], *, alone: bool, quiet: bool) -> object:
        started.append(names)
        for name in names:
            if name != "ear":
                (cache / "kernels").mkdir(exist_ok=True, parents=True)
                (cache / "kernels" / f"of-{name}.kernel").touch()
                warm._note(cache, name).write_text(f"{warm._TITLE} of-{name}.kernel", encoding="utf-8")
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(warm, "_process", process)
    monkeypatch.setattr(warm, "usable_cores", lambda: 2)
    monkeypatch.delenv(warm.OFF)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "user"))
    monkeypatch.setenv("BSS2LAB_SHARED_CACHE", "-")
    return started


GROUPS = ("training", "chip", "ear")


def test_what_is_compiled_is_noted_and_not_compiled_again(started: list[tuple[str, ...]], tmp_path: Path) -> None:
    assert warm.start(GROUPS).wait() == ("ear",)
    assert started == [("training", "ear"), ("chip",)]
    assert warm.start(GROUPS).wait() == ("ear",)
    assert started[2:] == [("ear",)]
    (tmp_path / "user" / "kernels" / "of-chip.kernel").unlink()
    warm.start(GROUPS).wait()
    assert started[3:] == [("chip",), ("ear",)]


@pytest.mark.parametrize("content", [b"\xf1\x80 garbage", b"", b"other of-chip.kernel", b"kernels: of-nothing.kernel"])
def test_a_damaged_note_is_no_note(started: list[tuple[str, ...]], content: bytes) -> None:
    warm.start(["chip"]).wait()
    assert warm.is_compiled("chip")
    warm._note(storage.user_cache(), "chip").write_bytes(content)
    assert not warm.is_compiled("chip")
    warm.start(["chip"]).wait()
    assert warm.is_compiled("chip")


def test_on_one_core_or_if_switched_off_nothing_is_compiled_in_the_background(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(warm.OFF, "0")
    warm.start(GROUPS).wait()
    monkeypatch.delenv(warm.OFF)
    monkeypatch.setattr(warm, "usable_cores", lambda: 1)
    warm.start(GROUPS).wait()
    assert not started
    assert warm.start(["training", "chip"], folder=tmp_path / "image").wait() == ()
    assert started == [("training", "chip")]


def test_a_folder_for_everybody_is_filled_in_full_and_found(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm.start(["training"]).wait()
    warm.start(["training"], folder=tmp_path / "image").wait()
    assert started == [("training",), ("training",)]
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "another user"))
    assert not warm.is_compiled("training")
    monkeypatch.setenv("BSS2LAB_SHARED_CACHE", str(tmp_path / "image"))
    assert warm.is_compiled("training")


def test_a_process_fills_its_folder_whatever_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, on the quickest group: kernels that are found in a shared cache are compiled all the same."""
    monkeypatch.setattr(warm, "GROUPS", {"quick": ("", lambda: None)})
    code = f"""
        import os
        assert os.environ["BSS2LAB_CACHE"] == {str(tmp_path)!r}
        assert os.environ["BSS2LAB_SHARED_CACHE"] == "-"
    """
    (tmp_path / "random.py").write_text("raise RuntimeError('not mine')", encoding="utf-8")
    (tmp_path / "bss2lab").mkdir()
    (tmp_path / "bss2lab" / "__init__.py").write_text("raise RuntimeError('not mine')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made: list[list[str]] = []
    monkeypatch.setattr(warm.sys, "executable", sys.executable)
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        made.append(command)
        return real([sys.executable, "-P", "-c", textwrap.dedent(code)], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(warm.subprocess, "Popen", popen)
    ((process, _),) = warm.start(["quick"], folder=tmp_path).processes
    assert process.wait() == 0
    assert made == [[sys.executable, "-P", "-m", "bss2lab.warm", "quick"]]


def test_a_group_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("no room")

    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(warm, "GROUPS", {"bad": ("", fail), "good": ("", lambda: None)})
    assert warm.main(["bad", "good"]) == 1
    assert "no room" in capsys.readouterr().err
    assert (warm.is_compiled("bad"), warm.is_compiled("good")) == (False, True)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(InputError, match="chpi"):
        warm.start(["chpi"])
