"""Finding and checking files: nothing wrong is accepted, and what is there needs no network."""

import gzip
import hashlib

import pytest

from bss2lab.datasets import catalogue, files
from bss2lab.errors import DataError, InputError

CONTENT = {"a.gz": bytes(range(256)) * 40, "b.gz": b"labels" * 50}
PACKED = {name: gzip.compress(content, 9, mtime=1) for name, content in CONTENT.items()}
REPACKED = {name: gzip.compress(content, 1, mtime=2) for name, content in CONTENT.items()}
PAGE = b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set of two small files, in no place yet."""
    dataset = catalogue.ImageDataset(
        name="tiny",
        title="Tiny",
        files=tuple(
            catalogue.DataFile(
                name,
                content_bytes=len(content),
                content_sha256=hashlib.sha256(content).hexdigest(),
                download_bytes=len(PACKED[name]),
                download_sha256=hashlib.sha256(PACKED[name]).hexdigest(),
            )
            for name, content in CONTENT.items()
        ),
        mirrors=("http://127.0.0.1:9/",),  # nobody listens there: what asks the network fails
        system=tmp_path / "system",
        crop=0,
        classes=("x",),
        licence="none",
        source="this test",
    )
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", dataset)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def put(folder, packed=REPACKED):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in packed.items():
        (folder / name).write_bytes(content)


def everything_below(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_places_are_searched_in_order(tiny, monkeypatch):
    (tiny / "chosen").mkdir()
    monkeypatch.setenv("BSS2LAB_DATA", str(tiny / "chosen"))
    places = [
        ("system", tiny / "system"),
        ("cache", tiny / "cache" / "tiny"),
        ("data", tiny / "work" / "data" / "tiny"),
        ("data", tiny / "chosen" / "tiny"),
    ]
    assert files.locate("tiny") == {"a.gz": None, "b.gz": None}
    for where, folder in places:
        put(folder)
        assert files.locate("tiny") == {name: folder / name for name in CONTENT}
        assert [(r.status, r.where) for r in files.verify("tiny")] == [("ok", where)] * 2
        assert files.read("tiny", "a.gz") == CONTENT["a.gz"]


def test_each_file_is_looked_for_by_itself(tiny):
    put(tiny / "system")
    (tiny / "cache" / "tiny").mkdir(parents=True)
    (tiny / "cache" / "tiny" / "b.gz").write_bytes(PACKED["b.gz"])
    assert [r.where for r in files.verify("tiny")] == ["system", "cache"]


def test_the_repository_brings_mnist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    records = files.verify("mnist")
    assert [(r.status, r.where) for r in records] == [("ok", "data")] * 4
    assert {r.path.parent.name for r in records} == {"mnist"}


def test_a_data_folder_that_is_not_there_is_an_error(tiny, monkeypatch):
    monkeypatch.setenv("BSS2LAB_DATA", str(tiny / "nowhere"))
    with pytest.raises(InputError, match=r"BSS2LAB_DATA: expected a folder, got '.*nowhere'"):
        files.locate("tiny")


@pytest.mark.parametrize("verb", [files.locate, files.fetch, files.verify])
def test_unknown_names_are_refused_with_the_known_ones(verb):
    with pytest.raises(
        InputError, match="expected 'mnist' or 'fashion' or 'speech' or 'shd', got 'fasion'; did you mean 'fashion'"
    ):
        verb("fasion")
    with pytest.raises(InputError, match="got 'xyz'; choose one of them"):
        verb("xyz")


def test_unknown_files_are_refused(tiny):
    with pytest.raises(InputError, match=r"file of tiny: expected a.gz, b.gz, got 'c.gz'"):
        files.read("tiny", "c.gz")


def test_listing_covers_the_catalogue(tiny):
    put(tiny / "cache" / "tiny")
    (tiny / "cache" / "tiny" / "b.gz").unlink()
    records = {(r.dataset, r.file): r for r in files.listing()}
    assert {dataset for dataset, _ in records} == {"mnist", "fashion", "speech", "shd", "tiny"}
    missing = records["tiny", "b.gz"]
    assert (missing.status, missing.where, missing.path) == ("missing", "—", None)
    assert "bss2lab data fetch tiny" in missing.detail
    assert records["tiny", "a.gz"].status == "ok"
    assert "10,240 bytes" in records["tiny", "a.gz"].detail


def flipped(packed, position):
    changed = bytearray(packed)
    changed[position] ^= 0x10
    return bytes(changed)


DAMAGE = {
    "empty": (b"", "an empty file"),
    "web page": (PAGE, "a web page"),
    "no gzip": (CONTENT["a.gz"], "something that is not gzip"),
    "truncated": (PACKED["a.gz"][:-20], "truncated"),
    "only a header": (PACKED["a.gz"][:10], "truncated"),
    "bit flip in the data": (flipped(PACKED["a.gz"], 40), "got"),
    "bit flip in the checksum": (flipped(PACKED["a.gz"], -6), "damaged gzip data"),
    "other content": (gzip.compress(flipped(CONTENT["a.gz"], 7)), "10,240 bytes with SHA-256"),
    "shorter content": (gzip.compress(CONTENT["a.gz"][:-1]), "10,239 bytes with SHA-256"),
    "longer content": (gzip.compress(CONTENT["a.gz"] + b"\0"), "gzip of more bytes"),
    "a bomb": (gzip.compress(b"\0" * 50_000_000, 1), "gzip of more bytes"),
    "something behind it": (PACKED["a.gz"] + b"\0\0", "2 bytes behind the end"),
    "the other file": (PACKED["b.gz"], "300 bytes with SHA-256"),
    "a huge file": (b"\x1f\x8b" + bytes(2_000_000), "a file of 2,000,002 bytes"),
}


@pytest.mark.parametrize(("packed", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_never_used(packed, words, tiny):
    put(tiny / "system")  # a good copy further down must not hide the damage
    path = tiny / "work" / "data" / "tiny" / "a.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(packed)
    with pytest.raises(DataError) as caught:
        files.read("tiny", "a.gz")
    for word in (
        str(path),
        catalogue.entry("tiny").files[0].content_sha256,
        "delete it",
        "data fetch tiny",
        words,
    ):
        assert word in str(caught.value)
    record = files.verify("tiny")[0]
    assert (record.status, record.where, record.path) == ("corrupt", "data", path)
    assert record.detail == str(caught.value)
    with pytest.raises(DataError, match="delete it"):
        files.fetch("tiny", progress=False)  # not ours to replace
    assert path.read_bytes() == packed


def test_every_bit_flip_is_noticed(tiny):
    path = tiny / "cache" / "tiny" / "b.gz"
    put(path.parent)
    packed = PACKED["b.gz"]
    harmless = set(range(3, 10))  # flags, date and system in the gzip header: no part of the content
    for position in set(range(len(packed))) - harmless:
        path.write_bytes(flipped(packed, position))
        with pytest.raises(DataError):
            files.read("tiny", "b.gz")


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_is_no_file_is_an_error(kind, tiny):
    path = tiny / "cache" / "tiny" / "a.gz"
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tiny / "gone")
    with pytest.raises(DataError, match="expected a readable file"):
        files.read("tiny", "a.gz")
