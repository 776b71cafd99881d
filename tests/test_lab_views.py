"""The views: sliders bound to models, a renderer that holds back, a canvas that waits for the browser."""

from __future__ import annotations

import base64
import threading
import time

import numpy as np
import pytest

from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Axis, Frame, Panel, Series
from bss2lab.lab.models.base import ViewModel
from bss2lab.lab.models.control import Control
from bss2lab.lab.views import renderer as timing
from bss2lab.lab.views import scope as canvas
from bss2lab.lab.views.renderer import Renderer
from bss2lab.lab.views.scope import Scope
from bss2lab.lab.views.widget import STATIC, LabWidget
from bss2lab.settings import TrainConfig


class Toy(ViewModel):
    title = "A toy"
    actions = {"go": "go", "fail": "fail"}  # noqa: RUF012

    def __init__(self, key="toy"):
        controls = [
            Control.of(TrainConfig, "rho_b", label="burst", look="log", low=1e-4, high=10, step=0.05, zero=True),
            Control.of(TrainConfig, "dropout", high=0.8),
            Control.of(TrainConfig, "epochs", look="whole", low=1, high=100, step=1),
            Control("where", "where", "a", "choice", choices=(("here", "a"), ("there", "b"))),
            Control("on", "on", False, "switch"),
        ]
        super().__init__(controls, key=key, engine=Engine())
        self.went, self.paused, self.events = 0, 0, []

    def go(self):
        """Go on."""
        self.went += 1

    def fail(self):
        """Do what cannot be done."""
        raise RuntimeError("no such thing")

    def pause(self):
        self.paused += 1

    def available(self):
        return {"go": self.went == 0, "fail": True}

    def clicked(self, panel, x, y):
        self.events.append((panel, x, y))

    def brushed(self, panel, low, high):
        self.events.append((panel, low, high))

    def frame(self):
        y = [self.values["dropout"], 1.0]
        return Frame([Panel("p", "P", Axis("x", 0, 1), Axis("y", 0, 2), [Series("s", [0, 1], y)])], "a toy")


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def renderer():
    return Renderer()


@pytest.fixture
def widget(toy, renderer, monkeypatch):
    monkeypatch.setattr("bss2lab.lab.views.place._PLACES", {})
    return LabWidget(toy, renderer=renderer)


@pytest.fixture
def sent(widget, monkeypatch):
    """Everything that the canvas sends to a browser that has said hello."""
    messages = []
    widget.scope._handle_custom_msg({"type": "hello"}, [])
    monkeypatch.setattr(widget.scope, "send", lambda content, buffers=None: messages.append((content, buffers)))
    return messages


def bound(widget, name):
    return next(b for b in widget.bounds if b._control.name == name)


def test_a_slider_moves_the_model_and_its_number_box(widget, toy):
    one = bound(widget, "dropout")
    one.slider.value = 0.3
    assert toy.values["dropout"] == 0.3
    assert one.box.value == 0.3
    one.box.value = 0.55
    assert toy.values["dropout"] == 0.55
    assert one.slider.value == pytest.approx(0.55)


def test_a_logarithmic_slider_moves_in_decades_and_its_end_is_zero(widget, toy):
    one = bound(widget, "rho_b")
    one.slider.value = -1.0
    assert toy.values["rho_b"] == 0.1
    one.slider.value = one.slider.min
    assert toy.values["rho_b"] == 0.0
    assert one.slider.value == one.slider.min


def test_a_typed_value_is_not_rounded_to_the_slider_s_grid(widget, toy):
    one = bound(widget, "rho_b")
    one.box.value = 0.0333
    assert toy.values["rho_b"] == 0.0333
    place = (one.slider.value - one.slider.min) / one.slider.step
    assert place == pytest.approx(round(place))
    widget.draw()
    assert toy.values["rho_b"] == 0.0333


def test_a_browser_that_reports_where_it_put_the_handle_moves_nothing(widget, toy):
    one = bound(widget, "rho_b")
    one.box.value = 3.0
    one.slider.value += 0.3 * one.slider.step
    assert toy.values["rho_b"] == 3.0
    one.slider.value += one.slider.step
    assert toy.values["rho_b"] > 3.0


def test_a_box_takes_what_lies_beyond_the_slider(widget, toy):
    one = bound(widget, "epochs")
    one.box.value = 400
    assert toy.values["epochs"] == 400
    assert one.slider.value == 100


def test_what_the_model_refuses_goes_back_and_is_said(widget, toy):
    one = bound(widget, "dropout")
    one.box.value = 7.0
    assert toy.values["dropout"] == 0.0
    assert one.box.value == 0.0
    widget.draw()
    assert "expected at least 0 and under 1, got 7; " in widget.status.value
    assert 'role="alert"' in widget.status.value
    one._boxed({"new": 0.0})  # as a browser reports, now and then, what was put back
    widget.draw()
    assert "expected at least 0 and under 1, got 7; " in widget.status.value


