"""The calibrations that chips come with: shipped, kept in the user's cache, or made once."""

import json

import numpy as np
import pytest
import safetensors

from bss2lab.chip import PROFILES, Chip, ChipProfile, Codes, library
from bss2lab.chip.calibrate import calibrate
from bss2lab.chip.calibration import Calibration, Targets
from bss2lab.errors import CalibrationError
from bss2lab.version import NUMERICS

pytestmark = pytest.mark.usefixtures("one_thread")

UNSHIPPED = 4712


# --- shipped ----------------------------------------------------------------------------------------------------


def test_ten_chips_come_with_a_calibration():
    assert list(library.SHIPPED) == list(range(10))
    assert all(library.shipped_path(seed).is_file() for seed in range(10))
    assert not library.shipped_path(10).exists()


@pytest.mark.parametrize("seed", library.SHIPPED)
def test_a_shipped_calibration_is_todays_of_the_default_profile_and_without_failures(seed):
    with safetensors.safe_open(library.shipped_path(seed), framework="numpy") as file:
        header = json.loads(file.metadata()["calibration"])
    assert header["numerics"] == NUMERICS
    assert header["circuits"] == ChipProfile().circuits_digest()
    calibration = Calibration.load(library.shipped_path(seed))
    assert calibration.profile.replace(name="calibrated", calibrated=True) == ChipProfile()
    assert calibration.failures == ()
    assert calibration.chip_seed == seed
    for name, target in Targets().items():
        np.testing.assert_array_equal(getattr(calibration.targets, name), target)
    assert Chip(seed).codes.same_as(calibration.codes)
    assert Chip(seed).calibration.to_bytes() == calibration.to_bytes()


