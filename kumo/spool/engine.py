"""What the facade and its writer need of a storage engine, whatever the engine keeps messages in.

``JournaledDisk`` and ``RocksDisk`` are the two there are. Messages are stored and removed, moved and set
aside by the writer's thread alone; what only reads may be called by any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kumo.message import Message
from kumo.spool.enumeration import Inventory, Problem
from kumo.spool.requests import RemoveRequest, StoreRequest


class Engine(Protocol):
    """Keeps a pair of stores, one for contents and one for envelopes."""

    # --- the writer's thread --------------------------------------------------------------------

    def store(self, requests: Sequence[StoreRequest]) -> None:
        """Store every request, each as a whole, as durably as the stores promise; or set its ``error``."""

    def remove(self, requests: Sequence[RemoveRequest]) -> None:
        """Forget messages; missing ones are no error, what fails sets ``error``.

        Nothing is synced: until the system has written it back by itself a power loss may bring a message
        back, which is then sent twice rather than never. A killed process brings nothing back.
        """

    def relieve(self) -> None:
        """Do what a batch made necessary and nobody waits for; called when its callers are answered.

        The batch is not held by then, so that its contents are not in memory beside others.
        """

    def tidy(self) -> bool:
        """Use a moment without messages; a few milliseconds at a time, with ``flush`` the length of a sync.

        Returns:
            Whether nothing is left to do.
        """

    @property
    def patience(self) -> float | None:
        """Seconds until ``tidy`` has something to do that it put off; None: nothing."""

    def finish(self) -> None:
        """End in good order; what fails, or takes too long, is left to the next start."""

    def try_out(self) -> None:
        """Do to both stores what a message would.

        Raises:
            OSError: one of them takes no writes.
        """

    def clear_entries(self, found: Inventory) -> None:
        """Set aside and remove what ``list_entries`` found beside entries."""

    def clear_contents(self, found: Inventory, known: frozenset[str]) -> None:
        """Set aside what ``list_contents`` found beside contents, and contents without an envelope."""

    def set_aside(self, problem: Problem) -> None:
        """Move what there is of an unusable entry out of both stores, and say so in the log."""

    # --- any thread -----------------------------------------------------------------------------

    def read_content(self, spool_id: str) -> bytes:
        """The content of a message.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """

    def list_entries(self) -> Inventory:
        """Every message there is an envelope of, oldest first."""

    def list_contents(self) -> Inventory:
        """Every message there is a content of."""

    def read_entries(self, spool_ids: Sequence[str]) -> list[Message | Problem]:
        """Messages, not resident, or what is wrong with them; one that is gone by now is left out."""
