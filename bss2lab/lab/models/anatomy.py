"""The injection under a knob: one neuron in the model and on the chip, and what the injected values do to gradients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import DataError, InputError, complain
from bss2lab.inputs import encode
from bss2lab.lab.engine import ENGINE, Engine
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import anatomy_frame
from bss2lab.lab.models.base import ViewModel, plainly
from bss2lab.lab.models.control import Control
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.shipped import ANATOMY, shipped
from bss2lab.lab.models.threads import threads
from bss2lab.settings import TrainConfig
from bss2lab.studies import anatomy, injection
from bss2lab.studies.injection import Gradient, SideBySide
from bss2lab.studies.networks import ImageNetwork

QUIET_S = 0.15
"""Gradients are taken when nothing was moved for this long: the slider's traces come first."""

AT_ONCE = 10
"""Images whose gradients are taken in one step; the batch's gradient is the mean over its parts [assumed: the twin of
the chip takes some tenths of a second for them]."""

Chipped = tuple[int, float, str, int]
"""What a gradient depends on: chip number, σ_d, what is detuned, images in the batch."""

_DETUNED = (("time constants", "tau"), ("thresholds", "threshold"), ("both", "both"))


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Three gradients of one batch's loss at the same weights.

    Attributes:
        injected: values from the chip's recording, derivatives of the model.
        alone: the model by itself, without injection.
        full: through the chip's twin, which knows every neuron.
        images: over how many images.
    """

    injected: Gradient
    alone: Gradient
    full: Gradient
    images: int

    def with_more(self, other: Gradients) -> Gradients:
        """Return the gradients over both batches: the loss is a mean over images."""
        n = self.images + other.images
        part = other.images / n
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("injected", "alone", "full"))
        both = [Gradient(*((1 - part) * a + part * b for a, b in zip(*pair, strict=True))) for pair in pairs]
        return Gradients(*both, images=n)

    def cosine(self, one: str, other: str, layer: str = "hidden") -> float:
        """Return the cosine of the angle between two of them, in one layer."""
        a, b = (getattr(getattr(self, name), layer) for name in (one, other))
        return injection.compare(a, b).cosine


@dataclass(frozen=True, slots=True)
class Visited:
    """One point of the curves: hidden layer, cosines of angles between gradients.

    Attributes:
        sigma_d: normalised spread.
        injected, alone: against full knowledge.
        between: the two against each other.
        images: over how many images so far.
    """

    sigma_d: float
    injected: float
    alone: float
    between: float
    images: int


class Anatomy(ViewModel):
    """State of the anatomy of the injection.

    Moving the detuning shows one image on another chip at once, and its gradients a moment later; the points of all
    detunings that were visited stay, as long as chip, batch and kind of detuning are the same.

    Args:
        network: a network trained on images, or its file; the one that comes with the package if not given.
        images: test images; loaded when first needed if not given.
        key: name in the engine.
        engine: where it computes.

    Raises:
        DataError: if the file is no network.
        InputError: if it is a network for words, or an ANN.
    """

    title = "Anatomy of the injection"
    actions = {"busiest": "busiest neuron", "differing": "neuron that differs most", "forget": "clear the points"}  # noqa: RUF012 (a constant)

    def __init__(
        self, network: ImageNetwork | Path | str | None = None, images: ImageSet | None = None, *,
        key: str = "anatomy", engine: Engine = ENGINE,
    ) -> None:  # fmt: skip
        network = network_of(network)
        config = network.config
        if not isinstance(config, TrainConfig):
            got = f"one for {config.task}, mode {config.mode!r}"
            fix = "pass one that was trained on images, on the chip or in software"
            raise InputError(complain("network", expected="a spiking network for images", got=got, fix=fix))
        self.config = config.replace(mode="itl", sigma_d=0.0)
        self.weights = network.weights
        super().__init__(_controls(self.config), key=key, engine=engine)
        self.seen: SideBySide | None = None
        self.gradients: Gradients | None = None
        self.taken: Chipped | None = None
        self.points: dict[Chipped, Visited] = {}
        self.reference = _reference()
        self._images = images
        self._chips: dict[int, Chip] = {}
        self._moved_at = 0.0

    # --- buttons ----------------------------------------------------------------------------------------------

    def busiest(self) -> None:
        """Show the hidden neuron that fires most in this image on the chip."""
        if self.seen is not None:
            self.set(neuron=int(self.seen.recorded.s_hidden[0].sum(dim=0).argmax()))

    def differing(self) -> None:
        """Show the hidden neuron whose spikes differ most between chip and model in this image."""
        if self.seen is not None:
            apart = (self.seen.recorded.s_hidden[0] - self.seen.model.s_hidden[0]).abs().sum(dim=0)
            self.set(neuron=int(apart.argmax()))

    def forget(self) -> None:
        """Throw the points of the curves away."""
        with self.lock:
            self.points = {}
        self.changed(urgent=True)

    def available(self) -> dict[str, bool]:
        """Return which buttons do something now."""
        some = self.seen is not None
        return {"busiest": some, "differing": some, "forget": bool(self.points)}

    def start(self) -> None:
        """Compute what the present settings show."""
        self._moved_at = -QUIET_S
        self._look()
        self.say("running one image on the chip …", "busy")

    # --- settings ---------------------------------------------------------------------------------------------

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if set(moved) - {"neuron", "injected"}:
            self._moved_at = time.monotonic()
            self._look()

    def clicked(self, panel: str, x: float, y: float) -> None:
        """A point of the curves: go back to its detuning."""
        if panel == "cosine" and self.points:
            visited = [point.sigma_d for point in self.curve]
            if visited:
                self.set(sigma_d=min(visited, key=lambda sigma: abs(sigma - x)))

    # --- results ----------------------------------------------------------------------------------------------

    @property
    def curve(self) -> list[Visited]:
        """The points of the present chip, batch and kind of detuning, by rising σ_d."""
        chip, _, which, images = self.wanted
        own = {
            p.sigma_d: p
            for (c, _, w, n), p in list(self.points.items())
            if (c, n) == (chip, images) and self._same(p, w, which)
        }
        return sorted(own.values(), key=lambda point: point.sigma_d)

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        return anatomy_frame.frame(self)

    # --- in the engine's thread -------------------------------------------------------------------------------

    def _look(self) -> None:
        self.begin("traces", self._traces(dict(self.values)), urgent=True)
        self.begin("gradients", self._gradients(self.wanted))

    def _traces(self, v: dict[str, Any]) -> Iterator[None]:
        """One image in the model, on the chip, and in the injected graph."""
        try:
            images, chip = self._all_images(), self._chip(v["chip_seed"], v["sigma_d"], v["detuned"])
            yield
            sample = encode(images.subset(np.array([v["sample"] % len(images)])), self.config)
            where = self.config, self.weights, sample, np.arange(1)
            first = self.seen is None
            with threads(1):
                self.seen = injection.side_by_side(*where, chip=chip, noise_seed=v["noise_seed"])
            if first and v["neuron"] == self.controls["neuron"].value:
                self.busiest()  # neuron 0 may well be silent
            self.changed(urgent=True)
        except Exception as error:
            self.say(plainly(error), "error")

    def _gradients(self, wanted: Chipped) -> Iterator[None]:
        """The three gradients of a batch, part by part, once nothing has moved for a moment."""
        try:
            while time.monotonic() - self._moved_at < QUIET_S:
                time.sleep(0.005)
                yield
            chip_seed, sigma, which, n = wanted
            images, found = self._all_images(), None
            chip, last = self._chip(chip_seed, sigma, which), min(n, len(images))
            for first in range(0, last, AT_ONCE):
                part = images.subset(np.arange(first, min(first + AT_ONCE, last)))
                where = self.config, self.weights, encode(part, self.config), np.arange(len(part))
                with threads(1):
                    injected = injection.injected(*where, chip=chip, noise_seed=_noise(chip_seed, first))
                    alone = injection.alone(*where, chip=chip)
                yield
                with threads(1):
                    more = Gradients(injected, alone, injection.full(*where, chip=chip), len(part))
                found = more if found is None else found.with_more(more)
                self._visit(wanted, found)
                yield
            self.say(self.message.text, "good")
        except Exception as error:
            self.say(plainly(error), "error")

    def _visit(self, wanted: Chipped, found: Gradients) -> None:
        point = Visited(
            wanted[1], found.cosine("injected", "full"), found.cosine("alone", "full"),
            found.cosine("injected", "alone"), found.images,
        )  # fmt: skip
        with self.lock:
            self.gradients, self.taken = found, wanted
            self.points = {**self.points, wanted: point}
        text = f"chip {wanted[0]}, σ_d {wanted[1]:.2f}, {found.images} images: cosine with full knowledge "
        text += f"{point.injected:.2f} with injection, {point.alone:.2f} without; "
        self.say(f"{text}loss on the chip {found.injected.loss:.3g}, in the model {found.alone.loss:.3g}", "busy")

    def _all_images(self) -> ImageSet:
        if self._images is None:
            self._images = vision.load(self.config.task, "test")
        return self._images

    def _chip(self, seed: int, sigma: float, which: str) -> Chip:
        """Return a chip as the study detunes it: the chip's number is the seed of the targets."""
        if seed not in self._chips:
            self._chips[seed] = Chip(seed, self.config.profile)
        chip = self._chips[seed]
        anatomy.check_sigma(sigma)
        return chip.decalibrate(sigma, which, seed=seed) if sigma else chip

    @property
    def wanted(self) -> Chipped:
        """What the gradients at the present settings depend on."""
        v = self.values
        return v["chip_seed"], v["sigma_d"], v["detuned"], v["images"]

    @staticmethod
    def _same(point: Visited, which: str, wanted: str) -> bool:
        """Is a point on the curve of this kind of detuning? (One of an undetuned chip is on all.)"""
        return which == wanted or point.sigma_d == 0


