"""Files that are either there in full or not there at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary neighbour, flushed to the disk before it takes the name.

    Whatever happens on the way (a kill, a full disk), ``path`` holds either what it held before or all of
    ``content``.

    Raises:
        OSError: naming ``path``, if the folder is missing or read-only, or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        text = f"{path}: could not be written ({error.strerror or error}); free space or choose another folder"
        raise OSError(error.errno, text) from error
