"""Parameters of ``kumo.start_esmtp_listener``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from kumo.config.cidr import CidrSet
from kumo.config.key_source import KeySource
from kumo.config.kinds import Duration, Kind, Unsigned
from kumo.config.trace_headers import TraceHeaders


class LineEndings(enum.Enum):
    """What to do with a bare CR or bare LF in a message; values are KumoMTA's words."""

    DENY = "Deny"
    ALLOW = "Allow"
    """Unsafe towards servers that take a bare LF as a line end; never ends DATA here."""
    FIX = "Fix"


class BatchHandling(enum.Enum):
    """How a transaction with several recipients becomes messages."""

    BIFURCATE_ALWAYS = "BifurcateAlways"
    BATCH_BY_DOMAIN = "BatchByDomain"


@dataclass(frozen=True, slots=True, kw_only=True)
class EsmtpListener:
    """One SMTP listener.

    Source: KumoMTA manual, kumo.start_esmtp_listener.
    """

    NOT_IMPLEMENTED: ClassVar[frozenset[str]] = frozenset(
        {
            "allow_xclient",
            "deferred_queue",
            "meta",
            "peer",
            "require_proxy_protocol",
            "tls_required_client_ca",
            "via",
        }
    )
    """Keys of KumoMTA that are refused, because ignoring them would change what the policy means."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"tls_certificate", "tls_private_key"})
    """Keys that are taken and warned of: STARTTLS is not offered by this version."""

    listen: Annotated[str, Kind.SOCKET_ADDRESS] = "127.0.0.1:2025"
    """``IP:port``, ``[v6]:port`` or ``host:port``; port 0 takes any free one."""
    hostname: str | None = None
    """Name in banner, EHLO reply, 421 texts and Received; None: the host's own name."""
    banner: str = "KumoMTA"
    """Text after the hostname in the 220 line."""
    relay_hosts: Annotated[CidrSet, Kind.CIDR_LIST] = field(
        default_factory=lambda: CidrSet.parse(("127.0.0.1", "::1"))
    )
    """Peers that may relay anywhere."""
    client_timeout: Duration = 60.0
    """Seconds without progress in reading or writing before the session ends."""
    data_processing_timeout: Duration = 300.0
    """Seconds for everything between the final dot and its reply."""
    data_buffer_size: Unsigned = 131072
    """Octets a socket read may bring at most while in DATA."""
    max_message_size: Unsigned = 20971520
    """Octets of content after unstuffing; one more is refused."""
    max_recipients_per_message: Unsigned = 1024
    """Accepted RCPT commands in a transaction."""
    max_messages_per_connection: Unsigned = 10000
    """Accepted MAIL commands in a session."""
    max_connections: Unsigned = 32768
    """Sessions of this listener at one time."""
    line_length_hard_limit: Unsigned = 998
    """Octets of a command line or a content line, CRLF not counted."""
    invalid_line_endings: LineEndings = LineEndings.DENY
    deferred_spool: bool = False
    """Keep accepted messages in memory instead of the spool; a crash loses them."""
    batch_handling: BatchHandling = BatchHandling.BIFURCATE_ALWAYS
    trace_headers: TraceHeaders = field(default_factory=TraceHeaders)
    tls_certificate: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    tls_private_key: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
