"""Sockets that tell their family and type as plain numbers.

``socket.socket`` makes an enum member each time it is asked, and to accept a connection and hand it to the
loop asks seven times: that took a sixteenth of a session with one message. Used by ``esmtp_server``.
"""

from __future__ import annotations

import socket
from typing import Any


class AcceptedSocket(socket.socket):
    """A socket as the loops can use it."""

    family = socket.SocketType.family  # type: ignore[assignment]
    type = socket.SocketType.type  # type: ignore[assignment]


class ListeningSocket(AcceptedSocket):
    """A non-blocking listening socket that makes such sockets.

    Args:
        listening: a listening socket, whose descriptor becomes this one's.
    """

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; as ``socket.accept``, which makes a ``socket.socket`` by all means."""
        fileno, peer = self._accept()  # type: ignore[attr-defined]
        return AcceptedSocket(self.family, self.type, self.proto, fileno=fileno), peer
