"""Measurement protocols: what a neuron does, found out the way it is done on the real chip.

Each protocol drives the chip through ``instruments`` (spikes in; column ADC, fast ADC and spikes out) and may
write other codes for the time of the measurement. None looks at the emulator's hidden truth.

=====================  ==============================================================================
quantity               protocol
=====================  ==============================================================================
leak, reset            spiking off; column ADC at rest, or held at reset; the channel's own offset and
                       gain (measured as below) taken out
threshold              leak moved above it: the neuron fires; last fast-ADC samples before each reset
tau_mem                released from a reset below the leak; exponential fit to the column ADC
tau_syn_exc, _inh      spikes through weak synapses of many rows; PSP fit, with the measured tau_mem
gain_exc, _inh         amplitude of the same fit, per unit of weight
refractory             firing as above; end of the plateau after each reset, in fast-ADC traces
cadc_offset, _gain     leak stepped through the range: column ADC against fast ADC
=====================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from bss2lab import dynamics
from bss2lab.chip import fits
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.instruments import MADC_STEP_MV, Stimulus, record_cadc, record_madc
from bss2lab.chip.measurement import Measurement, result
from bss2lab.chip.spec import INPUTS, NEURONS, SPEC
from bss2lab.chip.transfer import CODE_MAX
from bss2lab.errors import InputError, complain
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64
    from numpy import ndarray

_LOW_LSB, _MIDDLE_LSB, _HIGH_LSB = 60.0, 115.0, 180.0
_FIRING_LEAK_LSB, _FIRING_RESET_LSB = 245.0, 20.0
_DROP_MV = 40.0
_PSP_ROWS, _PSP_AT_US, _PHASES = 96, 5.0, 4
_TYPICAL_US = 6.0
_SMALLEST_PSP_LSB, _OFF_LSB = 1.0, 25.0
_RAIL_MARGIN_MV, _BACK_FROM_RAIL_MV = 15.0, 60.0


def measure(chip: Emulator, quantity: str, *, seed: int = 0) -> Measurement:
    """Measure one quantity of all 256 neurons at the chip's present codes.

    Args:
        chip: the chip.
        quantity: one of ``PROTOCOLS``.
        seed: seed of the trial-to-trial noise during the measurement.

    Raises:
        InputError: unknown quantity.
    """
    if quantity not in PROTOCOLS:
        want = ", ".join(PROTOCOLS)
        raise InputError(complain("quantity", expected=f"one of {want}", got=repr(quantity), fix="choose one"))
    return PROTOCOLS[quantity](chip, seed)


# --- potentials -------------------------------------------------------------------------------------------------


def read_potential(
    chip: Emulator, seed: int, *, parameter: Literal["leak", "reset"], repeats: int = 128
) -> tuple[Float64[ndarray, "n"], Float64[ndarray, "n"]]:
    """Read the leak or reset potential off the column ADC, as it comes: mean and its standard error, LSB."""
    start: Literal["rest", "held"] = "held" if parameter == "reset" else "rest"
    record = record_cadc(chip, duration_us=4 * chip.profile.cadc_period_us, seed=seed, repeats=repeats, start=start)
    per_run = record.samples_lsb[:, 1:].astype(np.float64).mean(axis=1)
    return per_run.mean(axis=0), per_run.std(axis=0, ddof=1) / np.sqrt(repeats)


def measure_potential(chip: Emulator, seed: int, *, parameter: Literal["leak", "reset"]) -> Measurement:
    """Leak or reset potential: the column ADC's mean, corrected for the channel's measured offset and gain."""
    offset, gain = measure_cadc(chip, seed)
    reading, error = read_potential(chip, seed, parameter=parameter)
    value = (reading - offset.value) / gain.value
    # offset and gain were measured together: what they leave is smallest between the levels they were measured at
    spread = np.hypot(error, _line_error(gain, reading)) / gain.value
    unit = CADC_MV_PER_LSB
    bad = {int(n): "the membrane is at a supply rail" for n in np.flatnonzero(_at_rail(value * unit))}
    bad |= {int(n): "the column ADC is at the end of its range" for n in np.flatnonzero(at_end(reading))}
    return result(parameter, "mV", value * unit, spread * unit, bad | offset.failures, reading=reading)


def at_end(reading_lsb: Float64[ndarray, "..."]) -> Bool[ndarray, "..."]:
    """Which mean readings lie at the end of the column ADC's range, where they say little?"""
    return (reading_lsb < 2.0) | (reading_lsb > 253.0)


