"""Counters, gauges and histograms."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kumo.metrics import (
    Distribution,
    Family,
    HistogramSeries,
    MetricKind,
    Metrics,
    Number,
    Sample,
    Series,
    label_value,
)

NAMES = {
    "connection_count",
    "disk_free_bytes",
    "disk_free_inodes",
    "disk_free_inodes_percent",
    "disk_free_percent",
    "lua_event_latency",
    "lua_event_started",
    "memory_limit",
    "memory_low_thresh",
    "memory_over_limit_count",
    "memory_usage",
    "message_count",
    "scheduled_count",
    "scheduled_count_total",
    "scheduled_queue_count",
    "smtp_server_rejections",
    "smtpsrv_process_data_duration",
    "smtpsrv_read_data_duration",
    "smtpsrv_transaction_duration",
    "total_connection_count",
    "total_connections_denied",
    "total_messages_delivered",
    "total_messages_fail",
    "total_messages_received",
    "total_messages_transfail",
}


OWN_NAMES = {"connections_by_processor"}


def test_metrics_have_kumomtas_names() -> None:
    metrics = Metrics()
    assert {family.name for family in metrics.families()} == NAMES | OWN_NAMES
    assert all(name == family.name for name, family in zip(vars(metrics), metrics.families(), strict=True))
    assert all(family.documentation.endswith(".") for family in metrics.families())


def test_what_never_goes_down_can_be_had_without_the_rest() -> None:
    metrics = Metrics()
    counts, gauges = list(metrics.counts()), list(metrics.gauges())
    assert {family.kind for family in counts} == {MetricKind.COUNTER, MetricKind.HISTOGRAM}
    assert {family.kind for family in gauges} == {MetricKind.GAUGE}
    assert {family.name for family in [*counts, *gauges]} == NAMES | OWN_NAMES


def test_daemons_share_no_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.total_messages_received["esmtp_listener"] += 1
    assert other.total_messages_received == {}


def test_events_are_counted_with_their_times() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.2, 1000.0):
        metrics.lua_event_latency["init"].observe(seconds)
    metrics.lua_event_latency["smtp_server_ehlo"].observe(0.001)
    assert metrics.lua_event_started.family().samples == [
        Sample("", {"event": "init"}, 3),
        Sample("", {"event": "smtp_server_ehlo"}, 1),
    ]


def test_series_counts_labels_it_never_saw() -> None:
    series = Series("n", MetricKind.COUNTER, "service", "Text.")
    series["a"] += 1
    series["a"] += 2
    series["b"] += 1
    assert series.family() == Family(
        "n", MetricKind.COUNTER, "Text.", [Sample("", {"service": "a"}, 3), Sample("", {"service": "b"}, 1)]
    )


def test_reading_a_series_makes_none() -> None:
    series = Series("n", MetricKind.COUNTER, "service", "Text.")
    assert series["a"] == 0
    assert series.family().samples == []


def test_series_can_be_removed() -> None:
    metrics = Metrics()
    metrics.scheduled_count["example.com"] = 5
    metrics.scheduled_count.pop("example.com")
    assert metrics.scheduled_count.family().samples == []


def test_watched_numbers_are_read_when_asked_for() -> None:
    metrics = Metrics()
    queues: dict[str, float] = {}
    metrics.scheduled_count.watch(lambda: queues)
    metrics.scheduled_count_total.watch(lambda: sum(queues.values()))
    queues["example.com"] = 7
    assert metrics.scheduled_count.family().samples == [Sample("", {"queue": "example.com"}, 7)]
    assert metrics.scheduled_count_total.family().samples == [Sample("", {}, 7)]


def test_number_has_its_value() -> None:
    number = Number("n", MetricKind.GAUGE, "Text.")
    number.value = 3
    assert number.family().samples == [Sample("", {}, 3)]


@pytest.mark.parametrize(
    ("seconds", "buckets"),
    [
        (0.0, [1, 1, 1]),
        (0.1, [1, 1, 1]),
        (0.1000001, [0, 1, 1]),
        (1.0, [0, 1, 1]),
        (1.5, [0, 0, 1]),
    ],
)
def test_distribution_counts_into_cumulative_buckets(seconds: float, buckets: list[int]) -> None:
    distribution = Distribution((0.1, 1.0))
    distribution.observe(seconds)
    assert list(distribution.samples({"event": "x"})) == [
        Sample("_bucket", {"event": "x", "le": "0.1"}, buckets[0]),
        Sample("_bucket", {"event": "x", "le": "1.0"}, buckets[1]),
        Sample("_bucket", {"event": "x", "le": "+Inf"}, buckets[2]),
        Sample("_count", {"event": "x"}, 1),
        Sample("_sum", {"event": "x"}, seconds),
    ]


def test_histogram_with_a_label_keeps_labels_apart() -> None:
    series = HistogramSeries("n", "event", "Text.")
    series["one"].observe(1)
    series["one"].observe(1)
    series["two"].observe(2)
    counts = {line.labels["event"]: line.value for line in series.family().samples if line.suffix == "_count"}
    assert counts == {"one": 2, "two": 1}
    assert series.family().kind is MetricKind.HISTOGRAM


def test_counting_needs_no_prometheus_client() -> None:
    """A daemon without an HTTP listener does not pay for its import."""
    heavy = {"prometheus_client", "aiohttp"}
    program = f"import sys, kumo.metrics, kumo.http; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("t@example.org", "t@example.org"),
        ("t\udce9@example.org", "t\\udce9@example.org"),
        ("é@example.org", "é@example.org"),
        ("x" * 1024, "x" * 1024),
    ],
)
def test_what_policy_and_peers_name_can_be_scraped(text: str, shown: str) -> None:
    assert label_value(text) == shown


def test_long_names_stay_apart_and_have_a_bound() -> None:
    names = [letter * 5_000_000 + end for letter in ("x", "é") for end in "12"]
    shown = [label_value(name) for name in names]
    assert len(set(shown)) == 4
    assert max(len(text.encode()) for text in shown) <= 1024
