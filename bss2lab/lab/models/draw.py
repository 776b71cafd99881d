"""Draw a digit: grey values from a pad become spikes as the test set's do, and the emulated chip says what it sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.datasets import catalogue, vision
from bss2lab.datasets.vision import ImageSet
from bss2lab.errors import InputError, complain
from bss2lab.inputs import encode_pixels
from bss2lab.lab.engine import ENGINE, Engine, Task
from bss2lab.lab.frame import Frame
from bss2lab.lab.models import trial_frame
from bss2lab.lab.models.base import plainly
from bss2lab.lab.models.control import Control
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.one_sample import OneSample
from bss2lab.lab.models.shipped import IMAGES
from bss2lab.settings import TrainConfig
from bss2lab.studies.networks import Trained

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from numpy import ndarray

_EMPTY = "the pad is empty: draw a digit, large and in the middle"


class Draw(OneSample):
    """State of the drawing pad and the chip behind it.

    Args:
        network: a network for images, or a file with one; that of figure 3B if not given.
        key: name in the engine.
        engine: where it computes.

    Attributes:
        pixels: what is on the pad, grey values, 0 is blank and 255 is ink, [row, column].
        shown: what the chip was shown last: the same, moved to the middle if that is asked for; empty before.

    Raises:
        DataError: if the network cannot be had.
        InputError: if the network is not one for images.
    """

    title = "Draw a digit"
    actions = {"example": "a test image", "clear": "clear"}  # noqa: RUF012 (a constant)

    def __init__(
        self, network: Trained[Any, Any] | Path | str | None = None, *, key: str = "draw", engine: Engine = ENGINE
    ) -> None:
        network = network_of(network, IMAGES)
        if not isinstance(network.config, TrainConfig):
            got, fix = f"one for {network.config.task}", "speech is for `speak_digit`"
            raise InputError(complain("network", expected="a network for images", got=got, fix=fix))
        centre = Control(
            "centre", "centre it", True, "switch", source="as the images of MNIST were made",
            help="move the drawing by whole pixels until its centre of mass is in the middle, as far as there is room",
        )  # fmt: skip
        super().__init__(network, [centre], key=key, engine=engine)
        self.side = round(network.config.n_inputs**0.5)
        self.pixels = np.zeros((self.side, self.side), np.uint8)
        self.shown: UInt8[ndarray, "h w"] = np.empty((0, 0), np.uint8)
        self._label: int | None = None
        self._tests: ImageSet | None = None
        self._next = 0
        self.say(_EMPTY)

    # --- the pad ----------------------------------------------------------------------------------------------

    def put(self, pixels: Any, *, label: int | None = None) -> Task | None:
        """Put a drawing on the pad and let the chip see it.

        Args:
            pixels: grey values, uint8, [16, 16] or all in a row, or as bytes; 0 is blank, 255 is ink.
            label: its class, if it is known.

        Returns:
            The computation; None if there is nothing to compute: ``message`` says why.
        """
        try:
            drawn = self._checked(pixels)
        except InputError as error:
            self.say(plainly(error), "error")
            return None
        with self.lock:
            self.pixels, self._label = drawn, label
        return self._look()

    def clear(self) -> None:
        """Empty the pad. The last answer stays."""
        self.put(np.zeros_like(self.pixels))

    def example(self) -> Task:
        """Put the next image of the test set on the pad."""
        return self.answer(self._example())

    def on_set(self, moved: dict[str, Any]) -> None:
        """See ``ViewModel``."""
        if self.pixels.any():
            self._look()

    # --- results ----------------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """See ``ViewModel``."""
        with self.lock:
            trial, shown = self.trial, self.shown
        config = self.network.config
        wait = "draw on the pad"
        panels = [
            trial_frame.image(shown, (0.0, 0.0, 0.27, 0.42), title="Shown to the chip", empty=wait),
            trial_frame.bars(
                config, trial, (0.27, 0.0, 1.0, 0.42), most=len(self._classes), ranked=False, empty=wait
            ),
            trial_frame.raster(
                config, trial, (0.0, 0.42, 0.5, 1.0), until=np.inf, chosen={}, empty=wait, choice=False
            ),
            trial_frame.readout(config, trial, (0.5, 0.42, 1.0, 1.0), until=np.inf, empty=wait, decided=True),
        ]  # fmt: skip
        alt = "Draw a digit: nothing drawn yet." if trial is None else f"The emulated chip sees {trial.sentence()}."
        return Frame(panels, alt, badge=self.badge, height=620)

    # --- in the engine's thread -------------------------------------------------------------------------------

    def steps(self) -> Iterator[None]:
        """See ``OneSample``."""
        with self.lock:
            drawn, label, centre = self.pixels, self._label, self.values["centre"]
        shown = centred(drawn) if centre else drawn
        config = self.network.config
        samples = encode_pixels(shown[None], np.array([-1 if label is None else label]), config)
        yield
        if not len(samples.spikes.times_us):
            fix = "press harder, or draw more"
            raise InputError(complain("drawing", expected="ink", got="grey too faint for a spike", fix=fix))
        self.chip()
        yield
        trial = self.tried(samples, label, self._classes)
        with self.lock:
            self.shown = shown
        self.show(trial)

    def _example(self) -> Iterator[None]:
        if self._tests is None:
            self._tests = vision.load(self.network.config.task, "test")
        yield
        one = self._tests.subset(np.array([self._next % len(self._tests)]))
        self._next += 1
        with self.lock:
            self.pixels, self._label = one.prepare()[0], int(one.labels[0])
        self.changed(urgent=True)
        yield from self.steps()

    def _look(self) -> Task | None:
        if not self.pixels.any():
            if self._task is not None:
                self._task.stop()
            self.say(_EMPTY)
            return None
        if self.trial is None:
            self.say("the chip is at work …", "busy")
        return self.answer()

    @property
    def _classes(self) -> tuple[str, ...]:
        return catalogue.images(self.network.config.task).classes

    def _checked(self, pixels: Any) -> UInt8[ndarray, "h w"]:
        n = self.side**2
        found = np.frombuffer(pixels, np.uint8) if isinstance(pixels, bytes | memoryview) else np.asarray(pixels)
        if found.dtype != np.uint8 or found.shape not in ((n,), (self.side, self.side)):
            want = f"{n} grey values of uint8, [{self.side}, {self.side}]"
            fix = "reduce it, and scale it to 0 … 255"
            raise InputError(complain("drawing", expected=want, got=f"{found.dtype} {found.shape}", fix=fix))
        return found.reshape(self.side, self.side).copy()


def centred(pixels: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
    """Move an image by whole pixels so that its centre of mass is in the middle; no ink leaves the image."""
    if not pixels.any():
        return pixels
    for axis in (0, 1):
        ink = pixels.sum(axis=1 - axis, dtype=np.float64)
        n, where = len(ink), np.flatnonzero(ink)
        shift = round((n - 1) / 2 - float((ink * np.arange(n)).sum() / ink.sum()))
        pixels = np.roll(pixels, min(max(shift, -where[0]), n - 1 - where[-1]), axis=axis)
    return pixels
