"""Prometheus's text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from kumo.http.exposition import SAMPLES_A_PART, render
from kumo.metrics import MetricKind, Metrics, Series


def test_counters_keep_kumomtas_names() -> None:
    series = Series("total_messages_received", MetricKind.COUNTER, "service", "Messages.")
    series["esmtp_listener"] += 2
    assert b"".join(render([series.family()])).decode() == (
        "# HELP total_messages_received Messages.\n"
        "# TYPE total_messages_received counter\n"
        'total_messages_received{service="esmtp_listener"} 2.0\n'
    )


def test_label_values_are_escaped() -> None:
    series = Series("n", MetricKind.GAUGE, "queue", "Text.")
    series['a"b\\c\nd'] = 1
    assert b"".join(render([series.family()])).decode().splitlines()[2] == r'n{queue="a\"b\\c\nd"} 1.0'


def test_families_without_series_are_left_out() -> None:
    assert list(render([Series("n", MetricKind.GAUGE, "queue", "Text.").family()])) == []


def test_many_series_come_in_parts_with_one_head() -> None:
    series = Series("scheduled_count", MetricKind.GAUGE, "queue", "Text.")
    count = 3 * SAMPLES_A_PART + 1
    for number in range(count):
        series[f"q{number}"] = number
    parts = list(render([series.family()]))
    assert len(parts) == 4
    text = b"".join(parts).decode()
    assert text.count("# TYPE") == 1
    (family,) = text_string_to_metric_families(text)
    assert [(sample.labels["queue"], sample.value) for sample in family.samples] == [
        (f"q{number}", number) for number in range(count)
    ]


def test_everything_is_read_back_by_a_scraper() -> None:
    metrics = Metrics()
    metrics.total_messages_received["esmtp_listener"] += 1
    metrics.lua_event_latency["smtp_server_data"].observe(0.2)
    metrics.smtpsrv_read_data_duration.observe(0.01)
    metrics.disk_free_percent["data spool"] = 12.5
    text = b"".join(render(metrics.families())).decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["lua_event_latency"].type == "histogram"
    assert found["smtpsrv_read_data_duration"].type == "histogram"
    assert found["disk_free_percent"].samples[0].value == 12.5
    assert found["memory_usage"].type == "gauge"
