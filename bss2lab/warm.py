"""Compile the kernels ahead of their first use, in processes side by side.

    from bss2lab import warm

    warm.start()  # returns at once; what needs a kernel meanwhile waits for it, and says so

A first run compiles for about half a minute, once per computer. ``bss2lab warm`` does it beforehand, and
``bss2lab warm --shared`` for everybody who uses the same Python environment (a hub's image, a lab's server).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bss2lab.errors import InputError, complain
from bss2lab.machine import usable_cores
from bss2lab.storage import NONE, shared_caches, user_cache, write_atomically


def _training() -> None:
    import numpy as np

    from bss2lab.inputs import encode_pixels
    from bss2lab.settings import TrainConfig

    config = TrainConfig(mode="software")
    _step(config, encode_pixels(np.zeros((4, 16, 16), np.uint8), np.zeros(4, np.int64), config))


def _chip() -> None:
    import numpy as np

    from bss2lab.chip import Chip
    from bss2lab.datasets import encoding, images
    from bss2lab.types import Weights

    spikes = encoding.encode(images.prepare(np.zeros((4, 28, 28), np.uint8), 2), encoding.LatencyCode())
    chip = Chip()
    program = chip.write(Weights(np.zeros((256, 246), np.int8), np.zeros((246, 10), np.int8)))
    chip.record(program, spikes, np.arange(4), seed=0)
    chip.run_continuously(program, spikes, seed=0)


def _words() -> None:
    import numpy as np

    from bss2lab.datasets import speech
    from bss2lab.inputs import encode
    from bss2lab.settings import SpeechConfig

    config = SpeechConfig(mode="software")
    _step(config, encode(speech.load("speech", "test").subset(np.arange(2)), config))


def _losses() -> None:
    import numpy as np
    import torch

    from bss2lab.kernels import Model, integrate
    from bss2lab.types import Spikes

    spikes = Spikes.from_events([(np.ones(1), np.zeros(1, int))], n_units=4, duration_us=20.0)
    model = Model.from_time_constants(tau_mem_us=6.0, tau_syn_us=6.0, dt_us=1.7, beta=50.0)
    hidden, output = torch.zeros(4, 8, requires_grad=True), torch.zeros(8, 2, requires_grad=True)
    traces = integrate(hidden, output, spikes, dt_us=1.7, model=model)
    traces.v_output.sum().backward()
    integrate(hidden, output, spikes, dt_us=1.7, model=model, recorded=traces)


def _ear() -> None:
    import numpy as np

    from bss2lab.datasets import cochlea
    from bss2lab.datasets.sound import Sound

    cochlea.spikes_of(Sound(np.random.default_rng(0).normal(0, 0.1, 800), 16_000), seed=0)


def _step(config: Any, samples: Any) -> None:
    import numpy as np

    from bss2lab.learners import make_learner
    from bss2lab.train import objective_of

    learner = make_learner(config, objective_of(config), None)
    alive, index = np.ones(config.n_hidden, bool), np.arange(len(samples))
    learner.train_batch(samples, index, learning_rate=1e-3, alive=alive, noise_seed=0)
    learner.evaluate(samples, noise_seed=0)


GROUPS: dict[str, tuple[str, Callable[[], None]]] = {
    "training": ("the training step of images", _training),
    "chip": ("images on the emulated chip", _chip),
    "words": ("the training step of spoken words", _words),
    "losses": ("losses of one's own", _losses),
    "ear": ("sound to spikes", _ear),
}
"""What can be compiled: title, and what uses it. The first two are what a first run on images needs."""

FIRST = ("training", "chip")

_TITLE = "kernels:"
"""First line of a note."""

OFF = "BSS2LAB_WARM"
"""Environment variable; 0: nothing is compiled in the background."""


@dataclass(frozen=True, slots=True)
class Warming:
    """Processes that compile.

    Attributes:
        processes: each with the names of its groups.
        folder: the cache that they fill.
    """

    processes: tuple[tuple[subprocess.Popen[bytes], tuple[str, ...]], ...]
    folder: Path

    def wait(self) -> tuple[str, ...]:
        """Wait for all of them; return the groups that are not compiled."""
        for process, _ in self.processes:
            process.wait()
        names = [name for _, names in self.processes for name in names]
        return tuple(name for name in names if not _is_noted(name, [self.folder]))


def start(groups: Sequence[str] = FIRST, *, folder: Path | None = None, quiet: bool = True) -> Warming:
    """Begin to compile, in as many processes as there are cores.

    Args:
        groups: names in ``GROUPS``.
        folder: cache to fill with all of them. If not given, the user's is filled with what is not compiled yet;
            and nothing is done on a single core, or if ``BSS2LAB_WARM`` is 0.
        quiet: write no errors to standard error.

    Returns:
        The processes, none if there is nothing to do.

    Raises:
        InputError: if there is no such group.
    """
    for name in groups:
        if name not in GROUPS:
            raise InputError(complain("group", expected=", ".join(GROUPS), got=repr(name), fix="choose one of them"))
    cores, cache = usable_cores(), folder or user_cache()
    wanted = [name for name in GROUPS if name in groups and (folder or not is_compiled(name))]
    if folder is None and (cores < 2 or os.environ.get(OFF) == "0"):
        wanted = []
    lanes = min(cores, len(wanted))
    processes = []
    for share in (tuple(wanted[lane::lanes]) for lane in range(lanes)):
        with contextlib.suppress(OSError):  # no room for another process: then the kernel is compiled when needed
            processes.append((_process(cache, share, alone=folder is not None, quiet=quiet), share))
    for process, _ in processes:
        threading.Thread(target=process.wait, daemon=True).start()  # (somebody has to hear of its end)
    return Warming(tuple(processes), cache)


def is_compiled(group: str) -> bool:
    """Is a group compiled, for this user or for everybody, by these versions, from this code, for this processor?"""
    return _is_noted(group, [*shared_caches(), user_cache()])


def _process(cache: Path, names: Sequence[str], *, alone: bool, quiet: bool) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BSS2LAB_CACHE": str(cache)}
    if alone:  # what others have is not in this folder
        environment["BSS2LAB_SHARED_CACHE"] = NONE
    command = [sys.executable, "-P", "-m", "bss2lab.warm", *names]  # -P: not the modules of the current folder
    null = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=null, stdout=null, stderr=null if quiet else None)


def _note(cache: Path, group: str) -> Path:
    """Return the file that lists the kernels of a group that was compiled."""
    return cache / "kernels" / f"{group}-{_state()}.note"


@functools.cache
def _state() -> str:
    """Return a digest of what kernels follow from: these sources, versions, this processor."""
    from llvmlite import binding

    package = Path(__file__).parent
    sources = [package / f"{name}.py" for name in ("dynamics", "surrogate", "quantize", "warm")]
    sources += [*sorted((package / "kernels").glob("*.py")), *sorted((package / "datasets").glob("*.py"))]
    versions = [metadata.version(name) for name in ("numba", "llvmlite", "numpy")]
    digest = hashlib.sha256(repr((sys.version, versions, platform.machine(), binding.get_host_cpu_name())).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _is_noted(group: str, caches: Sequence[Path]) -> bool:
    for cache in caches:
        with contextlib.suppress(OSError, ValueError):  # (a damaged note is none)
            title, *names = _note(cache, group).read_text(encoding="utf-8").split()
            if title == _TITLE and all(any((one / "kernels" / name).exists() for one in caches) for name in names):
                return True
    return False


def main(names: Sequence[str]) -> int:
    """Compile groups one after the other (what a process of ``start`` does); return 1 if one failed."""
    from bss2lab.kernels import cache

    failed = 0
    for name in names:
        cache.used.clear()
        try:
            GROUPS[name][1]()
            write_atomically(_note(user_cache(), name), "\n".join([_TITLE, *sorted(cache.used)]).encode())
        except Exception:
            traceback.print_exc()
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
