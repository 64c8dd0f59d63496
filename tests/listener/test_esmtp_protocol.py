"""Timers and back-pressure to the second, with a transport and a clock that the test moves."""

from __future__ import annotations

import asyncio
import ssl
import uuid

import pytest

from kumo.listener.context import new_session_id
from kumo.listener.flow_control import CHECK_INTERVAL
from kumo.listener.read_buffer import COMMAND_OCTETS, ReadBuffer
from kumo.listener.timed_connection import LINGER
from kumo.smtp import Reply
from tests.listener.bench import LIMIT, Bench


async def test_a_fault_before_the_banner_drops_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    class Broken:
        def refusal(self) -> str | None:
            raise RuntimeError("a sensor that fails")

    bench.context.admission = Broken()
    assert bench.connect() == ""
    assert bench.transport.ending == "aborted"
    assert "a sensor that fails" in caplog.text


async def test_a_fault_before_there_is_a_session_drops_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()

    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(f"no {name}")

    bench.context.policy = Broken()  # type: ignore[assignment]
    assert bench.connect() == ""
    assert bench.transport.ending == "aborted"
    assert "no rewrites_replies" in caplog.text
    bench.protocol.connection_lost(None)
    assert bench.protocol not in bench.context.sessions
    assert not any(bench.house.metrics.connection_count.values())


# --- the client's time limit -------------------------------------------------------------------------


async def test_commands_set_no_timers(bench: Bench) -> None:
    for _ in range(100):
        bench.clock.advance(0.1)
        assert bench.say(b"NOOP\r\n") == "250 the goggles do nothing\r\n"
    assert len(bench.clock.timers) == 1


async def test_idle_session_ends_exactly_at_its_limit(bench: Bench) -> None:
    bench.clock.advance(50)
    bench.say(b"NOOP\r\n")
    bench.clock.advance(LIMIT - 0.001)
    assert bench.transport.written == b""
    bench.clock.advance(0.001)
    assert bench.taken() == "421 4.3.2 mx.example.com idle too long\r\n"
    assert bench.transport.ending == "eof"


async def test_octets_that_make_no_line_are_progress(bench: Bench) -> None:
    for octet in (b"N", b"O", b"O", b"P"):
        bench.clock.advance(LIMIT - 1)
        assert bench.say(octet) == ""
    assert bench.say(b"\r\n") == "250 the goggles do nothing\r\n"


async def test_limit_starts_anew_when_policy_has_answered(bench: Bench) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.house.policy.answers["mail_from"] = lambda *_: answer
    bench.say(b"MAIL FROM:<>\r\n")
    # Not a multiple of the limit: the timer is not to go off just then.
    bench.clock.advance(10.5 * LIMIT)
    assert bench.transport.ending == ""
    answer.set_result(None)
    await asyncio.sleep(0)
    assert bench.taken() == "250 OK <>\r\n"
    bench.clock.advance(LIMIT - 0.001)
    assert bench.transport.written == b""
    bench.clock.advance(0.001)
    assert bench.taken() == "421 4.3.2 mx.example.com idle too long\r\n"


async def test_connection_that_is_lost_leaves_no_timer(bench: Bench) -> None:
    bench.protocol.connection_lost(None)
    assert bench.clock.armed == []
    assert bench.context.sessions == {bench.neighbour}


# --- closing -----------------------------------------------------------------------------------------


async def test_quit_closes_without_lingering(bench: Bench) -> None:
    assert bench.say(b"QUIT\r\n") == "221 So long, and thanks for all the fish!\r\n"
    assert bench.transport.ending == "closed"


async def test_hanging_up_lingers_for_two_seconds_at_most(bench: Bench) -> None:
    bench.protocol.shut_down()
    assert bench.taken() == "421 4.3.2 mx.example.com shutting down\r\n"
    assert bench.transport.ending == "eof"
    assert bench.say(b"NOOP\r\n") == ""
    bench.clock.advance(LINGER - 0.001)
    assert bench.transport.ending == "eof"
    bench.clock.advance(0.001)
    assert bench.transport.ending == "aborted"


