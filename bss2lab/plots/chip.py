"""Draw what a chip is (its mismatch) and what it does (membranes and their digitised samples)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.spec import SPEC, TARGETS
from bss2lab.plots import style
from bss2lab.quantize import CADC_MV_PER_LSB

if TYPE_CHECKING:
    from jaxtyping import Float32, Real
    from numpy import ndarray


def draw_mismatch(chips: dict[str, Chip]) -> style.PaperFigure:
    """Histograms of the hidden truth over the 256 neurons: no experimenter sees these without measuring.

    Args:
        chips: label -> chip; drawn on top of one another.

    Returns:
        A new figure with four panels.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(9.0, 2.5))
        panels = figure.subplots(1, 4)
        for axes, (name, values) in zip(panels, _truths(list(chips.values())), strict=True):
            bins = np.linspace(min(v.min() for v in values), max(v.max() for v in values), 36)
            for k, (label, v) in enumerate(zip(chips, values, strict=True)):
                percent = 100 * v.std() / v.mean()
                spread = f"{label}: {percent:.0f} %" if percent >= 0.95 else f"{label}: {percent:.1f} %"
                axes.hist(v, bins, histtype="stepfilled", color=style.PALETTE[k], alpha=0.45, label=spread)
            axes.set(xlabel=name, yticks=[])
            axes.spines["left"].set_visible(False)
        for axes in panels:
            axes.margins(y=0.42)
            axes.legend(loc="upper right", handlelength=0.8, fontsize=7)
        panels[0].set_ylabel("neurons")
        style.badge(figure, emulated=True)
    return figure


def _truths(chips: list[Chip]) -> list[tuple[str, list[ndarray]]]:
    """One (axis label, values of each chip) per panel."""
    truths = [chip.mismatch for chip in chips]
    nominal = [chip.profile.synapse_mv_per_us for chip in chips]
    return [
        ("membrane time constant (µs)", [m.tau_mem_us for m in truths]),
        ("exc. synaptic time constant (µs)", [m.tau_syn_exc_us for m in truths]),
        ("threshold − leak (mV)", [m.threshold_mv - m.leak_mv for m in truths]),
        (
            "synaptic gain (% of nominal)",
            [100 * m.gain_exc.mean(axis=0) / n for m, n in zip(truths, nominal, strict=True)],
        ),
    ]


def draw_membranes(
    time_us: Float32[ndarray, "steps"],
    membranes_mv: Float32[ndarray, "steps n"],
    sample_time_us: Float32[ndarray, "t"],
    samples_lsb: Real[ndarray, "t n"],
    *,
    threshold_mv: float | None = None,
) -> style.PaperFigure:
    """Continuous membranes, and the samples that the column ADC takes of them.

    Args:
        time_us, membranes_mv: the true membranes at every fine step.
        sample_time_us, samples_lsb: CADC samples of the same neurons.
        threshold_mv: nominal threshold, drawn as a line.

    Returns:
        A new figure: all neurons on the left, the first with its samples on the right.
    """
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 2.9))
        many, one = figure.subplots(1, 2)
        many.plot(time_us, membranes_mv, color=style.HIDDEN, linewidth=0.6, alpha=0.35)
        many.plot(time_us, membranes_mv.mean(axis=1), color="black", linewidth=1.6, label="mean")
        many.set(xlabel="time (µs)", ylabel="membrane (mV)", title=f"{membranes_mv.shape[1]} neurons, one spike each")
        many.legend(loc="upper right")
        one.plot(time_us, membranes_mv[:, 0], color=style.HIDDEN, linewidth=1.2, label="true membrane")
        digitised = samples_lsb[:, 0].astype(np.float64) * CADC_MV_PER_LSB
        one.plot(sample_time_us, digitised, "o", color=style.TEST, markersize=4, label="CADC sample, 8 bit")
        one.set(xlabel="time (µs)", ylabel="membrane (mV)", title="one neuron, as it is and as it is read")
        if threshold_mv is not None:
            for axes in (many, one):
                axes.axhline(threshold_mv, color=style.REFERENCE, linestyle="--", linewidth=0.8)
        one.legend(loc="upper right")
        style.badge(figure, emulated=True)
    return figure


def _shown(value: float | bool) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}"


def constants_table(chip: Chip) -> str:
    """Every constant of a chip with unit and origin, as a Markdown table: profile, transfer, design, targets."""
    lines = ["| constant | value | unit | source | |", "|---|---|---|---|---|"]
    for config in (chip.profile, chip.profile.transfer):
        for name, row in config.provenance().items():
            why = f"{row['help']}; {row['why']}" if row["why"] else row["help"]
            lines.append(f"| `{name}` | {_shown(getattr(config, name))} | {row['unit']} | {row['source']} | {why} |")
    targets = {f"target: {name}": target for name, target in TARGETS.items()}
    for name, c in (SPEC | targets).items():
        lines.append(f"| {name.replace('_', ' ')} | {c.value:g} | {c.unit} | {c.source.value} | {c.note} |")
    return "\n".join(lines)
