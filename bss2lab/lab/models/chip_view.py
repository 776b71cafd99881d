"""The chip's floor plan: a network's weights where they lie, its spikes, and any neuron under the loupe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip.image import NO_LABEL
from bss2lab.chip.measurement import Measurement
from bss2lab.chip.placement import PER_ARRAY, place
from bss2lab.chip.spec import NEURONS
from bss2lab.errors import Bss2Error, InputError, complain
from bss2lab.inputs import Data, encode
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import chip_view_frame
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.control import Control
from bss2lab.lab.models.given import Given, held_out, network_of, spread
from bss2lab.lab.models.inspector import QUANTITIES
from bss2lab.learners import Samples
from bss2lab.learners.readout import Tally, count_errors
from bss2lab.network import chip_weights
from bss2lab.studies.networks import Trained
from bss2lab.topology import Layer, Network
from bss2lab.train import chip_of, set_threads
from bss2lab.types import AnyWeights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int16, UInt8
    from numpy import ndarray

NOISE_SEED = 0
"""Seed of the trial-to-trial noise, that of the first draw in the study of silenced neurons."""

MORE = 10
"""Neurons that “silence ten more” silences."""

_SHOW, _TEST = "what is shown", "test"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the chip did with one sample.

    Attributes:
        sample: its number.
        label, decision: its class, and the one decided for.
        pixels: of an image, grey values [16, 16]; of a word, None.
        spike_us, spike_neuron: spikes of the hidden neurons.
        time_us, membrane_mv: true membranes at every fine step, [steps] and [steps, 256].
    """

    sample: int
    label: int
    decision: int
    pixels: UInt8[ndarray, "16 16"] | None
    spike_us: Float32[ndarray, "events"]
    spike_neuron: Int16[ndarray, "events"]
    time_us: Float32[ndarray, "steps"]
    membrane_mv: Float32[ndarray, "steps n"]


