"""Statistics of spikes: known answers on made-up recordings."""

import numpy as np
import pytest
from spoken import CLASSES, speech_set

from bss2lab.datasets.statistics import BIN_S, compare, read_samples, statistics_of
from bss2lab.errors import DataError, InputError


def spread(channels, n=400, end_s=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, end_s, n)), rng.integers(*channels, n)


def test_golden_statistics():
    found = statistics_of(speech_set([([0.0, 0.01, 0.03], [5, 5, 7]), ([0.5], [699]), ([], [])]), "three")
    assert found.name == "three"
    assert found.n_spikes.tolist() == [3, 1, 0]
    np.testing.assert_allclose(found.durations_s, [0.03, 0.5, 0.0], rtol=1e-6)
    assert {int(c): round(3 * found.channels[c]) for c in np.flatnonzero(found.channels)} == {5: 2, 7: 1, 699: 1}
    assert {int(b): round(3 * BIN_S * found.rate_per_s[b]) for b in np.flatnonzero(found.rate_per_s)} == {
        0: 2,
        1: 1,
        20: 1,
    }


def test_late_spikes_are_left_out_of_the_profile_alone():
    found = statistics_of(speech_set([([0.1, 3.0], [0, 0])]))
    assert (found.n_spikes.tolist(), found.durations_s.tolist()) == ([2], [3.0])
    assert round(found.rate_per_s.sum() * BIN_S) == 1


def test_a_set_agrees_with_itself():
    found = statistics_of(speech_set([spread((0, 700)), spread((0, 700), 300, 0.7, 1)]))
    match = compare(found, found)
    assert (match.spikes_ks, match.duration_ks) == (0.0, 0.0)
    assert (match.channel_overlap, match.time_overlap) == (pytest.approx(1.0), pytest.approx(1.0))
    assert (match.channel_correlation, match.time_correlation) == (pytest.approx(1.0), pytest.approx(1.0))


def test_sets_that_have_nothing_in_common():
    low = statistics_of(speech_set([spread((0, 300)), spread((0, 300), 390, 0.9)]))
    high = statistics_of(speech_set([spread((400, 700), 900, 0.5), spread((400, 700), 990, 0.4)]))
    match = compare(low, high)
    assert (match.spikes_ks, match.duration_ks) == (1.0, 1.0)
    assert match.channel_overlap == pytest.approx(0.0)
    assert match.channel_correlation < -0.5
    assert match.time_overlap == pytest.approx(0.5, abs=0.15)


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    from scipy import stats

    rng = np.random.default_rng(3)
    sizes = [rng.integers(1, 40, n) for n in (25, 40)]
    sets = [speech_set([(np.zeros(k), np.zeros(k)) for k in size]) for size in sizes]
    found = compare(*map(statistics_of, sets)).spikes_ks
    assert found == pytest.approx(stats.ks_2samp(*sizes).statistic)


def test_single_recordings_are_read(tmp_path):
    path = tmp_path / "some.npz"
    rows = {2: ([0.25, 0.5], [699, 3]), 0: ([0.1], [4])}
    arrays = {}
    for label, (times, units) in rows.items():
        arrays |= {f"times_{label}": np.array(times, np.float16), f"units_{label}": np.array(units, np.int16)}
    np.savez(path, **arrays)
    data = read_samples(path, CLASSES)
    assert data.labels.tolist() == [0, 2]
    assert data.sample(1)[0].tolist() == [0.25, 0.5]
    assert data.sample(1)[1].tolist() == [699, 3]
    assert data.speakers.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.zeros(3)},
        {"times_0": np.zeros(3)},
        {"times_0": np.zeros(3), "units_0": np.zeros(2)},
        {"times_0": np.zeros(0), "units_0": np.zeros(0)},
        {"times_x": np.zeros(3), "units_x": np.zeros(3)},
        {"times_7": np.zeros(3), "units_7": np.zeros(3)},
    ],
)
def test_other_archives_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(DataError, match=r"other\.npz: expected"):
        read_samples(tmp_path / "other.npz", CLASSES)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_bytes(b"nothing of the kind")
    for name in ("text.npz", "gone.npz"):
        with pytest.raises(DataError, match=rf"{name}: expected a NumPy archive"):
            read_samples(tmp_path / name, CLASSES)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="made up: expected recordings with spikes, got none"):
        statistics_of(speech_set([([], [])]))
    few = statistics_of(speech_set([([0.1], [3])], n_units=10))
    with pytest.raises(InputError, match="channels: expected the same number in both, got 10 and 700"):
        compare(few, statistics_of(speech_set([([0.1], [3])])))
