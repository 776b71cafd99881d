"""The real chip's published numbers, and the reader for its files."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import skew, spearmanr

from bss2lab.chip import Chip, ChipProfile, load_profile, published
from bss2lab.config import Source
from bss2lab.errors import DataError, InputError

N = 40
MIDDLES = {"tau_m": 16e-6, "tau_syn_exc": 5e-6, "tau_syn_inh": 5.2e-6, "v_leak": 0.46, "v_reset": 0.33, "v_thres": 0.74}
REFERENCE = os.environ.get("BSS2LAB_REFERENCE")
needs_arrays = pytest.mark.needs("the real chip's arrays")


def columns():
    """Per file: (calibrated, uncalibrated), with a common factor so that there are correlations."""
    generator = np.random.default_rng(0)
    common = generator.normal(0, 1, N)
    made = {}
    for file, middle in MIDDLES.items():
        z = 0.7 * common + 0.7 * generator.normal(0, 1, N)
        made[file] = middle * (1 + 0.02 * z), middle * (1 + 0.1 * z)
    return made


def write(folder, **changed):
    """Write files in the published layout; ``file={...}`` replaces a file's arrays."""
    for file, (calibrated, uncalibrated) in columns().items():
        np.savez(folder / f"{file}.npz", **changed.get(file, {file: calibrated, f"{file}_uncal": uncalibrated}))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calibrated", [False, True])
def test_seconds_become_microseconds_and_volts_become_millivolts(folder, calibrated):
    arrays = published.read_published_spread(folder, calibrated)
    assert set(arrays) == {"tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "leak_mv", "reset_mv", "threshold_mv"}
    k = 0 if calibrated else 1
    made = columns()
    np.testing.assert_allclose(arrays["tau_mem_us"], made["tau_m"][k] * 1e6)
    np.testing.assert_allclose(arrays["tau_syn_inh_us"], made["tau_syn_inh"][k] * 1e6)
    np.testing.assert_allclose(arrays["threshold_mv"], made["v_thres"][k] * 1e3)
    np.testing.assert_allclose(arrays["leak_mv"], made["v_leak"][k] * 1e3)
    np.testing.assert_allclose(arrays["reset_mv"], made["v_reset"][k] * 1e3)


def test_a_path_may_be_a_string(folder):
    assert len(published.read_published_spread(str(folder), True)["leak_mv"]) == N


def test_a_missing_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"nothing there.*tau_m\.npz.*v_thres\.npz.*neuromorphic-bistability"):
        published.read_published_spread(tmp_path / "no", False)


def test_a_file_is_no_folder(folder):
    with pytest.raises(DataError, match=r"expected a folder .* got a file"):
        published.read_published_spread(folder / "tau_m.npz", False)


def test_a_missing_file_is_named(folder):
    (folder / "v_reset.npz").unlink()
    with pytest.raises(DataError, match=r"v_reset\.npz: expected a file .* got nothing there; download"):
        published.read_published_spread(folder, False)


def test_a_missing_array_is_named_with_what_is_there(tmp_path):
    write(tmp_path, tau_m={"tau_m": np.ones(N)})
    with pytest.raises(DataError, match=r"tau_m\.npz: expected an array 'tau_m_uncal', got tau_m;"):
        published.read_published_spread(tmp_path, False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_with_the_neuron(tmp_path, bad):
    values = np.full(N, 5e-6)
    values[[7, 9]] = bad
    write(tmp_path, tau_syn_exc={"tau_syn_exc": values, "tau_syn_exc_uncal": values})
    with pytest.raises(
        DataError, match=r"tau_syn_exc_uncal: expected finite numbers, got (nan|inf) for neuron 7 \(of 2"
    ):
        published.read_published_spread(tmp_path, False)


def test_unequal_lengths_are_refused_with_each_files(tmp_path):
    write(tmp_path, v_leak={"v_leak": np.full(N - 1, 0.46), "v_leak_uncal": np.full(N, 0.46)})
    assert len(published.read_published_spread(tmp_path, False)["leak_mv"]) == N
    with pytest.raises(DataError, match=rf"as many neurons in every file, got .*{N} in tau_m\.npz.*{N - 1} in v_leak"):
        published.read_published_spread(tmp_path, True)


@pytest.mark.parametrize("values", [np.ones((2, N)), np.array(["a", "b"]), np.ones(1), np.ones(N, complex)])
def test_arrays_that_are_no_list_of_numbers_are_refused(tmp_path, values):
    write(tmp_path, v_leak={"v_leak": values, "v_leak_uncal": values})
    with pytest.raises(DataError, match="v_leak_uncal: expected one number per neuron"):
        published.read_published_spread(tmp_path, False)


def test_damaged_and_hostile_files_are_refused(folder):
    path = folder / "tau_m.npz"
    whole = path.read_bytes()

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "sprung"),))

    def pickled():
        np.savez(path, tau_m_uncal=np.array([Trap()] * 3, dtype=object))

    def plain():
        with path.open("wb") as file:
            np.save(file, np.ones(N))

    def other():
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("tau_m_uncal.npy", b"no array")

    for damage in (
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"no zip"),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        pickled,
        plain,
        other,
    ):
        damage()
        with pytest.raises(DataError, match=r"tau_m\.npz"):
            published.read_published_spread(folder, False)
    assert not (folder / "sprung").exists()


