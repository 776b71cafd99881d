"""Compile the kernels ahead of their first use, in processes side by side.

    from bss2lab import warm

    warm.start()  # returns at once; whoever needs a kernel meanwhile waits for it, and says so

A first run compiles for about half a minute, once per computer. ``bss2lab warm`` does it beforehand, and
``bss2lab warm --shared`` for everybody who uses the same Python environment (a hub's image, a lab's server).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bss2lab.errors import InputError, complain
from bss2lab.machine import usable_cores
from bss2lab.storage import shared_caches, user_cache, write_atomically


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
    for recurrent in (None, torch.zeros(8, 8, requires_grad=True)):
        hidden, output = torch.zeros(4, 8, requires_grad=True), torch.zeros(8, 2, requires_grad=True)
        traces = integrate(hidden, output, spikes, dt_us=1.7, model=model, w_recurrent=recurrent)
        traces.v_output.sum().backward()


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

OFF = "BSS2LAB_WARM"
"""Environment variable; 0: nothing is compiled in the background."""


@dataclass(frozen=True, slots=True)
class Warming:
    """Processes that compile.

    Attributes:
        processes: each with the names of its groups.
    """

    processes: tuple[tuple[subprocess.Popen[bytes], tuple[str, ...]], ...]

    def wait(self) -> tuple[str, ...]:
        """Wait for all of them; return the groups that could not be compiled."""
        return tuple(name for process, names in self.processes for name in names if process.wait() != 0)


def start(groups: Sequence[str] = FIRST, *, folder: Path | None = None, again: bool = False) -> Warming:
    """Begin to compile, in as many processes as there are cores; those groups that are compiled are left out.

    Args:
        groups: names in ``GROUPS``.
        folder: cache to fill, as ``BSS2LAB_CACHE`` names it; the user's if not given.
        again: do not trust the note that says that a group is compiled.

    Returns:
        The processes; none if there is nothing to do, or only one core to do it on.

    Raises:
        InputError: if there is no such group.
    """
    for name in groups:
        if name not in GROUPS:
            raise InputError(complain("group", expected=", ".join(GROUPS), got=repr(name), fix="choose one of them"))
    cache = folder or user_cache()
    wanted = [name for name in GROUPS if name in groups and (again or not is_compiled(name))]
    cores = usable_cores()
    if not again and (cores < 2 or os.environ.get(OFF) == "0"):
        wanted = []
    lanes = min(cores, len(wanted))
    shares = [tuple(wanted[lane::lanes]) for lane in range(lanes)]
    warming = Warming(tuple((_process(cache, share), share) for share in shares))
    for process, _ in warming.processes:
        threading.Thread(target=process.wait, daemon=True).start()  # (somebody has to hear of its end)
    return warming


def is_compiled(group: str) -> bool:
    """Is a group compiled, for this user or for everybody, by these versions, from this code, for this processor?"""
    return any(_note(cache, group).exists() for cache in (*shared_caches(), user_cache()))


def _process(cache: Path, names: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BSS2LAB_CACHE": str(cache)}
    command = [sys.executable, "-m", "bss2lab.warm", *names]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _note(cache: Path, group: str) -> Path:
    """Return the file that says that a group is compiled."""
    package = Path(__file__).parent
    sources = [package / f"{name}.py" for name in ("dynamics", "surrogate", "quantize", "warm")]
    sources += [*sorted((package / "kernels").glob("*.py")), *sorted((package / "datasets").glob("*.py"))]
    digest = hashlib.sha256(f"{sys.version} {_versions()} {_processor()}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    return cache / "kernels" / f"{group}-{digest.hexdigest()[:16]}.note"


def _versions() -> str:
    return " ".join(metadata.version(name) for name in ("numba", "llvmlite", "numpy"))


def _processor() -> str:
    from llvmlite import binding

    return f"{platform.machine()} {binding.get_host_cpu_name()}"


def main(names: Sequence[str]) -> int:
    """Compile groups one after the other (what a process of ``start`` does)."""
    cache = user_cache()
    for name in names:
        GROUPS[name][1]()
        with contextlib.suppress(OSError):
            write_atomically(_note(cache, name), b"")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
