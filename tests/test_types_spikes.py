"""Spikes: what goes in comes out, what cannot be right is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.errors import InputError
from bss2lab.types import Spikes

DURATION_US = 34.0
N_UNITS = 5

events = st.lists(st.tuples(st.floats(0, DURATION_US, exclude_max=True), st.integers(0, N_UNITS - 1)), max_size=12)
batches = st.lists(events, max_size=6)


def build(batch):
    """Spikes of a list of lists of (time, unit), and those lists sorted by time."""
    batch = [sorted(sample) for sample in batch]
    pairs = [(np.array([t for t, _ in sample]), np.array([u for _, u in sample], dtype=int)) for sample in batch]
    return Spikes.from_events(pairs, n_units=N_UNITS, duration_us=DURATION_US), batch


def as_lists(spikes):
    return [list(zip(*(a.tolist() for a in spikes.sample(b)), strict=True)) for b in range(len(spikes))]


def rounded(batch):
    last = float(np.nextafter(np.float32(DURATION_US), np.float32(0)))
    return [[(min(float(np.float32(t)), last), u) for t, u in sample] for sample in batch]


@given(batches)
def test_events_come_back_as_they_went_in(batch):
    spikes, batch = build(batch)
    assert as_lists(spikes) == rounded(batch)
    assert (spikes.times_us < DURATION_US).all()


@given(batches, st.data())
def test_select_equals_picking_from_the_list(batch, data):
    spikes, batch = build(batch)
    index = data.draw(st.lists(st.integers(-len(batch), len(batch) - 1), max_size=8) if batch else st.just([]))
    assert as_lists(spikes.select(np.array(index, dtype=int))) == [rounded(batch)[i] for i in index]


@given(batches)
def test_select_takes_one_boolean_per_sample(batch):
    spikes, batch = build(batch)
    busy = np.array([len(sample) > 2 for sample in batch], dtype=bool)
    assert as_lists(spikes.select(busy)) == [sample for sample in rounded(batch) if len(sample) > 2]


@given(batches, st.floats(0.1, 40))
def test_until_drops_what_comes_later(batch, duration_us):
    spikes, batch = build(batch)
    cut = spikes.until(duration_us)
    assert as_lists(cut) == [[e for e in sample if e[0] < np.float32(duration_us)] for sample in rounded(batch)]
    assert cut.duration_us == duration_us
    assert cut.n_units == N_UNITS


@given(batches)
def test_dense_counts_every_event_in_its_bin(batch):
    spikes, batch = build(batch)
    counts = np.zeros((len(batch), 20, N_UNITS), dtype=int)
    for b, sample in enumerate(rounded(batch)):
        for t, u in sample:
            counts[b, min(int(t / 1.7 + 1e-4), 19), u] += 1
    dense = spikes.dense(1.7)
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(dense, counts)


@pytest.mark.parametrize("dt_us", [1.7, 0.85, 0.1, 1.0])
def test_a_spike_on_the_edge_of_a_bin_belongs_to_the_bin_that_begins(dt_us):
    n = 400
    edges = Spikes.from_events([(np.arange(n) * dt_us, np.zeros(n, dtype=int))], n_units=1, duration_us=n * dt_us)
    np.testing.assert_array_equal(edges.bins(dt_us), np.arange(n))


@pytest.mark.parametrize("dt_us", [1.7, 0.85])
def test_one_time_stamp_before_the_edge_is_still_the_bin_before(dt_us):
    times = np.arange(1, 400) * dt_us - 0.008
    before = Spikes.from_events([(times, np.zeros(399, dtype=int))], n_units=1, duration_us=400 * dt_us)
    np.testing.assert_array_equal(before.bins(dt_us), np.arange(399))


def test_time_just_below_the_end_stays_below_it_in_float32():
    spikes = Spikes.from_events([(np.array([34.0 - 1e-12]), np.array([0]))], n_units=1, duration_us=34.0)
    assert spikes.times_us[0] < np.float32(34.0)
    assert spikes.bins(1.7).tolist() == [19]


def test_no_samples_and_empty_samples_are_allowed():
    assert len(Spikes.from_events([], n_units=3, duration_us=1.0)) == 0
    silent = Spikes.from_events([([], []), ([], [])], n_units=3, duration_us=2.0)
    assert silent.offsets.tolist() == [0, 0, 0]
    assert silent.dense(1.0).sum() == 0
    assert silent.select([1]).offsets.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("times", "units", "words"),
    [
        ([-0.5], [0], ["times ≥ 0", "-0.5", "shift"]),
        ([34.0], [0], ["below the run's 34 µs", "34 µs", "until"]),
        ([2.0, 1.0], [0, 1], ["rising order", "sort"]),
        ([np.nan], [0], ["finite", "NaN"]),
        ([np.inf], [0], ["finite", "infinity"]),
        ([1.0], [5], ["units 0 … 4", "got 5"]),
        ([1.0], [-1], ["units 0 … 4", "got -1"]),
        ([1.0], [0.0], ["integer units", "float64"]),
        ([1.0, 2.0], [0], ["equal length", "(2,)", "(1,)"]),
    ],
)
def test_bad_events_are_refused_by_sample(times, units, words):
    good = (np.array([1.0]), np.array([0]))
    with pytest.raises(InputError) as caught:
        Spikes.from_events([good, (np.array(times), np.array(units))], n_units=5, duration_us=34.0)
    for word in ["sample 1", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("duration_us", [0.0, -1.0, np.nan, np.inf])
def test_duration_must_be_a_positive_number(duration_us):
    with pytest.raises(InputError, match="duration_us: expected a positive time"):
        Spikes.from_events([], n_units=1, duration_us=duration_us)
    with pytest.raises(InputError, match="duration_us: expected a positive time"):
        build([[(1.0, 0)]])[0].until(duration_us)


@pytest.mark.parametrize("n_units", [0, -1, 2**15 + 1])
def test_units_must_fit_their_type(n_units):
    with pytest.raises(InputError, match="n_units: expected 1 … 32768"):
        Spikes.from_events([], n_units=n_units, duration_us=1.0)


@pytest.mark.parametrize("dt_us", [0.0, -1.7, 100.0, np.nan])
def test_a_step_without_a_bin_is_refused(dt_us):
    with pytest.raises(InputError, match="dt_us: expected a step"):
        build([[(1.0, 0)]])[0].bins(dt_us)
    with pytest.raises(InputError, match="dt_us: expected a step"):
        build([[(1.0, 0)]])[0].dense(dt_us)


@pytest.mark.parametrize("index", [[2], [-3], [0.5], [[0]], [True], 0])
def test_bad_sample_numbers_are_refused(index):
    with pytest.raises(InputError, match="sample index: expected"):
        build([[(1.0, 0)], []])[0].select(np.array(index))


@pytest.mark.parametrize("index", [2, -3])
def test_sample_refuses_what_is_not_there(index):
    with pytest.raises(InputError, match="sample index: expected 0 … 1"):
        build([[(1.0, 0)], []])[0].sample(index)


def test_sample_counts_from_the_end_like_a_list():
    spikes, _ = build([[(1.0, 0)], [(2.0, 3)]])
    assert spikes.sample(-1)[1].tolist() == [3]
