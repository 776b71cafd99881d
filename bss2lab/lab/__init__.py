"""The interactive lab: widgets in which a person moves a slider and sees an emulated chip answer.

``models`` hold the state and know nothing of Jupyter; ``views`` show it. Needs the extra ``[lab]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.draw import Draw
from bss2lab.lab.models.look import Look
from bss2lab.lab.models.speak import Speak

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from bss2lab.datasets.speechset import SpeechSet
    from bss2lab.datasets.vision import ImageSet
    from bss2lab.inputs import Data
    from bss2lab.lab.views.widget import LabWidget
    from bss2lab.settings import AnyConfig
    from bss2lab.studies.networks import Trained

__all__ = ["Cockpit", "Draw", "Look", "Speak", "cockpit", "draw_digit", "look", "speak_digit"]

FIRST_S = 10.0
"""How long a cell waits for the first picture, so that a saved notebook has one."""


def cockpit(config: AnyConfig | None = None, data: Data | None = None, *, key: str = "cockpit") -> LabWidget:
    """Show the training cockpit: a network learns on the emulated chip while its settings are moved.

    Args:
        config: where it begins: a ``TrainConfig`` or a ``SpeechConfig``; the default run on MNIST if not given.
        data: images or words; loaded at the first start if not given.
        key: its name; a second cockpit of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``Cockpit``, which can be driven from code too.
    """
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(Cockpit(config, data, key=key))


def look(
    network: Trained[Any, Any] | Path | str | None = None, data: Data | ImageSet | SpeechSet | None = None,
    *, key: str = "look",
) -> LabWidget:  # fmt: skip
    """Show the sample explorer: any test sample on the chip, its spikes, read-out and membranes.

    Args:
        network: a trained network, or a file with one (``data/results/fig5_network.safetensors``: speech); that of
            figure 3B if not given.
        data: the test set; loaded if not given.
        key: its name; a second explorer of the same name takes the place of the first.

    Returns:
        The widget; its ``model`` is a ``Look``.

    Raises:
        DataError: if the network or the data cannot be had.
    """
    from bss2lab.lab.views.widget import LabWidget

    model = Look(network, data, key=key)
    model.wait(FIRST_S)
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
    from bss2lab.lab.views.upload import SpeakWidget

    return SpeakWidget(Speak(network, key=key))
