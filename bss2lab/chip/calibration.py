"""What a calibration aims at, and what it found: targets, codes, curves, residuals, failures; its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab import arrayfile
from bss2lab.chip.codes import Codes
from bss2lab.chip.limits import check_seed
from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.spec import NEURONS, TARGETS
from bss2lab.chip.transfer import CODE_MAX, GAINS, PARAMETERS, POTENTIALS, Transfer, ordinate, physical
from bss2lab.errors import CalibrationError, InputError, complain
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.storage import write_atomically
from bss2lab.version import NUMERICS, __version__

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

FORMAT = 1
_KEY = "calibration"

_SLOPES = (0.4, 2.5)
"""Slopes of measured curves, over the average circuit's: the search takes none below ½ or above 2 for a circuit's."""


def limits_of(parameter: str) -> tuple[float, float]:
    """What no circuit comes near, in the targets' units: far beyond all profiles and all that can be measured."""
    return (-1e3, 1e3) if parameter in POTENTIALS else (1e-4, 1e4) if parameter in GAINS else (1e-3, 1e5)


def unit_of(parameter: str) -> str:
    """Unit of a parameter's targets and results: potentials count in steps of the column ADC."""
    return "LSB" if parameter in POTENTIALS else "mV/µs" if parameter in GAINS else "µs"


