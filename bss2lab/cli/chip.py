"""``bss2lab chip``: look at an emulated chip, measure, calibrate and detune it, bring your own, place a network."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.chip import PROFILES, Calibration, Chip, Targets, library, load_profile, place, power
from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Failure, unit_of
from bss2lab.chip.decalibrate import WHICH
from bss2lab.chip.limits import check_seed
from bss2lab.chip.measure import PROTOCOLS
from bss2lab.chip.published import write_published_profile
from bss2lab.chip.spec import SPEC, TARGETS
from bss2lab.chip.transfer import PARAMETERS, Transfer
from bss2lab.cli.output import add_json, check_json, json_path, table_stream, write_json
from bss2lab.errors import InputError, complain
from bss2lab.results import versions
from bss2lab.storage import check_writable
from bss2lab.topology import Layer, Network
from bss2lab.train import set_threads

NOTE = "emulated, not measured on a real chip"
_MOST_DIGITS = 9


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser, and those of its verbs."""
    verbs = p.add_subparsers(title="verbs", required=True, metavar="VERB")

    info = _verb(verbs, "info", _info, "what this chip is: codes, calibration, constants with their sources")
    info.add_argument("--calibration", type=Path, metavar="FILE", help="with the codes of this calibration")

    measure = _verb(verbs, "measure", _measure, "measure all 256 neurons the way it is done on the real chip")
    measure.add_argument(
        "quantity", nargs="*", metavar="QUANTITY", help=f"what to measure (default all): {', '.join(PROTOCOLS)}"
    )
    measure.add_argument("--calibration", type=Path, metavar="FILE", help="at the codes of this calibration")
    _noise(measure)

    cal = _verb(verbs, "calibrate", _calibrate, "search the codes that bring every neuron to its targets")
    for name in PARAMETERS:
        known = TARGETS.get(name)
        default = f"default {known.value:g} {known.unit}" if known else "default: left as it is"
        cal.add_argument(
            _option(name), dest=f"target_{name}", type=float, metavar="X",
            help=f"target in {unit_of(name)} ({default})",
        )  # fmt: skip
    cal.add_argument("--out", type=Path, metavar="FILE", help="keep the calibration here (.safetensors)")
    cal.add_argument(
        "--shipped", action="store_true",
        help=f"remake the files that come with the package, chips {library.SHIPPED[0]} … {library.SHIPPED[-1]}",
    )  # fmt: skip
    _noise(cal)

    detune = _verb(verbs, "decalibrate", _decalibrate, "give every neuron a target of its own (figure 4)")
    detune.add_argument("--sigma-d", type=float, required=True, metavar="S", help="normalised SD of the targets, 0 … 1")
    detune.add_argument("--which", choices=(*WHICH, "both"), default="both", metavar="WHAT",
                        help=f"what to decalibrate: {', '.join(WHICH)}, both (default both)")  # fmt: skip
    detune.add_argument("--detuning-seed", type=int, default=0, metavar="N", help="seed of the targets (default 0)")
    detune.add_argument("--measured", action="store_true", help="search by measuring anew, not from the stored curves")

    own = verbs.add_parser("profile", help="make a profile from the published arrays of a real chip")
    own.add_argument("folder", type=Path, help="folder of the downloaded .npz files")
    own.add_argument("--out", type=Path, required=True, metavar="FILE", help="the profile to write (.json)")
    own.add_argument("--calibrated", action="store_true", help="the neurons as they were after the real calibration")
    own.set_defaults(run=_profile)

    where = verbs.add_parser("place", help="does a network fit, and where do its layers go?")
    where.add_argument("inputs", type=int, help="number of inputs")
    where.add_argument("layers", nargs="+", metavar="SIZE", help="neurons of each layer; 186r: recurrent")
    add_json(where)
    where.set_defaults(run=_place)


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    p = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="number of the chip (default 0)")
    p.add_argument(
        "--profile", default="calibrated", metavar="NAME",
        help=f"{', '.join(PROFILES)}, or a JSON file (default %(default)s)",
    )  # fmt: skip
    p.add_argument("--threads", type=int, default=0, metavar="N", help="threads (default 0: one per core)")
    add_json(p)
    p.set_defaults(run=lambda arguments: _checked(arguments, run))
    return p


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _noise(p: argparse.ArgumentParser) -> None:
    p.add_argument("--noise-seed", type=int, default=0, metavar="N", help="seed of the trial-to-trial noise")


