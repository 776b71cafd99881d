"""The weights that a run begins with."""

from __future__ import annotations

from typing import Any

from bss2lab.errors import InputError, complain
from bss2lab.network import initial_recurrent_weights, initial_weights
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.types import AnyWeights


def starting_weights(config: AnyConfig) -> Any:
    """Draw the weights that a run begins with (``RecurrentWeights`` of a ``SpeechConfig``, else ``Weights``)."""
    draw = initial_recurrent_weights if isinstance(config, SpeechConfig) else initial_weights
    sizes = config.n_inputs, config.n_hidden, config.n_outputs
    return draw(*sizes, tau_mem_us=config.tau_mem_us, dt_us=config.dt_us, seed=config.seed)


def check_start(config: AnyConfig, start: AnyWeights) -> None:
    """Refuse weights that do not fit a run.

    Raises:
        InputError: if a layer is missing, or of another shape.
    """
    want = {name: w.shape for name, w in starting_weights(config)._asdict().items()}
    got = {name: w.shape for name, w in start._asdict().items()}
    if want != got:
        fix = "pass weights of a network of the same sizes"
        raise InputError(complain("start", expected=str(want), got=str(got), fix=fix))
