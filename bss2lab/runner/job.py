"""A job: one independent piece of work of a study. Its key says what it computes, its record what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.config import Config
from bss2lab.errors import InputError, complain
from bss2lab.version import NUMERICS

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What a job gives back.

    Attributes:
        values: numbers and text, ready for JSON.
        arrays: NumPy arrays by name.
    """

    values: dict[str, Any]
    arrays: Mapping[str, ndarray] = field(default_factory=dict)

    @classmethod
    def portable(cls, returned: object, name: str) -> Record:
        """Return what a task gave back as it will be read from a file: a record is the same, computed or found.

        Args:
            returned: what came.
            name: the job's name, for the error.

        Raises:
            InputError: if it is no record, or holds what no file of records can.
        """
        fix = "return Record(values ready for JSON, arrays of numbers)"
        if not isinstance(returned, Record):
            got = type(returned).__name__
            raise InputError(complain(f"result of {name}", expected="a Record", got=got, fix=fix))
        try:
            values = json.loads(json.dumps(returned.values, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            got = str(error)
            raise InputError(complain(f"values of {name}", expected="what JSON can hold", got=got, fix=fix)) from None
        arrays = {key: np.array(array, order="C") for key, array in returned.arrays.items()}
        for key, array in arrays.items():
            if array.dtype.kind not in "biuf":
                want, got = "an array of numbers", array.dtype
                raise InputError(complain(f"array {key!r} of {name}", expected=want, got=got, fix=fix))
            arrays[key] = array.astype(array.dtype.newbyteorder("="), copy=False)
        return cls(values, arrays)


Task = Callable[[Any, Mapping[str, "ndarray"], "Path | None"], Record]
"""(configuration, inputs, scratch) -> record: a function at the top of a module, so that any process finds it.

``scratch`` is a folder for the job's own unfinished business (a checkpoint): what is there when the job begins was
left by a process that was stopped. None: nothing can be kept.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One independent piece of work.

    Attributes:
        kind: what is computed: part of the key, so that two tasks never share a record.
        name: what it is called in progress bars and reports.
        task: the function that does it.
        config: its configuration.
        inputs: arrays that it works on (trained weights).
        cost: how long it takes, in any unit that the jobs of a study share.
    """

    kind: str
    name: str
    task: Task
    config: Config
    inputs: Mapping[str, ndarray] = field(default_factory=dict)
    cost: float = 1.0

    @property
    def key(self) -> str:
        """Digest of all that the result depends on: kind, configuration, inputs and the numerics version."""
        what = {"kind": self.kind, "config": self.config.identity(), "numerics": NUMERICS}
        digest = hashlib.sha256(json.dumps(what, sort_keys=True, allow_nan=False).encode())
        for name in sorted(self.inputs):
            array = np.asarray(self.inputs[name], order="C")
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]

    def __str__(self) -> str:
        changes = ", ".join(f"{name}={value!r}" for name, value in self.config.changes().items())
        return f"{self.name} ({changes or 'defaults'})"
