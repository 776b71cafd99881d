"""The calibration routine: search the codes at which measurements meet their targets, for all neurons at once.

A parameter's transfer is a straight line in the coordinates of ``transfer``, with an unknown intercept and slope
for each circuit. Each is measured at three codes spread around the target; the line through them gives the code,
which is measured and mended twice. Order: correction of the ADC's offsets, leak, reset, τ_m, τ_s, gains, threshold.
Nothing but measurements (``measure``) is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bss2lab.chip import measure
from bss2lab.chip.calibration import Calibration, Failure, Targets, invert, out_of_reach, scale_of, unit_of
from bss2lab.chip.codes import TRIM_MAX, TRIM_MIN, Codes
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.transfer import CODE_MAX, POTENTIALS, ordinate
from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

    Reader = Callable[[Emulator, int], tuple[Float64[ndarray, "n"], dict[int, str]]]

_READING_RANGE_LSB = (20.0, 235.0)
_AROUND_LSB = 40.0
_AROUND_FACTOR = 2.0
_PASSES = 2
_MIDDLE_LSB = 115.0
_TOLERANCE = 0.10
_TOLERANCE_LSB = 4.0


def calibrate(
    chip: Emulator, targets: Targets | None = None, *, seed: int = 0, progress: bool = False, label: str = "calibrating"
) -> Calibration:
    """Calibrate a chip: find the codes that bring every neuron to its targets.

    Args:
        chip: the chip; its present codes do not matter.
        targets: what every neuron shall do; the authors' targets if not given.
        seed: seed of the trial-to-trial noise during the measurements.
        progress: show a progress bar on standard error, if that is a terminal.
        label: its text.

    Returns:
        Codes, what they achieve, measured curves, and the neurons that miss a target.

    Raises:
        InputError: if the targets put thresholds where the fast ADC cannot see them.
    """
    targets = Targets() if targets is None else targets
    _check_order(targets)
    steps = ("ADC offsets", *targets.searched)
    bar = tqdm(total=len(steps), desc=label, disable=None if progress else True, leave=False, unit="step")
    chip = chip.with_codes(Codes.equal(chip.profile.transfer))
    with bar:
        bar.set_postfix_str(steps[0])
        offset, gain = measure.measure_cadc(chip, seed)
        reading = np.nan_to_num(offset.value + gain.value * _MIDDLE_LSB, nan=_MIDDLE_LSB)
        trim = np.clip(np.rint(_MIDDLE_LSB - reading), TRIM_MIN, TRIM_MAX).astype(int)
        chip = chip.with_codes(cadc_trim=trim)
        cadc = measure.measure_cadc(chip, seed + 1)
        bar.update()
        achieved, curves, failures = {}, {}, []
        tau_mem = None
        for k, name in enumerate(targets.searched):
            bar.set_postfix_str(name)
            if name.startswith(("tau_syn", "gain")) and tau_mem is None:
                tau_mem = measure.measure_tau_mem(chip, seed + 2)
            read = _reader(name, cadc, tau_mem)
            chip, curves[name], achieved[name], missed = _search(
                chip, name, getattr(targets, name), read, seed + 1000 * (k + 1)
            )
            curves[name], achieved[name] = (
                x.astype(np.float32).astype(np.float64) for x in (curves[name], achieved[name])
            )
            failures += missed
            bar.update()
    digest = chip.profile.circuits_digest()
    return Calibration(chip.seed, digest, targets, chip.codes, achieved, curves, tuple(failures), chip.profile)


def _check_order(targets: Targets) -> None:
    low, high = 0.0, 255.0
    for name in POTENTIALS:
        bad = np.flatnonzero((getattr(targets, name) < low) | (getattr(targets, name) > high))
        if len(bad):
            got = f"{getattr(targets, name)[bad[0]]:g} LSB for neuron {bad[0]}"
            want = f"{low:g} … {high:g} LSB, what the column ADC can read"
            raise InputError(complain(f"{name} target", expected=want, got=got, fix="choose another"))


def _reader(
    name: str, cadc: tuple[measure.Measurement, measure.Measurement], tau_mem: measure.Measurement | None
) -> Reader:
    """Return what measures a parameter in the units of its targets."""
    if name in ("leak", "reset"):
        return partial(_read_potential, name)
    if name == "threshold":
        return lambda chip, seed: _of(measure.measure_threshold(chip, seed), reading=True)
    if name == "tau_mem":
        return lambda chip, seed: _of(measure.measure_tau_mem(chip, seed))
    kind = "exc" if name.endswith("exc") else "inh"
    which = 1 if name.startswith("gain") else 0
    return lambda chip, seed: _of(measure.measure_synapse(chip, seed, kind=kind, tau_mem=tau_mem, cadc=cadc)[which])


def _read_potential(name: str, chip: Emulator, seed: int) -> tuple[ndarray, dict[int, str]]:
    """Potentials are calibrated as the column ADC reads them, as on the real chip."""
    reading, _ = measure.read_potential(chip, seed, parameter="leak" if name == "leak" else "reset")
    end = measure.at_end(reading)
    bad = {int(n): "the column ADC is at the end of its range" for n in np.flatnonzero(end)}
    return np.where(end, np.nan, reading), bad


def _of(result: measure.Measurement, *, reading: bool = False) -> tuple[ndarray, dict[int, str]]:
    return (result.reading if reading else result.value), result.failures


def _search(
    chip: Emulator, name: str, target: Float64[ndarray, "n"], read: Reader, seed: int
) -> tuple[Emulator, Float64[ndarray, "2 n"], Float64[ndarray, "n"], list[Failure]]:
    """Search one parameter's codes.

    Returns:
        The chip at the codes found, the measured curves, what was measured there, and who missed the target.
    """
    transfer = chip.profile.transfer
    line = _Line(transfer.slope(name))

    def probe(at: Emulator, number: int, weight: float) -> tuple[ndarray, dict[int, str]]:
        value, bad = read(at, seed + number)
        y = ordinate(name, np.where(value > 0, value, np.nan) * scale_of(name))
        line.add(transfer.abscissa(name, getattr(at.codes, name)), y, weight)
        return value, bad

    def aim(wanted: Float64[ndarray, "n"]) -> Emulator:
        exact = invert(chip.profile, name, line.curve(), wanted)
        return chip.with_codes(**{name: np.clip(np.rint(exact), 0, CODE_MAX).astype(int)})

    probe(chip, 0, 1.0)
    for number, wanted in enumerate(_around(name, target), start=1):
        probe(aim(wanted), number, 1.0)
    for number in range(_PASSES):
        probe(aim(target), 3 + number, 4.0)
    found = aim(target)
    value, bad = probe(found, 3 + _PASSES, 4.0)
    curve = line.curve()
    missed = out_of_reach(chip.profile, name, curve, target, invert(chip.profile, name, curve, target))
    known = {failure.neuron for failure in missed}
    missed += [Failure(n, name, why) for n, why in bad.items() if n not in known]
    known |= set(bad)
    with np.errstate(invalid="ignore"):
        off = np.abs(value - target) > (_TOLERANCE_LSB if name in POTENTIALS else _TOLERANCE * target)
    missed += [
        Failure(int(n), name, f"reached {value[n]:.3g} instead of {target[n]:.3g} {unit_of(name)}")
        for n in np.flatnonzero(off)
        if n not in known
    ]
    return found, curve, value, sorted(missed, key=lambda failure: failure.neuron)


def _around(name: str, target: Float64[ndarray, "n"]) -> tuple[ndarray, ndarray]:
    """Two values to either side of the target, within what can be read."""
    if name in POTENTIALS:
        low, high = _READING_RANGE_LSB
        return np.clip(target - _AROUND_LSB, low, high), np.clip(target + _AROUND_LSB, low, high)
    return target / _AROUND_FACTOR, target * _AROUND_FACTOR


class _Line:
    """A straight line per neuron through weighted points; where there are too few, the average circuit's slope."""

    def __init__(self, slope: float) -> None:
        self._slope = slope
        self._x: list[ndarray] = []
        self._y: list[ndarray] = []
        self._w: list[ndarray] = []

    def add(self, x: Float64[ndarray, "n"], y: Float64[ndarray, "n"], weight: float) -> None:
        """Add a point of every neuron; NaN: none."""
        ok = np.isfinite(y)
        self._x.append(np.asarray(x, np.float64))
        self._y.append(np.where(ok, y, 0.0))
        self._w.append(np.where(ok, weight, 0.0))

    def curve(self) -> Float64[ndarray, "2 n"]:
        """Return intercept and slope, [2, neuron]."""
        x, y, w = np.array(self._x), np.array(self._y), np.array(self._w)
        total = w.sum(axis=0)
        seen = total > 0
        safe = np.where(seen, total, 1.0)
        mean_x, mean_y = (w * x).sum(axis=0) / safe, (w * y).sum(axis=0) / safe
        around = (w * np.square(x - mean_x)).sum(axis=0)
        product = (w * (x - mean_x) * (y - mean_y)).sum(axis=0)
        slope = np.full(len(total), self._slope)
        # a slope counts where it was measured over a lever long enough, and is a circuit's at all
        enough = around > 0.05 * np.square(self._lever(x)) + 1e-12
        slope[enough] = product[enough] / around[enough]
        odd = (slope / self._slope < 0.5) | (slope / self._slope > 2.0)
        slope[odd] = self._slope
        intercept = mean_y - slope * mean_x
        typical = np.median(intercept[seen]) if seen.any() else 0.0
        return np.stack([np.where(seen, intercept, typical), slope])

    def _lever(self, x: ndarray) -> float:
        return float(np.median(np.ptp(x, axis=0)))
