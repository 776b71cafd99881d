"""What data sets there are: file names, checksums, mirrors. Nothing here touches a disk or a network.

Every file is pinned twice: its *content* as it is read, and the *download*, since the container around the
same content differs between mirrors and distributions. Nothing but the pinned download is accepted from a
mirror. What comes with the package and can be made anew has no mirror; its content is pinned all the same.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bss2lab.errors import InputError, complain


@dataclass(frozen=True, slots=True)
class DataFile:
    """One gzipped IDX file; it stays compressed on the disk.

    Attributes:
        name: file name, ``….gz``.
        content_bytes: length after decompression.
        content_sha256: SHA-256 of the decompressed content.
        download_bytes: length of the official ``.gz`` file.
        download_sha256: SHA-256 of the official ``.gz`` file.
    """

    name: str
    content_bytes: int
    content_sha256: str
    download_bytes: int
    download_sha256: str

    @property
    def size_text(self) -> str:
        """Size of the download, for people."""
        return f"{self.download_bytes / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True)
class Archive:
    """A compressed form in which a file is published.

    Attributes:
        name: file name, ``….zip`` (with the file in it) or ``….gz``.
        md5: its MD5, as published.
    """

    name: str
    md5: str


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """One file that is published compressed and lies unpacked on the disk, since it is read in pieces.

    Attributes:
        name: file name after unpacking.
        content_md5: MD5 of the unpacked file, as published.
        archives: the forms in which the mirrors offer it, tried in this order.
        download_mb: approximate size of an archive in MB, for people.
        most_bytes: more than the unpacked file can have: whatever is longer is not it.
    """

    name: str
    content_md5: str
    archives: tuple[Archive, ...]
    download_mb: float
    most_bytes: int

    @property
    def size_text(self) -> str:
        """Size of the download, for people."""
        return f"{self.download_mb:.1f} MB"


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file of spikes (``spikepack``) that comes with the package, and is on no mirror.

    Attributes:
        name: file name, ``….spk``.
        content_sha256: SHA-256 of its content, however it is compressed.
        size_mb: approximate size in MB, for people.
    """

    name: str
    content_sha256: str
    size_mb: float


