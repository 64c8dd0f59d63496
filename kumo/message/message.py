"""A message on its way: envelope, content, meta.

The content is kept in two parts, the octets that kumo prepended and the body as received, so that a
trace field never copies a body; messages of one transaction share the body. It is made by reception,
the spool and policy, and used by every room above.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from kumo.message.spool_id import created_at
from kumo.smtp import EnvelopeAddress


class ContentNotResident(LookupError):  # noqa: N818 - a state of the message
    """The content is on the spool only; read it and call ``load``."""


class Message:
    """One message with its own envelope and spool id.

    Args:
        id: spool id, 32 hex digits.
        sender: reverse-path.
        recipients: forward-paths; the list becomes the message's own.
        meta: JSON-able values; the dict becomes the message's own.
        body: content as received or as policy made it; never changed in place. None when it is on
            the spool only.
    """

    __slots__ = (
        "_body",
        "_head",
        "due",
        "has_changed",
        "id",
        "is_stored",
        "meta",
        "num_attempts",
        "recipients",
        "sender",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - KumoMTA's word
        sender: EnvelopeAddress,
        recipients: Sequence[EnvelopeAddress],
        meta: dict[str, Any],
        body: bytes | None,
    ) -> None:
        self.id = id
        self.sender = sender
        self.recipients = list(recipients)
        self.meta = meta
        self.due: float | None = None
        """Unix time of the next attempt; None: at once."""
        self.num_attempts = 0
        self.is_stored = False
        """Whether the spool has the message, if only as it was before it changed."""
        self.has_changed = False
        """Whether the spool has an older state of it; set here for the content, elsewhere for the rest."""
        self._head = b""
        self._body = body

    @property
    def created(self) -> float:
        """Unix time at which the message was made, read from its id."""
        return created_at(self.id)

    def envelope(self) -> tuple[EnvelopeAddress, list[EnvelopeAddress], dict[str, Any]]:
        """A copy of sender, recipients and meta, to be compared with a later one.

        They are changed in place, so whoever lets policy at a stored message sets ``has_changed`` where
        the two differ.
        """
        return self.sender, list(self.recipients), copy.deepcopy(self.meta)

    @property
    def is_resident(self) -> bool:
        """Whether the content is in memory."""
        return self._body is not None

    @property
    def must_be_saved(self) -> bool:
        """Whether a stop now would lose what only the memory knows."""
        return self.has_changed or not self.is_stored

    @property
    def size(self) -> int:
        """Octets of the content in memory, trace fields included; 0 when it is not resident."""
        return 0 if self._body is None else len(self._head) + len(self._body)

    @property
    def segments(self) -> tuple[bytes, bytes]:
        """The content as prepended octets and body, without a copy.

        Raises:
            ContentNotResident: it has to be loaded first.
        """
        if self._body is None:
            raise ContentNotResident(self.id)
        return self._head, self._body

    @property
    def content(self) -> bytes:
        """The whole content; joins (and keeps) the two parts.

        Raises:
            ContentNotResident: it has to be loaded first.
        """
        body = self._body
        if body is None:
            raise ContentNotResident(self.id)
        if self._head:
            self._body = body = self._head + body
            self._head = b""
        return body

    def set_content(self, content: bytes) -> None:
        """Replace the content, trace fields included."""
        self._head = b""
        self._body = content
        self.has_changed = self.is_stored

    def load(self, content: bytes) -> None:
        """Take back the content that the spool has; the message does not count as changed."""
        self._head = b""
        self._body = content

    def prepend(self, fields: bytes) -> None:
        """Put complete header fields, each ended by CRLF, before everything else; the body is not copied."""
        self._head = fields + self._head
        self.has_changed = self.is_stored

    def shrink(self) -> None:
        """Let go of a content that the spool has as it is."""
        if not self.must_be_saved:
            self._head = b""
            self._body = None
