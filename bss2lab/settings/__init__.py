"""The configuration of one training run: every knob, with its range, unit, source and help."""

from bss2lab.settings.images import N_INPUT, N_OUTPUT, TrainConfig
from bss2lab.settings.run import FREE_TO_CHANGE, RunConfig
from bss2lab.settings.speech import SpeechConfig

__all__ = ["FREE_TO_CHANGE", "N_INPUT", "N_OUTPUT", "RunConfig", "SpeechConfig", "TrainConfig"]
