"""``bss2lab data``: what is here, whether it is whole, and what to do about it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bss2lab import bundle
from bss2lab.cli import main
from bss2lab.datasets import files
from bss2lab.datasets.catalogue import CATALOGUE, entry

pytestmark = pytest.mark.slow

LABELS = "t10k-labels-idx1-ubyte.gz"
NAMES = [file.name for file in entry("mnist").files]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A computer on which nothing lies anywhere yet, and no mirror answers."""
    monkeypatch.setattr(bundle, "path", lambda name: tmp_path / "no package" / name)
    monkeypatch.setattr(files, "_download", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BSS2LAB_DATA", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "data" / "mnist"


ORIGINALS = {name: path for name, path in files.locate("mnist").items() if path is not None}


@pytest.fixture
def copy(elsewhere):
    """The same, with a good copy of MNIST."""
    for name, path in ORIGINALS.items():
        shutil.copyfile(path, elsewhere / name)
    return elsewhere


def rows(text):
    """Return {file: (data set, status, place, the rest)} of a listing."""
    table = {}
    for line in text.splitlines():
        dataset, status, where, path, *detail = line.split(maxsplit=4)
        table[f"{dataset}/{Path(path).name}"] = dataset, status, where, " ".join(detail)
    return table


def test_the_repositorys_own_mnist_is_whole(capsys):
    assert main(["data", "verify", "mnist"]) == 0
    table = rows(capsys.readouterr().out)
    assert set(table) == {f"mnist/{name}" for name in NAMES}
    assert all(row[1] == "ok" for row in table.values())


def test_list_names_every_file_of_every_data_set_and_always_succeeds(elsewhere, capsys):
    assert main(["data", "list"]) == 0
    table = rows(capsys.readouterr().out)
    assert set(table) == {f"{name}/{file.name}" for name, dataset in CATALOGUE.items() for file in dataset.files}
    for name in NAMES:
        assert table[f"mnist/{name}"][1:3] == ("missing", "—")
        assert re.search(r"`bss2lab data fetch mnist` downloads it \(\d+\.\d MB\)", table[f"mnist/{name}"][3])


def test_verify_accepts_a_good_copy_and_says_where_it_is(copy, capsys):
    assert main(["data", "verify", "mnist"]) == 0
    out = capsys.readouterr().out
    assert {row[1:3] for row in rows(out).values()} == {("ok", "data")}
    assert out.count(str(copy)) == 4


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda packed: packed[: len(packed) // 2], "a truncated file"),
        (lambda packed: b"", "an empty file"),
        (lambda packed: b"<!DOCTYPE html><html>503</html>", "a web page"),
        (lambda packed: packed[:100] + bytes([packed[100] ^ 1]) + packed[101:], "expected gzip of 10,008 bytes"),
    ],
)
def test_verify_fails_on_a_damaged_file_and_names_it_alone(damage, words, copy, capsys):
    (copy / LABELS).write_bytes(damage((copy / LABELS).read_bytes()))
    assert main(["data", "verify", "mnist"]) == 1
    out, err = capsys.readouterr()
    table = rows(out)
    assert {name for name, row in table.items() if row[1] != "ok"} == {f"mnist/{LABELS}"}
    assert table[f"mnist/{LABELS}"][1] == "corrupt"
    assert words in table[f"mnist/{LABELS}"][3]
    assert "bss2lab data fetch mnist" in table[f"mnist/{LABELS}"][3]
    assert err == ""


def test_verify_fails_on_a_missing_file(copy, capsys):
    (copy / LABELS).unlink()
    assert main(["data", "verify", "mnist"]) == 1
    assert rows(capsys.readouterr().out)[f"mnist/{LABELS}"][1] == "missing"


def test_list_shows_a_damaged_file_and_succeeds(copy, capsys):
    (copy / LABELS).write_bytes(b"damaged")
    assert main(["data", "list"]) == 0
    assert rows(capsys.readouterr().out)[f"mnist/{LABELS}"][1] == "corrupt"


def test_fetch_of_what_is_here_asks_no_network_and_prints_the_paths(copy, capsys):
    assert main(["data", "fetch", "mnist"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(line.endswith(str(copy / line.split()[0])) for line in lines)


def test_fetch_does_not_touch_a_damaged_file_of_the_users_own(copy, capsys):
    (copy / LABELS).write_bytes(b"damaged")
    assert main(["data", "fetch", "mnist"]) == 2
    _, err = capsys.readouterr()
    assert err.startswith(f"bss2lab: {copy / LABELS}: expected gzip of 10,008 bytes")
    assert err.count("\n") == 1
    assert (copy / LABELS).read_bytes() == b"damaged"


def test_training_on_a_damaged_file_is_refused(copy, capsys):
    (copy / LABELS).write_bytes(b"damaged")
    assert main(["train", "mnist", "--limit", "100", "--epochs", "1", "--n-hidden", "10", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert LABELS in err


@pytest.mark.parametrize("verb", ["fetch", "verify"])
def test_an_unknown_data_set_is_refused_with_those_there_are(verb, capsys):
    assert main(["data", verb, "nonsense"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err
        == "bss2lab: data set: expected 'mnist' or 'fashion' or 'speech' or 'shd', got 'nonsense'; choose one of them\n"
    )


def test_a_data_folder_that_is_not_there_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BSS2LAB_DATA", str(tmp_path / "nowhere"))
    assert main(["data", "verify", "mnist"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"bss2lab: BSS2LAB_DATA: expected a folder, got {str(tmp_path / 'nowhere')!r};")


@pytest.mark.parametrize("words", [["data"], ["data", "delete"], ["data", "fetch"]])
def test_a_missing_or_unknown_verb_is_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_shell_sees_status_1_for_a_damaged_file(copy):
    (copy / LABELS).write_bytes(b"damaged")
    command = [sys.executable, "-m", "bss2lab.cli", "data", "verify", "mnist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert rows(done.stdout)[f"mnist/{LABELS}"][1] == "corrupt"
    assert done.stderr == ""
