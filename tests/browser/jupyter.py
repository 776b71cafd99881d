"""A real JupyterLab on notebooks of one's own, driven by a real browser."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_S, READY_MS = 90.0, 90_000


def chromium() -> str | None:
    """Return the path of Debian's chromium (or a Chrome), or None."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


def notebook(*cells: str) -> nbformat.NotebookNode:
    """Return a notebook of these code cells."""
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


@contextmanager
def server(folder: Path, scratch: Path) -> Iterator[tuple[str, str]]:
    """Run a JupyterLab on a folder; yields its address and token. Nothing of the user's own is read or written."""
    token = secrets.token_hex(16)
    own = {
        name: str(scratch / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR",
                     "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }  # fmt: skip
    for path in own.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "jupyterlab", str(folder), "--no-browser", "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0", "--ServerApp.allow_root=True", f"--IdentityProvider.token={token}",
        "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True", "--LabServerApp.extra_labextensions_path=[]",
    ]  # fmt: skip
    settings = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    tracker = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/notebook-extension"
    tracker.mkdir(parents=True, exist_ok=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # cells out of sight are there
    log = (scratch / "jupyter.log").open("wb")
    process = subprocess.Popen(
        command, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{_port(Path(own['JUPYTER_RUNTIME_DIR']), process, scratch)}/lab", token
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _port(runtime: Path, process: subprocess.Popen[bytes], scratch: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"JupyterLab ended: {(scratch / 'jupyter.log').read_text()[-2000:]}")
        for file in runtime.glob("jpserver-*.json"):
            try:
                return int(json.loads(file.read_text())["port"])
            except (ValueError, KeyError):
                continue  # half written
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start: {(scratch / 'jupyter.log').read_text()[-2000:]}")


class Lab:
    """One notebook open in a browser.

    Args:
        page: Playwright's page.
        address, token: of the server.
    """

    def __init__(self, page: Any, address: str, token: str) -> None:
        self.page, self._address, self._token = page, address, token
        page.set_default_timeout(READY_MS)

    def open(self, name: str) -> None:
        """Open a notebook and wait until its kernel is ready."""
        self.page.goto(f"{self._address}/tree/{name}?token={self._token}&reset=")
        self.ready()

    def reload(self) -> None:
        """Save the notebook and load the page again; the kernel lives on."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        self.page.reload()
        self.ready()

    def ready(self) -> None:
        """Wait until notebook and kernel are there (running cells before that runs nothing)."""
        self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp?.shell?.currentWidget, session = panel?.sessionContext;
                return !!session?.isReady && session.session?.kernel?.status === 'idle';
            }"""
        )

    def command(self, name: str) -> None:
        """Execute one of JupyterLab's commands, without waiting for what it starts."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def run_all(self) -> None:
        """Run all cells and wait until the last of them has ended."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(
            """() => {
                const cells = window.jupyterapp.shell.currentWidget.content.widgets;
                const done = (m) => m.executionState !== 'running' && m.executionCount !== null;
                return cells.filter((c) => c.model.type === 'code').every((c) => done(c.model));
            }"""
        )

    def scope(self, number: int = 0) -> Any:
        """Return the locator of a canvas that has drawn a frame."""
        found = self.page.locator(".bss2lab-scope[data-frame]").nth(number)
        found.wait_for()
        return found

    def frame(self, number: int = 0) -> int:
        """Return the number of the frame on the screen."""
        return int(self.scope(number).get_attribute("data-frame"))

    def after(self, frame: int, number: int = 0) -> int:
        """Wait for a later frame than this; return its number."""
        self.page.wait_for_function(
            "([n, f]) => Number(document.querySelectorAll('.bss2lab-scope')[n]?.dataset.frame ?? 0) > f",
            arg=[number, frame],
        )
        return self.frame(number)

    def says(self, *words: str) -> None:
        """Wait until the widget's line of text holds one of these words."""
        self.page.wait_for_function(
            """words => [...document.querySelectorAll('.jp-OutputArea [role=status], .jp-OutputArea [role=alert]')]
                .some((e) => words.some((w) => e.textContent.includes(w)))""",
            arg=list(words),
        )

    def button(self, name: str) -> Any:
        """Return the locator of a button in an output."""
        return self.page.locator(".jp-OutputArea").get_by_role("button", name=name, exact=True).first

    def box(self, label: str) -> Any:
        """Return the locator of the number box or list with this label."""
        row = self.page.locator(
            ".jp-OutputArea .widget-inline-hbox", has=self.page.get_by_text(label, exact=True)
        ).first
        return row.locator("input, select").first

    def slider(self, label: str) -> Any:
        """Return the locator of the handle of the slider beside the number box with this label."""
        row = self.page.locator(".jp-OutputArea .widget-hbox", has=self.page.get_by_text(label, exact=True)).last
        return row.locator(".noUi-handle").first

    def waits(self, condition: str) -> None:
        """Wait until a Python expression is true in the kernel."""
        deadline = time.monotonic() + READY_MS / 1000
        while self.python(f"print(bool({condition}))").strip() != "True":
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {condition}")
            self.page.wait_for_timeout(50)

    def restart(self) -> None:
        """Kill the kernel and start another."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.ready()

    def end(self) -> None:
        """Shut the notebook's kernel down."""
        self.page.evaluate(
            "async () => { try { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); } catch { } }"
        )

    def python(self, code: str) -> str:
        """Execute code in the notebook's kernel and return what it printed."""
        return self.page.evaluate(
            """async (code) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({ code, store_history: false, silent: false });
                let text = '';
                future.onIOPub = (m) => { if (m.header.msg_type === 'stream') text += m.content.text;
                                          if (m.header.msg_type === 'error') text += m.content.evalue; };
                await future.done;
                return text;
            }""",
            code,
        )
