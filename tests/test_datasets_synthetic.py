"""Synthetic speech: a function of seed, speaker, word and repetition; the committed set is what it says it is."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import golden_speech
import numpy as np
import pytest

from bss2lab import bundle
from bss2lab.cli import main
from bss2lab.config import Source
from bss2lab.datasets import catalogue, espeak, files, speech, speechfolder, spikepack, synthetic, voices
from bss2lab.datasets.speechset import split_validation
from bss2lab.datasets.statistics import compare, read_samples, statistics_of
from bss2lab.datasets.synthetic import SyntheticSpeechConfig, Utterance, utterances
from bss2lab.datasets.voices import SPEAKERS, UNSEEN, WORDS
from bss2lab.errors import DataError, InputError

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "data" / "speech"
REFERENCE = os.environ.get("BSS2LAB_REFERENCE_SPEECH")

needs_espeak = pytest.mark.needs("espeak-ng")


@pytest.fixture(scope="module")
def committed():
    return {split: speech.load("speech", split) for split in ("train", "test")}


# --- what is said -------------------------------------------------------------------------------------------------


def test_two_speakers_are_in_the_test_set_alone_and_make_up_four_fifths_of_it():
    train, test = utterances("train"), utterances("test")
    assert {one.speaker for one in train} == set(range(12)) - set(UNSEEN)
    assert {one.speaker for one in test} == set(range(12))
    unseen = [one for one in test if one.speaker in UNSEEN]
    assert len(unseen) / len(test) == pytest.approx(0.8)
    assert {SPEAKERS[speaker].voice for speaker in UNSEEN} == {"m", "f"}
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) == catalogue.SPEECH.n_samples["train"]
    assert len(set(test)) == len(test) == catalogue.SPEECH.n_samples["test"]


def test_every_speaker_says_every_word_equally_often():
    said = utterances("train", SyntheticSpeechConfig(repetitions=3))
    for speaker in sorted({one.speaker for one in said}):
        for label in range(len(WORDS)):
            assert sorted(u.repetition for u in said if (u.speaker, u.label) == (speaker, label)) == [0, 1, 2]


def test_the_first_recordings_are_a_mixture():
    first = utterances("train")[:200]
    assert {one.label for one in first} == set(range(20))
    assert len({one.speaker for one in first}) == 10


def test_a_larger_set_contains_the_smaller_one():
    for split in ("train", "test"):
        few, many = (set(utterances(split, SyntheticSpeechConfig(repetitions=n))) for n in (2, 5))
        assert few < many


def test_numbers_of_utterances_are_their_own():
    every = utterances("train") + utterances("test")
    assert len({one.number for one in every}) == len(every)


def test_unseen_speakers_lie_within_the_range_of_the_others():
    others = [speaker for i, speaker in enumerate(SPEAKERS) if i not in UNSEEN]
    for name in ("pitch", "rate_wpm", "tract", "tilt_db"):
        low, high = (f(getattr(speaker, name) for speaker in others) for f in (min, max))
        for i in UNSEEN:
            assert low <= getattr(SPEAKERS[i], name) <= high
    assert len(set(SPEAKERS)) == 12


def test_every_number_says_that_it_is_assumed_and_why():
    rows = SyntheticSpeechConfig.provenance()
    assert set(rows) == set(SyntheticSpeechConfig.model_fields)
    assert all(row["source"] == Source.ASSUMED and row["why"] for row in rows.values())
    assert catalogue.SHD.classes == WORDS


# --- how it sounds ------------------------------------------------------------------------------------------------

SAID = [Utterance(0, 3, 0), Utterance(5, 16, 2), Utterance(1, 7, 1), Utterance(0, 3, 1)]


@needs_espeak
def test_an_utterance_hangs_on_nothing_but_seed_speaker_word_and_repetition():
    sounds = [synthetic.sound(one).samples for one in SAID]
    again = [synthetic.sound(one).samples for one in reversed(SAID)][::-1]
    for one, other in zip(sounds, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(sounds[0], synthetic.sound(SAID[0], SyntheticSpeechConfig(seed=1)).samples)
    assert len(sounds[0]) != len(sounds[3])  # another repetition is another utterance


@needs_espeak
def test_spikes_do_not_depend_on_order_or_threads():
    one = synthetic.generate(SAID, split="train", threads=1)
    other = synthetic.generate(SAID[::-1], split="train", threads=2)
    alone = synthetic.generate(SAID[1:2], split="train", threads=1)
    for i in range(len(SAID)):
        for a, b in zip(one.sample(i), other.sample(len(SAID) - 1 - i), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.sample(1)[0], alone.sample(0)[0])
    assert one.labels.tolist() == [3, 16, 7, 3]
    assert one.speakers.tolist() == [0, 5, 1, 0]
    assert one.name == "synthetic speech"


@needs_espeak
def test_every_speaker_says_every_word():
    """As a sound of the right kind: no word is spelled out, none is nothing."""
    for speaker in range(12):
        for label in range(speaker % 5, 20, 5):
            heard = synthetic.sound(Utterance(speaker, label, 0))
            assert 0.25 < heard.duration_s < 1.6
            assert np.abs(heard.samples).max() == pytest.approx(0.5)


def test_nothing_to_say_is_refused():
    with pytest.raises(InputError, match="utterances: expected at least one, got none"):
        synthetic.generate([], split="train")
    with pytest.raises(InputError, match="split: expected 'train' or 'test', got 'dev'"):
        utterances("dev")
    with pytest.raises(InputError, match="repetitions: expected"):
        SyntheticSpeechConfig(repetitions=0)


def test_a_missing_program_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(espeak, "PROGRAM", "espeak-that-is-nowhere")
    with pytest.raises(DataError, match=r"espeak-that-is-nowhere: expected the program installed, got no such program"):
        synthetic.generate(SAID, split="train")
    assert main(["data", "make", "speech", "--to", str(tmp_path / "speech")]) == 2
    assert "apt install espeak-ng" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- time stretching and colour: pieces with known answers --------------------------------------------------------


def tone(frequency_hz, seconds=0.5):
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * voices.RATE_HZ)) / voices.RATE_HZ)


def peak_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2**17))
    return spectrum.argmax() * voices.RATE_HZ / 2**17


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_stretching_changes_the_duration_and_not_the_frequency(factor):
    made = voices._stretched(tone(220), np.full(64, factor))
    assert len(made) == pytest.approx(factor * 0.5 * voices.RATE_HZ, rel=0.08)
    assert peak_hz(made) == pytest.approx(220, abs=2)
    middle = made[len(made) // 4 : -len(made) // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(np.sqrt(0.5), rel=0.05)


def test_another_vocal_tract_moves_every_frequency():
    assert peak_hz(voices._resampled(tone(1000), 1.1)) == pytest.approx(1100, abs=2)


def test_the_slope_of_the_spectrum_is_in_db_per_octave():
    flat = [np.sqrt(np.mean(voices._coloured(tone(f), 0.0, np.zeros(9)) ** 2)) for f in (500, 2000)]
    steep = [np.sqrt(np.mean(voices._coloured(tone(f), 3.0, np.zeros(9)) ** 2)) for f in (500, 2000)]
    assert 20 * np.log10(steep[1] / steep[0] * flat[0] / flat[1]) == pytest.approx(6.0, abs=0.1)


# --- the committed set --------------------------------------------------------------------------------------------


def test_a_checkout_brings_the_set(committed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    assert [(r.status, r.where) for r in files.verify("speech")] == [("ok", "data")] * 2
    for split, data in committed.items():
        said = utterances(split)
        assert len(data) == len(said) == catalogue.SPEECH.n_samples[split]
        assert list(zip(data.speakers.tolist(), data.labels.tolist(), strict=True)) == [
            (one.speaker, one.label) for one in said
        ]
        assert data.classes == WORDS
        assert data.split == split
        assert data.name.startswith("synthetic speech")
        assert sorted(set(data.speaker_info["voice"])) == ["f", "m"]


def test_the_files_say_what_they_are():
    for split in ("train", "test"):
        pack = spikepack.read(FOLDER / f"{split}.spk")
        assert pack.repetitions.tolist() == [one.repetition for one in utterances(split)]
        assert pack.about["title"] == "synthetic speech"
        assert pack.about["origin"].startswith("espeak-ng ")
        assert SyntheticSpeechConfig(**pack.about["config"]) == SyntheticSpeechConfig()
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    both = {split: spikepack.read(FOLDER / f"{split}.spk", split=split) for split in ("train", "test")}
    assert readme == golden_speech.readme(both)
    text = golden_speech.CATALOGUE.read_text(encoding="utf-8")
    assert golden_speech.pinned(text, both) == text


@needs_espeak
def test_committed_recordings_are_what_the_generator_makes(committed):
    """Two of each split. Another processor may round a few spike times differently."""
    origin = spikepack.read(FOLDER / "test.spk").about["origin"]
    if not origin.startswith(espeak.version() + " "):
        pytest.skip(f"needs {origin.split(' and ')[0]}, with which the set was made: here is {espeak.version()}")
    for split, data in committed.items():
        anew = synthetic.generate(utterances(split)[7:9], split=split, threads=1)
        for i in range(2):
            kept, made = (Counter(zip(np.rint(t * spikepack.TICKS_PER_S).tolist(), u.tolist(), strict=True))
                          for t, u in (data.sample(7 + i), anew.sample(i)))  # fmt: skip
            assert (kept & made).total() > 0.99 * max(kept.total(), made.total())


def test_the_folder_is_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 24e6
    assert sum(size for name, size in sizes.items() if name.endswith(".ogg")) < 2.5e6


def test_spikes_and_durations_are_about_those_of_real_samples(committed):
    """Twelve samples of SHD have 3,476 to 12,889 spikes (mean 7,965) within 0.58 to 1.00 s (mean 0.76 s)."""
    for data in committed.values():
        found = statistics_of(data)
        assert found.n_spikes.mean() == pytest.approx(7965, rel=0.15)
        low, high = np.quantile(found.n_spikes, (0.05, 0.95))
        assert 3000 < low < high < 16_000
        assert found.durations_s.mean() == pytest.approx(0.76, abs=0.1)
        assert found.durations_s.max() < 1.6
        thirds = found.channels[:690].reshape(3, 230).sum(axis=1)
        assert thirds[0] < thirds[1] < thirds[2]  # most at the low frequencies, as in SHD


@pytest.mark.needs("real samples of SHD")
def test_statistics_agree_with_real_samples(committed):
    reference = read_samples(REFERENCE, WORDS)
    data = committed["train"]
    found = compare(
        statistics_of(data.subset(np.isin(data.labels, reference.labels))), statistics_of(reference)
    )  # fmt: skip
    assert found.channel_overlap > 0.85
    assert found.channel_correlation > 0.9
    assert found.time_overlap > 0.85
    assert found.spikes_ks < 0.4


def test_speakers_can_be_held_out(committed):
    train, validation = split_validation(committed["train"], seed=0)
    assert len(np.unique(validation.speakers)) == 2
    assert len(train) + len(validation) == len(committed["train"])


def test_sounds_of_the_test_set_can_be_heard(committed):
    data = committed["test"]
    for i in (0, 17, len(data) - 1):
        heard = speechfolder.sound_of(data, i)
        assert "synthetic speech" in heard.name
        assert heard.duration_s == pytest.approx(float(data.sample(i)[0][-1]), abs=0.05)
    ours = np.flatnonzero(committed["train"].speakers == speechfolder.LISTEN)
    speechfolder.sound_of(committed["train"].subset(ours), 3)
    other = int(np.flatnonzero(committed["train"].speakers == 1)[0])
    with pytest.raises(InputError, match=r"recording: expected one of the test set, or of speaker 0, got recording"):
        speechfolder.sound_of(committed["train"], other)


def test_sounds_of_another_set_are_refused(committed, tmp_path):
    data = committed["test"]
    with pytest.raises(DataError, match="expected synthetic speech, got another data set"):
        speechfolder.sound_of(dataclasses.replace(data, labels=(data.labels + 1) % 20), 0)
    with pytest.raises(DataError, match=r"index\.json: expected the index of the sounds, got No such file"):
        speechfolder.sound_of(data, 0, folder=tmp_path)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "index.json").write_text("{}")
    with pytest.raises(DataError, match="got a damaged one"):
        speechfolder.sound_of(data, 0, folder=tmp_path)
    shutil.copyfile(FOLDER / "sounds" / "index.json", tmp_path / "sounds" / "index.json")
    with pytest.raises(DataError, match=r"speaker-\d\d\.ogg: expected a sound"):
        speechfolder.sound_of(data, 0, folder=tmp_path)


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "speech")
    monkeypatch.setenv("BSS2LAB_DATA", str(tmp_path))
    whole = (tmp_path / "speech" / "test.spk").read_bytes()
    (tmp_path / "speech" / "test.spk").write_bytes(whole[:-1000] + b"\0" + whole[-999:])
    with pytest.raises(DataError, match=r"test\.spk: expected content with the SHA-256"):
        speech.load("speech", "test")
    shutil.copyfile(FOLDER / "train.spk", tmp_path / "speech" / "test.spk")
    with pytest.raises(DataError, match=r"another set of recordings; it comes with the .*bss2lab data make speech"):
        speech.load("speech", "test")
    assert (
        len(speech.load("speech", "test", path=tmp_path / "speech" / "test.spk")) == catalogue.SPEECH.n_samples["train"]
    )


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """Two utterances a split."""
    whole = synthetic.utterances
    monkeypatch.setattr(synthetic, "utterances", lambda split, config=None: whole(split, config)[:2])


@needs_espeak
def test_make_writes_a_set_and_says_that_it_is_another_one(few, tmp_path, capsys):
    folder = tmp_path / "speech"
    assert main(["data", "make", "speech", "--to", str(folder), "--repetitions", "2", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("differs from the pinned") == 2
    assert "synthetic speech, but not the set that comes with the package (what is spoken was changed)" in out
    train = speech.spikepack.read(folder / "train.spk")
    assert (len(train.data), train.about["config"]["repetitions"]) == (2, 2)
    data = spikepack.read(folder / "test.spk", split="test").data
    assert speechfolder.sound_of(data, 1, folder=folder).duration_s > 0.2
    assert json.loads((folder / "sounds" / "index.json").read_text())["title"] == "synthetic speech"


@needs_espeak
def test_make_says_when_the_result_is_the_pinned_one(few, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "speech"
    main(["data", "make", "speech", "--to", str(folder)])
    sums = {name: spikepack.content_sha256(folder / name) for name in ("train.spk", "test.spk")}
    pinned = tuple(dataclasses.replace(file, content_sha256=sums[file.name]) for file in catalogue.SPEECH.files)
    capsys.readouterr()
    monkeypatch.setattr("bss2lab.cli.data.SPEECH", dataclasses.replace(catalogue.SPEECH, files=pinned))
    assert main(["data", "make", "speech", "--to", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("as pinned") == 2
    assert "not the set" not in out


def test_bad_options_are_refused(tmp_path, capsys):
    assert main(["data", "make", "speech", "--to", str(tmp_path), "--repetitions", "0"]) == 2
    assert capsys.readouterr().err.startswith("bss2lab: --repetitions: expected")
    assert main(["data", "make", "speech", "--to", str(tmp_path), "--threads", "-1"]) == 2
    assert capsys.readouterr().err.startswith("bss2lab: --threads: expected 0 (one per core) or more")
    (tmp_path / "file").write_text("")
    assert main(["data", "make", "speech", "--to", str(tmp_path / "file")]) == 2
    assert "expected a place to write to" in capsys.readouterr().err


def test_fetch_says_that_there_is_no_mirror(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bundle, "path", lambda name: tmp_path / "nowhere" / name)
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BSS2LAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "speech"]) == 2
    err = capsys.readouterr().err
    assert "no mirror has it; it comes with the" in err
    assert "bss2lab data make speech" in err
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out.count("bss2lab data make speech") == 2


@needs_espeak
def test_a_killed_generation_leaves_no_half_written_file(tmp_path):
    command = [sys.executable, "-m", "bss2lab.cli", "data", "make", "speech", "--to", str(tmp_path), "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 50
        while not (tmp_path / "example.wav").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"example.wav"}
