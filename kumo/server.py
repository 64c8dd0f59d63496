"""The daemon: policy loaded, rooms wired to each other, started in order, drained in reverse.

The composition root. It knows every room and holds no rule of its own; nobody imports it but the
command line. Nothing is bound, locked or written before the whole policy has been read.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack

from kumo.config import KeySource, load_templates
from kumo.egress import MaildirDeliverer
from kumo.errors import ConfigError, KumoError
from kumo.health import Admission, DiskMonitor
from kumo.http import HttpServer
from kumo.keys import KeySources
from kumo.listener import EsmtpServer, Partners, ReadBuffer, largest_read
from kumo.logs import AccountingLog, Logs, find_node_id, set_diagnostics_filter
from kumo.maybe_awaitable import is_awaitable
from kumo.message import Message, SpoolIdSource
from kumo.metrics import Metrics
from kumo.monitoring import memory_monitor, monitored_paths, watch_disk, watch_memory, watch_queues
from kumo.policy import (
    DEFAULT_GLOBS,
    Declarations,
    PolicyEngine,
    QueueEvents,
    ReceptionEvents,
    SessionEvents,
    StorageEvents,
    declaration_problems,
    fingerprint,
)
from kumo.queue import LoopClock, ScheduledQueues
from kumo.reception import Reception, RelayAuthority
from kumo.service import InheritedSockets, ServiceNotifier
from kumo.spool import AdoptingSpool, Spool, open_shard, open_single
from kumo.tls import TlsContexts
from kumo.workers import HandedSockets, ParentLink, Share

_log = logging.getLogger("kumod")

_PATIENCE = 10.0
"""Seconds that sessions have to end by themselves when the daemon is asked to stop."""

_REPORT_INTERVAL = 15.0
"""Seconds between two lines about what a shutdown still waits for."""

_CONFIG_INTERVAL = 10.0
"""Seconds between two looks at the watched files."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_NAMES_TEMPLATES = "get_queue_config"
"""The event whose handlers make the templates that are not there at the start."""


