"""Chips made unequal on purpose: targets, what the neurons become, and what is said of those that cannot."""

import functools

import numpy as np
import pytest
from scipy.stats import truncnorm

from bss2lab.chip import Chip
from bss2lab.chip.decalibrate import drawn_targets
from bss2lab.chip.instruments import self_active
from bss2lab.errors import InputError
from bss2lab.types import Spikes, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

TIMES = ("tau_mem", "tau_syn_exc", "tau_syn_inh")
SIGMAS = (0.1, 0.2, 0.3, 0.4)
CHIPS = range(4)


@functools.cache
def detuned(seed, sigma_d, which="both", detuning_seed=0):
    return Chip(seed).decalibrate(sigma_d, which, seed=detuning_seed)


def rel_sd(values):
    return values.std() / values.mean()


def reached(chip, name):
    """Neurons whose target is not out of reach."""
    return ~np.isin(np.arange(256), [f.neuron for f in chip.detuning.out_of_reach if f.parameter == name])


# --- targets ----------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_targets_scaled():
    one, two, other = (detuned(0, s, "both", k).detuning.targets for s, k in ((0.1, 3), (0.2, 3), (0.1, 4)))
    for name in TIMES:
        z = (getattr(one, name) / 6 - 1) / 0.1
        np.testing.assert_allclose((getattr(two, name) / 6 - 1) / 0.2, z, atol=1e-9)
        assert np.abs(z - (getattr(other, name) / 6 - 1) / 0.1).max() > 1
        assert z.std() == pytest.approx(1, abs=3 / np.sqrt(512))
        assert abs(z.mean()) < 3.5 / 16
    z = [(t.threshold - 150) / 70 / s for t, s in ((one, 0.1), (two, 0.2))]
    np.testing.assert_allclose(z[0], z[1], atol=1e-9)
    assert z[0].std() == pytest.approx(1, abs=3 / np.sqrt(512))
    for name in ("leak", "reset"):
        np.testing.assert_array_equal(getattr(one, name), 80)


def test_each_time_constant_and_the_threshold_is_drawn_on_its_own():
    targets = detuned(0, 0.2, "both", 3).detuning.targets
    columns = np.stack([*(getattr(targets, name) for name in TIMES), targets.threshold])
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 4 / 16


def test_time_constants_below_zero_do_not_exist():
    targets = drawn_targets(Chip(0).calibration.targets, 1.0, ("tau",), 0)
    assert all(getattr(targets, name).min() == 0.05 for name in TIMES)


def test_the_chip_of_another_seed_gets_the_same_targets_and_other_codes():
    one, other = detuned(0, 0.2), detuned(1, 0.2)
    np.testing.assert_array_equal(one.detuning.targets.tau_mem, other.detuning.targets.tau_mem)
    assert (one.codes.tau_mem != other.codes.tau_mem).mean() > 0.9


# --- what the neurons become ------------------------------------------------------------------------------------


def test_without_spread_it_is_the_calibrated_chip():
    chip = Chip(2)
    same = chip.decalibrate(0.0)
    assert same.codes.same_as(chip.codes)
    assert same.detuning.out_of_reach == same.detuning.self_active == ()
    assert chip.detuning is None


@pytest.mark.parametrize("sigma_d", SIGMAS)
@pytest.mark.parametrize("name", TIMES)
def test_hidden_time_constants_spread_by_sigma_d(name, sigma_d):
    """Pooled over detuning seeds; codes end at about a third of the nominal value, which narrows the widest."""
    values = np.concatenate([getattr(detuned(0, sigma_d, "tau", k).mismatch, f"{name}_us") for k in CHIPS])
    end = 0.36 if name == "tau_mem" else 0.18
    drawn = truncnorm((end - 1) / sigma_d, np.inf, 1, sigma_d).std()
    low, high = min(drawn / truncnorm((end - 1) / sigma_d, np.inf, 1, sigma_d).mean(), sigma_d), sigma_d
    error = 3.5 / np.sqrt(2 * values.size)
    assert low * (1 - error) < rel_sd(values) < high * (1 + error)


