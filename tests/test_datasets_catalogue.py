"""The pinned checksums are those that others have published."""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import pytest

from bss2lab.datasets import catalogue
from bss2lab.errors import InputError


@pytest.mark.parametrize("dataset", list(catalogue.CATALOGUE.values()), ids=lambda d: d.name)
def test_catalogue_entries_are_well_formed(dataset):
    packed = [isinstance(file, catalogue.PackedFile) for file in dataset.files]
    assert len(dataset.mirrors) >= 2 or (all(packed) and not dataset.mirrors)
    for url in dataset.mirrors:
        assert url.startswith(("https://", "http://"))
        assert url.endswith("/")
    for file in dataset.files:
        if isinstance(file, catalogue.DataFile):
            sums, length = [file.content_sha256, file.download_sha256], 32
        elif isinstance(file, catalogue.PackedFile):
            sums, length = [file.content_sha256], 32
            assert len({other.content_sha256 for other in dataset.files}) == len(dataset.files)
        else:
            sums, length = [file.content_md5, *(archive.md5 for archive in file.archives)], 16
            assert {archive.name for archive in file.archives} == {f"{file.name}.zip", f"{file.name}.gz"}
        assert len(set(sums)) == len(sums)
        assert all(len(bytes.fromhex(sum_)) == length for sum_ in sums)


@pytest.mark.needs("tonic")
def test_pinned_sums_of_the_spoken_digits_are_those_of_tonic():
    """The package tonic publishes the MD5 sums of the .zip files."""
    spec = importlib.util.find_spec("tonic")
    source = (Path(spec.origin).parent / "datasets" / "hsd.py").read_text(encoding="utf-8")
    for file in catalogue.SHD.files:
        assert file.archives[0].name in source
        assert file.archives[0].md5 in source
    assert catalogue.SHD.mirrors[0] in source


def test_kinds_of_data_sets_are_told_apart():
    with pytest.raises(InputError, match="data set: expected 'mnist' or 'fashion', got 'shd'"):
        catalogue.images("shd")
    with pytest.raises(InputError, match="data set: expected 'speech' or 'shd', got 'mnist'"):
        catalogue.speech("mnist")
    assert len(catalogue.speech("shd").classes) == 20
    assert catalogue.speech("speech").classes == catalogue.speech("shd").classes
    assert "synthetic" in catalogue.speech("speech").title


def test_committed_mnist_has_the_published_md5_sums():
    """MD5 of the decompressed files, as they have been published for years: not of our own making."""
    published = {
        "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    }
    folder = Path(__file__).parents[1] / "data" / "mnist"
    for name, md5 in published.items():
        content = gzip.decompress((folder / name).read_bytes())
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


@pytest.mark.needs("Debian's Fashion-MNIST")
def test_pinned_sums_of_fashion_lead_back_to_the_published_md5_sums():
    """Debian's .gz files are the official ones without name and date: put both back, and the MD5 is right."""
    folder = catalogue.FASHION.system
    published = {
        "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 1504176606),
        "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 1504176627),
        "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 1504176627),
        "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 1504176606),
    }
    for file in catalogue.FASHION.files:
        md5, date = published[file.name]
        debian = (folder / file.name).read_bytes()
        name = file.name.removesuffix(".gz").encode() + b"\0"
        official = b"\x1f\x8b\x08\x08" + date.to_bytes(4, "little") + b"\0\3" + name + debian[10:]
        assert hashlib.md5(official, usedforsecurity=False).hexdigest() == md5
        assert hashlib.sha256(official).hexdigest() == file.download_sha256
        assert len(official) == file.download_bytes
        assert hashlib.sha256(gzip.decompress(official)).hexdigest() == file.content_sha256
