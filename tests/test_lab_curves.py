"""Curves of training: what is read from a run, what is drawn, and how often."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from bss2lab import lab
from bss2lab.errors import DataError, InputError
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Mark, Series
from bss2lab.lab.models import curves as model
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.results import Epoch, run_record, to_json
from bss2lab.settings import SpeechConfig, TrainConfig


def epochs(n, *, accuracy=0.9, validation=False):
    return [
        Epoch(k, 1.0 / k + 0.01, {"task": 1.0 / k, "burst": 0.01}, accuracy, None if validation else accuracy - 0.1 / k,
              accuracy - 0.1 / k if validation else None, 30.0, 0.0, 1e-3, 1.0)
        for k in range(1, n + 1)
    ]  # fmt: skip


def record(n, config=None, **options):
    return run_record(config or TrainConfig(), None, epochs(n, **options))


def layers(frame, panel):
    return next(one for one in frame.panels if one.key == panel).layers


def test_a_record_a_file_and_epochs_give_the_same_curves(tmp_path):
    path = tmp_path / "my run.json"
    path.write_text(to_json(record(4)), encoding="utf-8")
    for run in (epochs(4), record(4), json.loads(to_json(record(4))), path, str(path)):
        course = model.course_of(run)
        assert course.at.tolist() == [1, 2, 3, 4]
        assert np.allclose(course.terms["task"], [1, 1 / 2, 1 / 3, 1 / 4])
        assert np.allclose(course.held_out, [80, 85, 90 - 10 / 3, 87.5])
    assert model.course_of(path).name == "my run"
    assert model.course_of(record(2)).paper.test == 97.2
    assert model.course_of(epochs(2)).paper is None


def test_one_run_by_term_and_the_papers_value():
    frame = lab.curves(record(3)).frame
    named = {layer.name: layer for layer in layers(frame, "loss")}
    assert set(named) == {"task", "burst ρ_b"}
    assert np.allclose(named["burst ρ_b"].y, 0.01)
    accuracy = layers(frame, "accuracy")
    assert [layer.name for layer in accuracy if isinstance(layer, Series)] == ["train", "test"]
    assert [layer.at for layer in accuracy if isinstance(layer, Mark)] == [97.2]
    assert frame.badge == "emulated chip"


def test_several_runs_are_told_apart():
    frame = lab.curves(record(3), record(2, SpeechConfig(), validation=True), epochs(2)).frame
    names = [layer.name for layer in layers(frame, "accuracy") if isinstance(layer, Series)]
    assert names == [
        "mnist itl, seed 0: train", "mnist itl, seed 0: test", "speech itl, seed 0: train",
        "speech itl, seed 0: validation", "run 3: train", "run 3: test",
    ]  # fmt: skip
    assert "run 3: penalties" in [layer.name for layer in layers(frame, "loss")]
    assert "synthetic speech" in frame.badge
    twice = model.courses_of([record(1), record(1)])
    assert [one.name for one in twice] == ["mnist itl, seed 0", "mnist itl, seed 0 (2)"]


def test_the_plotly_figure_has_the_frames_values():
    figure = lab.curves(record(5)).figure
    traces = {(trace.xaxis, trace.name): trace for trace in figure.data}
    assert np.allclose(traces["x", "task"].y, [1 / k for k in range(1, 6)])
    assert np.allclose(traces["x2", "paper 97.2 %"].y, 97.2)
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.yaxis2.title.text == "correct (%)"


def test_updates_come_at_most_twice_a_second_and_the_last_is_kept(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("bss2lab.lab.views.curves.time.monotonic", lambda: now[0])
    shown = lab.curves(epochs(1))

    def drawn():
        return len(shown.figure.data[0].x)

    assert not shown.show(epochs(2))
    assert drawn() == 1
    now[0] += 0.4
    assert not shown.show(epochs(3))
    now[0] += 0.2
    assert shown.show(epochs(4))
    assert drawn() == 4
    assert not shown.show(epochs(5))
    shown.flush()
    assert drawn() == 5
    shown.show(epochs(6))
    bundle = shown._repr_mimebundle_()
    assert drawn() == 6
    assert base64.b64decode(bundle["image/png"])[1:4] == b"PNG"


def test_curves_that_were_switched_off_stay_off():
    shown = lab.curves(record(2))
    next(trace for trace in shown.figure.data if trace.name == "task").visible = "legendonly"
    shown.show(record(3))
    shown.flush()
    found = {trace.name: (trace.visible, len(trace.x)) for trace in shown.figure.data}
    assert found["task"] == ("legendonly", 3)
    assert found["test"] == (True, 3)


def test_a_cockpit_before_its_first_epoch_and_after():
    cockpit = Cockpit(TrainConfig(limit=100, threads=1), engine=Engine())
    shown = lab.curves(cockpit)
    assert layers(shown.frame, "loss") == []
    assert "No epoch yet" in shown.frame.alt
    cockpit.run = dataclasses.make_dataclass("Run", ["epochs", "config"])(epochs(3), TrainConfig(limit=100))
    shown.flush()
    assert len(layers(shown.frame, "loss")[0].x) == 3
    watchers = len(cockpit._watchers)
    shown.close()
    assert len(cockpit._watchers) == watchers - 1


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (3, InputError, "Epoch records"), ([1, 2], InputError, "Epoch records"), ({}, DataError, "record of a run"),
        ({"epochs": [{"epoch": 1}]}, DataError, "record of a run"), ("nothing.json", DataError, "nothing.json"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused(bad, kind, words):
    shown = lab.curves(epochs(2))
    with pytest.raises(kind, match=words):
        shown.show(bad)
    assert "2 epochs" in shown.frame.alt
