"""The emulator of a chip. Everything that comes out of it is emulated, not measured."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bss2lab.chip.codes import Codes
from bss2lab.chip.limits import check_seed, check_silenced, check_weights
from bss2lab.chip.mismatch import draw
from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.program import FIRST_SAMPLE, NEVER_MV, Program, RawRecording, parameter_table
from bss2lab.chip.spec import NEURONS, SPEC, TIMESTAMP_US
from bss2lab.errors import InputError, complain
from bss2lab.kernels import analog
from bss2lab.types import AnyWeights, Recording, Spikes, Vote

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int16, Int64
    from numpy import ndarray


_NEVER = 2**62
_READOUT_BATCH = 1000


class Emulator:
    """Circuits at their codes, and what they do: the core behind ``Chip``, without calibration.

    Args:
        seed: the chip's number, ≥ 0.
        profile: the population that it comes from.
        codes: what is written to its parameter storage; None: equal codes.

    Attributes:
        circuits: the silicon: what every circuit does with its codes (hidden from any experimenter).
        codes: the codes written.
        mismatch: the hidden truth at these codes.

    Raises:
        InputError: if the seed or the codes are none.
    """

    def __init__(self, seed: int, profile: ChipProfile, codes: Codes | None = None) -> None:
        self.seed = check_seed("chip seed", seed, bits=32)
        self.profile = profile
        self.circuits = draw(self.profile, self.seed)
        self.step_us = self.profile.cadc_period_us / self.profile.substeps
        truth = self.circuits.nominal
        self._delays = truth.input_delay_us.astype(np.float32), truth.routed_delay_us.astype(np.float32)
        self._write_codes(Codes.equal(self.profile.transfer) if codes is None else _checked(codes))

    def _write_codes(self, codes: Codes) -> None:
        self.codes = codes
        self.mismatch = self.circuits.at(codes)
        self._gain = self.mismatch.gain_exc.astype(np.float32), self.mismatch.gain_inh.astype(np.float32)
        self._tables = {self.profile.substeps: parameter_table(self.profile, self.mismatch, self.step_us)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(seed={self.seed}, profile={self.profile.name!r}) [emulated]"

    # --- codes ---------------------------------------------------------------------------------------------

    def with_codes(self, codes: Codes | None = None, /, **changes: Any) -> Self:
        """Return the same chip with other codes.

        Args:
            codes: all codes; None: the present ones.
            **changes: codes of single parameters, one number or one per neuron (see ``Codes``).

        Raises:
            InputError: no ``Codes``, unknown parameters, or codes that the chip does not have.
        """
        chip = copy.copy(self)
        chip._write_codes((self.codes if codes is None else _checked(codes)).replace(**changes))
        return chip

    # --- running -------------------------------------------------------------------------------------------

    def run(
        self, weights: AnyWeights, spikes: Spikes, *, seed: int, silenced: Bool[ndarray, "hidden"] | None = None
    ) -> Recording:
        """Run every sample from rest and record it (samples are far enough apart not to meet).

        Args:
            weights: integers −63 … 63, hidden [input, hidden], output [hidden, output] and, of a recurrent network,
                recurrent [hidden, hidden]; on a chip that does not round them, any numbers in that range.
            spikes: input spike trains of at most 256 units.
            seed: seed of the trial-to-trial noise.
            silenced: hidden neurons that must not fire, bool [hidden].

        Returns:
            CADC samples at the end of every model step, and spikes with 8 ns time stamps.

        Raises:
            InputError: if the network does not fit the chip or the input does not fit the network.
        """
        program = self.write(weights)
        n_steps = self.samples_in(spikes.duration_us)
        index = np.arange(len(spikes))
        most = int(program.n_hidden * (n_steps + 1) * self.profile.substeps)
        events = np.empty((len(spikes), most), np.float32), np.empty((len(spikes), most), np.int16)
        raw, counts = self._emulate(program, spikes, index, seed=seed, silenced=silenced, events=events)
        hidden, output = slice(0, program.n_hidden), slice(NEURONS - program.n_output, NEURONS)
        return Recording(
            hidden_lsb=raw.cadc[:, FIRST_SAMPLE:, hidden],
            output_lsb=raw.cadc[:, FIRST_SAMPLE:, output],
            hidden_baseline_lsb=raw.cadc[:, 0, hidden],
            output_baseline_lsb=raw.cadc[:, 0, output],
            hidden_fired=raw.fired[:, FIRST_SAMPLE:, hidden],
            hidden_spikes=self._events(*events, counts, program.n_hidden, n_steps),
        )

    def write(self, weights: AnyWeights) -> Program:
        """Write weights to the synapses; refuses what the chip cannot hold.

        Raises:
            InputError: weights beyond ±63, non-integers on a chip that rounds, more inputs or neurons than there are.
        """
        rounds = self.profile.rounds_weights
        check_weights(weights, integers=rounds)
        held = np.int8 if rounds else np.float32
        layers = {name: np.ascontiguousarray(w, dtype=held) for name, w in weights._asdict().items()}
        (n_input, n_hidden), n_output = layers["hidden"].shape, layers["output"].shape[1]
        program = Program(
            n_input, n_hidden, n_output, np.zeros((NEURONS, NEURONS), np.float32),
            np.zeros((NEURONS, NEURONS), np.float32), recurrent="recurrent" in layers,
        )  # fmt: skip
        analog.program_synapses(layers["hidden"], *self._gain, 0, program.input_rows)
        analog.program_synapses(layers["output"], *self._gain, NEURONS - n_output, program.routed_rows)
        if program.recurrent:
            analog.program_synapses(layers["recurrent"], *self._gain, 0, program.routed_rows)
        return program

    def record(
        self,
        program: Program,
        spikes: Spikes,
        index: Int64[ndarray, "b"],
        *,
        seed: int,
        silenced: Bool[ndarray, "hidden"] | None = None,
    ) -> RawRecording:
        """Run the samples named by ``index`` and return the raw recording (the trainer's fast path).

        ``spikes`` may hold a whole data set. Weights were checked when written; input was checked when encoded.

        Raises:
            InputError: if ``index`` names a sample that is not there.
        """
        _check_index(index, spikes)
        return self._emulate(program, spikes, index, seed=seed, silenced=silenced)[0]

    def membranes(
        self, weights: AnyWeights, spikes: Spikes, *, seed: int, silenced: Bool[ndarray, "hidden"] | None = None
    ) -> tuple[Float32[ndarray, "steps"], Float32[ndarray, "b steps n"]]:
        """Return the true membranes at every fine step: what no real experimenter sees of 256 neurons at once.

        Args:
            weights, spikes, seed, silenced: as for ``run``, whose spikes these membranes fire.

        Returns:
            Time in µs, shape [steps], and membranes in mV, shape [batch, steps, 256].
        """
        program = self.write(weights)
        n_fine = (self.samples_in(spikes.duration_us) + 1) * self.profile.substeps
        membranes = np.empty((len(spikes), n_fine + 1, NEURONS), np.float32)
        every = np.arange(len(spikes))
        self._emulate(program, spikes, every, seed=seed, silenced=silenced, membranes=membranes)
        time_us = self._start_us + self.step_us * np.arange(n_fine + 1)
        return time_us.astype(np.float32), membranes

    def classify(
        self, program: Program, spikes: Spikes, *, seed: int, silenced: Bool[ndarray, "hidden"] | None = None,
        vote: Vote = "peak", index: Int64[ndarray, "b"] | None = None,
    ) -> tuple[Int64[ndarray, "b"], Int64[ndarray, "b"]]:  # fmt: skip
        """Run every sample from rest; the output neuron with the highest sample above its baseline wins.

        Args:
            program: weights written to this chip.
            spikes: input.
            seed: seed of the trial-to-trial noise.
            silenced: hidden neurons that must not fire, bool [hidden].
            vote: ``sum``: the highest sum of samples above the baseline wins instead.
            index: the samples to run, each with the noise that it has among all; None: all.

        Returns:
            Class decided for each sample, and its number of hidden spikes.

        Raises:
            InputError: if ``index`` names a sample that is not there.
        """
        if index is not None:
            _check_index(index, spikes)
        return self._decide(program, spikes, seed, None, None, silenced, vote, index)

    def infer(
        self,
        program: Program,
        spikes: Spikes,
        *,
        seed: int,
        separation_us: float = SPEC["separation"].value,
        reset_after_us: float = SPEC["reset_after"].value,
    ) -> tuple[Int64[ndarray, "b"], Int64[ndarray, "b"]]:
        """Fast inference: classify one image per ``separation_us``, with the artificial reset.

        Every image starts from the reset state; ``reset_after_us`` after its first spike the membranes are
        reset and the synaptic currents clamped. Only samples taken before the reset count for the decision.

        Args:
            program: weights written to this chip.
            spikes: input, of which only what comes before the reset can matter.
            seed: seed of the trial-to-trial noise.
            separation_us, reset_after_us: time per image and time to the reset, µs.

        Returns:
            Class decided for each sample, and its number of hidden spikes.

        Raises:
            InputError: if the reset does not come within the time per image.
        """
        p = self.profile
        first_sample_us = self._start_us + p.cadc_period_us
        if not first_sample_us - 1e-6 <= reset_after_us <= separation_us < np.inf:
            want = f"{first_sample_us:g} µs … the separation of {separation_us:g} µs"
            raise InputError(complain("reset_after_us", expected=want, got=reset_after_us, fix="choose another"))
        n_periods = int(np.ceil(separation_us / p.cadc_period_us - 1e-6))
        reset_step = int(np.floor((reset_after_us - self._start_us) / self.step_us + 1e-5))
        return self._decide(program, spikes, seed, n_periods, reset_step)

    def _decide(
        self,
        program: Program,
        spikes: Spikes,
        seed: int,
        n_periods: int | None,
        reset_step: int | None,
        silenced: Bool[ndarray, "hidden"] | None = None,
        vote: Vote = "peak",
        index: Int64[ndarray, "b"] | None = None,
    ) -> tuple[Int64[ndarray, "b"], Int64[ndarray, "b"]]:
        index = np.arange(len(spikes)) if index is None else np.ascontiguousarray(index, np.int64)
        decisions, counts = np.empty(len(index), np.int64), np.empty(len(index), np.int64)
        first = FIRST_SAMPLE if reset_step is None else 1
        last = None if reset_step is None else reset_step // self.profile.substeps + 1
        for start in range(0, len(index), _READOUT_BATCH):
            part = slice(start, min(start + _READOUT_BATCH, len(index)))
            raw, counts[part] = self._emulate(
                program, spikes, index[part], seed=seed, silenced=silenced, n_periods=n_periods,
                reset_step=reset_step, outputs_only=True,
            )  # fmt: skip
            outputs = raw.cadc[:, :, NEURONS - program.n_output :]
            read = outputs[:, first:last]
            if vote == "sum":
                mean = read.mean(axis=1, dtype=np.float64)
                decisions[part] = (mean - outputs[:, 0]).argmax(axis=1)
                continue
            peak = read.max(axis=1).astype(np.promote_types(outputs.dtype, np.int16))
            decisions[part] = (peak - outputs[:, 0]).argmax(axis=1)
        return decisions, counts

    # --- inside ---------------------------------------------------------------------------------------------

    @property
    def _start_us(self) -> float:
        return self.profile.readout_lag_us - self.profile.cadc_period_us

    def samples_in(self, duration_us: float) -> int:
        """Number of CADC samples that cover ``duration_us`` after the read-out lag."""
        return int(np.ceil(duration_us / self.profile.cadc_period_us - 1e-6))

    def _check_input(self, program: Program, spikes: Spikes) -> None:
        if spikes.n_units != program.n_input:
            want = f"{program.n_input} units, one per row of the hidden weights"
            raise InputError(complain("input spikes", expected=want, got=spikes.n_units, fix="match the two"))

    def _emulate(
        self,
        program: Program,
        spikes: Spikes,
        index: Int64[ndarray, "b"],
        *,
        seed: int,
        silenced: Bool[ndarray, "hidden"] | None = None,
        n_periods: int | None = None,
        reset_step: int | None = None,
        from_reset: bool | None = None,
        substeps: int | None = None,
        outputs_only: bool = False,
        events: tuple[ndarray, ndarray] | None = None,
        membranes: Float32[ndarray, "b steps n"] | None = None,
        probe: tuple[Int16[ndarray, "b"], Float32[ndarray, "b steps"]] | None = None,
    ) -> tuple[RawRecording, Int64[ndarray, "b"]]:
        self._check_input(program, spikes)
        seed = check_seed("noise seed", seed, bits=63)
        batch = len(index)
        from_reset = reset_step is not None if from_reset is None else from_reset
        periods = self.samples_in(spikes.duration_us) + 1 if n_periods is None else n_periods
        substeps = self.profile.substeps if substeps is None else substeps
        table, bend = self._table(substeps)
        parameters = table.copy()
        parameters[analog.THRESHOLD, program.n_hidden :] = NEVER_MV
        if silenced is not None:
            mask = check_silenced(silenced, program.n_hidden)
            parameters[analog.THRESHOLD, : program.n_hidden][mask] = NEVER_MV
        shape, rounds = (batch, periods + 1, NEURONS), self.profile.rounds_cadc
        cadc = np.empty(shape if rounds else (0, 0, NEURONS), np.uint8)
        exact = None if rounds else np.empty(shape, np.float32)
        fired = np.empty((0 if outputs_only else batch, periods + 1, NEURONS), np.uint8)
        counts = np.empty(batch, np.int64)
        event_time, event_unit = events or (np.empty((batch, 0), np.float32), np.empty((batch, 0), np.int16))
        analog.emulate(
            spikes.times_us, spikes.units, spikes.offsets, index,
            program.input_rows, program.routed_rows, *self._delays, program.routes_to_tail,
            parameters.ravel(), bend, np.float32(self._start_us), np.float32(self.profile.cadc_period_us / substeps),
            periods, substeps, _NEVER if reset_step is None else reset_step, from_reset, seed, index,
            outputs_only and program.outputs_in_tail,
            cadc, exact, fired, event_time, event_unit, counts,
            np.empty((0, 0, NEURONS), np.float32) if membranes is None else membranes,
            *(probe or (np.empty(0, np.int16), np.empty((0, 0), np.float32))),
        )  # fmt: skip
        return RawRecording(cadc if exact is None else exact, fired), counts

    def _table(self, substeps: int) -> tuple[Float32[ndarray, "parameter n"], Float32[ndarray, "4"]]:
        if substeps not in self._tables:
            step_us = self.profile.cadc_period_us / substeps
            self._tables[substeps] = parameter_table(self.profile, self.mismatch, step_us)
        return self._tables[substeps]

    def _events(
        self, times: ndarray, units: ndarray, counts: Int64[ndarray, "b"], n_hidden: int, n_steps: int
    ) -> Spikes:
        """Pack spikes as events with 8 ns time stamps, sorted by time within each sample."""
        stamped, fired_by = [], []
        for b, count in enumerate(counts):
            tick = np.floor(times[b, :count] / TIMESTAMP_US) * TIMESTAMP_US
            order = np.argsort(tick, kind="stable")
            stamped.append(np.maximum(tick[order], 0.0).astype(np.float32))
            fired_by.append(units[b, :count][order])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        duration = n_steps * self.profile.cadc_period_us + self.profile.readout_lag_us
        empty_t, empty_u = np.empty(0, np.float32), np.empty(0, np.int16)
        return Spikes(
            np.concatenate([*stamped, empty_t]), np.concatenate([*fired_by, empty_u]), offsets, n_hidden, duration
        )


def _check_index(index: Int64[ndarray, "b"], spikes: Spikes) -> None:
    if len(index) and (index.min() < 0 or index.max() >= len(spikes)):
        got, want = f"{index.min()} … {index.max()}", f"0 … {len(spikes) - 1}"
        raise InputError(complain("index", expected=want, got=got, fix="name samples of these spikes"))


def _checked(codes: Codes) -> Codes:
    if not isinstance(codes, Codes):
        fix = "to change single parameters, name them: with_codes(leak=230)"
        raise InputError(complain("codes", expected="a Codes object", got=repr(codes)[:60], fix=fix))
    return codes
