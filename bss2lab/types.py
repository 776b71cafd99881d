"""Shapes, spike containers and the protocol that every substrate fulfils.

Axes always stand in the order *batch, time, neuron*; events are (time, unit) pairs. In shape annotations
``b`` is the batch, ``t`` the CADC sample or model step, ``i`` an input row, ``n`` a neuron.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from bss2lab.errors import InputError, complain

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int, Int16, Int64, Real, UInt8
    from numpy import ndarray


Which = Literal["tau", "threshold", "both"]
"""What is decalibrated: all time constants; the distance from leak to threshold; or both."""


Vote = Literal["peak", "sum"]
"""What of an output neuron's membrane decides: its highest sample, or the sum of its samples."""


class Weights(NamedTuple):
    """Weights of a feed-forward network, one array per layer, indexed [source row, target neuron].

    On the model side the entries are floats in units of the threshold; on a substrate they are the integers
    −63 … 63 of the signed synapse pairs (real numbers on an emulated chip that does not round them).
    """

    hidden: ndarray
    output: ndarray


class RecurrentWeights(NamedTuple):
    """Weights of a network whose hidden layer also listens to itself; otherwise as ``Weights``.

    Attributes:
        hidden: from the input to the hidden layer, [input, hidden].
        output: from the hidden to the output layer, [hidden, output].
        recurrent: from the hidden layer to itself, [source, target].
    """

    hidden: ndarray
    output: ndarray
    recurrent: ndarray


AnyWeights = Weights | RecurrentWeights

MAX_UNITS = 2**15
"""Units are numbered with int16."""


def names_one(index: Any) -> bool:
    """Is it one number, not a slice or several?"""
    return not isinstance(index, slice) and np.ndim(index) == 0


def position(index: Any, n: int) -> int:
    """Return the place that a number names among ``n``, as in a list: negative ones count from the end.

    Raises:
        IndexError: if there is none (which also ends a loop).
        TypeError: if it is no integer.
    """
    k = operator.index(index)
    if not -n <= k < n:
        raise IndexError(complain("sample", expected=f"−{n} … {n - 1}", got=k, fix=f"there are {n}"))
    return k % n


def where(index: Any, n: int) -> ndarray:
    """Return the places that a slice, numbers, or one boolean each name among ``n``, as an array."""
    return np.arange(n)[index] if isinstance(index, slice) else np.asarray(index)


