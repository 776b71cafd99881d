"""Golden slices: every study in miniature, and what came out of it with the present numerics version.

``python tests/golden.py`` writes ``tests/golden.json`` anew, ``python tests/golden.py SLICE …`` only these slices of
it. It refuses to replace numbers that moved while ``NUMERICS`` did not, unless the slice was asked for something
else: another configuration, or other images. Fashion-MNIST is the stand-in of ``standin.py``.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import standin

from bss2lab.presets import FULL
from bss2lab.runner import Runner
from bss2lab.settings import SpeechConfig, TrainConfig
from bss2lab.studies import (
    fig3_continuous,
    fig3_latency,
    fig3_sparsity,
    fig3_training,
    fig4_robustness,
    fig4_silencing,
    fig5,
    table2,
    tables,
)
from bss2lab.studies.catalogue import STUDIES
from bss2lab.studies.results import to_record
from bss2lab.version import NUMERICS

FILE = Path(__file__).parent / "golden.json"

SMALL: dict[str, Any] = {
    "limit": 400,
    "n_hidden": 40,
    "epochs": 6,
    "batch_size": 40,
    "threads": 1,
    "learning_rate": 5e-3,
    "lr_decay": 0.9,
}
ITL = TrainConfig(**SMALL, rho_b=5e-4)
SOFTWARE = ITL.replace(mode="software")
SPEECH = SpeechConfig(
    n_hidden=40, limit=120, epochs=2, batch_size=30, threads=1, learning_rate=5e-3, lr_decay=0.97, loss_scale=0.02,
    overshoot=0.3,
)  # fmt: skip
TRAINING = fig3_training.TrainingConfig(train=ITL, seeds=2)
CONTINUOUS = fig3_continuous.ContinuousConfig(training=TRAINING, separation_us=(11.8, 50.0))
LATENCY = fig3_latency.LatencyConfig(training=TRAINING, phases=2)


def _table1(task: str) -> tables.TableConfig:
    rows = (
        tables.Row(name=f"{task} {mode} {regularised}", train=config.replace(**SMALL, rho_b=5e-4))
        for (one, mode, regularised), config in FULL.items()
        if one == task
    )
    return tables.TableConfig(rows=tuple(rows), seeds=1)


def _words(**rows: SpeechConfig) -> fig5.SpeechStudyConfig:
    return fig5.SpeechStudyConfig(
        rows=tuple(fig5.SpeechRow(name=name, train=train) for name, train in rows.items()), seeds=1
    )


SLICES: dict[str, Any] = {
    "fig3b": TRAINING,
    "fig3c": LATENCY,
    "fig3d": CONTINUOUS,
    "fig3e": fig3_sparsity.SparsityConfig(train=ITL, rho_b=(5e-4, 0.5), seeds=1),
    "fig4b": fig4_robustness.RobustnessConfig(
        itl=ITL, software=SOFTWARE, sigma_d=(0.0, 0.5), which=("tau", "both"), seeds=1
    ),
    "fig4c": fig4_silencing.SilencingConfig(
        without=ITL, dropout=ITL.replace(dropout=0.4), fractions=(0.0, 0.3), draws=2, seeds=1
    ),
    "fig5": _words(learned=SPEECH, fixed=SPEECH.replace(recurrent="fixed")),
    "fig5-augmented": _words(augmented=SPEECH.replace(sigma_u=10.0)),
    "fig5-software": _words(software=SPEECH.replace(mode="software")),
    "table1-mnist": _table1("mnist"),
    "table1-fashion": _table1("fashion"),
    "table2": table2.Table2Config(continuous=CONTINUOUS, latency=LATENCY),
    "ablation": tables.TableConfig(rows=tables.ablation_rows(ITL), seeds=1),
}


def compute(name: str, store: Path | None) -> Any:
    """Run one slice, on one thread of this process."""
    with ThreadPoolExecutor(1) as executor, Runner(store, executor=executor) as runner:
        return STUDIES[name].run(SLICES[name], runner)


def numbers(name: str, result: Any) -> dict[str, float]:
    """Return every number of a result by its place, but for times of the clock and what was asked for."""
    return dict(_leaves("", to_record(name, result)["result"]))


def asked(name: str, clothing: Path) -> str:
    """Return a digest of what a slice is asked for: its configuration, and the clothing if it trains on some."""
    words = SLICES[name].model_dump_json()
    if '"task":"fashion"' in words:
        words += "".join(standin.content_sums(clothing))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def same(before: dict[str, float], now: dict[str, float]) -> bool:
    """Are these the same numbers, but for what libraries that sum in another order make of them?"""
    return set(before) == set(now) and all(
        math.isclose(before[place], now[place], rel_tol=1e-6, abs_tol=1e-9) for place in before
    )


def _leaves(place: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("config", "row", "seconds"):
                yield from _leaves(f"{place}/{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(f"{place}/{index}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def main(names: list[str]) -> int:
    """Write the file, or some slices of it."""
    old = json.loads(FILE.read_text(encoding="utf-8"))
    machine = to_record("golden", TRAINING)["machine"]["processor"]
    made = {}
    with tempfile.TemporaryDirectory() as folder, standin.installed(Path(folder)) as clothing:
        for name in names or SLICES:
            found = numbers(name, compute(name, None))
            made[name] = {"asked": asked(name, clothing), "processor": machine, "numbers": found}
    moved = [
        name
        for name, new in made.items()
        if (before := old["slices"].get(name)) is not None
        and all(before[key] == new[key] for key in ("asked", "processor"))
        and not same(before["numbers"], new["numbers"])
    ]
    if moved and old["numerics"] == NUMERICS:
        print(f"{', '.join(moved)}: moved, but NUMERICS is still {NUMERICS}: raise it, and say why in the changelog")
        return 1
    if names and old["numerics"] != NUMERICS:
        print(f"NUMERICS is {NUMERICS} now: make all slices anew")
        return 1
    slices = {name: made.get(name) or old["slices"][name] for name in SLICES}
    FILE.write_text(json.dumps({"numerics": NUMERICS, "slices": slices}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
