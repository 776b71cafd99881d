"""The interactive lab: widgets in which a person moves a slider and sees an emulated chip answer.

``models`` hold the state and know nothing of Jupyter; ``views`` show it. Needs the extra ``[lab]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bss2lab.lab.checks import Report, findings
from bss2lab.lab.models.cockpit import Cockpit

if TYPE_CHECKING:
    from bss2lab.inputs import Data
    from bss2lab.lab.views.widget import LabWidget
    from bss2lab.settings import AnyConfig

__all__ = ["Cockpit", "Report", "check", "cockpit"]


def check() -> Report:
    """Say in plain words whether everything is here that the lab needs, and how to mend what is not.

    Returns:
        A table in a notebook, lines elsewhere; ``good`` is False if something is missing.
    """
    return Report(findings())


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
