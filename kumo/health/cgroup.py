"""The memory that the process's control group may use and does use, in version 2 and in version 1.

Limits hold for a group and all below it, so the lowest on the way from the process's group up to the
mount point governs, and usage is read where that one is set: it may include other processes. Called by
``memory_limits``. What cannot be read is taken for absent, as in a container that hides it.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROCESS = Path("/proc/self")

_UNLIMITED_SINCE = 1 << 60
"""Version 1 says "no limit" by a number: the largest multiple of a page."""


class GroupMemory(NamedTuple):
    """What a control group sets and uses, in octets.

    Args:
        hard_limit: ``memory.max`` or ``memory.limit_in_bytes``; beyond it the kernel kills.
        soft_limit: ``memory.high``, beyond which the kernel slows the process down; version 2 only.
        working_set: usage without the page cache that can be had back for the asking. Cold files would
            otherwise shed load: a mail server writes many.
    """

    hard_limit: int | None
    soft_limit: int | None
    working_set: int


class _Files(NamedTuple):
    """How a version calls things."""

    maximum: str
    high: str | None
    usage: str
    inactive: str
    anonymous: tuple[str, ...]


_VERSION_2 = _Files("memory.max", "memory.high", "memory.current", "inactive_file", ("anon",))
# Of version 1 the totals, as its usage counts the groups below too.
_VERSION_1 = _Files(
    "memory.limit_in_bytes",
    None,
    "memory.usage_in_bytes",
    "total_inactive_file",
    ("total_rss", "total_rss_huge"),
)


def group_memory(process: Path = PROCESS) -> GroupMemory | None:
    """Limits and usage of the control group; None where it has no limit, version 2 before version 1.

    Args:
        process: folder with ``cgroup`` and ``mountinfo``.
    """
    try:
        groups = (process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape")
        mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    for version, controller in ((_VERSION_2, ""), (_VERSION_1, "memory")):
        group = _group_of(groups, controller)
        if group is not None:
            found = _governing(list(_levels(group, mounts, controller)), version)
            if found is not None:
                return found
    return None


def _group_of(groups: str, controller: str) -> str | None:
    """Path of the group within its hierarchy; lines are ``number:controllers:path``."""
    for line in groups.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(",") and path:
            return path
    return None


def _levels(group: str, mounts: str, controller: str) -> Iterator[Path]:
    """Folders of the group and of those above it, as far as the mount shows them."""
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        kind, _, options = [*source.split(" ", 2), "", ""][:3]
        fields = mount.split(" ")
        if len(fields) < 5 or kind != ("cgroup" if controller else "cgroup2"):  # noqa: PLR2004 - as proc(5) numbers them
            continue
        if controller and controller not in options.split(","):
            continue
        root, point = fields[3], Path(fields[4])
        below = group.removeprefix(root.rstrip("/")) if _is_within(group, root) else ""
        level = point / below.strip("/")
        while level != point:
            yield level
            level = level.parent
        yield point
        return


def _is_within(group: str, root: str) -> bool:
    return ".." not in group.split("/") and (group == root or group.startswith(root.rstrip("/") + "/"))


def _governing(levels: list[Path], version: _Files) -> GroupMemory | None:
    hard = _least(levels, version.maximum)
    soft = None if version.high is None else _least(levels, version.high)
    governing = hard or soft
    if governing is None:
        return None
    return GroupMemory(
        None if hard is None else hard[0],
        None if soft is None else soft[0],
        _working_set(governing[1], version),
    )


def _least(levels: list[Path], name: str) -> tuple[int, Path] | None:
    limits = [(limit, level) for level in levels if (limit := _number(level / name)) is not None]
    return min((found for found in limits if found[0] < _UNLIMITED_SINCE), default=None)


def _working_set(level: Path, version: _Files) -> int:
    usage = _number(level / version.usage) or 0
    try:
        lines = (level / "memory.stat").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return usage
    state = {
        name: int(value) for name, _, value in (line.partition(" ") for line in lines) if value.isdigit()
    }
    # Never below what only swapping could free: a burst since the last count of the cache stays visible.
    anonymous = sum(state.get(name, 0) for name in version.anonymous)
    return max(usage - state.get(version.inactive, 0), anonymous)


def _number(path: Path) -> int | None:
    """The number in a file; None when it says ``max``, or cannot be read."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
