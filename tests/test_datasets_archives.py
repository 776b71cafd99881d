"""Files that are published in archives: found unpacked, or downloaded, checked and unpacked in full or not at all."""

import gzip
import hashlib
import io
import zipfile

import pytest
from spoken import FILE
from test_datasets_download import Mirror, everything_below

from bss2lab.cli import main
from bss2lab.datasets import catalogue, files, spikefile
from bss2lab.errors import DataError, InputError

PAGE = b"<!DOCTYPE html><html><body>404</body></html>"
CONTENT = FILE.read_bytes()


def zipped(content, name="words.h5"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(name, content)
    return packed.getvalue()


ZIP, GZ = zipped(CONTENT), gzip.compress(CONTENT, mtime=1)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def words_of(mirror, zip_=ZIP, gz=GZ, content=CONTENT, most_bytes=10**6):
    """A data set of one file, published as .zip and as .gz on two mirrors."""
    archives = (catalogue.Archive("words.h5.zip", md5(zip_)), catalogue.Archive("words.h5.gz", md5(gz)))
    return catalogue.SpeechDataset(
        name="words",
        title="Words",
        files=(catalogue.UnpackedFile("words.h5", md5(content), archives, 0.1, most_bytes),),
        mirrors=(mirror.url("first"), mirror.url("second")),
        system=None,
        classes=("x",),
        licence="none",
        source="this test",
        splits={"train": "words.h5"},
        n_samples={"train": 6},
        n_units=700,
    )


@pytest.fixture
def mirror():
    server = Mirror()
    yield server
    server.stop()


@pytest.fixture
def words(mirror, tmp_path, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, "words", words_of(mirror))
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_the_zip_is_downloaded_once_unpacked_and_read(words, mirror, capfd):
    mirror.answers["/first/words.h5.zip"] = (200, ZIP)
    target = words / "cache" / "words" / "words.h5"
    assert files.fetch("words") == {"words.h5": target}
    assert "100%" in capfd.readouterr().err
    assert target.read_bytes() == CONTENT
    assert everything_below(words / "cache") == ["words.h5"]
    assert files.path("words", "words.h5") == target
    assert mirror.asked == ["/first/words.h5.zip"]
    assert len(spikefile.read(target)) == 6
    assert [(r.status, r.where) for r in files.verify("words")] == [("ok", "cache")]


OFFERS = {
    "missing": (404, b""),
    "a web page": (200, PAGE),
    "nothing": (200, b""),
    "half": (200, ZIP[: len(ZIP) // 2]),
    "another zip": (200, zipped(CONTENT[:-1])),
}


@pytest.mark.parametrize(("name", "answer"), OFFERS.items(), ids=OFFERS)
def test_a_bad_zip_gives_way_to_the_gz_then_to_the_next_mirror(name, answer, words, mirror):
    mirror.answers["/first/words.h5.zip"] = answer
    mirror.answers["/first/words.h5.gz"] = (200, GZ)
    assert files.path("words", "words.h5").read_bytes() == CONTENT
    assert mirror.asked == ["/first/words.h5.zip", "/first/words.h5.gz"]
    (words / "cache" / "words" / "words.h5").unlink()
    mirror.answers.update({"/first/words.h5.gz": answer, "/second/words.h5.zip": (200, ZIP)})
    assert files.path("words", "words.h5").read_bytes() == CONTENT
    (words / "cache" / "words" / "words.h5").unlink()
    mirror.answers = {"/first/words.h5.zip": answer}
    with pytest.raises(DataError) as caught:
        files.path("words", "words.h5")
    said = {"missing": "404 Not Found", "nothing": "an empty file"}.get(name, name if "page" in name else "with MD5")
    for word in ("words/words.h5: expected words.h5.zip with MD5", md5(ZIP), md5(GZ), said, "check the network"):
        assert word in str(caught.value)
    assert everything_below(words / "cache") == []


HOLLOW = {
    "no such member": (zipped(CONTENT, "other.h5"), "an archive without words.h5"),
    "no HDF5": (zipped(PAGE), "a web page"),
    "a bomb": (zipped(bytes(2_000_000)), "more than 1,000,000 bytes"),
    "damaged inside": (ZIP[:200] + bytes(300) + ZIP[500:], "a damaged archive"),
}


@pytest.mark.parametrize(("packed", "said"), HOLLOW.values(), ids=HOLLOW)
def test_an_archive_with_the_right_sum_and_the_wrong_inside_leaves_nothing(packed, said, words, mirror, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, "words", words_of(mirror, zip_=packed))
    mirror.answers["/first/words.h5.zip"] = (200, packed)
    with pytest.raises(DataError, match=said):
        files.path("words", "words.h5")
    assert everything_below(words / "cache") == []


def test_the_archives_sum_stands_above_that_of_the_content(words, mirror, monkeypatch):
    """What came out of the pinned archive is right, and is still checked later, against the sum noted then."""
    monkeypatch.setitem(catalogue.CATALOGUE, "words", words_of(mirror, content=b"another edition"))
    mirror.answers["/first/words.h5.zip"] = (200, ZIP)
    target = files.path("words", "words.h5")
    assert everything_below(words / "cache") == ["words.h5", "words.h5.md5"]
    assert [r.status for r in files.verify("words")] == ["ok"]
    target.write_bytes(CONTENT[:-1] + b"x")
    assert [r.status for r in files.verify("words")] == ["corrupt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "an empty file"), (PAGE, "a web page"), (CONTENT[:-9], "truncated"), (b"x" * 99, "not HDF5, 99 bytes")],
)
def test_a_damaged_file_of_the_users_own_is_named_and_kept(content, said, words, mirror, capsys):
    path = words / "work" / "data" / "words" / "words.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for verb in (lambda: files.path("words", "words.h5"), lambda: files.fetch("words")):
        with pytest.raises(DataError, match=said) as caught:
            verb()
        assert str(caught.value).startswith(f"{path}: expected HDF5 with MD5 {md5(CONTENT)}, got ")
    assert path.read_bytes() == content
    assert mirror.asked == []
    assert main(["data", "verify", "words"]) == 1
    assert "corrupt" in capsys.readouterr().out


def test_a_damaged_file_in_the_cache_is_replaced(words, mirror):
    mirror.answers["/second/words.h5.gz"] = (200, GZ)
    path = words / "cache" / "words" / "words.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(PAGE)
    assert files.fetch("words", progress=False) == {"words.h5": path}
    assert path.read_bytes() == CONTENT


def test_the_command_lists_what_is_missing(words, capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for name in ("shd_train.h5", "shd_test.h5", "words.h5"):
        assert name in out
    assert "`bss2lab data fetch words` downloads it (0.1 MB)" in out


def test_the_two_kinds_of_files_are_asked_for_by_their_own_verbs(words):
    with pytest.raises(InputError, match=r"file of words: expected nothing, got 'words\.h5'"):
        files.read("words", "words.h5")
    with pytest.raises(InputError, match=r"file of words: expected words\.h5, got 'x'"):
        files.path("words", "x")
    with pytest.raises(InputError, match="file of mnist: expected nothing"):
        files.path("mnist", "t10k-labels-idx1-ubyte.gz")
