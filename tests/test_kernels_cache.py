"""Compiled kernels on disk: found again, never stale, never trusted, shared, and compiled once by many."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from bss2lab import storage
from bss2lab.chip import library
from bss2lab.kernels import bits, cache, noise
from bss2lab.kernels.digest import code_digest, digest_of

SOURCE = '''
"""A module."""
import numpy as np
from bss2lab.kernels.jit import device, kernel

FACTOR = 2.0
OTHER = 7

@device
def _scaled(x):
    """Scale."""
    return FACTOR * x

@kernel()
def total(values):
    """Sum what is scaled."""
    found = 0.0
    for i in range(values.shape[0]):
        found += _scaled(values[i])  # one by one
    return found

@kernel(fast=True)
def unused(values):
    return OTHER
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that loads a version of the module, with an empty cache of its own."""
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BSS2LAB_SHARED_CACHE", raising=False)
    monkeypatch.setattr(storage, "environment_cache", lambda: tmp_path / "nowhere")
    cache._can_write.cache_clear()
    versions = iter(range(100))

    def load(source: str = SOURCE) -> Any:
        path = tmp_path / f"version{next(versions)}" / "kernels_of_a_test.py"
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("kernels_of_a_test", path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, made.__name__, made)
        spec.loader.exec_module(made)
        return made

    yield load
    cache._can_write.cache_clear()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "kernels").glob(f"*{cache.SUFFIX}"))


def compiled(kernel: Any) -> int:
    """Return how many forms of a kernel were compiled here, and not found on disk."""
    return sum(kernel.dispatcher.stats.cache_misses.values())


VALUES = np.arange(4.0)


