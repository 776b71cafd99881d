"""The training cockpit: a network learns on the emulated chip while its settings are moved."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from bss2lab.chip import Chip, load_profile
from bss2lab.errors import InputError, complain
from bss2lab.inputs import Data
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import cockpit_frame
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.cockpit_controls import CHIP, controls_of, paper_values
from bss2lab.lab.models.history import History, Kept, position
from bss2lab.lab.models.probe import Probe, Prober
from bss2lab.losses import AnyObjective
from bss2lab.presets import Published, published
from bss2lab.results import Epoch, run_record, to_json
from bss2lab.settings import AnyConfig, TrainConfig
from bss2lab.storage import write_atomically
from bss2lab.studies.networks import Trained, save_network
from bss2lab.train import LIVE, Progress, Run

Phase = Literal["new", "preparing", "training", "paused", "finished", "failed"]

PROBE_EVERY_S = 0.5
"""Shortest time between two looks at the network ..."""

PROBE_SHARE = 0.01
"""... which take no more than this share of the time [assumed: nobody notices] ..."""

PROBE_SLOWEST_S = 5.0
"""... but come at least so often, and whenever training ends or pauses after an epoch."""

CURIOUS_S = 5.0
"""For so long after something was moved, looks come as often as they may: then there is something to see."""

TELL_EVERY_S = 0.1
"""Time between two announcements of progress."""

MOST_MARKS = 6
"""Latest changes of settings that are marked in the curves."""

MOST_KEPT = 8
"""Runs that can be kept for comparison."""


class Cockpit(ViewModel):
    """State of the training cockpit.

    Settings with ``live`` controls act from the next batch on; those of the chip (decalibration, chip, noise) swap
    the chip under the running training; the others wait for a reset.

    Args:
        config: where it begins; fields that have no control stay as they are here.
        data: images or words; loaded at the first start if not given.
        objective: what to minimise; the standard objective of the task, with its sliders, if not given.
        key: name in the engine: a second cockpit of the same key stops the first.
        engine: where it trains.
    """

    title = "Training cockpit"
    actions = {  # noqa: RUF012 (a constant)
        "start": "start", "pause": "pause", "step": "one epoch", "stop": "stop", "reset": "reset",
        "keep": "keep run", "paper": "paper values",
    }  # fmt: skip

    def __init__(
        self, config: AnyConfig | None = None, data: Data | None = None, *, objective: AnyObjective | None = None,
        key: str = "cockpit", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        self.base: AnyConfig = config or TrainConfig()
        self.objective = objective
        super().__init__(controls_of(self.base, own_objective=objective is not None), key=key, engine=engine)
        self.phase: Phase = "new"
        self.run: Run[Any] | None = None
        self.history = History()
        self.kept: list[Kept] = []
        self.marks: list[tuple[float, str]] = []
        self.probe: Probe | None = None
        self._data, self._prober = data, None
        self._task: Task | None = None
        self._pending: dict[str, Any] = {}
        self._swap = False
        self._until: int | None = None
        self._told = self._rare_s = 0.0
        self._looked_at = self._moved_at = -math.inf
        self._at = 0.0

    # --- buttons ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Train, or go on."""
        with self.lock:
            self._until = None
            self._go()

    def step(self) -> None:
        """Train until the end of the epoch in progress, then pause."""
        with self.lock:
            done = len(self.run.epochs) if self.run is not None else 0
            self._until = done + 1
            self._go()

    def pause(self) -> None:
        """Stop after the batch in progress; ``start`` goes on."""
        with self.lock:
            if self._task is not None and self.phase in ("training", "preparing"):
                self._task.pause()
                self.phase = "paused"
                self.say("paused: move settings, then go on")

    def stop(self) -> None:
        """End this run where it is. Its curves stay; ``start`` goes on from here."""
        with self.lock:
            if self._task is not None:
                self._task.stop()
                self._task = None
            if self.phase in ("training", "preparing", "paused"):
                self.phase = "paused" if self.run is not None else "new"
                self.say("stopped; “start” goes on from here, “reset” begins anew")

    def reset(self) -> None:
        """Throw this run away and begin anew with the present settings (runs that were kept stay)."""
        with self.lock:
            self.stop()
            self.run, self.probe, self._prober = None, None, None
            self.history, self.marks = History(), []
            self._pending, self._swap, self._at = {}, False, 0.0
            self.phase = "new"
            self.say("new run: nothing learned yet")

    def keep(self) -> None:
        """Keep the curves of this run for comparison with later ones, and begin a new one."""
        with self.lock:
            if not len(self.history.train):
                self.say("nothing to keep yet: train first", "error")
                return
            differ = [
                self.controls[name].shown(value)
                for name, value in self.values.items()
                if value != self.controls[name].value and name != "sample"
            ]
            kept = Kept(", ".join(differ) or "first settings", self.history, dict(self.values))
            self.kept = [*self.kept, kept][-MOST_KEPT:]
            self.reset()
            self.say(f"kept: {kept.name}", "good")

    def paper(self) -> None:
        """Set everything to the values of the paper and the authors' code."""
        self.set(**paper_values(self.base, self.controls))

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        busy = self.phase in ("training", "preparing")
        more = not (self.run is not None and self.run.finished)
        some = len(self.history.train) > 0
        return {
            "start": not busy and more, "pause": busy, "step": not busy and more, "stop": busy,
            "reset": busy or some or self.phase == "failed", "keep": some, "paper": True,
        }  # fmt: skip

    # --- settings ---------------------------------------------------------------------------------------------

    @property
    def config(self) -> AnyConfig:
        """The run that the present settings describe.

        Raises:
            InputError: if they contradict each other.
        """
        fields = type(self.base).model_fields
        return self.base.replace(**{name: value for name, value in self.values.items() if name in fields})

    @property
    def paper_value(self) -> Published | None:
        """The paper's accuracy for such a run, if it has one."""
        return published(self.config)

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        config = self.config  # refuses contradictions
        if self.run is None or not moved:
            return
        waits = [n for n in moved if n not in LIVE and n not in CHIP and n != "sample"]
        if waits:
            labels = ", ".join(self.controls[name].label for name in waits)
            self.message_later(f"{labels}: from the next reset on")
        live = {name: value for name, value in moved.items() if name in LIVE}
        self._pending |= live
        self._swap |= any(name in CHIP for name in moved) and config.on_chip
        shown = {**live, **{name: moved[name] for name in moved if name in CHIP}}
        for name, value in shown.items():
            label = self.controls[name].label
            if self.marks and self.marks[-1][1].startswith(label) and self._at - self.marks[-1][0] < 0.1:
                self.marks.pop()  # still being dragged
            self.marks = [*self.marks, (self._at, self.controls[name].shown(value))][-MOST_MARKS:]
        if "sample" in moved and self.phase != "training":
            self._look_soon()

    def message_later(self, text: str) -> None:
        """Say something that is no error, without losing an error that is shown."""
        if self.message.kind != "error":
            self.say(text)

    # --- results ----------------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return cockpit_frame.frame(self)

    def record(self) -> dict[str, Any]:
        """Return the run's full record, ready for JSON: configuration, versions, provenance, epochs, changes.

        Raises:
            InputError: if there is no run yet.
        """
        if self.run is None:
            raise InputError(complain("run", expected="one that has begun", got="none", fix="press “start” first"))
        body = run_record(self.run.config, self.run.profile, list(self.run.epochs))
        return {**body, "changes": [asdict(change) for change in self.run.changes], "settings": dict(self.values)}

    def export(self, folder: Path | str) -> tuple[Path, Path]:
        """Write the run's record (JSON) and its network (safetensors) into a folder; return both paths.

        Training may go on: both are of the moment between two batches.

        Raises:
            InputError: if there is no run yet.
            OSError: if the folder cannot be written to.
        """
        folder = Path(folder)
        record, network = folder / "run.json", folder / "network.safetensors"

        def write() -> None:
            body = self.record()
            assert self.run is not None
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(record, to_json(json.loads(json.dumps(body))).encode())
            weights: Any = self.run.learner.weights()
            save_network(network, Trained(self.run.config, tuple(self.run.epochs), weights))

        writing = self.engine.call(f"{self.key}/export", write, owner=self)
        writing.wait()
        if writing.error is not None:
            raise writing.error
        return record, network

    # --- in the engine's thread -------------------------------------------------------------------------------

    def _go(self) -> None:
        if self.phase in ("training", "preparing") or (self.run is not None and self.run.finished):
            return
        if self._task is not None and self._task.state == "paused":
            self.phase = "training" if self.run is not None else "preparing"
            self._task.resume()
        else:
            self.phase = "preparing"
            self._task = self.begin("train", self._train())
        self.say("training" if self.run is not None else "loading data and chip …", "busy")

    def _train(self) -> Iterator[None]:
        try:
            yield from self._prepared()
            assert self.run is not None
            for event in self.run.steps():
                self._note(event)
                yield
                self._follow_settings()
                if self._until is not None and len(self.run.epochs) >= self._until and not self.run.finished:
                    self._look()
                    self._until, self._task, self.phase = None, None, "paused"
                    self.say(f"epoch {len(self.run.epochs)} done: “one epoch” or “start” goes on")
                    return
            self._look()
            self.phase, self._task = "finished", None
            self.say(
                f"finished after {len(self.run.epochs)} epochs: {self.history.test.last:.2f} % test accuracy", "good"
            )
        except Exception as error:
            self.phase, self._task = "failed", None
            self.say(plainly(error), "error")

    def _prepared(self) -> Iterator[None]:
        if self.run is not None:
            self.phase = "training"
            return
        config = self.config
        data = self._data if self._data is not None and self._data.train.name == config.task else Data.load(config)
        self._data = data
        yield
        chip = self._chip(config) if config.on_chip else None
        yield
        run: Run[Any] = Run(config, data, chip=chip, objective=self.objective)
        self._prober = Prober(config, data.held_out)
        with self.lock:
            self.run, self._pending, self._swap = run, {}, False
            self.phase = "training"
        self.say(f"training on {len(data.train):,} samples", "busy")
        self._look()
        yield

    def _chip(self, config: AnyConfig) -> Chip:
        """Make the chip that the settings describe."""
        profile, noise = load_profile(config.profile), float(self.values["noise"])
        if noise != 1.0:
            profile = profile.replace(
                membrane_noise_mv=noise * profile.membrane_noise_mv, cadc_noise_lsb=noise * profile.cadc_noise_lsb
            )
        chip = Chip(config.chip_seed, profile)
        return chip.decalibrate(config.sigma_d, config.detuned, seed=config.chip_seed) if config.sigma_d else chip

    def _follow_settings(self) -> None:
        """Let what was moved act."""
        assert self.run is not None
        if not (self._pending or self._swap):
            return
        self._moved_at = time.monotonic()
        with self.lock:
            pending, self._pending = self._pending, {}
            swap, self._swap = self._swap, False
            config = self.config
        if pending:
            self.run.change(**pending)
        if swap:
            self.run.move_to(self._chip(config))
            self._look()

    def _note(self, event: Progress | Epoch) -> None:
        now = time.monotonic()
        if isinstance(event, Epoch):
            self.history.add_epoch(event)
            self._at = float(event.epoch)
        else:
            self.history.add_batch(event)
            self._at = position(event)
            if now - self._looked_at >= (PROBE_EVERY_S if now - self._moved_at < CURIOUS_S else self._rare_s):
                self._look()
        if now - self._told >= TELL_EVERY_S or isinstance(event, Epoch):
            self._told = now
            self.changed()

    def _look(self) -> None:
        assert self.run is not None
        assert self._prober is not None
        noise_seed, begin = int(1000 * self._at), time.monotonic()
        self.probe = self._prober.look(
            self.run.learner, self.run.chip, int(self.values["sample"]), noise_seed=noise_seed
        )
        self.history.probe.add(self._at, 100 * self.probe.accuracy)
        end = time.monotonic()
        self._looked_at = end
        self._rare_s = min(max(PROBE_EVERY_S, (end - begin) / PROBE_SHARE), PROBE_SLOWEST_S)
        self.changed()

    def _look_soon(self) -> None:
        if self._prober is not None:
            self.engine.call(f"{self.key}/look", self._look, owner=self)
