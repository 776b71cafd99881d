"""A chip on the bench: emulated circuits that come calibrated, and can be measured, calibrated and detuned."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

from bss2lab.chip import library
from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Calibration, Targets
from bss2lab.chip.codes import Codes
from bss2lab.chip.continuous import ContinuousRecording, Probe, run_continuously
from bss2lab.chip.decalibrate import Detuning, check_request, detune
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.limits import check_seed
from bss2lab.chip.measure import measure
from bss2lab.chip.measurement import Measurement
from bss2lab.chip.profile import ChipProfile, load_profile
from bss2lab.chip.program import Program
from bss2lab.chip.spec import SPEC
from bss2lab.types import Spikes


class Chip(Emulator):
    """One emulated BrainScaleS-2 chip: 256 analog neurons with signed 6-bit synapses and a column ADC.

    ``Chip(seed=7)`` is always the same chip. Mismatch belongs to the chip; trial-to-trial noise is drawn from
    the seed handed to each run. What its neurons do follows from the codes written to it; with the profile
    ``calibrated`` these are the ones that the calibration routine finds for this very chip (they come with the
    package or are kept in the user's cache; a chip met for the first time is calibrated once, in seconds).

    Args:
        seed: the chip's number, ≥ 0.
        profile: name of a profile, path of a JSON file, or a ``ChipProfile``.
        codes: what is written to its parameter storage; None: what the profile says.

    Attributes:
        circuits: the silicon: what every circuit does with its codes (hidden from any experimenter).
        codes: the codes written.
        mismatch: the hidden truth at these codes.
        calibration: the calibration of this chip, if it has one (``codes`` may have been changed since).
        detuning: how it was decalibrated, if it was.

    Raises:
        InputError: unknown profile, or a seed or codes that are none.
    """

    def __init__(self, seed: int = 0, profile: str | ChipProfile = "calibrated", *, codes: Codes | None = None) -> None:
        profile = load_profile(profile) if isinstance(profile, str) else profile
        self.calibration: Calibration | None = None
        self.detuning: Detuning | None = None
        if codes is None and profile.calibrated:
            self.calibration = library.calibration_of(check_seed("chip seed", seed, bits=32), profile)
            codes = self.calibration.codes
        super().__init__(seed, profile, codes)

    def __repr__(self) -> str:
        detuned = f", {self.detuning}" if self.detuning is not None else ""
        return f"Chip(seed={self.seed}, profile={self.profile.name!r}{detuned}) [emulated]"

    def with_codes(self, codes: Codes | None = None, /, **changes: Any) -> Self:
        """Return the same chip with other codes; see ``Emulator.with_codes``."""
        chip = super().with_codes(codes, **changes)
        chip.detuning = None
        return chip

    def apply(self, calibration: Calibration) -> Self:
        """Return the same chip with the codes of a calibration.

        Raises:
            InputError: if the calibration was made for another chip.
        """
        calibration.check_fits(self.seed, self.profile)
        chip = self.with_codes(calibration.codes)
        chip.calibration = calibration
        return chip

    def run_continuously(
        self,
        program: Program,
        spikes: Spikes,
        *,
        seed: int,
        separation_us: float = SPEC["separation"].value,
        reset_after_us: float | None = SPEC["reset_after"].value,
        lead_us: float | None = None,
        probe: Probe | None = None,
    ) -> ContinuousRecording:
        """Send one image every ``separation_us`` without a break; see ``chip.continuous`` for arguments and errors."""
        return run_continuously(
            self, program, spikes, seed=seed, separation_us=separation_us, reset_after_us=reset_after_us,
            lead_us=lead_us, probe=probe,
        )  # fmt: skip

    def measure(self, quantity: str, *, seed: int = 0) -> Measurement:
        """Measure one quantity of all neurons at the present codes; see ``chip.measure``.

        Args:
            quantity: one of ``chip.measure.PROTOCOLS``: ``"tau_mem"``, ``"threshold"``, …
            seed: seed of the trial-to-trial noise during the measurement.

        Raises:
            InputError: unknown quantity.
        """
        return measure(self, quantity, seed=seed)

    def calibrate(self, targets: Targets | None = None, *, seed: int = 0, progress: bool = False) -> Calibration:
        """Search the codes that bring every neuron to its targets; see ``chip.calibrate``. ``apply`` writes them.

        Args:
            targets: what every neuron shall do; the authors' targets if not given.
            seed: seed of the trial-to-trial noise during the measurements.
            progress: show a progress bar.
        """
        return calibrate(self, targets, seed=seed, progress=progress)

    def decalibrate(
        self, sigma_d: float, which: str | Collection[str] = "both", *, seed: int = 0, measured: bool = False
    ) -> Self:
        """Return the same chip detuned on purpose: individual targets for every neuron (figure 4 of the paper).

        Targets are drawn from normal distributions around the calibration targets with normalised standard
        deviation ``sigma_d``: the time constants, and the distance from leak to threshold. ``chip.detuning``
        of the result has the targets, which of them no code reaches, and the neurons that fire without input.

        Args:
            sigma_d: normalised standard deviation, 0 … 1 (the paper: up to 0.5).
            which: ``"tau"``, ``"threshold"``, a set of the two, or ``"both"``.
            seed: seed of the targets.
            measured: search the codes by measuring anew; otherwise they follow from the curves that the
                calibration measured (much faster, hardly less exact).

        Raises:
            InputError: σ_d out of range, or an unknown parameter name.
        """
        check_request(sigma_d, which, seed)
        calibration = self.calibration or library.calibration_of(self.seed, self.profile)
        chip, detuning = detune(self, calibration, sigma_d, which, seed=seed, measured=measured)
        chip.calibration, chip.detuning = calibration, detuning
        return chip
