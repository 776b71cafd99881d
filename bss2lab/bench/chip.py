"""The chip on the bench: how long measuring, calibrating and constructing take, and what a calibration leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.bench.exactness import exactness
from bss2lab.chip import Chip, library
from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Targets
from bss2lab.chip.measure import PROTOCOLS, measure
from bss2lab.chip.mismatch import Mismatch

if TYPE_CHECKING:
    from numpy import ndarray

NEW_CHIP = 4711
"""A chip whose calibration does not come with the package."""


def operations(*, rounds: int = 5) -> dict[str, Any]:
    """Time what is done with a chip and compare the chip before and after calibration, by its hidden truth.

    Returns:
        Seconds (medians), spreads before and after, and the ideal emulator's errors.
    """
    bare = Chip(NEW_CHIP, "uncalibrated")
    every = Targets(gain_exc=bare.profile.synapse_mv_per_us, gain_inh=bare.profile.synapse_mv_per_us)
    calibrate(bare, every)  # compiles
    full, standard = _seconds(lambda: calibrate(bare, every), 3), calibrate(bare)
    protocols = {name: _seconds(lambda q=name: measure(bare, q), 3) for name in PROTOCOLS}
    before, after = _spreads(bare.mismatch), _spreads(bare.apply(standard).mismatch)
    gains = _spreads(bare.apply(calibrate(bare, every)).mismatch)
    Chip(NEW_CHIP)  # fills the cache
    return {
        "calibration_s": full,
        "slowest_protocol": max(protocols, key=lambda name: protocols[name]),
        "protocol_s": protocols,
        "construct_shipped_s": _seconds(lambda: _afresh(0), rounds),
        "construct_cached_s": _seconds(lambda: _afresh(NEW_CHIP), rounds),
        "failures": len(standard.failures),
        "spread_before": before,
        "spread_after": after,
        "spread_after_with_gains": gains,
        "exactness": asdict(exactness()),
    }


def _afresh(seed: int) -> None:
    library.forget()
    Chip(seed)


def _seconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _spreads(truth: Mismatch) -> dict[str, float]:
    """Spread over the neurons: relative for times and gains, mV for potentials, LSB for the ADC's offsets."""

    def relative(values: ndarray) -> float:
        return float(values.std() / values.mean())

    return {
        "tau_mem": relative(truth.tau_mem_us),
        "tau_syn_exc": relative(truth.tau_syn_exc_us),
        "tau_syn_inh": relative(truth.tau_syn_inh_us),
        "gain_exc": relative(truth.gain_exc.mean(axis=0)),
        "gain_inh": relative(truth.gain_inh.mean(axis=0)),
        "leak_mv": float(truth.leak_mv.std()),
        "reset_mv": float(truth.reset_mv.std()),
        "threshold_mv": float(truth.threshold_mv.std()),
        "threshold − leak": relative(truth.threshold_mv - truth.leak_mv),
        "cadc_offset_lsb": float((truth.cadc_offset_lsb + 115 * (truth.cadc_gain - 1)).std()),
    }