@pytest.mark.parametrize("sigma_d", SIGMAS)
def test_hidden_distance_from_leak_to_threshold_spreads_by_sigma_d(sigma_d):
    chips = [detuned(0, sigma_d, "threshold", k) for k in CHIPS]
    distance = np.concatenate([c.mismatch.threshold_mv - c.mismatch.leak_mv for c in chips])
    assert distance.std() / 328.1 == pytest.approx(sigma_d, rel=3.5 / np.sqrt(2 * distance.size))
    assert distance.mean() == pytest.approx(328.1, abs=3.5 * 328 * sigma_d / np.sqrt(distance.size) + 2)


@pytest.mark.parametrize("sigma_d", [0.1, 0.4])
def test_every_neuron_is_at_its_own_target(sigma_d):
    chip = detuned(1, sigma_d)
    truth, targets = chip.mismatch, chip.detuning.targets
    for name in TIMES:
        error = (getattr(truth, f"{name}_us") / getattr(targets, name) - 1)[reached(chip, name)]
        assert error.std() < 0.02, name
        assert np.abs(error).max() < 0.12
    error = truth.threshold_mv * 256 / 1200 - targets.threshold
    assert error[reached(chip, "threshold")].std() < 0.8


def test_detuning_one_thing_leaves_the_other_alone():
    chip = Chip(1)
    tau, threshold = detuned(1, 0.3, "tau"), detuned(1, 0.3, "threshold")
    for name in ("threshold", "leak", "reset", "gain_exc", "gain_inh", "cadc_trim"):
        np.testing.assert_array_equal(getattr(tau.codes, name), getattr(chip.codes, name), err_msg=name)
    for name in (*TIMES, "leak", "reset", "gain_exc", "gain_inh", "cadc_trim"):
        np.testing.assert_array_equal(getattr(threshold.codes, name), getattr(chip.codes, name), err_msg=name)
    for name in TIMES:
        assert (getattr(tau.codes, name) != getattr(chip.codes, name)).mean() > 0.9
    assert (threshold.codes.threshold != chip.codes.threshold).mean() > 0.9
    both = detuned(1, 0.3)
    np.testing.assert_array_equal(both.codes.threshold, threshold.codes.threshold)
    np.testing.assert_array_equal(both.codes.tau_mem, tau.codes.tau_mem)
    for same in ({"tau", "threshold"}, ["threshold", "tau"]):
        assert chip.decalibrate(0.3, same).codes.same_as(both.codes)


def test_a_detuned_chip_runs_and_the_old_one_is_as_it_was():
    chip = Chip(1)
    codes = chip.codes
    other = chip.decalibrate(0.3)
    assert chip.codes is codes
    assert chip.detuning is None
    w = Weights(np.full((20, 40), 20), np.ones((40, 10), int))
    spikes = Spikes.from_events([(np.linspace(0, 9, 20), np.arange(20))], n_units=20, duration_us=34.0)
    one, two = (c.run(w, spikes, seed=0).hidden_fired.sum(axis=(0, 1)) for c in (chip, other))
    assert one.sum() > 0
    assert (one != two).any()


def test_it_starts_from_the_calibration_whatever_the_codes_are_now():
    chip = Chip(1)
    for start in (chip.with_codes(leak=400), chip.decalibrate(0.5), Chip(1, "uncalibrated")):
        assert start.decalibrate(0.2).codes.same_as(chip.decalibrate(0.2).codes)


# --- what is said of it -----------------------------------------------------------------------------------------


