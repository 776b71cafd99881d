"""Figure 4: how unequal neurons can be made. Panel A, and the emulated chip beside a real one.

Everything here is measured on the emulated chip with the protocols of ``chip.measure``; nothing is taken from its
hidden truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import field_validator

from bss2lab.chip import Chip, ChipProfile, measure
from bss2lab.chip.calibration import Failure
from bss2lab.chip.instruments import self_active
from bss2lab.chip.published import Spread
from bss2lab.config import Config, Source, quantity
from bss2lab.errors import DataError, complain
from bss2lab.results import versions
from bss2lab.types import Which

if TYPE_CHECKING:
    from jaxtyping import Float64
    from numpy import ndarray

UNITS = {
    "tau_mem_us": "µs",
    "tau_syn_exc_us": "µs",
    "tau_syn_inh_us": "µs",
    "leak_mv": "mV",
    "reset_mv": "mV",
    "threshold_mv": "mV",
    "distance_mv": "mV",
}
"""What is measured of a population. ``distance_mv`` is threshold − leak."""


class DetuningConfig(Config):
    """Figure 4A: which chip, and how it is detuned.

    Attributes:
        sigma_d: normalised standard deviations of the targets, in the order of the figure [paper].
        which: what is detuned.
    """

    chip_seed: int = quantity(0, "the chip's number", source=Source.ASSUMED, why="any chip", ge=0, lt=2**32)
    seed: int = quantity(0, "seed of the individual targets", source=Source.ASSUMED, why="any", ge=0, lt=2**32)
    noise_seed: int = quantity(1, "seed of the noise while measuring", source=Source.ASSUMED, why="any", ge=0, lt=2**31)
    sigma_d: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    which: Which = "both"

    @field_validator("sigma_d")
    @classmethod
    def _spreads(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or len(set(given)) < len(given) or not all(0 <= s <= 1 for s in given):
            raise ValueError("one or more different numbers 0 … 1")
        return given


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The neurons of one chip at one setting, as measured.

    Attributes:
        label: what the figure calls it.
        sigma_d: how it was detuned; None: not at all.
        values: parameter -> estimates, NaN where the protocol failed, [neuron].
        failures: parameter -> neuron -> why it could not be measured.
        out_of_reach: targets that no code reaches.
        self_active: neurons that fire without input, seen by watching the chip in silence.
    """

    label: str
    sigma_d: float | None
    values: Mapping[str, Float64[ndarray, "n"]]
    failures: Mapping[str, Mapping[int, str]]
    out_of_reach: tuple[Failure, ...] = ()
    self_active: tuple[int, ...] = ()

    def spread(self, parameter: str) -> Spread:
        """Summarise the neurons that could be measured."""
        return Spread.of(self.values[parameter], UNITS[parameter])

    def count(self) -> dict[str, int]:
        """Return the numbers of neurons not measured (in any parameter), of targets out of reach, and of firing."""
        lost = {neuron for failures in self.failures.values() for neuron in failures}
        return {
            "not measured": len(lost),
            "out of reach": len(self.out_of_reach),
            "fire without input": len(self.self_active),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Detunings:
    """Figure 4A.

    Attributes:
        config: what was asked for.
        detuned: one population per σ_d.
        uncalibrated: the same chip at equal codes.
        emulated: do the numbers come from the emulated chip?
    """

    config: DetuningConfig
    detuned: tuple[Population, ...]
    uncalibrated: Population
    emulated: bool = True

    @property
    def populations(self) -> tuple[Population, ...]:
        """All of them, the uncalibrated one last."""
        return (*self.detuned, self.uncalibrated)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Chips to hold against a real one.

    Attributes:
        uncalibrated, calibrated: the emulated chip at equal codes, and as our calibration routine leaves it.
        published: an emulated chip whose residual spread is the published one.
        resampled: a chip made of the real chip's neurons, if their arrays are there.
    """

    uncalibrated: Population
    calibrated: Population
    published: Population
    resampled: Population | None = None


def characterise(
    chip: Chip, *, label: str, noise_seed: int = 1, sigma_d: float | None = None, reset: bool = False
) -> Population:
    """Measure a chip's neurons with the protocols of ``chip.measure``.

    Args:
        chip: at its present codes.
        label: what the figure calls it.
        noise_seed: seed of the trial-to-trial noise.
        sigma_d: how it was detuned.
        reset: measure the reset potential too.
    """
    cadc = measure.measure_cadc(chip, noise_seed)
    tau_mem = measure.measure_tau_mem(chip, noise_seed)
    found = {
        "tau_mem_us": tau_mem,
        "tau_syn_exc_us": measure.measure_synapse(chip, noise_seed, kind="exc", tau_mem=tau_mem, cadc=cadc)[0],
        "tau_syn_inh_us": measure.measure_synapse(chip, noise_seed, kind="inh", tau_mem=tau_mem, cadc=cadc)[0],
        "leak_mv": measure.measure_potential(chip, noise_seed, parameter="leak"),
        "threshold_mv": measure.measure_threshold(chip, noise_seed),
    }
    if reset:
        found["reset_mv"] = measure.measure_potential(chip, noise_seed, parameter="reset")
    values = {name: found[name].value for name in UNITS if name in found}
    values["distance_mv"] = values["threshold_mv"] - values["leak_mv"]
    detuning = chip.detuning
    firing = detuning.self_active if detuning is not None else tuple(int(n) for n in self_active(chip, seed=noise_seed))
    return Population(
        label=label,
        sigma_d=sigma_d,
        values=values,
        failures={name: dict(result.failures) for name, result in found.items() if result.failures},
        out_of_reach=detuning.out_of_reach if detuning is not None else (),
        self_active=firing,
    )


def detuning(config: DetuningConfig | None = None, *, executor: Executor | None = None) -> Detunings:
    """Measure figure 4A: a chip at every σ_d, and uncalibrated.

    Args:
        config: which chip and how detuned; the figure's own if not given.
        executor: measures the populations; here and one after the other if not given.

    Raises:
        InputError: a configuration that cannot be.
    """
    config = config or DetuningConfig()
    run = executor.map if executor is not None else map
    found = list(run(_population, [config] * (len(config.sigma_d) + 1), (*config.sigma_d, None)))
    return Detunings(config, tuple(found[:-1]), found[-1])


def _population(config: DetuningConfig, sigma_d: float | None) -> Population:
    if sigma_d is None:
        chip, label = Chip(config.chip_seed, "uncalibrated"), "uncalibrated"
    else:
        chip = Chip(config.chip_seed).decalibrate(sigma_d, config.which, seed=config.seed)
        label = f"{100 * sigma_d:g} %"
    return characterise(chip, label=label, noise_seed=config.noise_seed, sigma_d=sigma_d)


def compare(
    chip_seed: int = 0,
    *,
    noise_seed: int = 1,
    real: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Measure what is to be held against a real chip.

    Args:
        chip_seed: the chip's number.
        noise_seed: seed of the noise while measuring.
        real: arrays of the uncalibrated real chip (``read_published_spread``); a chip is resampled from them.
        executor: measures the populations; here and one after the other if not given.
    """
    profiles: list[str | ChipProfile] = ["uncalibrated", "calibrated", "published"]
    if real is not None:
        profiles.append(ChipProfile.from_measurements(real, name="resampled"))
    run = executor.map if executor is not None else map
    n = len(profiles)
    return Comparison(*run(_complete, [chip_seed] * n, profiles, [noise_seed] * n))


def _complete(chip_seed: int, profile: str | ChipProfile, noise_seed: int) -> Population:
    chip = Chip(chip_seed, profile)
    return characterise(chip, label=chip.profile.name, noise_seed=noise_seed, reset=True)


def table(result: Detunings) -> str:
    """Return the result as a Markdown table."""
    lines = [
        "| σ_d | n | τ_m (µs) | τ_s exc. (µs) | τ_s inh. (µs) | θ − V_leak (mV) | not measured | targets out of reach "
        "| fire without input |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for p in result.populations:
        names = ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "distance_mv")
        spreads = [p.spread(name) for name in names]
        cells = [f"{s.mean:.{2 - (s.unit == 'mV')}f} ± {s.sd:.{2 - (s.unit == 'mV')}f}" for s in spreads]
        counts = p.count()
        n = len(p.values["tau_mem_us"])
        lines.append(f"| {p.label} | {n} | {' | '.join(cells)} | {' | '.join(str(c) for c in counts.values())} |")
    return "\n".join(lines)


# --- to and from files ------------------------------------------------------------------------------------------


def to_record(result: Detunings) -> dict[str, Any]:
    """Return the result with configuration and versions, ready for JSON (NaN as null)."""

    def population(p: Population) -> dict[str, Any]:
        return {
            "label": p.label,
            "sigma_d": p.sigma_d,
            "values": {
                name: [round(float(x), 4) if np.isfinite(x) else None for x in values]
                for name, values in p.values.items()
            },
            "failures": {name: {str(n): why for n, why in bad.items()} for name, bad in p.failures.items()},
            "out_of_reach": [asdict(failure) for failure in p.out_of_reach],
            "self_active": list(p.self_active),
        }

    return {
        "study": "figure 4A",
        "versions": versions(),
        "note": "measured on the emulated chip",
        "config": result.config.model_dump(),
        "detuned": [population(p) for p in result.detuned],
        "uncalibrated": population(result.uncalibrated),
    }


def load(path: Path) -> Detunings:
    """Read a result back from the JSON of :func:`to_record`.

    Raises:
        DataError: if the file is missing or not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["study"] != "figure 4A":
            raise ValueError(f"study {record['study']!r}")
        config = DetuningConfig(**record["config"])
        detuned = tuple(_read(p) for p in record["detuned"])
        if tuple(p.sigma_d for p in detuned) != config.sigma_d:
            raise ValueError("populations that are not the configuration's")
        return Detunings(config, detuned, _read(record["uncalibrated"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fix = "compute it again with studies.fig4.detuning()"
        got = str(error) or type(error).__name__
        raise DataError(complain(str(path), expected="a result of figure 4A", got=got, fix=fix)) from None


def _read(record: dict[str, Any]) -> Population:
    values = {str(k): np.array([np.nan if x is None else float(x) for x in v]) for k, v in record["values"].items()}
    missing = {"tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "distance_mv"} - set(values)
    if missing or not set(values) <= set(UNITS) or len({len(v) for v in values.values()}) != 1:
        raise ValueError(f"parameters {', '.join(values)} of {[len(v) for v in values.values()]} neurons")
    return Population(
        label=str(record["label"]),
        sigma_d=None if record["sigma_d"] is None else float(record["sigma_d"]),
        values=values,
        failures={str(k): {int(n): str(why) for n, why in v.items()} for k, v in record["failures"].items()},
        out_of_reach=tuple(
            Failure(int(f["neuron"]), str(f["parameter"]), str(f["reason"])) for f in record["out_of_reach"]
        ),
        self_active=tuple(int(n) for n in record["self_active"]),
    )
