"""Checkpoints: one safetensors file whose header carries the rest as JSON. Written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from bss2lab import arrayfile
from bss2lab.chip import Chip, ChipProfile, Codes
from bss2lab.chip.limits import check_seed
from bss2lab.errors import CheckpointError, complain
from bss2lab.learners import BatchResult
from bss2lab.results import Epoch, versions
from bss2lab.settings import FREE_TO_CHANGE, AnyConfig, config_of
from bss2lab.storage import write_atomically
from bss2lab.types import Substrate
from bss2lab.version import NUMERICS

if TYPE_CHECKING:
    from numpy import ndarray

FILE = "checkpoint.safetensors"
FORMAT = 2

_MANY = 2**53
"""More than any count of a run."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: everything but the arrays.

    Attributes:
        epochs: records of the finished epochs.
        batch: batches done in the epoch after those.
        seconds: time spent in that epoch so far.
        sums: its sums so far.
    """

    epochs: list[Epoch]
    batch: int
    seconds: float
    sums: BatchResult


@dataclass(frozen=True, slots=True)
class OwnData:
    """The words that a run was trained on, if they are in no catalogue. (Images always go by the name of one.)

    Attributes:
        name: what the words are called.
        classes: names of the classes, by label.
    """

    name: str
    classes: tuple[str, ...]


_POSITION, _OWN = TypeAdapter(Position), TypeAdapter(OwnData | None)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A checkpoint read back. ``data`` is None where the run was on the data set that its configuration names."""

    path: Path
    config: AnyConfig
    chip_seed: int | None
    profile: ChipProfile | None
    codes: Codes | None
    position: Position
    state: dict[str, ndarray]
    data: OwnData | None = None

    def chip(self) -> Chip | None:
        """Return the very chip that the run was on, with its codes; None if there was none."""
        if self.chip_seed is None or self.profile is None:
            return None
        return Chip(self.chip_seed, self.profile, codes=self.codes)


def save(
    path: Path, config: AnyConfig, chip: Substrate | None, position: Position, state: dict[str, ndarray],
    data: OwnData | None = None,
) -> None:  # fmt: skip
    """Write a checkpoint.

    Random states need no room in it: every draw is a function of (seed, epoch, batch).

    Raises:
        OSError: if it cannot be written; an older checkpoint is then still whole.
    """
    header = {
        "format": FORMAT,
        "numerics": NUMERICS,
        "versions": versions(),
        "config": config.model_dump(),
        "chip": _describe(chip) if isinstance(chip, Chip) else None,
        "position": asdict(position),
    }
    if data is not None:
        header["data"] = asdict(data)
    write_atomically(path, arrayfile.pack(header, state))


def load(path: Path, config: AnyConfig | None = None, chip: Substrate | None = None) -> Loaded:
    """Read a checkpoint back, trusting nothing in it.

    Args:
        path: the file.
        config: the configuration it must belong to (epochs and threads may differ); None: any.
        chip: the chip it must belong to; looked at only together with ``config``.

    Raises:
        CheckpointError: if the file is damaged, or belongs to another configuration, chip or numerics version.
    """
    try:
        header, state = arrayfile.unpack(path)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        saved = config_of(header["config"])
        chip_seed, profile, codes = _chip(header["chip"])
        position = _position(header["position"])
        numerics, data = header["numerics"], _OWN.validate_python(header.get("data"))
    except FileNotFoundError:
        text = complain("checkpoint", expected="a file", got=f"nothing at {path}", fix="train with --save first")
        raise CheckpointError(text) from None
    except arrayfile.DAMAGE as error:
        raise misfit(path, error) from None
    if numerics != NUMERICS:
        want, got = f"numerics version {NUMERICS}", numerics
        fix = "finish the run with the version that began it, or start a new folder"
        raise CheckpointError(complain(str(path), expected=want, got=got, fix=fix))
    if config is not None:
        _check_same(path, saved, config)
        if chip is not None:
            _check_same_chip(path, chip_seed, profile, codes, chip)
    return Loaded(path, saved, chip_seed, profile, codes, position, state, data)


def misfit(path: Path, reason: object) -> CheckpointError:
    """Return the error for a file that is no whole checkpoint of this program."""
    detail = " ".join(str(reason).split())[:300] or type(reason).__name__
    fix = "delete it and train again, or choose another folder"
    return CheckpointError(complain(str(path), expected="a whole checkpoint of bss2lab", got=detail, fix=fix))