def test_targets_out_of_reach_are_named_with_numbers():
    chip = detuned(3, 0.5)
    targets, truth = chip.detuning.targets, chip.mismatch
    assert detuned(3, 0.1).detuning.out_of_reach == ()
    assert {f.parameter for f in chip.detuning.out_of_reach} >= {"tau_mem"}
    for failure in chip.detuning.out_of_reach:
        words = failure.reason.split()
        wanted = getattr(targets, failure.parameter)[failure.neuron]
        code = getattr(chip.codes, failure.parameter)[failure.neuron]
        assert failure.reason.startswith(f"out of reach: target {wanted:.3g} ")
        assert code in (0, 1022)
        assert f"code {code} gives" in failure.reason
        if failure.parameter in TIMES:
            assert float(words[-2]) == pytest.approx(getattr(truth, f"{failure.parameter}_us")[failure.neuron], rel=0.1)
    # whoever is not named is at the target
    for name in TIMES:
        ratio = getattr(truth, f"{name}_us") / getattr(targets, name)
        assert np.abs(ratio[reached(chip, name)] - 1).max() < 0.15
        assert (np.abs(ratio[~reached(chip, name)] - 1) > 0.0).all()


def test_neurons_that_leak_over_their_threshold_are_named():
    chip = detuned(0, 0.5)
    assert chip.detuning.self_active == tuple(self_active(chip).tolist())
    margin = chip.mismatch.leak_mv - chip.mismatch.threshold_mv
    active = np.isin(np.arange(256), chip.detuning.self_active)
    assert active[margin > 8].all()
    assert not active[margin < -12].any()
    assert active.any()
    assert detuned(0, 0.1).detuning.self_active == ()
    assert detuned(0, 0.5, "tau").detuning.self_active == ()


def test_a_detuned_chip_says_so():
    assert repr(detuned(0, 0.2)) == (
        "Chip(seed=0, profile='calibrated', σ_d=0.2 of tau and threshold, detuning seed 0) [emulated]"
    )
    assert "σ_d=0.3 of tau, detuning seed 5)" in repr(Chip(0).decalibrate(0.3, "tau", seed=5))
    assert "σ_d" not in repr(detuned(0, 0.2).with_codes(leak=200))


def test_codes_found_by_measuring_anew_agree_with_those_from_the_curves():
    """The slow way: hidden time constants within 3 %, and both ways at their targets."""
    quick, slow = detuned(1, 0.2), Chip(1).decalibrate(0.2, measured=True)
    targets = quick.detuning.targets
    np.testing.assert_array_equal(slow.detuning.targets.tau_mem, targets.tau_mem)
    for name in TIMES:
        both = reached(quick, name) & reached(slow, name)
        ratio = getattr(slow.mismatch, f"{name}_us") / getattr(quick.mismatch, f"{name}_us")
        assert np.abs(ratio[both] - 1).mean() < 0.01
        assert np.quantile(np.abs(ratio[both] - 1), 0.98) < 0.03
        assert (getattr(slow.mismatch, f"{name}_us") / getattr(targets, name) - 1)[both].std() < 0.015
    assert np.abs(slow.mismatch.threshold_mv - quick.mismatch.threshold_mv).mean() < 3
    assert (slow.mismatch.threshold_mv * 256 / 1200 - targets.threshold).std() < 0.6


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma_d", [-0.1, 1.01, np.nan, np.inf, "0.3", None, [0.3]])
def test_a_spread_out_of_range_is_refused(sigma_d):
    with pytest.raises(InputError) as caught:
        Chip(0).decalibrate(sigma_d)
    assert str(caught.value) == f"sigma_d: expected a number 0 … 1, got {sigma_d!r}; the paper goes up to 0.5"


@pytest.mark.parametrize("which", ["taus", "", set(), [], {"tau", "leak"}, None, 3, [["tau"]], {"both"}])
def test_an_unknown_thing_to_detune_is_refused(which):
    with pytest.raises(InputError) as caught:
        Chip(0).decalibrate(0.2, which)
    want = f"which: expected 'tau', 'threshold', a set of the two, or 'both', got {which!r}; name what to detune"
    assert str(caught.value) == want


@pytest.mark.parametrize("seed", [-1, 1.5, 2**32, "1"])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match="decalibration seed: expected an integer"):
        Chip(0).decalibrate(0.2, seed=seed)
