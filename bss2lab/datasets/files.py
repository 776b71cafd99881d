"""Find, check and download data files.

Places, in the order in which they are searched (each holds a folder per data set, ``mnist/``, ``shd/`` …):

1. the folder named by the environment variable ``BSS2LAB_DATA``;
2. ``data/`` below the current folder, then what comes with the package (``bundle``): the checkout's ``data/``, or a
   copy inside an installed wheel;
3. the user's cache, ``BSS2LAB_CACHE`` if set;
4. the folder of the Linux distribution's package, where there is one.

The first file found is the file: if it is damaged that is an error, never a reason to look further. What is
found nowhere is downloaded into the cache, if it is on a mirror. No place but the mirrors needs a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from bss2lab import bundle
from bss2lab.datasets import packing
from bss2lab.datasets.catalogue import (
    CATALOGUE,
    AnyFile,
    Archive,
    DataFile,
    Dataset,
    PackedFile,
    UnpackedFile,
    entry,
)
from bss2lab.errors import DataError, InputError, complain
from bss2lab.storage import move, remove, shared_caches, user_cache, write_atomically

Where = Literal["data", "cache", "system", "—"]

_PARTIAL = ".partial-"
_PARTIAL_LIFETIME_S = 3600.0
_TIMEOUT_S = 30.0

_File = TypeVar("_File", bound=AnyFile)


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
    return user_cache()


def how_to_make() -> str:
    """Say what to do when a file of the synthetic speech is missing or damaged."""
    return f"{bundle.restore('data/speech')}, or `bss2lab data make speech`"


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
    places.append(("data", bundle.path(f"data/{name}")))
    places.extend(("cache", cache / name) for cache in (cache_folder(), *shared_caches()))
    if dataset.system is not None:
        places.append(("system", dataset.system))
    return places


def locate(name: str) -> dict[str, Path | None]:
    """Return where each file of a data set is, None for a missing one. Reads no file and downloads nothing.

    Args:
        name: of the data set, see ``catalogue.CATALOGUE``.

    Raises:
        InputError: if there is no such data set.
    """
    return {file.name: _find(entry(name), file)[1] for file in entry(name).files}


def read(name: str, file: str, *, progress: bool = False) -> bytes:
    """Return the decompressed content of one gzipped file, checked; download the file if it is nowhere.

    Args:
        name: of the data set, see ``catalogue.CATALOGUE``.
        file: name of the file, ``….gz``.
        progress: show a progress bar if there is something to download.

    Raises:
        InputError: if there is no such data set or gzipped file.
        DataError: if the file is corrupt, or cannot be downloaded.
    """
    dataset, wanted = _wanted(name, file, DataFile)
    return _content(dataset, wanted, _find(dataset, wanted)[1] or _download(dataset, wanted, progress))


def path(name: str, file: str, *, progress: bool = False) -> Path:
    """Return where one file of spikes is, checked; download and unpack the file if it is nowhere.

    Args:
        name: of the data set, see ``catalogue.CATALOGUE``.
        file: name of the file, ``….h5`` or ``….spk``.
        progress: show a progress bar if there is something to download.

    Raises:
        InputError: if there is no such data set or file of spikes.
        DataError: if the file is corrupt, or cannot be downloaded.
    """
    dataset, wanted = _wanted(name, file, UnpackedFile, PackedFile)
    found = _find(dataset, wanted)[1] or _download(dataset, wanted, progress)
    _check(dataset, wanted, found)
    return found


def fetch(name: str, progress: bool = True) -> dict[str, Path]:
    """Make every file of a data set present and correct, downloading what is missing.

    A damaged file in the cache is replaced; a damaged file elsewhere is the user's own, and an error.

    Args:
        name: of the data set, see ``catalogue.CATALOGUE``.
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
                _check(dataset, file, path)
            except DataError:
                if where != "cache":
                    raise
                path = None
        paths[file.name] = path or _download(dataset, file, progress)
    return paths


