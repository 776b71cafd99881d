"""Chip profiles: those that come with the package, JSON files of one's own, and what is refused."""

import json

import numpy as np
import pytest

from bss2lab import dynamics
from bss2lab.chip import PROFILES, Chip, ChipProfile, load_profile
from bss2lab.chip.profile import NOT_CIRCUITS
from bss2lab.chip.transfer import Transfer
from bss2lab.errors import InputError
from bss2lab.quantize import CADC_MV_PER_LSB

LESS_ONE = ("no-mismatch", "no-noise", "no-weight-rounding", "no-cadc-rounding")
"""The default chip less one of its limits each; see also ``test_chip_ablation``."""


def test_these_profiles_come_with_the_package():
    assert tuple(PROFILES) == ("calibrated", "uncalibrated", "published", "ideal", *LESS_ONE)
    assert all(profile.name == name for name, profile in PROFILES.items())
    assert ChipProfile() == PROFILES["calibrated"] == Chip().profile
    assert {name for name, profile in PROFILES.items() if profile.calibrated} == {"calibrated", *LESS_ONE[1:]}
    assert not any(profile.measured for profile in PROFILES.values())


def test_calibration_targets_and_published_spreads():
    c, u = PROFILES["published"], PROFILES["uncalibrated"]
    assert (c.leak_lsb, c.reset_lsb, c.threshold_lsb) == (80, 80, 150)
    assert (c.tau_mem_us, c.tau_syn_exc_us, c.tau_syn_inh_us, c.refractory_us) == (6, 6, 6, 2)
    assert (c.tau_mem_cv, c.tau_syn_cv, c.leak_sd_mv, c.reset_sd_mv, c.threshold_sd_mv) == (0.07, 0.045, 6, 6, 6)
    assert (u.tau_mem_cv, u.tau_syn_cv, u.leak_sd_mv, u.reset_sd_mv, u.threshold_sd_mv) == (0.10, 0.35, 73, 50, 49)
    assert (c.cadc_offset_sd_lsb, u.cadc_offset_sd_lsb) == (3, 10)
    assert 0.15 <= c.psp_gain_cv <= 0.17
    assert (c.delay_us, c.delay_sd_us, c.cadc_noise_lsb, c.membrane_noise_mv) == (1.0, 0.1, 2, 2)


def test_a_calibrated_chip_is_an_uncalibrated_one_with_other_codes():
    calibrated, uncalibrated = PROFILES["calibrated"], PROFILES["uncalibrated"]
    assert calibrated.replace(name="uncalibrated", calibrated=False) == uncalibrated
    assert calibrated.circuits_digest() == uncalibrated.circuits_digest()


def test_profiles_differ_in_their_spread_alone():
    spreads = {n for n in ChipProfile.model_fields if n.endswith(("_cv", "_sd_mv", "_sd_us", "_sd_lsb"))}
    same = set(ChipProfile.model_fields) - spreads - {"name", "threshold_leak_correlation"}
    published, uncalibrated, ideal = (PROFILES[n].model_dump() for n in ("published", "uncalibrated", "ideal"))
    assert all(published[n] == uncalibrated[n] for n in same)
    narrowed = {n for n in spreads if published[n] != uncalibrated[n]}
    potentials = {f"{name}_sd_mv" for name in ("leak", "reset", "threshold")}
    assert narrowed == {"tau_mem_cv", "tau_syn_cv", "cadc_offset_sd_lsb"} | potentials
    assert all(published[n] < uncalibrated[n] for n in narrowed)
    assert all(ideal[n] == 0 for n in spreads)
    unlike = {n for n in same if ideal[n] != published[n]}
    assert unlike == {"membrane_noise_mv", "cadc_noise_lsb", "threshold_lsb", "transfer"}
    transfers = published["transfer"], ideal["transfer"]
    assert {n for n in transfers[0] if transfers[0][n] != transfers[1][n]} == {"slope_cv"}
    assert ideal["transfer"]["slope_cv"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"}, {"calibrated": False}, {"membrane_noise_mv": 0.0}, {"cadc_noise_lsb": 0.5}, {"substeps": 8},
        {"rounds_weights": False}, {"rounds_cadc": False},
    ],
)  # fmt: skip
def test_names_codes_noise_rounding_and_the_fine_step_are_no_part_of_the_circuits(change):
    assert set(change) <= set(NOT_CIRCUITS)
    assert ChipProfile().replace(**change).circuits_digest() == ChipProfile().circuits_digest()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("calibrated", "ff96bd78394dbf35"),
        ("uncalibrated", "ff96bd78394dbf35"),
        ("published", "5f8beffe2d0abd47"),
        ("ideal", "846c95de5e0b39de"),
    ],
)
def test_golden_digests(name, digest):
    """Whatever moves one of them makes saved calibrations useless."""
    assert PROFILES[name].circuits_digest() == digest


