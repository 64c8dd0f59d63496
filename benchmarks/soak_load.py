"""What the soak's clients do: mail of all sizes, and everything that ends badly.

Each behaviour gets a connection that is open, leaves or breaks it, and raises when the daemon does
something else than it must. ``run_load`` keeps many clients at it until the time is over.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

from benchmarks.soak_client import Client, Ledger, UnexpectedReplyError, content_of, stuffed

SEED = 20261129

MAX_SIZE = 3_000_000
"""``max_message_size`` of ``soak.lua``."""

LARGE = (b"z" * 70 + b"\r\n") * (MAX_SIZE // 72 + 1)
"""A body over the limit."""

LONGEST_SESSION = 150.0
"""Seconds after which a session counts as hung."""

MOST_QUEUED = 500
"""Copies on their way at which clients wait instead of sending. Maildirs with their syncs are slower than the
listener; without this the queue grows by 150 messages a second, which is no leak but looks like one.
"""

_PAUSE = 2.0
"""Seconds at most between two sessions of a client."""

_SIZES = ((40, 1, 4096), (8, 4096, 120_000), (2, 120_000, 1_000_000), (1, 1_000_000, 2_000_000))
"""Weight, least and most octets."""


def some_size(rng: random.Random) -> int:
    """Octets of a message: most are small."""
    _, least, most = rng.choices(_SIZES, [weight for weight, _, _ in _SIZES])[0]
    return rng.randint(least, most)


def some_recipients(rng: random.Random) -> tuple[str, ...]:
    """One or two."""
    return tuple(rng.sample(["a", "b", "c", "d", "e", "f", "slow"], rng.choice([1, 1, 1, 2])))


async def deliver(client: Client) -> None:
    """Some messages over one connection, a command at a time."""
    await client.greet()
    for _ in range(client.rng.randint(1, 5)):
        await _transaction(client)
    await client.quit()


async def _transaction(client: Client) -> None:
    number, recipients = client.ledger.next_number(), some_recipients(client.rng)
    await client.begin(recipients)
    await client.send(stuffed(content_of(number, some_size(client.rng))))
    await client.acknowledge(number, recipients)


def _pipelined(number: int, recipients: tuple[str, ...], size: int) -> bytes:
    commands = [b"MAIL FROM:<sender@example.com>"]
    commands += [b"RCPT TO:<%s@soak.example>" % recipient.encode() for recipient in recipients]
    return b"\r\n".join([*commands, b"DATA", stuffed(content_of(number, size))])


async def _pipelined_replies(client: Client, number: int, recipients: tuple[str, ...]) -> None:
    for _ in range(1 + len(recipients)):
        await client.reply(250)
    await client.reply(354)
    await client.acknowledge(number, recipients)


async def pipeline(client: Client) -> None:
    """Several whole transactions in one write."""
    await client.greet()
    batch = [
        (client.ledger.next_number(), some_recipients(client.rng)) for _ in range(client.rng.randint(1, 6))
    ]
    await client.send(b"".join(_pipelined(*one, client.rng.randint(1, 8192)) for one in batch))
    for number, recipients in batch:
        await _pipelined_replies(client, number, recipients)
    await client.quit()


async def empty(client: Client) -> None:
    """A content of no octets at all."""
    await client.greet()
    await client.begin(("empty",))
    await client.send(b".\r\n")
    await client.acknowledge(-client.ledger.next_number(), ("empty",))
    await client.quit()


async def slow(client: Client) -> None:
    """A sender that takes its time, in pieces that cut lines and end of data anywhere."""
    await client.greet()
    number, recipients = client.ledger.next_number(), some_recipients(client.rng)
    await client.begin(recipients)
    octets = stuffed(content_of(number, client.rng.randint(1, 100_000)))
    pieces = sorted(client.rng.sample(range(1, len(octets)), 6))
    for start, end in zip([0, *pieces], [*pieces, len(octets)], strict=True):
        await client.send(octets[start:end])
        await asyncio.sleep(client.rng.uniform(0.1, 1.5))
    await client.acknowledge(number, recipients)
    await client.quit()


async def reset(client: Client) -> None:
    """A peer that vanishes with RST at some stage."""
    stage = client.rng.randrange(8)
    number = client.ledger.next_number()
    octets = stuffed(content_of(number, client.rng.randint(1, 500_000)))
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: client.reply(220),
        lambda: client.ask(b"EHLO client.example.com", 250),
        lambda: client.ask(b"MAIL FROM:<sender@example.com>", 250),
        lambda: client.ask(b"RCPT TO:<a@soak.example>", 250),
        lambda: client.ask(b"DATA", 354),
        lambda: client.send(octets[: len(octets) // 2]),
        # Its 250 is never read: the message may be there or not, but not twice.
        lambda: client.send(octets[len(octets) // 2 :]),
    ]
    for step in steps[:stage]:
        await step()
    client.reset()


async def half_close(client: Client) -> None:
    """Everything in one write, then FIN; the replies are read all the same."""
    number, recipients = client.ledger.next_number(), some_recipients(client.rng)
    await client.reply(220)
    octets = b"EHLO client.example.com\r\n" + _pipelined(number, recipients, client.rng.randint(1, 50_000))
    await client.send(octets)
    client.writer.write_eof()
    await client.reply(250)
    await _pipelined_replies(client, number, recipients)
    await client.read_to_end()


async def oversize(client: Client) -> None:
    """More than the listener takes, told before or not; the session goes on."""
    await client.greet()
    if client.rng.random() < 0.5:
        await client.ask(b"MAIL FROM:<sender@example.com> SIZE=%d" % (MAX_SIZE + 1), 552)
    await client.begin(("a",))
    await client.send(b"Subject: large\r\n\r\n" + LARGE + b".\r\n")
    await client.reply(552)
    await _transaction(client)
    await client.quit()


async def bare_line_end(client: Client) -> None:
    """Bare LF or CR, refused; then a good message."""
    await client.greet()
    await client.begin(("a",))
    bad = client.rng.choice([b"a bare\nline feed\r\n", b"a bare\rreturn\r\n", b"\n.\n\r\n", b"x\r.\r\n"])
    await client.send(b"Subject: bad\r\n\r\n" + bad + b".\r\n")
    await client.reply(552)
    await _transaction(client)
    await client.quit()


async def long_line(client: Client) -> None:
    """Lines beyond the limit, in a message and as a command; the session goes on."""
    await client.greet()
    await client.begin(("a",))
    await client.send(b"Subject: long\r\n\r\n" + b"x" * client.rng.randint(999, 100_000) + b"\r\n.\r\n")
    await client.reply(500)
    await client.ask(b"NOOP " + b"y" * client.rng.randint(2000, 100_000), 500)
    await _transaction(client)
    await client.quit()


async def nonsense(client: Client) -> None:
    """What is not SMTP."""
    await client.reply(220)
    for _ in range(client.rng.randint(1, 20)):
        line = bytes(
            octet for octet in client.rng.randbytes(client.rng.randint(1, 200)) if octet not in b"\r\n"
        )
        await client.ask(b"X" + line, 500, 501, 502, 503)
    await client.quit()


async def refused(client: Client) -> None:
    """What policy refuses, and what it fails at."""
    await client.greet()
    await client.ask(b"MAIL FROM:<sender@blocked.example>", 550)
    await client.ask(b"MAIL FROM:<sender@example.com>", 250)
    await client.ask(b"RCPT TO:<nobody@soak.example>", 550)
    await client.ask(b"DATA", 503)
    if client.rng.random() < 0.3:
        await client.ask(b"RCPT TO:<fault@soak.example>", 421)
        await client.read_to_end()
        return
    await client.ask(b"RSET", 250)
    await _transaction(client)
    await client.quit()


async def tls(client: Client) -> None:
    """Mail inside TLS, with AUTH that succeeds or not."""
    await client.greet()
    await client.ask(b"AUTH PLAIN " + _plain("app", "sesame"), 524)
    await client.start_tls()
    if client.rng.random() < 0.5:
        await client.ask(b"AUTH PLAIN " + _plain("app", "guess"), 535)
        await client.ask(b"AUTH PLAIN " + _plain("app", "sesame"), 235)
    await _transaction(client)
    if client.rng.random() < 0.5:
        await client.quit()
    else:
        client.writer.transport.abort()


def _plain(name: str, password: str) -> bytes:
    return base64.b64encode(f"\0{name}\0{password}".encode())


async def tls_aborted(client: Client) -> None:
    """A handshake that is garbage, or ends in the middle."""
    await client.greet()
    await client.ask(b"STARTTLS", 220)
    octets = client.rng.choice(
        [b"EHLO in.the.clear\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""]
    )
    await client.send(octets + client.rng.randbytes(client.rng.randint(0, 50)))
    if client.rng.random() < 0.5:
        client.reset()
    elif client.rng.random() < 0.5:
        client.writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await client.read_to_end()


async def idle(client: Client) -> None:
    """A connection that waits; at times longer than the daemon does."""
    await client.greet()
    if client.rng.random() < 0.1:
        await client.reply(421)
        await client.read_to_end()
        return
    await asyncio.sleep(client.rng.uniform(1, 12))
    if client.rng.random() < 0.5:
        await client.quit()


BEHAVIOURS: dict[Callable[[Client], Awaitable[None]], int] = {
    deliver: 30,
    pipeline: 15,
    empty: 2,
    slow: 10,
    reset: 12,
    half_close: 4,
    oversize: 1,
    bare_line_end: 4,
    long_line: 3,
    nonsense: 3,
    refused: 5,
    tls: 5,
    tls_aborted: 4,
    idle: 20,
}
"""What clients do, and how often."""


async def _session(port: int, rng: random.Random, ledger: Ledger) -> None:
    behaviour = rng.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))[0]
    if ledger.backlog > MOST_QUEUED:
        behaviour = idle
    name = getattr(behaviour, "__name__", "?")
    ledger.sessions[name] += 1
    try:
        async with asyncio.timeout(LONGEST_SESSION), Client(port, rng, ledger) as client:
            await behaviour(client)
    except UnexpectedReplyError as error:
        ledger.surprises[f"{name}: {error}"] += 1
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        ledger.surprises[f"{name}: {type(error).__name__} {str(error)[:60]}"] += 1


async def run_load(port: int, connections: int, seconds: float, ledger: Ledger) -> None:
    """Keep clients busy, and return when the last has ended.

    Args:
        port: of the daemon.
        connections: clients at a time; each pauses a little between two of its sessions.
        seconds: after which none begins another session.
        ledger: is filled.
    """
    deadline = time.monotonic() + seconds

    async def work(number: int) -> None:
        rng = random.Random(SEED + number)  # noqa: S311 - the same load in every run
        # Not all at once: an accept queue is finite.
        await asyncio.sleep(rng.uniform(0, 5))
        while time.monotonic() < deadline:
            await _session(port, rng, ledger)
            await asyncio.sleep(rng.uniform(0, _PAUSE))

    async with asyncio.TaskGroup() as clients:
        for number in range(connections):
            clients.create_task(work(number))
