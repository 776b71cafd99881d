"""Settings that hold for every test, what is skipped and how that is told."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# Before anything imports Matplotlib or Jupyter: no window, no warning about where Jupyter keeps its files.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
# Before the kernels' thread pool starts: on a busy machine, threads that wait must not spin against those at work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Nothing compiles beside the tests.
os.environ["BSS2LAB_WARM"] = "0"
# Two processes share the tests: one thread each is enough, but where a test asks for two.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if os.environ.get("BSS2LAB_TEST_BARE") == "1":
    sys.path.insert(0, str(Path(__file__).parent / "bare"))
    import hide

    hide.hide()

# The tests' own cache, which stays from run to run: nobody's own files count, or change.
os.environ.setdefault("BSS2LAB_CACHE", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "bss2lab"))
os.environ.pop("BSS2LAB_SHARED_CACHE", None)

import optional
import standin
from thread_count import set_threads, threads

from bss2lab import storage, warm

# A kernel that numba compiles in the first example is not slow; CI draws the same examples every time.
hypothesis.settings.register_profile("bss2lab", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("bss2lab")


@pytest.fixture(scope="module")
def one_thread():
    """Small problems: threads that wait for each other on a busy computer would take most of the time."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def fashion_standin(tmp_path_factory):
    """A small set of drawn clothing is Fashion-MNIST here."""
    with standin.installed(tmp_path_factory.mktemp("standin")) as folder:
        yield folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder of this run's that all its processes see."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"


@pytest.fixture(scope="session")
def studies_store(shared):
    """Where miniature studies find each other's trainings; each is computed once, whoever asks first."""
    return shared / "studies"


# --- skips -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser):
    group = parser.getgroup("bss2lab")
    group.addoption("--skipped-to", metavar="FILE", help="write the names of the tests that were skipped")
    group.addoption("--only-from", metavar="FILE", help="run the tests with the names in a file, and no others")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    set_threads(1)
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            optional.require(name)


def pytest_sessionstart(session):
    """Compile all kernels at once, in processes side by side, while the tests are collected: once for them all."""
    if not hasattr(session.config, "workerinput") and session.config.getoption("numprocesses", None):
        session.config.compiling = warm.start(
            [name for name in warm.GROUPS if not warm.is_compiled(name)], folder=storage.user_cache()
        )


def pytest_collection_modifyitems(config, items):
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.stem != "test_notebooks", item.path not in slow))  # (what takes long, first)
    file = config.getoption("--only-from")
    if file:
        names = set(Path(file).read_text(encoding="utf-8").splitlines())
        wanted = [item for item in items if item.nodeid in names or item.nodeid.split("::")[0] in names]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(wanted)])
        items[:] = wanted


def pytest_terminal_summary(terminalreporter, config):
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.line(optional.summary(report.longrepr[2] for report in skipped))
    file = config.getoption("--skipped-to")
    if file and not hasattr(config, "workerinput"):
        Path(file).write_text("".join(f"{report.nodeid}\n" for report in skipped), encoding="utf-8")
