"""What clients declare with MAIL and RCPT reaches the messages, each with its own recipients' part."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.config import BatchHandling
from kumo.message import Connection, Message
from kumo.smtp import DeclaredParameters, RecipientParameters, parse_envelope_address

from .conftest import MakeReception, World, settle, transaction

KEYS = ("mail_body", "mail_smtputf8", "dsn_ret", "dsn_envid", "dsn_rcpt")


def declared_of(message: Message) -> dict[str, Any]:
    return {key: message.meta[key] for key in KEYS if key in message.meta}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (DeclaredParameters(), {}),
        (DeclaredParameters(size=1000), {}),
        (DeclaredParameters(body="7BIT"), {"mail_body": "7BIT"}),
        (
            DeclaredParameters(body="8BITMIME", smtputf8=True),
            {"mail_body": "8BITMIME", "mail_smtputf8": True},
        ),
        (DeclaredParameters(ret="HDRS", envid="a+2Bb"), {"dsn_ret": "HDRS", "dsn_envid": "a+2Bb"}),
    ],
)
async def test_what_mail_declares(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    declared: DeclaredParameters,
    expected: dict[str, Any],
) -> None:
    await settle(make_reception().receive(connection, transaction(declared=declared)))
    ((_, meta),) = world.stored.values()
    assert meta == {"reception_protocol": "ESMTP", **expected}
    assert connection.meta == {"reception_protocol": "ESMTP"}


ONE = RecipientParameters(notify="SUCCESS,DELAY", orcpt="rfc822;One@x.example")
TWO = RecipientParameters(notify="NEVER")
NONE = RecipientParameters()


@pytest.mark.parametrize(
    ("handling", "expected"),
    [
        (
            BatchHandling.BIFURCATE_ALWAYS,
            [
                {"one@x.example": {"notify": "SUCCESS,DELAY", "orcpt": "rfc822;One@x.example"}},
                None,
                {"two@x.example": {"notify": "NEVER"}},
                None,
            ],
        ),
        (
            BatchHandling.BATCH_BY_DOMAIN,
            [
                {
                    "one@x.example": {"notify": "SUCCESS,DELAY", "orcpt": "rfc822;One@x.example"},
                    "two@x.example": {"notify": "NEVER"},
                },
                None,
            ],
        ),
    ],
)
async def test_each_message_keeps_what_its_own_recipients_declared(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    handling: BatchHandling,
    expected: list[Any],
) -> None:
    seen = []
    world.handlers["data"] = lambda message, _: seen.append(set(message.meta["dsn_rcpt"]))
    content = transaction(
        recipients=("one@x.example", "b@y.example", "two@x.example", "c@y.example"),
        recipients_declared=(ONE, NONE, TWO, NONE),
    )
    await settle(make_reception(batch_handling=handling).receive(connection, content))
    assert seen == [{"one@x.example", "two@x.example"}]
    assert [message.meta.get("dsn_rcpt") for message in world.queued] == expected


async def test_the_last_declaration_for_a_recipient_holds(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    content = transaction(
        recipients=("b@x.example",) * 3,
        recipients_declared=(RecipientParameters(notify="FAILURE"), TWO, NONE),
    )
    await settle(make_reception().receive(connection, content))
    assert [m.meta["dsn_rcpt"] for m in world.queued] == [{"b@x.example": {"notify": "NEVER"}}] * 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mail_body": "7BIT", "dsn_rcpt": {}}, {"mail_body": "7BIT"}),
        ({"dsn_rcpt": "mine"}, {"mail_body": "8BITMIME", "dsn_rcpt": "mine"}),
        (
            {"dsn_rcpt": {"b@example.org": {"notify": "NEVER"}, "x@example.org": {}}},
            {"mail_body": "8BITMIME", "dsn_rcpt": {"b@example.org": {"notify": "NEVER"}}},
        ),
    ],
)
async def test_policy_may_change_it(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    change: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    world.handlers["data"] = lambda message, _: message.meta.update(change)
    content = transaction(declared=DeclaredParameters(body="8BITMIME"), recipients_declared=(ONE,))
    await settle(make_reception().receive(connection, content))
    assert declared_of(world.queued[0]) == expected


async def test_recipients_that_the_split_event_makes_up_declared_nothing(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.handlers["split"] = lambda *_: [[parse_envelope_address("new@example.org")]]
    await settle(make_reception().receive(connection, transaction(recipients_declared=(ONE,))))
    assert declared_of(world.queued[0]) == {}
