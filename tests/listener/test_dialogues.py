"""The dialogues of tests/dialogues once more, now over a socket."""

from __future__ import annotations

import pytest

from kumo.message import Authenticated, Connection, Identity
from tests.dialogues.dialogue import (
    PASSWORD,
    Closed,
    Dialogue,
    Expect,
    Handshake,
    Send,
    all_dialogues,
    tls_dialogues,
)
from tests.listener.fakes import Client, House

WITHOUT_TLS = [pytest.param(dialogue, id=dialogue.name) for dialogue in all_dialogues()]
WITH_TLS = [pytest.param(dialogue, id=dialogue.name) for dialogue in tls_dialogues()]


def check_password(
    _connection: Connection, authz_id: str, authn_id: str, password: str
) -> Authenticated | None:
    """The yes or no that the dialogues count on."""
    if password != PASSWORD:
        return None
    return Authenticated(authz_id, authn_id, (Identity(authn_id, "SmtpAuthPlainAuthentication"),))


async def begin(house: House, dialogue: Dialogue) -> Client:
    """A client before the banner of a listener that suits the dialogue."""
    house.policy.answers["auth_plain"] = check_password
    return await house.connect(await house.start(**dialogue.parameters))


@pytest.mark.parametrize("dialogue", [*WITHOUT_TLS, *WITH_TLS])
async def test_dialogue_over_a_socket(house: House, dialogue: Dialogue) -> None:
    client = await begin(house, dialogue)
    for step in dialogue.steps:
        if isinstance(step, Send):
            client.send(step.octets)
        elif isinstance(step, Expect):
            line = await client.line()
            assert step.matches(line), (line, step)
        elif isinstance(step, Handshake):
            await client.shake_hands()
        else:
            assert isinstance(step, Closed)
            assert await client.rest() == b""


@pytest.mark.parametrize("dialogue", WITHOUT_TLS)
async def test_dialogue_sent_at_once_and_half_closed(house: House, dialogue: Dialogue) -> None:
    """A client may send all it has and shut its side; it still hears every reply."""
    client = await begin(house, dialogue)
    client.send(dialogue.octets)
    client.writer.write_eof()
    lines = (await client.rest()).decode().split("\r\n")
    assert lines.pop() == ""
    expected = dialogue.expected
    assert len(lines) == len(expected)
    assert all(step.matches(line) for line, step in zip(lines, expected, strict=True))
