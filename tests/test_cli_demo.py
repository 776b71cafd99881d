"""``bss2lab demo``: trains, goes on where it stopped, draws; without Matplotlib it says how to get it."""

import importlib.util

import pytest

from bss2lab import checkpoint
from bss2lab.cli import main, train

pytestmark = pytest.mark.slow

SMALL = ("--limit", "200", "--n-hidden", "20", "--threads", "1")


def test_it_trains_in_the_loop_draws_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--epochs", "1", *SMALL]) == 0
    assert "in the loop" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fig3a.png", "fig3b.png"]
    first = checkpoint.load(tmp_path / "runs" / "demo" / checkpoint.FILE)
    assert (first.config.task, first.config.mode, first.config.limit) == ("mnist", "itl", 200)
    assert main(["demo", "--epochs", "2", *SMALL]) == 0
    epochs = checkpoint.load(tmp_path / "runs" / "demo" / checkpoint.FILE).position.epochs
    assert len(epochs) == 2
    assert epochs[0] == first.position.epochs[0]


def test_without_matplotlib_it_trains_and_says_how_to_get_figures(tmp_path, monkeypatch, capsys):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else there(name))
    words = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main(["demo", "--epochs", "1", *SMALL, *words]) == 0
    assert (tmp_path / "run" / checkpoint.FILE).is_file()
    assert not (tmp_path / "out").exists()
    assert "pip install 'bss2lab[lab]'" in capsys.readouterr().err


def test_a_stopped_training_is_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "run", lambda arguments: 130)
    assert main(["demo", "--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]) == 130
    assert not list(tmp_path.rglob("*.png"))


def test_figures_that_cannot_be_written_are_found_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "run", lambda arguments: pytest.fail("trained"))
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "out"), "--run", str(tmp_path / "run")]) == 2
    assert "expected a place to write to" in capsys.readouterr().err