def refuse_overwriting(path: Path) -> None:
    """Raise the error for starting afresh where a checkpoint lies."""
    fix = "pass --resume to go on with it, or choose another folder"
    raise CheckpointError(complain("save folder", expected="one without a checkpoint", got=path, fix=fix))


def check_same_data(loaded: Loaded, data: OwnData | None) -> None:
    """Refuse to go on with other data than a run began with.

    Raises:
        CheckpointError: naming both.
    """
    if loaded.data != data:
        before, now = (
            f"the data set {loaded.config.task!r}" if one is None else f"{one.name} ({len(one.classes)} classes)"
            for one in (loaded.data, data)
        )
        if before == now:
            before, now = "other classes", "these"
        fix = "resume with the data that began the run (Run(config, data, …)), or choose another folder"
        raise CheckpointError(complain(str(loaded.path), expected=f"a run on {now}", got=f"one on {before}", fix=fix))


def _position(fields: dict[str, Any]) -> Position:
    json.dumps(fields, allow_nan=False)  # NaN and infinity were never written
    position = _POSITION.validate_python(fields)
    sums = position.sums
    if (
        [e.epoch for e in position.epochs] != list(range(1, len(position.epochs) + 1))
        or position.batch < 0
        or not 0 <= sums.correct <= sums.images < _MANY
        or not 0 <= sums.clipped < _MANY
    ):
        raise ValueError("impossible position in the run")
    return position


def _describe(chip: Chip) -> dict[str, Any]:
    codes = {name: values.tolist() for name, values in chip.codes.items()}
    return {"seed": chip.seed, "profile": chip.profile.model_dump(), "codes": codes}


def _chip(fields: dict[str, Any] | None) -> tuple[int | None, ChipProfile | None, Codes | None]:
    if fields is None:
        return None, None, None
    seed = check_seed("chip seed", fields["seed"], bits=32)
    return seed, ChipProfile(**fields["profile"]), Codes.from_mapping(fields["codes"])


def _check_same(path: Path, saved: AnyConfig, config: AnyConfig) -> None:
    before, now = saved.model_dump(), config.model_dump()
    if type(saved) is not type(config):  # another kind of task: nothing else needs comparing
        before, now = ({"task": fields["task"]} for fields in (before, now))
    changed = [k for k in now if before[k] != now[k] and k not in FREE_TO_CHANGE]
    if changed:
        got = ", ".join(f"{k}={before[k]!r} in the checkpoint, {now[k]!r} asked for" for k in changed)
        fix = "resume with the same settings, or choose another folder"
        raise CheckpointError(complain(str(path), expected="the same configuration", got=got, fix=fix))


def _check_same_chip(
    path: Path, seed: int | None, profile: ChipProfile | None, codes: Codes | None, chip: Substrate
) -> None:
    before = "another substrate" if profile is None else f"chip {seed}"
    now = f"chip {chip.seed}" if isinstance(chip, Chip) else "another substrate"
    if before != now:
        fix = "resume on the chip that began the run, or choose another folder"
        raise CheckpointError(complain(str(path), expected=f"a run on {now}", got=f"one on {before}", fix=fix))
    if isinstance(chip, Chip) and profile is not None and profile != chip.profile:
        own, other = chip.profile.model_dump(), profile.model_dump()
        changed = [k for k in own if own[k] != other[k]]
        got = ", ".join(f"{k}={_short(other[k])} in the checkpoint, {_short(own[k])} now" for k in changed)
        fix = "restore the profile's file, or choose another folder"
        raise CheckpointError(complain(str(path), expected="the same chip profile", got=got, fix=fix))
    if isinstance(chip, Chip) and codes is not None and not codes.same_as(chip.codes):
        changed = [name for name, values in codes.items() if not np.array_equal(values, getattr(chip.codes, name))]
        fix = "write the codes that the run began with (Loaded.chip() has them), or choose another folder"
        got = f"others for {', '.join(changed)}"
        raise CheckpointError(complain(str(path), expected="the same codes on the chip", got=got, fix=fix))


def _short(value: Any) -> str:
    """Show a value: measured neurons have a great many numbers."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"
