"""The dialogues of tests/dialogues once more, now over a socket."""

from __future__ import annotations

import pytest

from tests.dialogues.dialogue import Closed, Dialogue, Expect, Send, all_dialogues
from tests.listener.fakes import House

DIALOGUES = [pytest.param(dialogue, id=dialogue.name) for dialogue in all_dialogues()]


@pytest.mark.parametrize("dialogue", DIALOGUES)
async def test_dialogue_over_a_socket(house: House, dialogue: Dialogue) -> None:
    server = await house.start(**dialogue.parameters)
    client = await house.connect(server)
    for step in dialogue.steps:
        if isinstance(step, Send):
            client.send(step.octets)
        elif isinstance(step, Expect):
            line = await client.line()
            assert step.matches(line), (line, step)
        else:
            assert isinstance(step, Closed)
            assert await client.rest() == b""


@pytest.mark.parametrize("dialogue", DIALOGUES)
async def test_dialogue_sent_at_once_and_half_closed(house: House, dialogue: Dialogue) -> None:
    """A client may send all it has and shut its side; it still hears every reply."""
    server = await house.start(**dialogue.parameters)
    client = await house.connect(server)
    client.send(dialogue.octets)
    client.writer.write_eof()
    lines = (await client.rest()).decode().split("\r\n")
    assert lines.pop() == ""
    expected = dialogue.expected
    assert len(lines) == len(expected)
    assert all(step.matches(line) for line, step in zip(lines, expected, strict=True))