def _checked(arguments: argparse.Namespace, run: Callable[[argparse.Namespace], int]) -> int:
    """Find out about bad threads and unwritable files before any work."""
    if arguments.threads < 0:
        text = complain("--threads", expected="0 or more", got=arguments.threads, fix="0: one per core")
        raise InputError(text)
    json, out = json_path(arguments), getattr(arguments, "out", None)
    check_json(arguments)
    if out is not None:
        check_writable(out)
    if json is not None and out is not None and json.resolve() == out.resolve():
        raise InputError(complain("--json", expected="another file than --out", got=json, fix="name two files"))
    set_threads(arguments.threads)
    return run(arguments)


def _chip(arguments: argparse.Namespace) -> Chip:
    path = getattr(arguments, "calibration", None)
    if path is None:
        return Chip(arguments.seed, arguments.profile)
    return _bare(arguments).apply(Calibration.load(path))


def _bare(arguments: argparse.Namespace) -> Chip:
    """The chip at equal codes, whatever its profile says: it gets others."""
    return Chip(arguments.seed, load_profile(arguments.profile).replace(calibrated=False))


def _finish(arguments: argparse.Namespace, lines: list[str], record: dict[str, Any]) -> int:
    """Print the table; write the record."""
    print("\n".join(lines), file=table_stream(arguments))
    write_json(arguments, {"note": NOTE, "versions": versions(), **record})
    return 0


