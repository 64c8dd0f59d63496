"""Control groups as a kernel shows them, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kumo.health.cgroup import GroupMemory, group_memory

UNLIMITED_V1 = "9223372036854771712"


class Kernel:
    """``/proc/self`` and mounted control groups below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = root / "proc"
        self.process.mkdir()
        self.mounts = ["22 1 0:5 / /proc rw - proc proc rw"]
        self.groups: list[str] = []

    def mount_v2(self, at: str = "cgroup", root: str = "/", group: str = "/") -> None:
        self.mounts.append(f"31 22 0:28 {root} {self.root / at} rw,nosuid shared:9 - cgroup2 cgroup2 rw")
        self.groups.append(f"0::{group}")

    def mount_v1(self, at: str = "memory", root: str = "/", group: str = "/") -> None:
        self.mounts.append(f"30 22 0:27 / {self.root / 'cpu'} rw - cgroup cgroup rw,cpu,cpuacct")
        self.mounts.append(f"35 22 0:32 {root} {self.root / at} rw - cgroup cgroup rw,memory")
        self.groups.append(f"4:memory:{group}")

    def write(self, folder: str, **files: str) -> None:
        """Files of a group; ``_`` in a name stands for the first dot."""
        directory = self.root / folder
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name.replace("_", ".", 1)).write_text(f"{text}\n")

    def ask(self) -> GroupMemory | None:
        (self.process / "mountinfo").write_text("\n".join(self.mounts) + "\n")
        (self.process / "cgroup").write_text("\n".join(self.groups) + "\n")
        return group_memory(self.process)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_version_2_without_cold_cache(kernel: Kernel) -> None:
    kernel.mount_v2(group="/system.slice/kumod.service")
    kernel.write(
        "cgroup/system.slice/kumod.service",
        memory_max="1000",
        memory_high="900",
        memory_current="700",
        memory_stat="anon 300\nfile 400\ninactive_file 250\nactive_file 150",
    )
    assert kernel.ask() == GroupMemory(1000, 900, 450)


def test_memory_that_only_swapping_frees_always_counts(kernel: Kernel) -> None:
    kernel.mount_v2()
    kernel.write("cgroup", memory_max="1000", memory_current="700", memory_stat="anon 680\ninactive_file 250")
    assert kernel.ask() == GroupMemory(1000, None, 680)


def test_the_lowest_limit_on_the_way_up_governs_and_usage_is_read_there(kernel: Kernel) -> None:
    kernel.mount_v2(group="/a/b/c")
    kernel.write("cgroup/a/b/c", memory_max="max", memory_high="800", memory_current="10")
    kernel.write("cgroup/a/b", memory_max="500", memory_high="max", memory_current="200")
    kernel.write("cgroup/a", memory_max="600", memory_current="300")
    assert kernel.ask() == GroupMemory(500, 800, 200)


def test_a_soft_limit_alone_is_a_limit(kernel: Kernel) -> None:
    kernel.mount_v2()
    kernel.write("cgroup", memory_max="max", memory_high="400", memory_current="7")
    assert kernel.ask() == GroupMemory(None, 400, 7)


def test_version_1_with_its_totals(kernel: Kernel) -> None:
    kernel.mount_v1(group="/docker/abc")
    kernel.write(
        "memory/docker/abc",
        memory_limit_in_bytes="1000",
        memory_usage_in_bytes="600",
        memory_stat="rss 1\ninactive_file 1\ntotal_inactive_file 200\ntotal_rss 300\ntotal_rss_huge 150",
    )
    kernel.write("memory", memory_limit_in_bytes=UNLIMITED_V1)
    assert kernel.ask() == GroupMemory(1000, None, 450)


def test_version_1_says_unlimited_by_a_number(kernel: Kernel) -> None:
    kernel.mount_v1()
    kernel.write("memory", memory_limit_in_bytes=UNLIMITED_V1, memory_usage_in_bytes="600")
    assert kernel.ask() is None


def test_version_1_is_asked_where_version_2_has_no_limit(kernel: Kernel) -> None:
    kernel.mount_v2("unified")
    kernel.mount_v1()
    kernel.write("unified", memory_max="max")
    kernel.write("memory", memory_limit_in_bytes="1000", memory_usage_in_bytes="600")
    assert kernel.ask() == GroupMemory(1000, None, 600)


@pytest.mark.parametrize(
    ("root", "group"),
    [
        pytest.param("/docker/abc", "/docker/abc", id="only the container's part is mounted"),
        pytest.param("/docker/abc", "/elsewhere", id="the mount is of another group"),
        pytest.param("/", "/../x", id="the group is outside of the name space"),
        pytest.param("/docker/ab", "/docker/abc", id="a longer name is no group below"),
    ],
)
def test_the_mount_point_stands_for_what_is_not_shown(kernel: Kernel, root: str, group: str) -> None:
    kernel.mount_v2(root=root, group=group)
    kernel.write("x", memory_max="1")
    kernel.write("cgroup", memory_max="1000", memory_current="600")
    assert kernel.ask() == GroupMemory(1000, None, 600)


def test_no_limit_no_group_no_proc(kernel: Kernel, tmp_path: Path) -> None:
    assert kernel.ask() is None
    kernel.mount_v2()
    assert kernel.ask() is None
    kernel.write("cgroup", memory_max="max", memory_current="600")
    assert kernel.ask() is None
    assert group_memory(tmp_path / "none") is None


def test_lines_of_another_shape_are_passed_over(kernel: Kernel) -> None:
    kernel.mounts += ["", "x", "1 2 3 - cgroup2 cgroup2 rw", "1 2 3 4 5 6"]
    kernel.groups += ["", "0", "0:"]
    kernel.mount_v2()
    kernel.write("cgroup", memory_max="1000", memory_current="600", memory_stat="anon\nanon x\n\n7")
    assert kernel.ask() == GroupMemory(1000, None, 600)
