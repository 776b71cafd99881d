"""Codes written to a chip's parameter storage: what is accepted, what is refused, and chips with other codes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.chip import Chip, Codes
from bss2lab.chip.transfer import PARAMETERS, Transfer
from bss2lab.errors import InputError
from bss2lab.types import Recording, Spikes, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = Codes.names()
EQUAL = Codes.equal(Transfer())


def limits(name):
    return (-128, 127) if name == "cadc_trim" else (0, 1022)


def one_bad(name, value, at=17):
    codes = np.array(getattr(EQUAL, name), np.int64)
    codes[at] = value
    return codes


def run(chip):
    """Everything that a run records, as comparable bytes."""
    rng = np.random.default_rng(0)
    w = Weights(rng.integers(-20, 40, (30, 50)), rng.integers(-60, 60, (50, 10)))
    samples = [(np.sort(rng.uniform(0, 20, 40)), rng.integers(0, 30, 40)) for _ in range(3)]
    recording = chip.run(w, Spikes.from_events(samples, n_units=30, duration_us=34.0), seed=5)
    assert recording.hidden_fired.sum() > 20
    arrays = {f.name: getattr(recording, f.name) for f in dataclasses.fields(Recording) if f.name != "hidden_spikes"}
    spikes = recording.hidden_spikes
    return {k: v.tobytes() for k, v in arrays.items()} | {"t": spikes.times_us.tobytes(), "u": spikes.units.tobytes()}


# --- what codes are ---------------------------------------------------------------------------------------------


def test_codes_of_an_uncalibrated_chip_are_the_same_for_every_neuron():
    nominal = {
        "tau_mem": 80, "tau_syn_exc": 300, "tau_syn_inh": 300, "gain_exc": 500, "gain_inh": 500,
        "leak": 200, "reset": 213, "threshold": 244, "cadc_trim": 0,
    }  # fmt: skip
    assert set(NAMES) == set(nominal) == {*PARAMETERS, "cadc_trim"}
    for name, codes in EQUAL.items():
        assert codes.dtype == np.int16
        assert codes.tolist() == [nominal[name]] * 256


@given(st.sampled_from(NAMES), st.data())
def test_any_codes_in_range_are_kept_as_they_are(name, data):
    codes = data.draw(st.lists(st.integers(*limits(name)), min_size=256, max_size=256))
    kind = data.draw(st.sampled_from([list, np.int64, np.int16, np.uint64] if min(codes) >= 0 else [list, np.int64]))
    changed = EQUAL.replace(**{name: codes if kind is list else np.array(codes, kind)})
    assert getattr(changed, name).tolist() == codes
    assert all(getattr(changed, other) is not None for other in NAMES)
    for other in set(NAMES) - {name}:
        np.testing.assert_array_equal(getattr(changed, other), getattr(EQUAL, other))
    assert changed.same_as(EQUAL) == (codes == getattr(EQUAL, name).tolist())


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_the_range_are_codes_and_one_stands_for_all(name):
    for end in limits(name):
        assert getattr(EQUAL.replace(**{name: end}), name).tolist() == [end] * 256
        assert getattr(EQUAL.replace(**{name: one_bad(name, end)}), name)[17] == end


def test_codes_cannot_be_changed_in_place_nor_through_the_array_they_came_from():
    given_codes = np.full(256, 100)
    codes = EQUAL.replace(leak=given_codes)
    given_codes[:] = 7
    assert codes.leak.tolist() == [100] * 256
    for _, values in codes.items():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        codes.leak = values


def test_replacing_returns_other_codes_and_leaves_the_old_ones():
    changed = EQUAL.replace(leak=300, cadc_trim=-3)
    assert (EQUAL.leak[0], EQUAL.cadc_trim[0]) == (200, 0)
    assert (changed.leak[255], changed.cadc_trim[255]) == (300, -3)


def test_codes_are_the_same_if_every_single_one_is():
    assert EQUAL.same_as(Codes.from_mapping(dict(EQUAL.items())))
    for name in NAMES:
        other = EQUAL.replace(**{name: one_bad(name, getattr(EQUAL, name)[17] + 1)})
        assert not EQUAL.same_as(other)
        assert not other.same_as(EQUAL)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (200.0, "float64"),
        (np.full(256, 200.0), "float64"),
        (float("nan"), "float64"),
        (np.full(256, np.nan), "float64"),
        (True, "bool"),
        ("200", "<U3"),
        (None, "object"),
        (2**70, "object"),
        ([[1, 2], [3]], "object"),
    ],
)
def test_codes_that_are_no_integers_are_refused(name, bad, got):
    with pytest.raises(InputError) as caught:
        EQUAL.replace(**{name: bad})
    assert str(caught.value) == f"{name} codes: expected integers, got {got}; round to whole codes"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beyond", [-1, 1, 2**40])
def test_codes_out_of_range_are_refused_and_the_neuron_is_named(name, beyond):
    low, high = limits(name)
    bad = low + beyond if beyond < 0 else high + beyond
    with pytest.raises(InputError) as caught:
        EQUAL.replace(**{name: one_bad(name, bad)})
    assert str(caught.value) == (
        f"{name} codes: expected {low} … {high}, got {bad} for neuron 17; stay within the range"
    )
    with pytest.raises(InputError, match=f"got {bad} for neuron 0"):
        EQUAL.replace(**{name: bad})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(255,), (257,), (0,), (1,), (256, 1), (1, 256)])
def test_codes_of_a_wrong_number_of_neurons_are_refused(name, shape):
    with pytest.raises(InputError) as caught:
        EQUAL.replace(**{name: np.zeros(shape, int)})
    want = f"{name} codes: expected one code, or one per neuron, shape [256], got {list(shape)}; match the chip"
    assert str(caught.value) == want


def test_unknown_and_missing_names_are_refused():
    known = ", ".join(NAMES)
    for attempt in (EQUAL.replace, Chip(0, "ideal").with_codes):
        with pytest.raises(InputError) as caught:
            attempt(leek=3, leak=3)
        assert str(caught.value) == f"codes: expected {known}, got leek; name one of these parameters"
    arrays = dict(EQUAL.items())
    for wrong in ({**arrays, "leek": arrays["leak"]}, {k: v for k, v in arrays.items() if k != "reset"}):
        with pytest.raises(InputError) as caught:
            Codes.from_mapping(wrong)
        assert str(caught.value) == (
            f"codes: expected {known}, got {', '.join(sorted(wrong))}; name each parameter once"
        )


# --- chips with other codes -------------------------------------------------------------------------------------


def test_another_code_makes_another_chip_and_leaves_the_old_one_as_it_was():
    chip = Chip(3, "published")
    truth, codes, before = chip.mismatch, chip.codes, run(chip)
    other = chip.with_codes(leak=230, tau_mem=np.arange(256) + 50)
    assert (chip.codes, chip.mismatch) == (codes, truth)
    assert run(other) != before
    assert run(chip) == before
    assert (other.seed, other.profile, other.circuits) == (chip.seed, chip.profile, chip.circuits)
    assert other.codes.leak.tolist() == [230] * 256
    np.testing.assert_array_equal(other.mismatch.threshold_mv, truth.threshold_mv)
    assert (other.mismatch.leak_mv > truth.leak_mv).all()
    assert run(other.with_codes(codes)) == before


def test_equal_codes_make_an_uncalibrated_chip_of_a_calibrated_one_bit_for_bit():
    calibrated, uncalibrated = Chip(3), Chip(3, "uncalibrated")
    assert not calibrated.codes.same_as(EQUAL)
    assert uncalibrated.codes.same_as(EQUAL)
    assert run(calibrated.with_codes(EQUAL)) == run(uncalibrated)
    assert run(uncalibrated.with_codes(calibrated.codes)) == run(calibrated)
    assert run(calibrated) != run(uncalibrated)


def test_the_same_codes_make_the_same_chip():
    chip = Chip(3)
    for same in (chip.with_codes(), chip.with_codes(chip.codes), Chip(3, codes=chip.codes)):
        assert run(same) == run(chip)


@pytest.mark.parametrize("bad", [3, 0, "leak", {}, [200] * 256, {"leak": 200}], ids=repr)
def test_what_are_no_codes_is_refused_with_how_to_change_single_ones(bad):
    for attempt in (Chip(0, "ideal").with_codes, lambda codes: Chip(0, "ideal", codes=codes)):
        with pytest.raises(InputError) as caught:
            attempt(bad)
        text = f"codes: expected a Codes object, got {repr(bad)[:60]}; "
        assert str(caught.value) == text + "to change single parameters, name them: with_codes(leak=230)"


def test_codes_handed_to_a_new_chip_are_what_it_gets():
    """Then nothing has to be calibrated, not even for a chip that does not come with a calibration."""
    chip = Chip(987654, codes=EQUAL.replace(leak=210))
    assert chip.calibration is None
    assert chip.codes.leak.tolist() == [210] * 256


@pytest.mark.parametrize("trim", [-128, -5, 9, 127])
def test_the_trim_adds_to_every_sample_of_its_channel(trim):
    """On a chip without noise: whole steps of the ADC, within its range."""
    chip = Chip(0, "ideal")
    silence = Spikes.from_events([([], [])], n_units=1, duration_us=17.0)
    w = Weights(np.zeros((1, 256), int), np.zeros((256, 0), int))
    plain = chip.run(w, silence, seed=0).hidden_lsb.astype(int)
    moved = chip.with_codes(cadc_trim=np.where(np.arange(256) < 100, trim, 0)).run(w, silence, seed=0).hidden_lsb
    assert (plain == 80).all()
    np.testing.assert_array_equal(moved[..., :100], np.clip(plain[..., :100] + trim, 0, 255))
    np.testing.assert_array_equal(moved[..., 100:], plain[..., 100:])
