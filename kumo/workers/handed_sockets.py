"""What a worker has from its parent: listening sockets to accept from, and nothing it was not handed."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from kumo.errors import TransportError

_STANDARD_ERROR = 2
"""Descriptors up to this one are the daemon's as much as a worker's."""


class HandedSockets:
    """Gives each listener its socket, in the order of the policy's listeners.

    Args:
        descriptors: of the sockets; from now on owned here.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
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


def keep_only(handed: Collection[int]) -> None:
    """Close what this process inherited but standard input, output and error, and what it was handed.

    uvloop leaves a second descriptor of each of those three in what it starts, and whoever started the
    parent may have left it others. Of a pipe among them the reader would wait for this process too, and
    for what its policy starts. What this process has opened itself is not inheritable, and stays.

    Args:
        handed: descriptors that stay; what a policy starts will not inherit them.
    """
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - numbers are all that is wanted
        if descriptor in handed:
            os.set_inheritable(descriptor, False)
        elif descriptor > _STANDARD_ERROR:
            # The listing's own descriptor is gone by now.
            with contextlib.suppress(OSError):
                if os.get_inheritable(descriptor):
                    os.close(descriptor)
