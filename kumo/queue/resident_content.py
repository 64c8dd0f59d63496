"""How much message content waits in memory, and who has to wait until there is less.

What the spool has as well can always be let go of; what only the memory has cannot, so that mail which
would add to it is held up at the door. ``scheduled_queues`` and ``recovery`` keep the account.
"""

from __future__ import annotations

import asyncio


class ResidentContent:
    """The account.

    Args:
        limit: octets of content that may wait in memory. Unsaved content is not turned away until there
            is twice as much of it: one half waits to be delivered, the other to be saved.
    """

    __slots__ = ("_limit", "_octets", "_unsaved", "_waiters")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = 0
        self._unsaved = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def is_crowded(self) -> bool:
        """Whether no more mail should be taken in that is not saved yet."""
        return self._unsaved > 2 * self._limit

    def has_room(self, octets: int) -> bool:
        """Whether so much more may stay in memory."""
        return self._octets + octets <= self._limit

    def add(self, octets: int, unsaved: int) -> None:
        """Note content that waits.

        Args:
            octets: its size.
            unsaved: what of it only the memory has.
        """
        self._octets += octets
        self._unsaved += unsaved

    def release(self, octets: int, unsaved: int) -> None:
        """Note that it waits no longer; the arguments are those of ``add``."""
        self._octets -= octets
        self._unsaved -= unsaved
        if self._waiters and not self.is_crowded:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def room(self) -> asyncio.Future[None]:
        """Done as soon as it is crowded no more; to be asked for only while it is."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter
