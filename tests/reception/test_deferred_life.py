"""A message taken with ``deferred_queue``, over real queues and a real spool, through crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from kumo.errors import Rejection
from kumo.message import DEFERRED_INJECTION_QUEUE, Connection, Message
from kumo.queue import ScheduledQueues
from kumo.reception import Reception, RelayAuthority
from kumo.smtp import DeclaredParameters, RecipientParameters
from kumo.spool import Spool
from tests.queue.fakes import World as QueueWorld
from tests.queue.fakes import held_config
from tests.spool.samples import UnsyncedFiles, configs

from .conftest import MakeReception, World, settle, transaction

DECLARED = {
    "mail_body": "8BITMIME",
    "dsn_ret": "FULL",
    "dsn_envid": "id",
    "dsn_rcpt": {"b@example.org": {"notify": "NEVER"}},
}


class Daemon:
    """Spool and queues of one run after another over the same folder; policy, log and time are fakes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.around = QueueWorld()
        self.around.policy.default = held_config()
        self.found: list[Message] = []

    async def start(self) -> None:
        self.spool = Spool.open(*configs(self._folder), files=UnsyncedFiles())
        around = self.around
        self.queues = ScheduledQueues(
            around.policy,
            self.spool,
            around.log,
            around.deliverer,
            around.metrics,
            around.clock,
            uniform=lambda: 0.5,
        )
        self.found = [message async for message in self.spool.entries()]
        for message in self.found:
            await self.queues.recover(message)
        await self.queues.start()

    async def crash(self) -> None:
        """End the run with nothing saved but what the spool has already."""
        await self.spool.close()
        await self.queues.shutdown(grace=0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for the spool's thread; no clock of a test tells when it is done."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - a thread and its callbacks set no event of ours
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path)
    await daemon.start()
    yield daemon
    await daemon.queues.shutdown(grace=0)
    await daemon.spool.close()


async def take_in(
    daemon: Daemon, world: World, make_reception: MakeReception, connection: Connection, **parameters: Any
) -> str:
    """A transaction up to its 250; gives the spool id."""
    make_reception(deferred_queue=True, **parameters)  # for the connection's listener
    ids = QueueWorld()
    reception = Reception(
        world, RelayAuthority(world), daemon.spool, daemon.queues, world, lambda: ids.message().id
    )
    content = transaction(
        declared=DeclaredParameters(body="8BITMIME", ret="FULL", envid="id"),
        recipients_declared=[RecipientParameters(notify="NEVER")],
    )
    reply = await settle(reception.receive(connection, content))
    assert reply.code == 250
    return str(reply.text.removeprefix("OK ids="))


async def test_a_crash_at_any_stage_leaves_one_state_of_the_message(
    daemon: Daemon, world: World, make_reception: MakeReception, connection: Connection
) -> None:
    policy, log = daemon.around.policy, daemon.around.log

    async def hang(message: Message, _: Connection) -> None:
        message.prepend(b"X-Half: 1\r\n")
        message.meta["half"] = True
        await asyncio.Event().wait()

    policy.injects = hang
    message_id = await take_in(daemon, world, make_reception, connection)
    await daemon.until(lambda: policy.injected)
    await daemon.crash()

    # Seen again after the crash, and unchanged by the handler that it cut short.
    def refuse(message: Message, _: Connection) -> None:
        message.prepend(b"X-Half: 1\r\n")
        raise Rejection(451, "later")

    policy.injects = refuse
    await daemon.start()
    await daemon.until(lambda: log.kinds == ["TransientFailure"])
    await daemon.crash()

    def accept(message: Message, connection: Connection) -> None:
        assert connection.peer_ip == ""  # this session's meta does not tell
        message.prepend(b"X-Whole: 1\r\n")
        message.meta["tenant"] = "t"

    policy.injects = accept
    await daemon.start()
    await daemon.until(lambda: daemon.queues.counts().get("t@example.org"))
    await daemon.crash()
    assert policy.injected == [message_id] * 3
    assert log.kinds == ["TransientFailure", "DeferredInjectionRebind"]

    # It is its own queue's now, and policy is not asked about it any more.
    await daemon.start()
    assert daemon.queues.counts() == {"t@example.org": 1}
    (message,) = daemon.found
    assert message.meta == {"reception_protocol": "ESMTP", "tenant": "t", **DECLARED}
    await daemon.spool.load_content(message)
    assert message.content.startswith(b"X-Whole: 1\r\nX-KumoRef: ")
    assert b"X-Half" not in message.content
    assert message.content.endswith(b"Subject: x\r\n\r\nhello\r\n")
    assert policy.injected == [message_id] * 3


async def test_with_deferred_spool_a_clean_shutdown_keeps_it(
    daemon: Daemon, world: World, make_reception: MakeReception, connection: Connection
) -> None:
    policy = daemon.around.policy
    policy.injects = lambda *_: asyncio.Event().wait()
    await take_in(daemon, world, make_reception, connection, deferred_spool=True)
    await daemon.until(lambda: policy.injected)
    await daemon.queues.shutdown(grace=0)
    await daemon.spool.close()
    policy.injects = lambda *_: None
    await daemon.start()
    (message,) = daemon.found
    assert message.meta["queue"] == DEFERRED_INJECTION_QUEUE
    await daemon.until(lambda: daemon.queues.counts().get("example.org"))


async def test_a_bounce_leaves_nothing_behind(
    daemon: Daemon, world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def refuse(*_: Any) -> None:
        raise Rejection(550, "5.7.1 no")

    daemon.around.policy.injects = refuse
    await take_in(daemon, world, make_reception, connection)
    await daemon.until(lambda: daemon.around.metrics.total_messages_fail)
    await daemon.until(lambda: daemon.queues.counts() == {DEFERRED_INJECTION_QUEUE: 0})
    await daemon.crash()
    await daemon.start()
    assert daemon.found == []
