"""What follows from a set of parameters, worked out once and not for each connection.

All connections that have the same parameters share one of these. Made by ``context``; ``esmtp_protocol``
reads it.
"""

from __future__ import annotations

from typing import Any

from kumo.listener.parameters import EffectiveParameters
from kumo.listener.read_buffer import ReadBuffer
from kumo.message import Connection
from kumo.smtp import SessionParameters
from kumo.tls import ServerIdentity


class SessionSettings:
    """Parameters in the forms in which a connection needs them.

    Args:
        effective: the parameters.
        own_name: the hostname where none is given.
        read_buffer: memory for reads; a longer ``data_buffer_size`` is cut to it.
    """

    __slots__ = (
        "_meta",
        "_parameters",
        "_rewriting_parameters",
        "client_timeout",
        "content_view",
        "hostname",
        "listener",
        "tls_identity",
    )

    def __init__(self, effective: EffectiveParameters, own_name: str, read_buffer: ReadBuffer) -> None:
        self.listener = listener = effective.listener
        self.hostname = listener.hostname or own_name
        self.client_timeout = listener.client_timeout
        self.content_view = read_buffer.view(listener.data_buffer_size)
        self.tls_identity = tls_identity(effective, own_name)
        self._meta: dict[str, Any] = effective.meta
        self._parameters = self._session_parameters(rewrites_replies=False)
        self._rewriting_parameters = self._session_parameters(rewrites_replies=True)

    def session_parameters(self, *, rewrites_replies: bool) -> SessionParameters:
        """What the session is given."""
        return self._rewriting_parameters if rewrites_replies else self._parameters

    def describe(self, connection: Connection) -> None:
        """Bring a connection up to date. Meta keys of earlier parameters stay."""
        connection.hostname = self.hostname
        connection.listener = self.listener
        connection.meta.update(self._meta)

    def _session_parameters(self, *, rewrites_replies: bool) -> SessionParameters:
        listener = self.listener
        return SessionParameters(
            hostname=self.hostname,
            banner=listener.banner,
            client_timeout=listener.client_timeout,
            line_length_hard_limit=listener.line_length_hard_limit,
            max_message_size=listener.max_message_size,
            max_recipients_per_message=listener.max_recipients_per_message,
            max_messages_per_connection=listener.max_messages_per_connection,
            allow_xclient=listener.allow_xclient,
            rewrites_replies=rewrites_replies,
        )


def tls_identity(effective: EffectiveParameters, own_name: str) -> ServerIdentity:
    """Whom the server says it is in a handshake.

    Args:
        effective: the parameters.
        own_name: the hostname where none is given.
    """
    listener = effective.listener
    return ServerIdentity(
        hostname=listener.hostname or own_name,
        certificate=listener.tls_certificate,
        private_key=listener.tls_private_key,
        client_ca=listener.tls_required_client_ca,
    )
