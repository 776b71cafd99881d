"""Results of studies on their way to and from JSON files."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from bss2lab.errors import DataError, complain
from bss2lab.machine import usable_cores
from bss2lab.results import to_json, versions
from bss2lab.storage import write_atomically
from bss2lab.version import processor

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean and standard deviation over seeds.

    Attributes:
        mean: the mean.
        sd: sample standard deviation (0 for a single value).
        n: number of values.
    """

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Any) -> Mean:
        """Summarise values, one per seed."""
        x = np.asarray(values, dtype=np.float64)
        return cls(float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else 0.0, len(x))

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.sd:.2f}" if self.n > 1 else f"{self.mean:.2f}"


def to_record(study: str, result: Any) -> dict[str, Any]:
    """Return a result with versions, date and machine, ready for JSON.

    Args:
        study: its name on the command line.
        result: a frozen dataclass of plain values and configurations.
    """
    return {
        "study": study,
        "note": "chip results are emulated, not measured",
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"processor": processor(), "cores": usable_cores(), "system": platform.system()},
        "result": TypeAdapter(type(result)).dump_python(result, mode="json"),
    }


def save(path: Path, study: str, result: Any) -> None:
    """Write a result to a JSON file, whole or not at all."""
    write_atomically(path, to_json(to_record(study, result)).encode())


def load(path: Path, study: str, kind: type[R]) -> R:
    """Read a result back.

    Args:
        path: a file that ``bss2lab study … --json`` wrote.
        study: the study's name.
        kind: its result's type.

    Raises:
        DataError: if the file is missing, or not a result of this study.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["study"] != study:
            raise ValueError(f"a result of study {record['study']!r}")
        return TypeAdapter(kind).validate_python(record["result"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        got = " ".join(str(error).split())[:300] or type(error).__name__
        fix = f"make it with `bss2lab study {study} --full --json FILE`"
        raise DataError(complain(str(path), expected=f"a result of study {study}", got=got, fix=fix)) from None


def numerics_of(path: Path) -> int:
    """Return the numerics version with which a result was computed.

    Raises:
        DataError: if the file is no result.
    """
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["versions"]["numerics"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        text = complain(str(path), expected="a study's result", got=error, fix="compute it again")
        raise DataError(text) from None
