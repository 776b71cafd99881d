"""The folder ``speech/``: synthetic speech as spikes, and some of its sounds to listen to.

    train.spk, test.spk     the recordings (``spikepack``)
    sounds/speaker-NN.ogg   sounds, one behind the other: all of the test set, and the training set's first speaker
    sounds/index.json       where in these files each sound lies
    example.wav             "seven", to try things with

The spikes were made from the sounds before these were compressed: the sounds are for listening, not for computing.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.datasets import espeak, files, spikepack, synthetic
from bss2lab.datasets.sound import Sound, soundfile_package
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.synthetic import SyntheticSpeechConfig, Utterance
from bss2lab.errors import DataError, InputError, complain
from bss2lab.storage import write_atomically

LISTEN = 0
"""Speaker of the training set whose sounds are kept."""

EXAMPLE = "example.wav"

_INDEX = "sounds/index.json"
_GAP_S = 0.25  # silence between two sounds, so that the coder does not smear one into the next


def make(
    folder: Path | str,
    config: SyntheticSpeechConfig | None = None,
    *,
    threads: int = 0,
    on_utterance: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> dict[str, str]:
    """Make the folder anew: speak everything, turn it into spikes, write it. Takes minutes.

    Every file is there in full or not at all; the spikes are written last.

    Args:
        folder: where to write; files of the same names are replaced.
        config: what is spoken; None: what comes with the package.
        threads: utterances at once; 0: one per core. The result does not depend on it.
        on_utterance: called with (split, utterances done, utterances in all).

    Returns:
        SHA-256 of the content of ``train.spk`` and ``test.spk``, by file name.

    Raises:
        DataError: if espeak-ng or soundfile is missing.
        OSError: naming the file, if something cannot be written.
    """
    config, folder = config or SyntheticSpeechConfig(), Path(folder)
    write_atomically(folder / EXAMPLE, _wav(espeak.speak("seven", language="en", rate_wpm=130)))
    kept: dict[int, list[tuple[Utterance, Sound]]] = {}

    def keep(said: Utterance, sound: Sound) -> None:
        if split == "test" or said.speaker == LISTEN:
            kept.setdefault(said.speaker, []).append((said, sound))

    made = []
    for split in ("test", "train"):
        said = synthetic.utterances(split, config)
        data = synthetic.generate(
            said, config, split=split, threads=threads, on_sound=keep,
            on_utterance=functools.partial(on_utterance, split),
        )  # fmt: skip
        made.append((f"{split}.spk", data, np.array([one.repetition for one in said])))
    _write_sounds(folder, config, kept)
    about = {
        "title": synthetic.TITLE, "origin": f"{espeak.version()} and bss2lab's cochlea", "config": config.identity(),
    }  # fmt: skip
    return {
        name: spikepack.write(folder / name, data, repetitions, about=about) for name, data, repetitions in made
    }  # fmt: skip


def sound_of(data: SpeechSet, i: int, *, folder: Path | str | None = None) -> Sound:
    """Return the sound of one recording, as it was kept for listening.

    Kept are the sounds of the test set and of the training set's first speaker, compressed with loss;
    ``synthetic.sound`` speaks any of them anew, where espeak-ng is installed.

    Args:
        data: recordings of synthetic speech.
        i: which.
        folder: where the sounds are; None: where the data set is.

    Raises:
        InputError: if there is no such recording, or its sound is not kept.
        DataError: if the sounds are missing or damaged, or ``data`` is another data set.
    """
    where = int(data.positions(np.asarray([i]))[0])
    place = Path(folder) if folder is not None else _folder()
    config, table = _index(place / _INDEX)
    said = synthetic.utterances("test" if data.split == "test" else "train", config)
    number = int(data.index[where])
    ours = number < len(said) and (said[number].speaker, said[number].label) == (
        int(data.speakers[where]), int(data.labels[where]),
    )  # fmt: skip
    if not ours:
        text = complain(
            data.name, expected=synthetic.TITLE, got="another data set", fix="pass what load('speech') gave"
        )
        raise DataError(text)
    wanted = said[number]
    name, clips = f"speaker-{wanted.speaker:02}.ogg", table.get(f"speaker-{wanted.speaker:02}.ogg", {})
    clip = clips.get(f"{wanted.label}/{wanted.repetition}")
    if clip is None:
        want = f"one of the test set, or of speaker {LISTEN}"
        got = f"recording {number} of speaker {wanted.speaker}"
        fix = "synthetic.sound(utterance) speaks it anew, with espeak-ng"
        raise InputError(complain("recording", expected=want, got=got, fix=fix))
    return _clip(place / "sounds" / name, *clip, name=f"{data.classes[wanted.label]!r}, {synthetic.TITLE}")


def _folder() -> Path:
    found = files.locate("speech")["test.spk"]
    if found is None:
        raise DataError(complain("speech/test.spk", expected="the file", got="nothing", fix=files.how_to_make()))
    return found.parent


def _index(path: Path) -> tuple[SyntheticSpeechConfig, dict[str, dict[str, list[int]]]]:
    fix = files.how_to_make()
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return SyntheticSpeechConfig(**index["config"]), dict(index["sounds"])
    except OSError as error:
        text = complain(str(path), expected="the index of the sounds", got=error.strerror, fix=fix)
        raise DataError(text) from error
    except (ValueError, KeyError, TypeError) as error:
        got = f"a damaged one ({type(error).__name__})"
        raise DataError(complain(str(path), expected="the index of the sounds", got=got, fix=fix)) from error


def _clip(path: Path, first: int, length: int, name: str) -> Sound:
    soundfile = soundfile_package()
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(first)
            samples, rate = file.read(length, dtype="float64"), int(file.samplerate)
    except (OSError, RuntimeError) as error:
        raise DataError(complain(str(path), expected="a sound", got=str(error), fix=files.how_to_make())) from error
    if samples.shape != (length,):
        got = f"{len(samples):,}"
        raise DataError(complain(str(path), expected=f"{length:,} samples", got=got, fix=files.how_to_make()))
    return Sound(samples, rate, name)


def _write_sounds(folder: Path, config: SyntheticSpeechConfig, kept: dict[int, list[tuple[Utterance, Sound]]]) -> None:
    soundfile, table = soundfile_package(), {}
    for speaker, clips in sorted(kept.items()):
        name, parts, places, first = f"speaker-{speaker:02}.ogg", [], {}, 0
        rate = clips[0][1].sample_rate_hz
        gap = np.zeros(round(_GAP_S * rate))
        for said, sound in sorted(clips, key=lambda clip: clip[0]):
            places[f"{said.label}/{said.repetition}"] = [first, len(sound.samples)]
            parts += [sound.samples, gap]
            first += len(sound.samples) + len(gap)
        whole, packed = np.concatenate(parts), io.BytesIO()
        with soundfile.SoundFile(packed, "w", rate, 1, format="OGG", subtype="VORBIS", **_QUALITY) as file:
            for begin in range(0, len(whole), _PIECE):  # (libsndfile's coder overruns its stack on long pieces)
                file.write(whole[begin : begin + _PIECE])
        write_atomically(folder / "sounds" / name, packed.getvalue())
        table[name] = places
    index: dict[str, Any] = {"title": synthetic.TITLE, "config": config.identity(), "sounds": table}
    write_atomically(folder / _INDEX, (json.dumps(index, separators=(",", ":")) + "\n").encode())


_PIECE = 4096  # samples
_QUALITY = {"compression_level": 0.9}


def _wav(sound: Sound) -> bytes:
    packed = io.BytesIO()
    soundfile_package().write(packed, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return packed.getvalue()
