"""Frames: plain data, checked when made; on the wire; and drawn by Matplotlib."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import assert_apart, assert_readable, renderer_of

from bss2lab.lab.frame import PALETTE, Axis, Frame, Heat, Mark, Panel, Series, span
from bss2lab.lab.views import picture
from bss2lab.lab.wire import packed
from bss2lab.plots import style

X, Y = np.array([0.0, 1.0, 2.5]), np.array([3.0, np.nan, 4.0])


def frame_of(*layers, **options):
    panel = Panel("p", "A panel", Axis("time", 0, 3, unit="µs"), Axis("value", 0, 5), layers, **options)
    return Frame([panel], "what there is to see")


def test_numbers_travel_in_one_block_and_everything_else_as_json():
    header, block = packed(
        frame_of(Series("a", X, Y), Heat("h", np.arange(6.0).reshape(2, 3), 0, 5), Mark(2.0, "here"))
    )
    numbers = np.frombuffer(block, "<f4")
    series, heat, mark = json.loads(json.dumps(header, allow_nan=False))["panels"][0]["layers"]
    np.testing.assert_array_equal(numbers[series["x"] : series["x"] + series["n"]], X.astype(np.float32))
    np.testing.assert_array_equal(numbers[series["y"] : series["y"] + series["n"]], Y.astype(np.float32))
    np.testing.assert_array_equal(
        numbers[heat["at"] :].reshape(heat["rows"], heat["columns"]), np.arange(6).reshape(2, 3)
    )
    assert mark == {"type": "mark", "at": 2.0, "name": "here", "along": "y", "colour": "#666666", "dashed": True}
    assert header["panels"][0]["x"]["title"] == "time (µs)"
    assert header["alt"] == "what there is to see"


def test_an_empty_frame_has_an_empty_block():
    header, block = packed(frame_of(empty="nothing yet"))
    assert block == b""
    assert header["panels"][0]["empty"] == "nothing yet"


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (0, np.inf, False)])
def test_an_axis_without_a_range_is_refused(low, high, log):
    with pytest.raises(ValueError, match="no range"):
        Axis("x", low, high, log=log)


def test_series_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="3 x, 2 y"):
        Series("a", X, Y[:2])


def test_a_heat_map_needs_two_axes_and_a_range():
    with pytest.raises(ValueError, match="shape"):
        Heat("h", np.zeros(3), 0, 1)
    with pytest.raises(ValueError, match="range"):
        Heat("h", np.zeros((2, 2)), 1, 1)


def test_span_leaves_room_and_ignores_what_is_not_finite():
    low, high = span(np.array([1.0, np.nan, 3.0]), np.array([np.inf]), pad=0.1)
    assert (low, high) == pytest.approx((0.8, 3.2))
    assert span(np.array([])) == (0.0, 1.0)
    low, high = span(np.array([2.0, 2.0]))
    assert low < 2.0 < high


def test_the_palette_is_the_figures_own():
    assert PALETTE == style.PALETTE


@pytest.mark.parametrize("kind", ["line", "steps", "dashed", "dots", "ticks", "bars", "band"])
def test_matplotlib_draws_every_style(kind):
    x, y = np.arange(4.0) / 2, np.array([1.0, 2.0, 1.5, 3.0])
    figure = picture.draw(frame_of(Series("some", x, y, style=kind), note="a note"))
    assert_readable(figure)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "time (µs)"
    assert axes.get_xlim() == (0, 3)
    drawn = len(axes.lines) + len(axes.patches) + len(axes.collections)
    assert drawn >= 1


def test_matplotlib_draws_heat_marks_and_names():
    axis = Axis("said", -0.5, 1.5, names=("one", "two"))
    heat = Heat("share", np.array([[90.0, 10.0], [np.nan, 50.0]]), 0, 100, written=True, unit="%")
    panel = Panel(
        "p", "Confusion", axis, Axis("heard", -0.5, 1.5, names=("one", "two"), down=True), [heat, Mark(0.5, "half")]
    )
    figure = picture.draw(Frame([panel], "alt", badge="emulated chip · synthetic speech"))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts if text.get_text().isdigit()] == ["90", "10", "50"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "two"]
    assert axes.get_ylim() == (1.5, -0.5)
    assert any("synthetic speech" in text.get_text() for text in figure.texts)


def test_a_panel_with_nothing_in_it_says_so():
    figure = picture.draw(frame_of(Series("a", [], []), empty="press “start”"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["press “start”"]


@pytest.mark.parametrize("along", ["x", "y"])
@pytest.mark.parametrize("at", [(0.02,), (0.98,), (0.5, 0.52), (0.02, 0.98, 0.95)])
def test_words_of_marks_meet_neither_legend_nor_each_other_nor_the_edge(at, along):
    x = np.linspace(0, 3, 60)
    many = [Series(str(k), x, 2.5 + 2.5 * np.sin(3 * x + k)) for k in range(10)]
    marks = [Mark((3 if along == "x" else 5) * f, f"limit {f}", along) for f in at]
    figure = picture.draw(frame_of(*many, *marks))
    (axes,) = figure.axes
    renderer = renderer_of(figure)
    assert [text.get_text() for text in axes.texts] == [mark.name for mark in marks]
    assert_apart([*axes.texts, axes.get_legend()], renderer)
    room = axes.get_window_extent(renderer)
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert room.x0 - 2 < box.x0 < box.x1 < room.x1 + 2
        assert room.y0 - 2 < box.y0 < box.y1 < room.y1 + 2
