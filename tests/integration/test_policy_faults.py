"""Policies that refuse, hang up, fail or answer nonsense: the peer's reply, and everybody else's peace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Kumod
from .wire import Answer, Peer, parse_replies, stuffed

POLICY = r"""
local say = {
  plain = function() kumo.reject(550, '5.7.1 not today') end,
  temporary = function() kumo.reject(451, '4.7.1 later') end,
  lines = function() kumo.reject(554, '5.7.1 one\ntwo\r\nthree') end,
  nasty = function() kumo.reject(554, '5.7.1 a\rb\0c\27[2J\127') end,
  empty = function() kumo.reject(550, '') end,
  closing = function() kumo.reject(421, '4.7.0 go away') end,
  force = function() kumo.disconnect(451, '4.7.0 gone', 'ForceDisconnect') end,
  follow = function() kumo.disconnect(550, '5.7.0 gone', 'FollowWith421') end,
  fault = function() error 'a fault' end,
  ["nil"] = function() local nothing; return nothing.field end,
  object = function() error { code = 1 } end,
  argument = function() kumo.reject('abc') end,
  missing = function() kumo.no_such_function() end,
  late = function() kumo.sleep(0.01) error 'a late fault' end,
  loop = function() while true do end end,
  memory = function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end end,
  stack = function() local function f() return 1 + f() end return f() end,
  secret = function() error 'the secret detail' end,
}
local function act(what)
  local deed = what and say[what]
  if deed then return deed() end
