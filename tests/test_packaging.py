"""pyproject.toml, constraints.txt, environment.yml, Makefile, .ci/run and LICENSE agree with each other."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TARGETS = {
    "help", "demo", "test", "test-lowest", "test-newest", "lint", "lab", "voila", "bench", "figures", "wheel", "clean",
}  # fmt: skip

CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "soundfile": "pysoundfile"}
NOT_IN_CI = ("nvidia-", "cuda-", "triton", "appnope")  # torch for CUDA, and macOS
PIP_ONLY = {"pyright", "playwright"}  # they bring node along; conda's pip section installs them with the package

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def requirements(*extras: str) -> list[Requirement]:
    """Return the core requirements and those of the named extras."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]
    return [Requirement(line) for line in lines]


def constraints() -> dict[str, str]:
    """Return package -> pinned version, and check that every line is a plain ``name==version``."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9]+(?:\.[0-9]+)*(?:\.post[0-9]+)?)", line)
        assert match, f"constraints.txt: expected name==version, got {line!r}"
        assert match[1] not in pins, f"constraints.txt: {match[1]} stands there twice"
        pins[match[1]] = match[2]
    return pins


# --- versions -------------------------------------------------------------------------------------


def test_constraints_pin_torch():
    assert constraints()["torch"] == "2.13.0"


@pytest.mark.parametrize("want", requirements(*EXTRAS), ids=str)
def test_constraints_pin_every_requirement_within_its_range(want):
    pins = constraints()
    name = canonicalize_name(want.name)
    assert name in pins, f"constraints.txt lacks {name}"
    assert want.specifier.contains(Version(pins[name])), f"{name}=={pins[name]} is outside {want.specifier}"


def test_constraints_pin_everything_that_the_installed_requirements_need():
    """Follow the requirements of core, lab and dev through what is installed."""
    pins, seen, todo = constraints(), set(), [(want, "") for want in requirements("lab", "dev")]
    while todo:
        want, parent = todo.pop()
        name = canonicalize_name(want.name)
        if name.startswith(NOT_IN_CI):
            continue
        assert name in pins, f"constraints.txt lacks {name}, which {parent} needs"
        if (name, *want.extras) in seen:
            continue
        seen.add((name, *want.extras))
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # an optional tool that this environment does without
            continue
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *want.extras)):
                todo.append((need, name))
    assert len(seen) > len(requirements("lab", "dev"))


def test_requirements_that_stand_in_two_extras_have_one_range():
    ranges = {}
    for want in requirements(*EXTRAS):
        assert ranges.setdefault(want.name, want.specifier) == want.specifier, want.name


def test_the_oldest_versions_are_those_that_the_ranges_begin_with():
    done = subprocess.run([sys.executable, ROOT / "tests/lowest.py"], capture_output=True, text=True, check=False)
    if sys.version_info[:2] != (3, 11):
        assert "PYTHON=python3.11" in done.stderr
        return
    pins = {want.name: want.specifier for want in map(Requirement, done.stdout.split())}
    for want in requirements("lab"):
        (pin,) = pins[want.name]
        assert pin.operator == "=="
        assert f">={pin.version}" in map(str, want.specifier)


def test_conda_environment_has_the_same_ranges():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    by_conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (by_pip,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    got = {want.name: want.specifier for want in map(Requirement, by_conda)}
    assert len(got) == len(by_conda), "environment.yml names a package twice"
    assert got.pop("python") == Requirement(f"python{PROJECT['requires-python']}").specifier
    got.pop("pip")
    want = {
        CONDA_NAMES.get(item.name, item.name): item.specifier
        for item in requirements("lab", "dev")
        if item.name not in PIP_ONLY
    }
    assert got == want
    assert by_pip == ["-e .[lab,dev]"]


def test_version_is_said_once():
    bss2lab = pytest.importorskip("bss2lab")
    if hasattr(bss2lab, "__version__"):
        assert bss2lab.__version__ == PROJECT["version"]


# --- files ----------------------------------------------------------------------------------------


def test_licence_is_mit():
    text = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert text.startswith("MIT License Copyright (c) 2026 bss2lab contributors")
    assert "Permission is hereby granted, free of charge, to any person obtaining a copy" in text
    assert 'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND' in text
    assert PROJECT["license"] == "MIT"


FILES = [
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
    "Makefile",
    ".ci/run",
    ".pre-commit-config.yaml",
]


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_a_registry_or_a_folder_of_one_machine(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(
        r"\S*(?:://|pypi|pythonhosted|anaconda|npmjs|index-url|find-links|trusted-host|\w\.(?:org|com|io)\b"
        r"|(?<![\w./)])/(?:home|root|work|tmp|opt)/)\S*",
        text,
    )
    assert found == []


# --- make -----------------------------------------------------------------------------------------


def make(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # The variables of an outer `make test` must not leak in.
    env = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}}
    env |= {"LC_ALL": "C"}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@needs_make
def test_make_without_a_target_lists_all_targets():
    done = make()
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^make ([\w-]+) +\S", done.stdout, re.MULTILINE)) >= TARGETS


# Stands in for Python: says which version it is, makes environments that hold itself, and lets pip do what
# the file "pip-does" says. What it was asked to do is written to "log".
STUB = """#!/bin/sh
here={here}
case "$1 $2" in
    "-c "*) exec {python} -c "import sys; sys.version_info = {version}; $2" ;;
    "--version "*) echo "Python {text}" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> $here/log ;;
    "-m pip") if [ "$3" = install ]; then echo pip >> $here/log; eval "$(cat $here/pip-does)"; fi ;;
