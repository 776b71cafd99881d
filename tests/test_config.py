"""Configurations: one declaration per number, with its source; bad values answered in plain words."""

import json

import pydantic
import pytest

from bss2lab.chip import PROFILES, ChipProfile, load_profile
from bss2lab.chip.spec import SPEC, TARGETS
from bss2lab.chip.transfer import Transfer
from bss2lab.config import Config, Source, quantity
from bss2lab.errors import InputError
from bss2lab.settings import TrainConfig

NAN, INF = float("nan"), float("inf")


NO_NUMBERS = {"name", "calibrated", "transfer", "measured"}


@pytest.mark.parametrize(("config", "unmarked"), [(ChipProfile, NO_NUMBERS), (Transfer, set()), (TrainConfig, set())])
def test_every_number_says_where_it_comes_from(config, unmarked):
    table = config.provenance()
    assert set(table) == set(config.model_fields) - unmarked
    for name, row in table.items():
        assert row["source"] in {source.value for source in Source}, name
        assert row["help"], name
        assert row["why"] or row["source"] != Source.ASSUMED.value, f"{name} is assumed without a reason"


@pytest.mark.parametrize("config", [ChipProfile, Transfer, TrainConfig])
def test_a_unit_in_a_name_is_the_declared_unit(config):
    units = {"_us": "µs", "_lsb": "LSB", "_mv": "mV", "_mv_per_code": "mV", "_pf": "pF", "_na": "nA", "_cv": ""}
    units |= {"_code": "", "_exponent": ""}
    checked = 0
    for name, row in config.provenance().items():
        endings = [ending for ending in units if name.endswith(ending)]
        if endings:
            assert row["unit"] == units[max(endings, key=len)], name
            checked += 1
    assert checked >= 3


def test_constants_of_the_design_carry_a_mark_and_a_note():
    for name, constant in {**SPEC, **TARGETS}.items():
        assert isinstance(constant.source, Source), name
        assert constant.note, name


def test_an_assumed_number_needs_its_reason():
    with pytest.raises(ValueError, match=r"an assumed number needs its reason: pass why="):
        quantity(1.0, "some number", source=Source.ASSUMED)
    quantity(1.0, "some number", source=Source.ASSUMED, why="a reason")


def test_marks_of_some_numbers_that_the_paper_prints():
    profile, train = ChipProfile.provenance(), TrainConfig.provenance()
    assert profile["cadc_period_us"]["source"] == "paper"
    assert profile["threshold_lsb"]["source"] == "authors' code"
    assert profile["membrane_noise_mv"]["source"] == "measured elsewhere"
    assert profile["synapse_cv"]["source"] == "assumed"
    assert train["beta"]["source"] == "paper"
    assert train["tau_mem_us"]["source"] == "authors' code"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tau_mem_us": -1.0}, ["tau_mem_us", "greater than 0.2 µs", "got -1.0", "membrane time constant"]),
        ({"tau_mem_us": NAN}, ["tau_mem_us", "finite", "got nan"]),
        ({"tau_mem_us": INF}, ["tau_mem_us", "finite", "got inf"]),
        ({"tau_mem_us": "six"}, ["tau_mem_us", "valid number", "got 'six'"]),
        ({"substeps": 0}, ["substeps", "greater than or equal to 1", "got 0"]),
        ({"substeps": 2.5}, ["substeps", "valid integer", "got 2.5"]),
        ({"threshold_leak_correlation": 1.5}, ["threshold_leak_correlation", "less than or equal to 1", "got 1.5"]),
        ({"tau_mem_uss": 6.0}, ["tau_mem_uss", "known key of ChipProfile", "did you mean 'tau_mem_us'?"]),
        ({"zzz": 1}, ["'zzz'", "known keys", "tau_mem_us", "substeps"]),
        ({"calibrated": "often"}, ["calibrated", "boolean", "got 'often'"]),
        ({"membrane_min_mv": 600.0, "membrane_max_mv": 600.0}, ["membrane_min_mv below membrane_max_mv = 600"]),
        ({"leak_lsb": 300.0, "reset_lsb": -5.0}, ["leak_lsb", "reset_lsb"]),
    ],
)
def test_replace_refuses_what_the_constructor_refuses(change, words):
    for attempt in (lambda: ChipProfile().replace(**change), lambda: ChipProfile(**change)):
        with pytest.raises(InputError) as caught:
            attempt()
        for word in ["expected", *words]:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, ["epochs", "greater than or equal to 1", "got 0"]),
        ({"mode": "hardware"}, ["mode", "'itl'", "got 'hardware'"]),
        ({"learning_rate": NAN}, ["learning_rate", "got nan"]),
        ({"dropout": 1.0}, ["dropout", "less than 1", "got 1.0"]),
        ({"rho": 1.0}, ["rho", "did you mean 'rho_"]),
        ({"n_hidden": 247}, ["at most 256 neurons in total", "247 hidden + 10 output", "at most 246 hidden"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0", "got -1"]),
        ({"device": "tpu"}, ["device", "'cpu'", "got 'tpu'"]),
        ({"limit": 100, "validation": 100}, ["validation below limit = 100"]),
    ],
)
def test_bad_training_settings_are_refused(change, words):
    with pytest.raises(InputError) as caught:
        TrainConfig().replace(**change)
    for word in words:
        assert word in str(caught.value)


def test_a_network_too_large_for_the_chip_is_allowed_in_software():
    assert TrainConfig(mode="software", n_hidden=1000).n_hidden == 1000


@pytest.mark.parametrize("config", [ChipProfile(), TrainConfig()])
def test_configurations_are_frozen(config):
    name = "tau_mem_us"
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(config, name, 3.0)
    changed = config.replace(tau_mem_us=3.0)
    assert (config.tau_mem_us, changed.tau_mem_us) == (6.0, 3.0)
    assert changed.replace(tau_mem_us=6.0) == config


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_survive_a_round_trip_through_json(name, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(PROFILES[name].to_json(), encoding="utf-8")
    assert load_profile(str(path)) == PROFILES[name]
    assert load_profile(name) == PROFILES[name]


def test_training_settings_survive_a_round_trip_through_json():
    config = TrainConfig(task="fashion", mode="transfer", epochs=3, rho_b=1 / 3, dropout=0.4, chip_seed=2**32 - 1)
    assert TrainConfig(**json.loads(json.dumps(config.model_dump()))) == config


def test_a_configuration_of_ones_own_explains_itself():
    class Mine(Config):
        width_mm: float = quantity(2.0, "width of the thing", unit="mm", source=Source.PAPER, gt=0)

    assert Mine.provenance() == {"width_mm": {"unit": "mm", "source": "paper", "why": "", "help": "width of the thing"}}
    with pytest.raises(InputError) as caught:
        Mine(width_mm=0)
    assert str(caught.value) == ("width_mm: expected greater than 0 mm, got 0; change width_mm (width of the thing)")
