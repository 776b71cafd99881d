"""What is inside the containers of data files: gzip around a whole file, zip and gzip around a large one."""

from __future__ import annotations

import functools
import gzip
import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import IO

from bss2lab.datasets.catalogue import Archive, DataFile, UnpackedFile

_CHUNK = 2**20
_HDF5 = b"\x89HDF\r\n\x1a\n"


@functools.lru_cache(maxsize=4)  # the files of one data set: every run and every widget asks for them
def gunzip(packed: bytes, file: DataFile) -> tuple[bytes, str]:
    """Return the content of a gzip file and what is wrong with it ('' if nothing)."""
    if not packed:
        return b"", "an empty file"
    if packed[:2] != b"\x1f\x8b":
        return b"", f"{kind_of(packed, 'gzip')}, {len(packed):,} bytes"
    decoder = zlib.decompressobj(wbits=31)
    try:
        content = decoder.decompress(packed, file.content_bytes + 1)
    except zlib.error as error:
        return b"", f"damaged gzip data ({error})"
    if len(content) > file.content_bytes:
        return b"", "gzip of more bytes"
    if not decoder.eof:
        return b"", f"a truncated file: its gzip data stop after {len(content):,} bytes of content"
    if decoder.unused_data:
        return b"", f"{len(decoder.unused_data):,} bytes behind the end of the gzip data"
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.content_sha256:
        return b"", f"{len(content):,} bytes with SHA-256 {sha256}"
    return content, ""


def kind_of(start: bytes, wanted: str) -> str:
    """Return words for a file that begins with ``start`` and is not what it should be."""
    page = start[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    return "a web page (an error page saved as data?)" if page else f"something that is not {wanted}"


def not_hdf5(path: Path) -> str:
    """Return what a file is instead of HDF5, '' if it begins as HDF5 does.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(512)
    if start.startswith(_HDF5):
        return ""
    return f"{kind_of(start, 'HDF5')}, {path.stat().st_size:,} bytes" if start else "an empty file"


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, read in pieces.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def wrong_archive(path: Path, archive: Archive) -> str:
    """Return what is wrong with a downloaded archive, '' if it has the pinned MD5."""
    size = path.stat().st_size
    if size == 0:
        return "an empty file"
    md5 = md5_of(path)
    if md5 == archive.md5:
        return ""
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start.startswith((b"PK", b"\x1f\x8b")):
        return f"{kind_of(start, 'zip or gzip')}, {size:,} bytes"
    return f"{size:,} bytes with MD5 {md5} (truncated?)"


def unpack(path: Path, file: UnpackedFile, target: Path) -> str:
    """Write the file that an archive holds to ``target``; return what is wrong with it, '' if nothing.

    The archive's own check sums (CRC-32) are checked on the way; no more than ``file.most_bytes`` are written.

    Raises:
        OSError: if ``target`` cannot be written.
    """
    try:
        if path.suffix != ".zip":
            with gzip.open(path) as inside:
                return _copy(inside, file, target)
        with zipfile.ZipFile(path) as bundle:
            for member in bundle.namelist():
                if member.rsplit("/", 1)[-1] == file.name:
                    with bundle.open(member) as inside:
                        return _copy(inside, file, target)
            return f"an archive without {file.name}"
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        return f"a damaged archive ({error})"


def _copy(inside: IO[bytes] | gzip.GzipFile, file: UnpackedFile, target: Path) -> str:
    written = 0
    with target.open("wb") as out:
        while chunk := inside.read(_CHUNK):
            written += len(chunk)
            if written > file.most_bytes:
                return f"an archive of more than {file.most_bytes:,} bytes"
            out.write(chunk)
    return not_hdf5(target)
