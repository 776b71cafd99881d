"""``BSS2LAB_TEST_BARE=1`` really hides what is there, from the tests and from the processes that they start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import optional
import pytest

from bss2lab.datasets import catalogue

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
PACKAGES = ("dask", "distributed", "playwright", "lauscher", "tonic", *optional.PEERS)
LOOK = """
import json, os, shutil, subprocess, sys
sys.path.insert(0, os.environ["TESTS"])
import conftest, optional
child = "import importlib.util as i, sys; print([n for n in sys.argv[1:] if i.find_spec(n)])"
print(json.dumps({
    "here": [name for name, need in optional.NEEDS.items() if need.here()],
    "child": subprocess.check_output([sys.executable, "-c", child, *sys.argv[1:]], text=True).strip(),
    "program": shutil.which("other-program"),
    "variables": {k: v for k, v in os.environ.items() if k.startswith(("BSS2LAB_", "CUDA_", "HTTPS_", "NUMBA_"))},
}))
"""


@pytest.fixture
def computer(tmp_path):
    """One with everything on it: programs, packages and files of the right names."""
    for name in ("espeak-ng", *optional.CHROMIUM, "other-program"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for name in PACKAGES:
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "__init__.py").write_text("")
    for file in catalogue.FASHION.files:
        path = tmp_path / "data" / "fashion" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    paths = [str(tmp_path / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])]
    paths = [path for path in os.pathsep.join(paths).split(os.pathsep) if Path(path).name != "bare"]
    return {
        **{key: value for key, value in os.environ.items() if key != "BSS2LAB_TEST_BARE"},
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "BSS2LAB_DATA": str(tmp_path / "data"),
        "BSS2LAB_CACHE": str(tmp_path / "cache"),
        "BSS2LAB_REFERENCE": str(tmp_path),
        "BSS2LAB_REFERENCE_SPEECH": str(tmp_path / "samples.npz"),
        "TESTS": str(TESTS),
    }


def looked(environment):
    command = [sys.executable, "-c", LOOK, *PACKAGES]
    done = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.needs("POSIX")
def test_what_is_here_is_hidden(computer):
    hidden = {
        *("Fashion-MNIST", "espeak-ng", "chromium", "playwright", "dask", "distributed", "lauscher", "tonic"),
        *("the bench's peers", "the real chip's arrays", "real samples of SHD"),
    }
    plain = looked(computer)
    assert hidden <= set(plain["here"])
    assert json.loads(plain["child"].replace("'", '"')) == list(PACKAGES)
    bare = looked({**computer, "BSS2LAB_TEST_BARE": "1"})
    assert not {*hidden, "Debian's Fashion-MNIST", "a GPU", "a small disk"} & set(bare["here"])
    assert bare["child"] == "[]"
    assert bare["program"] is not None
    left = bare["variables"]
    assert left["CUDA_VISIBLE_DEVICES"] == ""
    assert left["BSS2LAB_CACHE"] != plain["variables"]["BSS2LAB_CACHE"] == computer["BSS2LAB_CACHE"]
    assert left["NUMBA_THREADING_LAYER"] == "workqueue"
    assert not {"BSS2LAB_DATA", "BSS2LAB_REFERENCE", "BSS2LAB_REFERENCE_SPEECH"} & set(left)


def test_the_cache_of_whoever_runs_the_tests_is_neither_read_nor_written(computer):
    computer["BSS2LAB_SHARED_CACHE"] = computer.pop("BSS2LAB_CACHE")
    used = looked(computer)["variables"]
    assert Path(used["BSS2LAB_CACHE"]).is_relative_to(TESTS.parent / ".pytest_cache")
    assert "BSS2LAB_SHARED_CACHE" not in used


def test_the_line_about_skips_counts_by_reason():
    reasons = ["Skipped: needs chromium: apt-get install chromium"] * 3 + ["Skipped: needs two cores: a computer …"]
    assert optional.summary(reasons).startswith("4 skipped, for want of: chromium 3, two cores 1.")