# --- profiles ----------------------------------------------------------------------------------------------------


def test_chips_are_made_of_the_neurons_of_the_files(folder):
    arrays = published.read_published_spread(folder, False)
    profile = published.published_profile(folder)
    assert profile == ChipProfile.from_measurements(arrays, name="real-uncalibrated")
    assert profile.tau_mem_us == pytest.approx(np.median(arrays["tau_mem_us"]))
    truth = Chip(1, profile).mismatch
    measured = {tuple(np.round(row, 9)) for row in np.array([arrays["tau_mem_us"], arrays["leak_mv"]]).T}
    assert {tuple(np.round(row, 9)) for row in np.array([truth.tau_mem_us, truth.leak_mv]).T} == measured


def test_a_profile_can_be_of_calibrated_neurons_or_have_ours_calibrate(folder):
    tuned = published.published_profile(folder, calibrated=True)
    assert (tuned.name, tuned.calibrated) == ("real-calibrated", False)  # not once more
    assert published.published_profile(folder, recalibrate=True).calibrated
    with pytest.raises(InputError, match="recalibrate: expected neurons at equal codes"):
        published.published_profile(folder, calibrated=True, recalibrate=True)


def test_files_in_other_units_are_refused(tmp_path):
    write(tmp_path, tau_m={"tau_m": np.full(N, 16.0), "tau_m_uncal": np.full(N, 16.0)})  # µs, not s
    with pytest.raises(InputError, match=r"tau_mem_us: expected 0\.25 … 100 µs.*check the unit"):
        published.published_profile(tmp_path)


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_written_profile_is_the_chip_again(folder, tmp_path, calibrated):
    path = tmp_path / "deep" / "my_chip.json"
    made = published.write_published_profile(folder, path, calibrated=calibrated)
    again = load_profile(str(path))
    assert again == made
    assert again.name == "my_chip"
    wanted = published.published_profile(folder, calibrated=calibrated, name="my_chip")
    np.testing.assert_array_equal(Chip(5, again).mismatch.threshold_mv, Chip(5, wanted).mismatch.threshold_mv)


def test_nothing_is_left_of_a_profile_that_cannot_be_made(folder, tmp_path):
    path = tmp_path / "out" / "my_chip.json"
    with pytest.raises(InputError, match=r"--out: expected a file name that ends in \.json, got 'my_chip'"):
        published.write_published_profile(folder, path.with_suffix(""))
    (folder / "v_leak.npz").unlink()
    with pytest.raises(DataError):
        published.write_published_profile(folder, path)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("kept")
    with pytest.raises(DataError):
        published.write_published_profile(folder, path)
    assert path.read_text() == "kept"


# --- numbers -----------------------------------------------------------------------------------------------------


def test_a_spread_summarises_what_could_be_measured():
    x = np.random.default_rng(1).lognormal(0, 0.4, 301)
    s = published.Spread.of(np.append(x, [np.nan, np.nan]), "µs")
    assert (s.unit, s.n, s.source) == ("µs", 301, None)
    assert (s.mean, s.sd) == pytest.approx((x.mean(), x.std()))
    assert s.median == np.sort(x)[150]
    assert s.robust_sd == pytest.approx(1.4826 * np.sort(np.abs(x - s.median))[150])
    assert (s.low, s.high) == pytest.approx((np.sort(x)[15], np.sort(x)[285]))
    assert s.skewness == pytest.approx(skew(x))
    assert s.relative == pytest.approx(x.std() / x.mean())
    assert s.robust_relative == pytest.approx(s.robust_sd / s.median)
    assert published.Spread.of([3.0, 3.0], "mV").skewness == 0