end
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
end)
kumo.on('smtp_server_ehlo', function(domain) act(domain:match '^(%w+)%.ehlo') end)
kumo.on('smtp_server_mail_from', function(from) act(from.domain == 'mail.test' and from.user) end)
kumo.on('smtp_server_rcpt_to', function(to) act(to.domain == 'rcpt.test' and to.user) end)
kumo.on('smtp_server_data', function(msg) act(msg:sender().domain == 'data.test' and msg:sender().user) end)
kumo.on('smtp_server_split_transaction', function(msg)
  act(msg:sender().domain == 'split.test' and msg:sender().user)
end)
kumo.on('smtp_server_message_received', function(msg)
  act(msg:sender().domain == 'received.test' and msg:sender().user)
  act(msg:recipient().domain == 'batch.test' and msg:recipient().user)
end)
kumo.on('get_queue_config', function(domain)
  act(domain:match '^(%w+)%.queue')
  return kumo.make_queue_config {
    protocol = { maildir_path = var .. '/maildir/{{ domain_part }}/{{ local_part }}' },
  }
end)
"""

DIFFICULTIES = ["421 4.3.0 mx.test technical difficulties"]
FAULTS = ("fault", "nil", "object", "argument", "missing", "late")
VERDICTS = {
    "plain": ["550 5.7.1 not today"],
    "temporary": ["451 4.7.1 later"],
    "lines": ["554 5.7.1 one\ntwo\nthree"],
    "nasty": ["554 5.7.1 a?b?c?[2J?"],
    "empty": ["550 "],
    "closing": ["421 4.7.0 go away"],
    "force": ["451 4.7.0 gone"],
    "follow": ["550 5.7.0 gone", "421 mx.test disconnecting due to previous error"],
    **dict.fromkeys(FAULTS, DIFFICULTIES),
}
ENDING = {"closing", "force", "follow", *FAULTS}

EVENTS = {
    "ehlo": (b"", b"EHLO %s.ehlo\r\n"),
    "mail_from": (b"", b"MAIL FROM:<%s@mail.test>\r\n"),
    "rcpt_to": (b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<%s@rcpt.test>\r\n"),
    **{
        event: (
            b"MAIL FROM:<%s@" + event.encode() + b".test>\r\n"
            b"RCPT TO:<b@keep.test>\r\nRCPT TO:<c@keep.test>\r\nDATA\r\n",
            stuffed(b"Subject: x\r\n\r\n"),
        )
        for event in ("data", "split", "received")
    },
    "one of two batches": (
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@keep.test>\r\nRCPT TO:<%s@batch.test>\r\nDATA\r\n",
        stuffed(b"Subject: x\r\n\r\n"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("policy"), POLICY) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def bystander(daemon: Kumod) -> Iterator[Peer]:
    """A session that lives through all of it, in a transaction."""
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.ask(b"MAIL FROM:<a@example.com>")
        yield peer
        assert [a.code for a in peer.ask(b"RCPT TO:<b@example.org>", b"QUIT")] == [250, 221]


def answers_to(daemon: Kumod, *octets: bytes) -> list[Answer]:
    """Replies to a whole session in one segment, the banner left out."""
    with Peer(daemon.port) as peer:
        peer.send(b"".join(octets))
        return parse_replies(peer.finish())[1:]


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("event", EVENTS)
def test_each_event_may_refuse_hang_up_or_fail(
    daemon: Kumod, bystander: Peer, event: str, verdict: str
) -> None:
    before, step = (octets.replace(b"%s", verdict.encode()) for octets in EVENTS[event])
    answers = answers_to(daemon, before, step, b"NOOP\r\n")
    prelude = before.count(b"\r\n")
    assert [a.code for a in answers[:prelude]] == [354 if c == b"DATA" else 250 for c in before.splitlines()]
    expected = VERDICTS[verdict] + ([] if verdict in ENDING else ["250 the goggles do nothing"])
    assert [str(a) for a in answers[prelude:]] == expected
    assert str(bystander.ask(b"NOOP")[0]) == "250 the goggles do nothing"
    assert not (daemon.folder / "maildir" / "keep.test").exists()


@pytest.mark.parametrize(
    ("event", "deed"),
    [("mail_from", "loop"), ("received", "loop"), ("received", "memory"), ("ehlo", "stack")],
)
def test_a_runaway_handler_is_stopped(daemon: Kumod, bystander: Peer, event: str, deed: str) -> None:
    before, step = (octets.replace(b"%s", deed.encode()) for octets in EVENTS[event])
    answers = answers_to(daemon, before, step, b"NOOP\r\n")
    assert str(answers[-1]) == DIFFICULTIES[0]
    assert bystander.ask(b"NOOP")[0].code == 250


@pytest.mark.parametrize("verdict", ["plain", *FAULTS])
def test_a_queue_that_cannot_be_used_takes_nothing(daemon: Kumod, bystander: Peer, verdict: str) -> None:
    """Nor does the other one of the same transaction."""
    answers = answers_to(
        daemon,
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@keep.test>\r\n",
        b"RCPT TO:<b@%s.queue>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n" % verdict.encode(),
    )
    assert [str(a) for a in answers[4:]] == DIFFICULTIES
    assert bystander.ask(b"NOOP")[0].code == 250
    assert not (daemon.folder / "maildir" / "keep.test").exists()


def test_the_cause_is_in_our_log_and_on_no_wire(daemon: Kumod) -> None:
    assert [str(a) for a in answers_to(daemon, b"MAIL FROM:<secret@mail.test>\r\n")] == DIFFICULTIES
    assert "smtp_server_mail_from" in daemon.wait_for_line("the secret detail")


def test_a_policy_that_takes_too_long_gets_451(tmp_path: Path) -> None:
    """The session goes on, and nothing of the message is kept."""
    policy = POLICY.replace("hostname =", "data_processing_timeout = '300 msec', hostname =")
    policy = policy.replace("kumo.sleep(0.01)", "kumo.sleep(60)")
    with Kumod(tmp_path, policy) as daemon:
        for event in ("data", "split", "received"):
            before, step = (octets.replace(b"%s", b"late") for octets in EVENTS[event])
            answers = answers_to(daemon, before, step, b"NOOP\r\n")
            assert [str(a) for a in answers[-2:]] == [
                "451 4.4.5 data_processing_timeout exceeded (rx)",
                "250 the goggles do nothing",
            ]
        assert [path for path in (tmp_path / "spool").glob("*/data/**/*") if path.is_file()] == []


REFUSED_AT_THE_DOOR = """
  for _, verdict in ipairs { %s } do
    kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = verdict .. '.door' }
  end
end)
kumo.on('smtp_server_connection_accepted', function(conn)
  act(conn:get_meta('hostname'):match '^(%%w+)%%.door')
end)
"""


def test_a_connection_may_be_refused_at_the_door(tmp_path: Path) -> None:
    doors = REFUSED_AT_THE_DOOR % ", ".join(f"'{verdict}'" for verdict in VERDICTS)
    with Kumod(
        tmp_path, POLICY.replace("hostname = 'mx.test' }\nend)\n", "hostname = 'mx.test' }" + doors)
    ) as daemon:
        for port, (verdict, expected) in zip(daemon.ports[1:], VERDICTS.items(), strict=True):
            with Peer(port) as peer:
                peer.send(b"EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\n")
                answers = [str(a) for a in parse_replies(peer.rest())]
            assert answers == [text.replace("mx.test", f"{verdict}.door") for text in expected]
        with Peer(daemon.port) as peer:
            assert peer.greet().code == 250


NONSENSE = r"""
local function nonsense(name)
  return ({
    number = 42, text = 'text', yes = true, table = {}, array = { 1, 2 }, nested = { { 'x' } }, fn = print,
    nul = 'a\0b', latin = '\255', huge = ('x'):rep(100000),
  })[name]