def test_a_shipped_calibration_is_what_calibrating_the_chip_gives():
    """Hardly any code differs (in the last bits of a fit, computers do), and none by much."""
    shipped, anew = Chip(0).codes, calibrate(Chip(0, "uncalibrated")).codes
    off = np.stack([np.abs(codes.astype(int) - getattr(shipped, name)) for name, codes in anew.items()])
    assert (off > 0).mean() < 0.01
    assert off.max() <= 2


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing known, an empty cache, and a count of the calibrations made: codes marked by the count."""
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "_known", {})
    made = []

    def quick(chip, **_):
        made.append(chip.seed)
        assert not chip.profile.calibrated
        found = Calibration.load(library.shipped_path(0))
        return Calibration(
            chip.seed, chip.profile.circuits_digest(), found.targets, found.codes.replace(leak=len(made)),
            found.achieved, found.curves, (), chip.profile,
        )  # fmt: skip

    monkeypatch.setattr(library, "calibrate", quick)
    return made


NOT_OF_THE_CIRCUITS = [
    {"membrane_noise_mv": 0.0, "cadc_noise_lsb": 0.0},
    {"substeps": 8},
    {"name": "x"},
    {"rounds_weights": False},
    {"rounds_cadc": False},
]


@pytest.mark.parametrize("change", NOT_OF_THE_CIRCUITS)
def test_noise_rounding_and_the_fine_step_do_not_change_which_calibration_a_chip_has(fresh, change):
    chip = Chip(4, ChipProfile().replace(**change))
    assert fresh == []
    assert chip.codes.same_as(Calibration.load(library.shipped_path(4)).codes)


@pytest.mark.parametrize("change", NOT_OF_THE_CIRCUITS)
@pytest.mark.parametrize("first", ["default", "changed"])
def test_nor_that_of_a_chip_that_is_calibrated_anew(fresh, change, first):
    """Whichever of the two is met first: the calibration is made on the default chip, noise and rounding on."""
    profiles = [ChipProfile(), ChipProfile().replace(**change)]
    made = [Chip(UNSHIPPED, profile).calibration for profile in (profiles if first == "default" else profiles[::-1])]
    assert fresh == [UNSHIPPED]
    assert made[0] is made[1]
    assert made[0].profile == ChipProfile().replace(calibrated=False)
    library.forget()  # as in another process
    assert all(Chip(UNSHIPPED, p).codes.same_as(made[0].codes) for p in profiles)
    assert fresh == [UNSHIPPED]


def test_other_circuits_are_calibrated_with_an_adc_that_rounds(fresh):
    mine = ChipProfile(leak_sd_mv=72.0, membrane_noise_mv=1.0)
    chip = Chip(4, mine.replace(rounds_cadc=False, rounds_weights=False))
    assert chip.calibration.profile == mine.replace(calibrated=False)
    assert Chip(4, mine).calibration is chip.calibration
    assert fresh == [4]


@pytest.mark.parametrize("change", [{"leak_sd_mv": 72.0}, {"psp_gain_cv": 0.1}, {"tau_mem_us": 6.5}])
def test_other_circuits_are_calibrated_anew(fresh, change):
    chip = Chip(4, ChipProfile().replace(**change))
    assert fresh == [4]
    assert chip.codes.leak.tolist() == [1] * 256
    chip.calibration.check_fits(4, chip.profile)


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if not profile.calibrated])
def test_other_profiles_have_equal_codes_and_no_calibration(fresh, name):
    chip = Chip(4, name)
    assert chip.calibration is None
    assert chip.codes.same_as(Codes.equal(chip.profile.transfer))
    assert fresh == []


# --- the cache --------------------------------------------------------------------------------------------------


def test_a_chip_met_for_the_first_time_is_calibrated_once(fresh, tmp_path):
    first = Chip(UNSHIPPED)
    path = library.cache_path(UNSHIPPED, first.profile)
    assert tmp_path in path.parents
    assert path.is_file()
    assert Chip(UNSHIPPED).calibration is first.calibration
    library._known.clear()  # as in another process
    again = Chip(UNSHIPPED)
    assert fresh == [UNSHIPPED]
    assert again.calibration is not first.calibration
    assert again.codes.same_as(first.codes)
    assert Chip(UNSHIPPED + 1).codes.leak[0] == 2
    assert fresh == [UNSHIPPED, UNSHIPPED + 1]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_in_the_cache_is_made_again(fresh, damage):
    path = library.cache_path(UNSHIPPED, Chip(UNSHIPPED).profile)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    library._known.clear()
    assert Chip(UNSHIPPED).codes.leak[0] == 2
    library._known.clear()
    assert Chip(UNSHIPPED).codes.leak[0] == 2  # and kept
    assert len(fresh) == 2


def test_another_chips_file_under_this_chips_name_is_not_used(fresh):
    path, other = (library.cache_path(seed, Chip(seed).profile) for seed in (UNSHIPPED, UNSHIPPED + 1))
    path.write_bytes(other.read_bytes())
    library._known.clear()
    assert Chip(UNSHIPPED).calibration.chip_seed == UNSHIPPED
    assert len(fresh) == 3


def test_a_cache_that_cannot_be_written_to_does_not_matter(fresh, monkeypatch, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("no folder")
    monkeypatch.setenv("BSS2LAB_CACHE", str(blocked))
    assert Chip(UNSHIPPED).codes.leak[0] == 1
    assert Chip(UNSHIPPED).codes.leak[0] == 1
    library._known.clear()
    assert Chip(UNSHIPPED).codes.leak[0] == 2
    assert blocked.read_text() == "no folder"


def test_a_damaged_shipped_file_is_an_error_and_not_another_chip(fresh, monkeypatch, tmp_path):
    """A broken installation shows; it is not patched over."""
    broken = tmp_path / "chip3.safetensors"
    broken.write_bytes(library.shipped_path(3).read_bytes()[:-5])
    monkeypatch.setattr(library, "shipped_path", lambda _: broken)
    with pytest.raises(CalibrationError, match=r"chip3\.safetensors"):
        Chip(3)
    assert fresh == []
