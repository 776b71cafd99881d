"""Curves of finished and unfinished runs, whatever they come from: loss by term, accuracies, the paper's value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.errors import DataError, InputError, complain
from bss2lab.lab.frame import PALETTE, Axis, Frame, Layer, Mark, Panel, Series, Style
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.presets import Published, published
from bss2lab.results import Epoch
from bss2lab.settings import AnyConfig, config_of

if TYPE_CHECKING:
    from numpy import ndarray

AnyRun = Sequence[Epoch] | Mapping[str, Any] | Path | str | Cockpit
"""Epochs; the record that ``bss2lab train --json`` writes, or its file; a cockpit."""

TERMS = {"task": "task", "burst": "burst ρ_b", "rate": "rate ρ_r", "readout": "read-out ρ_a", "weight": "weights ρ_w"}
"""Names of the loss's terms."""

_FLOOR = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One run, epoch by epoch.

    Attributes:
        name: what it is called.
        epochs: its records.
        config: what was run, if that is known.
    """

    name: str
    epochs: tuple[Epoch, ...]
    config: AnyConfig | None

    @property
    def at(self) -> ndarray:
        """Numbers of the epochs, [epoch]."""
        return np.array([epoch.epoch for epoch in self.epochs], float)

    @property
    def terms(self) -> dict[str, ndarray]:
        """Loss by term, mean per sample, name → [epoch]."""
        names = dict.fromkeys(name for epoch in self.epochs for name in epoch.loss_terms)
        return {name: np.array([epoch.loss_terms.get(name, np.nan) for epoch in self.epochs]) for name in names}

    @property
    def summed(self) -> dict[str, ndarray]:
        """Task loss, and the sum of all penalties."""
        terms = self.terms
        penalties = [values for name, values in terms.items() if name != "task"]
        parts = {"task": terms["task"]} if "task" in terms else {}
        return {**parts, "penalties": np.sum(penalties, axis=0)} if penalties else parts

    @property
    def train(self) -> ndarray:
        """Training accuracy, %, [epoch]."""
        return 100 * np.array([epoch.train_accuracy for epoch in self.epochs], float)

    @property
    def held_out(self) -> ndarray:
        """Accuracy on the test (or validation) set, %, [epoch]."""
        return 100 * np.array([epoch.held_out_accuracy for epoch in self.epochs], float)

    @property
    def paper(self) -> Published | None:
        """The paper's accuracy for such a run, if it has one."""
        return published(self.config) if self.config is not None else None


def course_of(run: AnyRun, name: str = "") -> Course:
    """Read a run.

    Args:
        run: where it is.
        name: what it is called; made from what is known if not given.

    Raises:
        InputError: if it is none of what a run may be.
        DataError: if the file is missing or no record of a run.
    """
    match run:
        case Cockpit():
            epochs = tuple(run.run.epochs) if run.run is not None else ()
            config = run.run.config if run.run is not None else run.config
            return Course(name or "cockpit", epochs, config)
        case str() | Path():
            path = Path(run)
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(_no_run(str(path), type(error).__name__)) from None
            return _recorded(record, name or path.stem, str(path))
        case Mapping():
            return _recorded(run, name, "record")
        case _:
            epochs = tuple(run) if isinstance(run, Sequence) else (None,)
            if not all(isinstance(epoch, Epoch) for epoch in epochs):
                want = "a list of Epoch records, a record or file of `bss2lab train --json`, or a Cockpit"
                fix = "pass list(fit(config))"
                raise InputError(complain("run", expected=want, got=type(run).__name__, fix=fix))
            return Course(name, epochs, None)  # type: ignore[arg-type]


def courses_of(runs: Sequence[AnyRun]) -> list[Course]:
    """Read several runs; those without a name are numbered."""
    read = [course_of(run) for run in runs]
    named = [
        one if one.name else Course(_named(one, k, len(read)), one.epochs, one.config) for k, one in enumerate(read)
    ]
    seen: dict[str, int] = {}
    for k, one in enumerate(named):
        seen[one.name] = seen.get(one.name, 0) + 1
        if seen[one.name] > 1:
            named[k] = Course(f"{one.name} ({seen[one.name]})", one.epochs, one.config)
    return named


