"""Run the benchmarks, print them as a table of ratios against what was promised, return a record."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bss2lab.bench import fresh, steps
from bss2lab.bench.harness import Timing, interleave
from bss2lab.bench.inference import images_per_second
from bss2lab.bench.peers import peer_steps
from bss2lab.results import versions
from bss2lab.train import set_threads

EAGER, SOFTWARE, IN_THE_LOOP = "eager PyTorch", "compiled, software", "compiled, in the loop with the emulated chip"

GOALS = {
    "software step: faster than eager PyTorch by": ("≥ 10", "×"),
    "in-the-loop step: fraction of eager PyTorch's software step": ("≤ 0.3", ""),
    "faster than the fastest peer by": ("≥ 20", "×"),
    "fast inference on the emulated chip": ("≥ 85,000", "images/s"),
    "import beyond torch": ("< 0.5", "s"),
    "first kernel from cache": ("< 0.5", "s"),
    "memory of a training run": ("< 1,500", "MB"),
}
"""What the benchmark is held to."""


def run(*, peers: bool, threads: list[int], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything.

    Args:
        peers: also time snnTorch, norse and SpikingJelly.
        threads: thread counts to measure at.
        rounds: rounds of the interleaved timing.
        say: receives each line of the report.
    """
    record: dict[str, Any] = {"versions": versions(), "machine": machine(), "threads": {}}
    set_threads(0)
    work = steps.workload()
    say(f"256–246–10, batch {steps.BATCH}, {work.config.n_steps} steps, real 16×16 MNIST; {machine()}")
    for n in threads:
        used = set_threads(n)
        cases = {
            EAGER: steps.eager_step(work),
            SOFTWARE: steps.compiled_step(work, on_chip=False),
            IN_THE_LOOP: steps.compiled_step(work, on_chip=True),
            **(peer_steps(work) if peers else {}),
        }
        timings = interleave(cases, reference=EAGER, rounds=rounds)
        rate = images_per_second(rounds=max(3, rounds // 4))
        record["threads"][str(used)] = {
            "steps": {name: asdict(t) for name, t in timings.items()},
            "inference_images_per_s": rate,
        }
        _print_steps(used, timings, say)
        _print_goals(timings, rate["median"], say)
    record["first_use"] = fresh.first_use()
    record["memory_mb"] = fresh.memory()
    _goal("import beyond torch", f"{record['first_use']['import_beyond_torch_s']:.2f}", say)
    _goal("first kernel from cache", f"{record['first_use']['first_kernel_s']:.2f}", say)
    _goal("memory of a training run", " → ".join(f"{mb:,}" for mb in record["memory_mb"]), say)
    return record


def machine() -> str:
    """Name the processor and the operating system."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {platform.system()}"


def _print_steps(threads: int, timings: dict[str, Timing], say: Callable[[str], None]) -> None:
    say(f"\ntraining step, {threads} thread{'s' if threads > 1 else ''}")
    say(f"  {'':<46}{'ms (quartiles)':>22}   × eager (quartiles)")
    for name, t in timings.items():
        ms = f"{t.median_ms:.2f} ({t.low_ms:.2f}–{t.high_ms:.2f})"
        say(f"  {name:<46}{ms:>22}   {t.ratio:.2f} ({t.ratio_low:.2f}–{t.ratio_high:.2f})")


def _print_goals(timings: dict[str, Timing], rate: float, say: Callable[[str], None]) -> None:
    software, loop = timings[SOFTWARE], timings[IN_THE_LOOP]
    _goal("software step: faster than eager PyTorch by", f"{software.ratio:.1f}", say)
    _goal("in-the-loop step: fraction of eager PyTorch's software step", f"{1 / loop.ratio:.2f}", say)
    others = [t.median_ms for name, t in timings.items() if name not in (EAGER, SOFTWARE, IN_THE_LOOP)]
    if others:
        _goal("faster than the fastest peer by", f"{min(others) / software.median_ms:.1f}", say)
    _goal("fast inference on the emulated chip", f"{rate:,.0f}", say)


def _goal(name: str, value: str, say: Callable[[str], None]) -> None:
    goal, unit = GOALS[name]
    say(f"  {name}: {value} {unit}   (goal {goal})")
