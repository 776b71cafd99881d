"""Is everything here that the lab needs? Says in plain words what is missing, and how to mend it.

Loads nothing that may itself be broken: what cannot be imported is a finding, not an error.
"""

from __future__ import annotations

import html
import importlib
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bss2lab.lab import server
from bss2lab.lab.server import Process
from bss2lab.machine import core_quota, usable_cores, usable_memory_mb

Verdict = Literal["good", "note", "bad"]

FRONT_ENDS = ("@jupyter-widgets/jupyterlab-manager", "anywidget")
"""What a page needs to show the widgets."""

MANAGER_SINCE = 5
"""First version of the manager that knows the widgets of ipywidgets 8."""

_IN_SERVER = ("jupyterlab", "voila")
"""What the kernel does not import."""

_MODULES = {"pillow": "PIL"}
"""Modules that are not named as their package is."""

_OPTIONAL = {"soundfile": "sound files cannot be read, all else works; install the library libsndfile"}
"""What the lab does without, and what that means."""


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


def findings(ancestors: Callable[[], Iterable[Process]] = server.ancestors) -> tuple[Finding, ...]:
    """Look at packages, widget front end, kernel, cores, caches, data and voice. Never fails.

    Args:
        ancestors: returns the processes above this one, the nearest first.
    """
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "Python": _python, "packages": _packages, "imports": _imports,
        "widget front end": lambda: _front_end(ancestors), "kernel": _kernel, "cores": _cores, "cache": _cache,
        "data": _data, "espeak-ng": _voice,
    }  # fmt: skip
    found: list[Finding] = []
    for what, look in looks.items():
        try:
            found += look()
        except Exception as error:
            found.append(Finding(what, "note", f"cannot be looked at: {_reason(error)}"))
    return tuple(found)


def _python() -> Iterable[Finding]:
    yield Finding("Python", "good", ".".join(map(str, sys.version_info[:3])))


def _packages() -> Iterable[Finding]:
    """Compare what is installed with what the package and its extra ``[lab]`` ask for."""
    wrong, found = [], []
    for name, allows in _wanted():
        version = _version(name)
        if version is None:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if unfit := allows(version):
            wrong.append(f"{name} {version} is not {unfit}")
    if wrong:
        fix = "pip install -U 'bss2lab[lab]', then restart the kernel"
        yield Finding("packages", "bad", "; ".join(wrong), fix)
    else:
        yield Finding("packages", "good", ", ".join(found))


def _wanted() -> list[tuple[str, Callable[[str], str]]]:
    """Return the packages that core and lab need; each with what says which range a version is outside of."""
    lines = importlib.metadata.requires("bss2lab") or []
    try:
        from packaging.requirements import Requirement
    except ImportError:  # it is itself one of them: then only names are looked at
        names = [line for line in lines if "extra" not in line or re.search(r"extra == ['\"]lab['\"]", line)]
        return [(re.split(r"[^\w.-]", name, maxsplit=1)[0], lambda version: "") for name in names]

    def allows(one: Requirement) -> Callable[[str], str]:
        return lambda version: (
            "" if one.specifier.contains(version.split("+")[0], prereleases=True) else str(one.specifier)
        )

    wanted = map(Requirement, lines)
    return [(one.name, allows(one)) for one in wanted if one.marker is None or one.marker.evaluate({"extra": "lab"})]


def _imports() -> Iterable[Finding]:
    """Import what the lab imports (it does so anyway); name what is there but broken."""
    names = [name for name, _ in _wanted() if name not in _IN_SERVER and _version(name) is not None]
    broken = False
    for name in names:
        try:
            importlib.import_module(_MODULES.get(name, name.replace("-", "_")))
        except (Exception, SystemExit) as error:
            broken = True
            text = f"{name} {_version(name)} is here but cannot be imported: {_reason(error)}"
            if name in _OPTIONAL:
                yield Finding(f"import of {name}", "note", text, _OPTIONAL[name])
            else:
                fix = f"pip install --force-reinstall {name} 'bss2lab[lab]', then restart the kernel"
                yield Finding(f"import of {name}", "bad", text, fix)
    if not broken:
        yield Finding("imports", "good", f"all {len(names)} packages can be imported")


