"""The Yin-Yang data set: its classes, its draws and its spikes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.datasets import yin_yang
from bss2lab.errors import InputError


def test_the_plane_is_divided_as_defined():
    points = {
        (0.75, 0.5): 2, (0.25, 0.5): 2, (0.75, 0.59): 2,  # the dots
        (0.75, 0.62): 1, (0.75, 0.7): 1,  # around the right dot
        (0.25, 0.62): 0, (0.25, 0.3): 0,  # around the left one
        (0.5, 0.9): 0, (0.5, 0.1): 1,  # above and below
        (0.01, 0.01): -1, (0.99, 0.99): -1,
    }  # fmt: skip
    assert yin_yang.classes_of(np.array(list(points))).tolist() == list(points.values())


@given(st.floats(0, 1), st.floats(0, 1))
def test_half_a_turn_takes_yin_to_yang(x, y):
    """The figure is symmetric: point by point, but for the lines between the classes."""
    here, there = yin_yang.classes_of(np.array([[x, y], [1 - x, 1 - y]]))
    nudged = yin_yang.classes_of(np.array([[x, y]]) + 1e-9 * np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]]))
    if len({here, *nudged}) == 1:
        assert there == {0: 1, 1: 0, 2: 2, -1: -1}[here]


def test_points_are_of_their_class_and_fill_its_area_evenly():
    drawn = yin_yang.generate(6000, 7)
    np.testing.assert_array_equal(yin_yang.classes_of(drawn.points), drawn.labels)
    assert np.bincount(drawn.labels) / 6000 == pytest.approx([1 / 3] * 3, abs=0.03)
    dots = drawn.points[drawn.labels == 2]
    right = dots[dots[:, 0] > 0.5] - [0.75, 0.5]
    assert len(right) / len(dots) == pytest.approx(0.5, abs=0.04)
    assert (np.hypot(*right.T) < 0.1 / np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.05)


def test_splits_have_their_sizes_and_share_no_point():
    sets = {split: yin_yang.load(split) for split in yin_yang.SIZES}
    assert {split: len(one) for split, one in sets.items()} == {"train": 5000, "validation": 1000, "test": 1000}
    assert len(np.unique(np.concatenate([one.points for one in sets.values()]), axis=0)) == 7000
    np.testing.assert_array_equal(yin_yang.load("test").points, sets["test"].points)
    with pytest.raises(InputError, match="split: expected train or validation or test, got 'all'"):
        yin_yang.load("all")


def test_a_point_becomes_four_spikes_and_a_bias_each_repeated():
    code = yin_yang.YinYangCode(early_us=2.0, late_us=26.0, bias_us=18.0, repeats=2)
    spikes = yin_yang.encode(np.array([[0.0, 0.25], [1.0, 0.5]]), code)
    times, units = spikes.sample(0)
    by_unit = dict(zip(units.tolist(), times.tolist(), strict=True))
    assert by_unit == pytest.approx({k + 5 * r: t for r in (0, 1) for k, t in enumerate((2.0, 8.0, 26.0, 20.0, 18.0))})
    assert (np.diff(times) >= 0).all()
    assert (len(spikes), spikes.n_units, spikes.duration_us) == (2, 10, 51.0)
    assert sorted(spikes.sample(1)[1].tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("points", "changes", "message"),
    [
        (np.array([[0.5, 1.2]]), {}, "points: expected x and y within 0 … 1"),
        (np.array([[0.5, np.nan]]), {}, "points: expected x and y within 0 … 1"),
        (np.array([0.5, 0.2]), {}, r"got shape \[2\]"),
        (np.array([[0.5, 0.2]]), {"duration_us": 20.0}, "expected a duration above the latest spike, 26 µs"),
    ],
)
def test_what_cannot_be_encoded_is_refused(points, changes, message):
    with pytest.raises(InputError, match=message):
        yin_yang.encode(points, yin_yang.YinYangCode(**changes))
