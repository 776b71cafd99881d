"""The integer images of the two synapse arrays: what is written to a chip, and what is read back from it."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.errors import DataError, InputError, complain
from bss2lab.quantize import WEIGHT_MAX
from bss2lab.storage import write_atomically

if TYPE_CHECKING:
    from jaxtyping import Int8, UInt8
    from numpy import ndarray

ARRAYS = 2
"""Synapse arrays: 0 top, 1 bottom [paper]."""

SYNAPSE_ROWS = 256
"""Synapses of a column [paper]."""

COLUMNS = 256
"""Columns of an array, one per neuron circuit [paper]."""

DRIVERS = SYNAPSE_ROWS // 2
"""Synapse drivers of an array, each serving an excitatory and an inhibitory row [paper]."""

LABELS = 64
"""Sources that a 6-bit label tells apart [paper]."""

NO_LABEL = 255
"""Entry of ``WeightImage.labels`` where no synapse is used [assumed: any value that is no 6-bit label would do]."""

_LARGEST = 1_000_000
_SHAPE = (ARRAYS, SYNAPSE_ROWS, COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class WeightImage:
    """What every synapse of the chip holds, checked when it is made.

    Attributes:
        weights: 6-bit weights 0 … 63, uint8 [array, synapse row, column]; driver ``d`` serves the excitatory row
            ``2d`` and the inhibitory row ``2d + 1`` [assumed, see ``chip.placement``].
        labels: the 6-bit label that each synapse listens to, or 255 where none is used, uint8 of the same shape.

    Raises:
        InputError: wrong shape, type or range, or both synapses of a pair in use.
    """

    weights: UInt8[ndarray, "array row column"]
    labels: UInt8[ndarray, "array row column"]

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check again (arrays can be written to); raises as the constructor does."""
        for what, values in (("image weights", self.weights), ("image labels", self.labels)):
            if not isinstance(values, np.ndarray) or values.dtype != np.uint8 or values.shape != _SHAPE:
                dtype, shape = getattr(values, "dtype", type(values).__name__), list(np.shape(values))
                want, fix = f"uint8 of shape {list(_SHAPE)}", "make images with Placement.image"
                raise InputError(complain(what, expected=want, got=f"{dtype} of shape {shape}", fix=fix))
        if self.weights.max() > WEIGHT_MAX:
            got, want = int(self.weights.max()), f"0 … {WEIGHT_MAX} (6 bit)"
            raise InputError(
                complain("image weights", expected=want, got=got, fix="the image is damaged: write it anew")
            )
        bad = self.labels[(self.labels >= LABELS) & (self.labels != NO_LABEL)]
        if bad.size:
            want = f"0 … {LABELS - 1} (6 bit), or {NO_LABEL} for none"
            raise InputError(complain("image labels", expected=want, got=int(bad[0]), fix="write the image anew"))
        both = (self.weights[:, 0::2] > 0) & (self.weights[:, 1::2] > 0)
        if both.any():
            array, driver, column = np.argwhere(both)[0].tolist()
            got = f"{int(both.sum())} with two, the first at array {array}, driver {driver}, column {column}"
            want = "at most one synapse of a signed pair in use"
            raise InputError(complain("image weights", expected=want, got=got, fix="keep their difference in one"))

    def signed(self) -> Int8[ndarray, "array driver column"]:
        """Return the signed weights, excitatory − inhibitory, −63 … 63, int8 [2, 128, 256]."""
        return self.weights[:, 0::2].astype(np.int8) - self.weights[:, 1::2].astype(np.int8)

    def save(self, path: Path) -> None:
        """Write the image as a compressed ``.npz`` (two arrays, no pickle); all of it or nothing.

        Raises:
            OSError: naming ``path``, if it cannot be written.
        """
        content = io.BytesIO()
        np.savez_compressed(content, weights=self.weights, labels=self.labels)
        write_atomically(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: Path) -> WeightImage:
        """Read an image that ``save`` wrote.

        Raises:
            DataError: if the file is missing or is no such image.
            InputError: if the image in it is damaged.
        """
        want, fix = "an image written by WeightImage.save", "write it anew"
        try:
            with zipfile.ZipFile(path) as archive:
                names, sizes = archive.namelist(), [entry.file_size for entry in archive.infolist()]
            if sorted(names) != ["labels.npy", "weights.npy"] or max(sizes) > _LARGEST:
                raise DataError(complain(str(path), expected=want, got=f"a zip file of {names[:4]}", fix=fix))
            with np.load(path, allow_pickle=False) as arrays:
                weights, labels = arrays["weights"], arrays["labels"]
        except DataError:
            raise
        except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(complain(str(path), expected=want, got=error, fix=fix)) from None
        return cls(weights, labels)