def _describe(chip: Chip) -> dict[str, Any]:
    """Return what identifies a chip, with its codes."""
    return {
        "chip_seed": chip.seed,
        "profile": chip.profile.name,
        "circuits": chip.profile.circuits_digest(),
        "codes": {name: codes.tolist() for name, codes in chip.codes.items()},
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no NaN: null stands for a neuron without an estimate."""
    return [round(float(x), 6) if np.isfinite(x) else None for x in values]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mean_and_sd(values: np.ndarray) -> tuple[float, float]:
    """Of the neurons with an estimate; NaN where there is none."""
    seen = values[np.isfinite(values)]
    return (float(seen.mean()), float(seen.std())) if len(seen) else (np.nan, np.nan)


def _failures(failures: tuple[Failure, ...]) -> list[dict[str, Any]]:
    return [asdict(failure) for failure in failures]


def _spread_lines(calibration: Calibration) -> list[str]:
    lines = ["residual spread after calibration (as measured)"]
    for name, value in calibration.residual.items():
        lines.append(f"  {name:<18}{_amount(name, value)}")
    lines.append(f"  failures          {len(calibration.failures)}")
    return lines


def _residual(calibration: Calibration) -> dict[str, float | None]:
    return {name: _number(value) for name, value in calibration.residual.items()}


def _amount(name: str, value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f} mV" if name in ("leak", "reset", "threshold") else f"{100 * value:.2f} %"


def _info(arguments: argparse.Namespace) -> int:
    chip = _chip(arguments)
    lines = [f"{chip!r}", "", f"{'codes':<14}{'mean':>8}{'SD':>8}{'min':>6}{'max':>6}"]
    for name, codes in chip.codes.items():
        lines.append(f"{name:<14}{codes.mean():>8.1f}{codes.std():>8.1f}{codes.min():>6}{codes.max():>6}")
    if chip.calibration is not None:
        lines += ["", *_spread_lines(chip.calibration)]
    lines += ["", str(power.at_separation()), power.NOTE]
    constants = {
        name: {"value": c.value, "unit": c.unit, "source": c.source.value, "note": c.note} for name, c in SPEC.items()
    }
    record = {
        **_describe(chip),
        "chip_profile": chip.profile.model_dump(exclude={"measured"}),
        "provenance": {
            "profile": type(chip.profile).provenance(),
            "transfer": Transfer.provenance(),
            "constants": constants,
            "targets": {
                name: {"value": t.value, "unit": t.unit, "source": t.source.value} for name, t in TARGETS.items()
            },
        },
        "residual": None if chip.calibration is None else _residual(chip.calibration),
        "power": asdict(power.at_separation()),
    }
    return _finish(arguments, lines, record)


def _measure(arguments: argparse.Namespace) -> int:
    quantities = list(dict.fromkeys(arguments.quantity)) or list(PROTOCOLS)
    unknown = [name for name in quantities if name not in PROTOCOLS]
    if unknown:
        want = f"some of {', '.join(PROTOCOLS)}"
        raise InputError(complain("quantity", expected=want, got=unknown[0], fix="leave it out for all"))
    chip = _chip(arguments)
    lines = [f"{chip!r}", "", f"{'quantity':<14}{'unit':>6}{'median':>9}{'SD':>8}{'± each':>9}{'failed':>8}"]
    record = {}
    for name in quantities:
        m = chip.measure(name, seed=arguments.noise_seed)
        seen = np.isfinite(m.value)
        numbers = [np.median(m.value[seen]), m.value[seen].std(), np.median(m.uncertainty[seen])] if seen.any() else []
        shown = "".join(f"{x:>{w}.3f}" for x, w in zip(numbers, (9, 8, 9), strict=False)) or f"{'–':>26}"
        lines.append(f"{name:<14}{m.unit or '–':>6}{shown}{len(m.failures):>8}")
        record[name] = {
            "unit": m.unit,
            "value": _numbers(m.value),
            "uncertainty": _numbers(m.uncertainty),
            "reading": _numbers(m.reading),
            "failures": {str(neuron): why for neuron, why in m.failures.items()},
        }
    return _finish(arguments, lines, {**_describe(chip), "measurements": record})


def _calibrate(arguments: argparse.Namespace) -> int:
    named = {name: getattr(arguments, f"target_{name}") for name in PARAMETERS}
    given = {name: value for name, value in named.items() if value is not None}
    if arguments.shipped:
        return _remake_shipped(arguments, given)
    bare = _bare(arguments)
    try:
        targets = Targets(**given)
        found = calibrate(bare, targets, seed=arguments.noise_seed, progress=True)
    except InputError as error:
        raise InputError(re.sub(r"^(\w+) target", lambda m: _option(m[1]), str(error))) from None
    chip = bare.apply(found)
    lines = [f"{chip!r}", "", f"{'parameter':<14}{'target':>8}{'reached':>10}{'codes':>8}{'SD':>7}"]
    for name in targets.searched:
        codes, aim = getattr(found.codes, name), getattr(targets, name).mean()
        reached, _ = _mean_and_sd(found.achieved[name])
        shown = f"{reached:.4g}" if np.isfinite(reached) else "–"
        lines.append(f"{name:<14}{aim:>8.4g}{shown:>10}{codes.mean():>8.1f}{codes.std():>7.1f}")
    lines += ["", *_spread_lines(found), *_named(found.failures)]
    if arguments.out is not None:
        found.save(arguments.out)
        lines.append(f"kept in {arguments.out}: chip.apply(Calibration.load(…)), or --calibration")
    record = {
        **_describe(chip),
        "targets": {name: _numbers(values) for name, values in targets.items()},
        "achieved": {name: _numbers(values) for name, values in found.achieved.items()},
        "residual": _residual(found),
        "failures": _failures(found.failures),
    }
    return _finish(arguments, lines, record)


def _named(failures: tuple[Failure, ...], most: int = 8) -> list[str]:
    lines = [f"  neuron {f.neuron}, {f.parameter}: {f.reason}" for f in failures[:most]]
    return [*lines, f"  … and {len(failures) - most} more (--json has all)"] if len(failures) > most else lines


def _remake_shipped(arguments: argparse.Namespace, given: dict[str, float]) -> int:
    """Calibrate the chips of the default profile to the default targets: nothing else may be asked for."""
    usual = {"seed": 0, "noise_seed": 0, "profile": "calibrated", "json": None, "out": None}
    asked = [name for name, value in usual.items() if getattr(arguments, name) != value] + list(given)
    if asked:
        fix = "leave the one or the others out"
        raise InputError(
            complain("--shipped", expected="no other options", got=", ".join(map(_option, asked)), fix=fix)
        )
    for seed in library.SHIPPED:
        check_writable(library.shipped_path(seed))
    for seed in library.SHIPPED:
        found = calibrate(Chip(seed, "uncalibrated"), progress=True)
        found.save(library.shipped_path(seed))
        print(f"chip {seed}: {len(found.failures)} failures, {library.shipped_path(seed).name}")
    return 0


def _decalibrate(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.sigma_d <= 1:
        fix = "the paper goes up to 0.5"
        raise InputError(complain("--sigma-d", expected="a number 0 … 1", got=arguments.sigma_d, fix=fix))
    check_seed("--detuning-seed", arguments.detuning_seed, bits=32)
    chip = Chip(arguments.seed, arguments.profile).decalibrate(
        arguments.sigma_d, arguments.which, seed=arguments.detuning_seed, measured=arguments.measured
    )
    detuning = chip.detuning
    assert detuning is not None
    lines = [f"{chip!r}", "", f"{'measured':<14}{'mean':>9}{'SD':>8}{'SD, relative':>14}"]
    found = {name: chip.measure(name) for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh", "threshold", "leak")}
    distance = found["threshold"].value - found["leak"].value
    columns = {name: found[name].value for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh")}
    for name, values in {**columns, "threshold−leak": distance}.items():
        mean, sd = _mean_and_sd(values)
        lines.append(f"{name:<14}{mean:>9.2f}{sd:>8.2f}{100 * sd / mean:>13.1f}%")
    active = ", ".join(str(n) for n in detuning.self_active) or "none"
    lines += [
        f"fire without input (leak over threshold): {active}",
        f"targets out of reach: {len(detuning.out_of_reach)}",
        *_named(detuning.out_of_reach),
    ]
    record = {
        **_describe(chip),
        "sigma_d": detuning.sigma_d,
        "which": list(detuning.which),
        "detuning_seed": detuning.seed,
        "targets": {name: _numbers(values) for name, values in detuning.targets.items()},
        "measured": {name: _numbers(m.value) for name, m in found.items()},
        "out_of_reach": _failures(detuning.out_of_reach),
        "self_active": list(detuning.self_active),
    }
    return _finish(arguments, lines, record)


def _profile(arguments: argparse.Namespace) -> int:
    check_writable(arguments.out)
    profile = write_published_profile(arguments.folder, arguments.out, calibrated=arguments.calibrated)
    assert profile.measured is not None
    n = len(next(iter(profile.measured.columns().values())))
    print(f"{arguments.out}: {n} measured neurons; use it with --profile {arguments.out}")
    return 0


def _place(arguments: argparse.Namespace) -> int:
    check_json(arguments)
    layers = []
    for text in arguments.layers:
        size = re.fullmatch(r"(\d+)(r?)", text)
        if size is None or len(size[1]) > _MOST_DIGITS:
            want = "a number of neurons, with r behind it if recurrent"
            raise InputError(complain("SIZE", expected=want, got=repr(text)[:60], fix="as in 186r 20"))
        layers.append(Layer(int(size[1]), recurrent=bool(size[2])))
    placement = place(Network(arguments.inputs, tuple(layers)))
    lines = [f"{'layer':<12}{'neurons':>14}{'synapse rows':>16}{'sources':>9}"]
    record = []
    for placed in placement.layers:
        neurons, rows = (f"{a.min()} … {a.max()}" for a in (placed.neurons, placed.rows))
        lines.append(f"{placed.name:<12}{neurons:>14}{rows:>16}{len(placed.rows):>9}")
        record.append({"name": placed.name, "neurons": placed.neurons.tolist(), "rows": placed.rows.tolist()})
    lines.append(f"{len(placement.routes)} routes from sources to synapse drivers")
    return _finish(arguments, lines, {"layers": record, "routes": [str(route) for route in placement.routes]})
