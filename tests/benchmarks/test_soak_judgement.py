"""What makes a soak fail: each fault that it exists for is found, and nothing else is."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.soak_client import Message, content_of
from benchmarks.soak_judgement import (
    MIB,
    MOST_KEPT,
    Delivered,
    Sample,
    judge_delivery,
    judge_log,
    judge_memory,
    judge_objects,
    judge_rest,
    judge_windows,
    number_of,
    windows,
)

REST = Sample(
    seconds=0,
    residents={100: 60 * MIB},
    descriptors=17,
    kept_files=0,
    sockets=4,
    threads=9,
    sessions=0,
    queued=0,
    tasks=4,
    objects=2000,
    spool_files=2,
)
LOCAL = "LocalDisk"
TRACE = b"Received: from x by y;\r\n\tnow\r\nX-KumoRef: eyJ9\r\n"
TWO = Message(7, ("a", "b"), ("id1", "id2"))
EMPTY = Message(-8, ("empty",), ("id3",))


def level(*mib: float) -> list[Sample]:
    return of_processes(*[{100: one} for one in mib])


def of_processes(*mib: dict[int, float]) -> list[Sample]:
    return [
        REST._replace(seconds=float(number), residents={pid: int(of * MIB) for pid, of in one.items()})
        for number, one in enumerate(mib)
    ]


def test_windows_leave_out_the_warm_up() -> None:
    assert windows(level(10, 10, 70, 71, 72, 73), 2) == [70 * MIB, 71 * MIB, 72 * MIB, 73 * MIB]
    assert windows(level(10, 10, 70), 2) == []


def test_windows_are_of_all_processes_or_of_one() -> None:
    samples = of_processes(*[{100: 10.0, 200: 70.0 + number} for number in range(4)])
    assert windows(samples, 0) == [80 * MIB, 81 * MIB, 82 * MIB, 83 * MIB]
    assert windows(samples, 0, 100) == [10 * MIB] * 4


@pytest.mark.parametrize("one", [94.9, 95.1, 104.9, 105.1])
def test_memory_must_stay_within_five_percent(one: float) -> None:
    reasons = list(judge_windows([100.0 * MIB, one * MIB, 100.0 * MIB, 100.0 * MIB]))
    assert len(reasons) == (0 if 95 < one < 105 else 1)


@pytest.mark.parametrize("last", [93.2, 101.8, 101.9])
def test_memory_must_not_grow_by_five_percent(last: float) -> None:
    reasons = list(judge_windows([97.0 * MIB, 98.0 * MIB, 98.0 * MIB, last * MIB]))
    growth = f"memory grows: {last / 97 - 1:+.1%} from the first window to the last"
    assert reasons == ([growth] if last > 101.85 else [])


def test_each_process_must_be_level_by_itself() -> None:
    (before,) = of_processes({100: 30, 200: 60, 300: 60})
    # One grows by as much as another one shrinks.
    samples = of_processes(
        *[{100: 30.0, 200: 58 + 1.2 * number, 300: 62 - 1.2 * number} for number in range(4)]
    )
    assert list(judge_memory(before, samples, 0)) == [
        "memory grows: +6.2% from the first window to the last in process 2",
    ]
    assert not list(judge_memory(before, [before._replace(seconds=float(at)) for at in range(4)], 0))


def test_the_memory_of_a_single_process_is_judged_without_its_number() -> None:
    assert list(judge_memory(REST, level(90, 95, 96, 97), 0)) == [
        "memory is not level: 90.0 MiB in window 1, 95.5 in the middle (-5.8%)",
        "memory grows: +7.8% from the first window to the last",
    ]


def test_a_worker_that_was_replaced_is_found() -> None:
    before, *samples = of_processes({100: 30, 200: 60}, {100: 30, 200: 60}, {100: 30, 201: 60})
    assert list(judge_memory(before, samples, 0)) == ["processes ended and others began under the load"]


def test_objects_of_ended_sessions_are_named() -> None:
    grown = {"kumo.a.Cached": 100, "kumo.listener.Session": 101, "kumo.b.Less": -500}
    assert list(judge_objects(grown)) == ["101 more objects of kumo.listener.Session than before the load"]


def test_too_few_samples_are_no_level_memory() -> None:
    assert list(judge_memory(REST, [], 0)) == ["too few samples to judge memory"]


@pytest.mark.parametrize("name", ["tasks", "descriptors", "sockets"])
def test_what_is_not_given_back_is_named(name: str) -> None:
    after = REST._replace(**{name: getattr(REST, name) + 1})
    assert list(judge_rest(REST, after, LOCAL)) == [
        f"{getattr(after, name)} {name} at rest, {getattr(REST, name)} before the load"
    ]


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("kind", MOST_KEPT)
def test_files_that_the_spool_keeps_are_no_leak_unless_there_are_more_of_them(
    processes: int, kind: str
) -> None:
    before = REST._replace(residents=dict.fromkeys(range(processes), MIB))
    most = MOST_KEPT[kind] * processes
    assert list(judge_rest(before, before._replace(kept_files=most), kind)) == []
    assert list(judge_rest(before, before._replace(kept_files=most + 1), kind)) == [
        f"the spool keeps {most + 1} files open at rest, {most} at most may be"
    ]


def test_rest_is_without_sessions_and_queued_messages() -> None:
    assert list(judge_rest(REST, REST, LOCAL)) == []
    assert len(list(judge_rest(REST, REST._replace(sessions=1, queued=2), LOCAL))) == 2


def test_every_acknowledged_message_is_delivered_once() -> None:
    copies = Counter({(7, "a"): 1, (7, "b"): 1, (0, "empty"): 1, (9, "a"): 1})
    assert list(judge_delivery([TWO, EMPTY], Delivered(copies, []))) == []


@pytest.mark.parametrize(
    ("where", "copies", "reason"),
    [
        ((7, "b"), 0, "1 acknowledged messages are not in their maildirs"),
        ((7, "b"), 2, "1 messages were delivered more than once"),
        ((9, "a"), 2, "1 messages were delivered more than once"),
        ((0, "empty"), 2, "2 empty messages in the maildirs, 1 were acknowledged"),
    ],
)
def test_lost_and_doubled_messages_are_found(where: tuple[int, str], copies: int, reason: str) -> None:
    found = Counter({(7, "a"): 1, (7, "b"): 1, (0, "empty"): 1}) | Counter({where: copies})
    found[where] = copies
    reasons = list(judge_delivery([TWO, EMPTY], Delivered(found, [])))
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


def test_the_log_has_one_record_of_each() -> None:
    once = Counter({"id1": 1, "id2": 1})
    assert list(judge_log([TWO], {"Reception": once, "Delivery": once})) == []
    reasons = list(
        judge_log([TWO], {"Reception": once + Counter({"id1": 1}), "Delivery": Counter({"id1": 1})})
    )
    assert [reason.partition(" in ")[0] for reason in reasons] == [
        "1 messages have not exactly one Reception",
        "1 messages have not exactly one Delivery",
    ]


@pytest.mark.parametrize("size", [1, 75, 76, 5000, 100_000])
def test_a_whole_message_is_known_by_its_number(size: int) -> None:
    content = content_of(42, size)
    assert number_of(TRACE + content) == 42
    assert number_of(TRACE + content[:-2]) is None
    assert number_of(TRACE + content.replace(b"short", b"shirt").replace(b"fox", b"box", 1)) is None


def test_an_empty_message_has_trace_fields_only() -> None:
    assert number_of(TRACE) == 0
    assert number_of(b"") is None
    assert number_of(TRACE[:-2]) is None
    assert number_of(TRACE + TRACE) is None
