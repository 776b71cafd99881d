"""Which learner a configuration asks for."""

from __future__ import annotations

from bss2lab.chip import Chip
from bss2lab.errors import InputError, complain
from bss2lab.learners.ann import AnnLearner
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.base import Learner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.learners.start import check_start
from bss2lab.losses import AnyObjective, SpeechObjective
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.types import AnyWeights, Substrate


def make_learner(
    config: AnyConfig, objective: AnyObjective, chip: Substrate | None, start: AnyWeights | None = None
) -> Learner:
    """Return the fastest learner that does what is asked.

    Args:
        config: the run.
        objective: what to minimise (the ANN has its own, cross-entropy).
        chip: the substrate of an on-chip mode.
        start: weights to begin with (not of the ANN); drawn from the run's seed if not given.

    Raises:
        InputError: if the model's step is not the period at which the chip in the loop is sampled, or the objective
            or the starting weights are of another network.
    """
    speech = isinstance(config, SpeechConfig)
    if isinstance(objective, SpeechObjective) != speech:
        want = f"{'a SpeechObjective' if speech else 'an Objective'} for task {config.task!r}"
        fix = "use train.objective_of(config), or leave it out"
        raise InputError(complain("objective", expected=want, got=type(objective).__name__, fix=fix))
    if not speech and config.mode == "ann":
        return AnnLearner(config)
    if start is not None:
        check_start(config, start)
    if config.mode == "itl" and isinstance(chip, Chip) and config.dt_us != chip.profile.cadc_period_us:
        want = f"the chip's sampling period, {chip.profile.cadc_period_us:g} µs"
        fix = "use the chip's, or another profile"
        raise InputError(complain("dt_us", expected=want, got=f"{config.dt_us:g} µs", fix=fix))
    if config.device == "cpu" and objective.has_compiled_form and (chip is None or isinstance(chip, Chip)):
        return CompiledLearner(config, objective, chip, start)
    return AutogradLearner(config, objective, chip, start)
