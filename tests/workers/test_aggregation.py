from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumo.metrics import Family, MetricKind, Metrics, Sample
from kumo.workers.aggregation import merge


def values(families: list[Family]) -> dict[str, float]:
    return {
        f"{family.name}{sample.suffix}{','.join(map('='.join, sample.labels.items()))}": sample.value
        for family in families
        for sample in family.samples
    }


def gauge(name: str, *samples: Sample) -> Family:
    return Family(name, MetricKind.GAUGE, "", list(samples))


@given(st.lists(st.lists(st.sampled_from(["in", "out", "0.003", "0.2", "80"]), max_size=30), max_size=4))
def test_several_processes_count_as_one_that_did_it_all(events: list[list[str]]) -> None:
    whole = Metrics()
    parts = [Metrics() for _ in events]
    for part, happened in zip(parts, events, strict=True):
        for event in happened:
            for metrics in (whole, part):
                if event == "in":
                    metrics.total_messages_received["esmtp_listener"] += 1
                    metrics.connection_count[f"esmtp_listener:{len(happened) % 2}"] += 1
                elif event == "out":
                    metrics.connection_count[f"esmtp_listener:{len(happened) % 2}"] -= 1
                else:
                    metrics.smtpsrv_read_data_duration.observe(float(event))
                    metrics.lua_event_latency[event].observe(float(event))
    merged = merge([part.families() for part in parts] or [whole.families()])
    expected = values(list(whole.families()))
    assert values(merged) == pytest.approx(expected)
    assert [family.name for family in merged] == [family.name for family in whole.families()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("memory_usage", 7),
        ("message_count", 7),
        ("memory_limit", 4),
        ("memory_low_thresh", 4),
        ("disk_free_bytes", 3),
        ("disk_free_inodes_percent", 3),
    ],
)
def test_what_all_see_alike_is_no_sum(name: str, expected: float) -> None:
    assert values(merge([[gauge(name, Sample("", {}, 3))], [gauge(name, Sample("", {}, 4))]])) == {
        name: expected
    }


def test_a_queue_of_several_processes_is_one() -> None:
    def process(*queues: str) -> list[Family]:
        return [
            gauge("scheduled_count", *(Sample("", {"queue": queue}, 2) for queue in queues)),
            gauge("scheduled_queue_count", Sample("", {}, len(queues))),
        ]

    merged = values(merge([process("a", "b"), process("b", "c")]))
    assert merged == {
        "scheduled_countqueue=a": 2,
        "scheduled_countqueue=b": 4,
        "scheduled_countqueue=c": 2,
        "scheduled_queue_count": 3,
    }


def test_a_family_may_come_in_parts() -> None:
    parts = [gauge("n", Sample("", {"q": "a"}, 1)), gauge("n", Sample("", {"q": "b"}, 2))]
    assert merge([parts]) == [gauge("n", Sample("", {"q": "a"}, 1), Sample("", {"q": "b"}, 2))]


def test_the_metrics_that_are_no_sums_exist() -> None:
    names = {family.name for family in Metrics().families()}
    assert {"memory_limit", "memory_low_thresh", "disk_free_bytes", "disk_free_percent"} <= names
    assert {
        "disk_free_inodes",
        "disk_free_inodes_percent",
        "scheduled_queue_count",
        "scheduled_count",
    } <= names
