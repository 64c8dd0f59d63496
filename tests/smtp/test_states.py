"""The tables of sequence, looked at as data and walked through."""

from __future__ import annotations

import pytest

from kumo.smtp import Reply
from kumo.smtp.dialogue import Dialogue
from kumo.smtp.states import COMMANDS, Action, State
from tests.smtp.session_pair import SessionPair

COMMAND_STATES = [State.READY, State.SENDER, State.RECIPIENTS]

TO_STATE = {
    State.READY: b"",
    State.SENDER: b"MAIL FROM:<a@example.com>\r\n",
    State.RECIPIENTS: b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n",
}

OK = 250
# Replies by state (ready, sender, recipients) and the state that follows.
WALK = [
    ("EHLO x.example", (OK, OK, OK), (State.READY, State.READY, State.READY)),
    ("HELO x.example", (OK, OK, OK), (State.READY, State.READY, State.READY)),
    ("MAIL FROM:<c@example.com>", (OK, 503, 503), (State.SENDER, State.SENDER, State.RECIPIENTS)),
    ("RCPT TO:<d@example.org>", (503, OK, OK), (State.READY, State.RECIPIENTS, State.RECIPIENTS)),
    ("DATA", (503, 503, 354), (State.READY, State.SENDER, State.CONTENT)),
    ("RSET", (OK, OK, OK), (State.READY, State.READY, State.READY)),
    ("NOOP", (OK, OK, OK), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("HELP", (502, 502, 502), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("VRFY x", (502, 502, 502), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("EXPN x", (502, 502, 502), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("LHLO x.example", (502, 502, 502), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("STARTTLS", (220, 220, 220), (State.HANDSHAKE, State.HANDSHAKE, State.HANDSHAKE)),
    ("AUTH PLAIN", (524, 503, 503), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("XCLIENT PORT=25", (550, 550, 550), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("BDAT 1", (502, 502, 502), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("QUIT", (221, 221, 221), (State.READY, State.SENDER, State.RECIPIENTS)),
]


@pytest.mark.parametrize("index", range(3), ids=[state.name for state in COMMAND_STATES])
@pytest.mark.parametrize(("command", "codes", "after"), WALK, ids=[row[0].split()[0] for row in WALK])
def test_each_command_in_each_state(
    command: str, codes: tuple[int, ...], after: tuple[State, ...], index: int
) -> None:
    pair = SessionPair()
    pair.send(TO_STATE[COMMAND_STATES[index]])
    assert pair.session._dialogue.state is COMMAND_STATES[index]
    assert pair.command(command)[:3] == str(codes[index])
    assert pair.session._dialogue.state is after[index]


# The same inside TLS, to a client that may name another address, where it makes a difference.
WALK_INSIDE = [
    ("STARTTLS", (501, 501, 501), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("AUTH PLAIN", (334, 503, 503), (State.CREDENTIALS, State.SENDER, State.RECIPIENTS)),
    ("AUTH LOGIN", (504, 503, 503), (State.READY, State.SENDER, State.RECIPIENTS)),
    ("XCLIENT PORT=25", (220, 503, 503), (State.READY, State.SENDER, State.RECIPIENTS)),
]


@pytest.mark.parametrize("index", range(3), ids=[state.name for state in COMMAND_STATES])
@pytest.mark.parametrize(("command", "codes", "after"), WALK_INSIDE, ids=[row[0] for row in WALK_INSIDE])
def test_commands_that_depend_on_tls_or_trust(
    command: str, codes: tuple[int, ...], after: tuple[State, ...], index: int
) -> None:
    pair = SessionPair(allow_xclient=True)
    pair.start_tls()
    pair.send(TO_STATE[COMMAND_STATES[index]])
    assert pair.command(command)[:3] == str(codes[index])
    assert pair.session._dialogue.state is after[index]


def test_the_walk_leaves_no_row_of_the_tables_out() -> None:
    walked = {row[0].split()[0] for row in WALK}
    assert set().union(*COMMANDS.values()) == walked - {"BDAT"}


def test_every_command_state_has_a_table_and_no_other() -> None:
    assert list(COMMANDS) == COMMAND_STATES


def test_every_action_is_used_and_can_be_done() -> None:
    used = {entry for table in COMMANDS.values() for entry in table.values() if not isinstance(entry, Reply)}
    assert used == set(Action) == set(Dialogue.ACTIONS)
