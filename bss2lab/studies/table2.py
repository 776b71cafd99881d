"""Table 2 of the paper: accuracy, energy, throughput and latency, beside other neuromorphic platforms."""

from __future__ import annotations

from dataclasses import dataclass

from bss2lab.chip import power
from bss2lab.chip.spec import SPEC
from bss2lab.config import Config
from bss2lab.presets import SWIFT
from bss2lab.runner import Runner
from bss2lab.studies import fig3_continuous, fig3_latency
from bss2lab.studies.fig3_continuous import Continuous, ContinuousConfig
from bss2lab.studies.fig3_latency import Latency, LatencyConfig
from bss2lab.studies.fig3_training import TrainingConfig
from bss2lab.studies.results import Mean


@dataclass(frozen=True, slots=True)
class Platform:
    """A published result on MNIST.

    Attributes:
        name: hardware and publication.
        network: its layers.
        accuracy: test accuracy, percent.
        energy_uj: energy per image, µJ.
        images_per_s: throughput, or None where it is not given.
        latency_us: time to the decision, µs, or None where it is not given.
        source: where the numbers are taken from.
    """

    name: str
    network: str
    accuracy: float
    energy_uj: float
    images_per_s: float | None
    latency_us: float | None
    source: str


PAPER = Platform("BrainScaleS-2, Cramer et al. 2022", "256-246-10", 97.6, 2.4, 85_000, 8.0, "paper, table 2")

_REVIEW = "as compiled by Renner et al. 2024, Nature Communications 15, doi 10.1038/s41467-024-53827-9, table 1"

PLATFORMS = (
    PAPER,
    Platform("BrainScaleS-2, Göltz et al. 2021", "256-246-10", 96.9, 8.4, None, 48.0, _REVIEW),
    Platform("SPOON, Frenkel et al. 2020", "CNN-10", 97.5, 0.313, None, 120.0, _REVIEW),
    Platform("unnamed digital chip, Chen et al. 2018", "784-1024-512-10", 97.9, 1.7, None, None, _REVIEW),
    Platform("Loihi, Renner et al. 2024", "400-400-10", 96.3, 2.5, None, 170.0, _REVIEW),
    Platform("TrueNorth, Esser et al. 2015", "CNN, 512 neurons", 92.7, 0.27, None, 1000.0, _REVIEW),
    Platform("TrueNorth, Esser et al. 2015", "CNN, 3840 neurons", 99.4, 108.0, None, 1000.0, _REVIEW),
    Platform("SpiNNaker, Stromatias et al. 2015", "784-500-500-10", 95.0, 3300.0, None, 11_000.0, _REVIEW),
)
"""What others reached on MNIST. Image sizes, networks and what the energy includes differ from row to row."""

EARLY = TrainingConfig(train=SWIFT)


class Table2Config(Config):
    """Table 2: the networks of figure 3D, trained with dropout and rotation to decide early.

    Attributes:
        continuous: continuous operation; its fastest separation with reset is the operating point.
        latency: time to decision.
    """

    continuous: ContinuousConfig = ContinuousConfig(training=EARLY)
    latency: LatencyConfig = LatencyConfig(training=EARLY)


QUICK = Table2Config(
    continuous=fig3_continuous.QUICK.replace(separation_us=(SPEC["separation"].value, 200.0)),
    latency=fig3_latency.QUICK,
)


@dataclass(frozen=True, slots=True)
class Table2:
    """Table 2.

    Attributes:
        config: what was asked for.
        continuous, latency: the two studies behind it.
    """

    config: Table2Config
    continuous: Continuous
    latency: Latency

    @property
    def accuracy(self) -> Mean:
        """Test accuracy at the operating point, percent."""
        return self.continuous.at(self.config.continuous.separation_us[0], reset=True)

    @property
    def row(self) -> Platform:
        """The emulated chip as a row of the table."""
        run = self.continuous.throughput()
        return Platform(
            "emulated BrainScaleS-2 (energy: the published power × emulated time)", "256-246-10", self.accuracy.mean,
            run.energy_per_image_uj, power.at_separation(self.config.continuous.separation_us[0]).images_per_s,
            self.latency.ready_us(), "emulated",
        )  # fmt: skip


def table2(config: Table2Config, run: Runner) -> Table2:
    """Compute the emulated chip's row.

    Args:
        config: what to run.
        run: does the jobs.
    """
    moving = fig3_continuous.continuous(config.continuous, run)
    return Table2(config, moving, fig3_latency.latency(config.latency, run))


def table(result: Table2) -> str:
    """Return the table as Markdown, the emulated chip first."""
    lines = ["| platform | network | test % | energy per image (µJ) | images/s | latency (µs) | source |"]
    lines.append("|---|---|---|---|---|---|---|")
    for p in (result.row, *PLATFORMS):
        rate = f"{p.images_per_s:,.0f}" if p.images_per_s is not None else "–"
        wait = f"{p.latency_us:,.1f}" if p.latency_us is not None else "–"
        accuracy = str(result.accuracy) if p.source == "emulated" else f"{p.accuracy:.1f}"
        lines.append(f"| {p.name} | {p.network} | {accuracy} | {p.energy_uj:,.2f} | {rate} | {wait} | {p.source} |")
    return "\n".join(lines)
