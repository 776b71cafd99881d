"""The training loop: ``fit()`` yields one record per epoch. It neither draws nor prints.

All randomness is a function of (seed, epoch, batch), never of what ran before: order of samples, augmentation,
dropout masks and the substrate's noise. A run that is stopped anywhere and resumed is therefore the run that was
never stopped, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, overload

import numpy as np
import torch

from bss2lab import checkpoint
from bss2lab.chip import Chip, ChipProfile
from bss2lab.datasets.speechset import SpeechSet
from bss2lab.errors import InputError, complain
from bss2lab.inputs import Data, augments, encode
from bss2lab.kernels.jit import is_forked
from bss2lab.learners import BatchResult, Learner, make_learner
from bss2lab.losses import (
    AnyObjective,
    BurstPenalty,
    MaxOverTime,
    Objective,
    RatePenalty,
    ReadoutPenalty,
    SpeechObjective,
    SumOverTime,
    WeightPenalty,
)  # fmt: skip
from bss2lab.machine import usable_cores
from bss2lab.results import Epoch
from bss2lab.settings import AnyConfig, SpeechConfig, TrainConfig
from bss2lab.types import AnyWeights, Substrate

C = TypeVar("C", bound=AnyConfig)

# Purposes that draw random numbers; each has streams of its own.
_ORDER, _AUGMENTATION, _DROPOUT, _TRAIN_NOISE, _TEST_NOISE = range(1, 6)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: handed to ``on_batch`` after every batch.

    Attributes:
        epoch: epoch in progress, from 1.
        batch, batches: batches done in this epoch, and in all of it.
        result: sums over the epoch so far.
        last: of this batch alone.
    """

    epoch: int
    batch: int
    batches: int
    result: BatchResult
    last: BatchResult


@dataclass(frozen=True, slots=True)
class Change:
    """Settings that were changed while a run was going on.

    Attributes:
        epoch: epoch in progress, from 1.
        batch: batches of it that were done.
        settings: the new values.
    """

    epoch: int
    batch: int
    settings: dict[str, object]


OBJECTIVE = frozenset({"rho_b", "rho_a", "rho_w", "rho_r", "theta_r", "loss_scale"})
"""Settings that the objective is made of."""

LIVE = OBJECTIVE | {"learning_rate", "lr_decay", "dropout", "rotation", "sigma_u", "epochs"}
"""Settings that may change while a run goes on."""


@overload
def objective_of(config: TrainConfig) -> Objective: ...
@overload
def objective_of(config: SpeechConfig) -> SpeechObjective: ...
def objective_of(config: AnyConfig) -> AnyObjective:
    """Return the standard objective of a configuration's task, with its penalties."""
    weight = WeightPenalty(config.rho_w)
    if isinstance(config, SpeechConfig):
        return SpeechObjective(SumOverTime(config.loss_scale), RatePenalty(config.rho_r, config.theta_r), weight)
    return Objective(
        MaxOverTime(config.loss_scale),
        BurstPenalty(config.rho_b),
        ReadoutPenalty(config.rho_a),
        weight,
    )


def chip_of(config: AnyConfig) -> Chip:
    """Return the chip that a configuration names, detuned if it says so (targets drawn from the chip's number)."""
    chip = Chip(config.chip_seed, config.profile)
    return chip.decalibrate(config.sigma_d, config.detuned, seed=config.chip_seed) if config.sigma_d else chip


def saved_learner(loaded: checkpoint.Loaded) -> Learner:
    """Return the learner of a checkpoint, for whoever wants its weights and not its data.

    Raises:
        CheckpointError: if its arrays are not those of its configuration.
    """
    chip = loaded.chip() if loaded.config.on_chip else None
    learner = make_learner(loaded.config, objective_of(loaded.config), chip)
    _restore(learner, loaded)
    return learner


