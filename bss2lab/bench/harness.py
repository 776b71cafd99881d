"""Measure several ways of doing one thing, in turns, so that all of them see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one case.

    Attributes:
        median_ms: median over the rounds, ms.
        low_ms, high_ms: quartiles, ms.
        ratio: median over the rounds of (reference's time) / (this case's time): above 1 is faster.
        ratio_low, ratio_high: quartiles of the ratio.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def interleave(
    cases: Mapping[str, Callable[[], object]], *, reference: str, rounds: int, inner: int = 5, warm_up: int = 2
) -> dict[str, Timing]:
    """Time every case once per round, in an order that turns from round to round.

    Within its turn a case runs ``inner`` times and the fastest counts: a case that follows another one's
    threads and caches is not blamed for them.

    Args:
        cases: name -> what to time.
        reference: the case that ratios refer to.
        rounds: how often each case is timed.
        inner: runs per turn.
        warm_up: untimed runs of each case before the first round.
    """
    names = list(cases)
    for name in names:
        for _ in range(warm_up):
            cases[name]()
    seconds = {name: np.empty(rounds) for name in names}
    for r in range(rounds):
        for k in range(len(names)):
            name = names[(k + r) % len(names)]
            seconds[name][r] = min(_time(cases[name]) for _ in range(inner))
    return {name: _timing(seconds[name], seconds[reference]) for name in names}


def _time(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _timing(own: np.ndarray, reference: np.ndarray) -> Timing:
    low, median, high = (float(x) for x in np.percentile(1e3 * own, (25, 50, 75)))
    ratio_low, ratio, ratio_high = (float(x) for x in np.percentile(reference / own, (25, 50, 75)))
    return Timing(median, low, high, ratio, ratio_low, ratio_high)
