"""Anatomy of the injection: what recorded traces do to the gradient, as the chip departs from the model.

The gradients of ``injection`` are compared per layer against full knowledge, while every neuron of the chip is
detuned by a normalised spread σ_d; and each is put to use: does a step against it lower the chip's own loss?
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip import Chip
from bss2lab.errors import DataError, InputError, complain
from bss2lab.inputs import Data, encode
from bss2lab.learners import Samples
from bss2lab.results import to_json, versions
from bss2lab.settings import TrainConfig
from bss2lab.storage import write_atomically
from bss2lab.studies import injection
from bss2lab.studies.injection import Agreement, Gradient, Layers
from bss2lab.train import Run
from bss2lab.types import Weights

if TYPE_CHECKING:
    from jaxtyping import Int64
    from numpy import ndarray

SOFTWARE, IN_THE_LOOP = "software", "in the loop"
TRAININGS = (SOFTWARE, IN_THE_LOOP)
"""Where the weights come from: trained in software (nothing has adapted to the chip), or on this very chip."""

SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Normalised spread of the detuned parameters, as in the paper's figure 4."""

CONFIG = TrainConfig(epochs=2)
"""Short training: the weights must be useful, not final."""


@dataclass(frozen=True, slots=True)
class Point:
    """One chip, one detuning, one set of weights.

    Attributes:
        trained: where the weights come from, one of ``TRAININGS``.
        seed: seed of network, chip, detuning and batch.
        sigma_d: normalised spread of the detuning.
        loss_model, loss_chip, loss_full: of the batch in the model, on the emulated chip, and in its twin.
        accuracy_model, accuracy_chip: fractions of the batch.
        injected, alone, full: the three gradients.
        repeat: the injected gradient of a second trial against that of the first: what trial-to-trial noise costs.
    """

    trained: str
    seed: int
    sigma_d: float
    loss_model: float
    loss_chip: float
    loss_full: float
    accuracy_model: float
    accuracy_chip: float
    injected: Layers
    alone: Layers
    full: Layers
    repeat: Layers


@dataclass(frozen=True, slots=True)
class Result:
    """A study's points, and what was run.

    Attributes:
        config: configuration of the training.
        images: images in each batch.
        points: in the order in which they were computed.
    """

    config: TrainConfig
    images: int
    points: tuple[Point, ...]

    def select(self, trained: str) -> list[Point]:
        """Return the points with weights from one kind of training."""
        return [p for p in self.points if p.trained == trained]


def examine(
    config: TrainConfig,
    weights: Weights,
    samples: Samples,
    index: Int64[ndarray, "b"],
    *,
    chip: Chip,
    trained: str,
    seed: int,
    sigma_d: float,
) -> Point:
    """Take the three gradients at one set of weights on one chip, and compare them.

    Args:
        config, weights, samples, index, chip: see ``injection.side_by_side``.
        trained, seed, sigma_d: what the point is called (the chip is detuned already).

    Raises:
        InputError: if ``index`` names images that are not there, or the weights do not fit.
    """
    where = config, weights, samples, index
    first, second = (injection.injected(*where, chip=chip, noise_seed=s) for s in (2 * seed, 2 * seed + 1))
    model, reference = (take(*where, chip=chip) for take in (injection.alone, injection.full))

    def layers(g: Gradient, r: Gradient) -> Layers:
        return Layers(*(
            injection.compare(
                getattr(g, layer), getattr(r, layer),
                loss_change=injection.loss_change(
                    *where, chip=chip, layer=layer, gradient=getattr(g, layer), before=reference.loss
                ),
            )
            for layer in Weights._fields
        ))  # fmt: skip

    return Point(
        trained=trained, seed=seed, sigma_d=sigma_d,
        loss_model=model.loss, loss_chip=first.loss, loss_full=reference.loss,
        accuracy_model=model.accuracy, accuracy_chip=first.accuracy,
        injected=layers(first, reference), alone=layers(model, reference), full=layers(reference, reference),
        repeat=layers(second, first),
    )  # fmt: skip


def check_sigma(sigma_d: float) -> None:
    """Refuse a spread outside 0 … 0.5.

    Raises:
        InputError: naming the range.
    """
    if not 0 <= sigma_d <= max(SIGMAS):
        want = f"a normalised spread of 0 … {max(SIGMAS):g}"
        raise InputError(complain("sigma_d", expected=want, got=sigma_d, fix="20 % is 0.2"))


def detuned(chip: Chip, sigma_d: float, *, seed: int) -> Chip:
    """Return the chip with every neuron tuned to a target of its own; σ_d = 0 is the chip as it is.

    Args:
        chip: the emulated chip.
        sigma_d: normalised spread of the targets, 0 … 0.5 as in the paper.
        seed: which targets.

    Raises:
        InputError: if ``sigma_d`` lies outside that range.
    """
    check_sigma(sigma_d)
    return chip if sigma_d == 0 else chip.decalibrate(sigma_d, seed=seed)


