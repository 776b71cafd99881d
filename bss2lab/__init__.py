"""A BrainScaleS-2 chip in a browser tab: emulated chip, surrogate-gradient training in the loop, figures.

    from bss2lab import Chip, TrainConfig, fit

    for epoch in fit(TrainConfig(epochs=3)):
        print(epoch.epoch, epoch.test_accuracy)

Everything that the chip returns is emulated.
"""

from bss2lab.chip import Calibration, Chip, ChipProfile, Codes, Targets
from bss2lab.errors import Bss2Error, CalibrationError, CheckpointError, DataError, InputError
from bss2lab.settings import TrainConfig
from bss2lab.train import Data, Run, fit
from bss2lab.types import Recording, Spikes, Substrate, Weights
from bss2lab.version import __version__

__all__ = [
    "Bss2Error", "Calibration", "CalibrationError", "CheckpointError", "Chip", "ChipProfile", "Codes", "Data",
    "DataError", "InputError", "Recording", "Run", "Spikes", "Substrate", "Targets", "TrainConfig", "Weights",
    "__version__", "fit",
]  # fmt: skip
