"""A cell that is run again: the widget takes the place of the one before, of which one line of text is left."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from types import SimpleNamespace

import ipywidgets
import pytest
from ipywidgets.widgets import widget as ipywidgets_module

from bss2lab import lab
from bss2lab.inputs import Data
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Axis, Frame, Panel
from bss2lab.lab.models.base import ViewModel
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.control import Control
from bss2lab.lab.views import picture
from bss2lab.lab.views.renderer import Renderer
from bss2lab.lab.views.widget import LabWidget
from bss2lab.settings import TrainConfig

pytestmark = pytest.mark.slow

WAIT_S = 600.0


def alive():
    """Return how many widgets ipywidgets keeps."""
    kept = getattr(ipywidgets_module, "_instances", None)  # (its older versions: a property of the class)
    return len(ipywidgets.Widget.widgets if kept is None else kept)


class Toy(ViewModel):
    title = "A toy"
    actions = {"go": "go"}  # noqa: RUF012

    def __init__(self, engine=None):
        super().__init__(
            [Control("a", "a", 1.0, "slider", 0, 2, 0.1, 0, 2), Control("b", "b", False, "switch")],
            key="replaced toy", engine=engine or Engine(),
        )  # fmt: skip
        self.task = self.begin("count", self.steps())
        self.steps_done = 0

    def go(self):
        """Go on."""

    def steps(self):
        for _ in range(3):
            yield
            self.steps_done += 1

    def frame(self):
        return Frame([Panel("p", "P", Axis("x", 0, 1), Axis("y", 0, 1), [])], "a toy")


MADE = {
    "cockpit": lab.cockpit, "decalibration": lab.decalibration, "chip_view": lab.chip_view, "look": lab.look,
    "draw_digit": lab.draw_digit, "speak_digit": lab.speak_digit, "errors": lab.errors, "anatomy": lab.anatomy,
    "curves": lab.curves,
}  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", MADE)
def test_a_cell_that_is_run_again_and_again_keeps_no_more_widgets(name, monkeypatch):
    monkeypatch.setattr(picture, "draw", lambda frame: SimpleNamespace(small_png=lambda: b""))  # (not what is kept)
    before, counts = alive(), []
    for _ in range(3):
        widget = MADE[name](key=f"{name} of this test")
        widget._repr_mimebundle_()
        counts.append(alive() - before)
    assert counts[1] == counts[2]
    assert counts[1] - counts[0] <= 5  # the one before: a box with one line, their layouts, and a style
    widget.close()
    assert alive() == before


def test_what_is_left_of_the_one_before_says_so_and_can_be_shown():
    old = LabWidget(Toy(), renderer=Renderer())
    slider = old.bounds[0].slider
    new = LabWidget(Toy(), renderer=Renderer())
    assert old.children == (old.status,)
    assert "another cell runs this lab now" in old.status.value
    assert slider.comm is None
    assert "image/png" in old._repr_mimebundle_()
    assert "another cell" not in new.status.value
    old.model.set(a=0.5)  # from code: nothing is drawn of it
    old.draw()
    assert "another cell runs this lab now" in old.status.value
    old.close()
    assert new.bounds[0].slider.comm is not None
    new.close()


def test_the_parts_of_a_widget_that_was_replaced_can_be_forgotten():
    renderer = Renderer()
    old = LabWidget(Toy(), renderer=renderer)
    parts = [weakref.ref(part) for part in (old.scope, old.bounds[0].slider, old.buttons["go"])]
    model = old.model
    old._repr_mimebundle_()
    news = [LabWidget(Toy(), renderer=renderer) for _ in range(2)]
    assert model.task.wait(WAIT_S)
    del old
    gc.collect()
    assert [part() for part in parts] == [None] * 3
    model.changed(urgent=True)  # nobody listens
    assert len(renderer._entries) == 1
    news[-1].close()


def test_the_new_one_computes_what_it_began_before_it_took_the_place():
    engine = Engine()
    widgets = [LabWidget(Toy(engine), renderer=Renderer()) for _ in range(3)]
    for widget in widgets:
        assert widget.model.task.wait(WAIT_S)
    assert widgets[-1].model.task.state == "done"
    assert widgets[-1].model.steps_done == 3
    widgets[-1].close()


def test_a_second_view_of_one_model_does_not_stop_it():
    model = Toy()
    LabWidget(model, renderer=Renderer())
    second = LabWidget(model, renderer=Renderer())
    assert model.task.wait(WAIT_S)
    assert model.task.state == "done"
    second.close()


def test_cells_may_be_run_again_from_many_threads_at_once():
    before, renderer, widgets = alive(), Renderer(), []

    def run():
        for _ in range(5):
            widgets.append(LabWidget(Toy(), renderer=renderer))
            renderer.tick()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live = [widget for widget in widgets if len(widget.children) > 1 and widget.comm is not None]
    (entry,) = renderer._entries
    assert [entry] == live
    live[0].close()
    assert alive() == before


@pytest.mark.usefixtures("one_thread")
def test_a_training_that_runs_is_stopped_and_the_new_one_trains():
    config = TrainConfig(limit=400, n_hidden=30, epochs=10_000, batch_size=40, threads=1)
    data, engine, renderer = Data.load(config), Engine(), Renderer()

    def run():
        widget = LabWidget(Cockpit(config, data, key="replaced cockpit", engine=engine), renderer=renderer)
        widget.model.start()
        (task,) = [one for one in engine.tasks if one.owner is widget.model and one.key.endswith("/train")]
        return widget, task

    _, first = run()
    widget, second = run()
    assert first.wait(WAIT_S)
    assert first.state == "stopped"
    widget.model._until = 1  # this epoch, then pause
    widget.model.step()
    assert widget.model.wait(WAIT_S)
    assert len(widget.model.run.epochs) == 1
    widget.close()
    assert second.wait(WAIT_S)
    engine.stop_all()


def test_what_a_cell_waited_for_is_drawn_before_the_next_one_runs(monkeypatch):
    drawn = []
    monkeypatch.setattr(LabWidget, "draw", lambda self: drawn.append(self.model.busy))
    widget = LabWidget(Toy(), renderer=Renderer())
    asyncio.run(lab.finished(widget, timeout_s=WAIT_S))
    assert drawn[-1] is False
    widget.close()
