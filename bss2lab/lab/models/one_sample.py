"""What the views of single samples share: a trained network, an emulated chip, and all that one sample does there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip import Chip, load_profile
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.control import Control
from bss2lab.learners import Samples
from bss2lab.network import chip_weights
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.studies.fig2 import parallel_recording
from bss2lab.studies.networks import Trained
from bss2lab.studies.observation import Observation, Verdict, observe, verdict
from bss2lab.train import chip_of

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64
    from numpy import ndarray

CHIP = ("chip_seed", "sigma_d", "detuned")
"""Settings that make another chip."""


def chip_controls(config: AnyConfig) -> list[Control]:
    """Return the controls of the chip under a network, and of its noise; they begin where it was trained."""

    def of(name: str, label: str, **options: Any) -> Control:
        return Control.of(
            type(config), name, value=getattr(config, name), label=label, group="emulated chip", **options
        )

    detuned = (("time constants", "tau"), ("thresholds", "threshold"), ("both", "both"))
    return [
        of("chip_seed", "chip number", look="whole", low=0, high=9, step=1),
        of("sigma_d", "decalibration σ_d", low=0, high=0.5),
        of("detuned", "of its", look="choice", choices=detuned),
        Control(
            "noise_seed", "trial number", 0, "whole", 0, 99, 1, 0, 2**31, "",
            "seed of the trial-to-trial noise: the same sample on the same chip, another time", group="emulated chip",
        ),
    ]  # fmt: skip


def end_us(config: AnyConfig) -> float:
    """Return the end of the time axis: whole microseconds that hold the last sample of the read-out."""
    return float(np.ceil(config.duration_us + load_profile(config.profile).readout_lag_us))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One sample on the chip.

    Attributes:
        config: the run that the network comes from.
        samples: the encoded sample.
        label: its true class; None: not known.
        classes: names of the classes.
        seen: spikes and read-out.
        verdict: how the decision was made.
    """

    config: AnyConfig
    samples: Samples
    label: int | None
    classes: tuple[str, ...]
    seen: Observation
    verdict: Verdict

    @property
    def n_input(self) -> int:
        """Number of inputs."""
        return self.seen.input_spikes.n_units

    @property
    def n_hidden(self) -> int:
        """Number of hidden neurons."""
        return self.seen.hidden_spikes.n_units

    @property
    def said(self) -> str:
        """Name of the class decided."""
        return self.classes[self.verdict.decision]

    @property
    def right(self) -> bool | None:
        """Is the decision right? None: not known."""
        return None if self.label is None else self.label == self.verdict.decision

    def sentence(self) -> str:
        """Say what was decided, how surely, and when."""
        share = 100 * float(self.verdict.shares[self.verdict.decision])
        after = f"decided after {self.verdict.decided_us:.1f} µs of chip time"
        if self.label is None:
            return f"“{self.said}” ({share:.0f} %), {after}"
        end = "right" if self.right else f"wrong: it is “{self.classes[self.label]}”"
        return f"“{self.said}” ({share:.0f} %), {after}; {end}"


@dataclass(frozen=True, slots=True, eq=False)
class Membranes:
    """Membranes of the hidden neurons during one trial: what they are, and what the column ADC sees of them.

    Attributes:
        time_us: fine time steps, µs, [step].
        membranes_mv: true membranes, mV, [step, hidden].
        sample_us: when the column ADC samples, µs, [sample].
        samples_mv: its samples, mV, [sample, hidden].
        threshold_mv, leak_mv: potentials of each neuron, mV, [hidden].
    """

    time_us: Float32[ndarray, "f"]
    membranes_mv: Float32[ndarray, "f n"]
    sample_us: Float32[ndarray, "t"]
    samples_mv: Float64[ndarray, "t n"]
    threshold_mv: Float64[ndarray, "n"]
    leak_mv: Float64[ndarray, "n"]


def membranes_of(trial: Trial, weights: Any, chip: Chip, *, noise_seed: int) -> Membranes:
    """Repeat a trial, noise and all, and record the hidden membranes.

    Args:
        trial: what was run.
        weights: model weights.
        chip: where it was run.
        noise_seed: the trial's.
    """
    held, _ = chip_weights(weights, chip)
    time_us, membranes = chip.membranes(held, trial.samples.spikes, seed=noise_seed)
    record = parallel_recording(trial.config, weights, trial.samples, 0, chip=chip, noise_seed=noise_seed)
    n = trial.n_hidden
    return Membranes(
        time_us=time_us, membranes_mv=np.ascontiguousarray(membranes[0, :, :n]),
        sample_us=record.time_us, samples_mv=record.cadc_lsb[:, :n] * CADC_MV_PER_LSB,
        threshold_mv=chip.mismatch.threshold_mv[:n], leak_mv=chip.mismatch.leak_mv[:n],
    )  # fmt: skip


class OneSample(ViewModel):
    """A trained network on an emulated chip that is shown one sample at a time.

    Args:
        network: the network.
        controls: what can be set besides chip and noise.
        key: name of its tasks in the engine.
        engine: where it computes.
    """

    def __init__(
        self, network: Trained[Any, Any], controls: Sequence[Control], *, key: str, engine: Engine = ENGINE
    ) -> None:
        self.network = network
        super().__init__([*controls, *chip_controls(network.config)], key=key, engine=engine)
        self.trial: Trial | None = None
        self._chip: tuple[tuple[Any, ...], Chip] | None = None
        self._task: Task | None = None

    @property
    def config(self) -> AnyConfig:
        """The network's run, on the chip that is set."""
        return self.network.config.replace(**{name: self.values[name] for name in CHIP})

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the answer to the latest change is there; False if the time ran out first."""
        return self._task is None or self._task.wait(timeout_s)

    def pause(self) -> None:
        """See ``ViewModel``: answers are short, and are let end."""

    # --- in the engine's thread -------------------------------------------------------------------------------

    @abstractmethod
    def steps(self) -> Iterator[None]:
        """Answer to the present settings and input."""

    def answer(self, steps: Iterator[None] | None = None) -> Task:
        """Compute in the engine; an error becomes the message, and all else stays as it was.

        Args:
            steps: what to do; the answer to the present settings and input if not given.
        """
        self._task = self.begin("answer", self._guarded(steps or self.steps()), urgent=True)
        return self._task

    def _guarded(self, steps: Iterator[None]) -> Iterator[None]:
        try:
            yield from steps
        except Exception as error:
            self.say(plainly(error), "error")

    def chip(self) -> Chip:
        """Return the chip that is set; the last one is kept."""
        wanted = tuple(self.values[name] for name in CHIP)
        if self._chip is None or self._chip[0] != wanted:
            self._chip = wanted, chip_of(self.config)
        return self._chip[1]

    def tried(self, samples: Samples, label: int | None, classes: tuple[str, ...]) -> Trial:
        """Run one sample on the chip.

        Args:
            samples: the encoded sample.
            label: its true class; None: not known.
            classes: names of the classes.
        """
        config, weights = self.network.config, self.network.weights
        seen = observe(config, weights, samples, chip=self.chip(), noise_seed=self.values["noise_seed"])
        return Trial(config, samples, label, classes, seen, verdict(config, seen, 0, n_classes=len(classes)))

    def show(self, trial: Trial) -> None:
        """Put an answer on show."""
        with self.lock:
            self.trial = trial
        self.say(trial.sentence(), "info" if trial.right is False else "good")

    @property
    def badge(self) -> str:
        """Where the data on show come from."""
        synthetic = isinstance(self.network.config, SpeechConfig) and self.network.config.task == "speech"
        return "emulated chip · synthetic speech" if synthetic else "emulated chip"
