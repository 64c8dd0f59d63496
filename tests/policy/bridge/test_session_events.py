"""The events of a session: their arguments, what their results mean, and which results are wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.listener.interfaces import SessionPolicy
from kumo.smtp import Reply, parse_envelope_address

Load = Callable[[str], Any]

BOB = parse_envelope_address("bob@b.example")
ANN = parse_envelope_address("ann@a.example")
KEYWORDS = ("PIPELINING", "SIZE 100")


def test_the_adapter_fits_the_listener(load: Load) -> None:
    policy: SessionPolicy = load("").session
    assert policy.rewrites_replies is False


def test_without_handlers_nothing_happens(load: Load) -> None:
    policy = load("")
    connection = policy.connection()
    assert policy.session.on_connection_accepted(connection) is None
    assert policy.session.on_ehlo(connection, "EHLO", "a.example", KEYWORDS) is None
    assert policy.session.on_mail_from(connection, BOB) is None
    assert policy.session.on_rcpt_to(connection, BOB) is None
    assert policy.session.rewrite_response(connection, Reply(250, "ok"), None) is None


def test_each_event_gets_its_arguments(load: Load) -> None:
    policy = load(
        """
        for _, name in ipairs { 'connection_accepted', 'mail_from', 'rcpt_to' } do
          kumo.on('smtp_server_' .. name, function(...)
            local arguments = { ... }
            local conn = arguments[#arguments]
            kumo.note(_KUMO_CURRENT_EVENT, #arguments, conn:get_meta('who'), tostring(arguments[1]))
            return 'ignored'
          end)
        end
        kumo.on('smtp_server_ehlo', function(...)
          local domain, conn, extensions = ...
          local list = extensions and table.concat(extensions, '|')
          kumo.note(select('#', ...), domain, conn:get_meta('who'), list)
        end)
        """
    )
    connection = policy.connection(who="peer")
    assert policy.session.on_connection_accepted(connection) is None
    assert policy.session.on_ehlo(connection, "EHLO", "a.example", KEYWORDS) is None
    assert policy.session.on_ehlo(connection, "HELO", "a.example", KEYWORDS) is None
    assert policy.session.on_mail_from(connection, ANN) is None
    assert policy.session.on_rcpt_to(connection, BOB) is None
    assert policy.notes[0][:3] == ("smtp_server_connection_accepted", 1, "peer")
    assert policy.notes[1:] == [
        (3, "a.example", "peer", "PIPELINING|SIZE 100"),
        (2, "a.example", "peer", None),
        ("smtp_server_mail_from", 2, "peer", "ann@a.example"),
        ("smtp_server_rcpt_to", 2, "peer", "bob@b.example"),
    ]


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "verb", "keywords"),
    [
        ("nil", "EHLO", None),
        ("{ 'A', 'B 1' }", "EHLO", ("A", "B 1")),
        ("{}", "EHLO", ()),
        ("extensions", "EHLO", KEYWORDS),
        ("{ 'Ä' }", "EHLO", ("Ä",)),
        ("{ 'A' }", "HELO", None),
        ("7", "HELO", None),
    ],
)
async def test_ehlo_may_replace_the_keywords(
    load: Load, returned: str, verb: str, keywords: tuple[str, ...] | None, is_slow: bool
) -> None:
    policy = load(
        f"kumo.on('smtp_server_ehlo', function(domain, conn, extensions)"
        f" {'kumo.sleep(0)' if is_slow else ''} return {returned} end)"
    )
    result = policy.session.on_ehlo(policy.connection(), verb, "a.example", KEYWORDS)
    assert (await result if is_slow else result) == keywords


@pytest.mark.parametrize(
    "returned", ["7", "'A'", "true", "{ 1 }", "{ a = 'b' }", "{ { 'A' } }", "{ 'A', nil, 'B' }", "{ print }"]
)
def test_ehlo_results_of_another_type_are_errors_that_say_what_was_expected(
    load: Load, returned: str
) -> None:
    policy = load(f"kumo.on('smtp_server_ehlo', function() return {returned} end)")
    with pytest.raises(PolicyError, match="smtp_server_ehlo must return nil or an array of strings, not "):
        policy.session.on_ehlo(policy.connection(), "EHLO", "a.example", KEYWORDS)


FIRE: dict[str, Callable[[Any, Any], Any]] = {
    "smtp_server_connection_accepted": lambda session, connection: session.on_connection_accepted(connection),
    "smtp_server_ehlo": lambda session, connection: session.on_ehlo(connection, "EHLO", "a", ()),
    "smtp_server_mail_from": lambda session, connection: session.on_mail_from(connection, ANN),
    "smtp_server_rcpt_to": lambda session, connection: session.on_rcpt_to(connection, BOB),
}


@pytest.mark.parametrize("event", FIRE)
@pytest.mark.parametrize("is_slow", [False, True])
async def test_each_event_may_refuse_and_may_fail(load: Load, event: str, is_slow: bool) -> None:
    sleep = "kumo.sleep(0)" if is_slow else ""
    policy = load(
        f"""
        kumo.on('{event}', function(...)
          local arguments = {{ ... }}
          local conn = arguments[#arguments]
          if type(conn) == 'table' and not getmetatable(conn) and #arguments == 3 then conn = arguments[2] end
          {sleep}
          if conn:get_meta('how') == 'reject' then kumo.reject(451, 'later') end
          if conn:get_meta('how') == 'fail' then error('broken') end
        end)
        """
    )

    async def fire(how: str) -> Any:
        result = FIRE[event](policy.session, policy.connection(how=how))
        return await result if is_slow else result

    assert await fire("pass") is None
    with pytest.raises(Rejection, match="451 later"):
        await fire("reject")
    with pytest.raises(PolicyError, match=rf"{event}: .*init\.lua:\d+: broken"):
        await fire("fail")
    assert await fire("pass") is None


@pytest.mark.parametrize("returned", ["true", "7", "'x'", "{}", "nil, 1", "conn"])
@pytest.mark.parametrize("event", [*FIRE, "HELO"])
@pytest.mark.parametrize("is_slow", [False, True])
async def test_what_is_returned_for_an_event_without_result_is_dropped(
    load: Load, event: str, returned: str, is_slow: bool
) -> None:
    if event == "smtp_server_ehlo":
        returned = "nil"
    name = "smtp_server_ehlo" if event == "HELO" else event
    policy = load(
        f"kumo.on('{name}', function(...) local conn = select(-1, ...)"
        f" {'kumo.sleep(0)' if is_slow else ''} return {returned} end)"
    )
    fire = FIRE.get(event, lambda session, connection: session.on_ehlo(connection, "HELO", "a", ()))
    result = fire(policy.session, policy.connection())
    assert (await result if is_slow else result) is None


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("returned", "reply"),
    [
        ("", None),
        ("nil, nil", Reply(550, "5.7.1 no €")),
        ("451", Reply(451, "5.7.1 no €")),
        ("451.0", Reply(451, "5.7.1 no €")),
        ("nil, 'other'", Reply(550, "other")),
        ("421, 'zwei\\nZeilen ü'", Reply(421, "zwei\nZeilen ü")),
        ("status, text .. command", Reply(550, "5.7.1 no €MAIL FROM:<ü>")),
        ("999, ''", Reply(999, "")),
    ],
)
async def test_a_reply_may_be_rewritten(
    load: Load, returned: str, reply: Reply | None, is_slow: bool
) -> None:
    policy = load(
        "kumo.on('smtp_server_rewrite_response', function(status, text, command, conn)"
        f" {'kumo.sleep(0)' if is_slow else ''} conn:set_meta('seen', true) return {returned} end)"
    )
    assert policy.session.rewrites_replies
    connection = policy.connection()
    result = policy.session.rewrite_response(connection, Reply(550, "5.7.1 no €"), "MAIL FROM:<ü>")
    assert (await result if is_slow else result) == reply
    assert connection.meta == {"seen": True}


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("error('broken')", "broken"),
        ("kumo.reject(550, 'no')", "550 no"),
        ("return 'x'", "must return an integer or nil and a string or nil"),
        ("return 450.5", "must return an integer or nil and a string or nil"),
        ("return 450, 7", "must return an integer or nil and a string or nil"),
        ("return {}", "must return an integer or nil and a string or nil"),
        ("return true", "must return an integer or nil and a string or nil"),
    ],
)
async def test_a_rewrite_that_fails_is_logged_and_changes_nothing(
    load: Load, caplog: pytest.LogCaptureFixture, body: str, words: str, is_slow: bool
) -> None:
    policy = load(
        f"kumo.on('smtp_server_rewrite_response', function() {'kumo.sleep(0)' if is_slow else ''} {body} end)"
    )
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        result = policy.session.rewrite_response(policy.connection(), Reply(550, "no"), None)
        assert (await result if is_slow else result) is None
    assert words in caplog.text


def test_the_command_is_nil_where_there_is_none(load: Load) -> None:
    policy = load("kumo.on('smtp_server_rewrite_response', function(_, _, command) kumo.note(command) end)")
    policy.session.rewrite_response(policy.connection(), Reply(250, "ok"), None)
    assert policy.notes == [None]