def test_a_kernel_is_compiled_once_and_then_found(module: Any, tmp_path: Path) -> None:
    first, second = module(), module()
    assert first.total(VALUES) == 12.0
    assert second.total(VALUES) == 12.0
    assert (compiled(first.total), compiled(second.total)) == (1, 0)
    second.total(VALUES.astype(np.float32))
    assert compiled(second.total) == 1
    assert len(files(tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Sum what is scaled."""', '"""Sum,\n    in other words."""'),
        ("  # one by one", "  # another remark"),
        ('"""Scale."""', ""),
        ("OTHER = 7", "OTHER = 8"),
        ("def _scaled(x):", "def _scaled(x: float) -> float:"),
        ('"""A module."""', '"""A module,\nwith more lines."""'),
    ],
)
def test_what_does_not_compute_does_not_count(module: Any, old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest_of(module().total) == digest_of(module(SOURCE.replace(old, new)).total)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2.0", "FACTOR = 3.0"),
        ("return FACTOR * x", "return FACTOR * x + 1"),
        ("found = 0.0", "found = 1.0"),
        ("@kernel()", "@kernel(fast=True)"),
        ("FACTOR = 2.0", "FACTOR = np.float32(2)"),
    ],
)
def test_what_is_inlined_counts(module: Any, old: str, new: str) -> None:
    first, second = module(), module(SOURCE.replace(old, new))
    first.total(VALUES)
    second.total(VALUES)
    assert digest_of(first.total) != digest_of(second.total)
    assert compiled(second.total) == 1


def test_every_kernel_of_the_package_has_a_digest_of_its_own() -> None:
    import bss2lab.datasets.basilar_membrane
    import bss2lab.datasets.encoding
    import bss2lab.datasets.hair_cell
    import bss2lab.datasets.images
    import bss2lab.kernels.stream
    import bss2lab.kernels.training  # noqa: F401

    kernels = {
        id(value): value
        for name, loaded in tuple(sys.modules.items())
        if name.startswith("bss2lab.")
        for value in vars(loaded).values()
        if hasattr(value, "py_func") and not isinstance(value, type)
    }
    # (An equation is compiled for several modules: one function with one set of options is one kernel.)
    pairs = {((k.py_func, *map(str, getattr(k, "targetoptions", {}).items())), digest_of(k)) for k in kernels.values()}
    made_of, digests = (set(one) for one in zip(*pairs, strict=True))
    assert len(digests) > 55
    assert len(made_of) == len(digests) == len(pairs)


def test_a_kernel_that_reads_what_cannot_be_compared_is_named(module: Any) -> None:
    with pytest.raises(TypeError, match="FACTOR"):
        digest_of(module(SOURCE.replace("FACTOR = 2.0", "FACTOR = object()")).total)


def test_a_remark_in_the_chips_code_drops_no_calibration(tmp_path: Path) -> None:
    source = Path(library.__file__)
    copy = tmp_path / source.name
    text = source.read_text(encoding="utf-8")
    copy.write_text('"""Another docstring."""\n# and a remark\n' + text.partition('"""\n')[2], encoding="utf-8")
    assert copy.read_bytes() != source.read_bytes()
    assert code_digest([copy]) == code_digest([source])
    copy.write_text(text.replace("range(10)", "range(11)"), encoding="utf-8")
    assert code_digest([copy]) != code_digest([source])


def test_a_calibration_is_made_anew_when_anything_that_the_emulator_calls_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here what a kernel in another module calls, three calls below the emulator's own."""
    before = library._code.__wrapped__()
    monkeypatch.setattr(bits, "first_byte", noise.mix)
    assert library._code.__wrapped__() != before
    monkeypatch.undo()
    assert library._code.__wrapped__() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:40],
        lambda b: b[: len(b) // 2],
        lambda b: os.urandom(len(b)),
        lambda b: b[:-1] + bytes([b[-1] ^ 1]),
        lambda b: b[: len(b) // 2] + b"\x00" * 64 + b[len(b) // 2 + 64 :],
        lambda b: bytes([b[0] ^ 4]) + b[1:],
    ],
    ids=["empty", "short", "half", "garbage", "last bit", "hole", "first bit"],
)
def test_a_damaged_file_is_thrown_away_and_compiled_again(
    module: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    module().total(VALUES)
    (path,) = files(tmp_path / "cache")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    again = module()
    assert again.total(VALUES) == 12.0
    assert compiled(again.total) == 1
    (record,) = caplog.records
    assert str(path) in record.message
    assert "\n" not in record.message
    later = module()
    assert later.total(VALUES) == 12.0
    assert compiled(later.total) == 0
    assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_written_to_costs_one_line_and_time(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("BSS2LAB_CACHE", str(tmp_path / "a file"))
    first = module()
    assert first.total(VALUES) == first.total(VALUES.astype(np.float32)) == 12.0
    (record,) = caplog.records
    assert str(tmp_path / "a file") in record.message
    assert "BSS2LAB_CACHE" in record.message


def test_a_full_disk_costs_one_line_and_time(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "write_atomically", full)
    first = module()
    assert first.total(VALUES) == first.total(VALUES.astype(np.float32)) == 12.0
    (record,) = caplog.records
    assert str(tmp_path / "cache") in record.message
    assert os.strerror(errno.ENOSPC) in record.message


def test_kernels_for_everybody_are_found_first_and_left_alone(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module().total(VALUES)
    (tmp_path / "cache").rename(tmp_path / "shared")
    before = [(path, path.stat().st_mtime_ns) for path in files(tmp_path / "shared")]
    monkeypatch.setenv("BSS2LAB_SHARED_CACHE", str(tmp_path / "shared"))
    user = module()
    assert user.total(VALUES) == 12.0
    assert compiled(user.total) == 0
    user.total(VALUES.astype(np.float32))
    assert [(path, path.stat().st_mtime_ns) for path in files(tmp_path / "shared")] == before
    assert len(files(tmp_path / "cache")) == 1


def test_a_kernel_for_another_processor_is_not_taken(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.core.codegen import JITCPUCodegen

    module().total(VALUES)
    triple, _, features = JITCPUCodegen.magic_tuple(_codegen())
    monkeypatch.setattr(JITCPUCodegen, "magic_tuple", lambda _: (triple, "another", features))
    other = module()
    assert other.total(VALUES) == 12.0
    assert compiled(other.total) == 1
    assert len(files(tmp_path / "cache")) == 2


def _codegen() -> Any:
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen()


def test_who_watches_hears_of_what_is_compiled_and_nothing_of_what_is_found(
    module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cache.ROUGHLY_S, "total", 3)
    heard: list[Any] = []
    with cache.watching(heard.append):
        module().total(VALUES)
        module().total(VALUES)
    assert heard == [cache.Compiling("total", 3, elsewhere=False), None]
    assert capsys.readouterr().err == ""
    module().total(VALUES.astype(np.float32))
    assert "total" in capsys.readouterr().err


def test_a_kernel_that_another_process_compiles_is_waited_for(module: Any, tmp_path: Path) -> None:
    """Here the other process is this one: it holds the lock, and brings the file only when the child waits."""
    first = module()
    first.total(VALUES)
    (path,) = files(tmp_path / "cache")
    lock = next((tmp_path / "cache" / "kernels").glob(".*.lock"))
    path.rename(tmp_path / "kept")
    code = f"""
        import sys, numpy as np
        from bss2lab.kernels import bits, cache, noise
        sys.path.insert(0, {str(Path(first.__file__).parent)!r})
        import kernels_of_a_test as module
        with cache.watching(lambda compiling: print(compiling and compiling.elsewhere, flush=True)):
            print(module.total(np.arange(4.0)), sum(module.total.dispatcher.stats.cache_misses.values()), flush=True)
    """
    with filelock.FileLock(lock):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        (tmp_path / "kept").rename(path)
    rest = child.communicate(timeout=60)[0]
    assert rest == "None\n12.0 0\n"


def test_a_function_that_does_not_compile_leaves_no_lock(module: Any, tmp_path: Path) -> None:
    from numba.core.errors import TypingError

    broken = module()
    with pytest.raises(TypingError):
        broken.total("a string")
    for path in (tmp_path / "cache" / "kernels").glob(".*.lock"):
        filelock.FileLock(path).acquire(timeout=0.0).lock.release()
    assert broken.total(VALUES) == 12.0


def test_what_is_kept_is_what_is_in_memory_whatever_the_file_says_now(module: Any) -> None:
    """A process that goes on while its package is replaced must not put its old code under the new name."""
    old = module()
    Path(old.__file__).write_text(
        SOURCE.replace("FACTOR = 2.0", "FACTOR = 3.0").replace('"""A module."""', "\n" * 9), encoding="utf-8"
    )
    assert old.total(VALUES) == 12.0
    new = module(SOURCE.replace("FACTOR = 2.0", "FACTOR = 3.0"))
    assert new.total(VALUES) == 18.0


RECORDS = """
from typing import NamedTuple
from enum import IntEnum
from bss2lab.kernels.jit import kernel

class Pair(NamedTuple):
    a: float
    b: float

class Mode(IntEnum):
    FAST = 1

@kernel()
def first(pair):
    return pair.a

@kernel()
def mode(x):
    return x + Mode.FAST
"""


def test_fields_of_named_tuples_and_members_of_enums_count(module: Any) -> None:
    one, two = module(RECORDS), module(RECORDS.replace("a: float\n    b: float", "b: float\n    a: float"))
    assert one.first(one.Pair(a=1.0, b=2.0)) == two.first(two.Pair(a=1.0, b=2.0)) == 1.0
    assert one.mode(1) == 2
    assert module(RECORDS.replace("FAST = 1", "FAST = 5")).mode(1) == 6


def test_a_damaged_kernel_for_everybody_is_left_where_it_is(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module().total(VALUES)
    (tmp_path / "cache").rename(tmp_path / "shared")
    (path,) = files(tmp_path / "shared")
    path.write_bytes(b"garbage")
    monkeypatch.setenv("BSS2LAB_SHARED_CACHE", str(tmp_path / "shared"))
    assert module().total(VALUES) == 12.0
    assert path.read_bytes() == b"garbage"
    later = module()
    assert later.total(VALUES) == 12.0
    assert compiled(later.total) == 0


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_what_others_may_write_to_is_not_run(module: Any, tmp_path: Path) -> None:
    module().total(VALUES)
    (path,) = files(tmp_path / "cache")
    path.chmod(0o666)
    again = module()
    assert again.total(VALUES) == 12.0
    assert compiled(again.total) == 1
    assert files(tmp_path / "cache")[0].stat().st_mode & 0o022 == 0


def test_kernels_that_nobody_used_for_long_are_removed(module: Any, tmp_path: Path) -> None:
    first = module()
    first.total(VALUES)
    (path,) = files(tmp_path / "cache")
    old = path.with_name(f"old{cache.SUFFIX}")
    old.touch()
    os.utime(old, (1e9, 1e9))
    os.utime(path, (1e9, 1e9))
    module().total(VALUES)  # used: young again
    first.total(VALUES.astype(np.float32))
    assert path.exists()
    assert not old.exists()


def test_a_watcher_that_fails_costs_nothing(module: Any) -> None:
    def fail(_: Any) -> None:
        raise BrokenPipeError

    with cache.watching(fail):
        assert module().total(VALUES) == 12.0


def test_the_package_works_without_compiling() -> None:
    code = "from bss2lab import Chip; print(Chip(seed=1))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
