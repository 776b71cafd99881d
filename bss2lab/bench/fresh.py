"""What a fresh Python process pays: import, first kernel, memory of a training run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_IMPORT = """
import json, time
a = time.perf_counter(); import torch
b = time.perf_counter(); from bss2lab import Chip, Run, Spikes, TrainConfig, Weights  # (nothing loads before its name)
c = time.perf_counter()
import numpy as np
chip = Chip(0)
d = time.perf_counter()
chip.run(Weights(np.ones((1, 1), np.int8), np.ones((1, 1), np.int8)),
         Spikes.from_events([(np.zeros(1), np.zeros(1, int))], n_units=1, duration_us=34.0), seed=0)
e = time.perf_counter()
print(json.dumps({"import_torch_s": b - a, "import_beyond_torch_s": c - b, "first_kernel_s": e - d}))
"""

_MEMORY = """
import json, resource
from bss2lab import Run, TrainConfig
peaks = [round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024) for _ in Run(TrainConfig(epochs=5)).fit()]
print(json.dumps({"peak_mb_after_each_epoch": peaks}))
"""


def _run(code: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8", env=os.environ
    )
    return json.loads(done.stdout.splitlines()[-1])


def first_use(rounds: int = 3) -> dict[str, float]:
    """Import the package and run a first kernel from the cache, in fresh processes; medians, seconds."""
    _run(_IMPORT)  # fills the cache
    results = [_run(_IMPORT) for _ in range(rounds)]
    return {name: sorted(r[name] for r in results)[rounds // 2] for name in results[0]}


def memory() -> list[int]:
    """Peak memory of a fresh in-the-loop training run after each of five epochs, MB."""
    return _run(_MEMORY)["peak_mb_after_each_epoch"]
