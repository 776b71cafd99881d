"""``--json`` means the same to every command."""

import argparse
import json
import sys

import pytest

from bss2lab.cli import main
from bss2lab.cli.output import add_json, check_json, json_path, table_stream, write_json
from bss2lab.errors import InputError

RECORD = {"answer": 42}


def given(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*")
    add_json(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.mark.parametrize("words", [("--json",), ("--json", "-"), ("a.wav", "--json")])
def test_without_a_file_the_record_takes_standard_output_and_the_table_gives_way(words, capsys):
    arguments = given(*words)
    check_json(arguments)
    print("table", file=table_stream(arguments))
    write_json(arguments, RECORD)
    out, err = capsys.readouterr()
    assert json.loads(out) == RECORD
    assert err == "table\n"
    assert json_path(arguments) is None


def test_a_file_gets_the_record_and_standard_output_keeps_the_table(tmp_path, capsys):
    path = tmp_path / "new" / "record.json"
    for record in (RECORD, {"answer": 43}):  # the second time over the first
        arguments = given("--json", path)
        check_json(arguments)
        assert table_stream(arguments) is sys.stdout
        write_json(arguments, record)
        assert json.loads(path.read_text(encoding="utf-8")) == record
    assert capsys.readouterr() == ("", "")


def test_nobody_asked_and_nothing_is_written(capsys):
    arguments = given("a.wav")
    check_json(arguments)
    write_json(arguments, RECORD)
    assert capsys.readouterr() == ("", "")


def test_a_file_that_was_not_meant_survives(tmp_path):
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"--json: expected a new file, or one that ends in \.json, got .*a\.wav"):
        check_json(given("--json", sound, "b.wav"))
    assert sound.read_bytes() == b"RIFF"


@pytest.mark.parametrize("command", [
    ("train", "mnist"), ("train", "speech"), ("study", "fig3b"), ("bench",), ("classify", "a.wav"),
    ("chip", "info"), ("chip", "place", "256", "10"),
])  # fmt: skip
def test_every_command_refuses_to_write_over_what_is_no_record(command, tmp_path, capsys):
    keep = tmp_path / "weights.safetensors"
    keep.write_bytes(b"weeks of work")
    assert main([*command, "--json", str(keep)]) == 2
    assert "--json: expected a new file" in capsys.readouterr().err
    assert keep.read_bytes() == b"weeks of work"


def test_a_study_prints_nothing_but_json(monkeypatch, capsys):
    from bss2lab.cli import study

    monkeypatch.setattr(study, "_detuning", lambda arguments: ("the table", RECORD))
    assert main(["study", "fig4a", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == RECORD
    assert "the table" in err
