"""TLS for listeners: contexts made from key material and kept, handshakes, and what a session agreed on."""

from kumo.tls.contexts import TlsContexts
from kumo.tls.identity import ServerIdentity, describe_source, identity_key
from kumo.tls.server_context import ServerContext
from kumo.tls.session import TlsSession, describe_session, start_server_tls
from kumo.tls.validation import check_identity

__all__ = [
    "ServerContext",
    "ServerIdentity",
    "TlsContexts",
    "TlsSession",
    "check_identity",
    "describe_session",
    "describe_source",
    "identity_key",
    "start_server_tls",
]