def _at_rail(membrane_mv: Float64[ndarray, "..."]) -> Bool[ndarray, "..."]:
    """Which mean membranes lie so close to a supply rail that it may hold them there?"""
    return (membrane_mv < _RAIL_MARGIN_MV) | (membrane_mv > SPEC["full_scale"].value - _RAIL_MARGIN_MV)


def _moved(chip: Emulator, parameter: Literal["leak", "reset"], target_lsb: float, seed: int) -> Emulator:
    """Bring the reading of a potential near a target, wherever it is now (for the time of a measurement)."""
    for _ in range(4):
        reading, _ = read_potential(chip, seed, parameter=parameter, repeats=8)
        step = (target_lsb - reading) * CADC_MV_PER_LSB / chip.profile.transfer.slope(parameter)
        codes = np.clip(np.rint(getattr(chip.codes, parameter) + step), 0, CODE_MAX).astype(int)
        chip = chip.with_codes(**{parameter: codes})
    return chip


def _firing(chip: Emulator, seed: int, duration_us: float = 70.0) -> tuple[Emulator, ndarray, ndarray, list[ndarray]]:
    """Let every neuron fire by its leak.

    Returns:
        The chip as it was made to fire, time of the fast-ADC samples, the samples [neuron, time], and where each
        neuron's resets are.
    """
    chip = _moved(_moved(chip, "leak", _FIRING_LEAK_LSB, seed), "reset", _FIRING_RESET_LSB, seed)
    for _ in range(3):  # where the ADC's offset hides it: the membrane must not aim beyond the rail
        over = _resting_level(chip, seed) > SPEC["full_scale"].value - _RAIL_MARGIN_MV
        if not over.any():
            break
        step = round(_BACK_FROM_RAIL_MV / chip.profile.transfer.slope("leak"))
        chip = chip.with_codes(leak=np.maximum(chip.codes.leak - step * over, 0))
    record = record_madc(chip, duration_us=duration_us, seed=seed, spiking=True)
    drop = record.samples_mv[:, :-1] - record.samples_mv[:, 1:] > _DROP_MV
    return chip, record.time_us, record.samples_mv, [np.flatnonzero(row) for row in drop]


def _resting_level(chip: Emulator, seed: int) -> Float64[ndarray, "n"]:
    """Where each membrane rests if it may not fire, by the fast ADC, mV."""
    return record_madc(chip, duration_us=60.0, seed=seed, oversampling=6).samples_mv[:, 60:].mean(axis=1)


def measure_threshold(chip: Emulator, seed: int) -> Measurement:
    """Threshold from spiking: mean of the last samples before the resets, half a sample's rise added."""
    _, _, samples, resets = _firing(chip, seed)
    value, error, bad = np.full(NEURONS, np.nan), np.full(NEURONS, np.nan), {}
    for n, at in enumerate(resets):
        at = at[at >= 2]
        if len(at) < 2:
            bad[n] = (
                f"it was not seen to fire twice with its leak at {_FIRING_LEAK_LSB:g} LSB: the threshold lies above, "
                "or hardly over the reset"
            )
            continue
        peaks = samples[n, at]
        rise = np.median(samples[n, at] - samples[n, at - 2]) / 2
        value[n] = peaks.mean() + rise / 2
        error[n] = max(float(peaks.std(ddof=1)), MADC_STEP_MV / np.sqrt(12)) / np.sqrt(len(peaks))
    return result("threshold", "mV", value, error, bad, reading=value / CADC_MV_PER_LSB)


# --- time constants and gains -----------------------------------------------------------------------------------