def anatomy(
    seeds: Sequence[int],
    *,
    config: TrainConfig = CONFIG,
    sigmas: Sequence[float] = SIGMAS,
    trainings: Sequence[str] = TRAININGS,
    images: int = 100,
    data: Data | None = None,
    store: Path | None = None,
    done: Callable[[Point], None] = lambda _: None,
) -> Result:
    """Compare the gradients on chips of growing mismatch, with weights trained in software and in the loop.

    Args:
        seeds: each has a network, a chip, a detuning and a batch of its own.
        config: how to train; its mode and seeds are set here.
        sigmas: normalised spreads.
        trainings: which weights, of ``TRAININGS``.
        images: training images in the batch.
        data: images; loaded if not given.
        store: folder for the points done so far; a study that was stopped goes on from there.
        done: told about every point that was computed.

    Raises:
        InputError: a spread out of range, another kind of training, too many images, or a store of another study.
    """
    for sigma in sigmas:
        check_sigma(sigma)
    for kind in trainings:
        if kind not in TRAININGS:
            raise InputError(complain("trainings", expected=" or ".join(TRAININGS), got=repr(kind), fix="choose"))
    data = data or Data.load(config)
    if not 1 <= images <= len(data.train):
        want = f"1 … {len(data.train)}, the training images"
        raise InputError(complain("images", expected=want, got=images, fix="the study uses 100"))
    path = store / "anatomy.json" if store else None
    points = _kept(path, config, images)
    found = {(p.trained, p.seed, p.sigma_d) for p in points}
    for seed in seeds:
        own = config.replace(seed=seed, chip_seed=seed)
        index = np.random.default_rng([seed, 0]).permutation(len(data.train))[:images]
        samples, here = encode(data.train.subset(index), own), np.arange(images)
        for kind in trainings:
            weights = None
            for sigma in sigmas:
                if (kind, seed, sigma) in found:
                    continue
                chip = detuned(Chip(seed, own.profile), sigma, seed=seed)
                if weights is None or kind == IN_THE_LOOP:
                    weights = _trained(own, data, chip if kind == IN_THE_LOOP else None)
                point = examine(own, weights, samples, here, chip=chip, trained=kind, seed=seed, sigma_d=sigma)
                points.append(point)
                if path is not None:
                    write_atomically(path, to_json(to_record(Result(config, images, tuple(points)))).encode())
                done(point)
    asked = {(kind, seed, sigma) for seed in seeds for kind in trainings for sigma in sigmas}
    return Result(config, images, tuple(p for p in points if (p.trained, p.seed, p.sigma_d) in asked))


def _trained(config: TrainConfig, data: Data, chip: Chip | None) -> Weights:
    run = Run(config.replace(mode="software" if chip is None else "itl"), data, chip=chip)
    for _ in run.fit():
        pass
    return Weights(*(w.copy() for w in run.learner.weights()))


def _kept(path: Path | None, config: TrainConfig, images: int) -> list[Point]:
    if path is None or not path.exists():
        return []
    kept = load(path)
    if (kept.config.replace(threads=0), kept.images) != (config.replace(threads=0), images):
        want, fix = "points of the same configuration and batch size", "choose another folder"
        raise InputError(complain(str(path), expected=want, got="others", fix=fix))
    return list(kept.points)


def table(result: Result) -> str:
    """Return means over the seeds as a Markdown table, one line per training and spread."""
    lines = [
        "| weights from | σ_d % | loss on chip | accuracy on chip % | cosine hidden: injected | model alone | "
        "cosine output: injected | model alone | chip's loss after a hidden step, %: injected | model alone | full |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in TRAININGS:
        points = result.select(kind)
        for sigma in sorted({p.sigma_d for p in points}):
            some = [p for p in points if p.sigma_d == sigma]
            loss, correct = np.mean([(p.loss_chip, 100 * p.accuracy_chip) for p in some], axis=0)
            cosines = np.mean(
                [(p.injected.hidden.cosine, p.alone.hidden.cosine, p.injected.output.cosine, p.alone.output.cosine)
                 for p in some], axis=0,
            )  # fmt: skip
            changes = np.mean([[100 * g.hidden.loss_change for g in (p.injected, p.alone, p.full)] for p in some], 0)
            cells = [f"{c:.2f}" for c in cosines] + [f"{c:+.1f}" for c in changes]
            lines.append(f"| {kind} | {100 * sigma:.0f} | {loss:.2f} | {correct:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def to_record(result: Result) -> dict[str, Any]:
    """Return the result with configuration and versions, ready for JSON."""
    return {
        "versions": versions(),
        "note": "chip results are emulated, not measured",
        "config": result.config.model_dump(),
        "images": result.images,
        "points": [asdict(p) for p in result.points],
    }


def load(path: Path) -> Result:
    """Read a result back from a file that ``bss2lab study anatomy --json`` wrote.

    Raises:
        DataError: if the file is missing or not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Result(TrainConfig(**record["config"]), int(record["images"]), tuple(map(_point, record["points"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fix = "make it with `bss2lab study anatomy --json FILE`"
        raise DataError(complain(str(path), expected="results of the anatomy study", got=error, fix=fix)) from None


def _point(record: dict[str, Any]) -> Point:
    parts = ("injected", "alone", "full", "repeat")
    layers = {part: Layers(*(Agreement(**record[part][name]) for name in ("hidden", "output"))) for part in parts}
    return Point(**{**record, **layers})
