"""How fast the lab answers, in a real JupyterLab and a real browser: ``python tests/browser/latency.py``.

Prints what the lab is held to. Needs chromium and the extras ``[lab,dev]``; keep the machine quiet. Every
ratio is measured interleaved in one kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.jupyter import FLAGS, Lab, chromium, notebook, server

NOTEBOOKS = Path(__file__).parents[2] / "nbs"

GOALS = {
    "slider to changed picture while training, median": ("≤ 100", "ms"),
    "slider to changed picture while training, worst": ("≤ 400", "ms"),
    "training slowed by an open cockpit": ("≤ 10", "%"),
    "decalibration slider to the first new full-test-set error, median": ("≤ 0.5", "s"),
    "decalibration slider to all three of them, median": ("≤ 1.5", "s"),
    "first widget visible after “run all” in 00_tour": ("≤ 10", "s"),
    "largest saved notebook": ("< 1", "MB"),
    "no kernel compiled yet: first widget of 00_tour": ("≤ 25", "s"),
    "no kernel compiled yet: first picture of the chip": ("≤ 25", "s"),
}

COCKPIT = """
from bss2lab import TrainConfig, lab
cockpit = lab.cockpit(TrainConfig(epochs=10_000, lr_decay=1.0, limit=20_000))
cockpit
"""

WATCH = """
// Calls look() now and whenever the canvas says something new (a loop over animation frames would keep the browser,
// which draws in software here, busy with nothing). Ends when look() returns something, or with `late` after a time.
const watch = (canvas, look, late) => new Promise((done) => {
    const end = (found) => { observer.disconnect(); clearTimeout(timer); done(found); };
    const observer = new MutationObserver(() => { const found = look(); if (found) end(found); });
    const timer = setTimeout(() => end(late), 20000);
    observer.observe(canvas, { attributes: true, attributeFilter: ['aria-label'] });
});
const canvas = document.querySelector('.bss2lab-scope canvas');
const keydown = (key) => new KeyboardEvent('keydown', { key, code: key, bubbles: true });
const press = (key) => document.activeElement.dispatchEvent(keydown(key));
"""

MOVE = (
    "async ([key]) => {"
    + WATCH
    + """
    const said = () => canvas.getAttribute('aria-label').split('Last change: ')[1] ?? '';
    const before = said(), begin = performance.now();
    press(key);
    return await watch(canvas, () => said() !== before && performance.now() - begin, NaN);
}"""
)

BENCH = """
from bss2lab import lab
bench = lab.decalibration()
bench.model.train_software()
await lab.finished(bench)
bench
"""

DETUNE = (
    "async ([key]) => {"
    + WATCH
    + """
    const told = () => canvas.getAttribute('aria-label').split(': test errors: ');
    const [before] = told(), begin = performance.now();
    let first = NaN;
    press(key);
    return await watch(canvas, () => {
        const [place, errors] = told(), passed = performance.now() - begin;
        const whole = place === before ? [] : errors.split(';')[0].split(', ').filter((e) => e.endsWith('%'));
        if (isNaN(first) && whole.some((e) => !e.includes('recalibrated'))) first = passed;
        return whole.length === 3 && [first, passed];
    }, [NaN, NaN]);
}"""
)

COMPARE = """
import asyncio, statistics, time
from bss2lab.results import Epoch

model = cockpit.model

def alone():  # seconds of the run's next whole epoch, with nothing but the loop that trains it
    ends = []
    for event in model.run.steps():
        if isinstance(event, Epoch):
            ends.append(time.perf_counter())
        if len(ends) == 2:
            return ends[1] - ends[0]

async def shown():  # of the one after that, in the open cockpit
    begin, ends, whole = len(model.run.epochs), {}, asyncio.Event()
    loop = asyncio.get_running_loop()
    def mark(urgent):
        ends.setdefault(len(model.run.epochs) - begin, time.perf_counter())
        if 2 in ends:
            loop.call_soon_threadsafe(whole.set)
    forget = model.watch(mark)
    model.start()
    await asyncio.wait_for(whole.wait(), 300)
    await stopped()
    forget()
    return ends[2] - ends[1]

async def stopped():
    model.stop()
    while model.engine.alive:
        await asyncio.sleep(0.05)

async def compare(rounds):
    await stopped()
    before = await asyncio.to_thread(alone)
    for _ in range(rounds):
        opened, after = await shown(), await asyncio.to_thread(alone)
        ratios.append(100 * (1 - (before + after) / 2 / opened))
        before = after

