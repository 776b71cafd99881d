"""A chip profile: the nominal values and the spreads from which chips are drawn.

A profile describes a population of circuits; a seed picks one chip from it (``mismatch.draw``). These come with
the package:

- ``calibrated`` (the default): circuits with the spread published for equal codes, at the codes that the
  calibration routine found for them;
- ``uncalibrated``: the same circuits at equal codes;
- ``published``: circuits that differ, at equal codes, as the published ones do after their calibration;
- ``ideal``: circuits without mismatch and noise.

Four more are the default chip less one of its limits, to ask what that limit costs:

- ``no-mismatch``: all neurons, synapses, delays and ADC channels equal, at what the default chip is calibrated to;
- ``no-noise``: the very chip of the default profile, with its calibration, without trial-to-trial noise;
- ``no-weight-rounding``: the same with synapses that hold real numbers (within ±63);
- ``no-cadc-rounding``: the same with a column ADC that does not round (0 … 255, with its offset, gain and noise).

A profile of your own is a JSON file with any of the fields below, or is made from measured neurons
(:meth:`ChipProfile.from_measurements`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from bss2lab.chip.measured import MeasuredNeurons
from bss2lab.chip.transfer import Transfer
from bss2lab.config import Config, Source, quantity
from bss2lab.errors import InputError, complain
from bss2lab.quantize import CADC_MV_PER_LSB, MODEL_UNIT_MV

_CODE, _ELSE, _PAPER, _ASSUMED = Source.AUTHORS_CODE, Source.MEASURED, Source.PAPER, Source.ASSUMED


class ChipProfile(Config):
    """Every constant of the emulated chip. Frozen and validated; spreads are one standard deviation.

    Nominal values and spreads between circuits hold at the nominal codes (see ``transfer``).

    Attributes:
        name: what the profile is called.
        calibrated: does a new chip come with the codes that the calibration routine finds for it?
        transfer: what codes do.
        measured: neurons measured on a device, from which chips are resampled; None: drawn from the spreads.
    """

    name: str = "calibrated"
    calibrated: bool = True
    transfer: Transfer = Transfer()
    measured: MeasuredNeurons | None = None

    tau_mem_us: float = quantity(6.0, "membrane time constant", unit="µs", source=_CODE, gt=0.2, le=100)
    tau_mem_cv: float = quantity(0.10, "its relative spread over neurons", source=_ELSE, ge=0, le=0.6)
    tau_syn_exc_us: float = quantity(6.0, "excitatory synaptic time constant", unit="µs", source=_CODE, gt=0.2, le=100)
    tau_syn_inh_us: float = quantity(6.0, "inhibitory synaptic time constant", unit="µs", source=_CODE, gt=0.2, le=100)
    tau_syn_cv: float = quantity(0.35, "relative spread of both", source=_ELSE, ge=0, le=0.6)

    leak_lsb: float = quantity(80.0, "leak potential", unit="LSB", source=_CODE, ge=0, le=255)
    leak_sd_mv: float = quantity(73.0, "its spread", unit="mV", source=_ELSE, ge=0, le=300)
    reset_lsb: float = quantity(80.0, "reset potential", unit="LSB", source=_CODE, ge=0, le=255)
    reset_sd_mv: float = quantity(50.0, "its spread", unit="mV", source=_ELSE, ge=0, le=300)
    threshold_lsb: float = quantity(150.0, "firing threshold", unit="LSB", source=_CODE, ge=0, le=255)
    threshold_sd_mv: float = quantity(49.0, "its spread", unit="mV", source=_ELSE, ge=0, le=300)
    threshold_leak_correlation: float = quantity(
        0.14,
        "correlation of threshold and leak over neurons",
        source=_ASSUMED,
        ge=-1,
        le=1,
        why="gives the published 25 % spread of θ − leak at 328 mV between the two; measured elsewhere: 0.36 at 286 mV",
    )

    refractory_us: float = quantity(2.0, "refractory time", unit="µs", source=_CODE, ge=0, le=100)
    refractory_cv: float = quantity(
        0.05,
        "its relative spread",
        source=_ASSUMED,
        ge=0,
        le=0.6,
        why="not published; of the order of the other time constants",
    )

    capacitance_pf: float = quantity(2.4, "membrane capacitance", unit="pF", source=_ELSE, gt=0, le=100)
    synapse_na: float = quantity(
        2.58,
        "peak synaptic current per unit of weight",
        unit="nA",
        source=_ASSUMED,
        gt=0,
        le=100,
        why="makes the authors' scale of 240 weight units per threshold reproduce the model's PSP",
    )
    psp_gain_cv: float = quantity(
        0.16,
        "relative spread of the PSP height over neurons, excitatory and inhibitory drawn apart; "
        "it contains the spread of the capacitance",
        source=_ELSE,
        ge=0,
        le=0.6,
    )
    synapse_cv: float = quantity(
        0.07,
        "relative gain spread from synapse to synapse",
        source=_ASSUMED,
        ge=0,
        le=0.6,
        why="not published; 5 to 10 % is usual for minimum-size current sources",
    )
    delay_us: float = quantity(1.0, "delay from a spike to its synaptic current", unit="µs", source=_ELSE, ge=0, le=20)
    delay_sd_us: float = quantity(0.1, "its spread over sources", unit="µs", source=_ELSE, ge=0, le=5)

    membrane_noise_mv: float = quantity(2.0, "membrane noise", unit="mV", source=_ELSE, ge=0, le=100)
    membrane_min_mv: float = quantity(
        0.0,
        "lower saturation of the membrane",
        unit="mV",
        source=_ASSUMED,
        ge=-500,
        le=600,
        why="the supply rail, which is also the CADC's zero",
    )
    membrane_max_mv: float = quantity(
        1200.0,
        "upper saturation of the membrane",
        unit="mV",
        source=_ASSUMED,
        ge=600,
        le=2000,
        why="the supply rail, which is also the CADC's full scale",
    )

    cadc_period_us: float = quantity(
        1.7, "time between two samples of a membrane", unit="µs", source=_PAPER, gt=0.1, le=100
    )
    cadc_offset_sd_lsb: float = quantity(
        10.0, "offset spread over ADC channels, uncorrected", unit="LSB", source=_CODE, ge=0, le=60
    )
    cadc_gain_cv: float = quantity(
        0.02,
        "relative gain spread over ADC channels",
        source=_ASSUMED,
        ge=0,
        le=0.3,
        why="not published; below the resolution of the published trace calibration",
    )
    cadc_noise_lsb: float = quantity(2.0, "read-out noise of one sample", unit="LSB", source=_ELSE, ge=0, le=60)

    rounds_weights: bool = quantity(
        True,
        "do synapses hold integers? No real chip can do otherwise: for asking what the limit costs",
        source=_PAPER,
    )
    rounds_cadc: bool = quantity(
        True,
        "does the column ADC give integers? No real chip can do otherwise: for asking what the limit costs",
        source=_PAPER,
    )

    substeps: int = quantity(
        4,
        "fine steps of the emulation per CADC period",
        source=_ASSUMED,
        ge=1,
        le=256,
        why="a typical spike time is then right to 1e-4 of a time constant (tested)",
    )

    @model_validator(mode="after")
    def _check(self) -> ChipProfile:
        if self.membrane_min_mv >= self.membrane_max_mv:
            want = f"membrane_min_mv below membrane_max_mv = {self.membrane_max_mv}"
            raise ValueError(complain("membrane_min_mv", expected=want, got=self.membrane_min_mv, fix="lower it"))
        return self

    @property
    def readout_lag_us(self) -> float:
        """Time from the end of a model step to the CADC sample that stands for it, in µs.

        Half a period (an input spike falls, on average, into the middle of its bin) plus the synaptic delay:
        the chip's response is then as old at the sample as the model's at the end of the step.
        """
        return self.cadc_period_us / 2 + self.delay_us

    @property
    def synapse_mv_per_us(self) -> float:
        """Rate at which one unit of weight moves the membrane, I/C in mV/µs."""
        return self.synapse_na / self.capacitance_pf

    def circuits_digest(self) -> str:
        """Return a digest of all that makes the circuits: all fields but those of ``NOT_CIRCUITS``."""
        fields = self.model_dump(exclude=set(NOT_CIRCUITS))
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the profile as JSON text."""
        return json.dumps(self.model_dump(), indent=2) + "\n"

    @classmethod
    def from_measurements(
        cls, arrays: Mapping[str, Any], *, name: str = "measured", calibrated: bool = False, **fields: Any
    ) -> ChipProfile:
        """Build a profile from neurons that were measured on a device of your own.

        Chips of this profile are resampled from the measured neurons, whole neurons at a time: correlations
        between their parameters stay as they are. What was not measured is drawn as usual.

        Args:
            arrays: one value per measured neuron, shape [n] each: any of ``tau_mem_us``, ``tau_syn_exc_us``,
                ``tau_syn_inh_us``, ``refractory_us``, ``leak_mv``, ``reset_mv``, ``threshold_mv``,
                ``gain_exc``, ``gain_inh`` (mV/µs per unit of weight).
            name: what the profile is called.
            calibrated: the neurons were measured at equal codes, and new chips shall be calibrated from there.
            **fields: other fields of the profile.

        Raises:
            InputError: unknown names, unequal lengths, values that no circuit can have.
        """
        measured = MeasuredNeurons.of(arrays)
        return cls(**{**fields, "name": name, "calibrated": calibrated, "measured": measured, **measured.nominal()})


