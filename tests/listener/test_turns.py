"""What waits for the end of a turn of the loop or for its turn, and which way replies go then."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator

import pytest

from kumo.listener.flow_control import CHECK_INTERVAL
from kumo.listener.read_buffer import COMMAND_OCTETS
from tests.listener.bench import LIMIT, Bench, Transport
from tests.listener.fakes import House

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


def check_that_it_ends_alone(
    bench: Bench, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Have a method of the bench's transport fail in a turn that it shares with another connection."""

    def fail(*_: object) -> None:
        raise RuntimeError("the handler is closed")

    other = Transport()
    monkeypatch.setattr(bench.transport, method, fail)
    bench.read(b"NOOP\r\n")
    bench.neighbour.connection_made(other)  # type: ignore[arg-type]
    bench.clock.end_turn()
    assert bench.transport.ending == "aborted"
    assert other.taken().startswith("220 ")
    assert caplog.messages == ["127.0.0.1:40000: session fails: the handler is closed"]


async def test_connection_that_cannot_be_written_to_harms_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_that_it_ends_alone(bench, "write", monkeypatch, caplog)


# --- what is read waits for its turn ------------------------------------------------------------------


async def test_who_stands_earlier_in_a_session_goes_on_first(bench: Bench) -> None:
    other = Transport()
    bench.neighbour.connection_made(other)  # type: ignore[arg-type]
    bench.clock.end_turn()
    other.taken()
    before = len(bench.house.policy.names())
    bench.read(b"MAIL FROM:<a@b.example>\r\nNOOP\r\n")
    bench.read_as(bench.neighbour, b"HELO c.example\r\n")
    bench.clock.end_turn()
    assert bench.house.policy.names()[before:] == ["ehlo", "mail_from"]
    assert bench.transport.taken() == "250 OK <a@b.example>\r\n250 the goggles do nothing\r\n"
    assert other.taken() == "250 Hello c.example!\r\n"


async def test_content_is_not_taken_for_a_command(bench: Bench) -> None:
    received = bench.house.receiver.received
    before: list[int] = []
    bench.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    bench.neighbour.connection_made(Transport())  # type: ignore[arg-type]
    bench.clock.end_turn()
    bench.house.policy.answers["mail_from"] = lambda *_: before.append(len(received))
    bench.read(b"Mailer: x\r\n.\r\n")
    bench.read_as(bench.neighbour, b"MAIL FROM:<>\r\n")
    assert bench.taken().startswith("250 ")
    assert (before, len(received)) == ([0], 1)


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


# --- past the transport ------------------------------------------------------------------------------


class Line:
    """A socket to send to past the transport, and the client's end of it."""

    def __init__(self, bench: Bench) -> None:
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.client.setblocking(False)
        bench.protocol.descriptor = self.server.fileno()

    def received(self) -> str:
        """What came since the last call."""
        try:
            return self.client.recv(65536).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def line(bench: Bench) -> Iterator[Line]:
    line = Line(bench)
    yield line
    line.close()


async def test_a_connection_knows_its_own_socket_until_it_has_tls(house: House) -> None:
    server = await house.start()
    one, other = await house.greeted(server), await house.greeted(server)
    assert server._context is not None
    ports = {}
    for session in server._context.sessions:
        assert session._transport is not None
        assert session._transport.get_extra_info("socket").fileno() == session.descriptor
        with socket.socket(fileno=os.dup(session.descriptor)) as own:
            ports[own.getpeername()[1]] = session
    assert set(ports) == {one.port, other.port}
    await one.start_tls()
    assert ports[one.port].descriptor < 0 <= ports[other.port].descriptor


async def test_replies_go_to_the_socket(bench: Bench, line: Line) -> None:
    assert bench.say(b"NOOP\r\n") == ""
    assert line.received() == "250 the goggles do nothing\r\n"


async def test_a_session_that_ends_is_closed_behind_its_last_reply(bench: Bench, line: Line) -> None:
    assert bench.say(b"QUIT\r\n") == ""
    assert line.received() == "221 So long, and thanks for all the fish!\r\n"
    assert bench.transport.ending == "closed"


async def test_what_the_transport_holds_goes_first(bench: Bench, line: Line) -> None:
    line.server.shutdown(socket.SHUT_WR)
    assert bench.say(b"NOOP\r\n") == "250 the goggles do nothing\r\n"
    bench.transport.unsent = 28
    line.close()
    line = Line(bench)
    assert bench.say(b"RSET\r\n") == "250 Reset state\r\n"
    assert line.received() == ""
    bench.transport.unsent = 0
    assert bench.say(b"RSET\r\n") == ""
    assert line.received() == "250 Reset state\r\n"
    line.close()


async def test_nothing_goes_to_a_descriptor_that_the_loop_may_have_closed(bench: Bench, line: Line) -> None:
    """It may be another connection's by now."""
    bench.transport.has_broken_down = True
    assert bench.say(b"NOOP\r\n") == "250 the goggles do nothing\r\n"
    assert line.received() == ""


async def test_a_connection_that_cannot_be_asked_harms_no_other(
    bench: Bench, line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_that_it_ends_alone(bench, "is_closing", monkeypatch, caplog)
    assert line.received() == ""


async def test_nothing_is_sent_once_the_connection_is_lost(bench: Bench, line: Line) -> None:
    bench.read(b"NOOP\r\n")
    bench.protocol.connection_lost(None)
    assert bench.taken() == ""
    assert line.received() == ""


async def test_from_starttls_on_everything_passes_through_the_transport(
    bench: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr("kumo.tls.TlsContexts.server_context", lambda *_: context)
    bench.say(b"EHLO client.example\r\n")
    assert line.received().startswith("250-")
    assert bench.say(b"STARTTLS\r\n") == "220 Ready to Start TLS\r\n"
    assert line.received() == ""
    assert bench.protocol.descriptor < 0
