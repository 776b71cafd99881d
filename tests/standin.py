"""A stand-in for Fashion-MNIST: ten garments drawn by formulas, in files of the real names and format.

The real set is on no mirror that every computer reaches. What only needs some clothing to train on takes this one,
also where the real one is installed: golden numbers must not depend on the computer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from bss2lab.datasets import catalogue
from bss2lab.datasets.catalogue import DataFile, ImageDataset

N_TRAIN, N_TEST = 600, 200
SIDE = 28


def garment(label: int, rng: np.random.Generator) -> np.ndarray:
    """Return one garment, [28, 28], uint8: shifted, scaled, cut and shaded a little differently each time."""
    v, u = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) * 2 - 1  # down and right, −1 … 1
    scale = rng.uniform(0.85, 1.05, 2)
    u, v = (u - rng.uniform(-0.08, 0.08)) / scale[0], (v - rng.uniform(-0.08, 0.08)) / scale[1]
    a, cut = np.abs(u), rng.uniform(-0.06, 0.06)

    def box(left, right, top, bottom, x=u):
        return (x > left) & (x < right) & (v > top) & (v < bottom)

    body = box(-1, 0.45 + cut, -0.8, 0.85, a)
    short = box(0.3, 0.95, -0.8, -0.3 + cut, a) & (v < 0.2 - 0.5 * a)
    long = box(0.55, 0.85, -0.75, 0.75 + cut, a)
    neck = (a < 0.2) & (v < -0.65)
    sole = box(-0.95, 0.95, 0.5, 0.68 + cut)
    shape = [
        lambda: (body | short) & ~neck,  # T-shirt
        lambda: box(-1, 0.42, -0.9, 0.95, a) & ((a > 0.1 + cut / 2) | (v < -0.5)),  # trouser
        lambda: body | long,  # pullover
        lambda: (a < 0.25 + 0.25 * (v + 0.9 + cut)) & (np.abs(v) < 0.95) & ~neck,  # dress
        lambda: (body | long) & (a > 0.07),  # coat, open
        lambda: sole | (np.abs(v - 0.5 + 0.9 * np.abs(np.sin(3 * u + cut))) < 0.1),  # sandal
        lambda: (body | short) & ~neck & ~((a < 0.12) & (np.sin(14 * v) > 0)),  # shirt, with buttons
        lambda: sole | ((v > -0.1 + 0.35 * (u + cut)) & (v < 0.5) & (a < 0.9)),  # sneaker
        lambda: box(-0.85, 0.85, -0.25, 0.75 + cut) | (np.abs(np.hypot(u, v + 0.25) - 0.5) < 0.09),  # bag
        lambda: sole | box(-0.9, 0.05 + cut, -0.9, 0.5) | box(-0.9, 0.8, 0.05, 0.5),  # ankle boot
    ][label]()
    shade = rng.uniform(0.6, 1.0) * (1 + 0.15 * np.sin(rng.uniform(2, 5) * v + rng.uniform(0, 6)))
    noise = rng.normal(0, 0.04, shape.shape)
    return np.clip(255 * shape * (shade + noise), 0, 255).astype(np.uint8)


def write(folder: Path) -> None:
    """Write the four files, the same bytes on every computer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(17)
    for split, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        labels = rng.permutation(np.arange(n) % 10).astype(np.uint8)
        pixels = np.stack([garment(label, rng) for label in labels])
        for name, data in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes((0, 0, 8, data.ndim)) + struct.pack(f">{data.ndim}I", *data.shape)
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(head + data.tobytes(), 6, mtime=0))


def entry(folder: Path, mirrors: tuple[str, ...] = ()) -> ImageDataset:
    """Return the catalogue's entry with the sizes and sums of the files in a folder."""
    files = []
    for file in catalogue.FASHION.files:
        packed = (folder / file.name).read_bytes()
        content = gzip.decompress(packed)
        sums = [hashlib.sha256(x).hexdigest() for x in (content, packed)]
        files.append(DataFile(file.name, len(content), sums[0], len(packed), sums[1]))
    return dataclasses.replace(catalogue.FASHION, files=tuple(files), mirrors=mirrors, system=None)


def content_sums(folder: Path) -> list[str]:
    """Return what tells these images from others."""
    return [file.content_sha256 for file in entry(folder).files]


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """Put the stand-in into a folder, and into the place of Fashion-MNIST in this process; yields its own folder."""
    write(folder / "fashion")
    with (
        mock.patch.dict(catalogue.CATALOGUE, fashion=entry(folder / "fashion")),
        mock.patch.dict(os.environ, BSS2LAB_DATA=str(folder)),
    ):
        yield folder / "fashion"
