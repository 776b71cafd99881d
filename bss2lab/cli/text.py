"""Text goes out everywhere: on a terminal without µ, to a file, into a pipe that nobody reads any more, to nowhere."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import select
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping

_HANDLER = "bss2lab.plain"
_PLAIN = {
    "µ": "u", "μ": "u", "−": "-", "–": "-", "—": "-", "…": "...", "±": "+-", "×": "x", "·": "*", "“": '"', "”": '"',
    "„": '"', "‘": "'", "’": "'", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≈": "~", "√": "sqrt", "∂": "d",
    "∞": "inf", "°": "deg", "✓": "ok", "✗": "x", "⁄": "/", "ß": "ss",
}  # fmt: skip


def prepare() -> None:
    """Make the standard streams take any text, in the encoding that they have.

    What it lacks is written in plain letters (:func:`plain`). A closed stream is replaced by one that leads
    nowhere, so that no file opened later gets its number. Streams that are no text files (a notebook's, a
    test's) and those for which the user chose another way out (``PYTHONIOENCODING=ascii:replace``) stay.
    """
    codecs.register_error(_HANDLER, _write_plainly)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in (
            "strict",
            "surrogateescape",
            "backslashreplace",
        ):
            stream.reconfigure(errors=_HANDLER)


def flush() -> None:
    """Write what is still in the buffers, while there is somebody to catch the error.

    Raises:
        OSError: BrokenPipeError if nobody reads any more; others, such as a full disk.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def readers_gone() -> bool:
    """Is one of the two streams a pipe that nobody reads any more? (Windows cannot tell: taken for true.)"""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # (a notebook's stream has no number)
            poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard() -> None:
    """Let go of what cannot be written any more: the interpreter would complain of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def listing(rows: Mapping[str, str]) -> str:
    """Return two columns, names and what they mean, wrapped to the width of the terminal."""
    width, left = max(shutil.get_terminal_size().columns - 2, 40), max(map(len, rows)) + 4
    return "\n".join(
        textwrap.fill(line, width, initial_indent=f"  {name:<{left - 2}}", subsequent_indent=" " * left,
                      break_on_hyphens=False)
        for name, line in rows.items()
    )  # fmt: skip


def plain(text: str) -> str:
    """Write text in ASCII, as on a typewriter: ``"σ ≤ 2⁶² µs"`` becomes ``"sigma <= 2^62 us"``.

    Greek letters get their names, raised ones a ^, accents are dropped; ? stands for all that is left.
    """
    before, letters = False, []
    for character in text:
        raised = _is_raised(character)
        letters.append("^" * (raised and not before) + _plain_character(character))
        before = raised
    return "".join(letters)


def _is_raised(character: str) -> bool:
    return unicodedata.decomposition(character).startswith("<super>")


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if character in _PLAIN:
        return _PLAIN[character]
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", unicodedata.name(character, ""))
    if greek is not None:
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    parts = unicodedata.normalize("NFKD", character)
    return "?" if parts == character else "".join(_plain_character(c) for c in parts if not unicodedata.combining(c))


def _write_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Be a codec's error handler: plain letters for the next character, or for all raised ones that follow each other.

    What a file's name has that is no text goes out as the byte that it is, as `ls` does.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, end = error.object, error.start + 1
    if "\udc80" <= text[error.start] <= "\udcff":
        return bytes([ord(text[error.start]) - 0xDC00]), end
    while _is_raised(text[end - 1]) and _is_raised(text[end : end + 1]):
        end += 1
    return plain(text[error.start : end]), end