end
local function of(conn) return nonsense(conn:get_meta 'nonsense') end
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
end)
kumo.on('smtp_server_connection_accepted', function() return 42 end)
kumo.on('smtp_server_ehlo', function(domain, conn)
  conn:set_meta('nonsense', domain:match '^(%w+)%.')
  if domain:match 'ehlo$' then return of(conn) end
end)
kumo.on('smtp_server_mail_from', function(_, conn) return of(conn) end)
kumo.on('smtp_server_rcpt_to', function(_, conn) return of(conn) end)
kumo.on('smtp_server_data', function(_, conn) return of(conn) end)
kumo.on('smtp_server_message_received', function(_, conn) return of(conn) end)
kumo.on('smtp_server_split_transaction', function(msg, conn)
  if msg:sender().domain == 'split.test' then return of(conn) end
end)
kumo.on('smtp_server_rewrite_response', function(status, response, command, conn)
  if command == 'XREWRITE' or (command or ''):match '^X' then
    if command:match 'error' then error 'in rewriting' end
    if command:match 'reject' then kumo.reject(550, 'x') end
    if command:match 'late' then kumo.sleep(0.01) error 'in rewriting' end
    if command:match 'loop' then while true do end end
    return nonsense(command:match 'code (%w+)'), nonsense(command:match 'text (%w+)')
  end
end)
kumo.on('get_queue_config', function(domain, _, _, _)
  local name = domain:match '^(%w+)%.queue'
  if name then return nonsense(name) end
end)
"""

KINDS = ("number", "text", "yes", "table", "array", "nested", "fn", "nul", "latin")


@pytest.fixture(scope="module")
def odd_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("nonsense"), NONSENSE) as daemon:
        yield daemon


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_the_wrong_type_end_the_session_or_are_ignored(odd_daemon: Kumod, kind: str) -> None:
    """Where a value is asked for it must fit; where none is, it is ignored."""
    name = kind.encode()
    ehlo = answers_to(odd_daemon, b"EHLO %s.ehlo\r\nNOOP\r\n" % name)
    # An empty table is an empty array: no keywords, and no messages.
    assert [a.code for a in ehlo] == ([250, 250] if kind == "table" else [421])
    session = b"EHLO %s.rest\r\nMAIL FROM:<a@%s>\r\nRCPT TO:<b@%s>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n"
    assert [a.code for a in answers_to(odd_daemon, session % (name, b"example.com", b"example.org"))] == [
        250, 250, 250, 354, 250, 250,
    ]  # fmt: skip
    split = answers_to(odd_daemon, session % (name, b"split.test", b"example.org"))
    assert str(split[4]) == ("550 5.7.1 relaying not permitted" if kind == "table" else DIFFICULTIES[0])
    queue = answers_to(odd_daemon, session % (name, b"example.com", name + b".queue"))
    assert [str(a) for a in queue[4:]] == DIFFICULTIES
    assert "Traceback" not in odd_daemon.errors.read_text()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"XERROR error", "502 5.5.1 Command unimplemented"),
        (b"XLATE late", "502 5.5.1 Command unimplemented"),
        (b"XREJECT reject", "502 5.5.1 Command unimplemented"),
        (b"XLOOP loop", "502 5.5.1 Command unimplemented"),
        (b"X code text", "502 5.5.1 Command unimplemented"),
        (b"X code table", "502 5.5.1 Command unimplemented"),
        (b"X text number", "502 5.5.1 Command unimplemented"),
        (b"X text array", "502 5.5.1 Command unimplemented"),
        (b"X text nul", "502 a?b"),
        (b"X none", "502 5.5.1 Command unimplemented"),
    ],
)
def test_a_failing_rewrite_leaves_the_reply(odd_daemon: Kumod, command: bytes, expected: str) -> None:
    answers = answers_to(odd_daemon, command + b"\r\nNOOP\r\n")
    assert [str(a) for a in answers] == [expected, "250 the goggles do nothing"]
