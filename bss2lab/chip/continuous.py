"""Continuous operation: images follow each other on a chip that runs without a break (figure 3D of the paper).

``Chip.run`` and ``Chip.infer`` begin every image anew. Here one run of the chip sees them all: what an image
leaves behind (membranes, currents, refractory neurons, spikes under way) meets the next one, unless the
artificial reset wipes it out in between. The column ADC samples on its own clock, which does not know when
images start.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip.limits import check_seed
from bss2lab.chip.program import NEVER_MV, Program
from bss2lab.chip.spec import NEURONS, SPEC, Constant
from bss2lab.config import Source
from bss2lab.errors import InputError, complain
from bss2lab.kernels import analog
from bss2lab.kernels.stream import emulate_stream
from bss2lab.types import Spikes

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int16, Int64, UInt8
    from numpy import ndarray

    from bss2lab.chip.emulator import Emulator

LEAD = Constant(
    64, "samples", Source.ASSUMED, "idle time before the first image: the mean of 65 samples is good to about 0.3 LSB"
)
"""How long the chip idles before the first image, in CADC periods, to find the baselines of the outputs."""

LONGEST = Constant(1e9, "µs", Source.ASSUMED, "longest lead and separation: any longer is a slip in the unit")

_NEVER = 2**62
_ON_GRID = 1e-5
"""Part of a fine step that counts as none: rounding of times must not move anything by a whole step."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A request for true membranes at every fine step, as no real experimenter sees them.

    Attributes:
        neurons: chip neurons; hidden neurons are 0 … n_hidden − 1, output neurons the last of the 256.
        start_us, stop_us: the window, µs after the beginning of the run; by default all of it.

    Raises:
        InputError: if a neuron is not there, or the window is none.
    """

    neurons: tuple[int, ...]
    start_us: float = 0.0
    stop_us: float = inf

    def __post_init__(self) -> None:
        bad = [j for j in self.neurons if not isinstance(j, int | np.integer) or not 0 <= j < NEURONS]
        if bad or not self.neurons:
            want = f"chip neurons 0 … {NEURONS - 1}, at least one"
            raise InputError(complain("probed neurons", expected=want, got=bad or "none", fix="the outputs are last"))
        if not (_is_number(self.start_us) and _is_number(self.stop_us) and 0 <= self.start_us < self.stop_us):
            got = f"{self.start_us!r} … {self.stop_us!r}"
            raise InputError(complain("probed window", expected="0 ≤ start < stop in µs", got=got, fix="swap them?"))


@dataclass(frozen=True, slots=True, eq=False)
class Membranes:
    """Membranes of a few neurons at every fine step (see :class:`Probe`).

    Attributes:
        neurons: chip neurons, shape [neuron].
        time_us: µs after the beginning of the run, shape [time].
        mv: potentials, mV, shape [time, neuron].
    """

    neurons: Int16[ndarray, "n"]
    time_us: Float64[ndarray, "t"]
    mv: Float32[ndarray, "t n"]


@dataclass(frozen=True, slots=True, eq=False)
class ContinuousRecording:
    """What one uninterrupted run gives back. All times are µs after the beginning of the run; emulated.

    Attributes:
        separation_us: time from image to image, µs.
        reset_after_us: time from the start of an image to its artificial reset, µs; None: there was none.
        emulated_us: emulated chip time of the whole run, lead included, µs.
        start_us: start of every image, shape [image].
        sample_us: times of the CADC samples, every period from 0 to the end of the run, shape [sample].
        output_lsb: CADC samples of the output neurons, shape [sample, output].
        window: the samples that count for an image, first and one past the last, shape [image, 2].
        n_idle: the first so many samples were taken before anything was sent.
        spike_us: times of hidden spikes, rising, as emulated (the chip would round to 8 ns), shape [spike].
        spike_unit: hidden neurons that fired, shape [spike].
        membranes: membranes at every fine step, if a probe asked for them.
    """

    separation_us: float
    reset_after_us: float | None
    emulated_us: float
    start_us: Float64[ndarray, "b"]
    sample_us: Float64[ndarray, "t"]
    output_lsb: UInt8[ndarray, "t o"]
    window: Int64[ndarray, "b 2"]
    n_idle: int
    spike_us: Float64[ndarray, "s"]
    spike_unit: Int16[ndarray, "s"]
    membranes: Membranes | None

    def baseline_lsb(self) -> Float64[ndarray, "o"]:
        """Return the mean sample of every output neuron in the idle time before the first image, LSB."""
        return self.output_lsb[: self.n_idle].mean(axis=0, dtype=np.float64)

    def decisions(self) -> Int64[ndarray, "b"]:
        """Return the class of each image: the output neuron with the highest sample above its baseline wins."""
        if len(self.window) == 0:
            return np.empty(0, np.int64)
        first, end = self.window.T
        peak = self.output_lsb[first]
        for more in range(1, int((end - first).max())):
            peak = np.maximum(peak, self.output_lsb[np.minimum(first + more, end - 1)])
        return (peak - self.baseline_lsb()).argmax(axis=1)

    def spikes_per_image(self) -> Int64[ndarray, "b"]:
        """Return the number of hidden spikes from each image's start to the next (of the last: to the end)."""
        return np.diff(np.searchsorted(self.spike_us, [*self.start_us, inf]))


