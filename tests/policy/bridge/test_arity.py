"""Handlers that take fewer arguments get the same ones; a connection that nobody takes is not made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kumo.smtp import Reply, parse_envelope_address

Load = Callable[[str], Any]

BOB = parse_envelope_address("bob@b.example")

EVENTS: dict[str, tuple[int, Callable[[Any, Any], object]]] = {
    "smtp_server_connection_accepted": (1, lambda p, conn: p.session.on_connection_accepted(conn)),
    "smtp_server_get_dynamic_parameters": (2, lambda p, conn: p.session.get_dynamic_parameters(conn)),
    "smtp_server_ehlo": (3, lambda p, conn: p.session.on_ehlo(conn, "EHLO", "a.example", ("A", "B"))),
    "smtp_server_auth_plain": (4, lambda p, conn: p.session.on_auth_plain(conn, "z", "n", "p")),
    "get_listener_domain": (3, lambda p, conn: p.session.get_listener_domain(conn, "d.example")),
    "smtp_server_mail_from": (2, lambda p, conn: p.session.on_mail_from(conn, BOB)),
    "smtp_server_rcpt_to": (2, lambda p, conn: p.session.on_rcpt_to(conn, BOB)),
    "smtp_server_data": (2, lambda p, conn: p.reception.on_data(p.message(who="mail"), conn)),
    "smtp_server_split_transaction": (
        2,
        lambda p, conn: p.reception.on_split_transaction(p.message(who="mail"), conn),
    ),
    "smtp_server_message_received": (
        2,
        lambda p, conn: p.reception.on_message_received(p.message(who="mail"), conn),
    ),
    "smtp_server_message_deferred_inject": (
        2,
        lambda p, conn: p.queues.on_message_deferred_inject(p.message(who="mail"), conn),
    ),
    "smtp_server_rewrite_response": (
        4,
        lambda p, conn: p.session.rewrite_response(conn, Reply(250, "ok"), "NOOP"),
    ),
}
"""How many arguments an event has, and what fires it."""

TOLD = """
local function told(value)
  if type(value) ~= 'table' then return value end
  if value.get_meta then return value:get_meta('who') end
  return value.email or table.concat(value, '|')
end
local function all(...)
  local list = { ... }
  for index, value in ipairs(list) do list[index] = tostring(told(value)) end
  return table.concat(list, ' ')
end
"""

CASES = [(event, count) for event, (most, _) in EVENTS.items() for count in range(most + 1)]


def given(load: Load, event: str, parameters: str) -> list[str]:
    """What a handler with these parameters sees of its arguments."""
    result = "return {}" if event == "smtp_server_get_dynamic_parameters" else ""
    policy = load(
        f"{TOLD} kumo.on('{event}', function({parameters}) kumo.note(all({parameters})) {result} end)"
    )
    EVENTS[event][1](policy, policy.connection(who="peer"))
    (note,) = policy.notes
    return str(note).split()


@pytest.mark.parametrize(("event", "count"), CASES)
def test_handler_gets_as_many_as_it_takes(load: Load, event: str, count: int) -> None:
    parameters = ", ".join(f"a{index}" for index in range(count))
    everything = given(load, event, "...")
    assert "peer" in everything
    assert given(load, event, parameters) == everything[:count]


@pytest.mark.parametrize(("parameters", "remembered"), [("sender", 0), ("sender, conn", 1), ("...", 1)])
def test_connection_is_remembered_for_handlers_that_take_it(
    load: Load, parameters: str, remembered: int
) -> None:
    policy = load(f"kumo.on('smtp_server_mail_from', function({parameters}) kumo.note('x') end)")
    state = policy.engine._state

    class Counts(list[int]):
        def append(self, _: object) -> None:
            super().append(len(state.connections))

    policy.notes = Counts()
    policy.session.on_mail_from(policy.connection(), BOB)
    assert policy.notes == [remembered]


@pytest.mark.parametrize("parameters", ["", "domain", "domain, conn", "domain, conn, extensions"])
def test_keywords_may_be_given_by_a_handler_that_does_not_take_them(load: Load, parameters: str) -> None:
    policy = load(f"kumo.on('smtp_server_ehlo', function({parameters}) return {{ 'A', 'B 1' }} end)")
    assert policy.session.on_ehlo(policy.connection(), "EHLO", "a.example", ("C",)) == ("A", "B 1")


def test_connection_of_another_event_is_stale_in_a_handler_without_one(load: Load) -> None:
    policy = load(
        """
        local kept
        kumo.on('smtp_server_ehlo', function(domain, conn) kept = conn end)
        kumo.on('smtp_server_mail_from', function(sender)
          kumo.note(select(2, pcall(kept.get_meta, kept, 'who')))
        end)"""
    )
    policy.session.on_ehlo(policy.connection(who="old"), "EHLO", "a.example", ())
    policy.session.on_mail_from(policy.connection(who="new"), BOB)
    assert "belongs to an event that is over" in str(policy.notes[0])
