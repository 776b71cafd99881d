"""``bss2lab classify``: a sound file in, a word out; what is no sound, or no network for words, is named."""

import json
from pathlib import Path

import pytest
from bursts import words

from bss2lab.cli import main
from bss2lab.datasets import catalogue
from bss2lab.inputs import Data
from bss2lab.settings import SpeechConfig
from bss2lab.train import Run

EXAMPLE = Path(__file__).parents[1] / "data" / "speech" / "example.wav"
CLASSES = catalogue.speech("speech").classes

pytestmark = [pytest.mark.needs("soundfile"), pytest.mark.slow]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    small = ("--n-hidden", "20", "--n-steps", "300", "--limit", "40", "--epochs", "1", "--threads", "1", "--quiet")
    assert main(["train", "speech", *small, "--save", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("where", ["emulated chip", "software model"])
def test_a_sound_file_is_answered_with_a_word(where, checkpoint, capsys):
    software = ["--software"] * (where == "software model")
    assert main(["classify", str(EXAMPLE), "--checkpoint", str(checkpoint), *software]) == 0
    out = capsys.readouterr().out
    assert f"({where}; the network was trained on" in out
    assert any(f"example.wav: “{word}”" in out for word in CLASSES)
    assert "input spikes" in out


def test_a_network_that_learned_your_own_words_says_so_and_names_them(tmp_path, capsys):
    config = SpeechConfig(n_hidden=12, n_classes=4, n_steps=30, epochs=1, threads=1)
    own = words(9, classes=("yes", "no", "maybe"), name="my recordings")
    list(Run(config, Data(own, own), directory=tmp_path).fit())
    assert main(["classify", str(EXAMPLE), "--checkpoint", str(tmp_path), "--json", str(tmp_path / "a.json")]) == 0
    assert "trained on your own data, my recordings" in capsys.readouterr().out
    answers = json.loads((tmp_path / "a.json").read_text())
    assert answers["trained_on"] == "your own data, my recordings"
    assert {word for word, _ in answers["answers"][0]["ranking"]} == {"yes", "no", "maybe"}


def test_answers_as_json_do_not_depend_on_the_company(checkpoint, capsys, tmp_path):
    network = ["--checkpoint", str(checkpoint), "--json"]
    assert main(["classify", str(EXAMPLE), *network, "-"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main(["classify", str(EXAMPLE), str(EXAMPLE), *network, str(tmp_path / "answers.json")]) == 0
    together = json.loads((tmp_path / "answers.json").read_text())
    assert len(together["answers"]) == 2
    assert together["answers"][0] == alone["answers"][0]
    assert {word for word, _ in alone["answers"][0]["ranking"]} == set(CLASSES)
    assert alone["run_on"] == "emulated chip"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "expected a sound file"), (b"<html>404</html>" * 50, "expected a sound file")],
)
def test_what_is_no_sound_is_named(content, message, checkpoint, tmp_path, capsys):
    file = tmp_path / "word.wav"
    file.write_bytes(content)
    assert main(["classify", str(file), "--checkpoint", str(checkpoint)]) == 2
    assert message in capsys.readouterr().err


def test_a_network_for_images_is_refused(tmp_path, capsys):
    assert main(["train", "mnist", "--limit", "60", "--epochs", "1", "--quiet", "--save", str(tmp_path)]) == 0
    assert main(["classify", str(EXAMPLE), "--checkpoint", str(tmp_path)]) == 2
    assert "expected a network for words, got one for mnist" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--checkpoint", "nowhere"], ["--network", "nowhere.safetensors"], ["--seed", "-1"]])
def test_what_is_not_there_is_named(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["classify", str(EXAMPLE), *words]) == 2
    assert "expected" in capsys.readouterr().err
