"""The dialogues on the bare session, cut into segments in three ways."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.dialogues.dialogue import (
    Closed,
    Dialogue,
    Expect,
    Handshake,
    Send,
    all_dialogues,
    read_dialogue,
    tls_dialogues,
)
from tests.smtp.session_pair import SessionPair

DIALOGUES = [pytest.param(dialogue, id=dialogue.name) for dialogue in all_dialogues() + tls_dialogues()]


def open_pair(dialogue: Dialogue) -> SessionPair:
    pair = SessionPair(greet=False, **dialogue.parameters)
    pair.pump()
    return pair


def play(pair: SessionPair, flights: Iterable[Iterable[bytes]]) -> str:
    """Send flights of segments with a handshake between two of them; returns all that the server said."""
    said = pair.said()
    for number, segments in enumerate(flights):
        if number:
            said += pair.finish_handshake()
        said += pair.send_in(segments)
    return said


def check_all(dialogue: Dialogue, said: str, *, ended: bool) -> None:
    lines = said.split("\r\n")
    assert lines.pop() == ""
    expected = dialogue.expected
    mismatches = [(line, step) for line, step in zip(lines, expected, strict=False) if not step.matches(line)]
    assert not mismatches
    assert len(lines) == len(expected)
    assert ended is dialogue.closes


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_each_step_gets_its_reply_when_it_is_sent(dialogue: Dialogue) -> None:
    pair = open_pair(dialogue)
    heard = pair.said().split("\r\n")[:-1]
    for step in dialogue.steps:
        match step:
            case Send(octets):
                heard += pair.send(octets).split("\r\n")[:-1]
            case Expect():
                assert heard, f"nothing heard where {step} is due"
                line = heard.pop(0)
                assert step.matches(line), (line, step)
            case Handshake():
                assert heard == []
                assert pair.finish_handshake() == ""
            case Closed():
                assert pair.session.ended
    assert heard == []
    assert pair.session.ended is dialogue.closes


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_a_whole_dialogue_in_one_segment_gets_the_same_replies(dialogue: Dialogue) -> None:
    pair = open_pair(dialogue)
    check_all(dialogue, play(pair, [[flight] for flight in dialogue.flights]), ended=pair.session.ended)


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_a_dialogue_octet_by_octet_gets_the_same_replies(dialogue: Dialogue) -> None:
    pair = open_pair(dialogue)
    said = play(pair, [[bytes([octet]) for octet in flight] for flight in dialogue.flights])
    check_all(dialogue, said, ended=pair.session.ended)


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_a_dialogue_that_the_client_half_closes_gets_the_same_replies(dialogue: Dialogue) -> None:
    pair = open_pair(dialogue)
    *earlier, last = dialogue.flights
    said = play(pair, [*([flight] for flight in earlier), []])
    pair.session.receive_data(last, 0.0)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.session.ended
    check_all(dialogue, said + pair.said(), ended=dialogue.closes)


def test_there_are_dialogues() -> None:
    assert len(all_dialogues()) > 10
    assert len(tls_dialogues()) > 1


@pytest.mark.parametrize("line", ["X: y", "C* many NOOP", 'C~ "open', "S$ closed", "TLS now"])
def test_a_line_that_is_no_step_is_named(line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("dialogues") / "bad.smtp"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match=r"bad\.smtp:2"):
        read_dialogue(path)


def test_a_handshake_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "bad.smtp"
    path.write_text("C: STARTTLS\nTLS\n")
    with pytest.raises(ValueError, match=r"bad\.smtp: a handshake"):
        read_dialogue(path)