def test_half_an_epoch_is_refused_not_rounded(widget, toy):
    one = bound(widget, "epochs")
    before = one.box.value
    one.box.value = 2.5
    assert toy.values["epochs"] == one.box.value == before
    widget.draw()
    assert "expected a whole number" in widget.status.value


def test_choice_and_switch(widget, toy):
    bound(widget, "where").box.value = "b"
    bound(widget, "on").box.value = True
    assert (toy.values["where"], toy.values["on"]) == ("b", True)


def test_every_control_has_label_and_help(widget):
    for b in widget.bounds:
        assert b.box.description
        if b._control.help:
            assert b._control.help in b.box.tooltip


def test_what_the_model_sets_is_shown_at_the_next_drawing(widget, toy):
    toy.set(dropout=0.2, where="b", on=True, rho_b=1.0)
    widget.draw()
    assert bound(widget, "dropout").box.value == 0.2
    assert bound(widget, "rho_b").slider.value == 0.0
    assert bound(widget, "where").box.value == "b"
    assert bound(widget, "on").box.value is True


def test_buttons_act_are_disabled_and_show_their_errors(widget, toy):
    widget.buttons["go"].click()
    assert toy.went == 1
    widget.draw()
    assert widget.buttons["go"].disabled
    widget.buttons["fail"].click()
    widget.draw()
    assert "RuntimeError: no such thing" in widget.status.value
    assert widget.buttons["fail"].tooltip == "Do what cannot be done."


def test_text_of_an_error_is_no_markup(widget, toy):
    toy.say("<script>alert(1)</script>", "error")
    widget.draw()
    assert "<script>" not in widget.status.value


def test_a_frame_goes_out_with_one_buffer_and_the_next_waits_for_the_browser(widget, toy, renderer, sent):
    assert renderer.tick(0.0) is None
    ((content, buffers),) = sent
    assert content["type"] == "frame"
    np.testing.assert_array_equal(np.frombuffer(buffers[0], "<f4"), np.float32([0, 1, 0, 1]))
    toy.set(dropout=0.5)
    assert renderer.tick(10.0) is not None
    assert len(sent) == 1
    widget.scope._handle_custom_msg({"type": "drawn", "id": content["id"]}, [])
    renderer.tick(10.0)
    assert len(sent) == 2
    assert np.frombuffer(sent[-1][1][0], "<f4")[2] == 0.5


def test_a_browser_that_never_answers_is_given_up_on(widget, toy, renderer, sent, monkeypatch):
    renderer.tick(0.0)
    toy.changed()
    renderer.tick(10.0)
    assert len(sent) == 1
    monkeypatch.setattr(canvas, "PATIENCE_S", -1.0)
    renderer.tick(10.0)
    assert len(sent) == 2


def test_a_page_that_comes_back_gets_the_latest_picture(widget, toy, renderer, sent):
    renderer.tick(0.0)
    renderer.tick(10.0)
    assert len(sent) == 1
    widget.scope._handle_custom_msg({"type": "hello"}, [])
    renderer.tick(20.0)
    assert len(sent) == 2


def test_a_picture_is_part_of_the_widget_until_a_page_says_hello(widget, toy, renderer):
    renderer.tick(0.0)
    toy.set(dropout=0.5)
    assert widget.scope.first["frame"]["alt"] == "a toy"
    widget._repr_mimebundle_()  # whatever the renderer would have waited for
    sent = widget.scope.get_state()["first"]
    assert (sent["id"], np.frombuffer(sent["block"], "<f4")[2]) == (2, 0.5)
    widget.scope._handle_custom_msg({"type": "hello"}, [])
    assert widget.scope.get_state()["first"] is None
    widget._repr_mimebundle_()
    assert widget.scope.first is None


def test_at_most_ten_pictures_a_second_whoever_waits(widget, toy, renderer, sent):
    now = 100.0
    for _ in range(400):
        toy.changed(urgent=True)
        widget.scope._drawn = widget.scope._sent
        renderer.tick(now)
        now += 0.01
    assert 35 <= len(sent) <= 42


def test_progress_that_nobody_waits_for_is_drawn_less_often(widget, toy, renderer, sent):
    now = 100.0
    renderer.tick(now)
    sent.clear()
    for _ in range(300):
        now += 0.01
        toy.changed()
        widget.scope._drawn = widget.scope._sent
        renderer.tick(now)
    assert 3.0 / timing.PERIOD_S - 2 <= len(sent) <= 3.0 / timing.PERIOD_S + 1


def test_progress_takes_a_small_share_of_a_slow_browser_s_time(widget, toy, renderer, sent):
    for took_s, period_s in ((0.001, timing.PERIOD_S), (0.01, 0.01 / timing.SHARE), (5.0, timing.SLOWEST_S)):
        widget.scope.took_s = took_s
        renderer.tick(100.0)
        widget.scope._drawn = widget.scope._sent
        toy.changed()
        assert renderer.tick(100.0 + 1e-3) == pytest.approx(period_s - 1e-3)
        toy.changed(urgent=True)
        assert renderer.tick(100.0 + 1e-3) <= timing.BURST_S  # a hand's move waits no longer
        renderer._entries[widget] = type(renderer._entries[widget])()


