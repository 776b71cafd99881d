"""16×16 preparation: held to Pillow, torch and scipy, which know nothing of this package."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from bss2lab.datasets import images
from bss2lab.datasets.images import prepare, rotation_angles
from bss2lab.errors import InputError

CROPS = {"mnist": 2, "fashion": 0}
GREY = hnp.arrays(np.uint8, (2, 28, 28), elements=st.sampled_from([0, 1, 50, 51, 52, 127, 128, 200, 254, 255]))


def pictures(n=64, seed=0):
    """Smooth blobs, hard edges and noise: what digits, clothes and bad luck look like."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (n, 28, 28)).astype(np.float64)
    blobs = ndimage.gaussian_filter(noise, (0, 2, 2))
    blobs = 255 * (blobs - blobs.min()) / np.ptp(blobs)
    edges = np.where(blobs > 128, 255.0, 0.0)
    return np.concatenate([noise, blobs, edges]).round().astype(np.uint8)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_antialiased_within_one_grey_value_of_torch(crop):
    source = pictures()
    cut = torch.from_numpy(source[:, crop : 28 - crop, crop : 28 - crop].copy())[:, None]
    oracle = torch.nn.functional.interpolate(cut, size=(16, 16), mode="bicubic", antialias=True)[:, 0].numpy()
    difference = np.abs(prepare(source, crop).astype(int) - oracle)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_antialiased_matrix_is_that_of_torch_in_double_precision(crop):
    """Without any rounding to 8 bit, R X Rᵀ is torch's result to the 2⁻²² of the stored coefficients."""
    source = pictures()[:, crop : 28 - crop, crop : 28 - crop].astype(np.float64)
    rows = images.antialiased_rows(28 - 2 * crop, 16)
    oracle = torch.nn.functional.interpolate(
        torch.from_numpy(source)[:, None], size=(16, 16), mode="bicubic", antialias=True
    )
    np.testing.assert_allclose(rows @ source @ rows.T, oracle[:, 0].numpy(), atol=1e-3)


@settings(max_examples=50)
@given(GREY, st.sampled_from([0, 2, 5]))
def test_antialiased_is_pillow_bit_for_bit(source, crop):
    image = pytest.importorskip("PIL.Image", reason="needs pillow: pip install pillow")
    cut = source[:, crop : 28 - crop, crop : 28 - crop]
    oracle = [np.asarray(image.fromarray(x).resize((16, 16), image.Resampling.BICUBIC)) for x in cut]
    np.testing.assert_array_equal(prepare(source, crop), oracle)


@settings(max_examples=50)
@given(GREY, st.sampled_from([0, 2, 5]))
def test_spline_is_the_zoom_of_scipy(source, crop):
    side = 28 - 2 * crop
    oracle = np.stack([ndimage.zoom(x[crop : 28 - crop, crop : 28 - crop], 16 / side) for x in source])
    result = prepare(source, crop, resampling="spline")
    difference = np.abs(result.astype(int) - oracle)
    assert difference.max() <= 1  # another order of summation may tip a tie
    assert (difference != 0).mean() < 0.01


def test_flat_images_stay_flat():
    grey = np.repeat(np.array([0, 1, 51, 128, 255], dtype=np.uint8), 28 * 28).reshape(5, 28, 28)
    for kind in images.Resampling:
        np.testing.assert_array_equal(prepare(grey, 2, resampling=kind), grey[:, :16, :16])


def test_same_size_is_the_identity():
    source = pictures(8)
    for kind in images.Resampling:
        np.testing.assert_array_equal(prepare(source, 0, 28, resampling=kind), source)
        np.testing.assert_array_equal(prepare(source, 6, resampling=kind), source[:, 6:22, 6:22])


def test_zero_degrees_is_the_identity():
    source = pictures(8)
    np.testing.assert_array_equal(prepare(source, 0, 28, rotation_deg=np.zeros(len(source))), source)
    np.testing.assert_array_equal(prepare(source, 2, rotation_deg=np.zeros(len(source))), prepare(source, 2))


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_quarter_turns_are_exact_and_counter_clockwise(quarters):
    source = pictures(8)
    angles = np.full(len(source), 90.0 * quarters)
    expected = np.rot90(source, quarters, axes=(1, 2))
    np.testing.assert_array_equal(prepare(source, 0, 28, rotation_deg=angles), expected)


