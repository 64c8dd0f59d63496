"""Content and header fields of the message object.

Text goes to Lua as the octets it has; nothing here parses MIME or writes the message anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import (
    Message,
    address_header,
    all_headers,
    all_values,
    append_field,
    first_value,
    prepend_field,
    remove_named,
    remove_x,
    x_headers,
)
from kumo.policy.call_error import CallError, refusing
from kumo.policy.handles import Handles
from kumo.policy.octets import bytes_of, octets_of, octets_of_bytes, text_of

ContentLoader = Callable[[Message], Awaitable[None]]
"""Makes a stored message's content resident; the spool's ``load_content``."""

Segments = tuple[bytes, bytes]
"""Prepended fields and the body; they are searched one after the other, as joining them copies the body."""

_ABSENT = (None, True)
"""Tells Lua to have the content loaded and to ask again."""

_SINGLE = ("user", "domain", "email", "name")


def content_functions(
    messages: Handles[Message],
    to_lua: Callable[[Any], Any],
    require_room: Callable[[int], None],
    load: ContentLoader | None,
) -> dict[str, Callable[..., Any]]:
    """The functions behind ``Message`` of ``lua/objects.lua`` that read or change the content.

    Args:
        messages: messages of the events that run now, and those that policy made.
        to_lua: makes a Lua table.
        require_room: raises ``MemoryError`` when the state has no room for so many octets.
        load: makes a content resident; None: every content is.
    """
    return {
        "message_load_content": lambda number: _load(messages[number], load),
        **_content_functions(messages, require_room),
        **_field_functions(messages),
        **_selection_functions(messages),
        **_table_functions(messages, to_lua, load),
    }


def _content_functions(
    messages: Handles[Message], require_room: Callable[[int], None]
) -> dict[str, Callable[..., Any]]:
    def get_data(number: int) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        require_room(message.size)
        return octets_of_bytes(b"".join(message.segments))

    def set_data(number: int, octets: str) -> None:
        messages[number].set_content(bytes_of(octets))

    def get_first_named_header_value(number: int, name: str) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        field = text_of(name)
        for part in message.segments:
            value = first_value(part, field)
            if value is not None:
                require_room(len(value))
                return octets_of(value)
        return None

    return {
        "message_get_data": get_data,
        "message_set_data": set_data,
        "message_get_first_named_header_value": get_first_named_header_value,
    }


def _field_functions(messages: Handles[Message]) -> dict[str, Callable[..., Any]]:
    def prepend_header(number: int, name: str, value: str, encode: bool) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        # As `refusing` does, which costs a call more.
        try:
            field = prepend_field(text_of(name), text_of(value), encode=encode)
        except ValueError as error:
            raise CallError(str(error)) from None
        message.prepend(field)
        return None

    def append_header(number: int, name: str, value: str, encode: bool) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        head, body = message.segments
        _replace(message, head, append_field(body, text_of(name), text_of(value), encode=encode))
        return None

    def remove_all_named_headers(number: int, name: str) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        head, body = message.segments
        field = text_of(name)
        _replace(message, remove_named(head, field), remove_named(body, field))
        return None

    return {
        "message_prepend_header": prepend_header,
        "message_append_header": refusing(append_header),
        "message_remove_all_named_headers": remove_all_named_headers,
    }


def _selection_functions(messages: Handles[Message]) -> dict[str, Callable[..., Any]]:
    def import_x_headers(number: int, is_list: bool, *names: str) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        wanted = [*map(text_of, names)] if is_list else None
        for part in message.segments:
            message.meta.update(x_headers(part, wanted))
        return None

    def remove_x_headers(number: int, is_list: bool, *names: str) -> Any:
        message = messages[number]
        if not message.is_resident:
            return _ABSENT
        wanted = [*map(text_of, names)] if is_list else None
        head, body = message.segments
        _replace(message, remove_x(head, wanted), remove_x(body, wanted))
        return None

    return {"message_import_x_headers": import_x_headers, "message_remove_x_headers": remove_x_headers}


def _table_functions(
    messages: Handles[Message], to_lua: Callable[[Any], Any], load: ContentLoader | None
) -> dict[str, Callable[..., Any]]:
    def with_content(read: Callable[..., Any]) -> Callable[..., MaybeAwaitable[Any]]:
        def function(number: int, *arguments: str) -> MaybeAwaitable[Any]:
            message = messages[number]
            if message.is_resident:
                return to_lua(read(message.segments, *map(text_of, arguments)))
            return loaded(message, arguments)

        async def loaded(message: Message, arguments: tuple[str, ...]) -> Any:
            await _load(message, load)
            return to_lua(read(message.segments, *map(text_of, arguments)))

        return function

    return {
        "message_get_all_named_header_values": with_content(_all_values),
        "message_get_all_headers": with_content(_all_headers),
        "message_get_address_header": with_content(_address_parts),
    }


def _all_values(segments: Segments, name: str) -> list[str]:
    return [value for part in segments for value in all_values(part, name)]


def _all_headers(segments: Segments) -> list[tuple[str, str]]:
    return [field for part in segments for field in all_headers(part)]


def _address_parts(segments: Segments, name: str) -> dict[str, Any] | None:
    header = next(
        (found for found in (address_header(part, name) for part in segments) if found is not None), None
    )
    if header is None:
        return None
    parts: dict[str, Any] = {"list": header.list, "json": header.to_json()}
    try:
        parts |= {key: getattr(header, key) for key in _SINGLE}
    except ValueError as error:
        parts["problem"] = str(error)
    return parts


async def _load(message: Message, load: ContentLoader | None) -> None:
    if load is None:
        raise CallError(f"the content of message {message.id} is not in memory")
    await load(message)


def _replace(message: Message, head: bytes, body: bytes) -> None:
    old_head, old_body = message.segments
    # A body that did not change stays shared with the other messages of its transaction.
    if head is not old_head or body is not old_body:
        message.set_content(body)
        message.prepend(head)
