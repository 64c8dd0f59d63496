"""What the logs ask of others; ``server.py`` hands the real ones over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Message

RecordFilter = Callable[[str, Message], MaybeAwaitable[bool]]
"""Asks policy's event of that name whether to log a record about the message."""


class Outcome(Protocol):
    """What became of one delivery attempt; egress makes it."""

    @property
    def delivered_response(self) -> str | None:
        """Text of the Delivery record; None when nobody was delivered."""

    @property
    def failed_response(self) -> str | None:
        """Text of the TransientFailure record; None when nobody failed."""

    @property
    def delivery_protocol(self) -> str:
        """KumoMTA's word, for example ``Maildir``."""

    @property
    def session_id(self) -> str:
        """Dashed UUID of the attempt."""
