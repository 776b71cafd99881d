"""Synthetic speech: a word, spoken by the formant synthesiser ``espeak-ng``.

A stand-in for recordings that cannot be passed on, or are not at hand. The program is not part of this package:
``apt install espeak-ng`` (Debian, Ubuntu), ``brew install espeak-ng`` (macOS).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bss2lab.datasets.sound import Sound, read_sound
from bss2lab.errors import DataError, InputError, complain

PROGRAM = "espeak-ng"

_TIMEOUT_S = 30.0
_LONGEST_TEXT = 200


def speak(
    text: str,
    *,
    language: str = "en",
    variant: str | None = None,
    pitch: int = 50,
    rate_wpm: int = 105,
    amplitude: int = 100,
) -> Sound:
    """Speak a text. The same arguments give the same sound, on one version of the program.

    Args:
        text: what to say, 1 … 200 characters.
        language: voice, as ``espeak-ng --voices`` lists them: ``en``, ``en-us``, ``de`` …
        variant: another speaker of the voice: ``m1`` … ``m8``, ``f1`` … ``f5`` or a name.
        pitch: 0 … 99.
        rate_wpm: speaking rate in words per minute, 80 … 450; at 105 a spoken digit is as long as one of SHD.
        amplitude: 0 … 200.

    Returns:
        The sound, at the program's rate of 22,050 Hz, with its pauses at both ends.

    Raises:
        InputError: if an argument is out of range, or there is no such voice.
        DataError: if the program is missing, or fails.
    """
    if not isinstance(text, str) or not 0 < len(text.strip()) <= _LONGEST_TEXT or "\0" in text:
        want = f"1 … {_LONGEST_TEXT} characters"
        raise InputError(complain("text", expected=want, got=repr(text)[:60], fix="pass a word"))
    for name, value in (("language", language), ("variant", variant or "m1")):
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", value):
            fix = "see espeak-ng --voices" if name == "language" else "see espeak-ng --voices=variant"
            raise InputError(complain(name, expected="the name of a voice", got=repr(value), fix=fix))
    _check_range("pitch", pitch, 0, 99)
    _check_range("rate_wpm", rate_wpm, 80, 450)
    _check_range("amplitude", amplitude, 0, 200)
    program = _program()
    voice = language if variant is None else f"{language}+{variant}"
    with tempfile.TemporaryDirectory(prefix="bss2lab-speech-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "speech.wav"
        settings = ("-p", pitch, "-s", rate_wpm, "-a", amplitude)
        _call([program, "-v", voice, *map(str, settings), "-w", str(path), "--stdin"], text, voice)
        if not path.is_file():
            raise DataError(complain(PROGRAM, expected="a sound", got="none", fix=f"try {PROGRAM} {text!r}"))
        sound = read_sound(path)
    return Sound(sound.samples, sound.sample_rate_hz, f"{text!r} ({voice})")


def version() -> str:
    """Return name and version of the program, ``"espeak-ng 1.51"``.

    Raises:
        DataError: if it is missing, or fails.
    """
    command = [_program(), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        text = complain(PROGRAM, expected="it to run", got=str(error), fix="try the program by hand")
        raise DataError(text) from error
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout.decode(errors="replace"))
    return f"{PROGRAM} {found[0] if found else 'of unknown version'}"


def _program() -> str:
    program = shutil.which(PROGRAM)
    if program is None:
        fix = "apt install espeak-ng, or brew install espeak-ng"
        raise DataError(complain(PROGRAM, expected="the program installed", got="no such program", fix=fix))
    return program


def _check_range(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        text = complain(name, expected=f"an integer, {low} … {high}", got=repr(value), fix=f"pass {low} … {high}")
        raise InputError(text)


def _call(command: list[str], text: str, voice: str) -> None:
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, check=False, timeout=_TIMEOUT_S
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        fix = "try the program by hand"
        raise DataError(complain(PROGRAM, expected="it to run", got=str(error), fix=fix)) from error
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode or any("voice" in line.lower() for line in said):
        got = said[-1] if said else f"exit status {done.returncode}"
        raise InputError(complain(f"voice {voice}", expected="a voice of espeak-ng", got=got, fix="see --voices"))
