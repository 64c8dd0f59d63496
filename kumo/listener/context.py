"""What all connections of one listener share.

Made by ``EsmtpServer`` from its configuration; ``EsmtpConnection`` reads it. Whatever can be worked out
from the configuration is worked out here, once, and not for each connection.
"""

from __future__ import annotations

import asyncio
import socket
from random import getrandbits
from typing import TYPE_CHECKING, Any, NamedTuple

from kumo.config import EsmtpListener, ListenerOverrides
from kumo.listener.address import plain_ip
from kumo.listener.cohorts import Cohorts
from kumo.listener.interfaces import (
    AccountingLog,
    Admission,
    Receiver,
    RejectionLog,
    RelayAuthority,
    SessionPolicy,
)
from kumo.listener.outbox import Outbox
from kumo.listener.parameters import EffectiveParameters, matching_blocks, merge
from kumo.listener.read_buffer import COMMAND_OCTETS, ReadBuffer
from kumo.listener.relay import RelayCheck
from kumo.listener.session_settings import SessionSettings
from kumo.message import Connection, print_socket_address
from kumo.metrics import ESMTP_LISTENER, Metrics
from kumo.tls import TlsContexts

if TYPE_CHECKING:
    from kumo.listener.esmtp_protocol import EsmtpConnection

_MOST_SERVICES = 1024
"""Local addresses that are counted each for itself: PROXY headers and XCLIENT may name any number."""

_MOST_SETTINGS = 1024
"""Sets of parameters that are kept; a configuration with more of them works some out anew."""


# RFC 9562 §5.4: four bits of version and two of variant.
_NO_VERSION = ~(0b1111 << 76 | 0b11 << 62)
_VERSION_4 = 4 << 76 | 0b10 << 62


class Partners(NamedTuple):
    """Whom a listener asks and tells.

    Args:
        policy: asked at each step of a session.
        receiver: takes finished transactions.
        relay_authority: knows who may relay.
        admission: says whether sessions may begin.
        rejection_log: gets refused replies.
        accounting_log: gets attempts to authenticate.
        metrics: counts.
        tls: makes the contexts of handshakes.
        read_buffer: memory for reads, shared with the other listeners of this process.
        counts_processors: whether to count on which processors connections arrive.
    """

    policy: SessionPolicy
    receiver: Receiver
    relay_authority: RelayAuthority
    admission: Admission
    rejection_log: RejectionLog
    accounting_log: AccountingLog
    metrics: Metrics
    tls: TlsContexts
    read_buffer: ReadBuffer
    counts_processors: bool = False