@pytest.mark.parametrize("crop", [0, 2])
def test_rotation_is_that_of_scipy(crop):
    source = pictures(16)
    angles = rotation_angles(len(source), 180, seed=3)
    oracle = np.stack(
        [
            ndimage.rotate(x.astype(float), a, reshape=False, order=1, mode="grid-constant")
            for x, a in zip(source, angles, strict=True)
        ]
    )[:, crop : 28 - crop, crop : 28 - crop]
    turned = prepare(source, crop, 28 - 2 * crop, rotation_deg=angles)
    assert np.abs(turned - oracle).max() <= 0.5 + 0.01
    # and the reduction after it is the one tested above
    whole = prepare(source, 0, 28, rotation_deg=angles)
    np.testing.assert_array_equal(prepare(source, crop, rotation_deg=angles), prepare(whole, crop))


def test_each_image_turns_by_its_own_angle():
    source = np.repeat(pictures(1)[1:2], 3, axis=0)
    turned = prepare(source, 0, 28, rotation_deg=np.array([0.0, 90.0, 180.0]))
    np.testing.assert_array_equal(turned, [np.rot90(source[0], k) for k in range(3)])


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 129])
def test_the_batch_size_does_not_matter(n):
    source = pictures(64)[:n]
    angles = rotation_angles(n, 15, seed=0)
    one_by_one = [prepare(source[b : b + 1], 2, rotation_deg=angles[b : b + 1])[0] for b in range(n)]
    result = prepare(source, 2, rotation_deg=angles)
    assert result.shape == (n, 16, 16)
    np.testing.assert_array_equal(result, np.array(one_by_one, dtype=np.uint8).reshape(n, 16, 16))


def test_views_and_writeable_arrays_give_the_same_and_stay_untouched():
    source = pictures(8)
    flipped = source[:, ::-1]
    before = source.copy()
    np.testing.assert_array_equal(prepare(flipped, 2), prepare(flipped.copy(), 2))
    np.testing.assert_array_equal(source, before)
    assert source.flags.writeable


def test_angles_are_uniform_and_follow_the_seed():
    angles = rotation_angles(20_000, 15, seed=5)
    assert np.abs(angles).max() <= 15
    assert np.abs(angles).max() > 14.9
    assert abs(angles.mean()) < 0.25  # standard error 15/√3/√20,000 = 0.06
    assert angles.std() == pytest.approx(15 / np.sqrt(3), rel=0.02)
    np.testing.assert_array_equal(angles, rotation_angles(20_000, 15, seed=5))
    assert (angles != rotation_angles(20_000, 15, seed=6)).any()
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(angles, rotation_angles(20_000, 15, seed=generator))
    assert (angles != rotation_angles(20_000, 15, seed=generator)).any()


SOURCE = np.zeros((2, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": SOURCE / 255}, ["uint8", "float64", "astype(np.uint8)"]),
        ({"images": np.full((2, 28, 28), np.nan, dtype=np.float32)}, ["uint8", "float32"]),
        ({"images": SOURCE.astype(np.int64)}, ["uint8", "int64"]),
        ({"images": SOURCE.tolist()}, ["uint8", "list"]),
        ({"images": SOURCE[0]}, ["[n, height, width]", "(28, 28)", "images[None]"]),
        ({"images": SOURCE.reshape(2, 784)}, ["[n, height, width]", "(2, 784)"]),
        ({"images": SOURCE[:, :20]}, ["square", "(2, 20, 28)"]),
        ({"crop": -1}, ["crop", "got -1"]),
        ({"crop": 14}, ["crop", "0 … 13 px", "got 14"]),
        ({"size": 1}, ["size", "got 1"]),
        ({"rotation_deg": np.zeros(3)}, ["2 finite angles", "(3,)"]),
        ({"rotation_deg": np.array([0, np.nan])}, ["2 finite angles", "NaN"]),
        ({"resampling": "nearest"}, ["'antialiased' or 'spline'", "'nearest'"]),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(InputError) as caught:
        prepare(**{"images": SOURCE, "crop": 2, **arguments})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("max_deg", [-1, 181, np.nan])
def test_bad_largest_angle_is_refused(max_deg):
    with pytest.raises(InputError, match="max_deg: expected 0 … 180"):
        rotation_angles(3, max_deg, seed=0)
