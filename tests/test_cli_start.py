"""The command line starts where a package is broken, and says which; it starts without a home folder."""

import argparse
import os
import subprocess
import sys

import pytest

from bss2lab.cli import COMMANDS, main, parser

pytestmark = pytest.mark.slow

HOMELESS = """
import pwd, sys

def unknown(*_):
    raise KeyError("uid not found")

pwd.getpwuid = pwd.getpwnam = unknown
from bss2lab.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(words, path, code=None):
    """Run a command in a new process that finds packages in ``path`` first."""
    search = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    start = ["-c", code] if code else ["-m", "bss2lab.cli"]
    return subprocess.run(
        [sys.executable, *start, *words], capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": search, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def break_package(folder, name, error):
    """Put a package into a folder that cannot be imported."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"def check():\n    raise {error}\n\n\ncheck()\n", encoding="utf-8")


def test_the_table_names_every_command_and_the_module_fills_it(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: bss2lab {command} ")
        top = next(a for a in parser(command)._actions if isinstance(a, argparse._SubParsersAction))
        assert set(top.choices) == set(COMMANDS)
    for words in ([], ["trian"], ["-x", "train"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
        assert "usage: bss2lab" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["--help"]], ids=" ".join)
def test_version_and_help_need_no_package(words, tmp_path):
    for name in ("numpy", "scipy", "numba", "torch", "soundfile", "pydantic", "pooch", "tqdm", "h5py", "safetensors"):
        break_package(tmp_path, name, "ImportError('broken')")
    done = run(words, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bss2lab" in done.stdout


@pytest.mark.parametrize(("name", "error", "words"), [
    ("numba", "ImportError('Numba needs NumPy 2.2 or less. Got NumPy 2.4.')", ["chip", "info"]),
    ("numba", "SystemError('initialization of _internal failed\\nwithout an exception')", ["train", "mnist", "--help"]),
    ("torch", "OSError('libcudart.so.12: cannot open shared object file')", ["study", "fig3b"]),
    ("torch", "AttributeError('_ARRAY_API not found')", ["chip", "info"]),
    ("soundfile", "AttributeError('no attribute ffi')", ["classify", __file__]),
    ("pydantic", "ModuleNotFoundError(\"No module named 'pydantic_core'\", name='pydantic_core')", ["data", "list"]),
])  # fmt: skip
def test_a_package_that_cannot_be_imported_is_named_with_version_and_fix(name, error, words, tmp_path):
    from importlib import metadata

    break_package(tmp_path, name, error)
    done = run(words, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"bss2lab: {name} {metadata.version(name)}: ")
    assert done.stderr.endswith(f"; pip install -U {name}\n")
    assert done.stderr.count("\n") == 1
    assert error.partition("(")[0] in done.stderr


def test_a_missing_package_is_named(tmp_path):
    code = "import sys; sys.modules['tqdm'] = None\nfrom bss2lab.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = run(["data", "list"], tmp_path, code)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "tqdm" in done.stderr
    assert "pip install" in done.stderr


def test_faults_of_the_program_keep_their_traceback(monkeypatch):
    from bss2lab.cli import data

    for error in (AttributeError("no such thing"), ImportError("cannot import name", name="bss2lab.nonsense")):

        def fail(_, error=error):
            raise error

        monkeypatch.setattr(data, "show", fail)
        with pytest.raises(type(error)):
            main(["data", "list"])


@pytest.mark.skipif(os.name == "nt", reason="homes are found otherwise")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["data", "list"]], ids=" ".join)
def test_no_home_folder_and_an_unknown_user(words, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "BSS2LAB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    done = run(words, tmp_path, HOMELESS)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1  # where the cache is now
    assert done.stdout


def test_a_warning_of_ours_is_one_line(monkeypatch, capsys):
    import warnings

    from bss2lab.errors import SoundWarning

    def run(arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("the louder one is used", SoundWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("bss2lab.cli.data.show", run)
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().err == "bss2lab: the louder one is used\n"
