"""What the tests of the journal do to a spool that has one, and see of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kumo.errors import SpoolError
from kumo.message import Message
from kumo.spool.requests import RemoveRequest
from kumo.spool.stored_envelope import encode_envelope
from tests.spool.samples import Stores

Open = Callable[..., Stores]

State = dict[str, tuple[bytes, bytes]]
"""Envelope and content by id."""


def state_of(*messages: Message) -> State:
    return {message.id: (encode_envelope(message), message.content) for message in messages}


def state_in(stores: Stores) -> State:
    """What a start would find, by way of the engine."""
    found: State = {}
    for entry in stores.engine.read_entries(stores.engine.list_entries().ids):
        assert isinstance(entry, Message)
        found[entry.id] = (encode_envelope(entry), stores.engine.read_content(entry.id))
    return found


def store(stores: Stores, *batch: list[Message]) -> None:
    requests = stores.append(*batch)
    assert [request.error for request in requests] == [None] * len(batch)
    for messages in batch:
        for message in messages:
            message.is_stored = True


def remove(stores: Stores, *messages: Message) -> SpoolError | None:
    request = RemoveRequest([message.id for message in messages])
    stores.engine.remove([request])
    return request.error


def remove_or_change(
    stores: Stores, model: dict[str, Message], chosen: Message, step: str, number: int
) -> None:
    """Take a step of a model's that concerns a message which is there."""
    if step == "remove":
        assert remove(stores, chosen) is None
        del model[chosen.id]
        return
    chosen.meta["n"] = number
    if step == "replace":
        chosen.set_content(bytes(number))
    store(stores, [chosen])


def segments(root: Path) -> list[Path]:
    return sorted((root / "meta" / "journal").glob("*"))


def move_all(stores: Stores) -> None:
    for _ in range(1000):
        if stores.engine.tidy():
            return
    raise AssertionError("it never ends")
