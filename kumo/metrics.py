"""What the daemon counts: every name that a scraper sees stands here, once.

Numbers are plain Python values changed on the event loop's thread (a dict item costs a tenth of a
locked prometheus-client child), so a message may touch a dozen of them. Called by every room that has
something to count; ``kumo.http`` renders ``families()``. It does not know the text format, keeps no
global state and never samples anything by itself: what is expensive to keep current is watched, that
is, read when somebody scrapes.

Source: KumoMTA manual, metrics.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2s
from typing import NamedTuple

ESMTP_LISTENER = "esmtp_listener"
"""Value of the label ``service`` for all SMTP listeners together."""

TOTAL = "total"
"""Value of the label ``service`` of ``smtp_server_rejections`` for all listeners together."""

_LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


_LONGEST_LABEL = 1024


def label_value(text: str) -> str:
    """A label's value as it can be scraped: UTF-8 of bounded length. Queue names are policy's or a peer's."""
    if text.isascii() and len(text) <= _LONGEST_LABEL:
        return text
    octets = text.encode("utf-8", "backslashreplace")
    if len(octets) <= _LONGEST_LABEL:
        return octets.decode()
    # Two long names that begin alike must not become one series.
    mark = blake2s(octets, digest_size=8).hexdigest()
    return f"{octets[: _LONGEST_LABEL - 32].decode('utf-8', 'ignore')}...{mark}"


class MetricKind(enum.Enum):
    """How a number behaves; values are Prometheus's words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Sample(NamedTuple):
    """One line of an exposition: suffix of the family's name, labels, value."""

    suffix: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    """A metric with all its series, as it was when it was asked for."""

    name: str
    kind: MetricKind
    documentation: str
    samples: list[Sample]


class Number:
    """A metric without labels.

    Args:
        name: as scraped.
        kind: counter or gauge.
        documentation: one sentence for whoever reads the exposition.
    """

    __slots__ = ("_read", "documentation", "kind", "name", "value")

    def __init__(self, name: str, kind: MetricKind, documentation: str) -> None:
        self.name = name
        self.kind = kind
        self.documentation = documentation
        self.value: float = 0
        self._read: Callable[[], float] | None = None

    def watch(self, read: Callable[[], float]) -> None:
        """Take the value from ``read`` whenever somebody scrapes; it must be quick and not raise."""
        self._read = read

    def family(self) -> Family:
        """The value now."""
        value = self.value if self._read is None else self._read()
        return Family(self.name, self.kind, self.documentation, [Sample("", {}, value)])