class Server:
    """One daemon, or one worker of it, from its policy to its clean end.

    Args:
        policy: path of the Lua policy.
        inherited: listening sockets that the service manager opened, or the parent of a worker.
        notifier: tells the service manager, or the parent, how it goes.
        share: which part of the daemon this process is.
        check: judges the declarations before anything is started.
    """

    def __init__(
        self,
        policy: str,
        *,
        inherited: InheritedSockets | HandedSockets | None = None,
        notifier: ServiceNotifier | ParentLink | None = None,
        share: Share | None = None,
        check: Callable[[Declarations], None] | None = None,
    ) -> None:
        self._policy = policy
        self._inherited = inherited or InheritedSockets()
        self._notifier = notifier or ServiceNotifier()
        self._share = share or Share()
        self._check = check
        self.metrics = Metrics()
        """What this process counts."""
        self._ids = SpoolIdSource(clock_sequence=self._share.clock_sequence)
        self._engine = PolicyEngine(
            spool_ids=self._ids,
            load_content=self._load_content,
            load_key=self._load_key,
            observer_of=lambda event: self.metrics.lua_event_latency[event].observe,
        )
        self._keys = KeySources(self._engine.call)
        self._storage_events = StorageEvents(self._engine)
        self._spool: Spool | AdoptingSpool | None = None
        self._admission: Admission | None = None
        self._listeners: list[EsmtpServer] = []
        self._reception: Reception | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Serve until a signal asks for the end.

        Returns:
            0 after a clean stop.

        Raises:
            KumoError: the policy, the spool, the logs or a port cannot be used.
        """
        with contextlib.closing(self._notifier):
            return await self._run()

    async def _run(self) -> int:
        self._notifier.starting(f"reading {self._policy}")
        declarations = await read_policy(self._engine, self._policy)
        if self._check is not None:
            self._check(declarations)
        # Outermost: a second signal must not kill a daemon that is saving what only its memory has.
        with signals_call(self._on_signal):
            async with AsyncExitStack() as stack:
                await self._serve(self._share.of(declarations), stack)
        _log.info("stopped")
        return 0

    # --- start ----------------------------------------------------------------------------------

    async def _serve(self, declarations: Declarations, stack: AsyncExitStack) -> None:
        """Start everything in order, wait, drain. What fails half-way is undone by the stack."""
        stack.push_async_callback(self._keys.close)
        memory = memory_monitor(declarations.knobs, self._share.count)
        disk = DiskMonitor(monitored_paths(declarations))
        admission = self._admission = Admission(disk, memory)
        spool = await self._open_spool(declarations, disk)
        stack.push_async_callback(spool.close)
        admission.spool_fault = lambda: spool.unhealthy_reason
        logs, accounting_log = self._start_logs(declarations, stack)
        await disk.start()
        stack.push_async_callback(disk.stop)
        await memory.start()
        stack.push_async_callback(memory.stop)
        deliverer = MaildirDeliverer(os.uname().nodename)
        stack.callback(deliverer.close)
        clock = LoopClock(asyncio.get_running_loop())
        queues = ScheduledQueues(QueueEvents(self._engine), spool, logs, deliverer, self.metrics, clock)
        watch_queues(self.metrics, queues)
        watch_disk(self.metrics, disk)
        watch_memory(self.metrics, memory)
        stack.push_async_callback(queues.shutdown)
        await self._start_http(declarations, admission, stack)
        await self._start_listeners(declarations, admission, logs, accounting_log, spool, queues, stack)
        self._inherited.close()
        admission.is_spool_ready = True
        await queues.start()
        async with _background(
            self._enumerate(spool, queues), self._watch_configuration(declarations, queues)
        ):
            # What was imported and made until now stays: to look through it for garbage takes 7 ms each time.
            gc.freeze()
            _log.info("initialization complete" if self._share.is_whole else "serving")
            self._notifier.ready(self._status)
            await self._stopping.wait()
            self._notifier.stopping("shutting down")
            admission.is_shutting_down = True
            # A session that waits for a full log disk would keep the daemon up; its message is stored.
            logs.release_waiters()
            await self._drain_listeners()

    async def _open_spool(self, declarations: Declarations, disk: DiskMonitor) -> Spool | AdoptingSpool:
        self._notifier.starting("opening the spool")
        by_name = {spool.name: spool for spool in declarations.spools}
        data, meta, share = by_name["data"], by_name["meta"], self._share
        if share.is_whole:
            self._spool = await open_single(data, meta, disk.mark_full)
        else:
            self._spool = await open_shard(data, meta, share.number, share.count, disk.mark_full)
        return self._spool

    def _start_logs(self, declarations: Declarations, stack: AsyncExitStack) -> tuple[Logs, AccountingLog]:
        # They make their folders, which must be there when the disks are first looked at.
        environment = os.environ
        node_id = find_node_id(environment.get("KUMO_NODE_ID"), environment.get("KUMO_NODE_ID_PATH"))
        logs = Logs(declarations.local_logs, node_id, self._storage_events.should_log)
        logs.start()
        stack.push_async_callback(logs.close)
        accounting_log = AccountingLog(declarations.acct_log)
        accounting_log.start()
        stack.push_async_callback(accounting_log.close)
        return logs, accounting_log

    async def _start_http(
        self, declarations: Declarations, admission: Admission, stack: AsyncExitStack
    ) -> None:
        for config in declarations.http_listeners:
            http = HttpServer(config, admission.liveness, self.metrics, claim=self._inherited.claim)
            await http.start()
            stack.push_async_callback(http.stop)

    async def _start_listeners(
        self,
        declarations: Declarations,
        admission: Admission,
        logs: Logs,
        accounting_log: AccountingLog,
        spool: Spool | AdoptingSpool,
        queues: ScheduledQueues,
        stack: AsyncExitStack,
    ) -> None:
        tls = TlsContexts(self._keys.load)
        stack.push_async_callback(tls.close)
        session_events = SessionEvents(self._engine)
        relay_authority = RelayAuthority(session_events)
        self._reception = Reception(
            ReceptionEvents(self._engine), relay_authority, spool, queues, logs, self._ids.new_id
        )
        partners = Partners(
            policy=session_events,
            receiver=self._reception,
            relay_authority=relay_authority,
            admission=admission,
            rejection_log=logs,
            accounting_log=accounting_log,
            metrics=self.metrics,
            tls=tls,
            read_buffer=ReadBuffer(max(map(largest_read, declarations.listeners), default=1)),
            counts_processors=not self._share.is_whole,
        )
        for config in declarations.listeners:
            listener = EsmtpServer(config, partners, claim=self._inherited.claim)
            self._listeners.append(listener)
            # Whatever fails from here on, nobody is let in any more.
            stack.callback(listener.close)
            await listener.start()

    # --- while it runs --------------------------------------------------------------------------

    async def _enumerate(self, spool: Spool | AdoptingSpool, queues: ScheduledQueues) -> None:
        """Bring every message that an earlier run left back into its queue."""
        count = 0
        async for message in spool.entries():
            before = message.envelope()
            try:
                answer = self._storage_events.on_spool_message_enumerated(message)
                if is_awaitable(answer):
                    await answer
            except KumoError as error:
                # Its 250 was sent long ago: a policy's mistake must not keep it from its queue.
                _log.error("message %s is queued as it is: %s", message.id, error)
            except Exception:  # noqa: BLE001 - one message must not keep the others from their queues
                _log.exception("message %s is queued as it is", message.id)
            if message.envelope() != before:
                message.has_changed = True
            await queues.recover(message)
            count += 1
        _log.info("spool enumeration complete: %d messages", count)

    async def _watch_configuration(self, declarations: Declarations, queues: ScheduledQueues) -> None:
        """Evaluate the policy anew when a watched file changed."""
        globs = declarations.config_monitor_globs
        globs = DEFAULT_GLOBS if globs is None else globs
        if not globs:
            return
        known = await asyncio.to_thread(fingerprint, globs)
        while True:
            await asyncio.sleep(_CONFIG_INTERVAL)
            current = await asyncio.to_thread(fingerprint, globs)
            if current != known:
                known = current
                if self._engine.reload():
                    queues.policy_changed()

    def _load_key(self, source: KeySource) -> Awaitable[bytes]:
        return self._keys.load(source)

    @property
    def session_count(self) -> int:
        """Sessions that are not over."""
        return sum(listener.session_count for listener in self._listeners)

    def fault(self) -> str | None:
        """What a health probe is to be told; None: all is well."""
        return None if self._admission is None else self._admission.liveness()

    def _status(self) -> str:
        return f"serving, {self.session_count} sessions"

    def _load_content(self, message: Message) -> Awaitable[None]:
        if self._spool is None:
            raise RuntimeError("no spool yet")
        return self._spool.load_content(message)

    # --- end ------------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        """The first signal asks for a graceful end; a second one for an end without further patience.

        A worker may hear each twice, by itself and from its parent, who alone knows which is the second.
        """
        if self._stopping.is_set() and self._share.is_whole:
            self.hurry()
        self.drain()

    def drain(self) -> None:
        """End gracefully. Idempotent."""
        self._stopping.set()

    def hurry(self) -> None:
        """Drop the connections still open and wait for policy no longer; what is being stored is kept."""
        if self._reception is not None:
            self._reception.hurry()
        for listener in self._listeners:
            listener.close()

    async def _drain_listeners(self) -> None:
        """Let sessions end by themselves for a while; a handler that sleeps must not keep the daemon up."""
        _log.info("shutting down")
        drains = asyncio.gather(*(listener.shut_down() for listener in self._listeners))
        _, pending = await asyncio.wait({drains}, timeout=_PATIENCE)
        if pending:
            self.hurry()
        while pending:
            sessions = self.session_count
            _log.info("still waiting for %d sessions", sessions)
            self._notifier.stopping(f"still waiting for {sessions} sessions")
            _, pending = await asyncio.wait({drains}, timeout=_REPORT_INTERVAL)
        await drains


async def read_policy(engine: PolicyEngine, policy: str) -> Declarations:
    """What a policy asks for; with its filter, diagnostics are shown from now on.

    Raises:
        KumoError: it cannot be served.
    """
    engine.load(policy)
    if _NAMES_TEMPLATES in engine.handlers:
        # Not with the first message: all sessions would wait, and there may be no descriptor left by then.
        load_templates()
    await engine.start()
    declarations = engine.declarations
    if text := declarations.knobs.get("set_diagnostic_log_filter"):
        set_diagnostics_filter(text)
    problems = declaration_problems(declarations)
    if problems:
        raise ConfigError("; ".join(problems))
    return declarations


@contextlib.contextmanager
def signals_call(callback: Callable[[], None]) -> Iterator[None]:
    """Have the signals that ask for an end call back on the loop; afterwards they change nothing."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            # The process is about to end; to be asked for it once more must not make that a failure.
            signal.signal(number, signal.SIG_IGN)


@contextlib.asynccontextmanager
async def _background(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let work run beside the body; it ends with the body, and its failure is logged."""
    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background task failed", exc_info=error)
