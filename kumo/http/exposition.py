"""Metrics in Prometheus's text format.

The format's rules are prometheus-client's; here families are put into its types and rendered a part at
a time, because a scrape of some ten thousand queues would hold the event loop for too long in one piece.
Called by ``http_server``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from kumo.metrics import Family, MetricKind, Sample

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SAMPLES_A_PART = 500
"""Lines rendered in one go, about 2 ms."""


class _OnePart(Collector):
    """A collector of a single metric, in which form prometheus-client renders it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


def render(families: Iterable[Family]) -> Iterator[bytes]:
    """The exposition in parts; the caller lets others run between them.

    Args:
        families: what to render; a family without samples is left out.
    """
    for family in families:
        for start in range(0, len(family.samples), SAMPLES_A_PART):
            part = _render_part(family, family.samples[start : start + SAMPLES_A_PART])
            yield part if start == 0 else _without_head(part)


def _render_part(family: Family, samples: list[Sample]) -> bytes:
    # As a counter, prometheus-client would add "_total" to the name, which KumoMTA's names do not have.
    is_counter = family.kind is MetricKind.COUNTER
    metric = Metric(family.name, family.documentation, "gauge" if is_counter else family.kind.value)
    for suffix, labels, value in samples:
        metric.add_sample(family.name + suffix, labels, value)
    part = generate_latest(_OnePart(metric))
    if is_counter:
        name = family.name.encode()
        part = part.replace(b"# TYPE %b gauge\n" % name, b"# TYPE %b counter\n" % name, 1)
    return part


def _without_head(part: bytes) -> bytes:
    # HELP and TYPE stand before the first sample of a family only.
    return part.split(b"\n", 2)[2]
