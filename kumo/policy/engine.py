"""The policy engine: one script, one Lua state at a time, and the events' handlers in it.

The state is replaced by a fresh one, in which the script is evaluated anew, when the configuration
changed or when a handler used up the state's memory; handlers in flight finish in the old one. Used by
``kumo.server``, which hands its event adapters to the other rooms.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from weakref import WeakValueDictionary

from kumo.config import KeySource
from kumo.errors import KeySourceError, KumoError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import SpoolIdSource
from kumo.policy.api import ALL_FUNCTIONS
from kumo.policy.bindings import ContentLoader
from kumo.policy.domain_files import DomainFiles
from kumo.policy.events import KNOWN_EVENTS, nearest_event, unfired_event_warning, unknown_event_warning
from kumo.policy.findings import Findings, Severity
from kumo.policy.handler import Handler
from kumo.policy.lua_state import LuaState, Surroundings
from kumo.policy.memo_caches import MemoCaches
from kumo.policy.named_events import events_named_by
from kumo.policy.octets import octets_of, text_of
from kumo.policy.registry import Declarations, HostFunction
from kumo.policy.watchdog import Backoff, Limits

_log = logging.getLogger("kumod.policy")

_STARTUP_EVENTS = ("pre_init", "init")
"""In the order in which they are fired."""
_TYPO = 0.85
"""Similarity from which on a name is taken for a slip: `smtp_server_mail_form`, but not `get_egress_key`."""
_VALIDATION_EVENTS = (*_STARTUP_EVENTS, "validate_config")
"""Likewise, under ``--validate``."""


class PolicyEngine:
    """Loads a policy and runs its handlers, all on the thread that made it.

    Args:
        limits: time and memory that Lua may use.
        spool_ids: ids of messages that policy makes.
        load_content: makes a stored message's content resident; None: every content is.
        load_key: gets the octets of a key; None: there are no keys.
        observer_of: gives what is told the seconds of each run of an event's handler, from its start to its
            end, for the event's name; asked once for each handler.
        functions: what policy finds below ``kumo``.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        spool_ids: SpoolIdSource | None = None,
        load_content: ContentLoader | None = None,
        load_key: Callable[[KeySource], Awaitable[bytes]] | None = None,
        observer_of: Callable[[str], Callable[[float], None]] | None = None,
        functions: Iterable[HostFunction] = ALL_FUNCTIONS,
    ) -> None:
        self.declarations = Declarations()
        """What the policy asked for; complete once ``start`` has returned."""
        self.handlers: dict[str, Handler] = {}
        """Handlers by event name. It is the same dict for ever; what is in it a reload replaces, so look a
        handler up for each event."""
        self.findings: Findings | None = None
        """What validating has found; None while the policy serves."""
        self.domain_files: MutableMapping[str, DomainFiles] = WeakValueDictionary()
        """Files that some Lua state has open, by what was asked for."""
        self._load_key = load_key
        self._memo_caches = MemoCaches()
        self._surroundings = Surroundings(
            engine=self,
            functions=tuple(functions),
            limits=limits or Limits(),
            memo_caches=self._memo_caches,
            spool_ids=spool_ids or SpoolIdSource(),
            load_content=load_content,
            observer_of=observer_of,
            on_memory_overrun=self._replace_overrun_state,
        )
        self._path: str | None = None
        self._state: LuaState | None = None
        self._retired: list[LuaState] = []
        self._is_reload_due = False
        self._is_loading = False
        self._replacement: asyncio.Handle | None = None
        self._backoff = Backoff()
        self._warned: set[str] = set()

    @property
    def config_epoch(self) -> int:
        """Counts how often the configuration has changed."""
        return self._memo_caches.epoch

    # --- start ----------------------------------------------------------------------------------

    def load(self, path: str, *, validating: bool = False) -> None:
        """Evaluate the script.

        Args:
            path: of the script; error texts name it as it is given here.
            validating: sets ``_VALIDATING_CONFIG`` for it, and collects problems as ``findings`` instead of
                raising them.

        Raises:
            ConfigError: a constructor was called with a bad parameter.
            PolicyError: the script cannot be read, has a syntax error, or failed.
        """
        self._path = path
        self.findings = Findings(path) if validating else None
        self._enter(self._evaluate(self.declarations))

    async def start(self) -> None:
        """Fire ``pre_init``, then ``init``, and warn of handlers that nothing will call.

        Raises:
            ConfigError: a constructor was called with a bad parameter.
            PolicyError: a handler failed.
        """
        for event in _STARTUP_EVENTS:
            result = self.call(event)
            if is_awaitable(result):
                await result
        self._warn_of_handlers()

    async def validate(self) -> Findings:
        """Fire ``pre_init``, ``init`` and ``validate_config``; when a handler fails the next one runs.

        The policy must have been loaded for validation.

        Returns:
            What was found, also by ``load``.
        """
        state, findings = self._state, self.findings
        if state is None or findings is None:
            raise RuntimeError("no policy was loaded for validation")
        for event in _VALIDATION_EVENTS:
            for handler in _single_handlers(state, event):
                try:
                    result = handler.run(None, None)
                    if is_awaitable(result):
                        await result
                except KumoError as error:
                    findings.add_end(error)
        self._note_handlers(findings)
        return findings

    def call(self, event: str, *arguments: Any) -> MaybeAwaitable[Any]:
        """Fire an event that takes no objects.

        Args:
            event: its name.
            arguments: JSON-able values; text as Unicode.

        Returns:
            As ``Handler.run``; None when there is no handler.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self.handlers.get(event)
        if handler is None:
            return None
        return handler.run(None, None, *map(handler.state.to_lua, arguments))

    def handler_as(self, event: str, shape: str) -> Handler | None:
        """The handler of an event whose name the policy chose.

        Args:
            event: its name.
            shape: a known event whose handlers get the same arguments.
        """
        key = f"{shape} {event}"
        handler = self.handlers.get(key)
        if handler is None and self._state is not None and event in self.handlers:
            entry = self._state.bridge.entry_for(octets_of(event), shape)
            handler = Handler(self._state, event, entry)
            self.handlers[key] = handler
        return handler

    # --- replacing the state --------------------------------------------------------------------

    def bump_config_epoch(self) -> None:
        """Have the script evaluated anew, soon; within a running loop after what runs now."""
        if self._is_loading or self._is_reload_due or self._path is None or self.findings is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.reload()
        else:
            self._is_reload_due = True
            loop.call_soon(self.reload)

    def reload(self) -> bool:
        """Evaluate the script in a fresh state and use that from now on.

        ``pre_init`` and ``init`` are not fired again, and what the script declares this time is not
        looked at. Nothing else happens meanwhile, so the script gets less time than at the start.

        Returns:
            Whether it worked; if not, the old state stays and the log says why.
        """
        # What depends on the configuration is made anew, also by this evaluation.
        self._memo_caches.epoch += 1
        return self._replace_state()

    def _replace_state(self) -> bool:
        self._is_reload_due = False
        if self._replacement is not None:
            self._replacement.cancel()
            self._replacement = None
        try:
            # What `init` said once, for functions that read it back.
            said = self.declarations
            state = self._evaluate(
                Declarations(config_monitor_globs=said.config_monitor_globs, knobs=dict(said.knobs)),
                is_reload=True,
            )
        except KumoError as error:
            _log.error("the policy was not reloaded, the one in use stays: %s", error)
            return False
        self._enter(state)
        _log.info("the policy was reloaded")
        return True

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning unless one with the same key was logged before."""
        if key not in self._warned:
            self._warned.add(key)
            if self.findings is not None:
                self.findings.add(text, severity=Severity.WARNING)
                return
            _log.warning("%s", text)

    def load_key(self, source: KeySource) -> Awaitable[bytes]:
        """Get the octets of a key.

        Raises:
            KeySourceError: it cannot be had.
        """
        if self._load_key is None:
            raise KeySourceError("there are no keys here")
        return self._load_key(source)

    def _evaluate(self, declarations: Declarations, *, is_reload: bool = False) -> LuaState:
        if self._path is None:
            raise RuntimeError("no policy was loaded")
        state = LuaState(
            self._surroundings, declarations, validating=self.findings is not None, is_reload=is_reload
        )
        self._is_loading = True
        try:
            state.load_script(self._path)
        except KumoError as error:
            if self.findings is None:
                state.close()
                raise
            # What the script registered before it failed is looked at all the same.
            self.findings.add_end(error)
        finally:
            self._is_loading = False
        return state

    def _enter(self, state: LuaState) -> None:
        if self._state is not None:
            self._retired.append(self._state)
        self._state = state
        handlers = {
            text_of(name): Handler(
                state, text_of(name), state.bridge.entry_for(name), is_startup=name in _STARTUP_EVENTS
            )
            for name in state.event_names()
        }
        self.handlers.clear()
        self.handlers.update(handlers)
        self._close_retired()

    def _close_retired(self) -> None:
        """Free replaced states once nothing runs in them any more."""
        busy = [state for state in self._retired if state.active]
        for state in self._retired:
            if not state.active:
                state.close()
        self._retired = busy
        if busy:
            try:
                asyncio.get_running_loop().call_later(1.0, self._close_retired)
            except RuntimeError:
                return

    def _replace_overrun_state(self, state: LuaState, event: str) -> None:
        """Have the state in use replaced, ever later if that happens again and again while the loop runs."""
        if state is not self._state or self._is_reload_due or self._replacement is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            _log.error("%s used up the memory of the Lua state; it is replaced", event)
            self._replace_state()
            return
        seconds = self._backoff.seconds_to_wait(loop.time())
        if seconds > 0:
            _log.error(
                "%s used up the memory of the Lua state, again; it is replaced in %.0f s", event, seconds
            )
            self._replacement = loop.call_later(seconds, self._replace_state)
        else:
            _log.error("%s used up the memory of the Lua state; it is replaced", event)
            self._replacement = loop.call_soon(self._replace_state)

    # --- warnings -------------------------------------------------------------------------------

    def _warn_of_handlers(self) -> None:
        for event in self._handlers_of_no_purpose():
            warning = unknown_event_warning(event) or unfired_event_warning(event)
            if warning:
                self.warn_once(f"event {event}", warning)

    def _note_handlers(self, findings: Findings) -> None:
        """As ``_warn_of_handlers``; a name that is an event's but for a slip is an error here.

        One that is merely like an event's may be the policy's own, for a call that nobody declares.
        """
        for event in self._handlers_of_no_purpose():
            warning = unknown_event_warning(event) or unfired_event_warning(event)
            if not warning:
                continue
            text, _, hint = warning.partition("; ")
            is_typo = event not in KNOWN_EVENTS and nearest_event(event, _TYPO) is not None
            findings.add(
                text,
                severity=Severity.ERROR if is_typo else Severity.WARNING,
                place=self.handlers[event].place(),
                constructor="kumo.on",
                key=event,
                hint=hint or None,
            )

    def _handlers_of_no_purpose(self) -> list[str]:
        """Events with handlers that no declaration names."""
        named = events_named_by(self.declarations)
        return [event for event in self.handlers if event not in named]


def _single_handlers(state: LuaState, event: str) -> list[Handler]:
    """The handlers of an event, each by itself."""
    return [
        Handler(state, event, state.bridge.entry_for(event, None, index), is_startup=True)
        for index in range(1, len(state.event_registrars(event)) + 1)
    ]
