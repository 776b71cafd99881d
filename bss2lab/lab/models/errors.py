"""Errors of a trained network: what is taken for what, whose words, and what the network did with a single sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets import catalogue
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import InputError, complain
from bss2lab.inputs import Data, encode
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import errors_frame
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.errors_controls import JUDGED, controls_of
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.judged import EVERY, Entry, Judged
from bss2lab.lab.models.shipped import SPEECH
from bss2lab.lab.models.sounds import Audible, audible
from bss2lab.lab.models.threads import threads
from bss2lab.learners import make_learner
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.studies.networks import Trained
from bss2lab.studies.observation import Observation, observe
from bss2lab.train import objective_of

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8
    from numpy import ndarray

BATCH = {"words": 50, "images": 200}
"""Samples that are classified in one step [assumed: some ten milliseconds on an idle core]."""

MOST_TILES = 48
"""Images that are shown side by side."""

N_SPEAKERS = 12
"""Speakers of the synthetic speech, and of the Heidelberg Digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the network did with one sample, in the very trial in which it was judged.

    Attributes:
        entry: the sample.
        seen: spikes and traces of the batch that it was judged in, as far as it goes.
        at: its place in that batch.
        audible: what it sounds like; None for images.
    """

    entry: Entry
    seen: Observation
    at: int
    audible: Audible | None


class Errors(ViewModel):
    """State of the display of errors.

    Everything is classified anew when the chip, its detuning, the noise or the set changes; a click into a table
    sets which samples are listed, and ``pick`` which of these is shown.

    Args:
        network: a trained network, or the file of one; the one for words that comes with the package if not given.
        data: images or words; loaded when first needed if not given.
        key: name in the engine.
        engine: where it computes.

    Raises:
        DataError: if the file is no network.
        InputError: if it is an ANN, or the data are of another kind.
    """

    title = "Errors"
    actions = {"evaluate": "evaluate", "previous": "◀ previous", "next": "next ▶", "everything": "all errors"}  # noqa: RUF012 (a constant)

    def __init__(
        self, network: Trained[Any, Any] | Path | str | None = None, data: Data | None = None, *,
        key: str = "errors", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        self.network = network_of(network, SPEECH)
        self.config: AnyConfig = self.network.config
        _check(self.config, data)
        known = data.held_out if data is not None else None
        speakers = 0
        if isinstance(self.config, SpeechConfig):
            classes = known.classes if isinstance(known, SpeechSet) else catalogue.speech(self.config.task).classes
            both = (data.train, data.held_out) if data is not None else ()
            numbers = [int(words.speakers.max(initial=-1)) + 1 for words in both if isinstance(words, SpeechSet)]
            speakers = max([N_SPEAKERS, *numbers])
        else:
            classes = catalogue.images(self.config.task).classes
        super().__init__(controls_of(self.config, classes, speakers), key=key, engine=engine)
        self.classes = classes
        self.judged: Judged | None = None
        self.look: Look | None = None
        self.tiles: UInt8[ndarray, "k h w"] = np.empty((0, 16, 16), np.uint8)
        self.chosen: Int64[ndarray, "k"] = np.empty(0, np.int64)
        self._data, self._some, self._chip = data, None, None
        self._under: dict[str, Any] = {}
        self._task: Task | None = None

    # --- buttons ----------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Classify everything, with the present settings."""
        with self.lock:
            self._task = self.begin("evaluate", self._evaluate())
        self.say("loading …", "busy")

    def next(self) -> None:
        """Show the next sample of the list."""
        self._turn(1)

    def previous(self) -> None:
        """Show the sample before this one."""
        self._turn(-1)

    def everything(self) -> None:
        """List all errors, whatever was chosen."""
        self.set(**{name: EVERY for name in ("said", "heard", "speaker") if name in self.controls}, wrong=True, pick=0)

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        several = len(self.chosen) > 1
        return {
            "evaluate": not self.classifying,
            "previous": several,
            "next": several,
            "everything": self.judged is not None,
        }

    @property
    def classifying(self) -> bool:
        """Is it classifying?"""
        return self._task is not None and self._task.state == "running"

    # --- settings ---------------------------------------------------------------------------------------------

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if "pick" not in moved and set(moved) - JUDGED:
            self.values["pick"] = 0
        if set(moved) & JUDGED:
            if self.judged is not None or self.classifying:
                self.evaluate()
        elif moved:
            self._choose()

    def clicked(self, panel: str, x: float, y: float) -> None:
        """A cell of a table: list its samples. A bar: the errors of that class or speaker. An image: show it."""
        if self.judged is None:
            return
        column, row = round(x), round(y)
        any_speaker = {"speaker": EVERY} if "speaker" in self.controls else {}
        match panel:
            case "confusion":
                self.set(said=row, heard=column, **any_speaker, wrong=False)
            case "speaker-words":
                self.set(said=column, heard=EVERY, speaker=row, wrong=False)
            case "speakers":
                self.set(said=EVERY, heard=EVERY, speaker=column, wrong=True)
            case "classes":
                self.set(said=column, heard=EVERY, **any_speaker, wrong=True)
            case "tiles":
                place = errors_frame.tile_at(x, y, len(self.tiles))
                if place is not None:
                    self.set(pick=place)
            case _:
                return

    # --- results ----------------------------------------------------------------------------------------------

    @property
    def listed(self) -> list[Entry]:
        """The samples that fit the choice, those decided wrongly first."""
        judged, chosen = self.judged, self.chosen
        return [] if judged is None else [judged.entry(int(place)) for place in chosen]

    @property
    def place(self) -> int:
        """Place in the list of the sample that is shown."""
        return int(self.values["pick"]) % max(1, len(self.chosen))

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return errors_frame.frame(self)

    # --- in the engine's thread -------------------------------------------------------------------------------

    def _evaluate(self) -> Iterator[None]:
        v = dict(self.values)
        try:
            some = self._samples(v)
            yield
            chip = self._on_chip(v)
            yield
            mode = ("itl" if self.config.mode != "transfer" else "transfer") if chip is not None else "software"
            config = self.config.replace(mode=mode, sigma_d=0.0)
            learner = make_learner(config, objective_of(config), chip, self.network.weights)
            decisions: list[ndarray] = []
            for first in range(0, len(some), self._batch):
                part = encode(some.subset(np.arange(first, min(first + self._batch, len(some)))), self.config)
                with threads(self.config.threads):
                    decisions.append(learner.evaluate(part, noise_seed=_noise(v, first)).decisions)
                yield
                self.say(f"{min(first + self._batch, len(some)):,} of {len(some):,} classified", "busy")
            judged = self._judged(v, some, np.concatenate(decisions))
            with self.lock:
                self.judged, self._some, self._chip, self._under = judged, some, chip, v
            self._summarise(judged)
            yield from self._choosing()
        except Exception as error:
            self.say(plainly(error), "error")

    def _samples(self, v: dict[str, Any]) -> ImageSet | SpeechSet:
        """Return the samples that the settings name."""
        if self._data is None:
            self._data = Data.load(self.config.replace(limit=0))
        whole = self._data.train if v["split"] == "train" else self._data.held_out
        n = min(int(v["limit"]) or len(whole), len(whole))
        return whole.subset(np.arange(n) * len(whole) // n)

    def _on_chip(self, v: dict[str, Any]) -> Chip | None:
        """Return the chip that the settings name, or None in software."""
        if v["where"] == "software":
            return None
        chip, sigma = Chip(v["chip_seed"], self.config.profile), v["sigma_d"]
        return chip.decalibrate(sigma, v["detuned"], seed=chip.seed) if sigma else chip

    def _judged(self, v: dict[str, Any], some: ImageSet | SpeechSet, heard: ndarray) -> Judged:
        assert self._data is not None
        said, none = some.labels.astype(np.int64), np.full(len(some), EVERY)
        if isinstance(some, SpeechSet):
            index, speakers, classes = some.index, some.speakers, some.classes
            assert isinstance(self._data.train, SpeechSet)
            unseen = np.setdiff1d(speakers[speakers >= 0], self._data.train.speakers)
        else:
            whole = self._data.train if v["split"] == "train" else self._data.held_out
            index, speakers, classes = np.arange(len(some)) * len(whole) // len(some), none, some.dataset.classes
            unseen = np.empty(0, np.int64)
        emulated = v["where"] == "chip"
        detuned = f", σ_d {v['sigma_d']:.2g}" if v["sigma_d"] else ""
        where = f"chip {v['chip_seed']}{detuned}, trial {v['noise_seed']}" if emulated else "software model"
        names = tuple(map(int, unseen))
        return Judged(index, said, heard, speakers, names, classes, self.config.n_outputs, where, emulated)

    def _summarise(self, judged: Judged) -> None:
        kind = "words" if isinstance(self.config, SpeechConfig) else "images"
        text = f"{len(judged):,} {kind}, {judged.where}: {judged.error:.2f} % wrong"
        if judged.unseen:
            seen, new = (judged.error_of(unseen=which) for which in (False, True))
            text += f"; of known speakers {seen:.1f} %, of speakers it never heard {new:.1f} %"
        self.say(text, "good")

    def _choose(self) -> None:
        if self.judged is not None and not self.classifying:
            self.begin("look", self._choosing(), urgent=True)

    def _choosing(self) -> Iterator[None]:
        """List the samples that fit, then look at the one to be shown."""
        try:
            with self.lock:
                judged, some, v = self.judged, self._some, self.values
            if judged is None or some is None:
                return
            chosen = judged.select(v["said"], v["heard"], v.get("speaker", EVERY), wrong=v["wrong"])
            tiles = np.empty((0, 16, 16), np.uint8)
            if isinstance(some, ImageSet) and len(chosen):
                tiles = some.subset(chosen[:MOST_TILES]).prepare()
            with self.lock:
                self.chosen, self.tiles = chosen, tiles
                self.look = None if not len(chosen) else self.look
            self.changed(urgent=True)
            yield
            if len(chosen):
                place = int(chosen[self.place])
                self.look = self._look(judged, some, place)
                self.changed(urgent=True)
                yield
                if isinstance(some, SpeechSet):
                    self.look = replace(self.look, audible=audible(some, place))
                    self.changed(urgent=True)
        except Exception as error:
            self.say(plainly(error), "error")

    def _look(self, judged: Judged, some: ImageSet | SpeechSet, place: int) -> Look:
        """Repeat the trial in which a sample was judged: its batch, as far as the sample."""
        first = place // self._batch * self._batch
        if self._chip is None:
            first = place
        part = encode(some.subset(np.arange(first, place + 1)), self.config)
        noise = _noise(self._under, first)
        with threads(self.config.threads):
            seen = observe(self.config, self.network.weights, part, chip=self._chip, noise_seed=noise)
        return Look(judged.entry(place), seen, place - first, None)

    @property
    def _batch(self) -> int:
        return BATCH["words" if isinstance(self.config, SpeechConfig) else "images"]

    def _turn(self, step: int) -> None:
        if len(self.chosen):
            self.set(pick=(self.place + step) % len(self.chosen))


def _noise(v: dict[str, Any], first: int) -> int:
    """Seed of the noise of the batch that begins with this sample."""
    return int(np.random.default_rng([int(v["noise_seed"]), first]).integers(2**62))


def _check(config: AnyConfig, data: Data | None) -> None:
    if data is not None and isinstance(data.held_out, SpeechSet) != isinstance(config, SpeechConfig):
        want = "spoken words" if isinstance(config, SpeechConfig) else "images"
        got, fix = type(data.held_out).__name__, "pass the data that the network learned"
        raise InputError(complain("data", expected=want, got=got, fix=fix))
