"""Timers and back-pressure to the second, with a transport and a clock that the test moves."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from kumo.config import EsmtpListener
from kumo.listener.cohorts import Cohorts
from kumo.listener.context import ListenerContext, new_session_id
from kumo.listener.esmtp_protocol import EsmtpProtocol
from kumo.listener.flow_control import CHECK_INTERVAL
from kumo.listener.outbox import Outbox
from kumo.listener.read_buffer import COMMAND_OCTETS, ReadBuffer
from kumo.listener.timed_connection import LINGER
from kumo.smtp import Reply
from tests.listener.fakes import House

LIMIT = 60.0


class Timer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The part of a loop that a connection uses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.soon.append(partial(callback, *arguments))

    def end_turn(self) -> None:
        """Call what was to be called soon, in order."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, callback)
        self.timers.append(timer)
        return timer

    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Future[Any]:
        """What would run, never runs."""
        assert name == "handshake"
        coroutine.close()
        return asyncio.get_running_loop().create_future()

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        """Let time pass, timers going off on the way."""
        end = self.now + seconds
        while due := [timer for timer in self.armed if timer.due <= end]:
            timer = min(due, key=lambda one: one.due)
            self.now = max(self.now, timer.due)
            self.timers.remove(timer)
            timer.callback()
            self.end_turn()
        self.now = end


