"""How well the 256–246–10 network learns, over several seeds: the rows of the README's table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.errors import DataError, complain
from bss2lab.presets import PRESETS, published
from bss2lab.results import Epoch, versions
from bss2lab.settings import TrainConfig
from bss2lab.train import Run


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a configuration, run with several seeds.

    Attributes:
        name: what the row is called.
        config: its configuration, with the first seed.
        goal: test accuracy to reach, percent.
    """

    name: str
    config: TrainConfig
    goal: float

    @property
    def slug(self) -> str:
        """The name as part of a file's name."""
        return "-".join(re.findall(r"\w+", self.name))


ROWS = (
    Row("in the loop on the emulated chip", PRESETS["default"], 97.5),
    Row("in the loop, dropout + rotation", PRESETS["regularised"], 97.9),
    Row("software", PRESETS["software"], 97.4),
    Row("software, dropout + rotation", PRESETS["software-regularised"], 98.2),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row's result. Accuracies in percent.

    Attributes:
        row: what was run.
        seeds: the seeds.
        runs: every epoch of each seed.
    """

    row: Row
    seeds: tuple[int, ...]
    runs: tuple[tuple[Epoch, ...], ...]

    @property
    def final(self) -> tuple[Epoch, ...]:
        """Last epoch of each seed."""
        return tuple(run[-1] for run in self.runs)

    @property
    def test(self) -> float:
        """Mean test accuracy."""
        return float(np.mean([100 * e.held_out_accuracy for e in self.final]))

    @property
    def test_spread(self) -> float:
        """Standard deviation over the seeds (0 for a single one)."""
        return float(np.std([100 * e.held_out_accuracy for e in self.final], ddof=min(1, len(self.final) - 1)))

    @property
    def train(self) -> float:
        """Mean training accuracy."""
        return float(np.mean([100 * e.train_accuracy for e in self.final]))

    @property
    def spikes(self) -> float:
        """Mean hidden spikes per image."""
        return float(np.mean([e.hidden_spikes_per_image for e in self.final]))


def accuracy(
    seeds: Sequence[int],
    *,
    rows: Sequence[Row] = ROWS,
    store: Path | None = None,
    done: Callable[[Row, int, Epoch], None] = lambda *_: None,
) -> list[Outcome]:
    """Train every row with every seed; each run has a chip of its own number too.

    Args:
        seeds: seeds, used for the network and as the chip's number.
        rows: what to run.
        store: folder for checkpoints; a study that was stopped goes on from them.
        done: told about every finished run.
    """
    outcomes = []
    for row in rows:
        runs = []
        for seed in seeds:
            config = row.config.replace(seed=seed, chip_seed=seed)
            folder = store / f"{row.slug}-seed{seed}" if store else None
            run = Run(config, directory=folder, resume=True)
            for _ in run.fit():
                pass
            runs.append(tuple(run.epochs))
            done(row, seed, run.epochs[-1])
        outcomes.append(Outcome(row, tuple(seeds), tuple(runs)))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table beside goals and the paper's numbers."""
    lines = [
        "| 16×16 MNIST, 256–246–10 | epochs | train % | test % | goal % | paper % | hidden spikes per image |",
        "|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        paper = published(o.row.config)
        lines.append(
            f"| {o.row.name} | {o.row.config.epochs} | {o.train:.1f} | {o.test:.2f} ± {o.test_spread:.2f} | "
            f"≥ {o.row.goal} | {paper.test if paper else '–'} | {o.spikes:.0f} |"
        )
    return "\n".join(lines)


def to_record(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the outcomes with configurations and versions, ready for JSON."""
    rows = [
        {
            "name": o.row.name,
            "goal_percent": o.row.goal,
            "config": o.row.config.model_dump(),
            "seeds": list(o.seeds),
            "runs": [[asdict(e) for e in run] for run in o.runs],
        }
        for o in outcomes
    ]
    return {"versions": versions(), "note": "chip results are emulated, not measured", "rows": rows}


def load(path: Path) -> list[Outcome]:
    """Read outcomes back from a file that ``bss2lab study accuracy --json`` wrote.

    Raises:
        DataError: if the file is missing or not such a record.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [
            Outcome(
                Row(r["name"], TrainConfig(**r["config"]), float(r["goal_percent"])),
                tuple(int(seed) for seed in r["seeds"]),
                tuple(tuple(Epoch(**e) for e in run) for run in r["runs"]),
            )
            for r in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fix = "make it with `bss2lab study accuracy --json FILE`"
        raise DataError(complain(str(path), expected="results of the accuracy study", got=error, fix=fix)) from None