@dataclass(frozen=True, slots=True)
class Failure:
    """A neuron that did not reach a target.

    Attributes:
        neuron: its number.
        parameter: what was searched.
        reason: why, with numbers.
    """

    neuron: int
    parameter: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What every neuron shall do. One number stands for all neurons; NaN gains are left as they are.

    Attributes:
        tau_mem, tau_syn_exc, tau_syn_inh: time constants, µs, [neuron].
        gain_exc, gain_inh: I/C per unit of weight, mean over a neuron's synapses, mV/µs, [neuron]. By default
            gains are not calibrated (as on the published chip, whose PSPs still differ by 16 %).
        leak, reset, threshold: potentials as the column ADC reads them, LSB, [neuron].

    Raises:
        InputError: targets that are not finite, far from what any circuit can do, or not one per neuron.
    """

    tau_mem: Any = TARGETS["tau_mem"].value
    tau_syn_exc: Any = TARGETS["tau_syn_exc"].value
    tau_syn_inh: Any = TARGETS["tau_syn_inh"].value
    gain_exc: Any = None
    gain_inh: Any = None
    leak: Any = TARGETS["leak"].value
    reset: Any = TARGETS["reset"].value
    threshold: Any = TARGETS["threshold"].value

    def __post_init__(self) -> None:
        for name, given in self.items():
            object.__setattr__(self, name, _checked(name, given))

    def items(self) -> Iterator[tuple[str, Float64[ndarray, "n"]]]:
        """Iterate over (parameter, targets)."""
        return ((name, getattr(self, name)) for name in PARAMETERS)

    def replace(self, **changes: Any) -> Targets:
        """Return targets with some parameters changed.

        Raises:
            InputError: unknown parameters, or values that are no targets.
        """
        unknown = sorted(set(changes) - set(PARAMETERS))
        if unknown:
            text = complain("targets", expected=", ".join(PARAMETERS), got=", ".join(unknown), fix="name one of these")
            raise InputError(text)
        return Targets(**{**dict(self.items()), **changes})

    @property
    def searched(self) -> tuple[str, ...]:
        """Parameters with a target, in the order in which they are calibrated."""
        order = ("leak", "reset", "tau_mem", "tau_syn_exc", "tau_syn_inh", "gain_exc", "gain_inh", "threshold")
        return tuple(name for name in order if np.isfinite(getattr(self, name)).all())


def _checked(name: str, given: Any) -> Float64[ndarray, "n"]:
    what = f"{name} target"
    free = name in GAINS
    given = np.nan if given is None else given
    want = f"one number, or one per neuron, shape [{NEURONS}]"
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(complain(what, expected=want, got=repr(given)[:60], fix="pass numbers")) from None
    if values.shape not in ((), (NEURONS,)):
        raise InputError(complain(what, expected=want, got=f"shape {list(values.shape)}", fix="match the chip"))
    values = np.broadcast_to(values, (NEURONS,)).copy()
    if free and np.isnan(values).all():
        return values
    low = -np.inf if name in POTENTIALS else 0.0
    bad = np.flatnonzero(~(np.isfinite(values) & (values > low)))
    if len(bad):
        want = f"finite numbers{'' if name in POTENTIALS else ' above 0'} in {unit_of(name)}"
        got = f"{values[bad[0]]} for neuron {bad[0]}"
        raise InputError(complain(what, expected=want, got=got, fix="mend or leave out that neuron's target"))
    _check_possible(what, name, values)
    return values


def _check_possible(what: str, parameter: str, values: Float64[ndarray, "n"]) -> None:
    """Refuse values that no circuit can have (NaN: not measured).

    Raises:
        InputError: naming neuron, value and range.
    """
    low, high = limits_of(parameter)
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        got, unit = f"{values[bad[0]]:g} for neuron {bad[0]}", unit_of(parameter)
        raise InputError(complain(what, expected=f"{low:g} … {high:g} {unit}", got=got, fix="check the unit"))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The codes that bring one chip to its targets, and how they were found.

    Attributes:
        chip_seed: the chip's number.
        circuits: digest of the profile's circuits (see ``ChipProfile.circuits_digest``).
        targets: what was aimed at.
        codes: what was found.
        achieved: what was measured at these codes, by parameter, in the targets' units, [neuron].
        curves: measured transfer of every circuit, by parameter: intercept and slope of the straight line in the
            coordinates of ``transfer``, [2, neuron]. Their inverse gives the codes for other targets.
        failures: neurons that missed a target.
        profile: the profile, for its transfer.
    """

    chip_seed: int
    circuits: str
    targets: Targets
    codes: Codes
    achieved: dict[str, Float64[ndarray, "n"]]
    curves: dict[str, Float64[ndarray, "2 n"]]
    failures: tuple[Failure, ...]
    profile: ChipProfile

    def __repr__(self) -> str:
        return f"Calibration(chip {self.chip_seed}, {len(self.failures)} failures) [emulated]"

    @property
    def residual(self) -> dict[str, float]:
        """Standard deviation of what was measured about its target: relative for times and gains, mV for potentials.

        ``threshold − leak`` is relative too. Neurons without a measurement do not count.
        """
        spread = {}
        for name in self.targets.searched:
            error = self.achieved[name] - getattr(self.targets, name)
            scale = CADC_MV_PER_LSB if name in POTENTIALS else 1 / getattr(self.targets, name)
            spread[name] = _deviation(error * scale)
        distance = self.achieved["threshold"] - self.achieved["leak"]
        aimed = self.targets.threshold - self.targets.leak
        mean = abs(float(np.mean(aimed)))
        spread["threshold − leak"] = _deviation(distance - aimed) / mean if mean else float("nan")
        return spread

    def codes_for(self, targets: Targets) -> tuple[Codes, tuple[Failure, ...]]:
        """Return the codes for other targets, from the measured curves alone, and the targets out of reach.

        Codes of a target out of reach are the nearest that there are; those of an unchanged target stay.
        """
        found, missed = {}, []
        for name in targets.searched:
            wanted = getattr(targets, name)
            if name not in self.curves:
                want = "a calibration that measured it"
                raise InputError(complain(f"{name} target", expected=want, got="none", fix="calibrate with a target"))
            exact = invert(self.profile, name, self.curves[name], wanted)
            nearest = np.clip(np.rint(exact), 0, CODE_MAX).astype(np.int16)
            same = np.isclose(wanted, getattr(self.targets, name), rtol=1e-6, atol=0.0)
            found[name] = np.where(same, getattr(self.codes, name), nearest)
            missed += out_of_reach(self.profile, name, self.curves[name], wanted, exact)
        return self.codes.replace(**found), tuple(missed)

    def check_fits(self, seed: int, profile: ChipProfile) -> None:
        """Refuse to be applied to another chip.

        Raises:
            CalibrationError: another seed, or other circuits.
        """
        if self.chip_seed != seed:
            fix = "calibrate that chip, or load its own calibration"
            text = complain("calibration", expected=f"one of chip {seed}", got=f"one of chip {self.chip_seed}", fix=fix)
            raise CalibrationError(text)
        if self.circuits != profile.circuits_digest():
            got = f"circuits {self.circuits}, this chip has {profile.circuits_digest()}"
            fix = "calibrate it again: its profile was changed"
            raise CalibrationError(complain("calibration", expected="one of the same circuits", got=got, fix=fix))

    def to_bytes(self) -> bytes:
        """Return the calibration as the content of a safetensors file."""
        arrays = {f"codes.{name}": np.array(codes) for name, codes in self.codes.items()}
        arrays |= {f"targets.{name}": values.astype(np.float32) for name, values in self.targets.items()}
        arrays |= {f"achieved.{name}": values.astype(np.float32) for name, values in self.achieved.items()}
        arrays |= {f"curves.{name}": values.astype(np.float32) for name, values in self.curves.items()}
        header = {
            "format": FORMAT,
            "bss2lab": __version__,
            "numerics": NUMERICS,
            "chip_seed": self.chip_seed,
            "circuits": self.circuits,
            "failures": [asdict(failure) for failure in self.failures],
            "profile": self.profile.model_dump(),
            "note": "emulated",
        }
        return arrayfile.pack(header, arrays, key=_KEY)

    def save(self, path: Path) -> None:
        """Write the calibration to a file, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        write_atomically(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a calibration back, trusting nothing in the file.

        Raises:
            CalibrationError: if the file is missing, damaged or of another kind, or holds what no circuit can have.
        """
        try:
            header, arrays = arrayfile.unpack(path, key=_KEY)
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}")
            return _assemble(header, arrays)
        except FileNotFoundError:
            text = complain("calibration", expected="a file", got=f"nothing at {path}", fix="calibrate and save first")
            raise CalibrationError(text) from None
        except arrayfile.DAMAGE as error:
            got = " ".join(str(error).split())[:300] or type(error).__name__
            fix = "calibrate again, or name another file"
            text = complain(str(path), expected="a whole calibration of bss2lab", got=got, fix=fix)
            raise CalibrationError(text) from None


