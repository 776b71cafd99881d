"""Independent jobs on any executor, with a store of their records: what studies are made of."""

from bss2lab.runner.batch import Failure
from bss2lab.runner.job import Job, Record, Task
from bss2lab.runner.pool import LocalPool, default_workers, scheduler
from bss2lab.runner.progress import Bar, Status
from bss2lab.runner.run import Runner, RunsFailed
from bss2lab.runner.store import DamagedRecord, Store, default_folder

__all__ = [
    "Bar", "DamagedRecord", "Failure", "Job", "LocalPool", "Record", "Runner", "RunsFailed", "Status", "Store", "Task",
    "default_folder", "default_workers", "scheduler",
]  # fmt: skip
