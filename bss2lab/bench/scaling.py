"""How a study scales: eight equal runs on two worker processes against one, processes started anew each time."""

from __future__ import annotations

from functools import partial

from bss2lab.bench.harness import Timing, interleave
from bss2lab.runner import Job, Runner
from bss2lab.settings import TrainConfig
from bss2lab.studies.training import training_job

RUNS = 8
CONFIG = TrainConfig(epochs=3)
"""Each run: in the loop with the emulated chip, 1,800 steps (the shortest full-scale run has 9,000)."""

ONE, TWO = "1 worker", "2 workers"


def scaling(*, rounds: int) -> dict[str, Timing]:
    """Time the study, start and end of the processes included.

    Args:
        rounds: rounds of the interleaved timing.

    Returns:
        Timings on one and on two workers; the ratio refers to one.
    """
    jobs = [training_job(CONFIG.replace(seed=seed, chip_seed=seed)) for seed in range(RUNS)]
    cases = {name: partial(_study, jobs, workers) for name, workers in ((ONE, 1), (TWO, 2))}
    _study(jobs[:1], 1)  # compiles, if that was not done yet
    return interleave(cases, reference=ONE, rounds=rounds, inner=1, warm_up=0)


def _study(jobs: list[Job], workers: int) -> None:
    with Runner(None, workers=workers) as run:  # no store: everything is computed
        run(jobs)