def measure_tau_mem(chip: Emulator, seed: int, *, repeats: int = 160, duration_us: float = 60.0) -> Measurement:
    """Membrane time constant: released from a reset below the leak, the membrane relaxes exponentially."""
    chip = _moved(_moved(chip, "leak", _HIGH_LSB, seed), "reset", _LOW_LSB, seed)
    record = record_cadc(chip, duration_us=duration_us, seed=seed, repeats=repeats, start="reset")
    data = record.samples_lsb.mean(axis=0, dtype=np.float64).T
    t = record.time_us - record.time_us[0]

    def relaxation(p: ndarray) -> ndarray:
        return 100 * (p[:, 0] - p[:, 1] * np.exp(-t / _time_of(p[:, 2])))

    level = data[:, -5:].mean(axis=1)
    # half-way time gives a first guess of the time constant
    half = np.abs(data - (level + data[:, 0])[:, None] / 2).argmin(axis=1)
    guess = np.log(np.maximum(t[half], 0.7) / np.log(2))
    start = np.stack([level / 100, (level - data[:, 0]) / 100, guess], axis=1)
    f = fits.fit(relaxation, data, start)
    tau = _time_of(f.parameters[:, 2])
    bad = _unfit(f, tau, limits_us=(0.3, 3 * duration_us))
    ends = 100 * np.stack([f.parameters[:, 0] - f.parameters[:, 1], f.parameters[:, 0]])
    missed = (np.abs(ends - np.array([[_LOW_LSB], [_HIGH_LSB]])) > _OFF_LSB).any(axis=0)
    why = f"no code lets it relax from {_LOW_LSB:g} to {_HIGH_LSB:g} LSB"
    bad |= {int(n): why for n in np.flatnonzero(missed) if n not in bad}
    return result("tau_mem", "µs", tau, tau * f.uncertainty[:, 2], bad, reading=tau / chip.profile.cadc_period_us)


