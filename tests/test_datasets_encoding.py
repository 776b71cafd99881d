"""Latency code: held to a slow twin that is the formula and nothing else, and to spike times of named images.

The golden numbers below were computed with Pillow's resize and the slow twin, not with the code under test.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bss2lab.config import Source
from bss2lab.datasets import vision
from bss2lab.datasets.encoding import LatencyCode, encode, latency_table
from bss2lab.errors import InputError

STAMP_US = 0.008


def slow_twin(image, tau_in_us=8.0, theta_in=0.2, duration_us=34.0):
    """Spikes of one image as a sorted list of (time stamp in units of 8 ns, unit)."""
    raw = []
    for unit, value in enumerate(image.ravel().tolist()):
        x = value / 255
        if x > theta_in:  # at x = θ the time is infinite
            raw.append((tau_in_us * math.log(x / (x - theta_in)), unit))
    first = min((t for t, _ in raw), default=0.0)
    events = []
    for t, unit in raw:
        if t - first < duration_us:
            stamp = math.floor((t - first) / STAMP_US + 0.5)
            while np.float32(stamp * STAMP_US) >= np.float32(duration_us):
                stamp -= 1
            events.append((stamp, unit))
    return sorted(events)


def stamps(spikes, index):
    times, units = spikes.sample(index)
    return list(zip((times / STAMP_US).round().astype(int).tolist(), units.tolist(), strict=True))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5))))
def test_equals_the_slow_twin_on_random_images(images):
    spikes = encode(images)
    assert len(spikes) == len(images)
    assert spikes.n_units == images.shape[1] * images.shape[2]
    for b, image in enumerate(images):
        assert stamps(spikes, b) == slow_twin(image)


@given(
    hnp.arrays(np.uint8, (3, 4, 4)),
    st.floats(0.5, 100),
    st.floats(0.01, 0.95),
    st.floats(0.1, 200),
)
def test_equals_the_slow_twin_for_other_codes(images, tau_in_us, theta_in, duration_us):
    spikes = encode(images, LatencyCode(tau_in_us=tau_in_us, theta_in=theta_in, duration_us=duration_us))
    for b, image in enumerate(images):
        expected = slow_twin(image, tau_in_us, theta_in, duration_us)
        assert stamps(spikes, b) == expected
    assert (spikes.times_us < np.float32(duration_us)).all()


def test_equals_the_slow_twin_on_every_pair_of_grey_values():
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 1, 2).astype(np.uint8)
    spikes = encode(pairs)
    for b in range(0, len(pairs), 7):
        assert stamps(spikes, b) == slow_twin(pairs[b])


def test_times_lie_on_the_chips_grid_within_half_a_stamp_of_the_formula():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    times, units = encode(ramp).sample(0)
    x = units / 255
    exact = 8.0 * np.log(x / (x - 0.2)) - 8.0 * math.log(1 / 0.8)
    assert len(times) == 204  # 52 … 255; 51/255 is θ itself
    assert np.abs(times - exact).max() <= STAMP_US / 2 + 1e-6
    np.testing.assert_allclose(times / STAMP_US, (times / STAMP_US).round(), atol=1e-3)


def test_brighter_is_earlier_and_the_brightest_comes_at_zero():
    image = np.array([[[60, 255], [120, 0]]], dtype=np.uint8)
    times, units = encode(image).sample(0)
    assert units.tolist() == [1, 2, 0]
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    dimmer = encode(np.array([[[60, 120], [119, 0]]], dtype=np.uint8))
    assert dimmer.times_us[0] == 0  # the shift is per image


def test_equal_times_stay_in_order_of_units():
    """Bright neighbours lie less than 8 ns apart, so several grey values may share one time stamp."""
    image = np.array([[[240, 255, 241, 255, 240, 241]]], dtype=np.uint8)
    times, units = encode(image).sample(0)
    order = np.lexsort((units, times))
    np.testing.assert_array_equal(order, np.arange(6))
    merged = encode(np.array([[[200, 199, 200, 198]]], dtype=np.uint8), LatencyCode(tau_in_us=0.1)).sample(0)
    assert merged[0].tolist() == [0, 0, 0, 0]  # all within half a stamp
    assert merged[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [0, 50, 51])
def test_blank_and_too_dark_images_have_no_spike(value):
    images = np.zeros((3, 16, 16), dtype=np.uint8)
    images[1] = value
    images[2, 3, 4] = 255
    spikes = encode(images)
    assert spikes.offsets.tolist() == [0, 0, 0, 1]
    assert spikes.units.tolist() == [3 * 16 + 4]


def test_spikes_at_or_beyond_the_end_are_dropped():
    image = np.array([[[255, 100, 60]]], dtype=np.uint8)
    times = encode(image).times_us.tolist()
    assert len(times) == 3
    assert len(encode(image, LatencyCode(duration_us=times[2] - 0.1))) == 1
    assert encode(image, LatencyCode(duration_us=times[2] - 0.1)).times_us.tolist() == times[:2]
    assert encode(image, LatencyCode(duration_us=times[1] - 0.1)).times_us.tolist() == times[:1]


def test_rounding_never_moves_a_spike_to_the_end():
    tried = 0
    for value in range(52, 254):
        x = value / 255
        exact = 8 * math.log(x / (x - 0.2)) - 8 * math.log(1.25)
        stamp = math.floor(exact / STAMP_US + 0.5)
        if stamp * STAMP_US > exact + 1e-4:  # rounds up: let the image end between the two
            tried += 1
            image = np.array([[[255, value]]], dtype=np.uint8)
            spikes = encode(image, LatencyCode(duration_us=exact + 1e-4))
            assert stamps(spikes, 0) == [(0, 0), (stamp - 1, 1)]
            assert spikes.times_us[1] < spikes.duration_us
    assert tried > 50


def test_table_is_the_formula():
    table = latency_table(LatencyCode())
    assert table.shape == (256, 256)
    assert np.isinf(table[:, :52]).all()
    assert np.isinf(table[100, 101:]).all()
    assert (np.diagonal(table)[52:] == 0).all()
    assert table[255, 102] == pytest.approx(8 * math.log(2) - 8 * math.log(1.25), abs=0.004)


def test_code_states_where_its_numbers_come_from():
    table = LatencyCode.provenance()
    assert {row["source"] for row in table.values()} == {Source.AUTHORS_CODE.value}
    assert {name: row["unit"] for name, row in table.items()} == {
        "tau_in_us": "µs",
        "theta_in": "",
        "duration_us": "µs",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"tau_in_us": 0},
        {"theta_in": 0},
        {"theta_in": 1},
        {"duration_us": 0},
        {"duration_us": float("nan")},
        {"tau": 8},
    ],
)
def test_bad_parameters_are_refused(change):
    with pytest.raises(InputError, match=f"{next(iter(change))}: expected"):
        LatencyCode(**change)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 16, 16)), ["uint8", "float64", "astype(np.uint8)"]),
        (np.full((1, 16, 16), np.inf, dtype=np.float32), ["uint8", "float32"]),
        (np.zeros((2, 256), dtype=np.uint8), ["[n, height, width]", "(2, 256)"]),
        (np.zeros((16, 16), dtype=np.uint8), ["[n, height, width]", "(16, 16)"]),
        (np.zeros((2, 200, 200), dtype=np.uint8), ["1 … 32768 pixels", "40000"]),
        (np.zeros((2, 0, 16), dtype=np.uint8), ["1 … 32768 pixels", "got 0"]),
    ],
)
def test_bad_images_are_refused(images, words):
    with pytest.raises(InputError) as caught:
        encode(images)
    for word in words:
        assert word in str(caught.value)


GOLDEN = {
    ("mnist", "test"): {
        "n": 46,
        "stamps": ([0, 0, 4, 7, 9], [1044, 1371, 1585, 1775, 2667]),
        "units": ([231, 246, 138, 200, 123], [201, 214, 168, 137, 66]),
        "bins": ([0, 0, 0, 0, 0], [4, 6, 7, 8, 12]),
    },
    ("mnist", "train"): {
        "n": 67,
        "stamps": ([0, 0, 0, 0, 0], [945, 1435, 1506, 1585, 2028]),
        "units": ([55, 56, 57, 70, 137], [46, 244, 197, 225, 169]),
        "bins": ([0, 0, 0, 0, 0], [4, 6, 7, 7, 9]),
    },
    ("fashion", "test"): {
        "n": 80,
        "stamps": ([0, 10, 23, 45, 72], [1101, 1239, 1487, 1756, 3709]),
        "units": ([188, 189, 190, 187, 186], [203, 93, 143, 104, 148]),
        "bins": ([0, 0, 0, 0, 0], [5, 5, 6, 8, 17]),
    },
}


NEEDED = {"mnist": [], "fashion": pytest.mark.needs("Fashion-MNIST")}


@pytest.mark.parametrize(("name", "split"), [pytest.param(*key, marks=NEEDED[key[0]]) for key in GOLDEN])
def test_first_image_gives_the_golden_spikes(name, split, image_set):
    data = image_set(name, split).take(1)
    spikes = encode(data.prepare())
    expected = GOLDEN[name, split]
    events = stamps(spikes, 0)
    bins = spikes.bins(1.7).tolist()
    assert len(events) == expected["n"]
    for part, where in ((slice(5), 0), (slice(-5, None), 1)):
        assert [stamp for stamp, _ in events[part]] == expected["stamps"][where]
        assert [unit for _, unit in events[part]] == expected["units"][where]
        assert bins[part] == expected["bins"][where]
    assert events == slow_twin(data.prepare()[0])


def test_mnist_test_images_have_sixty_five_spikes_on_average(image_set):
    data = image_set("mnist", "test")
    spikes = encode(data.prepare())
    assert len(spikes.times_us) / len(spikes) == pytest.approx(64.92, abs=0.005)
    sharper = encode(data.prepare(resampling="spline"))
    assert len(sharper.times_us) / len(sharper) == pytest.approx(56.96, abs=0.005)


@pytest.fixture(scope="session")
def image_set():
    """Load a split once."""
    loaded = {}

    def get(name, split):
        if (name, split) not in loaded:
            loaded[name, split] = vision.load(name, split)
        return loaded[name, split]

    return get
