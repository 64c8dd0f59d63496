"""What a process and its children have used, read from ``/proc``.

CPU time is that of the living processes of the tree and of all the children they have waited for, so that
of a server's processes which ended between two looks is counted as well. That of the living is exact
to the nanosecond, that of those which ended is told in hundredths of a second.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")

_CPUCLOCK_SCHED = 2
"""The kernel's number of the clock that counts what the scheduler gave to a process."""

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """The process and all that descend from it and still live."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far, in seconds."""
    return sum(_of_each(pid, _cpu_of))


def _cpu_of(pid: int) -> float:
    # Behind the name, which may hold blanks: the state is field 3, cutime and cstime are 16 and 17.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    of_ended_children = sum(map(int, fields[13:15])) * _TICK
    # What clock_getcpuclockid(3) makes of a process id.
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED) + of_ended_children


class Memory(NamedTuple):
    """Memory of a process or a tree of them, in octets.

    Args:
        resident: all that is in memory, what is shared counted for each process.
        proportional: the same, what is shared counted once.
        anonymous: what belongs to no file: heap, stacks.
    """

    resident: int
    proportional: int
    anonymous: int


def memory(pid: int) -> Memory:
    """Memory of the tree now."""
    parts = memory_of_each(pid).values()
    return Memory(*(sum(part) for part in zip(*parts, strict=True)))


def memory_of_each(pid: int) -> dict[int, Memory]:
    """Memory of each process of the tree now, by its id."""
    return dict(_of_each(pid, lambda one: (one, _memory_of(one))))


def _memory_of(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(kib) * 1024 for name, kib in re.findall(r"(?m)^(\w+): +(\d+) kB", text)}
    return Memory(found["Rss"], found["Pss"], found["Pss_Anon"])


class Descriptors(NamedTuple):
    """What a tree of processes holds open.

    Args:
        all: descriptors of every kind.
        sockets: those of them that are sockets.
    """

    all: int
    sockets: int


def descriptors(pid: int) -> Descriptors:
    """Descriptors of the tree now."""
    found = targets(pid)
    return Descriptors(len(found), sum(target.startswith("socket:") for target in found))


def targets(pid: int) -> list[str]:
    """What each descriptor of the tree is open on now, as the kernel calls it."""
    return [target for found in _of_each(pid, _targets_of) for target in found]


def _targets_of(pid: int) -> list[str]:
    targets = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(path.readlink()))
    return targets


def thread_count(pid: int) -> int:
    """Threads of the tree now."""
    return sum(_of_each(pid, lambda one: len(list(Path(f"/proc/{one}/task").iterdir()))))


def _of_each(pid: int, look: Callable[[int], _T]) -> Iterator[_T]:
    for one in tree(pid):
        with contextlib.suppress(OSError):  # it has just ended
            yield look(one)