def _deviation(errors: Float64[ndarray, "n"]) -> float:
    """Standard deviation of what is not NaN; NaN where everything is."""
    seen = errors[np.isfinite(errors)]
    return float(seen.std()) if len(seen) else float("nan")


def _assemble(header: dict[str, Any], arrays: Mapping[str, ndarray]) -> Calibration:
    def part(prefix: str) -> dict[str, ndarray]:
        return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

    def numbers(prefix: str) -> dict[str, ndarray]:
        found = part(prefix)
        for name, values in found.items():
            if values.dtype != np.float32:
                raise ValueError(f"{prefix}{name}: expected float32, got {values.dtype}")
        with np.errstate(invalid="ignore"):  # of a NaN of the signalling kind
            return {name: values.astype(np.float64) for name, values in found.items()}

    achieved, curves, targets = numbers("achieved."), numbers("curves."), Targets(**numbers("targets."))
    if not set(achieved) == set(curves) == set(targets.searched):
        raise ValueError("results for other parameters than the targets")
    profile = ChipProfile(**header["profile"])
    if profile.circuits_digest() != header["circuits"]:
        raise ValueError("a profile of other circuits")
    for name, values in achieved.items():
        if values.shape != (NEURONS,):
            raise ValueError(f"{name} of shape {list(values.shape)}")
        _check_possible(f"achieved {name}", name, values)
        _check_curve(profile.transfer, name, curves[name])
    return Calibration(
        chip_seed=check_seed("chip seed", header["chip_seed"], bits=32),
        circuits=header["circuits"],
        targets=targets,
        codes=Codes.from_mapping(part("codes.")),
        achieved=achieved,
        curves=curves,
        failures=tuple(_failure(**fields) for fields in header["failures"]),
        profile=profile,
    )


