"""The configuration of a run on speech: the recurrent network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from bss2lab.chip.limits import check_size
from bss2lab.config import Source, quantity, redeclared
from bss2lab.errors import complain
from bss2lab.settings.run import RunConfig
from bss2lab.types import Vote

_PAPER, _ASSUMED = Source.PAPER, Source.ASSUMED

_TUNED = "not published in the main text; tuned on two training speakers held out, of the synthetic speech"
_GUESS = "not published in the main text; a guess, not tuned"


class SpeechConfig(RunConfig):
    """One run on speech: 70 channels, a recurrent hidden layer, and an output for every class."""

    vote: ClassVar[Vote] = "sum"

    task: Literal["speech", "shd"] = quantity(
        "speech", "data set: synthetic speech, or the Spiking Heidelberg Digits", source=_PAPER
    )
    epochs: int = redeclared(RunConfig, "epochs", 100, source=_PAPER)
    learning_rate: float = redeclared(RunConfig, "learning_rate", 2e-3, source=_ASSUMED, why=_TUNED)
    lr_decay: float = redeclared(RunConfig, "lr_decay", 0.96, source=_ASSUMED, why=_GUESS)
    n_hidden: int = redeclared(RunConfig, "n_hidden", 186, source=_PAPER)
    n_steps: int = redeclared(
        RunConfig, "n_steps", 400, source=_PAPER, help="model steps per utterance; what is longer is cut"
    )
    loss_scale: float = redeclared(RunConfig, "loss_scale", 0.1, source=_ASSUMED, why=_TUNED)
    rho_w: float = redeclared(RunConfig, "rho_w", 0.1, source=_ASSUMED, why="as in the authors' code for images")

    batch_size: int = redeclared(RunConfig, "batch_size", 100, source=_PAPER, help="utterances per weight update")
    validation: int = redeclared(
        RunConfig, "validation", 0, source=_ASSUMED, why="the test set is only ever reported",
        help="training speakers held out and tested on instead of the test set (for tuning)",
    )  # fmt: skip
    limit: int = redeclared(
        RunConfig, "limit", 0, source=_ASSUMED, why="for quick looks",
        help="use only so many utterances for training and for testing, spread evenly over the files (0: all)",
    )  # fmt: skip

    overshoot: float = quantity(
        0.6,
        "by how much the membrane that is injected in a bin with a spike lies over the threshold",
        source=_ASSUMED,
        ge=0,
        le=10,
        why="the model's own membrane overshoots; at the very threshold every spike has the steepest surrogate "
        "derivative, and gradients through recurrent spikes explode: nothing is learned in the loop",
    )
    rho_r: float = quantity(
        1e-7, "rate penalty: squared excess of all hidden spikes", source=_ASSUMED, ge=0, le=1, why=_TUNED
    )
    theta_r: float = quantity(
        1000.0, "hidden spikes per utterance that cost nothing", source=_ASSUMED, ge=0, le=1e6, why=_GUESS
    )
    sigma_u: float = quantity(
        0.0, "augmentation: SD by which a spike moves to neighbour channels (of 700)", source=_ASSUMED, ge=0, le=100,
        why="the width is not published in the main text",
    )  # fmt: skip
    recurrent: Literal["learned", "fixed"] = quantity(
        "learned", "recurrent weights: learned, or fixed as they begin (the paper: shuffled trained ones)",
        source=_PAPER,
    )  # fmt: skip
    n_channels: int = quantity(70, "input channels, of 700", source=_PAPER, ge=1, le=255)
    n_classes: int = quantity(20, "classes, one output each", source=_PAPER, ge=2, le=255)

    @model_validator(mode="after")
    def _check(self) -> SpeechConfig:
        if self.mode == "ann":
            want = "'itl', 'software' or 'transfer'"
            raise ValueError(complain("mode", expected=want, got="'ann'", fix="choose one of these"))
        if self.on_chip:
            check_size(self.n_channels, self.n_hidden, self.n_classes, recurrent=True)
        return self

    @property
    def n_inputs(self) -> int:
        """Input units: channels."""
        return self.n_channels

    @property
    def n_outputs(self) -> int:
        """Output neurons, one per class."""
        return self.n_classes
