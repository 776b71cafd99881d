"""The lab in a real JupyterLab, in a real browser: sliders, buttons, reload, interrupt, restart.

Skipped without chromium or playwright. ``BSS2LAB_SCREENSHOTS=FOLDER`` keeps a screenshot of every test.
"""

from __future__ import annotations

import os
import shutil
import wave
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser.jupyter import FLAGS, Lab, chromium, notebook, server

from bss2lab.bench.cochlea import vowel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("playwright", "chromium"),
]

COCKPIT = """
from bss2lab import TrainConfig, lab
cockpit = lab.cockpit(TrainConfig(limit=3000, n_hidden=60, epochs=500, threads=1, batch_size=50))
cockpit
"""


NOTEBOOKS = Path(__file__).parents[1] / "nbs"


def cells_of(name: str, first: str, n: int) -> tuple[str, ...]:
    """Return the first n code cells of one of our notebooks; the last of them makes a widget."""
    code = [c.source for c in nbformat.read(NOTEBOOKS / name, as_version=4).cells if c.cell_type == "code"][:n]
    assert first in code[-1]
    return tuple(code)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    scratch, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    with server(folder, scratch) as (address, token):
        yield folder, address, token


@pytest.fixture(scope="module")
def browser(jupyter, tmp_path_factory):
    """Chromium; its microphone hears half a second of a vowel and half a second of nothing, in turns."""
    file = tmp_path_factory.mktemp("sound") / "vowel.wav"
    voice = np.concatenate([vowel(0.5).samples, np.zeros(24_000)])
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 48_000, 0, "NONE", ""))
        out.writeframes((20_000 * voice / np.abs(voice).max()).astype("<i2").tobytes())
    microphone = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                  f"--use-file-for-fake-audio-capture={file}")  # fmt: skip
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=[*FLAGS, *microphone])
        yield browser.new_context(viewport={"width": 1600, "height": 1000})  # one cache for all pages
        browser.close()


@pytest.fixture(scope="module")
def opened(jupyter, browser, request):
    """A notebook of these cells and its page; tests in a row with the same cells share kernel and page."""
    folder, address, token = jupyter
    name = f"{len(list(folder.glob('*.ipynb')))}.ipynb"
    nbformat.write(notebook(*request.param), folder / name)
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    lab = Lab(page, address, token)
    lab.open(name)
    yield lab, errors
    lab.end()
    page.close()


@pytest.fixture
def lab(opened, request, tmp_path):
    """Run the cells that the test names (``opened``) and wait for the first picture."""
    lab, errors = opened
    errors.clear()
    try:
        lab.ready()
        lab.run_all()
        lab.scope()
        yield lab
        assert not errors
    finally:
        picture = tmp_path / "page.png"
        lab.page.screenshot(path=picture)
        if folder_kept := os.environ.get("BSS2LAB_SCREENSHOTS"):
            Path(folder_kept).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, Path(folder_kept) / f"{request.node.name}.png")


def with_cells(name: str, *sources: str):
    return pytest.mark.parametrize("opened", [sources], indirect=True, ids=[name], scope="module")


cells = with_cells("cockpit", COCKPIT)


def start(lab):
    lab.button("start").click()
    lab.says("training on")
    return lab.after(lab.frame())


@cells
def test_sliders_act_while_it_trains_and_the_picture_follows(lab):
    start(lab)
    before, slider = lab.scope().screenshot(), lab.slider("burst penalty ρ_b")
    slider.focus()
    for _ in range(6):
        lab.page.keyboard.press("ArrowRight")
    lab.waits("abs(cockpit.model.values['rho_b'] - 0.0794) < 1e-6")
    lab.waits("cockpit.model.run.config.rho_b == cockpit.model.values['rho_b']")
    assert float(lab.box("burst penalty ρ_b").input_value()) == pytest.approx(0.0794)
    lab.after(lab.frame())
    assert lab.scope().screenshot() != before
    assert "burst penalty ρ_b 0.0794" in lab.python("print(cockpit.model.marks)")


