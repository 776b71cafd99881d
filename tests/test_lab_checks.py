"""The environment check: finds what is missing, and says how to mend it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import types

import pytest

from bss2lab import bundle, lab, warm
from bss2lab.lab import checks
from bss2lab.lab.server import Process

pytestmark = pytest.mark.slow


def finding(what):
    return next(one for one in checks.findings() if one.what == what)


def test_in_the_environment_of_the_tests_nothing_is_missing():
    report = lab.check()
    assert report.good, report
    assert "torch" in finding("packages").text
    assert "numba" in finding("packages").text
    assert "ipywidgets" in finding("packages").text


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "anywidget":
            raise importlib.metadata.PackageNotFoundError(name)
        return "7.0.0" if name == "ipywidgets" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    one = finding("packages")
    assert one.verdict == "bad"
    assert "anywidget is missing" in one.text
    assert "ipywidgets 7.0.0 is not" in one.text
    assert "pip install" in one.fix
    assert not lab.check().good
    assert "BAD  packages" in repr(lab.check())


# --- the server's environment ------------------------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """As in a kernel in an environment of its own; returns a function that makes others with these front ends."""
    for name in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    monkeypatch.setattr(checks.server, "_SYSTEM", ())
    monkeypatch.setitem(sys.modules, "ipykernel", sys.modules.get("ipykernel") or types.ModuleType("ipykernel"))

    def environment(name, **versions):
        prefix = tmp_path / name
        (prefix / "bin").mkdir(parents=True)
        for program in ("python", "jupyter-lab"):
            (prefix / "bin" / program).touch(mode=0o755)
        names = {"manager": checks.FRONT_ENDS[0], "anywidget": "anywidget"}
        for extension, version in versions.items():
            install(prefix / "share/jupyter", names[extension], version)
        return prefix

    monkeypatch.setattr(checks.sys, "prefix", str(environment("kernel", **FITS)))
    return environment


FITS = {"manager": "5.0.13", "anywidget": importlib.metadata.version("anywidget")}


def install(jupyter, name, version):
    folder = jupyter / "labextensions" / name
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))


def front_end(*commands, **process):
    above = [Process(100 + k, tuple(map(str, words)), **process) for k, words in enumerate(commands)]
    (one,) = [one for one in checks.findings(lambda: above) if one.what == "widget front end"]
    return one


def test_a_server_in_the_kernel_s_own_environment_is_good(kernel, tmp_path):
    python = tmp_path / "kernel/bin/python"
    one = front_end(["bash"], [python, "-m", "jupyterlab", "nbs"])
    assert one.verdict == "good", one
    assert FITS["anywidget"] in one.text
    assert front_end([python, python.with_name("jupyter-lab")]).verdict == "good"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "kernel")
    assert "beside this kernel" in front_end([link / "bin/python", "-m", "voila", "a.ipynb"]).text


def test_a_server_elsewhere_is_looked_at_there(kernel, tmp_path):
    prefix = kernel("server", **FITS)
    one = front_end([prefix / "bin/python", prefix / "bin/jupyter-lab"])
    assert one.verdict == "good"
    assert str(prefix) in one.text
    bare = kernel("bare", manager="3.0.1")
    one = front_end(["wrapper"], [bare / "bin/python", "-m", "notebook"])
    assert one.verdict == "bad"
    assert "anywidget is missing" in one.text
    assert "3.0.1" in one.text
    assert "environment that JupyterLab itself runs in" in one.fix
    old = kernel("old", manager="5.0.13", anywidget="0.1.21")
    one = front_end([old / "bin/python", old / "bin/jupyter-lab"])
    assert one.verdict == "bad"
    assert "anywidget 0.1.21 on the page" in one.text


@pytest.mark.parametrize("how", ["relative", "by name", "script alone"])
def test_a_command_is_followed_to_its_environment(kernel, how):
    prefix = kernel("server", **FITS)
    one = {
        "relative": lambda: front_end(["server/bin/python", "-m", "jupyterlab"], folder=str(prefix.parent)),
        "by name": lambda: front_end(["python", "-m", "jupyterlab"], path=str(prefix / "bin")),
        "script alone": lambda: front_end(["python", prefix / "bin/jupyter-lab"], path="nowhere"),
    }[how]()
    assert one.verdict == "good"
    assert str(prefix) in one.text


@pytest.mark.parametrize(
    "commands",
    [
        [], [["code", "--type=server"]], [["/nowhere/bin/python", "-m", "jupyterlab"]],
        [["python", "-m", "jupyterlab"]],
        [["python", "train.py"], ["bash"]], [[], ["jupyter-lab"]],
    ],
)  # fmt: skip
def test_what_cannot_be_found_out_is_a_note_never_good(kernel, commands):
    one = front_end(*commands, path="nowhere")
    assert one.verdict == "note"
    assert "cannot see" in one.text
    assert FITS["anywidget"] in one.text


def test_a_server_that_registered_itself_is_known_by_its_number(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    prefix = kernel("server", **FITS)
    assert front_end([prefix / "bin/python", "my_server.py"]).verdict == "note"
    (tmp_path / "jpserver-100.json").write_text("{}")
    assert front_end([prefix / "bin/python", "my_server.py"]).verdict == "good"


def test_front_ends_in_the_user_s_folder_and_on_the_path_count(kernel, tmp_path, monkeypatch):
    prefix = kernel("server")
    command = [prefix / "bin/python", prefix / "bin/jupyter-lab"]
    assert front_end(command).verdict == "bad"
    install(tmp_path / "user", checks.FRONT_ENDS[0], FITS["manager"])
    install(tmp_path / "elsewhere", "anywidget", FITS["anywidget"])
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "elsewhere"))
    assert front_end(command).verdict == "good"


def test_the_processes_above_this_one_are_found():
    above = checks.server.ancestors()
    assert os.getppid() in [one.pid for one in above]
    code = "from bss2lab.lab import server; print(server.prefix_of(server.ancestors()[0]))"
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert os.path.realpath(done.stdout.strip()) == os.path.realpath(sys.prefix)


# --- packages that are there but broken --------------------------------------------------------------------------

BROKEN = {
    "numba": 'raise ImportError("Numba needs NumPy 2.2 or less.\\nGot NumPy 9.9.")',
    "torch": 'raise OSError("libtorch_cpu.so: cannot open shared object file")',
    "matplotlib": "1 / 0", "plotly": "import nothing_of_this_name", "ipywidgets": "raise SystemExit",
    "pooch": "None.x",
    "soundfile": 'raise OSError("sndfile library not found")', "h5py": 'raise ValueError("numpy.dtype size changed")',
    "psutil": "raise ImportError", "packaging": "raise ImportError",
}  # fmt: skip


def checked(folder, *, hide=()):
    """Return what ``lab.check()`` says in a fresh interpreter in which modules of this folder come first."""
    code = f"""
