"""What every training run has in common: how it is learned, on which chip, with which model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from bss2lab.chip.profile import PROFILES, load_profile
from bss2lab.config import Config, Source, quantity
from bss2lab.errors import complain
from bss2lab.kernels import Model
from bss2lab.types import Vote, Which

_CODE, _PAPER, _ASSUMED = Source.AUTHORS_CODE, Source.PAPER, Source.ASSUMED

SHORT = "tuned on a validation split for 15 epochs; authors' code: {}"
"""Why a default differs from the authors'."""


class RunConfig(Config):
    """The common part of a run's configuration. Frozen; ``replace()`` makes a changed copy.

    A task's own configuration adds ``task`` and the sizes of its layers.
    """

    vote: ClassVar[Vote]
    """What of an output's membrane decides: its peak, or its sum over time."""

    # A task's configuration also says by how much the membrane that is injected in a bin with a spike lies over the
    # threshold: ``overshoot``.

    mode: Literal["itl", "software", "transfer", "ann"] = quantity(
        "itl",
        "itl: forward pass on the emulated chip; software: ideal model; transfer: trained in software, "
        "tested on the chip; ann: ReLU network of the same size",
        source=_PAPER,
    )
    epochs: int = quantity(
        15,
        "passes over the training set",
        source=_ASSUMED,
        ge=1,
        le=10_000,
        why="the paper trains 100; a faster decay of the learning rate reaches its accuracy in 15",
    )
    batch_size: int = quantity(100, "images per weight update", source=_CODE, ge=1, le=10_000)
    learning_rate: float = quantity(
        2e-3, "Adam's learning rate in the first epoch", source=_ASSUMED, gt=0, le=1, why=SHORT.format("1.5e-3")
    )
    lr_decay: float = quantity(
        0.83, "factor on the learning rate per epoch", source=_ASSUMED, gt=0, le=1, why=SHORT.format("0.97")
    )
    seed: int = quantity(
        0,
        "seed of initial weights, order of images, masks and trial-to-trial noise",
        source=_ASSUMED,
        ge=0,
        lt=2**32,
        why="any; the paper shows five",
    )
    chip_seed: int = quantity(
        0, "number of the emulated chip (its mismatch)", source=_ASSUMED, ge=0, lt=2**32, why="any"
    )
    profile: str = quantity(
        "calibrated",
        f"chip profile: {', '.join(PROFILES)}, or a JSON file",
        source=_ASSUMED,
        why="the paper's chip was calibrated",
    )
    sigma_d: float = quantity(
        0.0, "decalibration: spread of each neuron's own targets (the paper: up to 0.5)", source=_PAPER, ge=0, le=1
    )
    detuned: Which = quantity("both", "what is decalibrated: time constants, thresholds, or both", source=_PAPER)
    n_hidden: int = quantity(246, "hidden neurons", source=_PAPER, ge=1, le=4096)
    n_steps: int = quantity(20, "model steps per image", source=_CODE, ge=2, le=400)
    dt_us: float = quantity(1.7, "model step, the CADC's period", unit="µs", source=_PAPER, gt=0, le=100)
    tau_mem_us: float = quantity(6.0, "membrane time constant of the model", unit="µs", source=_CODE, gt=0, le=1000)
    tau_syn_us: float = quantity(6.0, "synaptic time constant of the model", unit="µs", source=_CODE, gt=0, le=1000)
    beta: float = quantity(50.0, "steepness of the surrogate derivative", source=_PAPER, gt=0, le=1e4)
    loss_scale: float = quantity(
        3.0,
        "factor c on the read-out in the loss",
        source=_ASSUMED,
        gt=0,
        le=1e3,
        why=SHORT.format("10, about half a point worse there"),
    )
    rho_w: float = quantity(0.1, "weight penalty: mean squared hidden weight", source=_CODE, ge=0, le=1e3)
    dropout: float = quantity(
        0.0, "fraction of hidden neurons silenced in each batch (the paper: 0.4)", source=_PAPER, ge=0, lt=1
    )
    validation: int = quantity(
        0,
        "training images held out and tested on instead of the test set (for tuning)",
        source=_ASSUMED,
        ge=0,
        le=30_000,
        why="the test set is only ever reported",
    )
    limit: int = quantity(
        0,
        "use only the first training images, and as many test images (0: all)",
        source=_ASSUMED,
        ge=0,
        le=60_000,
        why="for quick looks",
    )
    threads: int = quantity(
        0,
        "threads of the compiled kernels (0: all cores)",
        source=_ASSUMED,
        ge=0,
        le=1024,
        why="results do not depend on it",
    )
    device: str = quantity(
        "cpu",
        "cpu: compiled kernels; cuda (or cuda:N): the reference kernel on a GPU",
        source=_ASSUMED,
        why="the compiled kernels outrun eager PyTorch on a laptop",
    )

    @model_validator(mode="after")
    def _check_run(self) -> RunConfig:
        if self.sigma_d and not self.on_chip:
            want = f"0 in mode {self.mode!r}, which has no chip"
            raise ValueError(complain("sigma_d", expected=want, got=self.sigma_d, fix="use mode 'itl' or 'transfer'"))
        if self.device != "cpu" and not self.device.startswith("cuda"):
            want = "'cpu', 'cuda' or 'cuda:N'"
            raise ValueError(complain("device", expected=want, got=repr(self.device), fix="leave it at 'cpu'"))
        return self

    def identity(self) -> dict[str, Any]:
        """Return all that a result depends on: not the threads, and a chip profile's content, not its file's name."""
        fields = super().identity()
        del fields["threads"]
        if self.on_chip and self.profile not in PROFILES:
            fields["profile"] = load_profile(self.profile).model_dump(mode="json")
        return fields

    @property
    def duration_us(self) -> float:
        """Time on the chip per image, µs."""
        return self.n_steps * self.dt_us

    @property
    def model(self) -> Model:
        """Decays and steepness of the model."""
        return Model.from_time_constants(
            tau_mem_us=self.tau_mem_us, tau_syn_us=self.tau_syn_us, dt_us=self.dt_us, beta=self.beta
        )

    @property
    def on_chip(self) -> bool:
        """Does this run need a chip?"""
        return self.mode in ("itl", "transfer")


FREE_TO_CHANGE = {"epochs", "threads"}
"""Fields that may differ between a checkpoint and the run that resumes it."""