def test_rank_correlations_are_spearmans():
    arrays = {name: values[1] for name, values in zip(published.CORRELATED, columns().values(), strict=True)}
    wanted = spearmanr(np.array(list(arrays.values())).T).statistic
    np.testing.assert_allclose(published.rank_correlation(arrays), wanted)
    gap = {name: values.copy() for name, values in arrays.items()}
    gap["leak_mv"][3] = np.nan  # the neuron is left out everywhere
    less = {name: np.delete(values, 3) for name, values in arrays.items()}
    np.testing.assert_allclose(published.rank_correlation(gap), published.rank_correlation(less))


def test_differences_between_blocks_are_told_from_those_within():
    generator = np.random.default_rng(2)
    level = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    arrays = {name: 5 * level + generator.normal(0, 1, 400) for name in published.CORRELATED}
    assert published.rank_correlation(arrays)[0, 1] > 0.9
    assert abs(published.within_blocks(arrays)[0, 1]) < 0.15
    assert published.between_blocks(arrays["leak_mv"]) == pytest.approx(25 * 1.25 / (25 * 1.25 + 1), abs=0.02)
    assert published.between_blocks(generator.normal(0, 1, 400)) < 0.05


def test_published_numbers_are_marked_and_make_sense():
    for calibrated in (False, True):
        table = published.published_spread(calibrated=calibrated)
        assert set(table) == {*published.CORRELATED, "distance_mv"}
        for name, s in table.items():
            assert (s.source, s.n) == (Source.MEASURED, 512)
            assert s.unit == ("µs" if name.endswith("_us") else "mV")
            assert s.low < s.median - s.robust_sd / 2 < s.median + s.robust_sd / 2 < s.high
    assert published.CALIBRATED["tau_mem_us"].sd < published.UNCALIBRATED["tau_mem_us"].sd
    for rho in (published.CORRELATION_UNCALIBRATED, published.CORRELATION_WITHIN_BLOCKS):
        np.testing.assert_array_equal(rho, rho.T)
        assert (np.diag(rho) == 1).all()
        assert np.linalg.eigvalsh(rho).min() > 0
        with pytest.raises(ValueError, match="read-only"):
            rho[0, 0] = 2


def test_the_default_profile_draws_the_published_spreads():
    real, p = published.UNCALIBRATED, ChipProfile()
    assert p.tau_mem_cv == pytest.approx(real["tau_mem_us"].relative, abs=0.01)
    assert p.tau_syn_cv == pytest.approx(real["tau_syn_exc_us"].relative, abs=0.01)
    for name in ("leak", "reset", "threshold"):
        assert getattr(p, f"{name}_sd_mv") == pytest.approx(real[f"{name}_mv"].sd, rel=0.01)


@needs_arrays
def test_published_numbers_are_those_of_the_arrays():
    for calibrated in (False, True):
        arrays = published.read_published_spread(Path(str(REFERENCE)), calibrated)
        arrays["distance_mv"] = arrays["threshold_mv"] - arrays["leak_mv"]
        for name, stated in published.published_spread(calibrated=calibrated).items():
            found = published.Spread.of(arrays[name], stated.unit)
            for field in ("n", "mean", "sd", "median", "robust_sd", "low", "high", "skewness"):
                assert getattr(stated, field) == pytest.approx(getattr(found, field), abs=0.0051, rel=1e-5), (
                    name,
                    field,
                )
    arrays = published.read_published_spread(Path(str(REFERENCE)), False)
    np.testing.assert_allclose(published.CORRELATION_UNCALIBRATED, published.rank_correlation(arrays), atol=0.0051)
    np.testing.assert_allclose(published.CORRELATION_WITHIN_BLOCKS, published.within_blocks(arrays), atol=0.0051)
    for name, share in published.BETWEEN_BLOCKS.items():
        assert published.between_blocks(arrays[name]) == pytest.approx(share, abs=0.0051)


@needs_arrays
def test_a_chip_of_the_real_neurons_has_their_correlations(tmp_path):
    path = tmp_path / "real.json"
    published.write_published_profile(Path(str(REFERENCE)), path)
    truth = Chip(0, str(path)).mismatch
    here = published.rank_correlation({name: getattr(truth, name) for name in published.CORRELATED})
    np.testing.assert_allclose(here, published.CORRELATION_UNCALIBRATED, atol=0.15)
    assert len(json.loads(path.read_text())["measured"]["tau_mem_us"]) == 512