class Transport:
    """Collects what is written; ``unsent`` is what the peer has not read yet."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.is_paused = False
        self.was_paused = False
        """Whether nothing was read when the last octets were written."""
        self.protocol: asyncio.BaseProtocol | None = None
        self.ending = ""

    def write(self, octets: bytes) -> None:
        assert not self.ending
        self.written += octets
        self.was_paused = self.is_paused

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_protocol(self) -> asyncio.BaseProtocol | None:
        return self.protocol

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_stopped(self) -> bool:
        """Whether nothing is read."""
        return self.is_paused

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ending = "eof"

    def close(self) -> None:
        self.ending = "closed"

    def abort(self) -> None:
        self.ending = "aborted"

    def taken(self) -> str:
        """What was written since the last call."""
        octets, self.written = self.written, b""
        return octets.decode()


class Bench:
    """One connection on the bench."""

    def __init__(self, **parameters: Any) -> None:
        self.house = House()
        self.clock = Clock()
        self.transport = Transport()
        config = EsmtpListener(**{"hostname": "mx.example.com", "client_timeout": LIMIT, **parameters})
        self.context = ListenerContext(config, self.house.partners())
        self.context.loop = self.clock  # type: ignore[assignment]
        self.context.now = self.clock.time
        self.context.outbox = Outbox(self.clock)  # type: ignore[arg-type]
        self.context.cohorts = Cohorts(self.clock, self.context.outbox)  # type: ignore[arg-type]
        self.protocol = EsmtpProtocol(self.context, ("127.0.0.1", 40000), ("127.0.0.1", 25))
        self.neighbour = EsmtpProtocol(self.context, ("127.0.0.1", 40001), ("127.0.0.1", 25))
        """Another connection: one that is alone does not wait for the end of a turn."""
        self.context.sessions |= {self.protocol, self.neighbour}

    def connect(self) -> str:
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]
        return self.taken()

    def say(self, octets: bytes) -> str:
        """What a read of these octets makes the server write."""
        self.read(octets)
        return self.taken()

    def read(self, octets: bytes) -> None:
        """Read these octets; the turn of the loop goes on."""
        self.read_as(self.protocol, octets)

    def read_as(self, protocol: EsmtpProtocol, octets: bytes) -> None:
        """The same on one of the two connections."""
        view = protocol.get_buffer(-1)
        assert len(octets) <= len(view)
        view[: len(octets)] = octets
        protocol.buffer_updated(len(octets))

    def taken(self) -> str:
        """What was written since the last call, once the turn of the loop is over."""
        self.clock.end_turn()
        return self.transport.taken()


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    assert bench.connect() == "220 mx.example.com KumoMTA\r\n"
    return bench


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


# --- the end of a turn of the loop -------------------------------------------------------------------


async def test_replies_are_written_at_the_end_of_the_turn(bench: Bench) -> None:
    bench.read(b"NOOP\r\nMAIL FROM:<a@b.example>\r\n")
    assert bench.transport.written == b""
    assert bench.taken() == "250 the goggles do nothing\r\n250 OK <a@b.example>\r\n"


async def test_who_is_alone_does_not_wait_for_the_end_of_the_turn(bench: Bench) -> None:
    bench.context.forget(bench.neighbour)
    bench.read(b"NOOP\r\n")
    assert bench.transport.written == b"250 the goggles do nothing\r\n"
    assert bench.taken() == "250 the goggles do nothing\r\n"


async def test_a_second_read_in_a_turn_writes_at_once(bench: Bench) -> None:
    bench.read(b"NOOP\r\n")
    bench.read(b"RSET\r\n")
    assert bench.transport.taken() == "250 the goggles do nothing\r\n250 Reset state\r\n"
    assert bench.taken() == ""


async def test_nothing_is_read_between_the_last_reply_and_the_close(bench: Bench) -> None:
    bench.read(b"QUIT\r\n")
    bench.read(b"NOOP\r\n")
    assert bench.protocol.eof_received() is False
    assert bench.taken() == "221 So long, and thanks for all the fish!\r\n"
    assert bench.transport.ending == "closed"


async def test_end_of_file_in_the_same_turn_comes_after_the_replies(bench: Bench) -> None:
    bench.read(b"NOOP\r\n")
    assert bench.protocol.eof_received() is True
    assert bench.transport.taken() == "250 the goggles do nothing\r\n"


async def test_connection_that_cannot_be_written_to_harms_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write(_octets: bytes) -> None:
        raise RuntimeError("the handler is closed")

    other = Transport()
    monkeypatch.setattr(bench.transport, "write", write)
    bench.read(b"NOOP\r\n")
    bench.neighbour.connection_made(other)  # type: ignore[arg-type]
    bench.clock.end_turn()
    assert bench.transport.ending == "aborted"
    assert other.taken().startswith("220 ")
    assert caplog.messages == ["127.0.0.1:40000: session fails: the handler is closed"]


# --- what is read waits for its turn ------------------------------------------------------------------


async def test_commands_of_one_kind_are_worked_off_together(bench: Bench) -> None:
    other = Transport()
    bench.neighbour.connection_made(other)  # type: ignore[arg-type]
    bench.clock.end_turn()
    other.taken()
    bench.read(b"MAIL FROM:<a@b.example>\r\nNOOP\r\n")
    bench.read_as(bench.neighbour, b"HELO c.example\r\n")
    bench.clock.end_turn()
    assert (bench.transport.written, other.taken()) == (b"", "250 Hello c.example!\r\n")
    bench.read_as(bench.neighbour, b"MAIL FROM:<d@e.example>\r\n")
    bench.clock.end_turn()
    assert bench.transport.taken() == "250 OK <a@b.example>\r\n250 the goggles do nothing\r\n"
    assert other.taken() == "250 OK <d@e.example>\r\n"


async def test_content_is_not_taken_for_a_command(bench: Bench) -> None:
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.neighbour.connection_made(Transport())  # type: ignore[arg-type]
    bench.clock.end_turn()
    bench.read(b"Mailer: x\r\n.\r\n")
    bench.read_as(bench.neighbour, b"RSET\r\n")
    assert bench.taken() == ""
    assert bench.taken().startswith("250 ")


async def test_a_large_piece_of_content_is_taken_at_once(bench: Bench) -> None:
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.read((b"x" * 70 + b"\r\n") * (COMMAND_OCTETS // 72 + 1) + b".\r\n")
    assert len(bench.house.receiver.received) == 1
    assert bench.taken().startswith("250 ")


async def test_octets_that_end_no_line_are_no_reason_to_wait(bench: Bench) -> None:
    bench.read(b"NO")
    bench.read(b"OP\r\n")
    # Had the first octets waited, the rest would have been answered at once.
    assert bench.transport.written == b""
    assert bench.taken() == "250 the goggles do nothing\r\n"


@pytest.mark.parametrize(("octets", "waits"), [(4096, True), (4097, False)])
async def test_many_commands_at_once_are_worked_off_at_once(
    bench: Bench, octets: int, *, waits: bool
) -> None:
    bench.read(b"MAIL FROM:<>\r\n".ljust(octets - 2, b"\0") + b"\r\n")
    assert ("mail_from" not in bench.house.policy.names()) is waits
    bench.clock.end_turn()
    assert "mail_from" in bench.house.policy.names()


async def test_content_waits_for_its_turn_up_to_a_usual_read(bench: Bench) -> None:
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.read((b"x" * 62 + b"\r\n") * (COMMAND_OCTETS // 64 - 1) + b".\r\n")
    assert bench.house.receiver.received == []
    bench.clock.end_turn()
    assert len(bench.house.receiver.received) == 1


async def test_two_reads_that_a_verdict_keeps_waiting_are_the_last(bench: Bench) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.house.policy.answers["mail_from"] = lambda *_: answer
    bench.read(b"MAIL FROM:<>\r\n")
    bench.read(b"RCPT TO:<c@d.example>\r\n")
    assert bench.transport.is_stopped()
    answer.set_result(None)
    await asyncio.sleep(0)
    assert bench.taken() == "250 OK <>\r\n250 OK <c@d.example>\r\n"
    assert not bench.transport.is_stopped()


async def test_time_limit_is_not_enforced_while_input_waits_for_its_turn(bench: Bench) -> None:
    # As when something else keeps the loop: its timers come before what it has read.
    bench.read(b"NOOP\r\n")
    bench.clock.advance(LIMIT)
    assert bench.taken() == "250 the goggles do nothing\r\n"
    bench.clock.advance(LIMIT)
    assert bench.taken() == "421 4.3.2 mx.example.com idle too long\r\n"


async def test_message_that_waits_for_its_turn_is_not_taken_after_the_connection_was_dropped(
    bench: Bench,
) -> None:
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.read(b"x\r\n.\r\n")
    bench.protocol.abort()
    bench.clock.end_turn()
    assert bench.house.receiver.received == []
    assert bench.transport.ending == "aborted"


async def test_waiting_message_is_not_taken_from_a_peer_that_is_given_up(bench: Bench) -> None:
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    bench.clock.advance(LIMIT - 0.001)
    bench.read(b"x\r\n.\r\n")
    bench.clock.advance(CHECK_INTERVAL)
    assert bench.transport.ending == "aborted"
    assert bench.house.receiver.received == []


async def test_connection_that_was_to_be_dropped_before_it_was_made_is_not_mute() -> None:
    bench = Bench()
    bench.protocol.abort()
    assert bench.connect().startswith("220 ")
    assert bench.say(b"NOOP\r\n") == "250 the goggles do nothing\r\n"


async def test_connection_that_is_lost_while_it_waits_for_its_turn_is_gone(bench: Bench) -> None:
    bench.read(b"MAIL FROM:<>\r\n")
    bench.protocol.connection_lost(None)
    bench.clock.end_turn()
    assert (bench.transport.written, bench.context.sessions) == (b"", {bench.neighbour})
    assert bench.house.policy.names() == ["connection_accepted"]


async def test_verdict_that_is_asked_for_meanwhile_is_waited_for(bench: Bench) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.house.policy.answers["mail_from"] = lambda *_: answer
    bench.read(b"NOOP\r\n")
    bench.read(b"MAIL FROM:<>\r\n")
    assert bench.taken() == "250 the goggles do nothing\r\n"
    answer.set_result(None)
    await asyncio.sleep(0)
    assert bench.taken() == "250 OK <>\r\n"


async def test_daemon_that_stops_still_answers_what_was_read(bench: Bench) -> None:
    bench.read(b"NOOP\r\n")
    bench.protocol.shut_down()
    assert bench.taken() == "250 the goggles do nothing\r\n421 4.3.2 mx.example.com shutting down\r\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("no log today"), "no log today"), (asyncio.CancelledError(), "CancelledError")],
    ids=["exception", "cancelled"],
)
async def test_fault_in_one_session_harms_no_other_of_its_cohort(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    told: str,
) -> None:
    def log_rejection(*_arguments: object) -> None:
        raise error

    other = Transport()
    bench.neighbour.connection_made(other)  # type: ignore[arg-type]
    bench.clock.end_turn()
    other.taken()
    monkeypatch.setattr(bench.house.rejections, "log_rejection", log_rejection)
    bench.read(b"QUUX\r\n")
    bench.read_as(bench.neighbour, b"QUIT\r\n")
    bench.clock.end_turn()
    assert bench.transport.ending == "aborted"
    assert other.taken() == "221 So long, and thanks for all the fish!\r\n"
    assert caplog.messages == [f"127.0.0.1:40000: session fails: {told}"]


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
