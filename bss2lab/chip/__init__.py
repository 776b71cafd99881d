"""The emulated chip: profile and mismatch of one device, its limits, and its emulation."""

from bss2lab.chip.emulator import Chip
from bss2lab.chip.mismatch import Mismatch
from bss2lab.chip.profile import PROFILES, ChipProfile, load_profile

__all__ = ["PROFILES", "Chip", "ChipProfile", "Mismatch", "load_profile"]
