"""Drawing pad and microphone in a real browser, without Jupyter: what pointer, keys and a fake microphone send."""

from __future__ import annotations

import numpy as np
import pytest
from browser.jupyter import FLAGS, chromium

from bss2lab.lab.engine import Engine
from bss2lab.lab.models.draw import Draw
from bss2lab.lab.views.pad import Pad
from bss2lab.lab.views.upload import Microphone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("playwright", "chromium"),
    pytest.mark.usefixtures("one_thread"),
]

MODULES = {"pad.js": Pad._esm, "microphone.js": Microphone._esm}
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PAGE = """<html><body><div id=pad></div><div id=microphone></div><script type=module>
window.sent = [];
window.models = {};
for (const name of ["pad", "microphone"]) {
  const handlers = [], watchers = [], model = {
    on: (event, f) => (event === "msg:custom" ? handlers : watchers).push(f), off: () => {},
    first: null, get: (trait) => model[trait],
    send: (m, _, b) => window.sent.push({ who: name, ...m, bytes: b ? Array.from(new Uint8Array(b[0])) : null }),
    say: (m, b) => handlers.forEach((f) => f(m, b)),
    put: (first) => { model.first = first; watchers.forEach((f) => f()); },
  };
  window.models[name] = model;
  const { default: widget } = await import(`/${name}.js`);
  widget.render({ model, el: document.getElementById(name) });
}
window.ready = true;
</script></body></html>"""

DIGITS = {
    "0": [(0.5, 0.15), (0.33, 0.28), (0.3, 0.6), (0.42, 0.82), (0.58, 0.82), (0.7, 0.6), (0.67, 0.28), (0.5, 0.15)],
    "1": [(0.5, 0.12), (0.5, 0.85)],
    "3": [(0.32, 0.2), (0.55, 0.14), (0.65, 0.28), (0.48, 0.46), (0.68, 0.62), (0.55, 0.82), (0.3, 0.78)],
    "7": [(0.28, 0.2), (0.7, 0.2), (0.45, 0.86)],
}


ALL_GREY = "new DataView(new Uint8Array(256).fill(90).buffer)"


def serve(route):
    name = route.request.url.rsplit("/", 1)[1]
    if name in MODULES:
        route.fulfill(body=MODULES[name], content_type="text/javascript")
    else:
        route.fulfill(body=PAGE, content_type="text/html")


class Browser:
    """One page with both widgets."""

    def __init__(self, page):
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", serve)

    def open(self, host="localhost"):
        self.page.goto(f"http://{host}/page")
        self.page.wait_for_function("window.ready")
        return self

    def sent(self, who):
        return self.page.evaluate("who => window.sent.filter((s) => s.who === who && s.bytes)", who)

    def pixels(self):
        self.page.wait_for_timeout(250)  # more than the pad waits while a stroke goes on
        return np.array(self.sent("pad")[-1]["bytes"], np.uint8).reshape(16, 16)

    def says(self, who, words):
        self.page.locator(f"#{who} [role=status]", has_text=words).wait_for(timeout=20_000)

    def answer(self):
        """Python says what it has: 256 grey pixels."""
        self.page.evaluate(f"window.models.pad.say({{ type: 'pixels', side: 16 }}, [{ALL_GREY}])")

    def ink(self):
        return int(self.page.locator(".bss2lab-pad").get_attribute("data-ink"))

    def draw(self, points):
        box = self.page.locator("#pad canvas").bounding_box()
        where = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*where[0])
        self.page.mouse.down()
        for point in where[1:]:
            self.page.mouse.move(*point, steps=6)
        self.page.mouse.up()


@pytest.fixture(scope="module")
def launched():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        program = p.chromium.launch(executable_path=chromium(), args=[*FLAGS, *MICROPHONE])
        yield program
        program.close()


@pytest.fixture
def browser(launched):
    context = launched.new_context(has_touch=True)
    found = Browser(context.new_page())
    yield found
    context.close()
    assert not found.errors