class ChipView(ViewModel):
    """State of the chip view.

    Neurons are the chip's 256 logical ones: hidden neurons 0 … n_hidden − 1, output neurons the last.

    Args:
        network: a trained network or a file of one; the package's if not given.
        data: where test samples come from; the network's data set if not given.
        quantities: what “measure the chip” measures, names of ``inspector.QUANTITIES``.
        key: name in the engine.
        engine: where it computes.

    Raises:
        DataError: if the network's file is missing or none.
        InputError: if the network does not fit on the chip.
    """

    title = "Chip view"
    actions = {  # noqa: RUF012 (a constant)
        "toggle": "silence or wake this neuron", "ten": "silence ten more", "wake": "wake all",
        "measure": "measure the chip", "clear": "clear curve",
    }  # fmt: skip

    def __init__(
        self, network: Given = None, data: Data | None = None, *, quantities: Sequence[str] = tuple(QUANTITIES),
        key: str = "chip_view", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        super().__init__(_controls(), key=key, engine=engine)
        self.quantities = tuple(quantities)
        self._given = data
        self._measuring: Task | None = None
        self.show(network)

    def show(self, network: Given) -> None:
        """Write another network to its chip; all neurons are awake again.

        Args:
            network: as for the constructor.
        """
        found = network_of(network)
        chip = chip_of(found.config)
        held, _ = chip_weights(found.weights, chip)
        weights, plan = _placed(held)
        with self.lock:
            self.network: Trained[Any, Any] = found
            self.chip, self._held = chip, held
            self.weights, self.floor_plan = weights, plan
            self.n_hidden = held.hidden.shape[1]
            self.silenced: Bool[ndarray, "hidden"] = np.zeros(self.n_hidden, bool)
            self.answer: Answer | None = None
            self.tally: Tally | None = None
            self.points: list[tuple[int, float]] = []
            self.measured: dict[str, Measurement] = {}
            self._samples: dict[int, Samples] = {}
        self._answer_soon()
        self._count_soon()

    # --- buttons ----------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Silence the chosen neuron: its threshold is moved out of reach; or wake it again."""
        self._flip(int(self.values["neuron"]))

    def ten(self) -> None:
        """Silence ten more hidden neurons, in the random order of the study of figure 4C."""
        order = np.random.default_rng([self.network.config.seed, NOISE_SEED]).permutation(self.n_hidden)
        mask = self.silenced.copy()
        mask[[n for n in order if not mask[n]][:MORE]] = True
        self._silence(mask)

    def wake(self) -> None:
        """Let all neurons fire again."""
        self._silence(np.zeros(self.n_hidden, bool))

    def measure(self) -> None:
        """Measure every neuron of this chip with the protocols of an experimenter; kept until another chip comes."""
        self._measuring = self.begin("measure", self._measured())

    def clear(self) -> None:
        """Forget the curve of accuracies, but for the present one."""
        self.points = []
        self._count_soon()

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        measuring = self._measuring is not None and self._measuring.state == "running"
        return {
            "toggle": self.values["neuron"] < self.n_hidden, "ten": not self.silenced.all(),
            "wake": bool(self.silenced.any()), "measure": not measuring and len(self.measured) < len(self.quantities),
            "clear": len(self.points) > 1,
        }  # fmt: skip

    # --- settings ---------------------------------------------------------------------------------------------

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if "sample" in moved:
            self._answer_soon()
        if "samples" in moved:
            self.points = []
            self._count_soon()

    def clicked(self, panel: str, x: float, y: float) -> None:
        """Inspect, or silence, the neuron that was clicked at."""
        place = {"weights": x, "top": x // 2, "bottom": PER_ARRAY + x // 2, "raster": y}.get(panel)
        if place is None:
            return
        neuron = int(np.clip(round(place), 0, NEURONS - 1))
        self.set(neuron=neuron)
        if self.values["click"] == "silence":
            self._flip(neuron)

    def to_json(self) -> str:
        """Return settings and silenced neurons as JSON text."""
        body = {**json.loads(super().to_json()), "silenced": np.flatnonzero(self.silenced).tolist()}
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"

    def from_json(self, text: str) -> bool:
        """Take over settings and silenced neurons; all of them or none. Returns whether they were accepted."""
        mask = np.zeros(self.n_hidden, bool)
        try:
            body = json.loads(text)
            listed = body.get("silenced", []) if isinstance(body, dict) else []
            if not isinstance(listed, list) or not all(type(n) is int and 0 <= n < self.n_hidden for n in listed):
                want = f"a list of hidden neurons 0 … {self.n_hidden - 1}"
                raise InputError(complain("silenced", expected=want, got=repr(listed)[:60], fix="mend the file"))
            mask[listed] = True
        except Bss2Error as error:
            self.say(str(error), "error")
            return False
        except (ValueError, RecursionError):
            pass  # no JSON: found out, and said, below
        if not super().from_json(text):
            return False
        self._silence(mask)
        return True

    # --- results ----------------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return chip_view_frame.frame(self)

    @property
    def accuracy(self) -> float | None:
        """Fraction of the test samples classified rightly with the present neurons silenced; None until counted."""
        return None if self.tally is None else 1 - self.tally.error

    # --- inside -----------------------------------------------------------------------------------------------

    def _flip(self, neuron: int) -> None:
        if neuron >= self.n_hidden:
            want, got = f"a hidden neuron, 0 … {self.n_hidden - 1}", f"{neuron}, which fires no spikes"
            self.say(complain("neuron to silence", expected=want, got=got, fix="choose another"), "error")
            return
        mask = self.silenced.copy()
        mask[neuron] = not mask[neuron]
        self._silence(mask)

    def _silence(self, mask: Bool[ndarray, "hidden"]) -> None:
        with self.lock:
            self.silenced = mask
        self.changed(urgent=True)
        self._answer_soon()
        self._count_soon()

    def _answer_soon(self) -> None:
        self.begin("answer", self._guarded(self._answered()), urgent=True)

    def _count_soon(self) -> None:
        self.begin("count", self._guarded(self._counted()), urgent=True)

    def _guarded(self, steps: Iterator[None]) -> Iterator[None]:
        try:
            set_threads(self.network.config.threads)
            yield from steps
        except Exception as error:
            self.say(plainly(error), "error")

    def _data(self) -> Any:
        if self._given is None:
            return held_out(self.network.config)
        return self._given.held_out

    def _answered(self) -> Iterator[None]:
        with self.lock:
            network, chip, held, silenced = self.network, self.chip, self._held, self.silenced
            data = self._data()
            sample = int(self.values["sample"]) % len(data)
        one = encode(data.subset(np.array([sample])), network.config)
        yield
        recorded = chip.run(held, one.spikes, seed=NOISE_SEED, silenced=silenced)
        time_us, membranes = chip.membranes(held, one.spikes, seed=NOISE_SEED, silenced=silenced)
        decisions, _ = chip.classify(
            chip.write(held), one.spikes, seed=NOISE_SEED, silenced=silenced, vote=network.config.vote
        )
        spike_us, neurons = recorded.hidden_spikes.sample(0)
        pixels = one.pixels[0].reshape(16, 16) if one.pixels.size else None
        answer = Answer(sample, int(one.labels[0]), int(decisions[0]), pixels, spike_us, neurons, time_us, membranes[0])
        with self.lock:
            if network is self.network:
                self.answer = answer
        self.changed(urgent=True)
        yield

    def _counted(self) -> Iterator[None]:
        with self.lock:
            network, chip, silenced, n = self.network, self.chip, self.silenced, int(self.values["samples"])
        yield
        if n not in self._samples:
            self._samples[n] = encode(spread(self._data(), n), network.config)
        yield
        samples, vote = self._samples[n], network.config.vote
        for tally in count_errors(chip, network.weights, samples, seed=NOISE_SEED, vote=vote, silenced=silenced):
            with self.lock:
                if network is not self.network or silenced is not self.silenced:
                    return  # changed during this very step
                self.tally = tally
                if tally.complete:
                    self.points = [*self.points, (int(silenced.sum()), 1 - tally.error)]
            self.changed(urgent=True)
            yield

    def _measured(self) -> Iterator[None]:
        try:
            for k, quantity in enumerate(self.quantities):
                if quantity in self.measured:
                    continue
                self.say(f"measuring {QUANTITIES[quantity]} of 256 neurons ({k + 1} of {len(self.quantities)})", "busy")
                yield
                chip = self.chip
                found = chip.measure(quantity)
                if chip is self.chip:
                    self.measured = {**self.measured, quantity: found}
                yield
            self._measuring = None
            failed = len({n for m in self.measured.values() for n in m.failures})
            self.say(f"measured; {failed} neurons with a quantity that could not be measured", "good")
        except Exception as error:
            self._measuring = None
            self.say(plainly(error), "error")


def _placed(held: AnyWeights) -> tuple[Float32[ndarray, "row n"], Float32[ndarray, "array driver column"]]:
    """Return the weights as placed: signed row by logical neuron, and both synapse arrays; NaN where none is."""
    layers = held._asdict()
    recurrent = "recurrent" in layers
    hidden = np.concatenate([layers["hidden"], *([layers["recurrent"]] if recurrent else [])])
    n_hidden, n_output = layers["output"].shape
    shape = Layer(n_hidden, recurrent=recurrent), Layer(n_output, spiking=False)
    placement = place(Network(len(layers["hidden"]), shape))
    table = np.full((NEURONS, NEURONS), np.nan, np.float32)
    both = hidden, layers["output"]
    for layer, weights in zip(placement.layers, both, strict=True):
        table[layer.rows[:, None], layer.neurons[None, :]] = weights
    image = placement.image([np.rint(w).astype(np.int8) for w in both])
    plan = np.where(image.labels[:, 0::2] == NO_LABEL, np.nan, image.signed()).astype(np.float32)
    return table, plan


def _controls() -> list[Control]:
    return [
        Control(
            "sample", "test sample", 0, "whole", 0, 9999, 1, 0, 1_000_000, "",
            "number of the sample that is run; beyond the last one it begins again", group=_SHOW,
        ),
        Control(
            "neuron", "neuron", 17, "whole", 0, NEURONS - 1, 1, 0, NEURONS - 1, "",
            "logical neuron under the loupe: hidden ones first, the outputs last", group=_SHOW,
        ),
        Control(
            "layout", "weights by", "matrix", "choice", group=_SHOW,
            choices=(("row and neuron", "matrix"), ("driver and column (floor plan)", "plan")),
        ),
        Control(
            "click", "a click", "inspect", "choice", group=_SHOW,
            choices=(("chooses the neuron", "inspect"), ("silences or wakes it", "silence")),
        ),
        Control(
            "samples", "test samples", 10_000, "whole", 1000, 10_000, 1000, 100, 10_000, "",
            "samples on which errors are counted, spread over the test set", group=_TEST,
        ),
    ]  # fmt: skip