def verify(name: str) -> list[FileStatus]:
    """Check every file of a data set in full; download nothing.

    Args:
        name: of the data set, see ``catalogue.CATALOGUE``.

    Returns:
        One record per file, in the catalogue's order.

    Raises:
        InputError: if there is no such data set.
    """
    return [_status(entry(name), file) for file in entry(name).files]


def listing() -> list[FileStatus]:
    """Check every file of every data set in the catalogue; download nothing."""
    return [record for name in CATALOGUE for record in verify(name)]


def _wanted(name: str, file: str, *kinds: type[_File]) -> tuple[Dataset, _File]:
    dataset = entry(name)
    known = [candidate for candidate in dataset.files if isinstance(candidate, kinds)]
    for candidate in known:
        if candidate.name == file:
            return dataset, candidate
    want = ", ".join(candidate.name for candidate in known) or "nothing"
    raise InputError(complain(f"file of {name}", expected=want, got=repr(file), fix="choose one of them"))


def _status(dataset: Dataset, file: AnyFile) -> FileStatus:
    where, path = _find(dataset, file)
    if path is None:
        detail = how_to_make()
        if not isinstance(file, PackedFile):
            detail = f"`bss2lab data fetch {dataset.name}` downloads it ({file.size_text})"
        return FileStatus(dataset.name, file.name, None, "missing", "—", detail)
    try:
        detail = _check(dataset, file, path)
    except DataError as error:
        return FileStatus(dataset.name, file.name, path, "corrupt", where, str(error))
    return FileStatus(dataset.name, file.name, path, "ok", where, detail)


def _find(dataset: Dataset, file: AnyFile) -> tuple[Where, Path | None]:
    for where, folder in search_path(dataset.name):
        path = folder / file.name
        if os.path.lexists(path):
            return where, path
    return "—", None


def _check(dataset: Dataset, file: AnyFile, path: Path) -> str:
    """Check one file in full; return what was checked."""
    if isinstance(file, DataFile):
        return f"SHA-256 of the {len(_content(dataset, file, path)):,} bytes of content is right"
    if isinstance(file, PackedFile):
        return _check_packed(file, path)
    try:
        wrong = packing.not_hdf5(path)
        md5 = packing.md5_of(path) if not wrong else ""
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if not wrong and md5 not in (file.content_md5, _recorded_md5(path)):
        wrong = f"{size:,} bytes with MD5 {md5} (truncated or changed?)"
    if wrong:
        want = f"HDF5 with MD5 {file.content_md5}"
        fix = f"delete it and run `bss2lab data fetch {dataset.name}`"
        raise DataError(complain(str(path), expected=want, got=wrong, fix=fix))
    return f"MD5 of the {size:,} bytes is right"


def _check_packed(file: PackedFile, path: Path) -> str:
    from bss2lab.datasets import spikepack  # slow to import, and images do without it

    found = spikepack.content_sha256(path)
    if found != file.content_sha256:
        want, got = f"content with SHA-256 {file.content_sha256}", f"SHA-256 {found}: another set of recordings"
        fix = f"{how_to_make()}; or pass its path"
        raise DataError(complain(str(path), expected=want, got=got, fix=fix))
    return f"SHA-256 of the content is right ({path.stat().st_size:,} bytes)"


def _content(dataset: Dataset, file: DataFile, path: Path) -> bytes:
    """Decompress and check one file."""
    try:
        size = path.stat().st_size
        if size > file.content_bytes + 2**20:  # gzip adds far less: do not even read it
            content, wrong = b"", f"a file of {size:,} bytes"
        else:
            content, wrong = packing.gunzip(path.read_bytes(), file)
    except OSError as error:
        raise _unreadable(path, error) from error
    if wrong:
        want = f"gzip of {file.content_bytes:,} bytes with SHA-256 {file.content_sha256}"
        fix = f"delete it and run `bss2lab data fetch {dataset.name}`"
        raise DataError(complain(str(path), expected=want, got=wrong, fix=fix))
    return content


