"""The emulated chip: circuits and codes of one device, its emulation, measurement, calibration and placement."""

from bss2lab.chip.calibration import Calibration, Targets
from bss2lab.chip.chip import Chip
from bss2lab.chip.codes import Codes
from bss2lab.chip.continuous import ContinuousRecording, Probe, run_continuously
from bss2lab.chip.emulator import Emulator
from bss2lab.chip.measurement import Measurement
from bss2lab.chip.mismatch import Circuits, Mismatch
from bss2lab.chip.placement import Placement, place
from bss2lab.chip.profile import PROFILES, ChipProfile, load_profile

__all__ = [
    "PROFILES", "Calibration", "Chip", "ChipProfile", "Circuits", "Codes", "ContinuousRecording", "Emulator",
    "Measurement", "Mismatch", "Placement", "Probe", "Targets", "load_profile", "place",
    "run_continuously",
]  # fmt: skip
