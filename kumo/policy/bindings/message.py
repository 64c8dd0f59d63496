"""Envelope, identity and meta of the message object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kumo.message import Message, SpoolIdSource, queue_name
from kumo.policy.bindings.meta import meta_functions
from kumo.policy.call_error import CallError, refusing
from kumo.policy.handles import Handles
from kumo.policy.octets import bytes_of, octets_of, text_of
from kumo.smtp import EnvelopeAddress, parse_envelope_address


def message_functions(
    messages: Handles[Message], to_lua: Callable[[Any], Any], require_room: Callable[[int], None]
) -> dict[str, Callable[..., Any]]:
    """The functions behind ``Message`` of ``lua/objects.lua`` that need no content.

    Args:
        messages: messages of the events that run now, and those that policy made.
        to_lua: makes a Lua table.
        require_room: raises ``MemoryError`` when the state has no room for so many octets.
    """

    def identity(number: int) -> str:
        return messages[number].id

    def sender(number: int) -> str:
        return octets_of(messages[number].sender.email)

    def set_sender(number: int, email: str) -> None:
        messages[number].sender = address_of(email, "set_sender")

    def name_queue(number: int) -> str:
        message = messages[number]
        return octets_of(queue_name(message.meta, message.recipients))

    def num_attempts(number: int) -> int:
        return messages[number].num_attempts

    def increment_num_attempts(number: int) -> None:
        messages[number].num_attempts += 1

    functions: dict[str, Callable[..., Any]] = {
        "message_id": identity,
        "message_sender": sender,
        "message_set_sender": set_sender,
        "message_queue_name": refusing(name_queue),
        "message_num_attempts": num_attempts,
        "message_increment_num_attempts": increment_num_attempts,
    }
    return (
        functions | _recipient_functions(messages) | meta_functions("message", messages, to_lua, require_room)
    )


def _recipient_functions(messages: Handles[Message]) -> dict[str, Callable[..., Any]]:
    def only_recipient(number: int) -> Any:
        recipients = messages[number].recipients
        if len(recipients) == 1:
            return octets_of(recipients[0].email)
        return None, len(recipients)

    def some_recipients(number: int, first: int, most: int) -> tuple[str, ...]:
        some = messages[number].recipients[first - 1 : first - 1 + most]
        return tuple([octets_of(recipient.email) for recipient in some])

    def set_recipients(number: int, *emails: str) -> None:
        messages[number].recipients = [address_of(email, "set_recipient") for email in emails]

    return {
        "message_only_recipient": only_recipient,
        "message_recipients": some_recipients,
        "message_set_recipients": set_recipients,
    }


def make_message_function(
    messages: Handles[Message], new_number: Callable[[], int], spool_ids: SpoolIdSource
) -> Callable[..., int]:
    """The function behind ``kumo.make_message``.

    Args:
        messages: the new message is put here; it stays until Lua has collected its object.
        new_number: gives the number of an object that Lua owns.
        spool_ids: gives the id.
    """

    def make_message(sender: str, content: str, *recipients: str) -> int:
        number = new_number()
        messages[number] = Message(
            id=spool_ids.new_id(),
            sender=address_of(sender, "kumo.make_message"),
            recipients=[address_of(email, "kumo.make_message") for email in recipients],
            meta={},
            body=bytes_of(content),
        )
        return number

    return make_message


def address_of(octets: str, function: str) -> EnvelopeAddress:
    """Read an address that policy gave as text.

    Raises:
        CallError: no address; the text names ``function``.
    """
    text = text_of(octets)
    try:
        return parse_envelope_address(text)
    except ValueError as error:
        raise CallError(f"{function}: {text!r} is not an address: {error}") from None