def _unreadable(path: Path, error: OSError) -> DataError:
    fix = "make it readable, or remove it"
    return DataError(complain(str(path), expected="a readable file", got=error.strerror or error, fix=fix))


def _recorded_md5(path: Path) -> str:
    """Return the sum that was written down when the file was unpacked from an archive with the pinned sum."""
    try:
        return path.with_name(f"{path.name}.md5").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _download(dataset: Dataset, file: AnyFile, progress: bool) -> Path:
    """Download one file into the cache. It appears there whole and checked, or not at all."""
    if isinstance(file, PackedFile):
        want, got = "the file in one of the places that are searched", "nothing, and no mirror has it"
        raise DataError(complain(f"{dataset.name}/{file.name}", expected=want, got=got, fix=how_to_make()))
    import requests  # slow to import, and only a download needs it

    folder = cache_folder() / dataset.name
    target = folder / file.name
    failures = []
    offers = [file] if isinstance(file, DataFile) else file.archives
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL, ignore_cleanup_errors=True) as partial:
            for url, offer in [(mirror + offer.name, offer) for mirror in dataset.mirrors for offer in offers]:
                part = Path(partial) / offer.name
                try:
                    _get(url, part, progress)
                except requests.RequestException as error:
                    failures.append(f"{url}: {_reason(error)}")
                    continue
                wrong, whole = _arrived(part, offer, file, target)
                if not wrong:
                    move(whole, target)
                    return target
                failures.append(f"{url}: {wrong}")
    except OSError as error:
        fix = "set BSS2LAB_CACHE to a folder that you can write to"
        got = f"{error.strerror or error} ({error.filename or target})"
        raise DataError(complain(str(target), expected="to write it", got=got, fix=fix)) from error
    want = _offer_text(file)
    fix = f"check the network and run `bss2lab data fetch {dataset.name}`, or put the file into {folder}"
    raise DataError(complain(f"{dataset.name}/{file.name}", expected=want, got="; ".join(failures), fix=fix))


def _offer_text(file: DataFile | UnpackedFile) -> str:
    if isinstance(file, DataFile):
        return f"{file.download_bytes:,} bytes with SHA-256 {file.download_sha256} from a mirror"
    return " or ".join(f"{archive.name} with MD5 {archive.md5}" for archive in file.archives) + " from a mirror"


def _arrived(part: Path, offer: DataFile | Archive, file: DataFile | UnpackedFile, target: Path) -> tuple[str, Path]:
    """Check a download, and unpack an archive beside itself; return what is wrong, and the file to keep."""
    if isinstance(offer, DataFile):
        return _wrong_download(part, offer), part
    assert isinstance(file, UnpackedFile)  # archives belong to no other kind
    whole = part.with_name(f"unpacked-{file.name}")
    wrong = packing.wrong_archive(part, offer) or packing.unpack(part, file, whole)
    remove(part)
    if not wrong:
        note = target.with_name(f"{target.name}.md5")
        remove(note)
        md5 = packing.md5_of(whole)
        if md5 != file.content_md5:  # the archive's sum is the better known one: write down what was in it
            write_atomically(note, f"{md5}\n".encode("ascii"))
    return wrong, whole


def _get(url: str, part: Path, progress: bool) -> None:
    import pooch  # slow to import, and only a download needs it

    # identity: a server must not wrap, nor requests unwrap, a .gz file once more
    headers = {"Accept-Encoding": "identity"}
    download = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=_TIMEOUT_S, headers=headers)
    download(url, str(part), None)


def _wrong_download(part: Path, file: DataFile) -> str:
    packed = part.read_bytes()
    sha256 = hashlib.sha256(packed).hexdigest()
    if sha256 == file.download_sha256:
        return ""
    return packing.gunzip(packed, file)[1] or f"{len(packed):,} bytes with SHA-256 {sha256}"


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
