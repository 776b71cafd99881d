"""Cores and memory: what a container's limits leave of the machine, for both versions of control groups."""

from __future__ import annotations

import pytest

from bss2lab import machine

V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
CPU = "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
GB = 2**30
HUGE = "9223372036854771712"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a function that lays out a machine of 8 cores and 16 GB: (groups, mounts, files) -> its root."""
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GB // 4096}
    monkeypatch.setattr(machine.os, "sysconf", sizes.__getitem__, raising=False)

    def lay(groups="", mounts=(), files=None):
        files = {f"sys/fs/cgroup/{name}": text for name, text in (files or {}).items()}
        for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join(mounts), **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return lay


def limits(root):
    return machine.usable_cores(root), machine.usable_memory_mb(root)


def test_a_machine_without_control_groups_is_used_in_full(tree, tmp_path):
    assert limits(tmp_path / "nothing") == (8, 16384.0)
    assert limits(tree()) == (8, 16384.0)
    assert machine.core_quota(tmp_path) is None


def test_version_2_in_a_container_that_sees_its_own_group_as_the_root(tree):
    files = {"cpu.max": "350000 100000", "memory.max": str(3 * GB)}
    assert limits(tree("0::/", [V2.format(root="/")], files)) == (3, 3072.0)


def test_version_2_the_narrowest_of_all_groups_above_counts(tree):
    files = {
        "cpu.max": "max 100000", "user/cpu.max": "400000 100000", "user/job/cpu.max": "600000 100000",
        "memory.max": "max", "user/memory.max": "max", "user/job/memory.max": str(2 * GB),
        "other/cpu.max": "100000 100000", "other/memory.max": str(GB),
    }  # fmt: skip
    root = tree("0::/user/job", [V2.format(root="/")], files)
    assert limits(root) == (4, 2048.0)
    assert machine.core_quota(root) == 4.0


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("199999", 1), ("200000", 2), ("900000", 8)])
def test_a_quota_is_rounded_down_to_at_least_one_core(tree, quota, cores):
    root = tree("0::/", [V2.format(root="/")], {"cpu.max": f"{quota} 100000"})
    assert machine.usable_cores(root) == cores


def test_version_1_nested_and_seen_from_outside(tree):
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/a/b/cpu.cfs_quota_us": "100000", "cpu,cpuacct/a/b/cpu.cfs_period_us": "50000",
        "memory/memory.limit_in_bytes": HUGE, "memory/a/memory.limit_in_bytes": str(GB),
    }  # fmt: skip
    mounts = [line.format(root="/") for line in (CPU, MEMORY)]
    assert limits(tree("5:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/", mounts, files)) == (2, 1024.0)


def test_version_1_in_a_container_whose_own_group_is_what_is_mounted(tree):
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(1200 * 2**20),
    }  # fmt: skip
    groups = "5:memory:/docker/f00\n4:cpu,cpuacct:/docker/f00"
    for outside in ("/docker/f00", "/docker/elsewhere"):
        mounts = [line.format(root=outside) for line in (CPU, MEMORY)]
        assert limits(tree(groups, mounts, files)) == (1, 1200.0)


def test_both_versions_at_once(tree):
    files = {
        "unified/x/memory.max": str(GB), "cpu,cpuacct/cpu.cfs_quota_us": "300000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": str(2 * GB),
    }  # fmt: skip
    mounts = [CPU.format(root="/"), MEMORY.format(root="/"), HYBRID]
    assert limits(tree("4:cpu,cpuacct:/\n3:memory:/\n0::/x", mounts, files)) == (3, 1024.0)


@pytest.mark.parametrize("text", ["", "max", "max max", "-1", "0 0", "a b", "100000 0", "100000", "nan nan"])
def test_what_is_no_limit_limits_nothing(tree, text):
    files = {"cpu.max": text, "memory.max": text if text != "100000" else HUGE}
    if text == "100000 0":
        files["memory.max"] = "max"
    assert limits(tree("0::/", [V2.format(root="/"), "garbage", "1 2 - x"], files)) == (8, 16384.0)


def test_a_file_that_cannot_be_read_is_no_limit(tree):
    root = tree("0::/", [V2.format(root="/")])
    (root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert limits(root) == (8, 16384.0)


def test_a_system_that_says_nothing(tree, monkeypatch, tmp_path):
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(machine.os, "sysconf", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    assert limits(tmp_path) == (1, None)