def measure_synapse(
    chip: Emulator, seed: int, *, kind: Literal["exc", "inh"], tau_mem: Measurement | None = None,
    cadc: tuple[Measurement, Measurement] | None = None, repeats: int = 48,
) -> tuple[Measurement, Measurement]:  # fmt: skip
    """Fit post-synaptic potentials; return the synaptic time constant and the gain.

    Every volley takes other rows, so that the gain is the mean over all synapses of a neuron. Volleys come at four
    phases of the sampling period.

    Args:
        chip: the chip.
        seed: seed of the noise.
        kind: excitatory or inhibitory.
        tau_mem: membrane time constants, if they have been measured at these codes.
        cadc: offsets and gains of the ADC's channels, if they have been measured.
        repeats: volleys per phase.
    """
    tau_mem = measure_tau_mem(chip, seed) if tau_mem is None else tau_mem
    channel_offset, channel_gain = measure_cadc(chip, seed) if cadc is None else cadc
    sign = 1 if kind == "exc" else -1
    base = 70.0 if kind == "exc" else 185.0
    chip = _moved(chip, "leak", base, seed)
    period = chip.profile.cadc_period_us
    at_us = _PSP_AT_US + period * np.arange(_PHASES) / _PHASES
    turn = np.arange(_PSP_ROWS)
    volleys = [
        (np.full(_PSP_ROWS, t), np.sort((turn + _PSP_ROWS * k) % INPUTS))
        for k, t in enumerate(np.repeat(at_us, repeats))
    ]
    duration = _PSP_AT_US + 65.0
    spikes = Spikes.from_events(volleys, n_units=INPUTS, duration_us=duration)
    weights = np.full((INPUTS, NEURONS), sign, np.int8)
    record = record_cadc(chip, duration_us=duration, seed=seed, stimulus=Stimulus(spikes, weights))
    samples = record.samples_lsb.reshape(_PHASES, repeats, -1, NEURONS).mean(axis=1, dtype=np.float64)
    t = (record.time_us - at_us[:, None]).ravel()
    order = np.argsort(t)
    data, t = samples.reshape(-1, NEURONS).T[:, order], t[order]
    seen = np.isfinite(tau_mem.value)
    tau_m = np.where(seen, tau_mem.value, np.median(tau_mem.value[seen]) if seen.any() else _TYPICAL_US)[:, None]

    def response(p: ndarray, delay: ndarray | float) -> ndarray:
        psp = dynamics.psp(np.maximum(t - delay, 0.0), tau_m, _time_of(p[:, 2]))
        return 100 * (p[:, 0] + sign * p[:, 1] * psp / 2.2)

    level = data[:, t < 0].mean(axis=1)
    height = np.maximum(np.abs(data - level[:, None]).max(axis=1), 1.0)
    start = np.stack([level / 100, height / 100, np.full(NEURONS, np.log(_TYPICAL_US)), np.ones(NEURONS)], axis=1)
    free = fits.fit(lambda p: response(p, p[:, 3]), data, start, iterations=15)
    delay = float(np.median(free.parameters[:, 3]))  # of the stimulated rows: the same for every neuron
    f = fits.fit(lambda p: response(p, delay), data, free.parameters[:, :3])
    tau = _time_of(f.parameters[:, 2])
    bad = _unfit(f, tau, limits_us=(0.3, 150.0))
    peak = np.abs(response(f.parameters[..., None], delay) - 100 * f.parameters[:, :1]).max(axis=1)
    weak = (f.parameters[:, 1] < 5 * f.uncertainty[:, 1]) & ~np.isin(np.arange(NEURONS), list(bad))
    silent = weak | (peak < _SMALLEST_PSP_LSB)
    bad |= {int(n): "its response to spikes is lost in the noise" for n in np.flatnonzero(silent)}
    off = np.abs(100 * f.parameters[:, 0] - base) > _OFF_LSB
    bad |= {int(n): f"no code brings its leak to {base:g} LSB" for n in np.flatnonzero(off) if n not in bad}
    membrane_mv = (data.T - channel_offset.value) / channel_gain.value * CADC_MV_PER_LSB
    clipped = (record.samples_lsb.min(axis=(0, 1)) == 0) | (record.samples_lsb.max(axis=(0, 1)) == 255)
    clipped |= _at_rail(membrane_mv).any(axis=0)
    bad |= {int(n): "its response leaves the column ADC's range" for n in np.flatnonzero(clipped)}
    bad |= {n: f"no membrane time constant: {why}" for n, why in tau_mem.failures.items()}
    scale = 100 * CADC_MV_PER_LSB / 2.2 / _PSP_ROWS / channel_gain.value
    gain = scale * f.parameters[:, 1]
    gain_sd = scale * np.hypot(f.uncertainty[:, 1], f.parameters[:, 1] * channel_gain.uncertainty / channel_gain.value)
    return (
        result(f"tau_syn_{kind}", "µs", tau, tau * f.uncertainty[:, 2], bad, reading=tau / period),
        result(f"gain_{kind}", "mV/µs", gain, gain_sd, bad | channel_gain.failures),
    )


