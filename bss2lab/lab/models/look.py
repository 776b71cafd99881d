"""The sample explorer: any test sample on the chip, its spikes, its read-out, and the membranes of chosen neurons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.datasets import speech, vision
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.datasets.vision import ImageSet
from bss2lab.inputs import Data, encode
from bss2lab.lab.engine import ENGINE, Engine
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import look_frame
from bss2lab.lab.models.control import Control
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.one_sample import Membranes, OneSample, end_us, membranes_of
from bss2lab.lab.models.shipped import IMAGES
from bss2lab.settings import SpeechConfig
from bss2lab.studies.networks import Trained

PLAY_S = 3.0
"""Time that the whole run takes when it is played."""

STEP_S = 0.04
"""Time between two pictures of it."""

MOST_CHOSEN = 8
"""Neurons whose membranes are drawn at once."""


class Look(OneSample):
    """State of the sample explorer.

    Args:
        network: a trained network, or a file with one; that of figure 3B if not given.
        data: the test set (or what holds it); loaded if not given.
        key: name in the engine.
        engine: where it computes.

    Attributes:
        chosen: hidden neurons whose membranes are drawn, rising.
        membranes: of all hidden neurons during the trial on show.

    Raises:
        DataError: if the network or the data cannot be had.
    """

    title = "One sample on the chip"
    actions = {"play": "play", "halt": "pause", "busiest": "busiest neuron"}  # noqa: RUF012 (a constant)

    def __init__(
        self, network: Trained[Any, Any] | Path | str | None = None, data: Data | ImageSet | SpeechSet | None = None,
        *, key: str = "look", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        network = network_of(network, IMAGES)
        config = network.config
        if data is None:
            load = speech.load if isinstance(config, SpeechConfig) else vision.load
            data = load(config.task, "test")
        self.data: ImageSet | SpeechSet = data.held_out if isinstance(data, Data) else data
        last, end = len(self.data) - 1, end_us(config)
        super().__init__(
            network,
            [
                Control("sample", "test sample", 0, "whole", 0, last, 1, 0, last, "", "number in the test set"),
                Control(
                    "neuron", "hidden neuron", 0, "whole", 0, config.n_hidden - 1, 1, 0, config.n_hidden - 1, "",
                    "whose membrane is drawn; or click or drag in the raster",
                ),
                Control(
                    "time", "shown up to", end, "slider", 0.0, end, 0.1 if end < 100 else 1.0, 0.0, end, "µs",
                    "what comes later is not drawn; chip time",
                ),
            ],
            key=key, engine=engine,
        )  # fmt: skip
        self.chosen: tuple[int, ...] = ()
        self.membranes: Membranes | None = None
        self._playing: object | None = None
        self.say("the chip is at work …", "busy")
        self.answer()

    # --- buttons ----------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Play the run, slowed down, from the time shown (from the start if that is the end)."""
        with self.lock:
            end = self.controls["time"].high
            start = float(self.values["time"])
            self._playing = token = object()
            self.begin("play", self._play(token, 0.0 if start >= end else start, end))

    def halt(self) -> None:
        """Stop playing here."""
        with self.lock:
            self._playing = None

    def busiest(self) -> None:
        """Choose the hidden neuron that fired most."""
        with self.lock:
            if self.trial is not None:
                _, units = self.trial.seen.hidden_spikes.sample(0)
                neuron = int(np.bincount(units, minlength=self.trial.n_hidden).argmax())
                self.chosen = (neuron,)
                self.set(neuron=neuron)

    def pause(self) -> None:
        """See ``ViewModel``."""
        self.halt()

    def close(self) -> None:
        """See ``ViewModel``."""
        self.halt()
        super().close()

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        some = self.trial is not None
        return {"play": some and self._playing is None, "halt": self._playing is not None, "busiest": some}

    # --- choosing ---------------------------------------------------------------------------------------------

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if "time" in moved:
            self._playing = None
        if "neuron" in moved:
            self.chosen = (moved["neuron"],)
        if moved.keys() - {"time", "neuron"}:
            self.answer()

    def clicked(self, panel: str, x: float, y: float) -> None:
        """Choose the hidden neuron that was clicked in the raster."""
        neuron = round(y) - self.config.n_inputs
        if panel == "raster" and 0 <= neuron < self.config.n_hidden:
            with self.lock:
                self.chosen = (neuron,)
                self.set(neuron=neuron)

    def brushed(self, panel: str, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Choose the hidden neurons in a rectangle of the raster, of many those that fired most in it."""
        if panel != "raster" or self.trial is None:
            return
        first = self.config.n_inputs
        inside = np.arange(self.config.n_hidden)
        inside = inside[(inside + first >= low[1]) & (inside + first <= high[1])]
        times, units = self.trial.seen.hidden_spikes.sample(0)
        spikes = np.bincount(units[(times >= low[0]) & (times <= high[0])], minlength=self.config.n_hidden)[inside]
        if not len(inside):
            self.say("no hidden neuron there: they stand above the line, the inputs below it")
            return
        best = inside[np.argsort(-spikes, kind="stable")[:MOST_CHOSEN]]
        with self.lock:
            self.chosen = tuple(sorted(best.tolist()))
        if len(inside) > MOST_CHOSEN:
            self.say(f"{len(inside)} neurons there; shown: the {MOST_CHOSEN} that fired most in that time")
        self.changed(urgent=True)

    # --- results ----------------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return look_frame.frame(self)

    # --- in the engine's thread -------------------------------------------------------------------------------

    def steps(self) -> Iterator[None]:
        """See ``OneSample``."""
        one = self.data.subset(np.array([self.values["sample"]]))
        classes = one.classes if isinstance(one, SpeechSet) else one.dataset.classes
        samples = encode(one, self.network.config)
        noise_seed = self.values["noise_seed"]
        yield
        chip = self.chip()
        yield
        trial = self.tried(samples, int(samples.labels[0]), classes)
        yield
        membranes = membranes_of(trial, self.network.weights, chip, noise_seed=noise_seed)
        with self.lock:
            self.membranes = membranes
            self.trial = trial
            if not self.chosen:
                self.busiest()
        self.show(trial)

    def _play(self, token: object, start: float, end: float) -> Iterator[None]:
        began = time.monotonic()
        while True:
            with self.lock:
                if self._playing is not token:
                    return
                at = min(end, round(start + end * (time.monotonic() - began) / PLAY_S, 2))
                self.values["time"] = at
                if at >= end:
                    self._playing = None
            self.changed()
            yield
            if at < end:
                time.sleep(STEP_S)
