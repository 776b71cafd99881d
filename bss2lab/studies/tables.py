"""Table 1 of the paper, and the same network without each of the chip's non-idealities in turn."""

from __future__ import annotations

from dataclasses import dataclass

from bss2lab.config import Config, Source, quantity
from bss2lab.errors import InputError, complain
from bss2lab.presets import FULL, PRESETS, Published, published
from bss2lab.results import Epoch
from bss2lab.runner import Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.results import Mean
from bss2lab.studies.training import train_all

ABLATIONS = {
    "nothing": "calibrated",
    "mismatch": "no-mismatch",
    "temporal noise": "no-noise",
    "rounding of weights": "no-weight-rounding",
    "rounding of ADC samples": "no-cadc-rounding",
    "mismatch and noise": "ideal",
}
"""What the chip is spared, and the profile that does it (``ideal`` still rounds)."""


class Row(Config):
    """One row of a table.

    Attributes:
        name: what it is called.
        train: the run; seed and chip are replaced.
    """

    name: str
    train: TrainConfig


_IMPLEMENTATIONS = {"itl": "BSS-2 (emulated)", "software": "software", "ann": "ReLU network"}


def _row(task: str, mode: str, regularised: bool) -> Row:
    name = _IMPLEMENTATIONS[mode] + (", dropout + rotation" if regularised else "")
    return Row(name=name, train=FULL[task, mode, regularised])


class TableConfig(Config):
    """A table: rows, each trained with several seeds."""

    rows: tuple[Row, ...] = tuple(_row(*key) for key in FULL)
    seeds: int = quantity(5, "initial conditions, each on a chip of its own", source=Source.PAPER, ge=1, le=1000)


def table1_of(task: str) -> TableConfig:
    """Return the rows of table 1 that are about one data set."""
    return TableConfig(rows=tuple(_row(*key) for key in FULL if key[0] == task))


def ablation_rows(train: TrainConfig) -> tuple[Row, ...]:
    """Return a run on the full chip, and on the chip that is spared one non-ideality at a time."""
    return tuple(Row(name=name, train=train.replace(profile=profile)) for name, profile in ABLATIONS.items())


MNIST, FASHION = table1_of("mnist"), table1_of("fashion")
ABLATION = TableConfig(rows=ablation_rows(PRESETS["default"]))


def _quick(task: str) -> TableConfig:
    rows = (
        _row(task, mode, False).replace(train=FULL[task, mode, False].replace(epochs=2, limit=6_000))
        for mode in _IMPLEMENTATIONS
    )
    return TableConfig(rows=tuple(rows), seeds=1)


QUICK_MNIST, QUICK_FASHION = _quick("mnist"), _quick("fashion")
QUICK_ABLATION = TableConfig(
    rows=ablation_rows(PRESETS["default"].replace(epochs=2, limit=6_000, lr_decay=0.6)), seeds=1
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row's result.

    Attributes:
        row: what was run.
        final: last epoch of each seed.
    """

    row: Row
    final: tuple[Epoch, ...]

    @property
    def train(self) -> Mean:
        """Training accuracy in the last epoch (with dropout and rotation, if any), percent."""
        return Mean.of([100 * e.train_accuracy for e in self.final])

    @property
    def test(self) -> Mean:
        """Test accuracy, percent."""
        return Mean.of([100 * e.held_out_accuracy for e in self.final])

    @property
    def spikes(self) -> Mean:
        """Hidden spikes per test image."""
        return Mean.of([e.hidden_spikes_per_image for e in self.final])

    def gains(self, base: Entry) -> list[float]:
        """Return the differences of the test accuracy to another row, seed by seed, percentage points."""
        pairs = zip(self.final, base.final, strict=True)
        return [100 * (one.held_out_accuracy - other.held_out_accuracy) for one, other in pairs]

    @property
    def paper(self) -> Published | None:
        """The paper's number, if it has one."""
        return published(self.row.train)


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        config: what was asked for.
        entries: one per row.
    """

    config: TableConfig
    entries: tuple[Entry, ...]

    def entry(self, task: str, mode: str, *, regularised: bool = False) -> Entry:
        """Return the row of a task and a mode.

        Raises:
            KeyError: if the table has none.
        """
        for one in self.entries:
            train = one.row.train
            if (train.task, train.mode, train.rotation > 0) == (task, mode, regularised):
                return one
        raise KeyError((task, mode, regularised))


def train_table(config: TableConfig, run: Runner, label: str = "table") -> Table:
    """Train every row with every seed.

    Args:
        config: what to run.
        run: does the jobs.
        label: what the batch is called in the progress bar.
    """
    configs = [row.train.replace(seed=seed, chip_seed=seed) for row in config.rows for seed in range(config.seeds)]
    done = train_all(configs, run, label)
    n = config.seeds
    entries = [Entry(row, tuple(one.final for one in done[k * n : (k + 1) * n])) for k, row in enumerate(config.rows)]
    return Table(config, tuple(entries))


def table1(config: TableConfig, run: Runner) -> Table:
    """Train rows of table 1 of the paper: an image task on the chip, in software, and as a ReLU network."""
    return train_table(config, run, "table 1")


def joined(*tables: Table) -> Table:
    """Return tables of equally many seeds as one, rows below rows.

    Raises:
        InputError: if there is none, or they differ in their seeds.
    """
    seeds = {one.config.seeds for one in tables}
    if len(seeds) != 1:
        got = " and ".join(map(str, sorted(seeds))) or "no table"
        raise InputError(complain("tables", expected="one number of seeds", got=got, fix="compute them alike"))
    rows = tuple(row for one in tables for row in one.config.rows)
    return Table(TableConfig(rows=rows, seeds=seeds.pop()), tuple(entry for one in tables for entry in one.entries))


def ablation(config: TableConfig, run: Runner) -> Table:
    """Train in the loop on the chip less one non-ideality at a time."""
    return train_table(config, run, "ablation")


def table(result: Table) -> str:
    """Return the result as a Markdown table."""
    lines = [
        "| task | implementation | epochs | train % | test % | paper, train % | paper, test % | spikes per image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for e in result.entries:
        t, p = e.row.train, e.paper
        paper = f"{p.train:.1f} | {p.test:.1f} ± {p.test_spread:.1f}" if p is not None else "– | –"
        spikes = f"{e.spikes.mean:.1f}" if t.mode != "ann" else "–"
        lines.append(f"| {t.task} | {e.row.name} | {t.epochs} | {e.train} | {e.test} | {paper} | {spikes} |")
    return "\n".join(lines)


def ablation_table(result: Table) -> str:
    """Return the ablation as a Markdown table: accuracy, and the difference that sparing the chip made."""
    base = result.entries[0]
    lines = [
        "| spared | test % | difference to the full chip, by seed | hidden spikes per image |",
        "|---|---|---|---|",
    ]
    for e in result.entries:
        gain = Mean.of(e.gains(base))
        difference = f"{gain.mean:+.2f} ± {gain.sd:.2f}" if e is not base else "–"
        lines.append(f"| {e.row.name} | {e.test} | {difference} | {e.spikes.mean:.1f} |")
    return "\n".join(lines)
