"""Every command's text goes out: whatever the encoding, the width of the terminal, and whoever reads it."""

import argparse
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bss2lab.cli import COMMANDS, main, parser, text
from bss2lab.cli.output import add_json, write_json

pytestmark = pytest.mark.slow

ENCODINGS = ["cp1252", "cp932", "ascii", "latin-1", "koi8-r", "utf-8", "utf-16"]
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CHEAP = [["data", "list"], ["chip", "info"], ["chip", "place", "70", "186r", "20"]]
REFUSED = [
    ["chip", "place", "256", "²⁶µ"],
    ["train", "mnist", "--epochs", "σ"],
    ["classify", "nowhere.wav", "--seed", "-1"],
    ["bench", "--threads", "0"],
    ["data", "verify", "größe"],
    ["トレイン"],
]


def commands():
    """Return the words of every command that there is: ``["chip"]``, ``["chip", "info"]`` …"""

    def below(p, words):
        yield words
        for action in p._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, child in action.choices.items():
                    yield from below(child, [*words, name])

    found = []
    for command in COMMANDS:
        top = next(action for action in parser(command)._actions if isinstance(action, argparse._SubParsersAction))
        found += below(top.choices[command], [command])
    return [[], *found]


def said(monkeypatch, words, encoding, errors="strict"):
    """Run a command on a terminal with an encoding; return its status, output and error text."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n") for _ in range(2))
    with monkeypatch.context() as m:
        m.setattr(sys, "stdout", out)
        m.setattr(sys, "stderr", err)
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    return status, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err))


def shell(words, **environment):
    """Run a command in a process of its own; return status, output and errors as bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "bss2lab.cli", *words], capture_output=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


# --- encodings ---------------------------------------------------------------------------------------------------


def test_the_commands_are_found():
    assert {"train mnist", "chip info", "data make", "study", "bench"} <= {" ".join(words) for words in commands()}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_help_can_be_written(encoding, monkeypatch):
    for words in commands():
        status, out, err = said(monkeypatch, [*words, "--help"], encoding)
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: {' '.join(['bss2lab', *words])}")
        assert "?" not in out.replace("does a network fit, and where do its layers go?", "")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_tables_and_errors_can_be_written(encoding, monkeypatch):
    for words in CHEAP:
        status, out, err = said(monkeypatch, words, encoding)
        assert (status, err) == (0, "")
        assert out.count("\n") > 3
        assert "?" not in out
    for words in REFUSED:
        status, out, err = said(monkeypatch, words, encoding)
        assert (status, out) == (2, "")
        assert "bss2lab" in err


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_utf_8_whatever_the_terminal(encoding, monkeypatch, capfdbinary):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["chip", "info", "--json"]) == 0
    assert "µ" in raw.getvalue().decode("utf-8")
    assert json.loads(raw.getvalue().decode("utf-8"))["provenance"]["constants"]


def test_json_carries_a_files_name_that_is_no_text(tmp_path, monkeypatch):
    options = argparse.ArgumentParser()
    add_json(options)
    record = {"file": "gr\udcfc\udcdfe.wav"}
    write_json(options.parse_args(["--json", str(tmp_path / "a.json")]), record)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == record
    stream = io.StringIO()  # as a notebook's: has no bytes below
    monkeypatch.setattr(sys, "stdout", stream)
    write_json(options.parse_args(["--json"]), record)
    assert json.loads(stream.getvalue()) == record


@pytest.mark.parametrize("environment", [C_LOCALE, {"PYTHONIOENCODING": "cp1252"}])
def test_a_real_process_under_another_encoding(environment):
    encoding = environment.get("PYTHONIOENCODING", "ascii")
    status, out, err = shell(["chip", "info"], **environment)
    assert (status, err) == (0, b"")
    assert re.search("2.36 [uµ]J per image", out.decode(encoding))
    status, out, err = shell(["µ…"], **environment)
    assert (status, out) == (2, b"")
    assert b"invalid choice" in err