def measure_refractory(chip: Emulator, seed: int) -> Measurement:
    """Refractory time: from a reset to where the exponential rise, traced back, leaves the plateau."""
    chip, time_us, samples, resets = _firing(chip, seed, 90.0)
    level = _resting_level(chip, seed)
    step = time_us[1] - time_us[0]
    value, error, bad = np.full(NEURONS, np.nan), np.full(NEURONS, np.nan), {}
    for n, at in enumerate(resets):
        if len(at) < 4:
            bad[n] = "it fired less than four times"
            continue
        length = int(np.diff(at).min())
        trace = np.mean([samples[n, a + 1 : a + length] for a in at[:-1]], axis=0)
        plateau = trace[: max(3, length // 20)].mean()
        rise = (trace - plateau) / (trace[-5:].mean() - plateau)
        part = (rise > 0.25) & (rise < 0.9) & (np.arange(len(trace)) > np.flatnonzero(rise < 0.25)[-1])
        if part.sum() < 5:
            bad[n] = "too few samples between reset and threshold"
            continue
        t = step * (np.flatnonzero(part) + 0.5)  # the reset fell, on average, half a sample before
        y = -np.log(np.maximum(level[n] - trace[part], 1.0) / (level[n] - plateau))
        (slope, shift), covariance = np.polyfit(t, y, 1, cov=True)
        value[n] = -shift / slope
        error[n] = np.hypot(np.sqrt(covariance[1, 1]) / slope, step / np.sqrt(12 * (len(at) - 1)))
    return result("refractory", "µs", value, error, bad, reading=value / chip.profile.cadc_period_us)


# --- the column ADC ---------------------------------------------------------------------------------------------


def measure_cadc(chip: Emulator, seed: int) -> tuple[Measurement, Measurement]:
    """Offset and gain of each channel: the column ADC against the fast ADC, which is one for all neurons."""
    fast, column = [], []
    for k, level in enumerate((_LOW_LSB, _MIDDLE_LSB, _HIGH_LSB)):
        moved = _moved(chip, "leak", level, seed + k)
        trace = record_madc(moved, duration_us=60.0, seed=seed + k, oversampling=6).samples_mv
        fast.append(trace.mean(axis=1) / CADC_MV_PER_LSB)
        column.append(read_potential(moved, seed + k, parameter="leak")[0])
    x, y = np.array(fast), np.array(column)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    around = np.square(x - mean_x).sum(axis=0)
    gain = ((x - mean_x) * (y - mean_y)).sum(axis=0) / around
    noise = np.sqrt(np.square(y - mean_y - gain * (x - mean_x)).sum(axis=0).mean())  # one degree of freedom each
    lost = ~np.isfinite(gain) | at_end(y).any(axis=0)
    bad = {int(n): "a level lies at the end of the column ADC's range" for n in np.flatnonzero(lost)}
    sd_gain = noise / np.sqrt(around)
    sd_offset = noise * np.sqrt(1 / 3 + np.square(mean_x) / around)
    return (
        result("cadc_offset", "LSB", mean_y - gain * mean_x, sd_offset, bad),
        result("cadc_gain", "", gain, sd_gain, bad),
    )


def _line_error(gain: Measurement, reading: Float64[ndarray, "n"]) -> Float64[ndarray, "n"]:
    """Standard deviation of the fitted line at a reading: that at its middle, and what the slope adds."""
    at_middle = gain.uncertainty * np.std((_LOW_LSB, _MIDDLE_LSB, _HIGH_LSB))
    return np.hypot(at_middle, gain.uncertainty * (reading - np.mean((_LOW_LSB, _MIDDLE_LSB, _HIGH_LSB))))


# --- common ------------------------------------------------------------------------------------------------------


def _time_of(logarithm: ndarray) -> ndarray:
    """Time constant of a fit's parameter, µs; far outside of what a protocol resolves it stays finite."""
    return np.exp(np.clip(logarithm, -3, 6))


def _unfit(f: fits.Fit, tau: ndarray, *, limits_us: tuple[float, float]) -> dict[int, str]:
    """Name the neurons whose fit cannot be used."""
    ok: Bool[ndarray, "n"] = f.converged & np.isfinite(f.uncertainty).all(axis=1)
    bad = {int(n): "the fit did not converge" for n in np.flatnonzero(~ok)}
    low, high = limits_us
    outside = np.flatnonzero(ok & ((tau < low) | (tau > high)))
    return bad | {int(n): f"{tau[n]:.3g} µs is outside what this protocol resolves" for n in outside}


PROTOCOLS: dict[str, Callable[[Emulator, int], Measurement]] = {
    "leak": lambda chip, seed: measure_potential(chip, seed, parameter="leak"),
    "reset": lambda chip, seed: measure_potential(chip, seed, parameter="reset"),
    "threshold": measure_threshold,
    "tau_mem": measure_tau_mem,
    "tau_syn_exc": lambda chip, seed: measure_synapse(chip, seed, kind="exc")[0],
    "tau_syn_inh": lambda chip, seed: measure_synapse(chip, seed, kind="inh")[0],
    "gain_exc": lambda chip, seed: measure_synapse(chip, seed, kind="exc")[1],
    "gain_inh": lambda chip, seed: measure_synapse(chip, seed, kind="inh")[1],
    "refractory": measure_refractory,
    "cadc_offset": lambda chip, seed: measure_cadc(chip, seed)[0],
    "cadc_gain": lambda chip, seed: measure_cadc(chip, seed)[1],
}
"""Quantity -> protocol: (chip, seed) -> ``Measurement`` of all neurons."""