async def test_lingering_on_a_connection_that_was_reset(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_eof() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(bench.transport, "write_eof", write_eof)
    bench.protocol.shut_down()
    bench.clock.end_turn()
    assert bench.transport.ending == "aborted"


async def test_peer_that_closes_ends_the_lingering(bench: Bench) -> None:
    bench.protocol.shut_down()
    assert bench.protocol.eof_received() is False


async def test_peer_that_has_closed_is_not_lingered_for(bench: Bench) -> None:
    bench.house.receiver.answer = Reply(421, "bye")
    bench.say(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n")
    assert bench.protocol.eof_received() is True
    bench.clock.end_turn()
    assert bench.transport.ending == "closed"


async def test_close_that_nobody_reads_is_given_up(bench: Bench) -> None:
    bench.clock.advance(LIMIT / 2)
    bench.say(b"QUIT\r\n")
    bench.transport.unsent = 43
    bench.clock.advance(LIMIT - 0.001)
    assert bench.transport.ending == "closed"
    bench.clock.advance(CHECK_INTERVAL + 0.001)
    assert bench.transport.ending == "aborted"


async def test_idle_peer_with_unread_replies_is_dropped_without_another(bench: Bench) -> None:
    bench.transport.unsent = 100
    bench.clock.advance(LIMIT)
    assert bench.transport.written == b""
    assert bench.transport.ending == "aborted"


# --- back-pressure -----------------------------------------------------------------------------------


async def test_full_transport_stops_reading_until_it_is_read(bench: Bench) -> None:
    bench.protocol.pause_writing()
    assert bench.transport.is_stopped()
    bench.protocol.resume_writing()
    assert not bench.transport.is_stopped()


async def test_writing_without_progress_is_given_up_at_the_limit(bench: Bench) -> None:
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    bench.clock.advance(LIMIT - 0.001)
    assert bench.transport.ending == ""
    bench.clock.advance(CHECK_INTERVAL)
    assert bench.transport.ending == "aborted"


async def test_writing_with_some_progress_goes_on(bench: Bench) -> None:
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    for _ in range(5):
        bench.clock.advance(LIMIT - 2 * CHECK_INTERVAL)
        bench.transport.unsent -= 1
    assert bench.transport.ending == ""
    bench.clock.advance(LIMIT + 2 * CHECK_INTERVAL)
    assert bench.transport.ending == "aborted"


async def test_what_is_added_to_unsent_octets_is_no_progress(bench: Bench) -> None:
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    for _ in range(100):
        bench.clock.advance(1)
        bench.transport.unsent += 1
    assert bench.transport.ending == "aborted"


async def test_limit_of_the_client_starts_anew_when_writing_resumes(bench: Bench) -> None:
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    for _ in range(4):
        bench.clock.advance(LIMIT / 2)
        bench.transport.unsent -= 1000
    bench.transport.unsent = 0
    bench.protocol.resume_writing()
    bench.clock.advance(LIMIT - 0.001)
    assert bench.transport.written == b""
    bench.clock.advance(0.001 + CHECK_INTERVAL)
    assert bench.taken() == "421 4.3.2 mx.example.com idle too long\r\n"


async def test_one_read_is_kept_while_policy_thinks_and_no_second_one(bench: Bench) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.house.policy.answers["mail_from"] = lambda *_: answer
    bench.say(b"MAIL FROM:<>\r\n")
    assert not bench.transport.is_stopped()
    bench.say(b"NOOP\r\n")
    assert bench.transport.is_stopped()
    answer.set_result(None)
    await asyncio.sleep(0)
    assert bench.taken() == "250 OK <>\r\n250 the goggles do nothing\r\n"
    assert not bench.transport.is_stopped()


async def test_reading_stays_stopped_while_one_verdict_follows_another(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[None]] = [loop.create_future(), loop.create_future()]
    waiting = iter(answers)
    bench.house.policy.answers = {"mail_from": lambda *_: next(waiting), "rcpt_to": lambda *_: next(waiting)}
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n")
    bench.say(b"NOOP\r\n")
    answers[0].set_result(None)
    await asyncio.sleep(0)
    assert bench.transport.is_stopped()
    bench.protocol.pause_writing()
    answers[1].set_result(None)
    await asyncio.sleep(0)
    assert bench.transport.is_stopped()
    bench.protocol.resume_writing()
    assert not bench.transport.is_stopped()


async def test_resumed_writing_does_not_read_past_a_waiting_verdict(bench: Bench) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.house.policy.answers["mail_from"] = lambda *_: answer
    bench.say(b"MAIL FROM:<>\r\n")
    bench.protocol.pause_writing()
    bench.protocol.resume_writing()
    assert bench.transport.is_stopped()
    answer.set_result(None)
    await asyncio.sleep(0)
    assert not bench.transport.is_stopped()


async def test_large_read_with_a_message_in_it_stops_reading_at_once() -> None:
    bench = Bench(data_buffer_size=131072)
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    bench.house.receiver.answer = lambda: answer
    bench.connect()
    bench.say(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.say(b"x\r\n.\r\n" + b"NOOP\r\n" * 12_000)
    assert bench.transport.is_stopped()
    answer.set_result(Reply(250, "OK ids=1"))
    await asyncio.sleep(0)
    assert bench.taken().startswith("250 OK ids=1\r\n250 the goggles")
    assert not bench.transport.is_stopped()


async def test_reads_are_as_long_as_what_is_read_allows() -> None:
    bench = Bench(data_buffer_size=99)
    bench.connect()
    assert len(bench.protocol.get_buffer(-1)) == COMMAND_OCTETS
    bench.say(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    assert len(bench.protocol.get_buffer(-1)) == 99
    bench.say(b"x\r\n.\r\n")
    assert len(bench.protocol.get_buffer(-1)) == COMMAND_OCTETS


@pytest.mark.parametrize(
    ("octets", "asked", "given"),
    [
        (131072, 131072, 131072),
        (131072, 10**12, 131072),
        (10**12, 10**12, 4194304),
        (1, 65536, 65536),
        (131072, 0, 1),
        (131072, 1, 1),
    ],
)
def test_views_of_the_read_buffer_are_bounded(octets: int, asked: int, given: int) -> None:
    assert len(ReadBuffer(octets).view(asked)) == given


async def test_events_after_the_end_do_nothing(bench: Bench) -> None:
    protocol = bench.protocol
    protocol.connection_lost(None)
    protocol.buffer_updated(1)
    assert protocol.eof_received() is False
    protocol.pause_writing()
    protocol.resume_writing()
    protocol.shut_down()
    protocol.abort()
    assert bench.transport.written == b""
    assert bench.transport.ending == ""


async def test_connection_lost_before_it_was_made_is_not_counted() -> None:
    bench = Bench()
    bench.protocol.shut_down()
    bench.protocol.connection_lost(None)
    assert bench.house.metrics.connection_count == {}


async def test_connections_own_no_dict_and_no_buffer(bench: Bench) -> None:
    assert not hasattr(bench.protocol, "__dict__")


def test_session_ids_are_version_4_uuids() -> None:
    ids = {new_session_id() for _ in range(200)}
    assert len(ids) == 200
    for one in ids:
        parsed = uuid.UUID(one)
        assert (str(parsed), parsed.version, parsed.variant) == (one, 4, uuid.RFC_4122)


# --- STARTTLS ----------------------------------------------------------------------------------------


async def test_clear_text_that_comes_while_starttls_waits_for_its_turn_gets_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr("kumo.tls.TlsContexts.server_context", lambda *_: context)
    bench.transport.protocol = bench.protocol
    bench.read(b"STARTTLS\r\n")
    bench.read(b"MAIL FROM:<>\r\n")
    assert bench.transport.taken() == "220 Ready to Start TLS\r\n"
    assert bench.transport.was_paused
    assert bench.taken() == ""
    assert "mail_from" not in bench.house.policy.names()


async def test_clear_text_between_the_220_and_the_tls_layer_gets_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr("kumo.tls.TlsContexts.server_context", lambda *_: context)
    bench.transport.protocol = bench.protocol
    assert bench.say(b"STARTTLS\r\nNOOP\r\n") == "220 Ready to Start TLS\r\n"
    # Reading stops before the client may send a ClientHello.
    assert bench.transport.was_paused
    # A loop that reads on all the same is not believed.
    assert bench.say(b"NOOP\r\n") == ""
    start = bench.protocol._tls
    assert start is not None
    assert start.early == b""
    bench.transport.protocol = asyncio.Protocol()
    assert bench.say(b"EHLO c.example\r\n") == ""
    assert start.early == b"EHLO c.example\r\n"
