"""The environment check: finds what is missing, and says how to mend it."""

from __future__ import annotations

import importlib.metadata

import pytest

from bss2lab import lab
from bss2lab.lab import checks


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


def test_a_front_end_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(checks.sys, "prefix", str(tmp_path))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    one = finding("widget front end")
    assert "@jupyter-widgets/jupyterlab-manager" in one.text
    assert "environment that JupyterLab itself runs in" in one.fix
    place = tmp_path / "elsewhere/labextensions"
    for name in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        (place / name).mkdir(parents=True)
        (place / name / "package.json").write_text("{}")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "elsewhere"))
    assert finding("widget front end").verdict == "good"


def test_threads_that_are_held_back_are_noted(monkeypatch):
    monkeypatch.setattr(checks.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS=1" in finding("cores").text
    monkeypatch.setattr(checks.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert "one core" in finding("cores").text


def test_uncompiled_kernels_and_a_missing_voice_are_notes_not_errors(monkeypatch, tmp_path):
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(checks.shutil, "which", lambda name: None)
    assert finding("cache").verdict == "note"
    assert "first run takes a minute longer" in finding("cache").fix
    assert finding("espeak-ng").verdict == "note"


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