def test_a_bar_on_standard_error_survives():
    code = r"""
from bss2lab.cli import text; text.prepare()
from tqdm import tqdm
for _ in (bar := tqdm(range(3), desc="\u03c3_d \u00b1 \u00b5s")): bar.set_postfix_str("\u03c4 \u2192 \u2026")
from bss2lab.runner.progress import Bar, Status
Bar()(Status("\u03c4", 2, computed=1, note="\u2264 \u201eeins\u201c"))
import warnings; warnings.warn("\u03b8")
"""
    for environment in (C_LOCALE, {"PYTHONIOENCODING": "cp932"}):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=False, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stderr
        assert b"100%" in done.stderr
        assert b"\\u" not in done.stderr


@pytest.mark.parametrize(("written", "expected"), [
    ("σ_d ≤ 0.5 ± 0.1 µs", "sigma_d <= 0.5 +- 0.1 us"),
    ("0 … 2⁶² − 1", "0 ... 2^62 - 1"),
    ("10⁻³ s", "10^-3 s"),
    ("τ₁ → ρ, Δθ × 3", "tau1 -> rho, Deltatheta x 3"),
    ("“fünf” – ‘groß’", "\"funf\" - 'gross'"),
    ("½ ﬁ Å", "1/2 fi A"),
    ("日本", "??"),
    ("", ""),
])  # fmt: skip
def test_plain_letters(written, expected):
    assert text.plain(written) == expected
    assert text.plain(expected) == expected


def test_a_stream_keeps_what_its_encoding_has(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    text.prepare()
    print("µ ± × … “ü” – 2⁶² σ", end="", flush=True)
    assert raw.getvalue().decode("cp1252") == "µ ± × … “ü” – 2^62 sigma"


def test_a_files_name_that_is_no_text_goes_out_as_it_is(monkeypatch):
    for encoding in ("utf-8", "ascii"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        text.prepare()
        print(os.fsdecode(b"gr\xfc\xdfe"), end="", flush=True)
        assert raw.getvalue() == b"gr\xfc\xdfe"


def test_streams_that_are_no_text_files_and_the_users_own_choice_are_left_alone(monkeypatch):
    chosen, plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace"), io.StringIO()
    monkeypatch.setattr(sys, "stdout", chosen)
    monkeypatch.setattr(sys, "stderr", plain)
    text.prepare()
    assert (sys.stdout, sys.stderr) == (chosen, plain)
    assert chosen.errors == "replace"


# --- columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_every_help_fits_the_terminal_and_its_columns_stand_apart(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in commands():
        _, out, _ = said(monkeypatch, [*words, "--help"], "utf-8")
        assert max(map(len, out.splitlines())) <= columns, words
    _, out, _ = said(monkeypatch, ["study", "--help"], "utf-8")
    rows = out[out.index("studies:\n") :].splitlines()[1:]
    places = {re.match(r"  (?:\S+)?(?: {2,})(?=\S)", row).end() for row in rows}
    assert len(places) == 1  # what a study is begins in one column, two spaces or more behind the longest name


# --- nobody reads, or nowhere to write -----------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise")
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [(["--help"], ""), (["--version"], ""), (["data", "list"], ""), (["chip", "info", "--json"], "1")],
)
def test_a_pipe_that_nobody_reads_ends_the_command_in_silence(words, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "bss2lab.cli", *words], stdout=writing, stderr=subprocess.PIPE, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 141
    assert b"roken pipe" not in done.stderr
    assert b"Error" not in done.stderr


def test_another_pipe_that_breaks_is_an_error(monkeypatch, capfd):
    from bss2lab.cli import data

    def broken(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(data, "show", broken)
    assert main(["data", "list"]) == 2
    assert capfd.readouterr().err == "bss2lab: Broken pipe\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_once():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bss2lab.cli", "--help"], stdout=full, stderr=subprocess.PIPE, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize(
    ("words", "closed"),
    [
        *((words, closed) for words in (["--version"], ["--help"]) for closed in ("<&-", ">&-", "<&- >&- 2>&-")),
        (["data", "list"], "<&- >&-"),
        (["chip", "info"], "<&-"),
    ],
)
def test_closed_streams_do_no_harm(words, closed):
    line = f'"$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "bss2lab.cli", *words], capture_output=True, check=False,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == b""
    assert bool(done.stdout) == (">&-" not in closed)
