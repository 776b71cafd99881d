"""Importing the package loads the numerics only: no plotting, no Jupyter."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "matplotlib",
    "plotly",
    "ipywidgets",
    "anywidget",
    "IPython",
    "ipykernel",
    "jupyterlab",
    "jupyter_client",
    "jupyter_server",
    "notebook",
}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level names of the modules that a fresh interpreter has loaded after ``statement``."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["bss2lab", "bss2lab.cli"])
def test_import_loads_no_plotting_or_jupyter_module(module):
    assert loaded_by(f"import {module}") & HEAVY == set()


@pytest.mark.parametrize("module", ["bss2lab", "bss2lab.cli", "bss2lab.runner", "bss2lab.runner.worker"])
def test_a_worker_process_starts_without_torch_and_numba(module):
    assert loaded_by(f"import {module}") & {"torch", "numba", "scipy"} == set()


def test_the_lab_can_be_asked_for_its_check_without_what_the_check_looks_at():
    loaded = loaded_by("from bss2lab import lab; lab.check")
    assert loaded & {*HEAVY, "torch", "numba", "scipy", "numpy", "soundfile", "pooch", "packaging", "psutil"} == set()


def test_every_public_name_is_there_when_asked_for():
    import bss2lab

    assert set(bss2lab.__all__) <= set(dir(bss2lab))
    for name in bss2lab.__all__:
        assert getattr(bss2lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Chpi'"):
        bss2lab.Chpi  # noqa: B018


def test_every_public_name_of_the_lab_is_there_when_asked_for():
    from bss2lab import lab

    assert set(lab.__all__) <= set(dir(lab))
    for name in lab.__all__:
        assert getattr(lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Cokpit'"):
        lab.Cokpit  # noqa: B018


def test_the_check_sees_a_heavy_module():
    assert loaded_by("import matplotlib") & HEAVY == {"matplotlib"}
