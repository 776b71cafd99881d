"""The configuration of a run on images: the feed-forward network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from bss2lab.chip.limits import check_size
from bss2lab.config import Source, quantity
from bss2lab.errors import complain
from bss2lab.settings.run import SHORT, RunConfig
from bss2lab.types import Vote

_PAPER, _ASSUMED = Source.PAPER, Source.ASSUMED

N_INPUT = 256
"""16 × 16 pixels [paper]."""

N_OUTPUT = 10


class TrainConfig(RunConfig):
    """One run on images: what is learned, how, on which chip."""

    vote: ClassVar[Vote] = "peak"
    overshoot: ClassVar[float] = 0.0

    task: Literal["mnist", "fashion"] = quantity("mnist", "data set", source=_PAPER)
    rho_b: float = quantity(
        0.04,
        "burst penalty: mean over neurons of squared spike counts",
        source=_ASSUMED,
        ge=0,
        le=1e3,
        why=SHORT.format("5e-4; the smaller loss factor asks for more"),
    )
    rho_a: float = quantity(
        0.02,
        "read-out penalty: mean over outputs of squared peak membranes",
        source=_ASSUMED,
        ge=0,
        le=1e3,
        why=SHORT.format("0; the paper has one, and it keeps the read-out inside the ADC's range"),
    )
    rotation: float = quantity(
        0.0, "largest random rotation of a training image (the paper: 15)", unit="°", source=_PAPER, ge=0, le=180
    )

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.limit and self.validation >= self.limit:
            want = f"validation below limit = {self.limit}"
            raise ValueError(complain("validation", expected=want, got=self.validation, fix="hold out fewer images"))
        if self.on_chip:
            check_size(N_INPUT, self.n_hidden, N_OUTPUT)
        return self

    @property
    def n_inputs(self) -> int:
        """Input units: pixels."""
        return N_INPUT

    @property
    def n_outputs(self) -> int:
        """Output neurons, one per class."""
        return N_OUTPUT