import importlib.metadata, json, sys
sys.path.insert(0, {str(folder)!r})
real = importlib.metadata.version
def version(name):
    if name in {tuple(hide)!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
from bss2lab import lab
print(json.dumps([[one.what, one.verdict, one.text, one.fix] for one in lab.check().findings]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {what: checks.Finding(what, *rest) for what, *rest in json.loads(done.stdout.splitlines()[-1])}


def test_packages_that_are_here_but_broken_are_named_each_with_its_reason(tmp_path):
    for name, source in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(source)
    found = checked(tmp_path)
    for name in ("numba", "torch", "matplotlib", "plotly", "ipywidgets", "pooch", "h5py"):
        assert found[f"import of {name}"].verdict == "bad"
        assert name in found[f"import of {name}"].fix
    assert "Numba needs NumPy 2.2 or less. Got NumPy 9.9." in found["import of numba"].text
    assert "libtorch_cpu.so" in found["import of torch"].text
    assert found["import of soundfile"].verdict == "note"
    assert "imports" not in found
    assert found["packages"].verdict == "good"  # they are here, after all
    assert found["cores"].verdict in ("good", "note")


def test_without_the_extra_the_check_says_what_is_missing(tmp_path):
    gone = ("matplotlib", "plotly", "ipywidgets", "anywidget", "jupyterlab", "soundfile")
    for name in gone:
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError")
    found = checked(tmp_path, hide=gone)
    assert found["packages"].verdict == "bad"
    for name in gone:
        assert f"{name} is missing" in found["packages"].text
    assert found["imports"].verdict == "good"


def test_a_look_that_fails_is_a_note(monkeypatch):
    monkeypatch.setattr(checks, "usable_cores", lambda: 1 / 0)
    assert finding("cores").verdict == "note"
    assert "ZeroDivisionError" in finding("cores").text


# --- machine -----------------------------------------------------------------------------------------------------


def test_threads_that_are_held_back_are_noted(monkeypatch):
    monkeypatch.setattr(checks, "core_quota", lambda: None)
    monkeypatch.setattr(checks, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS=1" in finding("cores").text
    monkeypatch.setattr(checks, "usable_cores", lambda: 1)
    assert finding("cores").verdict == "note"
    assert "one core" in finding("cores").text
    assert "quota" not in finding("cores").text


def test_a_container_s_quota_is_said(monkeypatch):
    monkeypatch.setattr(checks, "usable_cores", lambda: 2)
    monkeypatch.setattr(checks, "core_quota", lambda: 2.5)
    monkeypatch.setattr(checks, "usable_memory_mb", lambda: 1228.8)
    assert "quota of 2.5" in finding("cores").text
    assert "1.2 GB" in finding("cores").text


def test_uncompiled_kernels_and_a_missing_voice_are_notes_not_errors(monkeypatch, tmp_path):
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(checks.shutil, "which", lambda name: None)
    assert finding("kernels").verdict == "note"
    assert "in the background" in finding("kernels").fix
    assert finding("espeak-ng").verdict == "note"
    (tmp_path / "kernels").mkdir()
    for group in warm.FIRST:
        warm._note(tmp_path, group).write_text(warm._TITLE, encoding="utf-8")
    assert finding("kernels").verdict == "good"


def test_data_that_did_not_come_with_the_package_are_named(monkeypatch, tmp_path):
    assert finding("data").verdict == "good"
    monkeypatch.setattr(bundle, "path", lambda name: tmp_path / name)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    one = finding("data")
    assert one.verdict == "bad"
    assert all(name in one.text for name in ("data/mnist", "data/speech", "data/results", "nbs"))
    assert one.fix
    monkeypatch.setenv("BSS2LAB_DATA", str(tmp_path / "nowhere"))
    assert "BSS2LAB_DATA" in finding("data").text


def test_a_table_says_everything_as_text(monkeypatch):
    page = lab.check()._repr_html_()
    for one in checks.findings():
        assert one.what in page
    report = checks.Report((checks.Finding("<b>", "bad", "a & b", "do"),))
    assert "&lt;b&gt;" in report._repr_html_()
    assert "a &amp; b" in report._repr_html_()


@pytest.mark.parametrize("verdict", ["good", "note"])
def test_only_what_is_missing_is_bad(verdict):
    assert checks.Report((checks.Finding("a", verdict, "b"),)).good
