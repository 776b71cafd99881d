"""The emulated chip: profile and mismatch of one device, its limits, and its emulation."""

from bss2lab.chip.codes import Codes
from bss2lab.chip.emulator import Chip
from bss2lab.chip.mismatch import Circuits, Mismatch
from bss2lab.chip.profile import PROFILES, ChipProfile, load_profile

__all__ = ["PROFILES", "Chip", "ChipProfile", "Circuits", "Codes", "Mismatch", "load_profile"]
