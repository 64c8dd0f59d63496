"""SMTP listeners: sockets, time limits and back-pressure round a ``ServerSession``."""

from kumo.listener.address import bind
from kumo.listener.context import Partners, own_hostname
from kumo.listener.esmtp_server import EsmtpServer
from kumo.listener.interfaces import (
    AccountingLog,
    Admission,
    Receiver,
    RejectionLog,
    RelayAuthority,
    RelayDisposition,
    SessionPolicy,
)
from kumo.listener.parameters import largest_read, possible_parameters
from kumo.listener.read_buffer import ReadBuffer
from kumo.listener.session_settings import tls_identity

__all__ = [
    "AccountingLog",
    "Admission",
    "EsmtpServer",
    "Partners",
    "ReadBuffer",
    "Receiver",
    "RejectionLog",
    "RelayAuthority",
    "RelayDisposition",
    "SessionPolicy",
    "bind",
    "largest_read",
    "own_hostname",
    "possible_parameters",
    "tls_identity",
]
