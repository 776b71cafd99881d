"""Jobs for the tests of the runner: in a module of their own, so that worker processes can import them."""

import json
import os
import signal
import time
from collections import Counter

import numpy as np

from bss2lab.config import Config
from bss2lab.runner import Job, Record


class Sum(Config):
    """A sum of squares, in steps, with a checkpoint after each."""

    seed: int = 0
    steps: int = 3
    step_s: float = 0.0
    log: str = ""
    size: int = 4
    threads: int = 0
    misdeed: str = ""

    def identity(self):
        fields = super().identity()
        del fields["threads"]
        return fields


def note(config, text):
    """Append one line to the log: a single write, which no other process can split."""
    if config.log:
        handle = os.open(config.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{text} {config.seed} {os.getpid()}\n".encode())
        os.close(handle)


def logged(path):
    """Return how often each thing was noted: {(what, seed): times}."""
    if not path.exists():
        return Counter()
    return Counter(tuple(line.split()[:-1]) for line in path.read_text().splitlines())


def sum_up(config, inputs, scratch):
    """Add up squares; what was added before a kill is not added again."""
    note(config, "begin")
    if scratch and (scratch.parent.parent / "records" / f"{scratch.name}.safetensors").exists():
        note(config, "again")  # finished before: nobody must ever see this
    MISDEEDS[config.misdeed](scratch)
    step, total = 0, 0
    path = scratch / "state.json" if scratch else None
    if path is not None and path.exists():
        step, total = json.loads(path.read_text())
    while step < config.steps:
        time.sleep(config.step_s)
        step, total = step + 1, total + (config.seed + step) ** 2
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".part")
            new.write_text(json.dumps([step, total]))
            new.replace(path)
        note(config, f"step{step}")
    note(config, "done")
    offset = float(sum(array.sum() for array in inputs.values()))
    return Record({"total": total + offset, "pair": [1, 2]}, {"ramp": np.arange(config.size, dtype=np.float64) * total})


def _raise(_):
    raise ValueError("this cannot\nbe computed")


def _forbidden(_):
    raise PermissionError(13, "Permission denied", "/somewhere/else.json")


def _stop_once(scratch):
    """Die with a checkpoint that is renewed each time."""
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "mark").write_text(str(time.time_ns()))
    os.kill(os.getpid(), signal.SIGKILL)


MISDEEDS = {
    "": lambda _: None,
    "raise": _raise,
    "forbidden": _forbidden,
    "exit": lambda _: os._exit(3),
    "sys.exit": lambda _: (_ for _ in ()).throw(SystemExit(2)),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "kill and pretend progress": _stop_once,
}


def returns_a_tuple(config, inputs, scratch):
    return Record({"pair": (1, 2), "by number": {3: "x"}}, {"z": np.array(2.5), "b": np.arange(3, dtype=">f4")})


def returns_a_lambda(config, inputs, scratch):
    return Record({"f": lambda: None})


def returns_nan(config, inputs, scratch):
    return Record({"x": float("nan")})


def returns_objects(config, inputs, scratch):
    return Record({}, {"names": np.array(["a"], dtype=object)})


def returns_nothing(config, inputs, scratch):
    return None


def job(seed=0, task=sum_up, inputs=None, cost=1.0, **changes):
    return Job("sum", f"sum {seed}", task, Sum(seed=seed, **changes), inputs or {}, cost)


def jobs(n, **changes):
    return [job(seed, **changes) for seed in range(n)]
