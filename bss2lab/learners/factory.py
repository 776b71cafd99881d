"""Which learner a configuration asks for."""

from __future__ import annotations

from bss2lab.chip import Chip
from bss2lab.learners.ann import AnnLearner
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.base import Learner
from bss2lab.learners.fused import FusedLearner
from bss2lab.losses import Objective
from bss2lab.settings import TrainConfig
from bss2lab.types import Substrate


def make_learner(config: TrainConfig, objective: Objective, chip: Substrate | None) -> Learner:
    """Return the fastest learner that does what is asked.

    Args:
        config: the run.
        objective: what to minimise (the ANN has its own, cross-entropy).
        chip: the substrate of an on-chip mode.
    """
    if config.mode == "ann":
        return AnnLearner(config)
    if config.device == "cpu" and objective.has_compiled_form and (chip is None or isinstance(chip, Chip)):
        return FusedLearner(config, objective, chip)
    return AutogradLearner(config, objective, chip)
