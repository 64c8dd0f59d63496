"""SMTP listeners: sockets, time limits and back-pressure round a ``ServerSession``."""

from kumo.listener.esmtp_server import EsmtpServer
from kumo.listener.interfaces import Admission, Receiver, RejectionLog, SessionPolicy
from kumo.listener.read_buffer import ReadBuffer

__all__ = [
    "Admission",
    "EsmtpServer",
    "ReadBuffer",
    "Receiver",
    "RejectionLog",
    "SessionPolicy",
]
