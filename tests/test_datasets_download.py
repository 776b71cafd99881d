"""Downloading, from a web server on this computer: a file arrives whole and right, or not at all."""

import gzip
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import standin

from bss2lab.datasets import catalogue, files, vision
from bss2lab.errors import DataError

CONTENT = {"a.gz": bytes(range(256)) * 40, "b.gz": b"labels" * 50}
PACKED = {name: gzip.compress(content, 9, mtime=1) for name, content in CONTENT.items()}
REPACKED = {name: gzip.compress(content, 1, mtime=2) for name, content in CONTENT.items()}
PAGE = b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>"


class Mirror(http.server.ThreadingHTTPServer):
    """A web server on this computer: ``answers[path]`` is (status, body) or a function of the request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {}, []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def url(self, folder):
        return f"http://127.0.0.1:{self.server_port}/{folder}/"

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, (404, b"not here"))
        if callable(answer):
            answer(self)
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    server = Mirror()
    yield server
    server.stop()


@pytest.fixture
def tiny(mirror, tmp_path, monkeypatch):
    """A data set of two small files on two mirrors; empty folders, no system package."""
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
        mirrors=(mirror.url("first"), mirror.url("second")),
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


def offer(mirror, folder, answers):
    mirror.answers.update({f"/{folder}/{name}": answer for name, answer in answers.items()})


def good(packed=PACKED):
    return {name: (200, body) for name, body in packed.items()}


def test_fetch_downloads_once(tiny, mirror, capfd):
    offer(mirror, "first", good())
    paths = files.fetch("tiny")
    assert paths == {name: tiny / "cache" / "tiny" / name for name in CONTENT}
    assert mirror.asked == ["/first/a.gz", "/first/b.gz"]
    assert "100%" in capfd.readouterr().err  # a progress bar
    assert files.fetch("tiny") == paths
    assert len(mirror.asked) == 2
    assert everything_below(tiny / "cache") == ["a.gz", "b.gz"]


def test_a_set_of_clothing_comes_from_a_mirror_and_is_loaded(tiny, mirror, monkeypatch):
    """With files of Fashion-MNIST's names and format: each is fetched once, checked, and read as images."""
    standin.write(tiny / "made")
    dataset = standin.entry(tiny / "made", (mirror.url("first"), mirror.url("second")))
    monkeypatch.setitem(catalogue.CATALOGUE, "fashion", dataset)
    packed = {file.name: (tiny / "made" / file.name).read_bytes() for file in dataset.files}
    offer(mirror, "first", {name: (200, content[:-9]) for name, content in packed.items()})
    offer(mirror, "second", good(packed))
    data = vision.load("fashion", "train")
    assert (len(data), data.crop, data.images.shape) == (standin.N_TRAIN, 0, (standin.N_TRAIN, 28, 28))
    assert np.bincount(data.labels).tolist() == [standin.N_TRAIN // 10] * 10
    assert [record.status for record in files.verify("fashion")] == ["ok", "ok", "missing", "missing"]
    assert len(vision.load("fashion", "test")) == standin.N_TEST
    asked = len(mirror.asked)
    assert files.fetch("fashion", progress=False).keys() == packed.keys()
    assert len(mirror.asked) == asked == 8  # the first mirror's are cut off

    damaged = tiny / "cache" / "fashion" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(packed["t10k-images-idx3-ubyte.gz"])
    with pytest.raises(DataError, match="data fetch fashion"):
        vision.load("fashion", "train")


def test_no_progress_bar_unless_asked_for(tiny, mirror, capfd):
    offer(mirror, "first", good())
    assert files.read("tiny", "b.gz") == CONTENT["b.gz"]
    files.fetch("tiny", progress=False)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_only_what_is_missing_is_downloaded(tiny, mirror):
    offer(mirror, "first", good())
    put(tiny / "system", {"a.gz": REPACKED["a.gz"]})
    paths = files.fetch("tiny", progress=False)
    assert paths == {"a.gz": tiny / "system" / "a.gz", "b.gz": tiny / "cache" / "tiny" / "b.gz"}
    assert mirror.asked == ["/first/b.gz"]


def test_a_damaged_file_in_the_cache_is_replaced(tiny, mirror):
    offer(mirror, "first", good())
    put(tiny / "cache" / "tiny", {"a.gz": PAGE, "b.gz": PACKED["b.gz"]})
    with pytest.raises(DataError, match="web page"):
        files.read("tiny", "a.gz")
    files.fetch("tiny", progress=False)
    assert mirror.asked == ["/first/a.gz"]
    assert files.read("tiny", "a.gz") == CONTENT["a.gz"]


def half(handler):
    """Promise the whole file, send half of it, hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PACKED["a.gz"])))
    handler.end_headers()
    handler.wfile.write(PACKED["a.gz"][: len(PACKED["a.gz"]) // 2])


FAILURES = {
    "404": ((404, b"gone"), "404 Not Found"),
    "500": ((500, PAGE), "500 Internal Server Error"),
    "web page": ((200, PAGE), "a web page"),
    "wrong content": ((200, gzip.compress(b"x" * 10_240)), "10,240 bytes with SHA-256"),
    "right content, packed anew": ((200, REPACKED["a.gz"]), f"{len(REPACKED['a.gz'])} bytes with SHA-256"),
    "nothing": ((200, b""), "an empty file"),
    "half, without a word": ((200, PACKED["a.gz"][:60]), "truncated"),
    "half, then silence": (half, "ChunkedEncodingError"),
}


@pytest.mark.parametrize(("answer", "words"), FAILURES.values(), ids=FAILURES)
def test_a_bad_mirror_is_passed_over(answer, words, tiny, mirror):
    offer(mirror, "first", {"a.gz": answer})
    offer(mirror, "second", good())
    files.fetch("tiny", progress=False)
    assert mirror.asked == ["/first/a.gz", "/second/a.gz", "/first/b.gz", "/second/b.gz"]
    assert files.read("tiny", "a.gz") == CONTENT["a.gz"]

    (tiny / "cache" / "tiny" / "a.gz").unlink()
    del mirror.answers["/second/a.gz"]
    with pytest.raises(DataError) as caught:
        files.fetch("tiny", progress=False)
    text = str(caught.value)
    sha256 = catalogue.entry("tiny").files[0].download_sha256
    for word in (
        "tiny/a.gz",
        sha256,
        f"{mirror.url('first')}a.gz: ",
        words,
        f"{mirror.url('second')}a.gz: 404",
    ):
        assert word in text
    for word in ("check the network", "data fetch tiny", str(tiny / "cache" / "tiny")):
        assert word in text
    assert everything_below(tiny / "cache") == ["b.gz"]  # nothing half-done


def test_without_a_network_the_error_says_so(tiny, mirror):
    mirror.shutdown()
    mirror.server_close()
    with pytest.raises(DataError, match=r"ConnectionError.*check the network"):
        files.read("tiny", "a.gz")


def test_the_servers_own_compression_is_not_asked_for(tiny, mirror):
    seen = []

    def answer(handler):
        seen.append(handler.headers["Accept-Encoding"])
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(PACKED["a.gz"])

    offer(mirror, "first", {"a.gz": answer})
    assert files.read("tiny", "a.gz") == CONTENT["a.gz"]  # also without a Content-Length
    assert seen == ["identity"]


def test_cache_below_a_file_cannot_be_written(tiny, mirror, monkeypatch):
    offer(mirror, "first", good())
    (tiny / "taken").write_text("in the way")
    monkeypatch.setenv("BSS2LAB_CACHE", str(tiny / "taken"))
    with pytest.raises(DataError, match=r"taken.*expected to write it.*set BSS2LAB_CACHE"):
        files.fetch("tiny", progress=False)


@pytest.mark.needs("an ordinary user")
def test_read_only_cache_is_refused_but_can_be_read(tiny, mirror):
    offer(mirror, "first", good())
    folder = tiny / "cache" / "tiny"
    put(folder, {"a.gz": PACKED["a.gz"]})
    folder.chmod(0o500)
    try:
        assert files.read("tiny", "a.gz") == CONTENT["a.gz"]
        with pytest.raises(DataError, match="set BSS2LAB_CACHE"):
            files.read("tiny", "b.gz")
    finally:
        folder.chmod(0o700)


def test_a_full_disk_leaves_nothing(tiny, mirror, monkeypatch):
    offer(mirror, "first", good())

    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DataError, match=r"No space left on device.*set BSS2LAB_CACHE"):
        files.fetch("tiny", progress=False)
    assert everything_below(tiny / "cache") == []


def test_a_killed_download_leaves_no_file_and_restarts_clean(tiny, mirror):
    """Kill a process that has half a file: the half is not taken for the file, and is swept away in time."""
    half_sent, let_go = threading.Event(), threading.Event()
    body = PACKED["a.gz"]

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        half_sent.set()
        let_go.wait(30)

    offer(mirror, "first", {"a.gz": stall})
    script = f"""
        from bss2lab.datasets import catalogue, files
        from bss2lab.datasets.catalogue import *
        from pathlib import *
        catalogue.CATALOGUE["tiny"] = {catalogue.entry("tiny")!r}
        files.fetch("tiny", progress=False)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        assert half_sent.wait(30)
        deadline = time.monotonic() + 10
        while not everything_below(tiny / "cache") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert everything_below(tiny / "cache") == ["a.gz"]  # the part, in its own folder
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        let_go.set()

    assert files.locate("tiny") == {"a.gz": None, "b.gz": None}
    assert [r.status for r in files.verify("tiny")] == ["missing", "missing"]
    [left] = (tiny / "cache" / "tiny").iterdir()

    offer(mirror, "first", good())
    files.fetch("tiny", progress=False)
    assert [r.status for r in files.verify("tiny")] == ["ok", "ok"]
    assert left.exists()  # young: it could belong to a download that still runs

    os.utime(left, (time.time() - 7200,) * 2)
    (tiny / "cache" / "tiny" / "b.gz").unlink()
    files.fetch("tiny", progress=False)
    assert sorted(Path(tiny / "cache" / "tiny").iterdir()) == [tiny / "cache" / "tiny" / name for name in CONTENT]


def test_two_downloads_at_once_do_not_disturb_each_other(tiny, mirror):
    both = threading.Barrier(2, timeout=20)

    def slow(handler):
        both.wait()  # both requests are under way
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(PACKED["b.gz"])))
        handler.end_headers()
        handler.wfile.write(PACKED["b.gz"])

    offer(mirror, "first", {"b.gz": slow})
    got = []
    threads = [threading.Thread(target=lambda: got.append(files.read("tiny", "b.gz"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [CONTENT["b.gz"]] * 2
    assert everything_below(tiny / "cache") == ["b.gz"]
