"""``bss2lab lab``: which folder JupyterLab is opened on, and copies of the notebooks away from a checkout."""

import builtins
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bss2lab import bundle
from bss2lab.cli import main

NOTEBOOKS = bundle.path("nbs")
COPIES = "bss2lab-notebooks"


@pytest.fixture
def opened(monkeypatch):
    """What JupyterLab was started with, each time."""
    calls = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(
        subprocess, "Popen", lambda command: (calls.append(command[3:]), SimpleNamespace(wait=lambda: 0))[1]
    )
    return calls


@pytest.fixture
def away(monkeypatch, tmp_path):
    """An installed package with three files of notebooks, seen from an empty folder, without a terminal."""
    (tmp_path / "package" / "nbs").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    for name in ("00_tour.ipynb", "10_one_neuron.ipynb", "README.md"):
        shutil.copyfile(NOTEBOOKS / name, tmp_path / "package" / "nbs" / name)
    monkeypatch.setattr(bundle, "checkout", lambda: None)
    monkeypatch.setattr(bundle, "path", lambda name: tmp_path / "package" / name)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    return tmp_path / "here"


@pytest.fixture
def terminal(monkeypatch):
    """A terminal; return a function that says what will be typed."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    def typed(answer):
        def ask(question):
            assert COPIES in question
            if answer is None:
                raise EOFError
            return answer

        monkeypatch.setattr(builtins, "input", ask)

    return typed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_in_a_checkout_its_notebooks_are_opened_from_anywhere(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab"]) == 0
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "index.ipynb").touch()
    assert main(["lab"]) == 0
    (tmp_path / "nbs" / "00_tour.ipynb").touch()
    assert main(["lab"]) == 0  # ours that are here come first
    assert opened == [[str(NOTEBOOKS)], [str(NOTEBOOKS)], ["nbs"]]
    assert names(tmp_path) == ["nbs"]


def test_notebooks_of_another_project_are_neither_opened_nor_copied(opened, away):
    (away / "nbs").mkdir()
    (away / "nbs" / "theirs.ipynb").touch()
    assert main(["lab"]) == 2
    assert main(["lab", "--copy"]) == 0
    assert opened == [[COPIES]]
    assert names(away / COPIES) == ["00_tour.ipynb", "10_one_neuron.ipynb", "README.md"]


@pytest.mark.parametrize("named", [[], ["some where"]])
def test_what_stands_behind_two_dashes_goes_to_jupyter(named, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some where").mkdir()
    assert main(["lab", *named, "--", "--no-browser", "--port", "9999"]) == 0
    assert opened == [["--no-browser", "--port", "9999", *(named or [str(NOTEBOOKS)])]]


@pytest.mark.parametrize("answer", ["", "y", "Yes"])
def test_on_a_terminal_a_copy_is_offered_made_and_opened_again(answer, opened, away, terminal):
    terminal(answer)
    assert main(["lab"]) == 0
    assert names(away / COPIES) == ["00_tour.ipynb", "10_one_neuron.ipynb", "README.md"]
    terminal(None)
    assert main(["lab", "--", "--port", "1"]) == 0
    assert opened == [[COPIES], ["--port", "1", COPIES]]


@pytest.mark.parametrize("answer", ["n", "what?", None])
def test_whoever_does_not_say_yes_gets_nothing(answer, opened, away, terminal):
    terminal(answer)
    assert main(["lab"]) == 0
    assert (opened, names(away)) == ([], [])


def test_without_a_terminal_the_way_is_said(opened, away, capsys):
    assert main(["lab"]) == 2
    err = capsys.readouterr().err
    assert "--copy" in err
    assert "FOLDER" in err
    assert (opened, names(away)) == ([], [])


def test_a_changed_notebook_is_kept_and_named(opened, away, capsys):
    assert main(["lab", "--copy", "mine", "--no-open"]) == 0
    (away / "mine" / "00_tour.ipynb").write_text("my work")
    (away / "mine" / "10_one_neuron.ipynb").unlink()
    capsys.readouterr()
    assert main(["lab", "--copy", "mine"]) == 0
    out = capsys.readouterr().out
    assert (away / "mine" / "00_tour.ipynb").read_text() == "my work"
    assert (away / "mine" / "10_one_neuron.ipynb").read_bytes() == (NOTEBOOKS / "10_one_neuron.ipynb").read_bytes()
    assert "00_tour.ipynb" in out
    assert "README.md" not in out
    assert opened == [["mine"]]


def test_a_copy_without_a_name_has_the_usual_one(opened, away):
    assert main(["lab", "--copy", "--", "--no-browser"]) == 0
    assert opened == [["--no-browser", COPIES]]


@pytest.mark.parametrize("words", [["nowhere"], ["nbs", "--copy", "mine"]])
def test_a_folder_that_cannot_be_meant_is_refused(words, opened, away, capsys):
    assert main(["lab", *words]) == 2
    assert "folder: expected" in capsys.readouterr().err
    assert (opened, names(away)) == ([], [])


def test_a_package_without_notebooks_says_so(opened, away, capsys):
    shutil.rmtree(bundle.path("nbs"))
    assert main(["lab", "--copy"]) == 2
    assert "install bss2lab anew" in capsys.readouterr().err


def test_a_missing_jupyterlab_is_named_with_how_to_get_it(opened, away, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["lab", "--copy"]) == 2
    assert "pip install 'bss2lab[lab]'" in capsys.readouterr().err
    assert names(away) == []
    assert main(["lab", "--copy", "--no-open"]) == 0  # copying does without it
    assert names(away) == [COPIES]


JUPYTER = """
import signal, sys, time

def ask(*_):
    print("Shut down?", flush=True)
    time.sleep(0.6)
    sys.exit(5)

signal.signal(signal.SIGINT, ask)
print("open", flush=True)
time.sleep(60)
"""


@pytest.mark.needs("POSIX")
def test_an_interrupt_is_left_to_jupyterlab(tmp_path):
    """Which asks, removes its files and ends; nothing may end it before. As a terminal does, all processes get it."""
    (tmp_path / "jupyterlab.py").write_text(JUPYTER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "bss2lab.cli", "lab", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": path}
    ) as lab:
        assert lab.stdout.readline() == "open\n"
        os.killpg(lab.pid, signal.SIGINT)
        assert lab.stdout.read() == "Shut down?\n"
    assert lab.returncode == 5