def run_continuously(
    chip: Emulator,
    program: Program,
    spikes: Spikes,
    *,
    seed: int,
    separation_us: float = SPEC["separation"].value,
    reset_after_us: float | None = SPEC["reset_after"].value,
    lead_us: float | None = None,
    probe: Probe | None = None,
) -> ContinuousRecording:
    """Send one image every ``separation_us`` to a chip that runs without a break.

    The run begins at rest; image ``k`` starts at lead + k · separation. With the artificial reset, membranes are
    reset and currents clamped ``reset_after_us`` after the start of an image (its first spike, as images are
    encoded) and until the next one starts; the reset comes and ends at a grid point, within one fine step
    (``chip.step_us``) of these times. Input that would come later is not sent, spikes that arrive meanwhile are
    lost, and the samples up to the reset decide. Without it every input spike is sent, those later than the
    separation into the next image, and the samples of one separation decide, or as many as ``Chip.run`` records
    of an image if that is shorter.

    Args:
        chip: the chip, any calibration.
        program: weights written to this chip.
        spikes: input, one sample per image, in the order of the run.
        seed: seed of the trial-to-trial noise, ≥ 0.
        separation_us: time from image to image, µs, at least one CADC period.
        reset_after_us: time to the artificial reset, µs, at least one CADC period and one fine step, at most the
            separation; None: no reset.
        lead_us: idle time before the first image, µs, ≥ 0; None: 64 CADC periods.
        probe: neurons whose membranes are wanted at every fine step.

    Returns:
        The recording; ``decisions()`` of it has the classes.

    Raises:
        InputError: if a time is out of range, the input does not fit the network, or the column ADC does not round.
    """
    chip._check_input(program, spikes)
    if not chip.profile.rounds_cadc:
        want, got = "a chip whose column ADC rounds", f"profile {chip.profile.name!r}"
        raise InputError(complain("continuous operation", expected=want, got=got, fix="use another profile"))
    seed = check_seed("noise seed", seed, bits=63)
    period, h, n_sub = chip.profile.cadc_period_us, chip.step_us, chip.profile.substeps
    lead_us = LEAD.value * period if lead_us is None else lead_us
    _check_time("lead_us", lead_us, 0.0, LONGEST.value, f"{LEAD.value:g} CADC periods are a good choice")
    _check_time("separation_us", separation_us, period, LONGEST.value, "the paper's fastest is 11.8")
    if reset_after_us is not None:
        _check_time("reset_after_us", reset_after_us, period + h, separation_us, "or None for no reset")

    n = len(spikes)
    start_us = lead_us + separation_us * np.arange(n + 1)
    first_step = np.floor(start_us / h + _ON_GRID).astype(np.int64)
    n_periods = ceil(start_us[n] / period - _ON_GRID)
    window_us = min(separation_us, chip.samples_in(spikes.duration_us) * period + chip.profile.readout_lag_us)
    window_us = window_us if reset_after_us is None else reset_after_us
    last_step = np.floor((start_us[:n] + window_us) / h + _ON_GRID).astype(np.int64)
    hold_step = np.full(n, _NEVER)
    if reset_after_us is not None:
        hold_step = np.minimum(last_step + 1, first_step[1:])
        last_step = hold_step - 1
    first_sample = np.floor(start_us[:n] / period + _ON_GRID).astype(np.int64) + 1
    window = np.stack([first_sample, np.minimum(last_step // n_sub, n_periods) + 1], axis=1)

    table, bend = chip._table(n_sub)
    parameters = table.copy()
    parameters[analog.THRESHOLD, program.n_hidden :] = NEVER_MV
    input_delay_us, routed_delay_us = chip._delays
    ring, in_flight = _room(chip, spikes, separation_us)
    output_lsb = np.empty((n_periods + 1, program.n_output), np.uint8)
    neurons, probe_step, probe_mv = _probed(probe, n_periods * n_sub, h)
    spike_us, spike_unit = emulate_stream(
        spikes.times_us, spikes.units, spikes.offsets, first_step[:n], start_us[:n] / h - first_step[:n], hold_step,
        inf if reset_after_us is None else float(reset_after_us), program.input_rows, program.routed_rows,
        input_delay_us, (routed_delay_us / h).astype(np.float32), program.routes_to_tail,
        parameters.ravel(), bend, h, n_periods * n_sub, n_sub, ring, in_flight, seed, output_lsb,
        neurons, probe_step, probe_mv,
    )  # fmt: skip
    order = np.argsort(spike_us, kind="stable")
    return ContinuousRecording(
        separation_us=float(separation_us),
        reset_after_us=None if reset_after_us is None else float(reset_after_us),
        emulated_us=n_periods * period,
        start_us=start_us[:n],
        sample_us=period * np.arange(n_periods + 1),
        output_lsb=output_lsb,
        window=window,
        n_idle=int(np.floor(lead_us / period + _ON_GRID)) + 1,
        spike_us=spike_us[order],
        spike_unit=spike_unit[order],
        membranes=None
        if probe is None
        else Membranes(neurons, h * (probe_step + np.arange(len(probe_mv), dtype=np.float64)), probe_mv),
    )


def _room(chip: Emulator, spikes: Spikes, separation_us: float) -> tuple[int, int]:
    """Return slots of the ring (a power of two) and the most spikes that can be under way at the same time."""
    input_delay_us, routed_delay_us = chip._delays
    longest_us = float(spikes.times_us.max(initial=0.0)) + float(input_delay_us.max())
    routed_steps = ceil(float(routed_delay_us.max()) / chip.step_us) + 2
    ring = 1 << max(ceil(longest_us / chip.step_us) + 2, routed_steps).bit_length()
    overlapping = min(len(spikes), ceil(ring * chip.step_us / separation_us) + 1)
    most = int(np.diff(spikes.offsets).max(initial=0))
    return ring, overlapping * most + NEURONS * routed_steps + 1


def _probed(probe: Probe | None, n_steps: int, step_us: float) -> tuple[ndarray, int, ndarray]:
    """Return the neurons, the first grid point, and room for the membranes."""
    if probe is None:
        return np.empty(0, np.int16), 0, np.empty((0, 0), np.float32)
    first = ceil(probe.start_us / step_us - _ON_GRID)
    last = n_steps if probe.stop_us >= n_steps * step_us else int(probe.stop_us / step_us + _ON_GRID)
    if last < first:
        want = f"a window with a fine step in it, within the run's {n_steps * step_us:g} µs"
        got = f"{probe.start_us:g} … {probe.stop_us:g} µs"
        raise InputError(complain("probed window", expected=want, got=got, fix="choose another"))
    return np.array(probe.neurons, np.int16), first, np.empty((last - first + 1, len(probe.neurons)), np.float32)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_time(what: str, value: float, low: float, high: float, fix: str) -> None:
    if not (_is_number(value) and low <= value <= high):
        raise InputError(complain(what, expected=f"{low:g} µs … {high:g} µs", got=repr(value), fix=fix))