esac
"""


@pytest.fixture
def stub(tmp_path):
    """Return a function that installs a stand-in for Python in ``tmp_path`` and returns its path."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path)

    def write(version: tuple[int, int, int] = (3, 11, 9), pip_does: str = "true") -> Path:
        path = tmp_path / "python-stub"
        text = ".".join(map(str, version))
        path.write_text(STUB.format(here=tmp_path, python=sys.executable, version=version, text=text))
        path.chmod(0o755)
        (tmp_path / "pip-does").write_text(pip_does)
        return path

    return write


def log(folder: Path) -> list[str]:
    """Return what the stand-in was asked to do since the last call."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@needs_make
@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((3, 10, 13), ("needs Python 3.11 or newer", "Python 3.10.13", "make PYTHON=python3.12")),
        (None, ("there is no 'python3-that-is-nowhere'", "make PYTHON=python3.12")),
    ],
)
def test_a_python_that_will_not_do_is_refused_before_anything_is_made(stub, tmp_path, version, words):
    python = stub() if version is None else stub(version)
    done = make("demo", f"PYTHON={python if version else 'python3-that-is-nowhere'}", cwd=tmp_path)
    assert done.returncode != 0
    assert all(word in done.stderr for word in words)
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_a_half_made_environment_is_made_afresh_and_a_whole_one_is_left_alone(stub, tmp_path):
    words = (".venv/.installed-lab", f"PYTHON={stub(pip_does='kill -KILL $$')}")
    assert make(*words, cwd=tmp_path).returncode != 0
    assert log(tmp_path) == ["venv", "pip"]
    stub()
    done = make(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert log(tmp_path) == ["venv", "pip"]  # one command: a second might replace torch with another build
    assert make(*words, cwd=tmp_path).returncode == 0
    assert log(tmp_path) == []


@needs_make
def test_an_environment_that_make_did_not_make_is_kept(stub, tmp_path):
    python = stub(pip_does="kill -KILL $$")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy2(python, tmp_path / ".venv" / "bin" / "python")
    (tmp_path / ".venv" / "mine").touch()
    words = (".venv/.installed-lab", f"PYTHON={python}")
    assert make(*words, cwd=tmp_path).returncode != 0
    (tmp_path / "pip-does").write_text("true")
    assert make(*words, cwd=tmp_path).returncode == 0
    assert (tmp_path / ".venv" / "mine").exists()
