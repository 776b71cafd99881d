"""The interactive lab: widgets in which a person moves a slider and sees an emulated chip answer.

``models`` hold the state and know nothing of Jupyter; ``views`` show it. Needs the extra ``[lab]``; ``check`` says
what of it is missing or broken.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from bss2lab import warm
from bss2lab.errors import Bss2Error, load_module
from bss2lab.lab.checks import Report, findings

if TYPE_CHECKING:
    from pathlib import Path

    from bss2lab.datasets.speechset import SpeechSet
    from bss2lab.datasets.vision import ImageSet
    from bss2lab.inputs import Data
    from bss2lab.lab.models.anatomy import Anatomy
    from bss2lab.lab.models.base import ViewModel
    from bss2lab.lab.models.chip_view import ChipView
    from bss2lab.lab.models.cockpit import Cockpit
    from bss2lab.lab.models.curves import AnyRun
    from bss2lab.lab.models.decalibration import Decalibration
    from bss2lab.lab.models.draw import Draw
    from bss2lab.lab.models.errors import Errors
    from bss2lab.lab.models.given import Given
    from bss2lab.lab.models.look import Look
    from bss2lab.lab.models.speak import Speak
    from bss2lab.lab.views.curves import Curves
    from bss2lab.lab.views.widget import LabWidget
    from bss2lab.losses import AnyObjective
    from bss2lab.settings import AnyConfig
    from bss2lab.studies.networks import ImageNetwork, Trained

__all__ = [
    "Anatomy", "ChipView", "Cockpit", "Decalibration", "Draw", "Errors", "Look", "Report", "Speak", "anatomy", "check",
    "chip_view", "cockpit", "curves", "decalibration", "draw_digit", "errors", "finished", "look", "speak_digit",
]  # fmt: skip

_HOME = {
    "Anatomy": "anatomy", "ChipView": "chip_view", "Cockpit": "cockpit", "Decalibration": "decalibration",
    "Draw": "draw", "Errors": "errors", "Look": "look", "Speak": "speak",
}  # fmt: skip
"""Which module of ``models`` each name comes from. It is loaded when first asked for: ``check`` works without."""

FIRST_S = 10.0
"""How long a cell waits for the first picture, so that a saved notebook has one (not for kernels to be compiled)."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bss2lab.lab' has no attribute {name!r}")
    value = globals()[name] = getattr(load_module(f"bss2lab.lab.models.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def check() -> Report:
    """Say in plain words whether everything is here that the lab needs, and how to mend what is not.

    Begins to compile the kernels in the background, if nobody has.

    Returns:
        A table in a notebook, lines elsewhere; ``good`` is False if something is missing.
    """
    report = Report(findings())
    if report.good:
        warm.start()
    return report


def cockpit(
    config: AnyConfig | None = None,
    data: Data | None = None,
    *,
    objective: AnyObjective | None = None,
    key: str = "cockpit",
) -> LabWidget:
    """Show the training cockpit: a network learns on the emulated chip while its settings are moved.

    Args:
        config: where it begins: a ``TrainConfig`` or a ``SpeechConfig``; the default run on MNIST if not given.
        data: images or words; loaded at the first start if not given.
        objective: what to minimise; the standard objective of the task, with its sliders, if not given.
        key: its name; a second cockpit of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``Cockpit``, which can be driven from code too.
    """
    from bss2lab.lab.models.cockpit import Cockpit
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(Cockpit(config, data, objective=objective, key=key))


def decalibration(network: Given = None, data: Data | None = None, *, key: str = "decalibration") -> LabWidget:
    """Show the decalibration bench: a chip is detuned, and networks that came onto it in three ways are tested.

    Args:
        network: a network trained in the loop on a calibrated chip, or a file of one; the package's if not given.
        data: images to train and to test on; MNIST if not given.
        key: its name; a second bench of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``Decalibration``.
    """
    from bss2lab.lab.models.decalibration import Decalibration
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(Decalibration(network, data, key=key))


def chip_view(network: Given = None, data: Data | None = None, *, key: str = "chip_view") -> LabWidget:
    """Show a network on the chip: its weights where they lie, spikes, and any neuron to inspect or to silence.

    Args:
        network: a trained network, or a file of one; the package's if not given.
        data: where test samples come from; the network's data set if not given.
        key: its name; a second view of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``ChipView``.
    """
    from bss2lab.lab.models.chip_view import ChipView
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(ChipView(network, data, key=key))


def look(
    network: Trained[Any, Any] | Path | str | None = None, data: Data | ImageSet | SpeechSet | None = None,
    *, key: str = "look",
) -> LabWidget:  # fmt: skip
    """Show the sample explorer: any test sample on the chip, its spikes, read-out and membranes.

    Args:
        network: a trained network, or a file with one (``bundle.results() / "fig5_network.safetensors"``: words);
            that of figure 3B if not given.
        data: the test set; loaded if not given.
        key: its name; a second explorer of the same name takes the place of the first.

    Returns:
        The widget; its ``model`` is a ``Look``.

    Raises:
        DataError: if the network or the data cannot be had.
    """
    from bss2lab.lab.models.look import Look
    from bss2lab.lab.views.widget import LabWidget

    model = Look(network, data, key=key)
    _wait_for_a_picture(model)
    return LabWidget(model)


def draw_digit(network: Trained[Any, Any] | Path | str | None = None, *, key: str = "draw") -> LabWidget:
    """Show a pad to draw a digit on, and what the emulated chip sees in it.

    Args:
        network: a network for images, or a file with one; that of figure 3B if not given.
        key: its name; a second pad of the same name takes the place of the first.

    Returns:
        The widget; its ``model`` is a ``Draw``.

    Raises:
        DataError: if the network cannot be had.
        InputError: if it is not one for images.
    """
    from bss2lab.lab.models.draw import Draw
    from bss2lab.lab.views.pad import DrawWidget

    return DrawWidget(Draw(network, key=key))


def speak_digit(network: Trained[Any, Any] | Path | str | None = None, *, key: str = "speak") -> LabWidget:
    """Let the emulated chip hear a spoken digit: from the microphone, a sound file, or the synthetic test set.

    Args:
        network: a network for words, or a file with one; that of figure 5 if not given.
        key: its name; a second listener of the same name takes the place of the first.

    Returns:
        The widget; its ``model`` is a ``Speak``.

    Raises:
        DataError: if the network cannot be had.
        InputError: if it is not one for words.
    """
    from bss2lab.lab.models.speak import Speak
    from bss2lab.lab.views.upload import SpeakWidget

    return SpeakWidget(Speak(network, key=key))


def errors(
    network: Trained[Any, Any] | Path | str | None = None, data: Data | None = None, *, key: str = "errors"
) -> LabWidget:
    """Show what a trained network takes for what, whose words it mishears, and what it did with single samples.

    Args:
        network: a trained network, or the file of one; the one for words that comes with the package if not given.
        data: images or words; loaded when needed if not given.
        key: its name; a second one of the same name stops the first.

    Returns:
        The widget; its ``model`` is an ``Errors``. It classifies the test set in the background at once.

    Raises:
        DataError: if the file is no network.
        InputError: if it is an ANN, or the data are of another kind.
    """
    from bss2lab.lab.models.errors import Errors
    from bss2lab.lab.views.listen import Listening
    from bss2lab.lab.views.widget import LabWidget

    model = Errors(network, data, key=key)
    widget = LabWidget(model, beside=(Listening(model),))
    model.evaluate()
    return widget


def curves(*runs: AnyRun, key: str = "curves") -> Curves:
    """Show loss and accuracies of runs, with the paper's accuracy; values under the pointer, curves to switch off.

    Args:
        *runs: each a list of ``Epoch`` records, a record that ``bss2lab train --json`` wrote (or its file), or a
            ``Cockpit``, which is followed.
        key: its name; a second one of the same name takes the place of the first.

    Returns:
        The widget; ``show(*runs)`` shows others, or more epochs.

    Raises:
        InputError, DataError: if something is no run.
    """
    from bss2lab.lab.views.curves import Curves

    return Curves(*runs, key=key)


def anatomy(
    network: ImageNetwork | Path | str | None = None, images: ImageSet | None = None, *, key: str = "anatomy"
) -> LabWidget:
    """Show what injecting the chip's recording does to one neuron and to the gradient, as the chip is detuned.

    Args:
        network: a network trained on images, or its file; the one that comes with the package if not given.
        images: test images; loaded when needed if not given.
        key: its name; a second one of the same name stops the first.

    Returns:
        The widget; its ``model`` is an ``Anatomy``.

    Raises:
        DataError: if the file is no network.
        InputError: if it is a network for words, or an ANN.
    """
    from bss2lab.lab.models.anatomy import Anatomy
    from bss2lab.lab.views.widget import LabWidget

    model = Anatomy(network, images, key=key)
    widget = LabWidget(model)
    model.start()
    return widget


def _wait_for_a_picture(model: ViewModel) -> None:
    end = time.monotonic() + FIRST_S
    while time.monotonic() < end and not model.wait(0.05) and not model.engine.waiting_for:
        pass


async def finished(widget: LabWidget, *, timeout_s: float = 3600.0) -> None:
    """Wait in a cell (``await lab.finished(widget)``) until a widget computes nothing more; sliders stay alive.

    Args:
        widget: the widget.
        timeout_s: longest wait.

    Raises:
        Bss2Error: with what the widget says, if it failed.
        TimeoutError: if it is still busy then.
    """
    async with asyncio.timeout(timeout_s):
        while widget.model.busy:
            await asyncio.sleep(0.05)
    widget.draw()  # the cells below may keep the kernel from drawing it
    await asyncio.sleep(0.05)
    if widget.model.message.kind == "error":
        raise Bss2Error(widget.model.message.text)