def _noise(chip_seed: int, first: int) -> int:
    """Seed of the noise of the part of the batch that begins with this image."""
    return int(np.random.default_rng([chip_seed, first]).integers(2**62))


def _reference() -> anatomy.Result | None:
    """Return the study at full scale, if it is there."""
    try:
        return anatomy.load(shipped(ANATOMY))
    except DataError:
        return None


def _controls(config: TrainConfig) -> list[Control]:
    chip, neuron, graph = "emulated chip", "what is shown", "computation graph"

    def of(name: str, label: str, **options: Any) -> Control:
        return Control.of(TrainConfig, name, value=getattr(config, name), label=label, **options)

    return [
        Control(
            "injected", "inject the recording", True, "switch", group=graph,
            help="on: the graph's membranes are the recorded ones, as in training in the loop; off: the model's own",
        ),
        Control(
            "sigma_d", "decalibration σ_d", 0.0, "slider", 0.0, max(anatomy.SIGMAS), 0.01, 0.0, max(anatomy.SIGMAS),
            help="normalised spread of every neuron's own targets", source="paper", group=chip,
        ),
        of("detuned", "of its", look="choice", choices=_DETUNED, group=chip),
        of("chip_seed", "chip number", look="whole", low=0, high=9, step=1, group=chip),
        Control(
            "noise_seed", "trial (noise seed)", 0, "whole", 0, 99, 1, 0, 2**31, group=chip,
            help="seed of the trial-to-trial noise of the image shown",
        ),
        Control(
            "neuron", "hidden neuron", 0, "whole", 0, config.n_hidden - 1, 1, 0, config.n_hidden - 1, group=neuron,
            help="which hidden neuron is shown",
        ),
        Control(
            "sample", "test image", 0, "whole", 0, 999, 1, 0, 1_000_000, group=neuron,
            help="which test image is shown; beyond the last one it begins again",
        ),
        Control(
            "images", "images in the gradient", 30, "whole", 10, 100, 10, 1, 1000, group=neuron,
            help="first test images, over which the loss and its gradients are taken, ten by ten; the study has 100",
        ),
    ]  # fmt: skip
