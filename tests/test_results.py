"""The record of a run, and its way to JSON and back."""

import json
import math
from dataclasses import FrozenInstanceError, asdict, replace
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.chip import ChipProfile
from bss2lab.chip.profile import PROFILES
from bss2lab.chip.transfer import Transfer
from bss2lab.config import Source
from bss2lab.inputs import Data
from bss2lab.results import Epoch, run_record, to_json, versions
from bss2lab.settings import TrainConfig
from bss2lab.train import Run
from bss2lab.version import NUMERICS, __version__

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
FRACTION = st.floats(0, 1)

EPOCHS = st.builds(
    Epoch,
    epoch=st.integers(1, 10_000),
    loss=NUMBER,
    loss_terms=st.dictionaries(st.sampled_from(["task", "burst", "readout", "weight"]), NUMBER),
    train_accuracy=FRACTION,
    test_accuracy=st.none() | FRACTION,
    validation_accuracy=FRACTION,
    hidden_spikes_per_image=NUMBER,
    clipped_readout_fraction=FRACTION,
    learning_rate=FRACTION,
    seconds=NUMBER,
)

EPOCH = Epoch(1, 2.5, {"task": 2.0, "burst": 0.5}, 0.25, 0.125, None, 31.0, 0.0, 1e-3, 2.25)


@given(st.lists(EPOCHS, max_size=3))
def test_a_record_survives_json_bit_for_bit(epochs):
    record = run_record(TrainConfig(), ChipProfile(), epochs)
    back = json.loads(to_json(record))
    assert back == record
    assert [Epoch(**e) for e in back["epochs"]] == epochs
    assert TrainConfig(**back["config"]) == TrainConfig()
    assert ChipProfile(**back["chip_profile"]) == ChipProfile()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_never_holds_nan_or_infinity(value):
    record = run_record(TrainConfig(), None, [replace(EPOCH, loss=value)])
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(record)


def test_json_text_is_readable_and_ends_with_a_line():
    text = to_json({"unit": "µs", "value": [1.5]})
    assert "µs" in text
    assert text.endswith("}\n")
    assert text.count("\n") > 3


def test_a_record_has_the_promised_keys():
    record = run_record(TrainConfig(), PROFILES["uncalibrated"], [EPOCH])
    assert set(record) == {"config", "versions", "provenance", "epochs", "chip_profile"}
    promised = {"epoch", "loss", "loss_terms", "train_accuracy", "test_accuracy", "hidden_spikes_per_image", "seconds"}
    assert promised <= set(record["epochs"][0])
    assert record["epochs"][0] == asdict(EPOCH)
    assert record["config"] == TrainConfig().model_dump()
    assert record["chip_profile"] == PROFILES["uncalibrated"].model_dump()
    assert "emulated, not measured" in record["provenance"]["note"]


def test_a_record_without_chip_claims_none():
    record = run_record(TrainConfig(mode="software"), None, [])
    assert set(record) == {"config", "versions", "provenance", "epochs"}
    assert set(record["provenance"]) == {"train"}


def test_every_setting_and_every_constant_of_the_chip_says_where_it_comes_from():
    provenance = run_record(TrainConfig(), ChipProfile(), [])["provenance"]
    assert set(provenance["train"]) == set(TrainConfig.model_fields)
    assert set(provenance["chip"]) == set(ChipProfile.model_fields) - {"name", "calibrated", "transfer", "measured"}
    assert set(provenance["transfer"]) == set(Transfer.model_fields)
    for row in (row for part in ("train", "chip", "transfer") for row in provenance[part].values()):
        assert row["source"] in {source.value for source in Source}
        assert row["help"]
        assert row["why"] or row["source"] != Source.ASSUMED
    assert provenance["train"]["dt_us"]["unit"] == "µs"
    assert provenance["chip"]["tau_mem_us"]["unit"] == "µs"
    assert provenance["transfer"]["leak_mv_per_code"]["unit"] == "mV"


def test_versions_are_those_that_run():
    found = versions()
    assert found["bss2lab"] == __version__
    assert found["numerics"] == str(NUMERICS)
    for name in ("numpy", "scipy", "torch", "numba"):
        assert found[name] == metadata.version(name)
    assert set(found) >= {"python", "machine"}


def test_the_held_out_accuracy_is_the_one_there_is():
    assert EPOCH.held_out_accuracy == 0.125
    assert replace(EPOCH, test_accuracy=None, validation_accuracy=0.75).held_out_accuracy == 0.75
    assert replace(EPOCH, test_accuracy=0.0, validation_accuracy=0.75).held_out_accuracy == 0.0


def test_a_result_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        EPOCH.loss = 0.0


@pytest.mark.parametrize("mode", ["itl", "software", "transfer", "ann"])
def test_a_real_run_becomes_strict_json(mode):
    config = TrainConfig(mode=mode, limit=100, n_hidden=10, epochs=1, threads=1)
    run = Run(config, Data.load(config))
    list(run.fit())
    assert (run.profile is None) == (mode in ("software", "ann"))

    def refuse(name):
        raise AssertionError(name)

    record = json.loads(to_json(run_record(config, run.profile, run.epochs)), parse_constant=refuse)
    assert [Epoch(**e) for e in record["epochs"]] == run.epochs
    assert ("chip_profile" in record) == (run.profile is not None)