class Series(dict[str, float]):
    """A metric with one label: a dict from the label's value to the number.

    ``series[service] += 1`` counts, whether or not the label's value was seen before; ``pop`` makes a
    series vanish.

    Args:
        name: as scraped.
        kind: counter or gauge.
        label: name of the label.
        documentation: one sentence for whoever reads the exposition.
    """

    __slots__ = ("_read", "documentation", "kind", "label", "name")

    def __init__(self, name: str, kind: MetricKind, label: str, documentation: str) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.label = label
        self.documentation = documentation
        self._read: Callable[[], Mapping[str, float]] | None = None

    def __missing__(self, label_value: str) -> float:
        return 0

    def watch(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Take all series from ``read`` whenever somebody scrapes; it must be quick and not raise."""
        self._read = read

    def family(self) -> Family:
        """All series now."""
        values = self if self._read is None else self._read()
        samples = [Sample("", {self.label: label_value(key)}, value) for key, value in values.items()]
        return Family(self.name, self.kind, self.documentation, samples)


class Distribution:
    """How often a duration fell below each of some bounds.

    Args:
        bounds: upper bounds in seconds, ascending; a last one without bound is added.
    """

    __slots__ = ("_bounds", "_counts", "_first_bound", "_sum")

    def __init__(self, bounds: tuple[float, ...] = _LATENCY_BOUNDS) -> None:
        self._bounds = bounds
        self._first_bound = bounds[0]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        # Nearly all are below the first bound: they need no search.
        place = bisect_left(self._bounds, seconds) if seconds > self._first_bound else 0
        self._counts[place] += 1
        self._sum += seconds

    @property
    def count(self) -> int:
        """Durations counted so far."""
        return sum(self._counts)

    def samples(self, labels: dict[str, str]) -> Iterator[Sample]:
        """The lines of a Prometheus histogram: cumulative buckets, count and sum."""
        below = 0
        for bound, count in zip(self._bounds, self._counts, strict=False):
            below += count
            yield Sample("_bucket", {**labels, "le": str(bound)}, below)
        total = below + self._counts[-1]
        yield Sample("_bucket", {**labels, "le": "+Inf"}, total)
        yield Sample("_count", labels, total)
        yield Sample("_sum", labels, self._sum)


class Histogram(Distribution):
    """A distribution without labels.

    Args:
        name: as scraped.
        documentation: one sentence for whoever reads the exposition.
    """

    __slots__ = ("documentation", "name")

    kind = MetricKind.HISTOGRAM

    def __init__(self, name: str, documentation: str) -> None:
        super().__init__()
        self.name = name
        self.documentation = documentation

    def family(self) -> Family:
        """The distribution now."""
        return Family(self.name, self.kind, self.documentation, list(self.samples({})))


class HistogramSeries(dict[str, Distribution]):
    """A histogram with one label: ``series[event].observe(seconds)``.

    Args:
        name: as scraped.
        label: name of the label.
        documentation: one sentence for whoever reads the exposition.
    """

    __slots__ = ("documentation", "label", "name")

    kind = MetricKind.HISTOGRAM

    def __init__(self, name: str, label: str, documentation: str) -> None:
        super().__init__()
        self.name = name
        self.label = label
        self.documentation = documentation

    def __missing__(self, label_value: str) -> Distribution:
        distribution = self[label_value] = Distribution()
        return distribution

    def counts(self) -> dict[str, float]:
        """How many durations each distribution has."""
        return {key: one.count for key, one in self.items()}

    def family(self) -> Family:
        """All distributions now."""
        samples = [line for key, one in self.items() for line in one.samples({self.label: label_value(key)})]
        return Family(self.name, self.kind, self.documentation, samples)


def _counter(name: str, label: str, documentation: str) -> Series:
    return Series(name, MetricKind.COUNTER, label, documentation)


def _gauge(name: str, label: str, documentation: str) -> Series:
    return Series(name, MetricKind.GAUGE, label, documentation)


class Metrics:
    """All metrics of one daemon.

    ``service`` is ``esmtp_listener`` for all SMTP listeners, ``esmtp_listener:IP:PORT`` for one local
    address; of ``smtp_server_rejections`` it is ``total`` and ``IP:PORT``.
    """

    def __init__(self) -> None:
        self._add_sessions()
        self._add_messages()
        self._add_resources()
        self._add_policy()

    def _add_sessions(self) -> None:
        self.connection_count = _gauge("connection_count", "service", "Connections that are open.")
        self.total_connection_count = _counter(
            "total_connection_count", "service", "Connections accepted so far."
        )
        self.total_connections_denied = _counter(
            "total_connections_denied", "service", "Connections turned away before their banner."
        )
        self.connections_by_processor = _counter(
            "connections_by_processor", "arrival", "Connections of workers by listener and processor."
        )
        self.smtp_server_rejections = _counter(
            "smtp_server_rejections",
            "service",
            "Replies with a 4xx or 5xx code that were logged as Rejection.",
        )
        self.smtpsrv_transaction_duration = Histogram(
            "smtpsrv_transaction_duration", "Seconds from MAIL to the end of its transaction."
        )
        self.smtpsrv_read_data_duration = Histogram(
            "smtpsrv_read_data_duration", "Seconds from the 354 reply to end-of-data."
        )
        self.smtpsrv_process_data_duration = Histogram(
            "smtpsrv_process_data_duration", "Seconds from end-of-data to its reply."
        )

    def _add_messages(self) -> None:
        self.total_messages_received = _counter(
            "total_messages_received", "service", "Transactions that reached their end-of-data."
        )
        self.total_messages_delivered = _counter("total_messages_delivered", "service", "Messages delivered.")
        self.total_messages_transfail = _counter(
            "total_messages_transfail", "service", "Delivery attempts that failed for now."
        )
        self.total_messages_fail = _counter(
            "total_messages_fail", "service", "Messages that failed for good."
        )
        self.scheduled_count = _gauge("scheduled_count", "queue", "Messages in a scheduled queue.")
        self.scheduled_count_total = Number(
            "scheduled_count_total", MetricKind.GAUGE, "Messages in all scheduled queues."
        )
        self.scheduled_queue_count = Number("scheduled_queue_count", MetricKind.GAUGE, "Scheduled queues.")

    def _add_resources(self) -> None:
        self.message_count = Number("message_count", MetricKind.GAUGE, "Messages in the queues.")
        self.memory_usage = Number(
            "memory_usage", MetricKind.GAUGE, "Octets of memory that this daemon uses."
        )
        self.memory_limit = Number(
            "memory_limit", MetricKind.GAUGE, "Octets of memory above which new sessions are refused."
        )
        self.memory_low_thresh = Number(
            "memory_low_thresh", MetricKind.GAUGE, "Octets of memory above which it counts as low."
        )
        self.memory_over_limit_count = Number(
            "memory_over_limit_count", MetricKind.COUNTER, "Times that memory_usage rose to memory_limit."
        )
        self.disk_free_bytes = _gauge("disk_free_bytes", "name", "Octets free on a monitored path.")
        self.disk_free_percent = _gauge(
            "disk_free_percent", "name", "Free space of a monitored path in percent."
        )
        self.disk_free_inodes = _gauge("disk_free_inodes", "name", "Inodes free on a monitored path.")
        self.disk_free_inodes_percent = _gauge(
            "disk_free_inodes_percent", "name", "Free inodes of a monitored path in percent."
        )

    def _add_policy(self) -> None:
        self.lua_event_started = _counter("lua_event_started", "event", "Events handed to Lua handlers.")
        self.lua_event_latency = HistogramSeries("lua_event_latency", "event", "Seconds an event took.")
        # Counted once for both: it happens for every event of every message.
        self.lua_event_started.watch(self.lua_event_latency.counts)

    def families(self) -> Iterator[Family]:
        """Every metric with the values of the moment it is yielded at."""
        for metric in vars(self).values():
            yield metric.family()

    def counts(self) -> Iterator[Family]:
        """Those that never go down, counters and histograms; their series do not grow with queues."""
        for metric in vars(self).values():
            if metric.kind is not MetricKind.GAUGE:
                yield metric.family()

    def gauges(self) -> Iterator[Family]:
        """The others, one of which has a series for each queue."""
        for metric in vars(self).values():
            if metric.kind is MetricKind.GAUGE:
                yield metric.family()
