"""pyproject.toml, constraints.txt, environment.yml, Makefile, .ci/run and LICENSE agree with each other."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TARGETS = ["help", "demo", "test", "lint", "lab", "voila", "bench", "figures", "clean"]

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


def test_core_and_extras_are_complete():
    core = {want.name for want in requirements()}
    libraries = {"numpy", "scipy", "torch", "numba", "pydantic"}
    files = {"safetensors", "h5py", "soundfile", "pooch", "tqdm", "filelock"}
    assert core == libraries | files
    assert {Requirement(line).name for line in EXTRAS["lab"]} == {
        "jupyterlab",
        "ipywidgets",
        "anywidget",
        "plotly",
        "matplotlib",
        "pillow",
        "voila",
        "packaging",
    }
    assert {Requirement(line).name for line in EXTRAS["cluster"]} == {"dask", "distributed"}
    assert set(EXTRAS) == {"lab", "dev", "bench", "cluster"}


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
    assert re.findall(r"^make (\w+) +\S", done.stdout, re.MULTILINE) == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony.split() == TARGETS


# Stands in for Python: says which version it is, makes environments that hold itself, and lets pip do what
# the file "pip-does" says. Every install is written to "log".
STUB = """#!/bin/sh
here={here}
case "$1 $2" in
    "-c "*) exec {python} -c "import sys; sys.version_info = {version}; $2" ;;
    "--version "*) echo "Python {text}" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "venv" >> $here/log ;;
    "-m pip")
        case "$3" in
            install) echo "$*" >> $here/log; eval "$(cat $here/pip-does)" ;;
        esac ;;
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
    return ["pip" if " install " in line else line for line in lines]


@needs_make
@pytest.mark.parametrize("target", ["demo", "test", "lab", "bench"])
def test_an_old_python_is_refused_before_anything_is_made(stub, tmp_path, target):
    done = make(target, f"PYTHON={stub(version=(3, 10, 13))}", cwd=tmp_path)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.10.13" in done.stderr
    assert "make PYTHON=python3.12" in done.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_a_missing_python_is_named(tmp_path, stub):
    stub()
    done = make("demo", "PYTHON=python3-that-is-nowhere", cwd=tmp_path)
    assert done.returncode != 0
    assert "there is no 'python3-that-is-nowhere'" in done.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_an_install_is_one_pip_command_with_torch_and_is_not_repeated(stub, tmp_path):
    python = stub()
    target = ".venv/.installed-dev"
    assert make(target, f"PYTHON={python}", cwd=tmp_path).returncode == 0
    venv, pip = (tmp_path / "log").read_text().splitlines()
    assert venv == "venv"
    assert pip.split() == [
        *("-m", "pip", "install", "-c", "constraints.txt"),
        *("torch==2.13.0", "-e", ".[lab,dev]"),
    ]
    log(tmp_path)
    for again in (target, ".venv/.installed-lab"):  # dev holds lab
        assert make(again, f"PYTHON={python}", cwd=tmp_path).returncode == 0
    assert log(tmp_path) == []
    later = (tmp_path / target).stat().st_mtime + 5
    os.utime(tmp_path / "pyproject.toml", (later, later))
    make(target, f"PYTHON={python}", cwd=tmp_path)
    assert log(tmp_path) == ["pip"]


@needs_make
def test_a_failed_install_is_tried_again_and_a_killed_one_starts_afresh(stub, tmp_path):
    words = (".venv/.installed-lab", f"PYTHON={stub(pip_does='exit 1')}")
    assert make(*words, cwd=tmp_path).returncode != 0
    assert log(tmp_path) == ["venv", "pip"]
    stub(pip_does="kill -KILL $$")
    assert make(*words, cwd=tmp_path).returncode != 0
    assert log(tmp_path) == ["pip"]
    stub()
    done = make(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "half made" in done.stdout
    assert log(tmp_path) == ["venv", "pip"]


@needs_make
def test_a_killed_install_of_more_extras_takes_back_the_smaller_set(stub, tmp_path):
    python = stub()
    assert make(".venv/.installed-lab", f"PYTHON={python}", cwd=tmp_path).returncode == 0
    (tmp_path / "pip-does").write_text("kill -KILL $$")
    assert make(".venv/.installed-dev", f"PYTHON={python}", cwd=tmp_path).returncode != 0
    assert list((tmp_path / ".venv").glob(".installed-*")) == []


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


# --- the installed package ------------------------------------------------------------------------


IGNORED = {".nbi", ".nbc", ".pyc"}  # what numba and Python cache


CALIBRATIONS = {f"bss2lab/chip/calibrations/chip{seed}.safetensors" for seed in range(10)}


def build(kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist; return its path."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


def test_a_wheel_holds_the_whole_package(tmp_path):
    """Every file of the package is in it, the calibrations of ten chips among them; the command too."""
    wheel = build("wheel", tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("bss2lab/")}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "bss2lab = bss2lab.cli:main" in archive.read(entry_points).decode()
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bss2lab").rglob("*")
        if path.is_file() and path.suffix not in IGNORED and "__pycache__" not in path.parts
    }
    assert inside == source
    assert {name for name in inside if "/calibrations/" in name} == CALIBRATIONS


def test_a_source_distribution_holds_the_whole_package_with_its_calibrations_and_tests(tmp_path):
    sdist = build("sdist", tmp_path)
    with tarfile.open(sdist) as archive:
        sizes = {name.partition("/")[2]: archive.getmember(name).size for name in archive.getnames()}
    for name in CALIBRATIONS:
        assert sizes[name] == (ROOT / name).stat().st_size > 10_000
    assert {"pyproject.toml", "LICENSE", "README.md", "tests/conftest.py", "bss2lab/cli/chip.py"} <= set(sizes)
    assert not [name for name in sizes if Path(name).suffix in IGNORED]
