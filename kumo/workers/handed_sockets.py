"""Listening sockets that the parent bound, in the worker that accepts from them."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from kumo.errors import TransportError


class HandedSockets:
    """Gives each listener its socket, in the order of the policy's listeners.

    Args:
        descriptors: of the sockets; from now on owned here.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._waiting = deque(socket.socket(fileno=descriptor) for descriptor in descriptors)

    def claim(self, _family: int, address: tuple[Any, ...]) -> socket.socket:
        """The next listener's socket; the parent has resolved its address already.

        Returns:
            A listening, non-blocking TCP socket; the caller closes it.

        Raises:
            TransportError: there are more listeners than sockets; a worker binds none itself.
        """
        if not self._waiting:
            raise TransportError(f"the parent has no socket for {address[0]}:{address[1]}")
        return self._waiting.popleft()

    def close(self) -> None:
        """Close what nobody claimed. Idempotent."""
        while self._waiting:
            self._waiting.popleft().close()
