"""Makes a computer look bare to the tests: hides what they do not need, wherever it is installed."""

from __future__ import annotations

import atexit
import os
import runpy
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = {"espeak", "espeak-ng", "chromium", "chromium-browser", "google-chrome"}
VARIABLES = ("BSS2LAB_CACHE", "BSS2LAB_DATA", "BSS2LAB_REFERENCE", "BSS2LAB_REFERENCE_SPEECH")
NOWHERE = "http://127.0.0.1:9"


def hide() -> None:
    """Hide it from this process and from those that it starts."""
    runpy.run_path(str(HERE / "sitecustomize.py"))
    os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # all that there is on macOS and Windows
    from bss2lab.datasets import catalogue

    catalogue.CATALOGUE["fashion"] = replace(catalogue.FASHION, system=None)
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["PATH"] = os.pathsep.join(map(_without_programs, os.environ["PATH"].split(os.pathsep)))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = NOWHERE
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def _without_programs(folder: str) -> str:
    """Return a folder of the PATH, or one with links to all in it but the hidden programs."""
    if not any(os.path.lexists(os.path.join(folder, name)) for name in PROGRAMS):
        return folder
    links = tempfile.mkdtemp(prefix="bare-path-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    for program in os.scandir(folder):
        if program.name not in PROGRAMS:
            os.symlink(program.path, os.path.join(links, program.name))
    return links
