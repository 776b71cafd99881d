"""The chip on the bench: exactness of the ideal emulator, and what ``operations`` says of calibration."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from bss2lab.bench import chip as bench
from bss2lab.bench import report
from bss2lab.bench.exactness import Exactness, exactness
from bss2lab.chip import PROFILES, Calibration, Chip, library
from bss2lab.chip.measure import PROTOCOLS

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


# --- exactness ---------------------------------------------------------------------------------------------------


def coarsened(monkeypatch, substeps):
    """Return the errors at another fine step of the ideal chip."""
    with monkeypatch.context() as patch:
        patch.setitem(PROFILES, "ideal", PROFILES["ideal"].replace(substeps=substeps))
        return exactness(trials=40)


def test_the_default_fine_step_is_exact_to_half_a_percent():
    found = exactness(trials=40)
    assert found.worst_median < 0.005
    for median, largest in asdict(found).values():
        assert 0 < median <= largest < 0.02


def test_the_errors_grow_with_the_fine_step(monkeypatch):
    """Each error by itself: one that were blind to the emulator would stay where it is."""
    fine, usual, coarse = (asdict(coarsened(monkeypatch, n)) for n in (16, 4, 1))
    for name in usual:
        assert coarse[name][0] > 10 * usual[name][0], name
        assert usual[name][0] > fine[name][0], name
    assert coarsened(monkeypatch, 1).worst_median > 0.005


def test_the_trials_are_a_function_of_their_seed():
    one, same, other = (exactness(trials=10, seed=k) for k in (1, 1, 2))
    assert one == same
    assert one.psp_height != other.psp_height
    assert one.interval == other.interval  # has no random times


def test_the_worst_median_is_the_largest_of_all_four():
    for k in range(4):
        rows = [(0.001, 0.5)] * 4
        rows[k] = (0.25, 0.5)
        assert Exactness(*rows).worst_median == 0.25


# --- operations --------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """A clock on which everything takes its own time, and no search: the shipped codes of the same chip."""
    now, calls = [0.0], []

    class Clock:
        @staticmethod
        def perf_counter():
            return now[0]

    def calibrate(chip, targets=None):
        assert chip.calibration is None
        calls.append("calibrate")
        now[0] += 10.0
        return Calibration.load(library.shipped_path(chip.seed))

    def measure(chip, quantity):
        now[0] += 1.0 + list(PROTOCOLS).index(quantity) % 4
        return None

    def forget():
        calls.append("forget")
        now[0] += 0.02

    monkeypatch.setattr(bench, "time", Clock)
    monkeypatch.setattr(bench, "calibrate", calibrate)
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench.library, "forget", forget)
    monkeypatch.setattr(bench, "NEW_CHIP", 6)
    monkeypatch.setattr(bench, "exactness", lambda: exactness(trials=4))
    return calls


@pytest.fixture
def found(quick):
    return bench.operations(rounds=1)


def test_lab_tells_all_that_the_report_prints(found):
    said = []
    report_of = report.run_chip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "operations", lambda: found)
        assert report_of(said.append) is found
    for name in report.SPREAD_GOALS:
        assert any(line.startswith(f"    {name} ") for line in said)
    assert set(found) == {
        "calibration_s", "slowest_protocol", "protocol_s", "construct_shipped_s", "construct_cached_s", "failures",
        "spread_before", "spread_after", "spread_after_with_gains", "exactness",
    }  # fmt: skip
    assert set(found["spread_before"]) == set(found["spread_after"]) == set(report.SPREAD_GOALS)


def test_lab_times_each_operation_by_itself(found, quick):
    assert found["calibration_s"] == pytest.approx(10.0)
    assert found["protocol_s"] == {name: pytest.approx(1.0 + k % 4) for k, name in enumerate(PROTOCOLS)}
    assert found["slowest_protocol"] == list(PROTOCOLS)[3]
    assert found["construct_shipped_s"] == pytest.approx(0.02)  # forgets what was loaded, each time
    assert found["construct_cached_s"] == pytest.approx(0.02)
    assert quick.count("forget") == 2


def test_lab_shows_by_the_hidden_truth_what_calibration_did(found):
    before, after = found["spread_before"], found["spread_after"]
    bare, calibrated = Chip(6, "uncalibrated").mismatch, Chip(6).mismatch
    for spread, truth in ((before, bare), (after, calibrated)):
        assert spread["tau_mem"] == pytest.approx(np.std(truth.tau_mem_us) / np.mean(truth.tau_mem_us))
        assert spread["threshold_mv"] == pytest.approx(np.std(truth.threshold_mv))
        distance = truth.threshold_mv - truth.leak_mv
        assert spread["threshold − leak"] == pytest.approx(np.std(distance) / np.mean(distance))
    assert found["failures"] == 0
    for name, (_, ratio) in report.SPREAD_GOALS.items():
        assert all(math.isfinite(x) and x > 0 for x in (before[name], after[name]))
        assert ratio is None or after[name] < ratio * before[name], name
    assert after["gain_exc"] == before["gain_exc"]  # has no target
