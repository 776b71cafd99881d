"""Speak a digit: a sound goes through the model of the inner ear to the network on the emulated chip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.datasets import catalogue, speech
from bss2lab.datasets.recorded import words_of
from bss2lab.datasets.sound import Sound, read_sound
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.errors import DataError, InputError, complain
from bss2lab.inputs import encode
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import trial_frame
from bss2lab.lab.models.control import Control
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.one_sample import OneSample, Trial
from bss2lab.lab.models.shipped import SPEECH
from bss2lab.settings import SpeechConfig
from bss2lab.studies import listening
from bss2lab.studies.listening import Heard
from bss2lab.studies.networks import Trained

MOST_BYTES = 50_000_000
"""Longest sound file that is taken: 5 s of any usual format have less."""

MOST_RANKED = 6
"""Words of the ranking that are drawn."""

_TASK = "speech"


class Speak(OneSample):
    """State of the listener.

    Args:
        network: a network for words, or a file with one; that of figure 5 if not given.
        key: name in the engine.
        engine: where it computes.

    Attributes:
        words: the word heard last, as spikes of the inner ear; None before the first.
        source: what it was: a file, the microphone, or a speaker of the test set.
        heard: the answer to it.

    Raises:
        DataError: if the network cannot be had.
        InputError: if the network is not one for words.
    """

    title = "Speak a digit"
    actions = {"hear": "hear this word"}  # noqa: RUF012 (a constant)

    def __init__(
        self, network: Trained[Any, Any] | Path | str | None = None, *, key: str = "speak", engine: Engine = ENGINE
    ) -> None:
        network = network_of(network, SPEECH)
        if not isinstance(network.config, SpeechConfig):
            got, fix = f"one for {network.config.task}", "images are for `draw_digit`"
            raise InputError(complain("network", expected="a network for words", got=got, fix=fix))
        self.classes = catalogue.speech(network.config.task).classes[: network.config.n_classes]
        group = "a word of the synthetic test set"
        super().__init__(
            network,
            [
                Control(
                    "keep_silence", "keep silence", False, "switch", group="your own voice",
                    help="do not cut the silence at both ends of a recording",
                ),
                Control("word", "word", self.classes[0], "choice", choices=tuple((c, c) for c in self.classes),
                        help="which digit is said, in English or German", group=group),
                Control("take", "recording", 0, "whole", 0, 24, 1, 0, 10_000, "",
                        "which of the recordings of this word; beyond the last one it begins again", group=group),
            ],
            key=key, engine=engine,
        )  # fmt: skip
        self.words: SpeechSet | None = None
        self.source = ""
        self.heard: Heard | None = None
        self._tests: SpeechSet | None = None
        self._synthetic = True
        self._asked: Callable[[], Iterator[None]] | None = None
        self.say("say a digit, choose a sound file, or hear a word of the test set")

    # --- what is heard ----------------------------------------------------------------------------------------

    def hear_file(self, name: str, content: bytes) -> Task:
        """Hear a sound file: WAV, FLAC, OGG, at most 5 s.

        Args:
            name: its name, for messages; its ending tells the format of files that do not.
            content: all of it.
        """
        return self._hear(name, lambda: _sound_of(name, content))

    def hear_samples(self, samples: Any, rate: float, name: str = "recording") -> Task:
        """Hear samples of one channel, full scale ±1.

        Args:
            samples: amplitudes, [samples].
            rate: sampling rate, Hz.
            name: what they are called in messages.
        """
        return self._hear(name, lambda: Sound(np.asarray(samples), _whole(rate), name))

    def say_word(self, word: str, take: int | None = None) -> Task | None:
        """Hear a word of the synthetic test set.

        Args:
            word: which one.
            take: which of its recordings; that of the control if not given.

        Returns:
            The computation; None if there is no such word: ``message`` says so.
        """
        chosen = {"word": word, **({} if take is None else {"take": take})}
        return self._ask(self._chosen) if self.set(**chosen) else None

    def hear(self) -> None:
        """Hear the word of the test set that is chosen."""
        self._ask(self._chosen)

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if moved.keys() - {"word", "take", "keep_silence"}:
            if self._asked is not None:
                self._ask(self._asked)  # what is being listened to is not given up
            elif self.words is not None:
                self.answer()

    # --- results ----------------------------------------------------------------------------------------------

    @property
    def badge(self) -> str:
        """See ``OneSample``."""
        if self.words is None or not self._synthetic:
            return "emulated chip" if self.words is None else "emulated chip · your recording"
        return "emulated chip · synthetic speech"

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        with self.lock:
            trial, source, found = self.trial, self.source, self.heard
        config, wait = self.network.config, "nothing heard yet"
        panels = [
            trial_frame.layer_raster(config, trial, (0.0, 0.0, 0.5, 0.5), hidden=False, empty=wait),
            trial_frame.layer_raster(config, trial, (0.5, 0.0, 1.0, 0.5), hidden=True, empty=wait),
            trial_frame.votes(config, trial, (0.0, 0.5, 0.5, 1.0), empty=wait),
            trial_frame.bars(
                config, trial, (0.5, 0.5, 1.0, 1.0), most=MOST_RANKED, ranked=True, empty=wait, noun="word"
            ),
        ]
        alt = "Speak a digit: nothing heard yet."
        if trial is not None and found is not None:
            alt = (
                f"The emulated chip hears {trial.sentence()}, in {source}: {found.input_spikes:,} input spikes, "
                f"{found.hidden_spikes:,} hidden ones."
            )
        return Frame(panels, alt, badge=self.badge, height=620)

    # --- in the engine's thread -------------------------------------------------------------------------------

    def steps(self) -> Iterator[None]:
        """See ``OneSample``: the word heard last once more."""
        assert self.words is not None
        yield from self._listen(self.words, self.source, self._synthetic)

    def _hear(self, name: str, sound: Callable[[], Sound]) -> Task:
        self.say(f"listening to {name} … (the first time takes some seconds more)", "busy")
        return self._ask(lambda: self._heard_from(name, sound))

    def _ask(self, ask: Callable[[], Iterator[None]]) -> Task:
        with self.lock:
            self._asked = ask
            return self.answer(self._answered(ask))

    def _answered(self, ask: Callable[[], Iterator[None]]) -> Iterator[None]:
        try:
            yield from ask()
        except GeneratorExit:  # another task took over
            raise
        except Exception:
            self._done(ask)
            raise
        self._done(ask)

    def _done(self, ask: Callable[[], Iterator[None]]) -> None:
        with self.lock:
            if self._asked is ask:
                self._asked = None

    def _heard_from(self, name: str, sound: Callable[[], Sound]) -> Iterator[None]:
        recorded = sound()
        yield
        words = words_of([recorded], self.classes, keep_silence=self.values["keep_silence"])
        yield
        yield from self._listen(words, name, False)

    def _chosen(self) -> Iterator[None]:
        with self.lock:
            word, take = self.values["word"], self.values["take"]
        if self._tests is None:
            self.say("loading the test set …", "busy")
            yield
            self._tests = speech.load(_TASK, "test")
        yield
        tests = self._tests
        where = np.flatnonzero(tests.labels == tests.classes.index(word))
        one = tests.subset(where[[take % len(where)]])
        yield from self._listen(one, f"“{word}” of speaker {int(one.speakers[0])}", True)

    def _listen(self, words: SpeechSet, source: str, synthetic: bool) -> Iterator[None]:
        config = self.network.config
        samples = encode(words, config)
        if not len(samples.spikes.times_us):
            fix = "record a longer or louder word"
            raise InputError(complain(source, expected="a spoken word", got="no spike of the inner ear", fix=fix))
        self.chip()
        yield
        label = int(words.labels[0]) if synthetic else None
        trial: Trial = self.tried(samples, label, self.classes)
        with self.lock:
            self.words, self.source, self._synthetic = words, source, synthetic
            self.heard = listening.heard(config, trial.seen, 0, self.classes)
        self.show(trial)


def _whole(rate: float) -> int:
    return round(rate) if np.isfinite(rate) else 0


def _sound_of(name: str, content: bytes) -> Sound:
    """Read a sound file that is in memory; errors name it as the user knows it."""
    if len(content) > MOST_BYTES:
        got = f"{len(content) / 1e6:.0f} MB"
        fix = "cut the recording into words"
        raise InputError(complain(name, expected=f"at most {MOST_BYTES / 1e6:.0f} MB", got=got, fix=fix))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / f"sound{Path(name).suffix}"
        path.write_bytes(content)
        try:
            return replace(read_sound(path), name=name)
        except (DataError, InputError) as error:
            raise type(error)(str(error).replace(str(path), name)) from None
