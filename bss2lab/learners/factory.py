"""Which learner a configuration asks for."""

from __future__ import annotations

from bss2lab.chip import Chip
from bss2lab.errors import InputError, complain
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

    Raises:
        InputError: if the model's step is not the period at which the chip in the loop is sampled.
    """
    if config.mode == "ann":
        return AnnLearner(config)
    if config.mode == "itl" and isinstance(chip, Chip) and config.dt_us != chip.profile.cadc_period_us:
        want = f"the chip's sampling period, {chip.profile.cadc_period_us:g} µs"
        fix = "use the chip's, or another profile"
        raise InputError(complain("dt_us", expected=want, got=f"{config.dt_us:g} µs", fix=fix))
    if config.device == "cpu" and objective.has_compiled_form and (chip is None or isinstance(chip, Chip)):
        return FusedLearner(config, objective, chip)
    return AutogradLearner(config, objective, chip)
