"""Loading the image sets, and holding out a validation set."""

import gzip

import numpy as np
import pytest

from bss2lab.datasets import catalogue, vision
from bss2lab.errors import DataError, InputError


@pytest.fixture(scope="module")
def mnist():
    return vision.load("mnist", "train")


def toy(labels, split="train", name="mnist"):
    labels = np.asarray(labels, dtype=np.uint8)
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), dtype=np.uint8)
    return vision.ImageSet(pixels, labels, name, split, 2)


def test_mnist_is_the_real_one(mnist):
    assert mnist.images.shape == (60_000, 28, 28)
    assert mnist.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # as published: images per digit, mean and standard deviation of the grey values
    assert np.bincount(mnist.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    test = vision.load("mnist", "test")
    assert len(test) == 10_000
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (test.split, test.crop) == ("test", 2)


@pytest.mark.needs("Fashion-MNIST")
def test_fashion_is_the_real_one():
    data = vision.load("fashion", "test")
    assert np.bincount(data.labels).tolist() == [1000] * 10
    assert data.labels[:5].tolist() == [9, 2, 1, 1, 6]
    assert data.dataset.classes[data.labels[0]] == "ankle boot"
    assert data.crop == 0
    np.testing.assert_array_equal(data.take(9).prepare(), vision.images.prepare(data.images[:9], 0))


def test_loaded_arrays_cannot_be_changed(mnist):
    with pytest.raises(ValueError, match="read-only"):
        mnist.images[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        mnist.take(3).labels[0] = 1


def test_prepare_uses_the_sets_own_crop(mnist):
    few = mnist.take(5)
    np.testing.assert_array_equal(few.prepare(), vision.images.prepare(few.images, 2))
    angles = np.linspace(-15, 15, 5)
    turned = vision.images.prepare(few.images, 2, rotation_deg=angles)
    np.testing.assert_array_equal(few.prepare(rotation_deg=angles), turned)


def test_take_and_subset(mnist):
    few = mnist.subset(np.array([7, 3]))
    assert few.labels.tolist() == [3, 1]
    np.testing.assert_array_equal(few.images[1], mnist.images[3])
    assert (few.name, few.split, few.crop) == ("mnist", "train", 2)
    assert len(mnist.take(0)) == 0
    with pytest.raises(InputError, match="expected 0 … 2 images, got 3"):
        few.take(3)


def test_validation_and_training_set_make_up_the_whole(mnist):
    train, validation = vision.split_validation(mnist, seed=1)
    assert (len(train), len(validation)) == (55_000, 5000)
    assert (train.split, validation.split) == ("train", "validation")
    # stratified: every class within one image of its share
    share = np.bincount(mnist.labels) / 12
    assert np.abs(np.bincount(validation.labels) - share).max() < 1
    again = vision.split_validation(mnist, seed=1)[1]
    np.testing.assert_array_equal(validation.images, again.images)
    assert (validation.images != vision.split_validation(mnist, seed=2)[1].images).any()


def test_validation_set_takes_each_image_once_and_in_order():
    data = toy(np.arange(100) % 7)
    train, validation = vision.split_validation(data, 23, seed=0)
    kept, held = train.images[:, 0, 0], validation.images[:, 0, 0]
    assert sorted([*kept, *held]) == list(range(100))
    assert (np.diff(kept.astype(int)) > 0).all()
    assert (np.diff(held.astype(int)) > 0).all()
    np.testing.assert_array_equal(data.labels[held], validation.labels)


def test_the_test_set_is_never_split():
    with pytest.raises(InputError, match="got the test set"):
        vision.split_validation(toy([0, 1, 2], split="test"), 1)


@pytest.mark.parametrize("n", [0, -1, 3, 5000])
def test_validation_set_must_leave_something(n):
    with pytest.raises(InputError, match="n_validation: expected 1 … 2 images"):
        vision.split_validation(toy([0, 1, 2]), n)


def test_bad_labels_are_refused():
    with pytest.raises(DataError, match=r"mnist train: expected labels 0 … 9, got 10"):
        toy([0, 10])
    pixels = np.zeros((3, 28, 28), dtype=np.uint8)
    with pytest.raises(DataError, match="expected 3 labels, one per image, got 2"):
        vision.ImageSet(pixels, np.zeros(2, dtype=np.uint8), "mnist", "train", 2)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"expected 'mnist' or 'fashion', got 'mnits'; did you mean 'mnist'"):
        vision.load("mnits", "train")
    with pytest.raises(InputError, match="split: expected 'train' or 'test', got 'validation'"):
        vision.load("mnist", "validation")


def test_load_refuses_a_corrupt_file(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    bad = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    bad.write_bytes(gzip.compress(b"\0" * 100))
    monkeypatch.setenv("BSS2LAB_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        vision.load("mnist", "test")
    assert str(bad) in str(caught.value)
    assert "7,840,016 bytes" in str(caught.value)


def test_every_file_of_a_split_is_in_the_catalogue():
    names = {f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}
    for dataset in (catalogue.MNIST, catalogue.FASHION):
        assert {file.name for file in dataset.files} == names
    for dataset in catalogue.CATALOGUE.values():
        if isinstance(dataset, catalogue.SpeechDataset):
            assert {file.name for file in dataset.files} == set(dataset.splits.values())
        assert len(dataset.classes) == (20 if isinstance(dataset, catalogue.SpeechDataset) else 10)