@dataclass(frozen=True, slots=True, eq=False)
class Spikes:
    """Spike trains of a batch of samples, as events sorted by time within each sample.

    Attributes:
        times_us: spike times in µs after the start of the sample, shape [events].
        units: index of the unit that fires, shape [events].
        offsets: sample ``b`` owns the events ``offsets[b]:offsets[b + 1]``, shape [batch + 1].
        n_units: number of units; every entry of ``units`` is below it.
        duration_us: length of a sample; every time lies in [0, duration_us).
    """

    times_us: Float32[ndarray, "events"]
    units: Int16[ndarray, "events"]
    offsets: Int64[ndarray, "b+1"]
    n_units: int
    duration_us: float

    @classmethod
    def from_events(
        cls,
        samples: Sequence[tuple[Float[ndarray, "events"], Int[ndarray, "events"]]],
        *,
        n_units: int,
        duration_us: float,
    ) -> Spikes:
        """Build a batch from one (times_us, units) pair per sample, and check every event.

        Raises:
            InputError: if times are negative, unsorted, not finite or beyond the run, units out of range, or
                the duration is no positive number.
        """
        _check_duration(duration_us)
        if not 0 < n_units <= MAX_UNITS:
            text = complain("n_units", expected=f"1 … {MAX_UNITS}", got=n_units, fix="units are stored as int16")
            raise InputError(text)
        times = [np.asarray(t, dtype=np.float64) for t, _ in samples]
        units = [np.asarray(u) for _, u in samples]
        for b, (t, u) in enumerate(zip(times, units, strict=True)):
            _check_events(b, t, u, n_units, duration_us)
        offsets = np.concatenate([[0], np.cumsum([len(t) for t in times], dtype=np.int64)]).astype(np.int64)
        flat_t = np.concatenate([*times, np.empty(0)]).astype(np.float32)
        last = np.nextafter(np.float32(duration_us), np.float32(0))  # float32 may have rounded up to the end
        flat_t = np.minimum(flat_t, last)
        flat_u = np.concatenate([*(u.astype(np.int16) for u in units), np.empty(0, np.int16)])
        return cls(flat_t, flat_u, offsets, n_units, float(duration_us))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        """Return the (times_us, units) of the sample of that number, or the Spikes that a slice or an array names.

        Raises:
            IndexError: if there is no sample of that number.
        """
        return self.sample(position(index, len(self))) if names_one(index) else self.select(where(index, len(self)))

    def sample(self, index: int) -> tuple[Float32[ndarray, "events"], Int16[ndarray, "events"]]:
        """Return the (times_us, units) of one sample."""
        if not -len(self) <= index < len(self):
            text = complain("sample index", expected=f"0 … {len(self) - 1}", got=index, fix="choose another")
            raise InputError(text)
        start, stop = self.offsets[index % len(self)], self.offsets[index % len(self) + 1]
        return self.times_us[start:stop], self.units[start:stop]

    def select(self, index: Int[ndarray, "b"]) -> Spikes:
        """Return the samples named by ``index`` (integers, or one boolean per sample), in that order.

        Raises:
            InputError: if ``index`` is of another kind, or names a sample that is not there.
        """
        index = _as_index(index, len(self))
        start, count = self.offsets[index], np.diff(self.offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        where = np.repeat(start - offsets[:-1], count) + np.arange(offsets[-1])
        return Spikes(self.times_us[where], self.units[where], offsets, self.n_units, self.duration_us)

    def until(self, duration_us: float) -> Spikes:
        """Return the same samples cut off at ``duration_us`` (later spikes are dropped)."""
        _check_duration(duration_us)
        keep = self.times_us < duration_us
        before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        times, units = self.times_us[keep], self.units[keep]
        return Spikes(times, units, before[self.offsets], self.n_units, float(duration_us))

    def bins(self, dt_us: float) -> Int16[ndarray, "events"]:
        """Return the time bin of every event: ``floor(time / dt)``.

        A time that float32 cannot tell from the edge of a bin (10⁻⁴ of a bin) belongs to the bin that begins
        there. The grid has ``round(duration / dt)`` bins; what lies behind the last one counts into it.

        Raises:
            InputError: if ``dt_us`` is not positive, or so long that the grid has no bin.
        """
        last = self.n_steps(dt_us) - 1
        return np.minimum(np.floor(self.times_us / np.float64(dt_us) + 1e-4), last).astype(np.int16)

    def dense(self, dt_us: float) -> Float32[ndarray, "b t n"]:
        """Return spike counts on the time grid (the reference kernel's input)."""
        counts = np.zeros((len(self), self.n_steps(dt_us), self.n_units), dtype=np.float32)
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        np.add.at(counts, (owner, self.bins(dt_us), self.units), 1.0)
        return counts

    def n_steps(self, dt_us: float) -> int:
        """Return the number of time bins that cover a sample: ``round(duration / dt)``.

        Raises:
            InputError: if ``dt_us`` is not positive, or so long that the grid has no bin.
        """
        if not 0 < dt_us <= self.duration_us:
            want = f"a step above 0 and at most the duration, {self.duration_us:g} µs"
            raise InputError(complain("dt_us", expected=want, got=f"{dt_us:g} µs", fix="the chip's is 1.7 µs"))
        return round(float(self.duration_us / dt_us))


def _check_duration(duration_us: float) -> None:
    if not 0 < duration_us < np.inf:
        text = complain("duration_us", expected="a positive time in µs", got=duration_us, fix="34 fits one image")
        raise InputError(text)


def _as_index(index: ndarray, n: int) -> ndarray:
    index = np.asarray(index)
    if index.dtype == bool and index.shape == (n,):
        return np.flatnonzero(index)
    if index.ndim != 1 or (index.dtype.kind not in "iu" and index.size):
        want = f"a list of sample numbers, or {n} booleans"
        got = f"{index.dtype} of shape {index.shape}"
        raise InputError(complain("sample index", expected=want, got=got, fix="pass np.flatnonzero(condition)"))
    if index.size and not (-n <= index.min() and index.max() < n):
        bad = int(index.min() if index.min() < -n else index.max())
        raise InputError(complain("sample index", expected=f"0 … {n - 1}", got=bad, fix="choose another"))
    index = index.astype(np.int64)
    return np.where(index < 0, index + n, index)


def _check_events(b: int, t: ndarray, u: ndarray, n_units: int, duration_us: float) -> None:
    what = f"spikes of sample {b}"
    if t.ndim != 1 or t.shape != u.shape:
        want = "one-dimensional times and units of equal length"
        raise InputError(complain(what, expected=want, got=f"{t.shape} and {u.shape}", fix="pass pairs"))
    if u.dtype.kind not in "iu" and len(u):
        raise InputError(complain(what, expected="integer units", got=u.dtype, fix="cast the units to int"))
    if not np.isfinite(t).all():
        raise InputError(complain(what, expected="finite times", got="NaN or infinity", fix="drop them"))
    if len(t) and t.min() < 0:
        text = complain(what, expected="times ≥ 0 µs", got=f"{t.min():g} µs", fix="shift the earliest spike to 0")
        raise InputError(text)
    if len(t) and t.max() >= duration_us:
        want = f"times below the run's {duration_us:g} µs"
        raise InputError(complain(what, expected=want, got=f"{t.max():g} µs", fix="cut with Spikes.until()"))
    if (np.diff(t) < 0).any():
        raise InputError(complain(what, expected="times in rising order", got="unsorted times", fix="sort events"))
    if len(u) and (u.min() < 0 or u.max() >= n_units):
        bad = int(u.min() if u.min() < 0 else u.max())
        raise InputError(complain(what, expected=f"units 0 … {n_units - 1}", got=bad, fix="renumber the units"))


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What a substrate gives back: CADC samples of every membrane, and spikes with time stamps.

    Samples are uint8; float32 from an emulated chip whose ADC does not round.

    Attributes:
        hidden_lsb: CADC samples of the hidden neurons, shape [batch, time, hidden].
        output_lsb: CADC samples of the output neurons, shape [batch, time, output].
        hidden_baseline_lsb: each hidden neuron's first sample, before any input, shape [batch, hidden].
        output_baseline_lsb: the same for the output neurons, shape [batch, output].
        hidden_fired: 1 where a hidden neuron fired since the previous sample, shape [batch, time, hidden].
        hidden_spikes: the same spikes as events, with time stamps at the substrate's resolution.
    """

    hidden_lsb: Real[ndarray, "b t n"]
    output_lsb: Real[ndarray, "b t n"]
    hidden_baseline_lsb: Real[ndarray, "b n"]
    output_baseline_lsb: Real[ndarray, "b n"]
    hidden_fired: UInt8[ndarray, "b t n"]
    hidden_spikes: Spikes


class Substrate(Protocol):
    """Something that runs a network: the emulated chip, or real hardware behind the same four words."""

    def run(
        self, weights: AnyWeights, spikes: Spikes, *, seed: int, silenced: Bool[ndarray, "n"] | None = None
    ) -> Recording:
        """Run every sample from rest with integer weights and record it.

        Args:
            weights: int8 arrays in −63 … 63 (see ``network.chip_weights``).
            spikes: input spike trains.
            seed: seed of the trial-to-trial noise (mismatch belongs to the substrate, not to the run).
            silenced: hidden neurons that must not fire.
        """
        ...
