"""What the shell makes of the events of a session: policy, relay rule, reception, logs, metrics."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from kumo.config import CidrSet
from kumo.errors import DisconnectMode, PolicyError, Rejection, SpoolFull, SpoolUnhealthy
from kumo.listener import SessionPolicy
from kumo.message import Connection
from kumo.smtp import Reply
from tests.listener.fakes import FakePolicy, Gate, House, until

COMMAND_OF = {
    "ehlo": "EHLO client.example",
    "mail_from": "MAIL FROM:<a@example.com>",
    "rcpt_to": "RCPT TO:<b@example.org>",
}
TROUBLE = "421 4.3.0 mx.example.com technical difficulties"


async def test_policy_is_asked_in_the_order_of_the_session(house: House) -> None:
    client = await house.greeted(await house.start())
    assert await client.say("EHLO client.example") == (
        "250-mx.example.com Aloha client.example\n"
        "250-PIPELINING\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-SMTPUTF8\n250-SIZE 20971520\n250 STARTTLS"
    )
    assert await client.deliver(b"Subject: x\r\n\r\nhello\r\n") == "250 OK ids=0123456789abcdef"
    assert house.policy.names() == ["connection_accepted", "ehlo", "mail_from", "rcpt_to"]
    assert house.receiver.contents == [b"Subject: x\r\n\r\nhello\r\n"]


async def test_connection_tells_who_and_where(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    connection: Connection = house.policy.calls[0][1][0]
    assert connection.peer == f"127.0.0.1:{client.port}"
    assert connection.via == server.addresses[0]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", connection.session_id
    )
    assert connection.meta == {
        "reception_protocol": "ESMTP",
        "received_via": server.addresses[0],
        "received_from": f"127.0.0.1:{client.port}",
        "hostname": "mx.example.com",
    }


async def test_sessions_have_ids_of_their_own(house: House) -> None:
    server = await house.start()
    for _ in range(3):
        await house.greeted(server)
    assert len({call[0].session_id for _, call in house.policy.calls}) == 3


async def test_greeting_is_noted_after_its_reply(house: House) -> None:
    seen: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        def handler(connection: Connection, *_arguments: Any) -> None:
            seen.append((name, connection.meta.get("ehlo_domain")))

        return handler

    house.policy.answers = {"ehlo": note("ehlo"), "mail_from": note("mail_from")}
    client = await house.greeted(await house.start())
    # In one segment: the greeting has to be there for the very next command.
    client.send(b"EHLO one.example\r\nMAIL FROM:<>\r\nRSET\r\nHELO two.example\r\nMAIL FROM:<>\r\nQUIT\r\n")
    await client.rest()
    assert seen == [
        ("ehlo", None),
        ("mail_from", "one.example"),
        ("ehlo", "one.example"),
        ("mail_from", "two.example"),
    ]


async def test_refused_greeting_leaves_the_earlier_one(house: House) -> None:
    client = await house.greeted(await house.start())
    assert (await client.say("EHLO good.example")).startswith("250-")
    house.policy.answers["ehlo"] = Rejection(550, "5.7.1 go away")
    assert await client.say("EHLO bad.example") == "550 5.7.1 go away"
    connection, reply, command, _, _ = house.rejections.records[0]
    assert (reply, command) == (Reply(550, "5.7.1 go away"), "EHLO bad.example")
    assert connection.ehlo_domain == "good.example"


async def test_policy_replaces_the_keywords(house: House) -> None:
    house.policy.answers["ehlo"] = ("SIZE 1", "X-MINE")
    client = await house.greeted(await house.start())
    assert await client.say("EHLO c.example") == "250-mx.example.com Aloha c.example\n250-SIZE 1\n250 X-MINE"


@pytest.mark.parametrize("event", COMMAND_OF)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_rejection_refuses_that_command_alone(house: House, event: str, *, waits: bool) -> None:
    rejection = Rejection(451, "4.7.1 not now")

    async def raise_later(*_arguments: Any) -> None:
        await asyncio.sleep(0)
        raise rejection

    client = await house.greeted(await house.start())
    if event == "rcpt_to":
        await client.say(COMMAND_OF["mail_from"])
    house.policy.answers[event] = raise_later if waits else rejection
    assert await client.say(COMMAND_OF[event]) == "451 4.7.1 not now"
    assert await client.say("NOOP") == "250 the goggles do nothing"
    _, reply, command, sender, recipient = house.rejections.records[0]
    assert (reply, command) == (Reply(451, "4.7.1 not now"), COMMAND_OF[event])
    assert (sender, recipient) == ("a@example.com" if event == "rcpt_to" else None, None)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(("event", "answer"), [("mail_from", "nonsense"), ("ehlo", 42)])
async def test_a_verdict_of_the_wrong_kind_ends_the_session_and_does_not_freeze_it(
    house: House, event: str, answer: object, *, waits: bool
) -> None:
    async def answer_later(*_arguments: Any) -> object:
        await asyncio.sleep(0)
        return answer

    client = await house.greeted(await house.start())
    house.policy.answers[event] = answer_later if waits else answer
    assert await client.say(COMMAND_OF[event]) == TROUBLE
    assert await client.rest() == b""


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        (DisconnectMode.IF_421, 550, "550 no\r\n250 the goggles do nothing\r\n"),
        (DisconnectMode.IF_421, 421, "421 no\r\n"),
        (DisconnectMode.FORCE_DISCONNECT, 550, "550 no\r\n"),
        (
            DisconnectMode.FOLLOW_WITH_421,
            550,
            "550 no\r\n421 mx.example.com disconnecting due to previous error\r\n",
        ),
    ],
)
async def test_rejection_decides_on_the_connection(
    house: House, mode: DisconnectMode, code: int, said: str
) -> None:
    house.policy.answers["mail_from"] = Rejection(code, "no", mode)
    client = await house.greeted(await house.start())
    client.send(b"MAIL FROM:<>\r\nNOOP\r\n")
    client.writer.write_eof()
    assert (await client.rest()).decode() == said


async def test_rejected_connection_gets_no_banner(house: House) -> None:
    house.policy.answers["connection_accepted"] = Rejection(554, "5.7.1 blocked")
    client = await house.connect(await house.start())
    assert await client.rest() == b"554 5.7.1 blocked\r\n"
    assert [record[1].code for record in house.rejections.records] == [554]


@pytest.mark.parametrize("event", ["connection_accepted", *COMMAND_OF])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("error", [PolicyError("init.lua:7: boom"), ZeroDivisionError("boom")], ids=repr)
async def test_failing_policy_ends_its_session_only(
    house: House, caplog: pytest.LogCaptureFixture, event: str, error: Exception, *, waits: bool
) -> None:
    async def raise_later(*_arguments: Any) -> None:
        await asyncio.sleep(0)
        raise error

    server = await house.start()
    neighbour = await house.greeted(server)
    house.policy.answers[event] = raise_later if waits else error
    client = await house.connect(server)
    if event != "connection_accepted":
        assert (await client.reply()).startswith("220 ")
        if event == "rcpt_to":
            await client.say(COMMAND_OF["mail_from"])
        client.send(COMMAND_OF[event].encode() + b"\r\n")
    assert (await client.rest()).decode() == f"{TROUBLE}\r\n"
    assert await neighbour.say("NOOP") == "250 the goggles do nothing"
    _, reply, command, _, _ = house.rejections.records[0]
    assert (reply.code, command) == (421, f"Error in SmtpServerSession: {error}")
    assert "boom" in caplog.text
    assert ("Traceback" in caplog.text) is isinstance(error, ZeroDivisionError)


async def test_pipelined_commands_wait_for_policy_in_order(house: House) -> None:
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    client = await house.greeted(await house.start())
    client.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nNOOP\r\n")
    await gate.wait_until_asked()
    client.send(b"RSET\r\n")
    gate.answer.set_result(None)
    assert [await client.reply() for _ in range(4)] == [
        "250 OK <a@example.com>",
        "250 OK <b@example.org>",
        "250 the goggles do nothing",
        "250 Reset state",
    ]


async def test_octets_before_the_banner_are_kept(house: House) -> None:
    gate = Gate()
    house.policy.answers["connection_accepted"] = gate
    client = await house.connect(await house.start())
    client.send(b"NOOP\r\nQUIT\r\n")
    await gate.wait_until_asked()
    gate.answer.set_result(None)
    assert await client.rest() == (
        b"220 mx.example.com KumoMTA\r\n250 the goggles do nothing\r\n"
        b"221 So long, and thanks for all the fish!\r\n"
    )


async def test_waiting_policy_holds_up_nobody_else(house: House) -> None:
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"MAIL FROM:<>\r\n")
    await gate.wait_until_asked()
    house.policy.answers.clear()
    neighbour = await house.greeted(server)
    assert await neighbour.deliver(b"x\r\n") == "250 OK ids=0123456789abcdef"
    gate.answer.set_result(None)
    assert await client.reply() == "250 OK <>"


# --- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Rejection(552, "5.6.0 no"), "552 5.6.0 no"),
        (SpoolFull("no room"), TROUBLE),
        (PolicyError("boom"), TROUBLE),
        (KeyError("boom"), TROUBLE),
    ],
    ids=repr,
)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_reception_that_fails_is_never_250(
    house: House, error: Exception, said: str, *, waits: bool
) -> None:
    async def raise_later() -> Reply:
        await asyncio.sleep(0)
        raise error

    house.receiver.answer = raise_later if waits else error
    client = await house.greeted(await house.start())
    assert await client.deliver(b"x\r\n") == said
    assert house.rejections.records[0][3:] == ("a@example.com", "b@example.org")
    if said != TROUBLE:
        assert await client.say("NOOP") == "250 the goggles do nothing"
    else:
        assert await client.rest() == b""


async def test_reply_waits_until_the_message_is_stored(house: House) -> None:
    gate = Gate()
    house.receiver.answer = gate
    client = await house.greeted(await house.start())
    await client.start_content()
    client.send(b"one\r\n.\r\nNOOP\r\n")
    await gate.wait_until_asked()
    gate.answer.set_result(Reply(250, "OK ids=1"))
    assert await client.reply() == "250 OK ids=1"
    assert await client.reply() == "250 the goggles do nothing"


@pytest.mark.parametrize("data_buffer_size", [0, 1, 7, 4096])
async def test_content_does_not_depend_on_the_size_of_reads(house: House, data_buffer_size: int) -> None:
    content = b"..stuffed\r\n" + bytes(range(32, 127)) * 50 + b"\r\n...\r\n"
    client = await house.greeted(
        await house.start(data_buffer_size=data_buffer_size, line_length_hard_limit=9999)
    )
    assert await client.deliver(content) == "250 OK ids=0123456789abcdef"
    assert house.receiver.contents == [b".stuffed\r\n" + bytes(range(32, 127)) * 50 + b"\r\n..\r\n"]


async def test_sessions_that_read_by_turns_do_not_mix(house: House) -> None:
    """All connections share the memory they read into."""
    server = await house.start(data_buffer_size=16)
    clients = [await house.greeted(server) for _ in range(5)]
    contents = [bytes([65 + number]) * 50 + b"\r\n" for number in range(5)]
    for client in clients:
        await client.start_content()
    for piece in range(0, 52, 4):
        for client, content in zip(clients, contents, strict=True):
            client.send(content[piece : piece + 4])
            await client.writer.drain()
        await asyncio.sleep(0)
    for client in clients:
        client.send(b".\r\n")
    for client in clients:
        assert await client.reply() == "250 OK ids=0123456789abcdef"
    assert sorted(house.receiver.contents) == contents


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
async def test_many_pipelined_commands_of_one_among_others_are_all_answered(
    house: House, *, secure: bool
) -> None:
    server = await house.start()
    # Who is alone does not wait for the turn of others.
    other = await house.connect(server)
    client = await house.connect(server)
    for one in (other, client):
        assert (await one.line()).startswith("220 ")
    if secure:
        assert (await client.say("EHLO c.example")).startswith("250-")
        await client.start_tls()
    for octets in (900, 20):
        client.send((b"NOOP " + b"x" * octets + b"\r\n") * 2000)
    client.send(b"QUIT\r\n")
    replies = await client.rest()
    assert replies.count(b"250 the goggles do nothing\r\n") == 4000
    assert replies.endswith(b"221 So long, and thanks for all the fish!\r\n")
    assert await other.say("NOOP") == "250 the goggles do nothing"


async def test_large_messages_pipelined_behind_a_slow_store(house: House) -> None:
    """More stands behind the final dot than a paused session may be given twice."""
    gate = Gate()
    answers: list[Any] = [gate, lambda: Reply(250, "OK ids=2")]

    def answer() -> Any:
        return answers.pop(0)()

    house.receiver.answer = answer
    client = await house.greeted(await house.start(data_buffer_size=131072))
    await client.start_content()
    noops = 40_000
    client.send(b"first\r\n.\r\n" + b"NOOP\r\n" * noops)
    await gate.wait_until_asked()
    gate.answer.set_result(Reply(250, "OK ids=1"))
    assert await client.reply() == "250 OK ids=1"
    for _ in range(noops):
        assert await client.line() == "250 the goggles do nothing"


# --- relay -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relay_hosts", "listen", "host", "may_relay"),
    [
        (["127.0.0.1"], "127.0.0.1:0", "127.0.0.1", True),
        (["127.0.0.0/8"], "127.0.0.1:0", "127.0.0.1", True),
        (["any"], "127.0.0.1:0", "127.0.0.1", True),
        ([], "127.0.0.1:0", "127.0.0.1", False),
        (["10.0.0.0/8", "::1", "::/0"], "127.0.0.1:0", "127.0.0.1", False),
        (["127.0.0.0/8"], "[::]:0", "127.0.0.1", True),
        (["0.0.0.0/0"], "[::1]:0", "::1", False),
        (["::1"], "[::1]:0", "::1", True),
    ],
)
async def test_relay_rights_come_from_the_peers_address(
    house: House, relay_hosts: list[str], listen: str, host: str, *, may_relay: bool
) -> None:
    server = await house.start(listen=listen, relay_hosts=CidrSet.parse(relay_hosts))
    client = await house.greeted(server, host=host)
    await client.say("MAIL FROM:<a@example.com>")
    printed = f"[{host}]" if ":" in host else host
    assert await client.say("RCPT TO:<b@example.org>") == (
        "250 OK <b@example.org>"
        if may_relay
        else f"550 5.7.1 relaying not permitted for {printed}:{client.port}"
    )
    # Who may not relay is refused before policy hears of it.
    assert ("rcpt_to" in house.policy.names()) is may_relay


async def test_relay_rule_comes_before_the_limit_of_recipients(house: House) -> None:
    server = await house.start(relay_hosts=CidrSet.parse([]), max_recipients_per_message=0)
    client = await house.greeted(server)
    await client.say("MAIL FROM:<a@example.com>")
    assert (await client.say("RCPT TO:<b@example.org>")).startswith("550 5.7.1 relaying not permitted")


async def test_limit_of_recipients_comes_before_policy(house: House) -> None:
    client = await house.greeted(await house.start(max_recipients_per_message=1))
    await client.say("MAIL FROM:<a@example.com>")
    assert await client.say("RCPT TO:<b@example.org>") == "250 OK <b@example.org>"
    assert await client.say("RCPT TO:<c@example.org>") == "452 4.5.3 too many recipients"
    assert house.policy.names().count("rcpt_to") == 1


# --- rewriting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_policy_rewrites_replies(house: House, *, waits: bool) -> None:
    def rewrite(_connection: Connection, reply: Reply, command: str | None) -> Any:
        answer = Reply(reply.code, f"{command}: {reply.text}") if reply.code != 220 else None

        async def later() -> Reply | None:
            await asyncio.sleep(0)
            return answer

        return later() if waits else answer

    house.policy.rewrites_replies = True
    house.policy.answers["rewrite_response"] = rewrite
    client = await house.connect(await house.start())
    client.send(b"HELO c.example\r\nFOO\r\nQUIT\r\n")
    assert await client.rest() == (
        b"220 mx.example.com KumoMTA\r\n"
        b"250 None: Hello c.example!\r\n"
        b"502 FOO: 5.5.1 Command unimplemented\r\n"
        b"221 None: So long, and thanks for all the fish!\r\n"
    )


async def test_greeting_is_noted_only_after_its_rewritten_reply(house: House) -> None:
    seen: list[str | None] = []

    def rewrite(connection: Connection, _reply: Reply, _command: str | None) -> None:
        seen.append(connection.ehlo_domain)

    house.policy.rewrites_replies = True
    house.policy.answers["rewrite_response"] = rewrite
    client = await house.connect(await house.start())
    client.send(b"HELO c.example\r\nMAIL FROM:<>\r\nQUIT\r\n")
    await client.rest()
    assert seen == [None, None, "c.example", "c.example"]


async def test_policy_is_asked_once_a_session_whether_it_rewrites(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    house.policy.rewrites_replies = True
    assert await client.say("NOOP") == "250 the goggles do nothing"
    assert "rewrite_response" not in house.policy.names()
    await house.greeted(server)
    assert "rewrite_response" in house.policy.names()


# --- logs and metrics ------------------------------------------------------------------------------


async def test_421_of_our_own_state_is_no_rejection(house: House) -> None:
    house.admission.text = "disk is too full. Try later"
    server = await house.start()
    client = await house.connect(server)
    assert await client.rest() == b"421 4.3.2 mx.example.com disk is too full. Try later\r\n"
    assert house.policy.calls == []
    assert house.rejections.records == []
    assert house.metrics.smtp_server_rejections == {}
    assert house.metrics.total_connections_denied == {"esmtp_listener": 1}
    house.admission.text = None
    await house.greeted(server)


async def test_metrics_count_what_happens(house: House) -> None:
    server = await house.start()
    metrics = house.metrics
    client = await house.greeted(server)
    assert metrics.connection_count == {"esmtp_listener": 1}
    await client.deliver(b"x\r\n")
    house.receiver.answer = Rejection(550, "no")
    await client.deliver(b"x\r\n")
    via = server.addresses[0]
    assert metrics.total_messages_received == {"esmtp_listener": 2, f"esmtp_listener:{via}": 2}
    assert metrics.smtp_server_rejections == {"total": 1, via: 1}
    await client.say("QUIT")
    await until(lambda: server.session_count == 0)
    assert metrics.connection_count == {"esmtp_listener": 0}
    assert metrics.total_connection_count == {"esmtp_listener": 1}
    for histogram in (
        metrics.smtpsrv_transaction_duration,
        metrics.smtpsrv_read_data_duration,
        metrics.smtpsrv_process_data_duration,
    ):
        assert [line.value for line in histogram.family().samples if line.suffix == "_count"] == [2]


async def test_end_of_a_session_is_logged_for_diagnosis(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "kumod.listener")
    client = await house.greeted(await house.start())
    await client.say("QUIT")
    await client.rest()
    assert f"127.0.0.1:{client.port}: session ended: 221 So long" in caplog.text


def test_fake_policy_has_every_event_of_the_interface() -> None:
    asked = {name for name in vars(SessionPolicy) if not name.startswith("_")}
    assert asked - set(dir(FakePolicy())) == set()


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_spool_that_takes_no_writes_is_told_of(
    house: House, caplog: pytest.LogCaptureFixture, *, waits: bool
) -> None:
    error = SpoolUnhealthy("Input/output error")

    async def fail_later() -> Reply:
        await asyncio.sleep(0)
        raise error

    house.receiver.answer = fail_later if waits else error
    client = await house.greeted(await house.start())
    text = "421 4.3.2 mx.example.com the spool is not accepting writes. Try later"
    assert await client.deliver(b"x\r\n") == text
    assert await client.rest() == b""
    assert house.rejections.records == []
    assert "Input/output error" in caplog.text
