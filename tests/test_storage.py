"""Files that are either there in full or not there at all."""

import contextlib
import errno
import multiprocessing
import os
import pathlib
import stat
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab import storage
from bss2lab.chip import ChipProfile, library
from bss2lab.chip.calibration import Calibration
from bss2lab.datasets import files
from bss2lab.storage import check_writable, move, remove, remove_leftovers, write_atomically


def contents(folder):
    """Return every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_a_file_holds_exactly_what_was_written_last(folder, first, second):
    path = folder / "file.bin"
    write_atomically(path, first)
    assert contents(folder) == {"file.bin": first}
    write_atomically(path, second)
    assert contents(folder) == {"file.bin": second}


def test_folders_on_the_way_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "c.txt", b"x")
    assert contents(tmp_path) == {os.path.join("a", "b", "c.txt"): b"x"}


def test_names_with_spaces_and_other_letters_work(tmp_path):
    path = tmp_path / "läb — 1" / "µ s.json"
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.needs("POSIX")
def test_others_may_read_what_was_written(tmp_path):
    write_atomically(tmp_path / "f", b"x")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A second thread reads all the while: it sees the old content or the new one, nothing between."""
    path, kinds = tmp_path / "f", [bytes([k]) * 300_000 for k in (1, 2)]
    write_atomically(path, kinds[0])
    seen, done = [], threading.Event()

    def read():
        while not done.is_set():
            seen.append(path.read_bytes() in kinds)

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(40):
        write_atomically(path, kinds[k % 2])
    done.set()
    reader.join()
    assert seen
    assert all(seen)


def test_the_content_is_flushed_before_it_takes_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(("flush", os.fstat(fd).st_size)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("name"), replace(a, b)))
    write_atomically(tmp_path / "f", b"12345")
    assert order == [("flush", 5), "name"]