def frame(courses: Sequence[Course]) -> Frame:
    """Return the picture: loss by term and accuracies. Of several runs, all penalties are one curve."""
    end = max([2.0, *(float(one.at[-1]) for one in courses if one.epochs)])
    x = Axis("epoch", 1.0 - 0.02 * end, end * 1.02, integer=True)
    single = len(courses) == 1
    losses: list[Layer] = []
    accuracies: list[Layer] = []
    for k, one in enumerate(courses):
        colour = PALETTE[k % 8]
        who = "" if single else f"{one.name}: "
        for t, (term, values) in enumerate((one.terms if single else one.summed).items()):
            if (values > _FLOOR).any():
                shown = np.where(values > _FLOOR, values, np.nan)
                style: Style = "line" if single or not t else "dashed"
                paint = PALETTE[t % 8] if single else colour
                losses.append(Series(f"{who}{TERMS.get(term, term)}", one.at, shown, style, paint, 1.8))
        if one.epochs:
            test = "validation" if one.epochs[-1].test_accuracy is None else "test"
            colours = (PALETTE[0], PALETTE[1]) if single else (colour, colour)
            accuracies += [
                Series(f"{who}train", one.at, one.train, colour=colours[0], width=1.4, style="dashed"),
                Series(f"{who}{test}", one.at, one.held_out, colour=colours[1], width=2.4),
            ]
    papers = sorted({one.paper.test for one in courses if one.paper is not None})
    accuracies += [Mark(value, f"paper {value:.1f} %") for value in papers]
    low, high = _decades(_values(losses))
    least = float(np.concatenate([_values(accuracies), [*papers, 99.0]]).min())
    empty = "no epoch yet"
    empty, loss = "no epoch yet", Axis("loss per sample", low, high, log=True)
    correct = Axis("correct", max(0.0, least - 1.5), 100.6, unit="%")
    panels = [
        Panel("loss", "Loss by term", x, loss, losses, (0.0, 0.0, 0.5, 1.0), empty=empty),
        Panel("accuracy", "Accuracy", x, correct, accuracies, (0.5, 0.0, 1.0, 1.0), empty=empty),
    ]
    return Frame(panels, _alt(courses), badge=_badge(courses), height=400)


def _recorded(record: Any, name: str, where: str) -> Course:
    try:
        epochs = tuple(Epoch(**epoch) for epoch in record["epochs"])
        if not all(
            np.isfinite([epoch.epoch, epoch.loss, epoch.train_accuracy, epoch.held_out_accuracy]).all()
            for epoch in epochs
        ):
            raise ValueError("numbers that are none")
        return Course(name, epochs, config_of(record["config"]) if "config" in record else None)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        got = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(_no_run(where, got)) from None


def _no_run(where: str, got: str) -> str:
    return complain(where, expected="the record of a run", got=got, fix="make it with `bss2lab train TASK --json FILE`")


def _named(one: Course, k: int, n: int) -> str:
    if one.config is not None:
        return f"{one.config.task} {one.config.mode}, seed {one.config.seed}"
    return "run" if n == 1 else f"run {k + 1}"


def _values(layers: Sequence[Layer]) -> ndarray:
    """All finite values of some curves."""
    some = [layer.y[np.isfinite(layer.y)] for layer in layers if isinstance(layer, Series)]
    return np.concatenate([*some, np.empty(0)])


def _decades(values: ndarray) -> tuple[float, float]:
    if not len(values):
        return 0.01, 10.0
    return float(10 ** np.floor(np.log10(values.min()))), float(10 ** np.ceil(np.log10(values.max()) + 1e-6))


def _badge(courses: Sequence[Course]) -> str:
    """Say where the runs took place, if that is known."""
    configs = [one.config for one in courses if one.config is not None]
    if not configs:
        return ""
    where = "emulated chip" if any(config.on_chip for config in configs) else "software model"
    return f"{where} · synthetic speech" if any(config.task == "speech" for config in configs) else where


def _alt(courses: Sequence[Course]) -> str:
    said = [f"{one.name}: {len(one.epochs)} epochs, {one.held_out[-1]:.2f} %" for one in courses if one.epochs]
    return "Curves of training. " + ("; ".join(said) if said else "No epoch yet.")
