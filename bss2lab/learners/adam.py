"""PyTorch's Adam as plain arrays, for checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bss2lab.learners.base import check_adam, restored

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

_MOMENTS = ("exp_avg", "exp_avg_sq")


def state_of(parameters: dict[str, Tensor], adam: torch.optim.Adam) -> dict[str, ndarray]:
    """Return parameters and moments, zero before the first step.

    Args:
        parameters: name -> leaf tensor.
        adam: their optimiser.
    """
    arrays: dict[str, ndarray] = {}
    for name, p in parameters.items():
        moments = adam.state.get(p, {})
        arrays[name] = p.detach().cpu().numpy()
        for part in _MOMENTS:
            arrays[f"{name}.{part}"] = moments[part].cpu().numpy() if moments else np.zeros(p.shape, np.float32)
        arrays[f"{name}.step"] = np.array([float(moments["step"]) if moments else 0.0], np.float32)
    return arrays


def restore(parameters: dict[str, Tensor], adam: torch.optim.Adam, state: dict[str, ndarray]) -> None:
    """Go back to a state.

    Raises:
        ValueError: if it is not one of these parameters'.
    """
    restored(state, state_of(parameters, adam))
    for name in parameters:
        check_adam(float(state[f"{name}.step"][0]), state[f"{name}.exp_avg_sq"])
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(torch.from_numpy(state[name]))
            moments = {part: torch.tensor(state[f"{name}.{part}"], device=p.device) for part in _MOMENTS}
            adam.state[p] = {"step": torch.tensor(float(state[f"{name}.step"][0])), **moments}
