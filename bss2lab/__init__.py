"""A BrainScaleS-2 chip in a browser tab: emulated chip, surrogate-gradient training in the loop, figures.

    from bss2lab import Chip, TrainConfig, fit

    for epoch in fit(TrainConfig(epochs=3)):
        print(epoch.epoch, epoch.test_accuracy)

Everything that the chip returns is emulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bss2lab.errors import load_module
from bss2lab.version import __version__

if TYPE_CHECKING:
    from bss2lab.chip import Calibration, Chip, ChipProfile, Codes, Targets
    from bss2lab.errors import Bss2Error, CalibrationError, CheckpointError, DataError, InputError
    from bss2lab.inputs import Data
    from bss2lab.settings import SpeechConfig, TrainConfig
    from bss2lab.topology import LIF, Layer, Network
    from bss2lab.train import Run, fit
    from bss2lab.types import Recording, Spikes, Substrate, Weights

__all__ = [
    "LIF", "Bss2Error", "Calibration", "CalibrationError", "CheckpointError", "Chip", "ChipProfile", "Codes", "Data",
    "DataError", "InputError", "Layer", "Network", "Recording", "Run", "SpeechConfig",
    "Spikes", "Substrate", "Targets", "TrainConfig", "Weights", "__version__", "fit",
]  # fmt: skip

_HOME = {
    **dict.fromkeys(("Calibration", "Chip", "ChipProfile", "Codes", "Targets"), "chip"),
    **dict.fromkeys(("Bss2Error", "CalibrationError", "CheckpointError", "DataError", "InputError"), "errors"),
    "Data": "inputs",
    **dict.fromkeys(("LIF", "Layer", "Network"), "topology"),
    **dict.fromkeys(("Run", "fit"), "train"),
    **dict.fromkeys(("Recording", "Spikes", "Substrate", "Weights"), "types"),
    **dict.fromkeys(("SpeechConfig", "TrainConfig"), "settings"),
}
"""Where each name comes from. It is loaded when first asked for: a worker process starts without torch and numba."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bss2lab' has no attribute {name!r}")
    value = globals()[name] = getattr(load_module(f"bss2lab.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
