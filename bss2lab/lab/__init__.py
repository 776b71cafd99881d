"""The interactive lab: widgets in which a person moves a slider and sees an emulated chip answer.

``models`` hold the state and know nothing of Jupyter; ``views`` show it. Needs the extra ``[lab]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bss2lab.lab.models.chip_view import ChipView
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.decalibration import Decalibration

if TYPE_CHECKING:
    from bss2lab.inputs import Data
    from bss2lab.lab.models.given import Given
    from bss2lab.lab.views.widget import LabWidget
    from bss2lab.settings import AnyConfig

__all__ = ["ChipView", "Cockpit", "Decalibration", "chip_view", "cockpit", "decalibration"]


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


def decalibration(network: Given = None, data: Data | None = None, *, key: str = "decalibration") -> LabWidget:
    """Show the decalibration bench: a chip is detuned, and networks that came onto it in three ways are tested.

    Args:
        network: a network trained in the loop on a calibrated chip, or a file of one; the repository's if not given.
        data: images to train and to test on; MNIST if not given.
        key: its name; a second bench of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``Decalibration``.
    """
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(Decalibration(network, data, key=key))


def chip_view(network: Given = None, data: Data | None = None, *, key: str = "chip_view") -> LabWidget:
    """Show a network on the chip: its weights where they lie, spikes, and any neuron to inspect or to silence.

    Args:
        network: a trained network, or a file of one; the repository's if not given.
        data: where test samples come from; the network's data set if not given.
        key: its name; a second view of the same name stops the first.

    Returns:
        The widget; its ``model`` is a ``ChipView``.
    """
    from bss2lab.lab.views.widget import LabWidget

    return LabWidget(ChipView(network, data, key=key))