@cells
def test_a_slider_can_be_dragged(lab):
    start(lab)
    handle = lab.slider("dropout")
    place = handle.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x + 40, y, steps=8)
    lab.page.mouse.up()
    lab.waits("cockpit.model.run.config.dropout > 0.05")


@cells
def test_pause_holds_it_start_goes_on_stop_ends_it(lab):
    start(lab)
    lab.button("pause").click()
    lab.says("paused")
    lab.python("cockpit.model.engine.call('after the batch in progress', int).wait()")
    at = lab.python("print(cockpit.model._at)")
    assert lab.python("print(cockpit.model._at)") == at
    lab.button("start").click()
    lab.waits(f"cockpit.model._at > {at}")
    lab.button("stop").click()
    lab.says("stopped")
    lab.waits("not cockpit.model.engine.tasks")
    lab.button("reset").click()
    lab.says("nothing learned yet")


@cells
def test_a_page_that_is_loaded_again_shows_the_training_that_went_on(lab):
    start(lab)
    at = float(lab.python("print(cockpit.model._at)"))
    lab.reload()
    frame = lab.frame()
    assert float(lab.python("print(cockpit.model._at)")) > at
    lab.after(frame)
    lab.button("pause").click()
    lab.says("paused")


@cells
def test_a_cell_that_is_run_again_leaves_one_trainer(lab):
    start(lab)
    lab.python("old = cockpit")
    lab.run_all()
    lab.waits("cockpit is not old")
    lab.waits("not old.model.engine.tasks")
    assert (
        lab.python("print(sum(t.name == 'bss2lab' for t in __import__('threading').enumerate()) <= 1)").strip()
        == "True"
    )
    start(lab)
    lab.waits("len(cockpit.model.engine.tasks) == 1")


@cells
def test_the_kernel_s_stop_button_pauses_and_leaves_no_thread(lab):
    start(lab)
    lab.command("notebook:interrupt-kernel")
    lab.waits("cockpit.model.phase == 'paused'")
    lab.waits("not cockpit.model.engine.alive")
    lab.button("start").click()
    lab.waits("cockpit.model.phase == 'training'")


@cells
def test_a_kernel_that_is_killed_can_be_started_anew(lab):
    start(lab)
    lab.restart()
    lab.says("The kernel has ended")
    lab.run_all()
    lab.scope()
    assert not lab.page.get_by_text("The kernel has ended").count()
    lab.waits("cockpit.model.phase == 'new'")
    start(lab)


@cells
def test_a_number_out_of_range_is_said_and_put_back(lab):
    for label, setting, typed, allowed in (
        ("dropout", "dropout", "7", "at least 0 and under 1"),
        ("chip number", "chip_seed", "1.5", "a whole number"),
    ):
        box = lab.box(label)
        box.fill("")
        box.press_sequentially(typed)
        box.press("Enter")
        lab.says(f"{label}: expected {allowed}")
        lab.waits(f"cockpit.model.values['{setting}'] == 0")
        lab.page.wait_for_function("box => Number(box.value) === 0", arg=box.element_handle())


@cells
def test_the_canvas_can_be_read_by_those_who_do_not_see_it(lab):
    start(lab)
    lab.waits("cockpit.model.history.loss is not None")
    lab.after(lab.frame())
    picture = lab.page.get_by_role("img", name="Training cockpit")
    assert "loss" in picture.get_attribute("aria-label")
    picture.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.page.wait_for_function(
        "() => [...document.querySelectorAll('.bss2lab-scope div')].some((e) => e.textContent.includes('epoch'))"
    )


OTHER = """
other = lab.cockpit(TrainConfig(limit=500, n_hidden=20, threads=1), key="other")
other
"""


@with_cells("two", COCKPIT, OTHER)
def test_two_cockpits_train_in_one_notebook(lab):
    lab.scope(1)
    for number in (0, 1):
        lab.page.locator(".jp-OutputArea").get_by_role("button", name="start", exact=True).nth(number).click()
    lab.waits("cockpit.model._at > 0 and other.model._at > 0")
    lab.after(lab.frame(0), 0)
    lab.after(lab.frame(1), 1)