def test_a_stroke_is_ink_along_its_way_and_soft_at_its_edge(browser):
    browser.open().draw([(4.5 / 16, 8.5 / 16), (11.5 / 16, 8.5 / 16)])
    pixels = browser.pixels()
    assert (pixels[8, 4:12] > 240).all()
    assert ((pixels[[7, 9], 5:11] > 30) & (pixels[[7, 9], 5:11] < 200)).all()
    assert not pixels[:6].any()
    assert not pixels[11:].any()
    browser.page.get_by_role("button", name="clear").click()
    assert not browser.pixels().any()


def test_drawn_digits_are_recognised_by_the_chip(browser):
    browser.open()
    model = Draw(key="drawn", engine=Engine())
    for name, points in DIGITS.items():
        browser.draw(points)
        assert model.put(browser.pixels().tobytes()).wait(600)
        assert model.trial.said == name
        browser.page.get_by_role("button", name="clear").click()


def test_keys_move_a_cursor_and_paint(browser):
    pad = browser.open().page.locator("#pad canvas")
    assert "arrows move" in pad.get_attribute("aria-label")
    pad.focus()
    for key in ("ArrowLeft", "ArrowUp", " ", "ArrowRight", " "):
        browser.page.keyboard.press(key)
    pixels = browser.pixels()
    assert np.argwhere(pixels == 255).tolist() == [[7, 7], [7, 8]]
    browser.says("pad", "column 9, row 8: grey value 255")
    browser.page.keyboard.press("Delete")
    assert not browser.pixels().any()


def test_a_finger_draws_and_python_can_put_a_drawing_there(browser):
    browser.open().answer()
    browser.page.get_by_role("button", name="clear").click()
    box = browser.page.locator("#pad canvas").bounding_box()
    browser.page.touchscreen.tap(box["x"] + box["width"] * 5.5 / 16, box["y"] + box["height"] * 5.5 / 16)
    assert np.unravel_index(browser.pixels().argmax(), (16, 16)) == (5, 5)
    browser.answer()
    assert browser.ink() == 256
    browser.draw([(0.5, 0.5), (0.5, 0.5)])
    assert browser.pixels().min() == 90  # drawn on top of it


def test_a_pad_shows_what_came_with_it_before_python_answers(browser):
    browser.open().page.evaluate(f"window.models.pad.put({{ type: 'pixels', side: 16, block: {ALL_GREY} }})")
    assert browser.ink() == 256


def test_what_is_drawn_while_python_is_busy_stays(browser):
    browser.open().draw([(4.5 / 16, 8.5 / 16), (11.5 / 16, 8.5 / 16)])
    drawn = browser.ink()
    assert 0 < drawn < 256
    browser.answer()  # to the hello of before
    assert browser.ink() == drawn
    browser.answer()
    assert browser.ink() == 256


def test_the_microphone_is_recorded_until_the_longest_time(browser):
    browser.open().page.evaluate("window.models.microphone.say({ type: 'longest', seconds: 1.2 })")
    browser.page.get_by_role("button", name="record").click()
    browser.says("microphone", "recording")
    browser.says("microphone", "s recorded")
    (sound,) = browser.sent("microphone")
    samples = np.frombuffer(bytes(sound["bytes"]), "<f4")
    assert sound["rate"] in (44_100, 48_000)
    assert 0.5 < len(samples) / sound["rate"] <= 1.2
    assert np.isfinite(samples).all()
    assert 0.01 < np.abs(samples).max() <= 1.0  # the fake microphone beeps


def test_a_refused_microphone_is_said_in_plain_words(browser):
    browser.page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };"
    )
    browser.open().page.get_by_role("button", name="record").click()
    browser.says("microphone", "The microphone was refused.")
    assert not browser.sent("microphone")
    assert browser.page.get_by_role("button", name="record").is_enabled()


def test_a_page_without_microphones_says_why(browser):
    browser.open("lab.example").page.get_by_role("button", name="record").click()
    browser.says("microphone", "only over https or on localhost")
