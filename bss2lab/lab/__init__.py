"""The interactive lab: widgets in which a person moves a slider and sees an emulated chip answer.

``models`` hold the state and know nothing of Jupyter; ``views`` show it. Needs the extra ``[lab]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bss2lab.lab.models.anatomy import Anatomy
from bss2lab.lab.models.cockpit import Cockpit
from bss2lab.lab.models.errors import Errors

if TYPE_CHECKING:
    from pathlib import Path

    from bss2lab.datasets.vision import ImageSet
    from bss2lab.inputs import Data
    from bss2lab.lab.models.curves import AnyRun
    from bss2lab.lab.views.curves import Curves
    from bss2lab.lab.views.widget import LabWidget
    from bss2lab.settings import AnyConfig
    from bss2lab.studies.networks import ImageNetwork, Trained

__all__ = ["Anatomy", "Cockpit", "Errors", "anatomy", "cockpit", "curves", "errors"]


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


def errors(
    network: Trained[Any, Any] | Path | str | None = None, data: Data | None = None, *, key: str = "errors"
) -> LabWidget:
    """Show what a trained network takes for what, whose words it mishears, and what it did with single samples.

    Args:
        network: a trained network, or the file of one; the one for words that comes with the repository if not given.
        data: images or words; loaded when needed if not given.
        key: its name; a second one of the same name stops the first.

    Returns:
        The widget; its ``model`` is an ``Errors``. It classifies the test set in the background at once.

    Raises:
        DataError: if the file is no network.
        InputError: if it is an ANN, or the data are of another kind.
    """
    from bss2lab.lab.views.listen import Listening
    from bss2lab.lab.views.widget import LabWidget

    model = Errors(network, data, key=key)
    widget = LabWidget(model, beside=(Listening(model),))
    model.evaluate()
    return widget


def curves(*runs: AnyRun) -> Curves:
    """Show loss and accuracies of runs, with the paper's accuracy; values under the pointer, curves to switch off.

    Args:
        *runs: each a list of ``Epoch`` records, a record that ``bss2lab train --json`` wrote (or its file), or a
            ``Cockpit``, which is followed.

    Returns:
        The widget; ``show(*runs)`` shows others, or more epochs.

    Raises:
        InputError, DataError: if something is no run.
    """
    from bss2lab.lab.views.curves import Curves

    return Curves(*runs)


def anatomy(
    network: ImageNetwork | Path | str | None = None, images: ImageSet | None = None, *, key: str = "anatomy"
) -> LabWidget:
    """Show what injecting the chip's recording does to one neuron and to the gradient, as the chip is detuned.

    Args:
        network: a network trained on images, or its file; the one that comes with the repository if not given.
        images: test images; loaded when needed if not given.
        key: its name; a second one of the same name stops the first.

    Returns:
        The widget; its ``model`` is an ``Anatomy``.

    Raises:
        DataError: if the file is no network.
        InputError: if it is a network for words, or an ANN.
    """
    from bss2lab.lab.views.widget import LabWidget

    model = Anatomy(network, images, key=key)
    widget = LabWidget(model)
    model.start()
    return widget
