"""The decalibration bench: one detuned chip, and three ways to get a network onto it (figure 4B, live)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.instruments import self_active
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import Bss2Error, InputError, complain
from bss2lab.inputs import Data, encode
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import decalibration_frame
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.detuned import ALL, SHORT, Line, Place, Visit, controls_of, record_of, training_from
from bss2lab.lab.models.given import Given, held_out, network_of, spread
from bss2lab.learners import Samples
from bss2lab.learners.readout import Tally, count_errors
from bss2lab.results import Epoch
from bss2lab.runner.store import Store, default_folder
from bss2lab.settings import TrainConfig
from bss2lab.studies.fig4_robustness import RobustnessConfig
from bss2lab.studies.networks import ImageNetwork, Trained
from bss2lab.studies.training import data_of, trained
from bss2lab.train import Run, set_threads
from bss2lab.types import Weights

SWEEP = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The paper's spreads."""

NOISE_SEED = 1
"""Seed of the trial-to-trial noise in a test, that of the study."""

PART = 500
"""Test images counted in one step [assumed: enough for a first guess, some 20 ms]."""

TELL_EVERY_S = 0.2
"""Time between two announcements of progress."""


class Decalibration(ViewModel):
    """State of the decalibration bench.

    Every move of σ_d detunes the chip and counts the errors on the test images anew. “Recalibrated” is the software
    network on the calibrated chip: another calibration of the detuned chip would find it again, up to noise.

    Args:
        network: a network trained in the loop on a calibrated chip; the package's if not given.
        data: images to train and to test on; the configuration's data set if not given.
        config: settings of the two trainings; epochs and training images are set here.
        store: folder of records, in which trainings are looked up and kept; the user's cache if not given.
        key: name in the engine.
        engine: where it computes.

    Raises:
        InputError: if the network does not classify these images.
        DataError: if a network was named, and its file is missing or none.
    """

    title = "Decalibration bench"
    answers_soon = True
    actions = {  # noqa: RUF012 (a constant)
        "train_here": "train in the loop here", "train_software": "train in software", "sweep": "sweep σ_d",
        "stop": "stop", "clear": "clear curves",
    }  # fmt: skip

    def __init__(
        self, network: Given = None, data: Data | None = None, *, config: RobustnessConfig = SHORT,
        store: Path | None = None, key: str = "decalibration", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        super().__init__(controls_of(config), key=key, engine=engine)
        self.config = config
        self.home: ImageNetwork | None = _home(network, config)
        self.software: ImageNetwork | None = None
        self.here: dict[Place, ImageNetwork] = {}
        self.visit: Visit | None = None
        self.points: dict[tuple[Line, Place, int], float] = {}
        self._data, self._store = data, Store(store or default_folder())
        self._test: dict[tuple[int, float], Samples] = {}
        self._chips: dict[int, Chip] = {}
        self._recalibrated: dict[tuple[int, int], Tally] = {}
        self._looked = self._sweeping = False
        self._task: Task | None = None
        self._evaluate()

    # --- buttons ----------------------------------------------------------------------------------------------

    def train_here(self) -> None:
        """Train in the loop on the chip as it is detuned now; found in the cache if that was done before.

        Begins with the weights of the network that was trained on the other chip, or anew, as is set.
        """
        at = self.place
        config = self._trimmed(self.config.itl, chip_seed=at.chip, sigma_d=at.sigma_d, detuned=at.which)

        def keep(network: ImageNetwork) -> None:
            self.here[at] = network
            self.points = {k: v for k, v in self.points.items() if k[:2] != ("here", at)}

        start = self.home.weights if self.home is not None and self.values["begin"] == "home" else None
        self._train(config, start, f"in the loop on {at}", keep)

    def train_software(self) -> None:
        """Train the network that is transferred; found in the cache if that was done before."""
        self._train(self._trimmed(self.config.software), None, "in software", self._take_software)

    def sweep(self) -> None:
        """Visit the paper's six spreads, one after the other."""

        def steps() -> Iterator[None]:
            for sigma_d in SWEEP:
                with self.lock:
                    self.values["sigma_d"] = sigma_d
                yield from self._visiting()
            self._sweeping = False
            self.changed()

        self._sweeping = True
        self.begin("evaluate", steps(), urgent=True)

    def stop(self) -> None:
        """Stop training, and the sweep."""
        self.close()
        self._task, self._sweeping = None, False
        self.say("stopped")

    def clear(self) -> None:
        """Forget the points of all curves (networks stay)."""
        with self.lock:
            self.points = {}
        self._evaluate()

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        busy = self._task is not None and self._task.state == "running"
        return {
            "train_here": not busy, "train_software": not busy, "sweep": not self._sweeping,
            "stop": busy or self._sweeping, "clear": bool(self.points),
        }  # fmt: skip

    # --- settings ---------------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """The chip and its detuning, as they are set."""
        v = self.values
        return Place.of(v["chip_seed"], v["detuned"], v["sigma_d"])

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if moved.keys() & {"sigma_d", "detuned", "chip_seed", "images"}:
            self._evaluate()

    def clicked(self, panel: str, x: float, y: float) -> None:
        """Go to the σ_d that was clicked at."""
        if panel == "errors":
            self.set(sigma_d=round(min(max(x, 0.0), 1.0), 2))

    # --- results ----------------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return decalibration_frame.frame(self)

    def curve(self, line: Line) -> tuple[np.ndarray, np.ndarray]:
        """Return the σ_d visited with this chip and the errors found, %, for the present settings."""
        with self.lock:
            at, n, points = self.place, self.values["images"], dict(self.points)
        found = sorted(
            (place.sigma_d, 100 * error)
            for (name, place, images), error in points.items()
            if (name, place.chip, images) == (line, at.chip, n) and (place.which == at.which or not place.sigma_d)
        )
        pairs = np.array(found, float).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    # --- in the engine's thread -------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        self._sweeping = False
        self.begin("evaluate", self._visiting(), urgent=True)

    def _visiting(self) -> Iterator[None]:
        try:
            set_threads(self.config.itl.threads)
            yield from self._visited()
        except Exception as error:
            self.say(plainly(error), "error")

    def _visited(self) -> Iterator[None]:
        with self.lock:
            at, n = self.place, int(self.values["images"])
        self._look_for_software()
        calibrated = self._chips.get(at.chip) or self._chips.setdefault(at.chip, Chip(at.chip, self.config.itl.profile))
        yield
        detuned = calibrated.decalibrate(at.sigma_d, at.which, seed=at.chip) if at.sigma_d else calibrated
        active = self_active(calibrated) if detuned.detuning is None else detuned.detuning.self_active
        self.visit = Visit(at, calibrated.mismatch, detuned.mismatch, len(active))
        yield
        known = self._recalibrated.get((at.chip, n))
        if known is not None:
            self._count(at, n, "recalibrated", known)
        ways: list[tuple[Line, Chip, ImageNetwork | None]] = [
            ("here", detuned, self.here.get(at)), ("itl", detuned, self.home),
            ("transfer", detuned, self.software), ("recalibrated", calibrated, None if known else self.software),
        ]  # fmt: skip
        counts: dict[Line, Iterator[Tally]] = {
            line: self._counting(chip, network, n) for line, chip, network in ways if network is not None
        }
        self.changed(urgent=not counts)
        guessed = False
        for line, counted in counts.items():  # one after the other: the first is soon whole
            for tally in counted:
                self._count(at, n, line, tally)
                self.changed(urgent=tally.complete or not guessed)
                guessed = True
                yield

    def _counting(self, chip: Chip, network: ImageNetwork, n: int) -> Iterator[Tally]:
        samples = self._samples(network.config, n)
        return count_errors(chip, network.weights, samples, seed=NOISE_SEED, vote=network.config.vote, part=PART)

    def _count(self, at: Place, n: int, line: Line, tally: Tally) -> None:
        with self.lock:
            assert self.visit is not None
            self.visit = replace(self.visit, tallies={**self.visit.tallies, line: tally})
            if tally.complete:
                self.points[line, at, n] = tally.error
                if line == "recalibrated":
                    self._recalibrated[at.chip, n] = tally

    def _samples(self, config: TrainConfig, n: int) -> Samples:
        key = n, config.duration_us
        if key not in self._test:
            images = self._data.held_out if self._data is not None else held_out(self.config.itl)
            self._test[key] = encode(spread(images, n), config)
        return self._test[key]

    # --- training ---------------------------------------------------------------------------------------------

    def _trimmed(self, config: TrainConfig, **changes: Any) -> TrainConfig:
        limit = self.values["limit"] if self.values["limit"] < ALL else 0
        return config.replace(epochs=self.values["epochs"], limit=limit, **changes)

    def _take_software(self, network: ImageNetwork) -> None:
        self.software = network
        self._recalibrated = {}
        self.points = {k: v for k, v in self.points.items() if k[0] not in ("transfer", "recalibrated")}

    def _look_for_software(self) -> None:
        """Take the software network from the cache, if it is there; say what to do if it is not."""
        if self._looked:
            return
        self._looked = True
        config = self._trimmed(self.config.software)
        found = self._found(config, None)
        if found is not None:
            self.software = found
        elif not self.message.text:
            self.say("“train in software” makes the network that is transferred; then move σ_d")

    def _found(self, config: TrainConfig, start: Weights | None) -> ImageNetwork | None:
        if self._data is not None:  # a record is of the data set itself
            return None
        with suppress(Bss2Error):  # damaged: it is made again
            record = self._store.read(training_from(config, start).key)
            return None if record is None else trained(config, record)
        return None

    def _train(
        self, config: TrainConfig, start: Weights | None, where: str, keep: Callable[[ImageNetwork], None]
    ) -> None:
        self.say(f"training {where}: loading …", "busy")
        self._task = self.begin("train", self._training(config, start, where, keep))

    def _training(
        self, config: TrainConfig, start: Weights | None, where: str, keep: Callable[[ImageNetwork], None]
    ) -> Iterator[None]:
        try:
            network = self._found(config, start)
            text = f"found: trained {where} before"
            if network is None:
                run = Run(config, self._training_data(config), start=start)
                yield
                yield from self._followed(run, where)
                weights: Any = run.learner.weights()
                network = Trained(config, tuple(run.epochs), weights)
                text = f"trained {where}, {run.epochs[-1].seconds * len(run.epochs):.0f} s"
                self._file(network, start)
            with self.lock:
                keep(network)
                self._task = None
            self.say(f"{text}: {100 * network.final.held_out_accuracy:.2f} % right where it was trained", "good")
            self._evaluate()
        except Exception as error:
            self._task = None
            self.say(plainly(error), "error")

    def _followed(self, run: Run[TrainConfig], where: str) -> Iterator[None]:
        told = 0.0
        for event in run.steps():
            now = time.monotonic()
            if not isinstance(event, Epoch) and now - told >= TELL_EVERY_S:
                told = now
                right = 100 * event.result.correct / event.result.images
                at = f"epoch {event.epoch} of {run.config.epochs}, {100 * event.batch // event.batches} %"
                self.say(f"training {where}: {at}, {right:.1f} % right", "busy")
            yield

    def _training_data(self, config: TrainConfig) -> Data:
        if self._data is None:
            return data_of(config)
        images = cast("ImageSet", self._data.train)
        some = images.take(min(config.limit or len(images), len(images)))
        return Data(some, self._data.held_out, self._data.origin)

    def _file(self, network: ImageNetwork, start: Weights | None) -> None:
        if self._data is not None:
            return
        record, job = record_of(network.epochs, network.weights), training_from(network.config, start)
        with suppress(OSError):  # a cache that cannot be written to: trained again next time
            self._store.write(job, record, sum(e.seconds for e in network.epochs))


def _home(network: Given, config: RobustnessConfig) -> ImageNetwork | None:
    """Return the network trained in the loop; None if none was named and the package's is not there."""
    try:
        found = network_of(network)
    except Bss2Error:
        if network is not None:
            raise
        return None
    given = found.config
    if not isinstance(given, TrainConfig) or given.task != config.itl.task or given.mode != "itl":
        want, got = f"one trained in the loop on {config.itl.task}", f"{given.task} in mode {given.mode!r}"
        raise InputError(complain("network", expected=want, got=got, fix="choose another file"))
    return cast("ImageNetwork", found)