BUSY_BELOW = """
from pathlib import Path
import time
while Path("busy").exists():
    time.sleep(0.05)
"""

tour = with_cells("tour", *cells_of("00_tour.ipynb", "draw_digit", 3), BUSY_BELOW)


@tour
def test_the_tour_begins_with_a_pad_that_answers_to_what_is_drawn(lab):
    lab.says("decided")
    lab.page.locator(".bss2lab-pad").get_by_role("button", name="clear").click()
    lab.says("the pad is empty")
    lab.waits("not pad.model.pixels.any()")
    frame, place = lab.frame(), lab.page.locator(".bss2lab-pad canvas").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + 0.15 * place["height"]
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x, y + 0.7 * place["height"], steps=12)
    lab.page.mouse.up()
    lab.waits("pad.model.pixels.any() and not pad.model.busy")
    lab.after(frame)
    assert lab.python("print(pad.model.trial.said)").strip() == "1"


@tour
def test_a_picture_is_there_while_the_kernel_runs_the_cells_below(lab, jupyter):
    busy = jupyter[0] / "busy"
    busy.touch()
    try:
        lab.command("notebook:clear-all-cell-outputs")
        lab.page.locator(".bss2lab-scope").wait_for(state="detached")
        lab.command("notebook:run-all-cells")
        lab.scope()
        assert int(lab.page.locator(".bss2lab-pad").get_attribute("data-ink")) > 20
        lab.page.locator(".bss2lab-pad").get_by_role("button", name="clear").click()  # while nobody answers
        state = "() => window.jupyterapp.shell.currentWidget.content.widgets.at(-1).model.executionState"
        assert lab.page.evaluate(state) == "running"
    finally:
        busy.unlink()
    lab.says("the pad is empty")
    lab.waits("not pad.model.pixels.any()")
    assert lab.page.locator(".bss2lab-pad").get_attribute("data-ink") == "0"


BENCH = """
from bss2lab import lab
bench = lab.decalibration()
bench.model.set(images=1000)
bench
"""


@with_cells("bench", BENCH)
def test_moving_sigma_d_detunes_the_chip_and_counts_its_errors(lab):
    lab.waits("bench.model.curve('itl')[0].tolist() == [0.0]")
    slider = lab.slider("decalibration σ_d")
    slider.focus()
    for _ in range(5):
        lab.page.keyboard.press("PageUp")
    lab.waits("not bench.model.busy and bench.model.visit.place.sigma_d == bench.model.values['sigma_d'] >= 0.2")
    lab.waits("bench.model.curve('itl')[1][-1] > bench.model.curve('itl')[1][0]")
    picture = lab.page.get_by_role("img", name="Decalibration bench")
    wanted = lab.python("print(f'σ_d {bench.model.values[\"sigma_d\"]:.3g} of')").strip()
    lab.page.wait_for_function("([e, text]) => e.getAttribute('aria-label').includes(text)",
                               arg=[picture.element_handle(), wanted])  # fmt: skip


EARS = """
from bss2lab import lab
ears = lab.speak_digit()
ears
"""


@with_cells("ears", EARS)
def test_the_microphone_is_heard_by_the_chip(lab):
    lab.button("● record").click()
    status = lab.page.locator(".bss2lab-microphone [role=status]")
    lab.page.wait_for_function("e => e.textContent.startsWith('recording')", arg=status.element_handle())
    lab.page.wait_for_function("() => document.querySelector('.bss2lab-microphone meter').value > 0.05")
    lab.page.wait_for_function("e => e.textContent.endsWith('s recorded')", arg=status.element_handle())
    lab.waits("ears.model.heard is not None and not ears.model.busy")
    assert lab.python("print(ears.model.source)").strip() == "recording"
    spikes, word = lab.python("print(ears.model.heard.input_spikes, ears.model.heard.word)").split()
    assert int(spikes) > 100
    picture = lab.page.get_by_role("img", name="The emulated chip hears")
    picture.wait_for()
    assert word in picture.get_attribute("aria-label")
