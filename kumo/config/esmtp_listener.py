"""Parameters of ``kumo.start_esmtp_listener``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from kumo.config.cidr import CidrMap, CidrSet
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
class ListenerOverrides:
    """Listener parameters that apply to some connections only; None: not given.

    Values of ``peer`` and ``via``, at any depth, and what ``smtp_server_get_dynamic_parameters`` returns.
    What each means stands in ``EsmtpListener``.

    Source: KumoMTA manual, kumo.start_esmtp_listener, peer and via.
    """

    MISPLACED: ClassVar[Mapping[str, str]] = {
        key: f"`{key}` is one for the whole listener: give it beside `peer` and `via` at the top"
        for key in ("listen", "max_connections")
    }
    """What to say of keys that only the listener itself has, where the nearest name would mislead."""

    hostname: Annotated[str | None, Kind.HOSTNAME] = None
    banner: str | None = None
    relay_hosts: Annotated[CidrSet | None, Kind.CIDR_LIST] = None
    client_timeout: Annotated[float | None, Kind.DURATION] = None
    data_processing_timeout: Annotated[float | None, Kind.DURATION] = None
    data_buffer_size: Annotated[int | None, Kind.UNSIGNED] = None
    max_message_size: Annotated[int | None, Kind.UNSIGNED] = None
    max_recipients_per_message: Annotated[int | None, Kind.UNSIGNED] = None
    max_messages_per_connection: Annotated[int | None, Kind.UNSIGNED] = None
    line_length_hard_limit: Annotated[int | None, Kind.UNSIGNED] = None
    invalid_line_endings: LineEndings | None = None
    deferred_spool: bool | None = None
    deferred_queue: bool | None = None
    batch_handling: BatchHandling | None = None
    trace_headers: TraceHeaders | None = None
    """Replaces the listener's as a whole."""
    tls_certificate: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    tls_private_key: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    tls_required_client_ca: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    allow_xclient: bool | None = None
    require_proxy_protocol: bool | None = None
    meta: Annotated[dict[str, Any] | None, Kind.JSON_MAP] = None
    """Merged into connection meta; a key cannot be unset."""
    peer: Annotated[CidrMap[ListenerOverrides] | None, Kind.LISTENER_OVERRIDES] = None
    via: Annotated[CidrMap[ListenerOverrides] | None, Kind.LISTENER_OVERRIDES] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EsmtpListener:
    """One SMTP listener.

    Source: KumoMTA manual, kumo.start_esmtp_listener.
    """

    listen: Annotated[str, Kind.SOCKET_ADDRESS] = "127.0.0.1:2025"
    """``IP:port``, ``[v6]:port`` or ``host:port``; port 0 takes any free one."""
    hostname: Annotated[str | None, Kind.HOSTNAME] = None
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
    deferred_queue: bool = False
    """Answer before policy's reception event; it comes later, as ``smtp_server_message_deferred_inject``."""
    batch_handling: BatchHandling = BatchHandling.BIFURCATE_ALWAYS
    trace_headers: TraceHeaders = field(default_factory=TraceHeaders)
    tls_certificate: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    """PEM chain, leaf first; None with no private key either: self-signed for the hostname."""
    tls_private_key: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    """PEM key: PKCS#8, PKCS#1 or SEC1."""
    tls_required_client_ca: Annotated[KeySource | None, Kind.KEY_SOURCE] = None
    """PEM bundle that client certificates are verified with; a client may still have none."""
    allow_xclient: bool = False
    require_proxy_protocol: bool = False
    """Expect a PROXY protocol header, version 1 or 2, before anything else."""
    meta: Annotated[dict[str, Any], Kind.JSON_MAP] = field(default_factory=dict)
    """Merged into connection meta."""
    peer: Annotated[CidrMap[ListenerOverrides] | None, Kind.LISTENER_OVERRIDES] = None
    """What differs by the peer's IP."""
    via: Annotated[CidrMap[ListenerOverrides] | None, Kind.LISTENER_OVERRIDES] = None
    """What differs by our own IP; beats ``peer`` on the same level."""
