"""README's picture of the lab, anew: the training cockpit in JupyterLab, after some epochs.

``python tests/browser/picture.py`` (needs chromium and playwright) writes ``nbs/img/cockpit.png``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.jupyter import FLAGS, Lab, chromium, notebook, server

PICTURE = Path(__file__).parents[2] / "nbs" / "img" / "cockpit.png"
WIDTH, HEIGHT = 1360, 940
CELL = """from bss2lab import TrainConfig, lab

cockpit = lab.cockpit(TrainConfig(epochs=30))
cockpit"""


def take() -> bytes:
    """Train six epochs, change a penalty, train six more; return a screenshot of the page."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), Path(folder) / "scratch") as (address, token):
        nbformat.write(notebook(CELL), Path(folder) / "a chip in a browser tab.ipynb")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            lab = Lab(page, address, token)
            lab.open("a chip in a browser tab.ipynb")
            lab.command("application:toggle-left-area")
            lab.run_all()
            lab.scope()
            lab.button("start").click()
            _wait(lab, 6)
            lab.python("cockpit.model.set(rho_b=0.2)")
            _wait(lab, 12)
            lab.after(lab.frame())
            found = page.screenshot()
            lab.button("stop").click()
            lab.end()
            browser.close()
    return found


def _wait(lab: Lab, epochs: int) -> None:
    while int(lab.python("print(len(cockpit.model.run.epochs) if cockpit.model.run else 0)")) < epochs:
        lab.page.wait_for_timeout(1000)  # (asking costs the kernel time)


def main() -> None:
    """Keep the picture in 256 colours."""
    image = Image.open(io.BytesIO(take())).convert("RGB").quantize(256)
    image.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