def _front_end(ancestors: Callable[[], Iterable[Process]]) -> Iterable[Finding]:
    """Look for the widgets' part of JupyterLab where the server that started this kernel looks for it."""
    where, sure = server.here(), True
    if "ipykernel" in sys.modules:
        process = server.server_above(ancestors())
        prefix = None if process is None else server.prefix_of(process)
        where, sure = prefix or where, prefix is not None
    versions = {name: server.extension(name, where) for name in FRONT_ENDS}
    wrong = [fault for name, version in versions.items() if (fault := _unfit(name, version))]
    found = [f"{name} {version}" for name, version in versions.items() if version is not None]
    place = "beside this kernel" if server.same(where, server.here()) else f"JupyterLab runs elsewhere, in {where}"
    text = "; ".join([f"{place}: {', '.join(found) or 'none'}", *wrong])
    fix = "pip install -U ipywidgets anywidget in the environment that JupyterLab itself runs in, then reload the page"
    if not sure:
        text = f"cannot see which environment JupyterLab itself runs in; {text}"
        yield Finding("widget front end", "note", text, f"{fix}; nothing to do if the widgets are drawn")
    elif wrong:
        yield Finding("widget front end", "bad", text, fix)
    else:
        yield Finding("widget front end", "good", text)


def _unfit(name: str, version: str | None) -> str:
    """Say why a front end does not fit the packages beside the kernel; empty if it does."""
    if version is None:
        return f"{name} is missing"
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    if name == "anywidget":
        ours = _version(name)
        wanted = [int(number) for number in re.findall(r"\d+", ours or "")[:2]]
        return "" if ours is None or numbers == wanted else f"anywidget {version} on the page, {ours} in the kernel"
    return "" if numbers >= [MANAGER_SINCE] else f"{name} {version} is older than {MANAGER_SINCE}"


def _kernel() -> Iterable[Finding]:
    if "ipykernel" not in sys.modules:
        fix = "open the notebook with `make lab` or `bss2lab lab`"
        yield Finding("kernel", "note", "no Jupyter kernel: widgets show as pictures only", fix)
    else:
        yield Finding("kernel", "good", f"ipykernel {_version('ipykernel')}")


def _cores() -> Iterable[Finding]:
    cores, quota, memory_mb = usable_cores(), core_quota(), usable_memory_mb()
    text = "one core: training and picture share it" if cores == 1 else f"{cores} cores"
    if quota is not None and int(quota) <= cores:
        text += f", as a container's quota of {quota:g} allows"
    text += "" if memory_mb is None else f"; memory {memory_mb / 1024:.1f} GB"
    asked = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if name in os.environ}
    if cores == 1:
        yield Finding("cores", "note", text, "expect half the speed of two cores, or less")
    elif asked:
        text += f"; limited by {', '.join(f'{k}={v}' for k, v in asked.items())}"
        yield Finding("cores", "note", text, "unset these variables and restart the kernel to use all cores")
    else:
        yield Finding("cores", "good", text)


def _cache() -> Iterable[Finding]:
    from bss2lab import warm
    from bss2lab.storage import user_cache

    folder = user_cache()
    near = next(place for place in (folder, *folder.parents) if place.exists())
    if all(map(warm.is_compiled, warm.FIRST)):
        yield Finding("kernels", "good", "compiled")
    elif os.access(near, os.W_OK):
        fix = "nothing to do: they are compiled once, in the background, in about half a minute; what needs them waits"
        yield Finding("kernels", "note", "not compiled yet", fix)
    else:
        fix = "set BSS2LAB_CACHE to a folder of your own; until then kernels are compiled anew in every session"
        yield Finding("kernels", "note", f"not compiled, and {folder} cannot be written to", fix)


def _data() -> Iterable[Finding]:
    """Look for what comes with the package: data sets, networks, saved results, notebooks."""
    from bss2lab import bundle
    from bss2lab.datasets import files
    from bss2lab.lab.models.shipped import ANATOMY, IMAGES, SPEECH

    missing = [f"data/{name}" for name in ("mnist", "speech") if None in files.locate(name).values()]
    for name in (*(f"data/results/{one}" for one in (IMAGES, SPEECH, ANATOMY)), "nbs"):
        missing += [name] if not bundle.path(name).exists() else []
    if missing:
        yield Finding("data", "bad", f"missing: {', '.join(missing)}", bundle.restore(missing[0]))
    else:
        yield Finding("data", "good", "data sets, networks, saved results and notebooks are here")


def _voice() -> Iterable[Finding]:
    if shutil.which("espeak-ng") is None and shutil.which("espeak") is None:
        fix = "only for speaking words anew: apt-get install espeak-ng (macOS: brew install espeak-ng)"
        yield Finding("espeak-ng", "note", "not found", fix)
    else:
        yield Finding("espeak-ng", "good", "found")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:240]


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
