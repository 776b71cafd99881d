"""The image data sets as the experiments use them: load a split, reduce it, hold out a validation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bss2lab.datasets import catalogue, files, idx, images
from bss2lab.datasets.catalogue import ImageDataset
from bss2lab.datasets.images import Resampling
from bss2lab.errors import DataError, InputError, complain
from bss2lab.types import names_one, position, where

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8
    from numpy import ndarray

Split = Literal["train", "validation", "test"]

_PREFIX = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled grey images; a map-style dataset, as torch's ``DataLoader`` takes them.

    ``data[k]`` is (image, label): the image as the chip gets it, 16×16 pixels, uint8, and its class, an int.
    ``data[2:5]`` and ``data[[0, 7]]`` are the ``ImageSet`` of these images.

    Attributes:
        images: grey values, shape [n, 28, 28].
        labels: class of each image, 0 … 9, shape [n].
        name: data set they come from, ``"mnist"`` or ``"fashion"``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        crop: pixels dropped on each side by :meth:`prepare`.

    Raises:
        DataError: on construction, if images and labels do not fit together or a label is out of range.
    """

    images: UInt8[ndarray, "n h w"]
    labels: UInt8[ndarray, "n"]
    name: str
    split: Split
    crop: int

    def __post_init__(self) -> None:
        n_classes = len(self.dataset.classes)
        fix = f"the files of {self.name!r} do not belong together: see `bss2lab data verify`"
        if len(self.images) != len(self.labels):
            want, got = f"{len(self.images)} labels, one per image", len(self.labels)
            raise DataError(complain(f"{self.name} {self.split}", expected=want, got=got, fix=fix))
        if len(self.labels) and self.labels.max() >= n_classes:
            want, got = f"labels 0 … {n_classes - 1}", int(self.labels.max())
            raise DataError(complain(f"{self.name} {self.split}", expected=want, got=got, fix=fix))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        """Return one (image [16, 16], label), or the set of several.

        Raises:
            IndexError: if there is no image of that number.
        """
        if not names_one(index):
            return self.subset(where(index, len(self)))
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[UInt8[ndarray, "16 16"], int]]:
        """Return several (image, label) at once, which is what torch's ``DataLoader`` asks for."""
        part = self.subset(np.array([position(k, len(self)) for k in indices], np.int64))
        return list(zip(part.prepare(), map(int, part.labels), strict=True))

    @property
    def dataset(self) -> ImageDataset:
        """The catalogue's entry: title, class names, licence."""
        return catalogue.images(self.name)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self.dataset.classes

    def prepare(
        self,
        rotation_deg: Float[ndarray, "n"] | None = None,
        resampling: Resampling | str = Resampling.ANTIALIASED,
    ) -> UInt8[ndarray, "n 16 16"]:
        """Return the images as 16×16 pixels; see :func:`bss2lab.datasets.images.prepare`."""
        return images.prepare(self.images, self.crop, rotation_deg=rotation_deg, resampling=resampling)

    def subset(self, index: Int[ndarray, "k"]) -> ImageSet:
        """Return the images named by ``index``, in that order."""
        return replace(self, images=_frozen(self.images[index]), labels=_frozen(self.labels[index]))

    def take(self, n: int) -> ImageSet:
        """Return the first ``n`` images.

        Raises:
            InputError: if there are fewer, or ``n`` is negative.
        """
        if not 0 <= n <= len(self):
            raise InputError(complain("n", expected=f"0 … {len(self)} images", got=n, fix="take fewer"))
        return replace(self, images=self.images[:n], labels=self.labels[:n])


def load(name: str, split: Literal["train", "test"], *, progress: bool = False) -> ImageSet:
    """Load one split of a data set, checking every byte; download it if it is nowhere on this computer.

    Args:
        name: ``"mnist"`` or ``"fashion"``.
        split: ``"train"`` (60,000 images) or ``"test"`` (10,000).
        progress: show a progress bar if there is something to download.

    Returns:
        The images and labels, read-only.

    Raises:
        InputError: if there is no such data set or split.
        DataError: if a file is corrupt or cannot be had.
    """
    dataset = catalogue.images(name)
    if split not in _PREFIX:
        raise InputError(complain("split", expected="'train' or 'test'", got=repr(split), fix="choose one of them"))
    parts = []
    for kind, n_axes in (("images-idx3", 3), ("labels-idx1", 1)):
        file = f"{_PREFIX[split]}-{kind}-ubyte.gz"
        content = files.read(name, file, progress=progress)
        parts.append(idx.parse(content, f"{name}/{file}", n_axes=n_axes))
    return ImageSet(parts[0], parts[1], name, split, dataset.crop)


def split_validation(data: ImageSet, n_validation: int = 5000, *, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Hold out a validation set, drawn at random, with the classes in the proportions of the whole.

    Args:
        data: a training split.
        n_validation: number of images to hold out.
        seed: one seed, one split.

    Returns:
        (train, validation), each in the order of ``data``; together they are ``data``.

    Raises:
        InputError: if ``data`` is a test split, or too few images would be left.
    """
    if data.split == "test":
        fix = "load the 'train' split: the test set is for the final number only"
        raise InputError(complain("split_validation", expected="a training set", got="the test set", fix=fix))
    if not 0 < n_validation < len(data):
        want = f"1 … {len(data) - 1} images" if len(data) > 1 else "two images or more to split"
        raise InputError(complain("n_validation", expected=want, got=n_validation, fix="hold out fewer"))
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(data), dtype=bool)
    counts = np.bincount(data.labels, minlength=len(data.dataset.classes))
    for label, quota in enumerate(_shares(counts, n_validation)):
        held_out[rng.permutation(np.flatnonzero(data.labels == label))[:quota]] = True
    validation = replace(data.subset(np.flatnonzero(held_out)), split="validation")
    return data.subset(np.flatnonzero(~held_out)), validation


def _shares(counts: ndarray, total: int) -> ndarray:
    """Split ``total`` in proportion to ``counts``, by largest remainder."""
    exact = counts * (total / counts.sum())
    share = np.floor(exact).astype(int)
    share[np.argsort(share - exact, kind="stable")[: total - share.sum()]] += 1
    return share


def _frozen(array: ndarray) -> ndarray:
    array.flags.writeable = False
    return array
