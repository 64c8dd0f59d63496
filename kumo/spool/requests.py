"""What the facade asks of an engine: messages as they are when they are handed over, ids to forget.

They carry their own outcome, so that a batch can fail in parts. Made by the facade and, for what is
moved from the journal into files, by ``JournaledDisk``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kumo.errors import SpoolError, SpoolUnhealthy
from kumo.message import Message
from kumo.spool.file_operations import spool_error
from kumo.spool.stored_envelope import encode_envelope
from kumo.spool.transaction import Placement

_log = logging.getLogger("kumod.spool")


class Entry:
    """One message on its way to the disk.

    Args:
        id: its spool id.
        meta: its envelope as the meta store keeps it.
        segments: its content, one part behind the other, not copied; None: that on the spool stays.
        is_update: whether the spool has it already.
    """

    __slots__ = ("id", "is_update", "meta", "segments")

    def __init__(
        self,
        id: str,  # noqa: A002 - KumoMTA's word
        meta: bytes,
        segments: Sequence[bytes] | None,
        *,
        is_update: bool = False,
    ) -> None:
        self.id = id
        self.meta = meta
        self.segments = segments
        self.is_update = is_update

    @classmethod
    def of(cls, message: Message) -> Entry:
        """A message as it is now, whatever becomes of it afterwards.

        Args:
            message: resident, or on the spool already.

        Raises:
            SpoolError: its meta cannot be written.
            ContentNotResident: it has no content anywhere.
        """
        is_update = message.is_stored
        keeps_content = is_update and not message.is_resident
        segments = None if keeps_content else message.segments
        return cls(message.id, encode_envelope(message), segments, is_update=is_update)


class StoreRequest:
    """One call of ``store`` on its way through the batch: all of its entries or none.

    Args:
        entries: at least one.
    """

    __slots__ = ("entries", "error", "manifest", "manifest_temporary", "placements")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.placements: list[Placement] = []
        """Files of ``GroupCommit``."""
        self.manifest_temporary: str | None = None
        self.manifest: str | None = None
        """Path of the committed manifest."""
        self.error: SpoolError | None = None
        """Why nothing of it was stored."""

    @property
    def names(self) -> str:
        """The ids, for the log."""
        return ", ".join(entry.id for entry in self.entries)

    def fail(self, error: Exception) -> None:
        """Take note, and write to the log, why nothing of it was stored."""
        if isinstance(error, OSError):
            self.error = spool_error(f"store {self.names}", error, SpoolUnhealthy)
            _log.error("%s", self.error)
        else:
            self.error = SpoolError(f"unable to store {self.names}: the spool's writer failed: {error}")
            _log.error("%s", self.error, exc_info=error)


class RemoveRequest:
    """One call of ``remove``.

    Args:
        spool_ids: what is to be forgotten.
    """

    __slots__ = ("error", "spool_ids")

    def __init__(self, spool_ids: Sequence[str]) -> None:
        self.spool_ids = spool_ids
        self.error: SpoolError | None = None
        """Why one of them may still be there."""

    def fail(self, spool_id: str, error: Exception) -> None:
        """Take note of the first failure, and write each to the log."""
        if isinstance(error, OSError):
            _log.error("unable to remove message %s: %s", spool_id, error)
            self.error = self.error or spool_error(f"remove message {spool_id}", error)
        else:
            _log.error("unable to remove message %s", spool_id, exc_info=error)
            self.error = self.error or SpoolError(f"the spool's writer failed: {error}")
