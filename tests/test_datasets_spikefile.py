"""The published HDF5 layout: what is in the file is what comes out, and what cannot be is refused by name."""

import os
import subprocess
import sys

import h5py
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from spoken import CLASSES, FILE, INFO, LABELS, SPEAKERS, made_up, speech_set

from bss2lab.datasets import spikefile
from bss2lab.datasets.speechset import SpeechSet, split_validation
from bss2lab.errors import DataError, InputError


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes(FILE.read_bytes())
    return path


def replaced(path, name, value, dtype=None):
    """Put another data set in the place of one (None: remove it)."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file.create_dataset(name, data=value, dtype=dtype)


def row_replaced(path, name, row, value):
    with h5py.File(path, "r+") as file:
        file[name][row] = value


def test_the_committed_file_holds_what_was_written():
    data, want = spikefile.read(FILE), made_up()
    for field in ("times_s", "units", "start", "stop", "labels", "speakers", "index"):
        got = getattr(data, field)
        assert got.dtype == getattr(want, field).dtype
        np.testing.assert_array_equal(got, getattr(want, field))
        assert not got.flags.writeable
    assert (data.classes, data.n_units, data.split, data.name) == (CLASSES, 700, "train", str(FILE))
    assert {name: list(values) for name, values in data.speaker_info.items()} == {
        "gender": ["female", "male", "female"],
        "age": [31, 24, 57],
        "body_height": [171, 183, 165],
    }


def test_known_spikes_of_the_committed_file():
    """Read with h5py alone."""
    with h5py.File(FILE) as file:
        assert set(file) == {"spikes", "labels", "extra"}
        assert set(file["extra"]) == {"speaker", "keys", "meta_info"}
        assert file["labels"][:].tolist() == LABELS
        assert file["extra/speaker"][:].tolist() == SPEAKERS
        assert [key.decode() for key in file["extra/keys"][:]] == list(CLASSES)
        assert [len(row) for row in file["spikes/times"]] == [40, 25, 33, 1, 0, 38]
        times, units = spikefile.read(FILE).sample(3)
        assert file["spikes/times"][3].tolist() == times.tolist()
        assert file["spikes/units"][3].tolist() == units.tolist()


def test_a_round_trip_loses_nothing_and_numbers_anew(tmp_path):
    path = tmp_path / "folder" / "part.h5"
    some = made_up().subset([5, 0, 4])
    spikefile.write(path, some)
    back = spikefile.read(path, split="test")
    assert [back.sample(i)[0].tolist() for i in range(3)] == [some.sample(i)[0].tolist() for i in range(3)]
    assert [back.sample(i)[1].tolist() for i in range(3)] == [some.sample(i)[1].tolist() for i in range(3)]
    assert back.labels.tolist() == [2, 0, 1]
    assert back.speakers.tolist() == [2, 0, 2]
    assert (back.index.tolist(), back.split) == ([0, 1, 2], "test")
    assert os.listdir(path.parent) == ["part.h5"]


def test_an_empty_set_and_unknown_speakers_can_be_written(tmp_path):
    path = tmp_path / "x.h5"
    spikefile.write(path, made_up().take(0))
    assert len(spikefile.read(path)) == 0
    spikefile.write(path, speech_set([([0.5], [3])], speakers=[-1], speaker_info={}))
    assert spikefile.read(path).speakers.tolist() == [-1]
    with pytest.raises(InputError, match=r"expected all speakers known, or none, got some unknown"):
        spikefile.write(path, speech_set([([0.5], [3]), ([0.5], [3])], speakers=[-1, 0]))
    assert spikefile.read(path).speakers.tolist() == [-1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.h5"
    spikefile.write(path, made_up())
    before = path.read_bytes()
    broken = made_up().subset([0])
    object.__setattr__(broken, "speaker_info", {"age": np.array([1j, None], dtype=object), "bad/..": 1})
    with pytest.raises(AttributeError):
        spikefile.write(path, broken)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.h5"]


@pytest.mark.parametrize(
    ("times", "units"),
    [(np.float16, np.uint16), (np.float32, np.int16), (np.float64, np.int64), (np.float64, np.uint8)],
)
def test_any_number_type_is_read(times, units, copy):
    want = made_up()
    for name, column, dtype in (("spikes/times", 0, times), ("spikes/units", 1, units)):
        with h5py.File(copy, "r+") as file:
            del file[name]
            rows = file.create_dataset(name, (6,), h5py.vlen_dtype(np.dtype(dtype)))
            for i in range(6):
                rows[i] = (want.sample(i)[column] % 200 if column else want.sample(i)[0]).astype(dtype)
    data = spikefile.read(copy)
    np.testing.assert_array_equal(data.times_s, want.times_s)
    np.testing.assert_array_equal(data.units, want.units % 200)


def test_without_extra_classes_are_numbers_and_speakers_unknown(copy):
    with h5py.File(copy, "r+") as file:
        del file["extra"]
    data = spikefile.read(copy)
    assert data.classes == ("0", "1", "2")
    assert data.speakers.tolist() == [-1] * 6
    assert data.speaker_info == {}
    with pytest.raises(InputError, match="expected recordings of known speakers, got unknown ones"):
        split_validation(data)


def test_unsorted_recordings_are_sorted_and_ties_keep_their_order(copy):
    row_replaced(copy, "spikes/times", 0, np.array([0.5, 0.25, 0.5, 0.25]))
    row_replaced(copy, "spikes/units", 0, np.array([4, 3, 2, 1]))
    times, units = spikefile.read(copy).sample(0)
    assert times.tolist() == [0.25, 0.25, 0.5, 0.5]
    assert units.tolist() == [3, 1, 4, 2]
    np.testing.assert_array_equal(spikefile.read(copy).sample(5)[0], made_up().sample(5)[0])


def test_other_numbers_of_units_classes_and_speakers(tmp_path):
    path = tmp_path / "wide.h5"
    many = speech_set(
        [([0.1], [1023])] * 40,
        list(range(40)),
        list(range(40)),
        n_units=1024,
        classes=tuple(f"word {i}" for i in range(40)),
    )
    spikefile.write(path, many)
    assert spikefile.read(path, n_units=1024).speakers.max() == 39
    with pytest.raises(DataError, match=r"wide.h5: expected units 0 … 699, got 1023 in recording 0"):
        spikefile.read(path)
    with pytest.raises(InputError, match="n_units"):
        spikefile.read(path, n_units=0)


DAMAGE = {
    "no times": (lambda p: replaced(p, "spikes/times", None), "expected a data set spikes/times"),
    "no units": (lambda p: replaced(p, "spikes/units", None), "expected a data set spikes/units"),
    "no spikes": (lambda p: replaced(p, "spikes", None), "spikes/times, got a file with extra, labels"),
    "no labels": (lambda p: replaced(p, "labels", None), "expected a data set labels"),
    "labels a group": (lambda p: (replaced(p, "labels", None), h5py.File(p, "r+").create_group("labels")), "kind"),
    "labels with two axes": (lambda p: replaced(p, "labels", np.zeros((6, 1), int)), "labels with one axis"),
    "real labels": (lambda p: replaced(p, "labels", np.zeros(6)), "integers in labels, got float64"),
    "times in a table": (lambda p: replaced(p, "spikes/times", np.zeros(6)), "one row of any length per recording"),
    "five labels": (lambda p: replaced(p, "labels", LABELS[:5]), "expected 5 rows in spikes/times, one per label"),
    "more units than times": (
        lambda p: row_replaced(p, "spikes/units", 2, np.zeros(34, int)),
        "as many units as times in recording 2, got 34 units and 33 times",
    ),
    "unit 700": (lambda p: row_replaced(p, "spikes/units", 3, [700]), "units 0 … 699, got 700 in recording 3"),
    "label 3": (lambda p: replaced(p, "labels", [*LABELS[:5], 3]), "labels 0 … 2, got 3"),
    "label −1": (lambda p: replaced(p, "labels", [*LABELS[:5], -1]), "labels 0 … 2, got -1"),
    "NaN": (lambda p: row_replaced(p, "spikes/times", 3, [np.nan]), "finite, got nan in recording 3"),
    "infinity": (lambda p: row_replaced(p, "spikes/times", 3, [np.inf]), "finite, got inf in recording 3"),
    "negative time": (lambda p: row_replaced(p, "spikes/times", 3, [-0.5]), "times ≥ 0 s and finite, got -0.5"),
    "five speakers": (lambda p: replaced(p, "extra/speaker", [0] * 5), "expected 6 speakers, one per recording, got 5"),
    "speaker 3": (lambda p: replaced(p, "extra/speaker", [0, 1, 2, 3, 0, 0]), "speakers 0 … 2, as in meta_info/"),
    "speaker −1": (lambda p: replaced(p, "extra/speaker", [0, 1, 2, -1, 0, 0]), "speakers numbered from 0, got -1"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-3000]), "a truncated or damaged one"),
    "only a signature": (lambda p: p.write_bytes(p.read_bytes()[:8]), "a truncated or damaged one"),
    "a web page": (lambda p: p.write_bytes(b"<!DOCTYPE html><html>404</html>"), "got a web page"),
    "text": (lambda p: p.write_bytes(b"times, units"), "something that is not HDF5, 12 bytes"),
    "empty": (lambda p: p.write_bytes(b""), "got an empty file"),
    "missing": (lambda p: p.unlink(), "No such file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "Is a directory"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_error_that_names_the_file(damage, words, copy):
    damage(copy)
    with pytest.raises(DataError) as caught:
        spikefile.read(copy)
    assert str(caught.value).startswith(f"{copy}: expected ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_negative_unit_and_real_units_are_refused(copy):
    for dtype, value, words in ((np.int16, -1, "units 0 … 699, got -1"), (np.float32, 5, "units as integers")):
        with h5py.File(copy, "r+") as file:
            del file["spikes/units"]
            rows = file.create_dataset("spikes/units", (6,), h5py.vlen_dtype(dtype))
            for i in range(6):
                rows[i] = np.full(len(file["spikes/times"][i]), value, dtype)
        with pytest.raises(DataError, match=words):
            spikefile.read(copy)


def test_a_time_beyond_float32_is_refused(copy):
    with h5py.File(copy, "r+") as file:
        del file["spikes/times"]
        rows = file.create_dataset("spikes/times", (6,), h5py.vlen_dtype(np.float64))
        for i, n in enumerate((40, 25, 33, 1, 0, 38)):
            rows[i] = np.full(n, 1e300)
    with pytest.raises(DataError, match="finite, got inf in recording 0"):
        spikefile.read(copy)


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(cut=st.integers(0, FILE.stat().st_size - 1))
def test_a_file_cut_anywhere_is_refused(cut, tmp_path):
    path = tmp_path / "cut.h5"
    path.write_bytes(FILE.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"cut\.h5: expected"):
        spikefile.read(path)


@st.composite
def recordings(draw):
    n = draw(st.integers(0, 6))
    pairs = []
    for _ in range(n):
        m = draw(st.integers(0, 8))
        times = draw(hnp.arrays(np.float32, m, elements=st.floats(0, 2, width=32)))
        pairs.append((np.sort(times), draw(hnp.arrays(np.int16, m, elements=st.integers(0, 699)))))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return pairs, labels


@hypothesis.settings(max_examples=50, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    content=recordings(),
    where=st.integers(0, 5),
    harm=st.sampled_from([None, "time", "unit", "row", "label"]),
)
def test_sound_files_come_back_and_unsound_ones_are_refused(content, where, harm, tmp_path):
    pairs, labels = content
    path = tmp_path / "any.h5"
    data = speech_set(pairs, labels)
    spikefile.write(path, data)
    filled = [i for i, (t, _) in enumerate(pairs) if len(t)]
    if harm is None or (harm != "label" and not filled) or not pairs:
        back = spikefile.read(path)
        np.testing.assert_array_equal(back.times_s, data.times_s)
        np.testing.assert_array_equal(back.units, data.units)
        np.testing.assert_array_equal(back.stop, data.stop)
        np.testing.assert_array_equal(back.labels, data.labels)
        return
    row = filled[where % len(filled)] if filled else 0
    with h5py.File(path, "r+") as file:
        if harm == "label":
            file["labels"][where % len(pairs)] = 3
        elif harm == "row":
            file["spikes/units"][row] = file["spikes/units"][row][1:]
        else:
            name, bad = ("spikes/times", np.nan) if harm == "time" else ("spikes/units", 700)
            values = file[name][row]
            values[where % len(values)] = bad
            file[name][row] = values
    with pytest.raises(DataError, match=r"any\.h5: expected"):
        spikefile.read(path)


def test_a_set_whose_parts_do_not_fit_is_refused():
    with pytest.raises(DataError, match="made up: expected 1 labels, one per recording, got 2"):
        speech_set([([0.1], [1])], labels=[0, 1])
    with pytest.raises(DataError, match="expected speakers numbered from 0, got -2"):
        speech_set([([0.1], [1])], speakers=[-2])


def test_subsets_share_the_events_and_remember_their_numbers():
    data = made_up()
    some = data.subset([4, 5, -6]).subset(np.array([False, True, True]))
    assert isinstance(some, SpeechSet)
    assert some.times_s is data.times_s
    assert some.index.tolist() == [5, 0]
    assert some.n_spikes.tolist() == [38, 40]
    np.testing.assert_array_equal(some.sample(0)[1], data.sample(5)[1])
    assert len(data.take(2)) == 2
    for bad in ([6], [[0]], [0.5], [-7]):
        with pytest.raises(InputError, match="recordings"):
            data.subset(np.array(bad))
    with pytest.raises(InputError, match="expected 0 … 6 recordings, got 7"):
        data.take(7)


def test_validation_speakers_are_nobodys_training_speakers():
    data = made_up()
    train, validation = split_validation(data, [1])
    assert (train.index.tolist(), validation.index.tolist()) == ([0, 1, 4, 5], [2, 3])
    assert (train.split, validation.split) == ("train", "validation")
    chosen = set()
    for seed in range(20):
        train, validation = split_validation(data, n_speakers=1, seed=seed)
        assert not set(train.speakers) & set(validation.speakers)
        assert sorted([*train.index, *validation.index]) == list(range(6))
        again = split_validation(data.subset([5, 4, 3, 2, 1, 0]), n_speakers=1, seed=seed)[1]
        assert set(again.speakers) == set(validation.speakers)
        chosen |= set(validation.speakers)
    assert chosen == {0, 1, 2}
    assert len(set(split_validation(data)[1].speakers)) == 2


@pytest.mark.parametrize(("speakers", "n"), [([3], 1), ([], 1), ([0, 1, 2], 1), (None, 0), (None, 3)])
def test_impossible_splits_are_refused(speakers, n):
    with pytest.raises(InputError, match="speakers: expected"):
        split_validation(made_up(), speakers, n_speakers=n)
    with pytest.raises(InputError, match="the test set is for the final number only"):
        split_validation(speech_set([([0.1], [1])], split="test"))


@pytest.mark.filterwarnings("default")
@pytest.mark.needs("tonic")
def test_tonic_reads_what_we_write(tmp_path):
    """Through tonic's own class."""
    hsd = importlib.import_module("tonic.datasets.hsd")
    data = made_up().subset([0, 1, 2, 3, 5])
    for name in ("shd_train.h5", "shd_train.h5.zip"):  # tonic looks for the archive, and reads the file beside it
        spikefile.write(tmp_path / "SHD" / name, data)
    theirs = hsd.SHD(str(tmp_path), train=True)
    assert len(theirs) == 5
    assert [key.decode() for key in theirs.classes] == list(CLASSES)
    assert theirs.speaker.tolist() == data.speakers.tolist()
    for i in range(5):
        events, label = theirs[i]
        times, units = data.sample(i)
        assert events["x"].tolist() == units.tolist()
        assert events["t"].tolist() == (times.astype(np.float64) * 1e6).astype(int).tolist()
        assert label == data.labels[i]
    assert set(INFO) == set(data.speaker_info)


def test_a_file_that_another_process_writes_to_names_the_lock_and_the_way_round_it(tmp_path):
    path = tmp_path / "open.h5"
    spikefile.write(path, made_up())
    hold = f"import h5py, sys; file = h5py.File({str(path)!r}, 'r+'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        try:
            h5py.File(path, "r").close()
        except OSError:
            with pytest.raises(DataError, match="HDF5_USE_FILE_LOCKING"):
                spikefile.read(path)
        else:
            other.stdin.close()
            pytest.skip("HDF5 locks no files here")
        other.stdin.close()
    assert len(spikefile.read(path)) == len(made_up())
