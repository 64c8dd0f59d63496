from __future__ import annotations

import pytest

from kumo.message import Connection, ContentNotResident, Message, SpoolIdSource
from kumo.smtp import NULL_REVERSE_PATH, EnvelopeAddress

BODY = b"Subject: x\r\n\r\nbody"


def _message(body: bytes | None = BODY) -> Message:
    return Message(
        id=SpoolIdSource(node=1).new_id(1_700_000_000.25),
        sender=NULL_REVERSE_PATH,
        recipients=(EnvelopeAddress("a", "b"),),
        meta={},
        body=body,
    )


def test_prepending_never_copies_the_body() -> None:
    message = _message()
    message.prepend(b"B: 2\r\n")
    message.prepend(b"A: 1\r\n")
    head, body = message.segments
    assert head == b"A: 1\r\nB: 2\r\n"
    assert body is BODY
    assert message.size == len(head) + len(BODY)


def test_content_joins_once() -> None:
    message = _message()
    message.prepend(b"A: 1\r\n")
    content = message.content
    assert content == b"A: 1\r\n" + BODY
    assert message.content is content
    assert message.segments == (b"", content)


def test_content_without_head_is_the_body_itself() -> None:
    assert _message().content is BODY


def test_setting_the_content_drops_prepended_fields() -> None:
    message = _message()
    message.prepend(b"A: 1\r\n")
    message.set_content(b"new")
    assert message.content == b"new"


def test_only_a_stored_message_shrinks() -> None:
    message = _message()
    message.shrink()
    assert message.size == len(BODY)
    message.prepend(b"A: 1\r\n")
    message.is_stored = True
    message.shrink()
    assert not message.is_resident
    assert message.size == 0
    with pytest.raises(ContentNotResident):
        _ = message.segments
    with pytest.raises(ContentNotResident):
        _ = message.content
    message.load(BODY)
    assert message.segments == (b"", BODY)
    message.shrink()
    assert not message.is_resident


@pytest.mark.parametrize("change", ["set_content", "prepend"])
def test_a_content_that_the_spool_does_not_have_is_never_let_go(change: str) -> None:
    message = _message()
    states = [message.must_be_saved]
    getattr(message, change)(b"A: 1\r\n")
    states.append(message.must_be_saved)
    message.is_stored = True
    states.append(message.must_be_saved)
    getattr(message, change)(b"B: 2\r\n")
    states.append(message.must_be_saved)
    assert states == [True, True, False, True]
    message.shrink()
    assert message.content.startswith(b"B: 2\r\n")
    message.has_changed = False
    message.shrink()
    assert not message.is_resident


def test_a_copy_of_the_envelope_tells_what_changed_in_place() -> None:
    message = _message()
    message.meta["list"] = [1]
    before = message.envelope()
    assert message.envelope() == before
    message.meta["list"].append(2)
    assert message.envelope() != before
    before = message.envelope()
    message.recipients.clear()
    assert message.envelope() != before


def test_a_message_keeps_its_own_recipients_and_creation_time() -> None:
    recipients = [EnvelopeAddress("a", "b")]
    message = Message(id=_message().id, sender=NULL_REVERSE_PATH, recipients=recipients, meta={}, body=b"")
    recipients.clear()
    assert message.recipients == [EnvelopeAddress("a", "b")]
    assert message.created == 1_700_000_000.25
    assert message.is_resident
    assert message.due is None


@pytest.mark.parametrize(
    ("ip", "printed"), [("192.0.2.1", "192.0.2.1:25"), ("2001:db8::1", "[2001:db8::1]:25")]
)
def test_socket_addresses_are_printed_with_brackets_where_needed(ip: str, printed: str) -> None:
    connection = Connection(
        peer_ip=ip, peer_port=25, local_ip=ip, local_port=25, session_id="s", hostname="h"
    )
    assert connection.peer == printed
    assert connection.via == printed
