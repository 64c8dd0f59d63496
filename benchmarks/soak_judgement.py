"""What the soak's samples and accounts mean: pure functions, each of which gives the reasons to fail."""

from __future__ import annotations

import re
import statistics
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.soak_client import Message

MEMORY_TOLERANCE = 0.05
"""How far the median of a window may be from the middle one, and the last above the first."""

MOST_OBJECTS = 100
"""How many more objects of a type may be there at rest: caches keep a few for a while; sessions and messages
of a soak are thousands.
"""

MOST_KEPT = {"LocalDisk": 6, "RocksDB": 12}
"""Files that the spool of a process may keep open at rest, by its kind.

LocalDisk keeps 64 MiB of the journal's segments to be written again, each of which took 16 MiB before it was
full; one is being written, and one may have been left before it was full. Each of RocksDB's two databases has
up to four tables of removed messages before it makes one or two of them.
"""

WINDOWS = 4
"""Parts into which what follows the warm-up is cut."""

MIB = 1024 * 1024


class Sample(NamedTuple):
    """One look at the daemon: all its processes together, where nothing else is said.

    Args:
        seconds: since it was first looked at.
        residents: octets of RSS of each process, by its id.
        descriptors: open ones, but for those of files that are kept.
        kept_files: those that the spool has open to go on with: segments of journals, tables of RocksDB.
        sockets: those of the descriptors that are sockets.
        threads: of the processes.
        sessions: by its own gauge.
        queued: messages in its queues, by its own gauge.
        tasks: of its event loops.
        objects: that its garbage collectors follow.
        spool_files: below the spool's folder.
    """

    seconds: float
    residents: Mapping[int, int]
    descriptors: int
    kept_files: int
    sockets: int
    threads: int
    sessions: int
    queued: int
    tasks: int
    objects: int
    spool_files: int

    @property
    def resident(self) -> int:
        """Octets of RSS of all processes, what they share counted for each."""
        return sum(self.residents.values())


class Delivered(NamedTuple):
    """What was found in the maildirs.

    Args:
        copies: how often a number came to a recipient's maildir.
        torn: files that are not what was sent.
    """

    copies: Counter[tuple[int, str]]
    torn: list[str]


def number_of(octets: bytes) -> int | None:
    """The number of a delivered message, 0 for an empty one; None for one that is not as it was sent."""
    head, separator, rest = octets.partition(b"Subject: soak\r\n")
    if not separator:
        # Trace fields are all there is.
        return 0 if head.count(b"X-KumoRef: ") == 1 and head.endswith(b"\r\n") else None
    found = re.match(rb"X-Soak: (\d+) ([0-9a-f]{8})\r\n\r\n", rest)
    if found is None or zlib.crc32(rest[found.end() :]) != int(found.group(2), 16):
        return None
    return int(found.group(1))


def windows(samples: Sequence[Sample], warm_up: float, pid: int | None = None) -> list[float]:
    """Medians of RSS, in octets, of equal parts of what follows the warm-up.

    Args:
        samples: under load, in the order of time.
        warm_up: seconds that are left out at the start.
        pid: of the process that is looked at; None: all of them.
    """
    warm = [
        sample.resident if pid is None else sample.residents[pid]
        for sample in samples
        if sample.seconds >= warm_up
    ]
    if len(warm) < WINDOWS:
        return []
    size = len(warm) / WINDOWS
    parts = [warm[round(number * size) : round((number + 1) * size)] for number in range(WINDOWS)]
    return [statistics.median(part) for part in parts]


def judge_memory(before: Sample, samples: Sequence[Sample], warm_up: float) -> Iterator[str]:
    """Whether the memory of each process is level, and they are the same all the time.

    Args:
        before: at rest before the load.
        samples: under load, in the order of time.
        warm_up: seconds that are left out at the start.
    """
    if any(sample.residents.keys() != before.residents.keys() for sample in samples):
        yield "processes ended and others began under the load"
        return
    for number, pid in enumerate(before.residents):
        whose = f" in process {number + 1}" if len(before.residents) > 1 else ""
        yield from (reason + whose for reason in judge_windows(windows(samples, warm_up, pid)))


def judge_windows(medians: Sequence[float]) -> Iterator[str]:
    """Whether all windows are near to their middle, and the last no higher than the first."""
    if not medians:
        yield "too few samples to judge memory"
        return
    level = statistics.median(medians)
    for number, median in enumerate(medians, 1):
        if abs(median / level - 1) > MEMORY_TOLERANCE:
            yield (
                f"memory is not level: {median / MIB:.1f} MiB in window {number}, {level / MIB:.1f} in the "
                f"middle ({median / level - 1:+.1%})"
            )
    growth = medians[-1] / medians[0] - 1
    if growth > MEMORY_TOLERANCE:
        yield f"memory grows: {growth:+.1%} from the first window to the last"


def judge_objects(grown: Mapping[str, int]) -> Iterator[str]:
    """Whether objects of kumo's types are left over.

    Args:
        grown: how many more there are of each type than before the load, after a garbage collection.
    """
    for name, more in grown.items():
        if more > MOST_OBJECTS:
            yield f"{more} more objects of {name} than before the load"


def judge_rest(before: Sample, after: Sample, spool_kind: str) -> Iterator[str]:
    """Whether all that the load needed is given back.

    Args:
        before: at rest before the load.
        after: at rest after it.
        spool_kind: decides how many files the spool may keep.
    """
    for name in ("tasks", "descriptors", "sockets"):
        had, has = getattr(before, name), getattr(after, name)
        if has > had:
            yield f"{has} {name} at rest, {had} before the load"
    most = MOST_KEPT[spool_kind] * len(before.residents)
    if after.kept_files > most:
        yield f"the spool keeps {after.kept_files} files open at rest, {most} at most may be"
    if after.sessions:
        yield f"{after.sessions} sessions are counted, and there are none"
    if after.queued:
        yield f"{after.queued} messages are still queued"


def judge_delivery(acknowledged: Sequence[Message], delivered: Delivered) -> Iterator[str]:
    """Whether each message that was acknowledged came once to each recipient, whole.

    Empty messages, which have negative numbers here and none in their files, are counted only.
    """
    yield from (f"torn: {path}" for path in delivered.torn[:5])
    numbered = [message for message in acknowledged if message.number > 0]
    lost = [
        (message.number, recipient)
        for message in numbered
        for recipient in message.recipients
        if not delivered.copies[message.number, recipient]
    ]
    if lost:
        yield f"{len(lost)} acknowledged messages are not in their maildirs, for example {lost[:3]}"
    twice = [where for where, copies in delivered.copies.items() if where[0] > 0 and copies > 1]
    if twice:
        yield f"{len(twice)} messages were delivered more than once, for example {twice[:3]}"
    empty = len(acknowledged) - len(numbered)
    found = delivered.copies[0, "empty"]
    if found != empty:
        yield f"{found} empty messages in the maildirs, {empty} were acknowledged"


def judge_log(acknowledged: Iterable[Message], records: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Whether the log has one Reception and one Delivery of each message.

    Args:
        acknowledged: the messages.
        records: for each type of record how often it stands there for an id.
    """
    ids = [spool_id for message in acknowledged for spool_id in message.ids]
    for kind in ("Reception", "Delivery"):
        counts = records.get(kind, Counter())
        wrong = [spool_id for spool_id in ids if counts[spool_id] != 1]
        if wrong:
            yield f"{len(wrong)} messages have not exactly one {kind} in the log, for example {wrong[:3]}"
