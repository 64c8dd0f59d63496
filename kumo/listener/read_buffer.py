"""The one piece of memory that all connections of a process read into.

A read is handed over and scanned before the loop turns to the next connection, so one buffer serves
them all, stays in the processor's cache, and an idle connection owns none. ``server.py`` makes it and
passes it to each listener; nothing else may keep a view of it.
"""

from __future__ import annotations

COMMAND_OCTETS = 65536
"""Most octets of a read outside content; bounds what a session has to keep while policy thinks."""

_MOST_OCTETS = 4 * 1024 * 1024
"""A longer read gains nothing, whatever ``data_buffer_size`` allows."""


class ReadBuffer:
    """Memory for one socket read, shared by every connection on one event loop.

    Args:
        octets: how many the longest read may bring; longer views are cut to what there is.
    """

    __slots__ = ("_memory",)

    def __init__(self, octets: int = 131072) -> None:
        self._memory = memoryview(bytearray(min(max(octets, COMMAND_OCTETS), _MOST_OCTETS)))

    def view(self, octets: int) -> memoryview:
        """The first octets of the memory, at least one: an empty buffer reads as end-of-file.

        The view stays valid for good; its content only until the next read.
        """
        return self._memory[: max(octets, 1)]