ratios = []
comparing = asyncio.ensure_future(compare(ROUNDS))
"""


def moves(lab: Lab, n: int) -> list[float]:
    """Move a slider n times while the cockpit trains; return the milliseconds until the picture shows it."""
    lab.slider("burst penalty ρ_b").focus()
    taken = []
    for k in range(n):
        taken.append(float(lab.page.evaluate(MOVE, ["ArrowRight" if k % 10 < 5 else "ArrowLeft"])))
        lab.page.wait_for_timeout(130 + 37 * (k % 7))  # out of step with the renderer
    return taken


def slowing(lab: Lab, rounds: int) -> float:
    """Compare the time of an epoch, its test included, with an open cockpit and without; return the loss in percent.

    (Of one run, in turn, for a network's spikes take time, and each network has others. Whole epochs, because a window
    of some seconds would hold one test or two; short ones, each between two without the cockpit, because a computer
    that others use too has good and bad seconds. All in the kernel: a question from here costs the browser time that
    the cockpit would be blamed for.)
    """
    lab.python(COMPARE.replace("ROUNDS", str(rounds)))
    while lab.python("print(comparing.done())").strip() != "True":
        lab.page.wait_for_timeout(20_000)
    if wrong := lab.python("print(repr(comparing.exception() or ''))").strip().strip("'"):
        raise RuntimeError(f"the comparison ended early: {wrong}")
    return float(lab.python("print(statistics.median(ratios))"))


def detunings(lab: Lab, n: int) -> tuple[float, float]:
    """Move the bench's σ_d n times; return the median seconds to the first complete new error, and to all three."""
    lab.slider("decalibration σ_d").focus()
    first, last = zip(*(lab.page.evaluate(DETUNE, ["ArrowRight"]) for _ in range(n)), strict=True)
    return statistics.median(first) / 1000, statistics.median(last) / 1000


def tour(lab: Lab) -> float:
    """Return the seconds from “run all” in 00_tour to the first widget on the page."""
    begin = time.monotonic()
    lab.command("notebook:run-all-cells")
    lab.scope()
    return time.monotonic() - begin


def measure(n_moves: int, rounds: int) -> dict[str, float]:
    """Open the notebooks and measure everything."""
    found: dict[str, float] = {}
    scratch = Path(tempfile.mkdtemp(prefix="bss2lab-latency-"))
    folder = scratch / "nbs"
    folder.mkdir()
    nbformat.write(notebook(COCKPIT), folder / "cockpit.ipynb")
    nbformat.write(notebook(BENCH), folder / "bench.ipynb")
    shutil.copy(NOTEBOOKS / "00_tour.ipynb", folder)
    shutil.copytree(NOTEBOOKS.parent / "data" / "results", scratch / "data" / "results")
    try:
        with server(folder, scratch) as (address, token), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            lab = Lab(browser.new_page(viewport={"width": 1600, "height": 1000}), address, token)
            lab.open("cockpit.ipynb")
            lab.run_all()
            lab.scope()
            lab.button("start").click()
            lab.says("training on")
            lab.after(lab.frame() + 10)
            taken = moves(lab, n_moves)
            found["slider to changed picture while training, median"] = statistics.median(taken)
            found["slider to changed picture while training, worst"] = max(taken)
            found["training slowed by an open cockpit"] = slowing(lab, rounds)
            lab.end()
            lab.open("bench.ipynb")
            lab.run_all()
            lab.scope()
            first, every = detunings(lab, n_moves // 2)
            found["decalibration slider to the first new full-test-set error, median"] = first
            found["decalibration slider to all three of them, median"] = every
            lab.end()
            lab.open("00_tour.ipynb")
            lab.command("notebook:clear-all-cell-outputs")
            found["first widget visible after “run all” in 00_tour"] = tour(lab)
            lab.end()
            browser.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found["largest saved notebook"] = max(path.stat().st_size for path in NOTEBOOKS.glob("*.ipynb")) / 1e6
    return found


def cold(screenshot: Path | None) -> dict[str, float]:
    """Open 00_tour where no kernel was ever compiled; return the seconds from “run all” to its first pictures.

    Args:
        screenshot: file for a picture of the page while it waits.
    """
    scratch = Path(tempfile.mkdtemp(prefix="bss2lab-cold-"))
    folder = scratch / "nbs"
    folder.mkdir()
    shutil.copy(NOTEBOOKS / "00_tour.ipynb", folder)
    os.environ |= {"BSS2LAB_CACHE": str(scratch / "cache"), "BSS2LAB_SHARED_CACHE": "-"}
    os.environ.pop("BSS2LAB_WARM", None)
    try:
        with server(folder, scratch) as (address, token), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            lab = Lab(browser.new_page(viewport={"width": 1280, "height": 900}), address, token)
            lab.open("00_tour.ipynb")
            lab.command("notebook:clear-all-cell-outputs")
            begin = time.monotonic()
            widget = tour(lab)
            if screenshot is not None:
                lab.page.wait_for_timeout(2_000)
                lab.page.screenshot(path=str(screenshot))
            lab.page.wait_for_function(
                "() => document.body.innerHTML.includes('The emulated chip sees')",
                timeout=300_000,
            )
            picture = time.monotonic() - begin
            if screenshot is not None:
                lab.page.screenshot(path=str(screenshot.with_stem(f"{screenshot.stem}-then")))
            lab.end()
            browser.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "no kernel compiled yet: first widget of 00_tour": widget,
        "no kernel compiled yet: first picture of the chip": picture,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=50, help="moves of the slider (default 50)")
    parser.add_argument("--rounds", type=int, default=45, help="rounds of the comparison (default 45)")
    parser.add_argument("--cold", action="store_true", help="the tour alone, where no kernel was ever compiled")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="with --cold: a picture of the waiting page")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    if chromium() is None:
        print("needs chromium: apt-get install chromium", file=sys.stderr)
        return 2
    found: dict[str, Any] = cold(arguments.screenshot) if arguments.cold else measure(arguments.moves, arguments.rounds)
    for name, value in found.items():
        goal, unit = GOALS[name]
        print(f"{name}: {value:.3g} {unit}   (goal {goal})")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
