"""Compiling ahead: everything that a first run needs, in processes of its own, once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bss2lab import warm
from bss2lab.errors import InputError

RECORDED = """
    import json
    from bss2lab.kernels.cache import KernelCache

    names, find = set(), KernelCache._find

    def recorded(cache, name, context):
        names.add(name)
        return find(cache, name, context)

    KernelCache._find = recorded
"""

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


def looked_for(code: str) -> set[str]:
    """Return the files of all kernels that a program looks for."""
    script = textwrap.dedent(RECORDED) + textwrap.dedent(code) + "\nprint(json.dumps(sorted(names)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_all_that_users_need_is_compiled() -> None:
    everything = looked_for("from bss2lab import warm\nfor _, compile_ in warm.GROUPS.values(): compile_()")
    for what, code in USED.items():
        assert looked_for(code) <= everything, what


def test_the_first_two_are_all_that_a_run_on_images_needs() -> None:
    first = looked_for("from bss2lab import warm\nfor name in warm.FIRST: warm.GROUPS[name][1]()")
    assert looked_for(USED["images"]) <= first


def test_what_is_compiled_is_noted_and_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []

    def process(cache: Path, names: tuple[str, ...]) -> object:
        assert cache == tmp_path
        started.append(names)
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({'ear' in names})"])

    monkeypatch.setattr(warm, "_process", process)
    monkeypatch.setattr(warm, "usable_cores", lambda: 2)
    monkeypatch.delenv(warm.OFF)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(warm, "shared_caches", lambda: [])
    assert warm.start(["training", "chip", "ear"]).wait() == ("training", "ear")
    assert started == [("training", "ear"), ("chip",)]
    warm._note(tmp_path, "training").parent.mkdir()
    warm._note(tmp_path, "training").touch()
    warm.start(["training", "chip", "ear"]).wait()
    assert started[2:] == [("chip",), ("ear",)]
    warm._note(tmp_path, "chip").touch()
    monkeypatch.setattr(warm, "usable_cores", lambda: 1)
    assert warm.start(["training", "chip", "ear"]).wait() == ()
    assert len(started) == 4
    warm.start(["training", "chip"], again=True).wait()
    assert started[4:] == [("training", "chip")]


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(InputError, match="chpi"):
        warm.start(["chpi"])
