"""Frozen result types, and their way to and from files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from bss2lab.chip.profile import ChipProfile
from bss2lab.chip.transfer import Transfer
from bss2lab.settings import AnyConfig
from bss2lab.version import versions


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training gave. Accuracies are fractions.

    Attributes:
        epoch: number, from 1.
        loss: mean loss per sample, the sum of ``loss_terms``.
        loss_terms: task loss and penalties, mean per sample.
        train_accuracy: over the epoch, while weights changed, with dropout and rotation if any.
        test_accuracy: on the test set after the epoch; None while tuning on a validation set.
        validation_accuracy: on the validation set, if one is held out.
        hidden_spikes_per_image: mean over the test (or validation) set; of speech, per utterance.
        clipped_readout_fraction: output ADC samples at the end of their range, in training.
        learning_rate: Adam's rate in this epoch.
        seconds: wall-clock time, evaluation included.
    """

    epoch: int
    loss: float
    loss_terms: dict[str, float]
    train_accuracy: float
    test_accuracy: float | None
    validation_accuracy: float | None
    hidden_spikes_per_image: float
    clipped_readout_fraction: float
    learning_rate: float
    seconds: float

    @property
    def held_out_accuracy(self) -> float:
        """Test accuracy, or validation accuracy where one is held out."""
        value = self.test_accuracy if self.test_accuracy is not None else self.validation_accuracy
        assert value is not None
        return value


def run_record(config: AnyConfig, profile: ChipProfile | None, epochs: list[Epoch]) -> dict[str, Any]:
    """Return the full record of a run, ready for JSON.

    Args:
        config: the run.
        profile: profile of the chip, if there was one.
        epochs: one record per epoch.
    """
    provenance: dict[str, Any] = {"train": type(config).provenance()}
    record: dict[str, Any] = {"config": config.model_dump(), "versions": versions()}
    if profile is not None:
        record["chip_profile"] = profile.model_dump()
        provenance["chip"] = ChipProfile.provenance()
        provenance["transfer"] = Transfer.provenance()
        provenance["note"] = "chip results are emulated, not measured"
    return {**record, "provenance": provenance, "epochs": [asdict(e) for e in epochs]}


def to_json(record: dict[str, Any]) -> str:
    """Return JSON text (never NaN or infinity, which JSON lacks)."""
    return json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