def test_everything_else_is_part_of_the_circuits():
    default, digests = ChipProfile(), {ChipProfile().circuits_digest()}
    numbers = set(ChipProfile.model_fields) - {"measured", "transfer", *NOT_CIRCUITS}
    for name in numbers:
        digests.add(default.replace(**{name: getattr(default, name) * 1.01 + 0.01}).circuits_digest())
    for name in Transfer.model_fields:
        value = getattr(default.transfer, name)
        changed = value + 1 if isinstance(value, int) else value * 1.01
        digests.add(default.replace(transfer=default.transfer.replace(**{name: changed})).circuits_digest())
    measured = ChipProfile.from_measurements({"leak_mv": [374.0, 376.0]})
    digests.add(default.replace(measured=measured.measured).circuits_digest())
    assert len(digests) == 2 + len(numbers) + len(Transfer.model_fields)


def test_ideal_threshold_is_one_model_unit_above_the_leak():
    ideal = PROFILES["ideal"]
    assert (ideal.threshold_lsb - ideal.leak_lsb) * CADC_MV_PER_LSB == pytest.approx(330)


def test_uncalibrated_distance_of_threshold_and_leak_spreads_by_a_quarter():
    """Published: θ − leak 25 % at 328 mV; of two independent potentials it would be 27 %."""
    u = PROFILES["uncalibrated"]
    variance = u.leak_sd_mv**2 + u.threshold_sd_mv**2
    covariance = u.threshold_leak_correlation * u.leak_sd_mv * u.threshold_sd_mv
    spread = np.sqrt(variance - 2 * covariance) / ((u.threshold_lsb - u.leak_lsb) * CADC_MV_PER_LSB)
    assert spread == pytest.approx(0.25, abs=0.005)


def test_synapses_are_as_strong_as_the_authors_scale_says():
    """240 units of weight are one model weight: mean PSP of the model (bin by bin) within half a percent."""
    p = PROFILES["ideal"]
    steps = 1.7 * np.arange(1, 30)
    chip_mv = [240 * p.synapse_mv_per_us * dynamics.psp(t, p.tau_mem_us, p.tau_syn_exc_us) for t in steps]
    a = dynamics.decay(1.7, 6.0)
    model_mv = 330 * np.arange(1, 30) * a ** np.arange(29)
    np.testing.assert_allclose(chip_mv, model_mv, rtol=5e-3)


def test_a_json_file_with_any_of_the_fields(tmp_path):
    path = tmp_path / "rough.json"
    path.write_text(json.dumps({"synapse_cv": 0.3, "leak_lsb": 90, "calibrated": False}), encoding="utf-8")
    assert load_profile(str(path)) == ChipProfile(name="rough", synapse_cv=0.3, leak_lsb=90.0, calibrated=False)
    assert Chip(3, str(path)).profile.name == "rough"
    path.write_text('{"name": "mine", "transfer": {"leak_mv_per_code": 2.5}}', encoding="utf-8")
    mine = load_profile(str(path))
    assert (mine.name, mine.calibrated, mine.transfer.leak_mv_per_code) == ("mine", True, 2.5)
    assert mine.transfer.replace(leak_mv_per_code=1.87) == Transfer()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", ["expected a JSON object", "got list", "ChipProfile's fields"]),
        ("3", ["expected a JSON object", "got int"]),
        ("{", ["expected readable JSON", "check the file"]),
        ("", ["expected readable JSON"]),
        ('{"tau_mem_us": NaN}', ["tau_mem_us", "finite", "nan"]),
        ('{"tau_mem": 6}', ["known key of ChipProfile", "did you mean 'tau_mem_"]),
        ('{"tau_mem_us": "long"}', ["tau_mem_us", "valid number", "'long'"]),
        ('{"tau_mem_us": null}', ["tau_mem_us", "valid number", "None"]),
        ('{"transfer": {"leak_code": 1023}}', ["leak_code", "1022", "1023"]),
        ('{"transfer": {"slope": 1}}', ["known key", "slope"]),
        ('{"transfer": 3}', ["transfer", "3"]),
        ('{"calibrated": "often"}', ["calibrated", "boolean", "'often'"]),
    ],
)
def test_bad_files_are_refused(tmp_path, text, words):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Chip(0, str(path))
    for word in words:
        assert word in str(caught.value)


def test_files_that_are_not_text_or_not_there_are_refused(tmp_path):
    path = tmp_path / "bytes.json"
    path.write_bytes(b"\xff\xfe\x00{")
    for name in (path, tmp_path / "missing.json", tmp_path):
        with pytest.raises(InputError, match="profile"):
            load_profile(str(name))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError) as caught:
        Chip(0, "idael")
    for word in [
        *PROFILES,
        "or a .json file",
        "profile: expected one of calibrated, uncalibrated, published, ideal, no-mismatch, no-noise",
        "got 'idael'",
    ]:
        assert word in str(caught.value)
