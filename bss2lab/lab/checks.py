"""Is everything here that the lab needs? Says in plain words what is missing, and how to mend it."""

from __future__ import annotations

import html
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from bss2lab.kernels.cache import cache_folder
from bss2lab.storage import user_cache

Verdict = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what was looked at.
        verdict: good, worth a note, or bad.
        text: what was found.
        fix: how to mend it; empty if there is nothing to mend.
    """

    what: str
    verdict: Verdict
    text: str
    fix: str = ""


def findings() -> tuple[Finding, ...]:
    """Look at packages, widget front end, kernel, cores, caches and data, without loading any of them."""
    looks: tuple[Callable[[], Finding], ...] = (
        _python, _packages, _front_end, _kernel, _cores, _cache, _voice,
    )  # fmt: skip
    return tuple(look() for look in looks)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", "good", version)


def _packages() -> Finding:
    """Compare what is installed with what the package and its extra ``[lab]`` ask for."""
    wanted = [Requirement(line) for line in importlib.metadata.requires("bss2lab") or ()]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": "lab"})]
    wrong, found = [], []
    for one in wanted:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        found.append(f"{one.name} {version}")
        if not one.specifier.contains(version.split("+")[0], prereleases=True):
            wrong.append(f"{one.name} {version} is not {one.specifier}")
    if wrong:
        return Finding("packages", "bad", "; ".join(wrong), "pip install -U 'bss2lab[lab]', then restart the kernel")
    return Finding("packages", "good", ", ".join(found))


def _front_end() -> Finding:
    """Look for the widgets' part of JupyterLab, where the server of this kernel would look for it."""
    names = ("@jupyter-widgets/jupyterlab-manager", "anywidget")
    places = [Path(sys.prefix) / "share/jupyter/labextensions"]
    places += [
        Path(folder) / "labextensions" for folder in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if folder
    ]
    missing = [name for name in names if not any((place / name / "package.json").exists() for place in places)]
    if missing:
        fix = (
            "pip install -U ipywidgets anywidget in the environment that JupyterLab itself runs in, then reload the "
            "page; if widgets are drawn all the same, JupyterLab runs in another environment that has them"
        )
        return Finding("widget front end", "note", f"not found beside this kernel: {', '.join(missing)}", fix)
    return Finding("widget front end", "good", "found beside this kernel")


def _kernel() -> Finding:
    if "ipykernel" not in sys.modules:
        fix = "open the notebook with `make lab` or `bss2lab lab`"
        return Finding("kernel", "note", "no Jupyter kernel: widgets show as pictures only", fix)
    return Finding("kernel", "good", f"ipykernel {importlib.metadata.version('ipykernel')}")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if name in os.environ}
    if cores == 1:
        return Finding("cores", "note", "one core: training and picture share it", "expect half the speed of two cores")
    if asked:
        text = f"{cores} cores, held to fewer by {', '.join(f'{k}={v}' for k, v in asked.items())}"
        return Finding("cores", "note", text, "unset these variables and restart the kernel to use all cores")
    return Finding("cores", "good", f"{cores} cores")


def _cache() -> Finding:
    folder = user_cache()
    near = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(near, os.W_OK):
        fix = "set BSS2LAB_CACHE to a folder of your own; until then kernels are compiled anew in every session"
        return Finding("cache", "note", f"{folder} cannot be written to", fix)
    compiled = any(cache_folder().glob("*.kernel"))
    if not compiled:
        return Finding(
            "cache", "note", "kernels are not compiled yet", "nothing to do: the first run takes a minute longer"
        )
    return Finding("cache", "good", "kernels are compiled")


def _voice() -> Finding:
    if shutil.which("espeak-ng") is None and shutil.which("espeak") is None:
        fix = "only for speaking words anew: apt-get install espeak-ng (macOS: brew install espeak-ng)"
        return Finding("espeak-ng", "note", "not found", fix)
    return Finding("espeak-ng", "good", "found")


def as_html(found: tuple[Finding, ...]) -> str:
    """Return the findings as an HTML table."""
    signs = {"good": ("✓", "#00734f", "fine"), "note": ("!", "#8a5a00", "note"), "bad": ("✗", "#b00020", "missing")}
    rows = []
    for one in found:
        sign, colour, word = signs[one.verdict]
        fix = f'<br><span style="color:#444">→ {html.escape(one.fix)}</span>' if one.fix else ""
        rows.append(
            f'<tr><td style="color:{colour};font-weight:600;vertical-align:top" title="{word}">{sign}</td>'
            f'<td style="text-align:left;vertical-align:top">{html.escape(one.what)}</td>'
            f'<td style="text-align:left">{html.escape(one.text)}{fix}</td></tr>'
        )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


class Report:
    """Findings that show themselves as a table in a notebook, and as lines elsewhere."""

    def __init__(self, found: tuple[Finding, ...]) -> None:
        self.findings = found

    @property
    def good(self) -> bool:
        """Is nothing missing?"""
        return all(one.verdict != "bad" for one in self.findings)

    def __repr__(self) -> str:
        signs = {"good": "ok  ", "note": "note", "bad": "BAD "}
        lines = [
            f"{signs[one.verdict]} {one.what}: {one.text}" + (f" → {one.fix}" if one.fix else "")
            for one in self.findings
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return as_html(self.findings)