class ListenerContext:
    """Configuration, partners and present sessions of one listener.

    Args:
        config: the listener's parameters.
        partners: whom it asks and tells.
    """

    __slots__ = (
        "_config",
        "_fixed_settings",
        "_read_buffer",
        "_services",
        "_settings",
        "accounting_log",
        "admission",
        "cohorts",
        "command_view",
        "hostname",
        "is_shutting_down",
        "loop",
        "messages_received",
        "metrics",
        "now",
        "on_empty",
        "outbox",
        "policy",
        "process_data_duration",
        "read_data_duration",
        "receiver",
        "rejection_log",
        "relay_check",
        "sessions",
        "tls",
        "transaction_duration",
    )

    def __init__(self, config: EsmtpListener, partners: Partners) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.outbox = Outbox(self.loop)
        self.cohorts = Cohorts(self.loop, self.outbox)
        self.policy = partners.policy
        self.receiver = partners.receiver
        self.admission = partners.admission
        self.rejection_log = partners.rejection_log
        self.accounting_log = partners.accounting_log
        self.metrics = metrics = partners.metrics
        # Those that come with every message, so that it looks none of them up.
        self.messages_received = metrics.total_messages_received
        self.process_data_duration = metrics.smtpsrv_process_data_duration
        self.read_data_duration = metrics.smtpsrv_read_data_duration
        self.transaction_duration = metrics.smtpsrv_transaction_duration
        self.tls = partners.tls
        self.relay_check = RelayCheck(partners.relay_authority, partners.policy)
        self.hostname = config.hostname or own_hostname()
        """The listener's own, before any override."""
        self.command_view = partners.read_buffer.view(COMMAND_OCTETS)
        self.sessions: set[EsmtpConnection] = set()
        """Connections that are open, and closed ones whose message is still being stored."""
        self.is_shutting_down = False
        self.on_empty: asyncio.Event | None = None
        self._config = config
        self._read_buffer = partners.read_buffer
        self._services: dict[str, str] = {}
        self._settings: dict[tuple[int, ...], SessionSettings] = {}
        # Where addresses change nothing, a connection is not to pay for a look at them.
        is_fixed = config.peer is None and config.via is None
        self._fixed_settings = self._settings_of("", "") if is_fixed else None

    def new_connection(self, peer: tuple[str, int], local: tuple[str, int]) -> Connection:
        """Describe a connection; its parameters are still to come from ``settings_for``.

        Args:
            peer: address and port of the client, as the kernel gives them.
            local: those of our end.
        """
        peer_ip = plain_ip(peer[0])
        local_ip = plain_ip(local[0])
        meta: dict[str, Any] = {
            "reception_protocol": "ESMTP",
            "received_via": print_socket_address(local_ip, local[1]),
            "received_from": print_socket_address(peer_ip, peer[1]),
        }
        return Connection(peer_ip, peer[1], local_ip, local[1], new_session_id(), self.hostname, meta)

    def settings_for(self, connection: Connection) -> SessionSettings:
        """What the configuration gives to a connection between the addresses it has now."""
        return self._fixed_settings or self._settings_of(connection.peer_ip, connection.local_ip)

    def settings_with(
        self, settings: SessionSettings, overrides: ListenerOverrides, connection: Connection
    ) -> SessionSettings:
        """What policy makes of a connection's settings.

        Args:
            settings: what holds so far.
            overrides: policy's answer; its ``peer`` and ``via`` count as well.
            connection: whose addresses choose among these.
        """
        blocks = matching_blocks(overrides, connection.peer_ip, connection.local_ip)
        if blocks == [_NO_OVERRIDES]:
            return settings
        return SessionSettings(merge(settings.listener, blocks), own_hostname(), self._read_buffer)

    def service_of(self, via: str) -> str:
        """The label ``service`` that counts what came in at a local address, given as ``IP:port``.

        It ends in ``:other`` for addresses beyond the first ``_MOST_SERVICES``.
        """
        service = self._services.get(via)
        if service is None:
            if len(self._services) >= _MOST_SERVICES:
                return f"{ESMTP_LISTENER}:other"
            service = self._services[via] = f"{ESMTP_LISTENER}:{via}"
        return service

    def forget(self, session: EsmtpConnection) -> None:
        """Drop a session that holds nothing any more."""
        self.sessions.discard(session)
        if self.on_empty is not None and not self.sessions:
            self.on_empty.set()

    def _settings_of(self, peer_ip: str, local_ip: str) -> SessionSettings:
        blocks = matching_blocks(self._config, peer_ip, local_ip)
        # Blocks live as long as the configuration, so that the same identity is the same block.
        key = tuple(map(id, blocks))
        settings = self._settings.get(key)
        if settings is None:
            own_name = own_hostname()
            listener, meta = merge(self._config, blocks)
            effective = EffectiveParameters(listener, {"hostname": own_name, **meta})
            settings = SessionSettings(effective, own_name, self._read_buffer)
            if len(self._settings) < _MOST_SETTINGS:
                self._settings[key] = settings
        return settings


_NO_OVERRIDES = ListenerOverrides()


def own_hostname() -> str:
    """The name of this host, for listeners that are given none."""
    return socket.gethostname()


def new_session_id() -> str:
    """A dashed version 4 UUID, at a small part of the price of ``str(uuid.uuid4())``.

    It tells sessions apart in logs and guards nothing, so that nobody gains by guessing it; the generator is
    seeded by the system, and again in a process that is forked.
    """
    number = getrandbits(128) & _NO_VERSION | _VERSION_4
    digits = number.to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
