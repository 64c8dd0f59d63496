"""What all connections of one listener share.

Made by ``EsmtpServer`` from its configuration; ``EsmtpProtocol`` reads it. Whatever can be worked out
from the configuration is worked out here, once, and not for each connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from kumo.config import EsmtpListener
from kumo.listener.address import plain_ip
from kumo.listener.interfaces import Admission, Receiver, RejectionLog, SessionPolicy
from kumo.listener.read_buffer import COMMAND_OCTETS, ReadBuffer
from kumo.listener.relay import RelayRule
from kumo.message import Connection, print_socket_address
from kumo.metrics import ESMTP_LISTENER, Metrics
from kumo.smtp import SessionParameters

if TYPE_CHECKING:
    from kumo.listener.esmtp_protocol import EsmtpProtocol


class ListenerContext:
    """Configuration, partners and present sessions of one listener.

    Args:
        config: the listener's parameters.
        policy: asked at each step of a session.
        receiver: takes finished transactions.
        admission: says whether sessions may begin.
        rejection_log: gets refused replies.
        metrics: counts.
        read_buffer: memory for reads, shared with the other listeners of this process.
    """

    __slots__ = (
        "_parameters",
        "_rewriting_parameters",
        "_services",
        "admission",
        "client_timeout",
        "command_view",
        "content_view",
        "hostname",
        "is_shutting_down",
        "loop",
        "metrics",
        "now",
        "on_empty",
        "policy",
        "receiver",
        "rejection_log",
        "relay_rule",
        "sessions",
    )

    def __init__(
        self,
        config: EsmtpListener,
        *,
        policy: SessionPolicy,
        receiver: Receiver,
        admission: Admission,
        rejection_log: RejectionLog,
        metrics: Metrics,
        read_buffer: ReadBuffer,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.policy = policy
        self.receiver = receiver
        self.admission = admission
        self.rejection_log = rejection_log
        self.metrics = metrics
        self.relay_rule = RelayRule(config.relay_hosts)
        self.hostname = config.hostname or socket.gethostname()
        self.client_timeout = config.client_timeout
        self.command_view = read_buffer.view(COMMAND_OCTETS)
        self.content_view = read_buffer.view(config.data_buffer_size)
        self.sessions: set[EsmtpProtocol] = set()
        """Connections that are open, and closed ones whose message is still being stored."""
        self.is_shutting_down = False
        self.on_empty: asyncio.Event | None = None
        self._parameters = _session_parameters(config, self.hostname, rewrites_replies=False)
        self._rewriting_parameters = _session_parameters(config, self.hostname, rewrites_replies=True)
        self._services: dict[str, str] = {}

    def session_parameters(self) -> SessionParameters:
        """Parameters of a session that begins now; policy may change between two sessions."""
        return self._rewriting_parameters if self.policy.rewrites_replies else self._parameters

    def new_connection(self, peer: tuple[str, int], local: tuple[str, int]) -> Connection:
        """Describe a connection.

        Args:
            peer: address and port of the client, as the kernel gives them.
            local: those of our end.
        """
        peer_ip = plain_ip(peer[0])
        local_ip = plain_ip(local[0])
        meta = {
            "reception_protocol": "ESMTP",
            "received_via": print_socket_address(local_ip, local[1]),
            "received_from": print_socket_address(peer_ip, peer[1]),
            "hostname": self.hostname,
        }
        return Connection(peer_ip, peer[1], local_ip, local[1], new_session_id(), self.hostname, meta)

    def service_of(self, via: str) -> str:
        """The label ``service`` that counts what came in at a local address, given as ``IP:port``."""
        service = self._services.get(via)
        if service is None:
            service = self._services[via] = f"{ESMTP_LISTENER}:{via}"
        return service

    def forget(self, session: EsmtpProtocol) -> None:
        """Drop a session that holds nothing any more."""
        self.sessions.discard(session)
        if self.on_empty is not None and not self.sessions:
            self.on_empty.set()


def new_session_id() -> str:
    """A dashed version 4 UUID, at a third of the price of ``str(uuid.uuid4())``."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]  # RFC 9562 §4.1
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _session_parameters(config: EsmtpListener, hostname: str, *, rewrites_replies: bool) -> SessionParameters:
    return SessionParameters(
        hostname=hostname,
        banner=config.banner,
        client_timeout=config.client_timeout,
        line_length_hard_limit=config.line_length_hard_limit,
        max_message_size=config.max_message_size,
        max_recipients_per_message=config.max_recipients_per_message,
        max_messages_per_connection=config.max_messages_per_connection,
        rewrites_replies=rewrites_replies,
    )