NOT_CIRCUITS = (
    "name", "calibrated", "membrane_noise_mv", "cadc_noise_lsb", "rounds_weights", "rounds_cadc", "substeps",
)  # fmt: skip
"""Fields that do not belong to the circuits: chips that differ in these alone share one calibration."""

_NO_SPREAD: dict[str, Any] = {
    **{name: 0.0 for name in ChipProfile.model_fields if name.endswith(("_cv", "_sd_mv", "_sd_us", "_sd_lsb"))},
    "transfer": Transfer(slope_cv=0.0),
}
_NO_NOISE: dict[str, Any] = {"membrane_noise_mv": 0.0, "cadc_noise_lsb": 0.0}

PROFILES: dict[str, ChipProfile] = {
    "calibrated": ChipProfile(),
    "uncalibrated": ChipProfile(name="uncalibrated", calibrated=False),
    "published": ChipProfile(
        name="published",
        calibrated=False,
        tau_mem_cv=0.07,
        tau_syn_cv=0.045,
        leak_sd_mv=6.0,
        reset_sd_mv=6.0,
        threshold_sd_mv=6.0,
        threshold_leak_correlation=0.0,
        cadc_offset_sd_lsb=3.0,
    ),
    "ideal": ChipProfile(
        name="ideal",
        calibrated=False,
        **_NO_SPREAD,
        **_NO_NOISE,
        threshold_lsb=80.0 + MODEL_UNIT_MV / CADC_MV_PER_LSB,
    ),
    "no-mismatch": ChipProfile(name="no-mismatch", calibrated=False, **_NO_SPREAD),
    "no-noise": ChipProfile(name="no-noise", **_NO_NOISE),
    "no-weight-rounding": ChipProfile(name="no-weight-rounding", rounds_weights=False),
    "no-cadc-rounding": ChipProfile(name="no-cadc-rounding", rounds_cadc=False),
}


def load_profile(name: str) -> ChipProfile:
    """Return a profile that comes with the package, or read one from a JSON file.

    Args:
        name: one of ``PROFILES`` (see the head of this module), or the path of a ``.json`` file.

    Raises:
        InputError: if there is no such profile, or the file cannot be used.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if path.suffix != ".json":
        want = f"one of {', '.join(PROFILES)} or a .json file"
        raise InputError(complain("profile", expected=want, got=repr(name), fix="choose one of them"))
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            complain(f"profile {name}", expected="readable JSON", got=error, fix="check the file")
        ) from None
    if not isinstance(fields, dict):
        got = type(fields).__name__
        raise InputError(complain(f"profile {name}", expected="a JSON object", got=got, fix="see ChipProfile's fields"))
    return ChipProfile(**{"name": path.stem, **fields})
