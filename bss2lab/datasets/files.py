"""Find, check and download data files.

Places, in the order in which they are searched (each holds a folder per data set, ``mnist/``, ``fashion/``):

1. the folder named by the environment variable ``BSS2LAB_DATA``;
2. ``data/`` below the current folder, then the repository's own ``data/``;
3. the user's cache, ``BSS2LAB_CACHE`` if set;
4. the folder of the Linux distribution's package, where there is one.

The first file found is the file: if it is damaged that is an error, never a reason to look further. What is
found nowhere is downloaded into the cache. No place but the mirrors needs a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from bss2lab.datasets.catalogue import CATALOGUE, DataFile, Dataset, entry
from bss2lab.errors import DataError, InputError, complain

Where = Literal["data", "cache", "system", "—"]

_ROOT = Path(__file__).resolve().parents[2]
_PARTIAL = ".partial-"
_PARTIAL_LIFETIME_S = 3600.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class FileStatus:
    """State of one file on this computer.

    Attributes:
        dataset: name of the data set.
        file: name of the file.
        path: where it is, None if nowhere.
        status: ``ok`` (present, checksum right), ``missing`` or ``corrupt``.
        where: kind of place: ``data``, ``cache``, ``system``, or ``—`` if missing.
        detail: one line for people: what was checked, or what is wrong and how to mend it.
    """

    dataset: str
    file: str
    path: Path | None
    status: Literal["ok", "missing", "corrupt"]
    where: Where
    detail: str


def cache_folder() -> Path:
    """Return the folder of the user's cache: ``BSS2LAB_CACHE`` if set, else the operating system's place."""
    return Path(os.environ.get("BSS2LAB_CACHE") or pooch.os_cache("bss2lab"))


def search_path(name: str) -> list[tuple[Where, Path]]:
    """Return the folders that are searched for a data set, in order, with the kind of each.

    Raises:
        InputError: if there is no such data set, or ``BSS2LAB_DATA`` names no folder.
    """
    dataset = entry(name)
    places: list[tuple[Where, Path]] = []
    chosen = os.environ.get("BSS2LAB_DATA")
    if chosen:
        if not Path(chosen).is_dir():
            fix = f"create it with a folder {name}/ in it, or unset the variable"
            raise InputError(complain("BSS2LAB_DATA", expected="a folder", got=repr(chosen), fix=fix))
        places.append(("data", Path(chosen) / name))
    places.append(("data", Path.cwd() / "data" / name))
    if (_ROOT / "pyproject.toml").is_file():  # a checkout, not an installed wheel
        places.append(("data", _ROOT / "data" / name))
    places.append(("cache", cache_folder() / name))
    if dataset.system is not None:
        places.append(("system", dataset.system))
    return places


def locate(name: str) -> dict[str, Path | None]:
    """Return where each file of a data set is, None for a missing one. Reads no file and downloads nothing.

    Args:
        name: ``"mnist"`` or ``"fashion"``.

    Raises:
        InputError: if there is no such data set.
    """
    return {file.name: _find(entry(name), file)[1] for file in entry(name).files}


def read(name: str, file: str, *, progress: bool = False) -> bytes:
    """Return the decompressed content of one file, checked; download the file if it is nowhere.

    Args:
        name: ``"mnist"`` or ``"fashion"``.
        file: name of the file, ``….gz``.
        progress: show a progress bar if there is something to download.

    Raises:
        InputError: if there is no such data set or file.
        DataError: if the file is corrupt, or cannot be downloaded.
    """
    dataset = entry(name)
    for wanted in dataset.files:
        if wanted.name == file:
            path = _find(dataset, wanted)[1] or _download(dataset, wanted, progress)
            return _content(dataset, wanted, path)
    known = ", ".join(wanted.name for wanted in dataset.files)
    raise InputError(complain(f"file of {name}", expected=known, got=repr(file), fix="choose one of them"))


def fetch(name: str, progress: bool = True) -> dict[str, Path]:
    """Make every file of a data set present and correct, downloading what is missing.

    A damaged file in the cache is replaced; a damaged file elsewhere is the user's own, and an error.

    Args:
        name: ``"mnist"`` or ``"fashion"``.
        progress: show a progress bar on standard error.

    Returns:
        Path of each file, by file name.

    Raises:
        InputError: if there is no such data set.
        DataError: if a file that is not ours to replace is corrupt, if every mirror fails, or if the cache
            cannot be written.
    """
    dataset = entry(name)
    paths = {}
    for file in dataset.files:
        where, path = _find(dataset, file)
        if path is not None:
            try:
                _content(dataset, file, path)
            except DataError:
                if where != "cache":
                    raise
                path = None
        paths[file.name] = path or _download(dataset, file, progress)
    return paths


def verify(name: str) -> list[FileStatus]:
    """Check every file of a data set in full; download nothing.

    Args:
        name: ``"mnist"`` or ``"fashion"``.

    Returns:
        One record per file, in the catalogue's order.

    Raises:
        InputError: if there is no such data set.
    """
    return [_status(entry(name), file) for file in entry(name).files]


def listing() -> list[FileStatus]:
    """Check every file of every data set in the catalogue; download nothing."""
    return [record for name in CATALOGUE for record in verify(name)]


def _status(dataset: Dataset, file: DataFile) -> FileStatus:
    where, path = _find(dataset, file)
    if path is None:
        size = f"{file.download_bytes / 1e6:.1f} MB"
        detail = f"`bss2lab data fetch {dataset.name}` downloads it ({size})"
        return FileStatus(dataset.name, file.name, None, "missing", "—", detail)
    try:
        content = _content(dataset, file, path)
    except DataError as error:
        return FileStatus(dataset.name, file.name, path, "corrupt", where, str(error))
    detail = f"SHA-256 of the {len(content):,} bytes of content is right"
    return FileStatus(dataset.name, file.name, path, "ok", where, detail)


def _find(dataset: Dataset, file: DataFile) -> tuple[Where, Path | None]:
    for where, folder in search_path(dataset.name):
        path = folder / file.name
        if os.path.lexists(path):
            return where, path
    return "—", None


def _content(dataset: Dataset, file: DataFile, path: Path) -> bytes:
    """Decompress and check one file."""
    try:
        size = path.stat().st_size
        if size > file.content_bytes + 2**20:  # gzip adds far less: do not even read it
            content, wrong = b"", f"a file of {size:,} bytes"
        else:
            content, wrong = _unpack(path.read_bytes(), file)
    except OSError as error:
        fix = "make it readable, or remove it"
        text = complain(str(path), expected="a readable file", got=error.strerror or error, fix=fix)
        raise DataError(text) from error
    if wrong:
        want = f"gzip of {file.content_bytes:,} bytes with SHA-256 {file.content_sha256}"
        fix = f"delete it and run `bss2lab data fetch {dataset.name}`"
        raise DataError(complain(str(path), expected=want, got=wrong, fix=fix))
    return content


def _unpack(packed: bytes, file: DataFile) -> tuple[bytes, str]:
    """Return the content of a gzip file and what is wrong with it ('' if nothing)."""
    if not packed:
        return b"", "an empty file"
    if packed[:2] != b"\x1f\x8b":
        page = packed[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
        kind = "a web page (an error page saved as data?)" if page else "something that is not gzip"
        return b"", f"{kind}, {len(packed):,} bytes"
    gunzip = zlib.decompressobj(wbits=31)
    try:
        content = gunzip.decompress(packed, file.content_bytes + 1)
    except zlib.error as error:
        return b"", f"damaged gzip data ({error})"
    if len(content) > file.content_bytes:
        return b"", "gzip of more bytes"
    if not gunzip.eof:
        return b"", f"a truncated file: its gzip data stop after {len(content):,} bytes of content"
    if gunzip.unused_data:
        return b"", f"{len(gunzip.unused_data):,} bytes behind the end of the gzip data"
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.content_sha256:
        return b"", f"{len(content):,} bytes with SHA-256 {sha256}"
    return content, ""


def _download(dataset: Dataset, file: DataFile, progress: bool) -> Path:
    """Download one file into the cache. It appears there whole and checked, or not at all."""
    import requests  # slow to import, and only a download needs it

    folder = cache_folder() / dataset.name
    target = folder / file.name
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL) as partial:
            part = Path(partial) / file.name
            for mirror in dataset.mirrors:
                try:
                    _get(mirror + file.name, part, progress)
                except requests.RequestException as error:
                    failures.append(f"{mirror}{file.name}: {_reason(error)}")
                    continue
                wrong = _wrong_download(part, file)
                if not wrong:
                    os.replace(part, target)
                    return target
                failures.append(f"{mirror}{file.name}: {wrong}")
    except OSError as error:
        fix = "set BSS2LAB_CACHE to a folder that you can write to"
        got = f"{error.strerror or error} ({error.filename or target})"
        raise DataError(complain(str(target), expected="to write it", got=got, fix=fix)) from error
    want = f"{file.download_bytes:,} bytes with SHA-256 {file.download_sha256} from a mirror"
    fix = f"check the network and run `bss2lab data fetch {dataset.name}`, or put the file into {folder}"
    raise DataError(complain(f"{dataset.name}/{file.name}", expected=want, got="; ".join(failures), fix=fix))


def _get(url: str, part: Path, progress: bool) -> None:
    # identity: a server must not wrap, nor requests unwrap, a .gz file once more
    headers = {"Accept-Encoding": "identity"}
    download = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=_TIMEOUT_S, headers=headers)
    download(url, str(part), None)


def _wrong_download(part: Path, file: DataFile) -> str:
    packed = part.read_bytes()
    sha256 = hashlib.sha256(packed).hexdigest()
    if sha256 == file.download_sha256:
        return ""
    return _unpack(packed, file)[1] or f"{len(packed):,} bytes with SHA-256 {sha256}"


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    return f"{type(error).__name__} ({error})"


def _sweep(folder: Path) -> None:
    """Remove what downloads left behind that were killed long ago; younger ones may still be running."""
    for left in folder.glob(f"{_PARTIAL}*"):
        try:
            if time.time() - left.stat().st_mtime > _PARTIAL_LIFETIME_S:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # its owner has just removed it
