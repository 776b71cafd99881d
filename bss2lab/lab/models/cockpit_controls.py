"""What can be set in the training cockpit, for images and for speech."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from bss2lab.lab.models.control import Control
from bss2lab.presets import PRESETS, SPEECH_PRESETS
from bss2lab.settings import AnyConfig, SpeechConfig
from bss2lab.train import OBJECTIVE

CHIP = frozenset({"sigma_d", "detuned", "chip_seed", "noise"})
"""Settings that make another chip, which is then swapped in."""

LEARNING, CHIPS, RUN = "learning (acts at once)", "emulated chip (swapped at once)", "run (from the next reset on)"

_DETUNED = (("time constants", "tau"), ("thresholds", "threshold"), ("both", "both"))
_MODES = (("in the loop with the emulated chip", "itl"), ("software alone", "software"))


def controls_of(config: AnyConfig, *, own_objective: bool = False) -> list[Control]:
    """Return the controls of a cockpit, beginning at the values of a configuration.

    Args:
        config: has the values.
        own_objective: the run minimises an objective of its own: what the standard one is made of is left out.
    """
    kind = type(config)

    def of(name: str, label: str, **options: Any) -> Control:
        return Control.of(kind, name, value=getattr(config, name), label=label, **options)

    live: dict[str, Any] = {"live": True, "group": LEARNING}
    log: dict[str, Any] = {**live, "look": "log", "step": 0.05}
    controls = [
        of("learning_rate", "learning rate", low=1e-5, high=0.03, **log),
        of("lr_decay", "decay per epoch", low=0.7, high=1.0, **live),
        of("loss_scale", "loss factor c", low=0.01, high=30, **log),
    ]
    if isinstance(config, SpeechConfig):
        controls += [
            of("rho_r", "rate penalty ρ_r", low=1e-9, high=1e-4, zero=True, **log),
            of("sigma_u", "augmentation σ_u", low=0, high=40, step=1, **live),
        ]
        last = 2000
    else:
        controls += [
            of("rho_b", "burst penalty ρ_b", low=1e-4, high=10, zero=True, **log),
            of("rho_a", "read-out penalty ρ_a", low=1e-4, high=1, zero=True, **log),
            of("rotation", "rotation", low=0, high=45, step=1, **live),
        ]
        last = 9999
    return [
        *(control for control in controls if not (own_objective and control.name in OBJECTIVE)),
        of("dropout", "dropout", low=0, high=0.8, **live),
        of("sigma_d", "decalibration σ_d", low=0, high=0.5, group=CHIPS),
        of("detuned", "of its", look="choice", choices=_DETUNED, group=CHIPS),
        of("chip_seed", "chip number", look="whole", low=0, high=9, step=1, group=CHIPS),
        Control(
            "noise", "noise, times the chip's", 1.0, "slider", 0.0, 5.0, 0.1, 0.0, 50.0, "",
            "factor on membrane noise and ADC noise of the chip's profile", "assumed", group=CHIPS,
        ),
        of("mode", "network", look="choice", choices=_MODES, group=RUN),
        of("epochs", "epochs", look="whole", low=1, high=100, step=1, group=RUN),
        of("seed", "initial weights no.", look="whole", low=0, high=9, step=1, group=RUN),
        Control(
            "sample", "test sample shown", 0, "whole", 0, last, 1, 0, 1_000_000, "",
            "number of the sample whose spikes and traces are shown; beyond the last one it begins again", group=RUN,
        ),
    ]  # fmt: skip


def paper_values(config: AnyConfig, names: Collection[str]) -> dict[str, Any]:
    """Return, of these settings, those of the paper and the authors' code; of the chip: calibrated, with its own noise.

    On speech the paper names none but its objective: there they are the tuned ones.
    """
    own: AnyConfig = SPEECH_PRESETS["default"] if isinstance(config, SpeechConfig) else PRESETS["paper"]
    fields = set(names) & set(type(config).model_fields)
    values = {name: getattr(own, name) for name in fields - {"seed", "chip_seed", "mode"}}
    return cast("dict[str, Any]", {**values, "noise": 1.0})