def test_of_pictures_at_leisure_one_in_eight_is_acknowledged_and_in_a_quick_sequence_all(widget, toy, sent):
    def show(pause_s):
        widget.scope._sent_at -= pause_s
        assert widget.scope.ready
        widget.scope.show(toy.frame())
        asks = sent[-1][0]["asks"]
        if asks:
            assert not widget.scope.ready
            widget.scope._handle_custom_msg({"type": "drawn", "id": widget.scope._sent}, [])
        return asks

    assert [show(1.0) for _ in range(17)] == [k % 8 == 0 for k in range(17)]  # the first, for its time
    assert all(show(0.0) for _ in range(5))
    assert not show(1.0)
    widget.scope._handle_custom_msg({"type": "hello"}, [])
    assert show(1.0)


def test_a_picture_s_way_there_and_back_is_timed(widget, toy, renderer, sent):
    renderer.tick(100.0)
    widget.scope._asked_at -= 0.3
    widget.scope._handle_custom_msg({"type": "drawn", "id": widget.scope._sent}, [])
    assert 0.3 <= widget.scope.took_s < 1.0
    widget.scope._handle_custom_msg({"type": "drawn", "id": widget.scope._sent - 1}, [])
    assert 0.3 <= widget.scope.took_s < 1.0


def test_a_move_of_the_hand_is_answered_soon_after_a_picture(widget, toy, renderer, sent):
    renderer.tick(100.0)
    widget.scope._drawn = widget.scope._sent
    toy.changed(urgent=True)
    wait = renderer.tick(100.01)
    assert wait <= timing.BURST_S
    renderer.tick(100.01 + wait + 1e-6)
    assert len(sent) == 2


def test_nothing_changes_nothing_is_sent(widget, renderer, sent):
    renderer.tick(0.0)
    assert renderer.tick(100.0) is None
    assert len(sent) == 1


def test_clicks_and_brushes_reach_the_model_and_nonsense_does_not(widget, toy):
    heard = widget.scope._arrived
    heard(None, {"type": "click", "panel": "p", "x": 1, "y": 0.5}, [])
    heard(None, {"type": "brush", "panel": "p", "low": [0, 0], "high": [1, 2]}, [])
    for nonsense in (
        {},
        {"type": "click"},
        {"type": "click", "panel": 3, "x": "a", "y": None},
        {"type": "brush", "panel": "p", "low": [0]},
        "text",
        None,
    ):
        heard(None, nonsense, [])
    assert toy.events == [("p", 1.0, 0.5), ("p", (0.0, 0.0), (1.0, 2.0))]


def test_callbacks_may_come_from_any_thread(widget, toy):
    threads = [threading.Thread(target=lambda k=k: toy.set(dropout=k / 100)) for k in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    widget.draw()
    assert bound(widget, "dropout").box.value == toy.values["dropout"]


def test_it_shows_itself_as_a_picture_where_no_kernel_runs(widget):
    bundle = widget._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_widget_that_is_saved_as_its_picture_waits_for_what_was_asked_of_it(widget, toy, monkeypatch):
    monkeypatch.setenv(STATIC, "1")
    drawn_with = []
    monkeypatch.setattr(toy, "frame", lambda frame=toy.frame: drawn_with.append(toy.went) or frame())

    def steps():
        for _ in range(3):
            time.sleep(0.02)
            yield
        toy.go()

    toy.begin("slow", steps())
    assert set(widget._repr_mimebundle_()) == {"image/png"}
    assert drawn_with == [1]


def test_a_second_widget_of_the_same_name_takes_over(widget, toy, renderer):
    other = LabWidget(Toy(), renderer=renderer)
    assert "another cell runs this lab now" in widget.status.value
    assert other.status.value != widget.status.value
    toy.changed()
    assert widget not in renderer._entries
    assert other in renderer._entries


def test_an_interrupt_pauses_every_widget(widget, toy, renderer):
    renderer.interrupt()
    assert toy.paused == 1


def test_a_drawing_that_fails_is_said_in_the_widget(widget, toy, renderer, monkeypatch):
    monkeypatch.setattr(toy, "frame", lambda: 1 / 0)
    widget.draw()
    assert "ZeroDivisionError" in widget.status.value


def test_a_closed_widget_is_drawn_no_more(widget, toy, renderer, sent):
    widget.close()
    toy.changed(urgent=True)
    assert renderer.tick(1e6) is None
    assert sent == []


def test_the_canvas_source_is_one_module_without_imports():
    source = Scope._esm if isinstance(Scope._esm, str) else str(Scope._esm)
    assert "export default { render }" in source
    assert "import " not in source.replace("important", "")
    assert "http" not in source
