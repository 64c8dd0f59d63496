"""Parameters of ``kumo.make_listener_domain``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated

from kumo.config.cidr import CidrSet
from kumo.config.kinds import Kind


class ReportHandling(enum.Enum):
    """What to do with delivery and feedback reports that come in; values are KumoMTA's words."""

    IGNORE = "Ignore"
    """They are mail like any other."""
    LOG_THEN_DROP = "LogThenDrop"
    LOG_THEN_RELAY = "LogThenRelay"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerDomain:
    """What a listener may do for a domain.

    Source: KumoMTA manual, kumo.make_listener_domain.
    """

    log_oob: Annotated[ReportHandling, Kind.REPORT_HANDLING] = ReportHandling.IGNORE
    """Delivery status notifications, RFC 3464."""
    log_arf: Annotated[ReportHandling, Kind.REPORT_HANDLING] = ReportHandling.IGNORE
    """Feedback reports, RFC 5965."""
    relay_to: bool = False
    """Take mail for this domain from anybody."""
    relay_from: Annotated[CidrSet, Kind.CIDR_LIST] = field(default_factory=lambda: CidrSet.parse(()))
    """Peers that may relay anywhere with a sender of this domain."""
    ttl: Annotated[float, Kind.DURATION] = 60.0
    """Without meaning; KumoMTA deprecates it."""