AnyFile = DataFile | UnpackedFile | PackedFile


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set.

    Attributes:
        name: key in :data:`CATALOGUE`, and the name of its folder in every place that is searched.
        title: name for people.
        files: its files.
        mirrors: base URLs, tried in this order.
        system: folder where a Linux distribution's package puts the files, or None.
        classes: names of the classes, by label.
        licence: licence of the data.
        source: who made them.
    """

    name: str
    title: str
    files: tuple[AnyFile, ...]
    mirrors: tuple[str, ...]
    system: Path | None
    classes: tuple[str, ...]
    licence: str
    source: str


Kind = TypeVar("Kind", bound=Dataset)


@dataclass(frozen=True, slots=True)
class ImageDataset(Dataset):
    """28×28 grey images in ten classes; files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz``.

    Attributes:
        crop: pixels dropped on each side before the reduction to 16×16.
    """

    crop: int


@dataclass(frozen=True, slots=True)
class SpeechDataset(Dataset):
    """Spoken words as spikes; files ``….h5`` or ``….spk``, one per split.

    Attributes:
        splits: file of each split.
        n_samples: number of recordings of each split.
        n_units: number of cochlea channels.
    """

    splits: dict[str, str]
    n_samples: dict[str, int]
    n_units: int


MNIST = ImageDataset(
    name="mnist",
    title="MNIST handwritten digits",
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz",
            content_bytes=47_040_016,
            content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            download_bytes=9_912_422,
            download_sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            content_bytes=60_008,
            content_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            download_bytes=28_881,
            download_sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            content_bytes=7_840_016,
            content_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            download_bytes=1_648_877,
            download_sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            content_bytes=10_008,
            content_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            download_bytes=4_542,
            download_sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    system=None,
    crop=2,
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    licence="CC BY-SA 3.0",
    source="Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits (1998)",
)

FASHION = ImageDataset(
    name="fashion",
    title="Fashion-MNIST articles of clothing",
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz",
            content_bytes=47_040_016,
            content_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            download_bytes=26_421_880,
            download_sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            content_bytes=60_008,
            content_sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            download_bytes=29_515,
            download_sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            content_bytes=7_840_016,
            content_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            download_bytes=4_422_102,
            download_sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            content_bytes=10_008,
            content_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            download_bytes=5_148,
            download_sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    system=Path("/usr/share/datasets/fashion-mnist"),  # Debian: apt install dataset-fashion-mnist
    crop=0,
    classes=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    licence="MIT",
    source="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017), arXiv 1708.07747",
)

SHD = SpeechDataset(
    name="shd",
    title="Spiking Heidelberg Digits",
    # Published sums, not of our own making: of the .zip files, by the package tonic and others; of the .gz files
    # and of what is in them, by loaders for PyTorch (data/README.md).
    files=(
        UnpackedFile(
            "shd_train.h5",
            content_md5="8e9877c85f29a28dd353ea6a54402667",
            archives=(
                Archive("shd_train.h5.zip", md5="f3252aeb598ac776c1b526422d90eecb"),
                Archive("shd_train.h5.gz", md5="d47c9825dee33347913e8ce0f2be08b0"),
            ),
            download_mb=130,
            most_bytes=2**31,
        ),
        UnpackedFile(
            "shd_test.h5",
            content_md5="207ad1295a0ab611e22d1734989c254e",
            archives=(
                Archive("shd_test.h5.zip", md5="1503a5064faa34311c398fb0a1ed0a6f"),
                Archive("shd_test.h5.gz", md5="3062a80ec0c5719404d5b02e166543b1"),
            ),
            download_mb=38,
            most_bytes=2**30,
        ),
    ),
    mirrors=("https://zenkelab.org/datasets/", "https://compneuro.net/datasets/"),
    system=None,
    classes=(
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    ),
    licence="CC BY 4.0",
    source="B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, The Heidelberg spiking data sets (2020), "
    "doi 10.1109/TNNLS.2020.3044364",
    splits={"train": "shd_train.h5", "test": "shd_test.h5"},
    n_samples={"train": 8156, "test": 2264},
    n_units=700,
)

SPEECH = SpeechDataset(
    name="speech",
    title="synthetic speech (spoken digits of emulated speakers)",
    files=(
        PackedFile(
            "train.spk", content_sha256="246d1f05fd06aab7c28be831660b07f196393794122780bd33abe037b487a929", size_mb=13.1
        ),
        PackedFile(
            "test.spk", content_sha256="12305527246e7cc8d4f6110624d5a6556021940cddf89aa46c99eee6523ca553", size_mb=3.1
        ),
    ),
    mirrors=(),
    system=None,
    classes=SHD.classes,
    licence="MIT",
    source="bss2lab: espeak-ng's voices through the cochlea of the Spiking Heidelberg Digits; not recordings of people",
    splits={"train": "train.spk", "test": "test.spk"},
    n_samples={"train": 2000, "test": 500},
    n_units=700,
)

CATALOGUE: dict[str, Dataset] = {entry.name: entry for entry in (MNIST, FASHION, SPEECH, SHD)}


def entry(name: str) -> Dataset:
    """Return the catalogue's entry of one data set.

    Raises:
        InputError: if there is none of that name.
    """
    return _entry(name, Dataset)


def images(name: str) -> ImageDataset:
    """Return the catalogue's entry of one data set of images.

    Raises:
        InputError: if there is none of that name.
    """
    return _entry(name, ImageDataset)


def speech(name: str) -> SpeechDataset:
    """Return the catalogue's entry of one data set of spoken words.

    Raises:
        InputError: if there is none of that name.
    """
    return _entry(name, SpeechDataset)


def _entry(name: str, kind: type[Kind]) -> Kind:
    known = {key: value for key, value in CATALOGUE.items() if isinstance(value, kind)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), list(known), n=1)
    fix = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise InputError(complain("data set", expected=" or ".join(map(repr, known)), got=repr(name), fix=fix))
