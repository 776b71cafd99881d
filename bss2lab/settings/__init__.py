"""The configuration of one training run: every knob, with its range, unit, source and help."""

from typing import Any

from bss2lab.settings.images import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.settings.run import FREE_TO_CHANGE, RunConfig
from bss2lab.settings.speech import SpeechConfig

__all__ = [
    "FREE_TO_CHANGE", "N_INPUT", "N_OUTPUT", "TASKS", "TITLES", "AnyConfig", "RunConfig", "SpeechConfig", "TrainConfig",
    "config_of",
]  # fmt: skip

AnyConfig = TrainConfig | SpeechConfig
"""What a run may be of."""

TASKS: dict[str, type[AnyConfig]] = {
    "mnist": TrainConfig, "fashion": TrainConfig, "speech": SpeechConfig, "shd": SpeechConfig,
}  # fmt: skip
"""What can be learned, and the kind of configuration that says how."""

TITLES = {
    "mnist": "16×16 MNIST", "fashion": "16×16 Fashion-MNIST", "speech": "synthetic speech",
    "shd": "Spiking Heidelberg Digits",
}  # fmt: skip
"""What each of them is called in tables, drawings and at the command line."""


def config_of(fields: dict[str, Any]) -> AnyConfig:
    """Return the configuration that was written down as ``fields``.

    Raises:
        KeyError: if they name no task that there is.
        InputError: if a value is out of range.
    """
    return TASKS[fields["task"]](**fields)
