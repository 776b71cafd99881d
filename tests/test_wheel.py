"""The wheel: it carries everything, and works in a folder far from any checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("hatchling")
pytest.importorskip("pip")

ROOT = Path(__file__).resolve().parents[1]
CARRIED = "bss2lab/bundled"
JUNK = {".nbi", ".nbc", ".pyc"}  # what numba and Python cache


def build(kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist from the checkout; return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


def below(folder: Path) -> set[str]:
    """Return the files below a folder of the checkout that are not caches."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in JUNK)
    return {path.relative_to(ROOT).as_posix() for path in found if ".ipynb_checkpoints" not in path.parts}


def shipped() -> set[str]:
    """Return the data and notebooks that the wheel must carry, as the repository names them."""
    data = {"data/README.md"}.union(*(below(ROOT / "data" / name) for name in ("mnist", "speech", "results")))
    return data | {name for name in below(ROOT / "nbs") if name.endswith((".ipynb", ".md"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def away(wheel, tmp_path_factory):
    """Install the wheel in a folder of its own; return a function that runs Python with it, in another folder."""
    home = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(home), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment = {k: v for k, v in os.environ.items() if k not in ("BSS2LAB_DATA", "PYTHONPATH")}
    environment |= {"PYTHONPATH": str(home), "PYTHONIOENCODING": "utf-8"}

    def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, words)], cwd=cwd, env=environment, encoding="utf-8",
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip

    run.home = home  # type: ignore[attr-defined]
    return run


def command(away, *words, cwd):
    return away("-m", "bss2lab.cli", *words, cwd=cwd)


def script(away, text, cwd):
    """Run Python with the installed package, and make sure that it is that one."""
    first = f"import bss2lab, pathlib\nassert pathlib.Path(bss2lab.__file__).is_relative_to({str(away.home)!r})\n"
    done = away("-c", first + text, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what is in it ------------------------------------------------------------------------------------------------


def test_a_wheel_holds_the_whole_package_with_data_results_and_notebooks(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("bss2lab/")}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "bss2lab = bss2lab.cli:main" in archive.read(entry_points).decode()
        for name in shipped():
            assert archive.read(f"{CARRIED}/{name}") == (ROOT / name).read_bytes()
    assert inside == below(ROOT / "bss2lab") | {f"{CARRIED}/{name}" for name in shipped()}
    assert {f"bss2lab/chip/calibrations/chip{seed}.safetensors" for seed in range(10)} <= inside
    assert wheel.stat().st_size < 60e6


def test_a_source_distribution_holds_what_the_wheel_is_made_of_and_the_tests(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        sizes = {name.partition("/")[2]: archive.getmember(name).size for name in archive.getnames()}
    wanted = below(ROOT / "bss2lab") | shipped() | {"pyproject.toml", "LICENSE", "README.md", "tests/conftest.py"}
    assert {name: sizes.get(name) for name in wanted} == {name: (ROOT / name).stat().st_size for name in wanted}
    assert not [name for name in sizes if Path(name).suffix in JUNK]


def test_an_editable_install_copies_nothing(tmp_path):
    with zipfile.ZipFile(build("wheel:editable", tmp_path)) as archive:
        assert not [name for name in archive.namelist() if "data" in name or "nbs" in name]
        (path,) = (name for name in archive.namelist() if name.endswith(".pth"))
        assert Path(archive.read(path).decode().strip()) == ROOT


# --- away from the checkout ---------------------------------------------------------------------------------------


def test_the_data_sets_and_results_are_found(away, tmp_path):
    done = command(away, "data", "list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("mnist", "speech"):
        lines = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert lines
        assert all(line.split()[1] == "ok" and str(away.home) in line for line in lines)
    done = command(away, "figure", "3e", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "fig3e.png").stat().st_size > 10_000


def test_notebooks_are_copied_and_find_the_saved_results(away, tmp_path):
    done = command(away, "lab", cwd=tmp_path)  # no terminal to ask on
    assert done.returncode == 2
    assert "--copy" in done.stderr
    assert not list(tmp_path.iterdir())
    assert command(away, "lab", "--copy", "mine", "--no-open", cwd=tmp_path).returncode == 0
    want = {Path(name).name for name in shipped() if name.startswith("nbs/")}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == want
    text = """
import json
found = 0
for path in sorted(pathlib.Path().glob("*.ipynb")):
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert not any("../" in line for cell in cells for line in cell["source"]), path
    first = "".join("".join(cell["source"]) + "\\n" for cell in cells[:2])
    if "RESULTS" in first:
        space = {}
        exec(first, space)
        assert space["RESULTS"].exists(), path
        found += 1
print(found)
"""
    assert int(script(away, text, tmp_path / "mine")) == 6


def test_widgets_find_their_networks_and_the_check_finds_everything(away, tmp_path):
    text = """
from bss2lab.lab import checks
from bss2lab.lab.engine import Engine
from bss2lab.lab.models import anatomy, draw, errors, look, speak
engine = Engine()
for kind in (anatomy.Anatomy, draw.Draw, errors.Errors, look.Look, speak.Speak):
    kind(engine=engine)
engine.stop_all()
data = next(one for one in checks.findings() if one.what == "data")
assert data.verdict == "good", data
print(data.text)
"""
    assert script(away, text, tmp_path)


def test_the_chip_trains_in_the_demo_and_in_the_cockpit(away, tmp_path):
    small = ("--epochs", "1", "--limit", "200", "--n-hidden", "20", "--threads", "1")
    done = command(away, "demo", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "in the loop" in done.stdout
    assert (tmp_path / "runs" / "demo").is_dir()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"fig3a.png", "fig3b.png"}
    text = """
from bss2lab import TrainConfig
from bss2lab.lab.engine import Engine
from bss2lab.lab.models.cockpit import Cockpit
engine = Engine()
model = Cockpit(TrainConfig(limit=200, n_hidden=20, epochs=1, threads=1), engine=engine)
model.step()
for task in engine.tasks:
    assert task.state != "running" or task.wait(600.0)
print(model.phase)
engine.stop_all()
"""
    assert script(away, text, tmp_path).strip() == "finished"