class Run(Generic[C]):
    """A training run in progress: its learner, its data, and where it stands.

    Args:
        config: the run.
        data: images or words; loaded if not given.
        objective: what to minimise; the standard objective of the task if not given.
        chip: a chip of your own, or another substrate; made from the configuration if not given and needed.
        directory: where to keep the checkpoint; None: nowhere.
        resume: go on from the checkpoint in ``directory``, if there is one.
        start: weights to begin with, in model units; drawn from the run's seed if not given.
    """

    def __init__(
        self,
        config: C,
        data: Data | None = None,
        *,
        objective: AnyObjective | None = None,
        chip: Substrate | None = None,
        directory: Path | str | None = None,
        resume: bool = False,
        start: AnyWeights | None = None,
    ) -> None:
        set_threads(config.threads)
        self.config: C = config
        self.directory = directory = Path(directory) if directory is not None else None
        self.chip: Substrate | None = (chip or chip_of(config)) if config.on_chip else None
        self.learner: Learner = make_learner(config, objective or objective_of(config), self.chip, start)
        self._own_objective = objective is not None
        self._own_data = None
        if data is not None and data.origin is None and isinstance(data.train, SpeechSet):
            self._own_data = checkpoint.OwnData(data.train.name, data.train.classes)
        self.epochs: list[Epoch] = []
        self.changes: list[Change] = []
        self._batch, self._seconds, self._sums = 0, 0.0, BatchResult()
        if directory is not None:
            path = directory / checkpoint.FILE
            if resume and path.exists():
                loaded = checkpoint.load(path, config, self.chip)
                checkpoint.check_same_data(loaded, self._own_data)
                self._restore(loaded)
            elif path.exists():
                checkpoint.refuse_overwriting(path)
            else:
                self.save()  # a folder that cannot be written to is found out now, not after an epoch
        self.data = data or Data.load(config)
        self._check_position()
        self._held_out = encode(self.data.held_out, config)
        self._unchanging = None if augments(config) else encode(self.data.train, config)

    def fit(
        self, *, stop: Callable[[], bool] = lambda: False, on_batch: Callable[[Progress], None] = lambda _: None
    ) -> Iterator[Epoch]:
        """Train; yield one record per epoch.

        Args:
            stop: asked after every batch; True ends the run there, with a checkpoint.
            on_batch: told about every batch.
        """
        for event in self.steps():
            if isinstance(event, Epoch):
                yield event
                continue
            on_batch(event)
            if stop():
                self.save()
                return

    def steps(self) -> Iterator[Progress | Epoch]:
        """Train batch by batch: yield where the run is after every batch, and a record after every epoch.

        Between two steps the caller may wait as long as it likes (time is counted within steps alone), change
        settings, swap the chip, or walk away: ``save`` keeps the place.
        """
        n = len(self.data.train)
        while not self.finished:
            epoch = len(self.epochs)
            order, samples = self._random(_ORDER, epoch).permutation(n), None
            batches = -(-n // self.config.batch_size)
            for batch in range(self._batch, batches):
                begin = time.perf_counter()
                cfg = self.config
                samples = (
                    samples or self._unchanging or encode(self.data.train, cfg, self._random(_AUGMENTATION, epoch))
                )
                index = order[batch * cfg.batch_size : (batch + 1) * cfg.batch_size]
                alive = self._random(_DROPOUT, epoch, batch).random(cfg.n_hidden) >= cfg.dropout
                done = self.learner.train_batch(
                    samples, index, learning_rate=self.learning_rate, alive=alive,
                    noise_seed=self._noise(_TRAIN_NOISE, epoch),
                )  # fmt: skip
                self._sums.add(done)
                self._batch = batch + 1
                self._seconds += time.perf_counter() - begin
                yield Progress(epoch + 1, batch + 1, batches, self._sums, done)
            begin = time.perf_counter()
            evaluation = self.learner.evaluate(self._held_out, noise_seed=self._noise(_TEST_NOISE, epoch))
            self._seconds += time.perf_counter() - begin
            record = self._record(epoch, evaluation.accuracy, evaluation.hidden_spikes_per_image, self.learning_rate)
            self.epochs.append(record)
            self._batch, self._seconds, self._sums = 0, 0.0, BatchResult()
            self.save()
            yield record

    def change(self, **settings: object) -> None:
        """Change settings of a run that goes on: they hold from its next batch (rotation and σ_u: next epoch).

        Args:
            **settings: any of ``LIVE``.

        Raises:
            InputError: if a setting is not one of these, or out of range; then nothing is changed.
        """
        allowed = LIVE & set(type(self.config).model_fields)
        if self._own_objective or self.config.mode == "ann":  # the objective is not made from settings
            allowed -= OBJECTIVE
        if self.config.mode == "ann":
            allowed -= {"dropout"}
        for name in set(settings) - allowed:
            want = f"one of {', '.join(sorted(allowed))}"
            raise InputError(complain("change", expected=want, got=repr(name), fix="start another run for it"))
        config = self.config.replace(**settings)
        if augments(config) != augments(self.config):
            self._unchanging = None if augments(config) else encode(self.data.train, config)
        if OBJECTIVE & set(settings):
            self.learner.aim(objective_of(config))
        self.config = config
        self.changes.append(Change(len(self.epochs) + 1, self._batch, dict(settings)))

    def move_to(self, chip: Substrate) -> None:
        """Go on with another chip in the loop (the same one detuned, another one); weights stay.

        Raises:
            InputError: if the run is not on a chip.
        """
        if not self.config.on_chip:
            want = "a run on a chip"
            raise InputError(complain("move_to", expected=want, got=f"mode {self.config.mode!r}", fix="use mode 'itl'"))
        self.learner.move_to(chip)
        self.chip = chip

    @property
    def learning_rate(self) -> float:
        """Adam's rate in the epoch in progress."""
        return self.config.learning_rate * self.config.lr_decay ** len(self.epochs)

    def save(self) -> None:
        """Keep the checkpoint, if the run has a place for it."""
        if self.directory is not None:
            position = checkpoint.Position(list(self.epochs), self._batch, self._seconds, self._sums)
            path, state = self.directory / checkpoint.FILE, self.learner.state()
            checkpoint.save(path, self.config, self.chip, position, state, self._own_data)

    @property
    def profile(self) -> ChipProfile | None:
        """Profile of the emulated chip, if the run has one."""
        return self.chip.profile if isinstance(self.chip, Chip) else None

    @property
    def finished(self) -> bool:
        """Are all epochs done?"""
        return len(self.epochs) >= self.config.epochs

    def _record(self, epoch: int, accuracy: float, spikes: float, rate: float) -> Epoch:
        sums, validating = self._sums, self.config.validation > 0
        terms = {name: value / sums.images for name, value in sums.terms.items()}
        return Epoch(
            epoch=epoch + 1,
            loss=sum(terms.values()),
            loss_terms=terms,
            train_accuracy=sums.correct / sums.images,
            test_accuracy=None if validating else accuracy,
            validation_accuracy=accuracy if validating else None,
            hidden_spikes_per_image=spikes,
            clipped_readout_fraction=sums.clipped / (sums.images * self.config.n_steps * self.config.n_outputs),
            learning_rate=rate,
            seconds=self._seconds,
        )

    def _random(self, purpose: int, epoch: int, batch: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, purpose, epoch, batch])

    def _noise(self, purpose: int, epoch: int) -> int:
        return int(self._random(purpose, epoch).integers(2**62))

    def _check_position(self) -> None:
        """Refuse a checkpoint that stands where this training set has no batch."""
        n, size = len(self.data.train), self.config.batch_size
        want = min(self._batch * size, n)
        if self.directory is not None and (self._batch > -(-n // size) or self._sums.images != want):
            reason = f"{self._sums.images} images after batch {self._batch}, of a training set of {n}"
            raise checkpoint.misfit(self.directory / checkpoint.FILE, reason)

    def _restore(self, loaded: checkpoint.Loaded) -> None:
        _restore(self.learner, loaded)
        position = loaded.position
        self.epochs = position.epochs[: self.config.epochs]
        self._batch, self._seconds, self._sums = position.batch, position.seconds, position.sums


def fit(config: AnyConfig, data: Data | None = None, *, objective: AnyObjective | None = None) -> Iterator[Epoch]:
    """Train a network; yield one record per epoch.

    Args:
        config: the run.
        data: images or words; loaded if not given.
        objective: what to minimise; the standard objective of the task if not given.

    Raises:
        InputError, DataError: if the configuration or the data cannot be used.
    """
    yield from Run(config, data, objective=objective).fit()


def _restore(learner: Learner, loaded: checkpoint.Loaded) -> None:
    try:
        learner.restore(loaded.state)
    except (KeyError, ValueError) as error:
        raise checkpoint.misfit(loaded.path, error) from None


def set_threads(threads: int) -> int:
    """Use this many threads in the compiled kernels and in torch; 0: one per usable core. Returns the number.

    In a forked process that is one: threads do not come along.
    """
    # (The compiler is loaded only here; its guards must stand before numba's threads start.)
    from bss2lab.kernels.compiler import numba

    most = 1 if is_forked() else numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    n = min(threads or usable_cores(), most)
    numba.set_num_threads(n)
    torch.set_num_threads(n)
    return n
