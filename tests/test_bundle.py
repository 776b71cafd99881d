"""Where the files are that come with the package: the user's own first, then the checkout or what a wheel carries."""

from pathlib import Path

import pytest

from bss2lab import bundle
from bss2lab.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
NETWORK = "data/results/fig3b_network.safetensors"


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as a wheel leaves it, in a folder that holds somebody else's pyproject.toml."""
    package = tmp_path / "site" / "bss2lab"
    (package / "bundled" / "data" / "results").mkdir(parents=True)
    (tmp_path / "site" / "pyproject.toml").touch()
    monkeypatch.setattr(bundle, "_PACKAGE", package)
    monkeypatch.setattr(bundle, "_CARRIED", package / "bundled")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return package / "bundled"


def test_a_checkout_uses_its_own_folders(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert bundle.checkout() == ROOT
    assert bundle.path("nbs") == ROOT / "nbs"
    assert bundle.find(NETWORK) == ROOT / NETWORK
    assert bundle.results() == bundle.results(write=True) == ROOT / "data" / "results"


def test_an_installed_package_uses_what_it_carries_and_writes_elsewhere(installed, tmp_path):
    assert bundle.checkout() is None
    assert bundle.path("nbs") == installed / "nbs"
    assert bundle.results() == installed / "data" / "results"
    assert bundle.results(write=True) == tmp_path / "here" / "data" / "results"
    assert "git" not in bundle.restore("data/speech")


def test_the_users_own_file_comes_first_and_a_missing_one_is_named_with_both_places(installed, tmp_path):
    mine = tmp_path / "here" / NETWORK
    with pytest.raises(DataError) as caught:
        bundle.find(NETWORK)
    assert str(mine) in str(caught.value)
    assert str(installed / NETWORK) in str(caught.value)
    (installed / NETWORK).touch()
    assert bundle.find(NETWORK) == installed / NETWORK
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert bundle.find(NETWORK) == mine
