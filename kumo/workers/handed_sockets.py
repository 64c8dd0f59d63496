"""Listening sockets that the parent bound, in a worker that uses them.

All workers accept from the same sockets, which outlive each of them: a connection that waits when a worker
dies is taken by another one, and a port below 1024 is bound once, by who may.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any


class HandedSockets:
    """Gives each listener its socket, in the order of the policy's listeners.

    Args:
        descriptors: of the sockets; from now on owned here.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._waiting = deque(socket.socket(fileno=descriptor) for descriptor in descriptors)

    def claim(self, _family: int, _address: tuple[Any, ...]) -> socket.socket | None:
        """The next listener's socket; the parent has resolved its address already.

        Returns:
            A listening, non-blocking TCP socket; the caller closes it.
        """
        return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """Close what nobody claimed. Idempotent."""
        while self._waiting:
            self._waiting.popleft().close()