@contextlib.contextmanager
def file_size_limit(n_bytes):
    """Let no file grow beyond so many bytes: the kernel refuses the write, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_write_that_the_system_cuts_short_leaves_what_was_there(old, tmp_path):
    path = tmp_path / "file.bin"
    if old is not None:
        path.write_bytes(old)
    before = contents(tmp_path)
    with file_size_limit(50_000), pytest.raises(OSError, match="expected a place to write to, got File too large") as e:
        write_atomically(path, b"x" * 200_000)
    assert e.value.errno == errno.EFBIG
    assert str(path) in str(e.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(call, old, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    if old is not None:
        path.write_bytes(old)
    before = contents(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    want = r"file.bin: expected a place to write to, got No space left on device; free space or choose another folder"
    with pytest.raises(OSError, match=want) as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert contents(tmp_path) == before


@pytest.mark.parametrize("attempt", [lambda path: write_atomically(path, b"x"), check_writable], ids=["write", "check"])
def test_below_a_file_nothing_can_be_written(attempt, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    for path in (tmp_path / "file" / "a.json", tmp_path / "file" / "b" / "a.json"):
        with pytest.raises(OSError, match=r"a.json: expected a place to write to, got .*; .*choose another folder"):
            attempt(path)
    assert contents(tmp_path) == {"file": b"mine"}


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match=rf"got the file {tmp_path / 'file'}, which is no folder;"):
        check_writable(tmp_path / "file" / "a.json")


@pytest.mark.parametrize("attempt", [lambda path: write_atomically(path, b"x"), check_writable], ids=["write", "check"])
def test_a_folder_of_that_name_is_not_overwritten(attempt, tmp_path):
    (tmp_path / "name" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"name: expected a place to write to, got "):
        attempt(tmp_path / "name")
    assert (tmp_path / "name" / "inside").is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


@pytest.mark.needs("an ordinary user")
@pytest.mark.parametrize("attempt", [lambda path: write_atomically(path, b"x"), check_writable], ids=["write", "check"])
def test_a_read_only_folder_is_refused(attempt, tmp_path):
    (tmp_path / "f").write_bytes(b"mine")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OSError, match=r"f: expected a place to write to, got Permission denied;"):
            attempt(tmp_path / "f")
        assert contents(tmp_path) == {"f": b"mine"}
    finally:
        tmp_path.chmod(0o755)


def test_checking_leaves_files_as_they_were(tmp_path):
    (tmp_path / "old.json").write_bytes(b"mine")
    check_writable(tmp_path / "old.json")
    check_writable(tmp_path / "new.json")
    assert contents(tmp_path) == {"old.json": b"mine"}


def test_what_was_found_writable_can_be_written(tmp_path):
    path = tmp_path / "a" / "b" / "c.json"
    check_writable(path)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def refusing(function, times):
    """Wrap a system call: the first calls are refused, as Windows does while a virus scanner holds the file."""
    left = iter(range(times))

    def call(*arguments, **options):
        if next(left, None) is not None:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return function(*arguments, **options)

    return call


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_file_that_is_held_for_a_moment_is_replaced_all_the_same(times, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", refusing(os.replace, times))
    write_atomically(path, b"new")
    assert contents(tmp_path) == {"f": b"new"}


def test_a_file_that_is_held_for_good_gives_one_error_that_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(os, "replace", refusing(os.replace, 1000))
    with pytest.raises(PermissionError, match="close the program that has it open") as caught:
        write_atomically(path, b"new")
    assert str(path) in str(caught.value)
    assert 0.5 < sum(slept) < 2
    assert contents(tmp_path) == {"f": b"old"}


def test_leftovers_that_are_held_for_a_moment_are_removed_and_others_are_in_nobodys_way(tmp_path, monkeypatch):
    unlink = pathlib.Path.unlink
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for times, left in [(3, []), (1000, [".f.abc.part"])]:
        (tmp_path / ".f.abc.part").write_bytes(b"half")
        monkeypatch.setattr(pathlib.Path, "unlink", refusing(unlink, times))
        remove_leftovers(tmp_path / "f")
        assert sorted(contents(tmp_path)) == left


@pytest.mark.parametrize("function", [move, lambda source, _: remove(source)], ids=["move", "remove"])
def test_moving_and_removing_wait_too(function, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(os, "replace", refusing(os.replace, 2))
    monkeypatch.setattr(pathlib.Path, "unlink", refusing(pathlib.Path.unlink, 2))
    function(tmp_path / "a", tmp_path / "b")
    assert "a" not in contents(tmp_path)


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    """No home folder, and an empty folder for temporary files."""

    def unknown(*_):
        raise RuntimeError("Could not determine home directory.")

    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_dir", unknown)
    monkeypatch.delenv("BSS2LAB_CACHE", raising=False)
    monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path))
    storage._temporary_cache.cache_clear()
    yield tmp_path
    storage._temporary_cache.cache_clear()


def test_without_a_home_the_cache_is_a_private_folder_that_stays(no_home):
    folder = storage.user_cache()
    assert folder.parent == no_home
    assert list(no_home.iterdir()) == [folder]
    storage._temporary_cache.cache_clear()
    assert storage.user_cache() == folder
    if os.name == "posix":
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_a_folder_that_others_could_have_filled_is_no_cache(no_home, how):
    """Compiled code is read from there: nobody else may put it there."""
    place = no_home / f"bss2lab-{os.getuid()}"
    if how == "a link":
        (no_home / "elsewhere").mkdir()
        place.symlink_to(no_home / "elsewhere")
    elif how == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    assert storage.user_cache() != place


def test_a_temporary_cache_is_announced_once_in_one_line(no_home, monkeypatch, caplog):
    folder = storage.user_cache()
    storage.user_cache()
    (record,) = caplog.records
    assert str(folder) in record.message
    assert "BSS2LAB_CACHE" in record.message
    assert "\n" not in record.message
    storage._temporary_cache.cache_clear()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())  # its parent has said it
    storage.user_cache()
    assert len(caplog.records) == 1


def test_a_home_that_cannot_be_written_to_is_still_read(no_home, monkeypatch):
    """Compiled kernels, calibrations and data sets in it are found; what is new goes elsewhere."""
    home = no_home / "home"
    monkeypatch.setattr(storage, "_home_cache", lambda: home)
    monkeypatch.setattr(storage, "_can_make", lambda folder: False)
    monkeypatch.delenv("BSS2LAB_SHARED_CACHE", raising=False)
    assert home not in storage.shared_caches()
    for name in ("shd", "calibrations"):
        (home / name).mkdir(parents=True)
    assert storage.user_cache() != home
    assert storage.shared_caches()[-1] == home
    assert ("cache", home / "shd") in files.search_path("shd")
    bare = ChipProfile().replace(membrane_noise_mv=1.25)
    monkeypatch.setattr(storage, "_can_make", lambda folder: True)
    Calibration.load(library.shipped_path(3)).save(library.cache_path(3, bare))
    monkeypatch.setattr(storage, "_can_make", lambda folder: False)
    assert library._cached(3, bare) is not None
    monkeypatch.setenv("BSS2LAB_CACHE", str(no_home / "mine"))
    assert home not in storage.shared_caches()
    assert library._cached(3, bare) is None


def test_the_named_cache_is_taken_as_it_is(no_home, monkeypatch, tmp_path):
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "mine"))
    assert storage.user_cache() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


def test_a_home_that_may_not_be_looked_into_is_no_place(tmp_path, monkeypatch):
    """Root's, for instance, in a container that runs under another user."""
    home, real = tmp_path / "root", pathlib.Path.exists

    def exists(path):
        if path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(pathlib.Path, "exists", exists)
    monkeypatch.setattr(pathlib.Path, "is_dir", lambda path: exists(path))
    monkeypatch.setattr(storage, "_home_cache", lambda: home / ".cache" / "bss2lab")
    monkeypatch.setattr(storage.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("BSS2LAB_CACHE", raising=False)
    storage._can_make.cache_clear()
    assert storage.user_cache().parent == tmp_path
    assert home / ".cache" / "bss2lab" not in storage.shared_caches()