def _check_curve(transfer: Transfer, parameter: str, curve: Float64[ndarray, "2 n"]) -> None:
    """Refuse curves that no circuit has: of another slope, or nowhere within reach between the first and last code.

    Raises:
        ValueError: naming parameter, neuron and value.
    """
    if curve.shape != (2, NEURONS) or not np.isfinite(curve).all():
        raise ValueError(f"{parameter} curves: expected finite numbers [2, {NEURONS}], got shape {list(curve.shape)}")
    ends = curve[0] + curve[1] * transfer.abscissa(parameter, np.array([[0], [CODE_MAX]]))
    low, high = (float(ordinate(parameter, x * scale_of(parameter))) for x in limits_of(parameter))
    flat, steep = sorted(factor * transfer.slope(parameter) for factor in _SLOPES)
    ok = (flat <= curve[1]) & (curve[1] <= steep) & (ends.max(axis=0) >= low) & (ends.min(axis=0) <= high)
    bad = np.flatnonzero(~ok)
    if len(bad):
        got = f"intercept {curve[0, bad[0]]:g} and slope {curve[1, bad[0]]:g} for neuron {bad[0]}"
        want = f"a slope of {flat:g} … {steep:g}, and codes that give {low:g} … {high:g}"
        raise ValueError(f"{parameter} curve: expected {want}, got {got}")


def _failure(neuron: Any, parameter: Any, reason: Any) -> Failure:
    if neuron not in range(NEURONS) or parameter not in PARAMETERS or not isinstance(reason, str):
        raise ValueError(f"a failure of neuron {neuron!r} in parameter {parameter!r}")
    return Failure(int(neuron), parameter, reason)


def scale_of(parameter: str) -> float:
    """Physical units per unit of the targets: mV per LSB for potentials, 1 elsewhere."""
    return CADC_MV_PER_LSB if parameter in POTENTIALS else 1.0


def invert(
    profile: ChipProfile, parameter: str, curve: Float64[ndarray, "2 n"], wanted: Float64[ndarray, "n"]
) -> Float64[ndarray, "n"]:
    """Return the code (neither rounded nor limited) at which each measured curve meets its target."""
    intercept, slope = curve
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.where(
            (wanted > 0) | (parameter in POTENTIALS), ordinate(parameter, wanted * scale_of(parameter)), -np.inf
        )
        # a time constant of 0 or less would need infinite current
        return np.clip(profile.transfer.code(parameter, (y - intercept) / slope), -9999, 9999)


def out_of_reach(
    profile: ChipProfile,
    parameter: str,
    curve: Float64[ndarray, "2 n"],
    wanted: Float64[ndarray, "n"],
    exact: Float64[ndarray, "n"],
) -> list[Failure]:
    """Name the neurons whose target no code reaches, and what the nearest code gives."""
    missed = []
    for n in np.flatnonzero((exact < -0.5) | (exact > CODE_MAX + 0.5)):
        end = 0 if exact[n] < 0 else CODE_MAX
        at_end = curve[0, n] + curve[1, n] * profile.transfer.abscissa(parameter, end)
        nearest = physical(parameter, at_end) / scale_of(parameter)
        unit = unit_of(parameter)
        reason = f"out of reach: target {wanted[n]:.3g} {unit}, code {end} gives {nearest:.3g} {unit}"
        missed.append(Failure(int(n), parameter, reason))
    return missed
