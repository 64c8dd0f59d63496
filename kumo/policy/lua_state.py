"""One Lua state: its sandbox, what policy finds in it, and what host functions may ask of it.

This is the only file that makes a Lua runtime. The policy is trusted: ``os`` and ``io`` stay, only the
way back into Python is closed. How handlers run stands in ``handler``; the engine decides when a state
is replaced by a fresh one. What Lua holds of Python is invisible to Python's collector, so a state and
its runtime would keep each other alive: ``close`` cuts that.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import os
import re
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from lupa.lua54 import LuaError, LuaRuntime

from kumo.errors import ConfigError, DisconnectMode, KumoError, PolicyError, Rejection
from kumo.maybe_awaitable import is_awaitable
from kumo.message import Connection, Message, SpoolIdSource
from kumo.policy.api.memoize import memoize_functions
from kumo.policy.bindings import (
    ContentLoader,
    connection_functions,
    content_functions,
    make_message_function,
    message_functions,
)
from kumo.policy.call_error import CallError
from kumo.policy.events import MULTIPLE_EVENTS
from kumo.policy.handles import Handles
from kumo.policy.json_values import lua_to_json
from kumo.policy.kept_values import MAP, VIEW, KeptObject
from kumo.policy.lua_values import LuaValues
from kumo.policy.memo_caches import MemoCaches
from kumo.policy.names import MESSAGE_METHODS, OTHER_FUNCTIONS, known_functions
from kumo.policy.octets import SHORT_OCTETS, octets_of, text_of
from kumo.policy.registry import VERSION, Declarations, EngineSide, HostFunction, PolicyContext
from kumo.policy.watchdog import Limits, Watchdog

_PRELUDE = ("bridge", "module", "values", "objects", "memoize", "events")
_SHARE = Path(__file__).parent / "share"
"""Our own modules for ``require``; Lua reads them from the disk itself."""
_CHUNK_NAME = "=[kumo]"
"""How error texts call our own Lua lines; ``lua/bridge.lua`` leaves them out of what policy is told."""

_OUT_OF_MEMORY = "not enough memory"
_STARTS_WITH_LINE = re.compile(r"[^\n]*?:[0-9]+: ")
_HEADROOM = 64 * 1024 * 1024
"""Octets between our limit, which is looked at now and then, and the runtime's own, which must not be met
while Python hands something over; short values cannot use it up between two looks."""
_COLLECTION_PAUSE = 1.0
"""Seconds without a full collection in a state that stays too large; ``lua/bridge.lua`` has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a state needs from outside; the same for every state of an engine.

    Args:
        engine: for host functions.
        functions: what policy finds below ``kumo``.
        limits: time and memory.
        memo_caches: what ``kumo.memoize`` keeps.
        spool_ids: ids of messages that policy makes.
        load_content: makes a stored message's content resident; None: every content is.
        observer_of: gives what is told the seconds of each run of an event's handler, for the event's name.
        on_memory_overrun: told of the state whose memory is used up, and of the event that did it.
    """

    engine: EngineSide
    functions: Iterable[HostFunction]
    limits: Limits
    memo_caches: MemoCaches
    spool_ids: SpoolIdSource
    load_content: ContentLoader | None
    observer_of: Callable[[str], Callable[[float], None]] | None
    on_memory_overrun: Callable[[LuaState, str], None]


class _Bridge(NamedTuple):
    """Lua functions of the prelude that Python calls."""

    resume: Callable[..., Any]
    drop: Callable[..., Any]
    raise_again: Callable[..., Any]
    take: Callable[..., Any]
    load_script: Callable[..., Any]
    set_search_path: Callable[..., Any]
    install: Callable[..., Any]
    install_missing: Callable[..., Any]
    install_missing_method: Callable[..., Any]
    entry_for: Callable[..., tuple[Callable[..., Any], int, bool]]
    event_names: Callable[..., Any]
    registrars: Callable[..., Any]
    place_of_handler: Callable[..., Any]
    source: Callable[..., Any]
    frames: Callable[..., Any]
    new_object: Callable[..., Any]
    new_map: Callable[..., Any]
    object_number: Callable[..., Any]
    object_parts: Callable[..., Any]
    take_dead: Callable[..., Any]


class LuaState:
    """One Lua state with the policy in it.

    Args:
        surroundings: what it may use.
        declarations: where constructors put what they are told.
        validating: sets the global that policies ask.
        is_reload: the script is evaluated while mail comes in, and gets less time.
    """

    __slots__ = (
        "_abandoned",
        "_bridge",
        "_next_collection",
        "_objects",
        "_runtime",
        "_trace",
        "_values",
        "active",
        "connections",
        "context",
        "messages",
        "numbers",
        "surroundings",
        "untidied",
        "watchdog",
    )

    def __init__(
        self,
        surroundings: Surroundings,
        declarations: Declarations,
        *,
        validating: bool = False,
        is_reload: bool = False,
    ) -> None:
        self.surroundings = surroundings
        self.watchdog = Watchdog(surroundings.limits, is_reload=is_reload)
        self.messages: Handles[Message] = Handles("message")
        self.connections: Handles[Connection] = Handles("connection")
        self.numbers = count(1)
        self.active = 0
        """Handlers that have begun and not ended."""
        self.untidied = 0
        """Handlers that have ended since the last ``tidy``."""
        self._next_collection = 0.0
        self._abandoned: deque[Callable[[], None]] = deque()
        self.context = PolicyContext(declarations, self, surroundings.engine)
        self._objects: dict[int, object] = {}
        self._trace = ""
        self._runtime: Any = _new_runtime(surroundings.limits.memory)
        self._values: LuaValues | None = LuaValues(
            self._runtime.table_from, self._require_room, self._object_of_kept, self._map_of_kept
        )
        self._bridge: _Bridge | None = self._run_prelude()
        self._install(surroundings.functions)
        if validating:
            self._runtime.globals()["_VALIDATING_CONFIG"] = True
            # What the policy prints must be out before the report is printed, where it does not belong.
            self._runtime.execute("io.stdout:setvbuf('no')")

    @property
    def bridge(self) -> _Bridge:
        """The prelude's functions.

        Raises:
            RuntimeError: the state was closed.
        """
        if self._bridge is None:
            raise RuntimeError("this Lua state was closed")
        return self._bridge

    # --- making ---------------------------------------------------------------------------------

    def _run_prelude(self) -> _Bridge:
        runtime = self._runtime
        bridge = runtime.table_from({"kumo": runtime.table_from({})})
        host = runtime.table_from(self._host_functions())
        for name, text in _prelude():
            try:
                runtime.execute(text, host, bridge, name=_CHUNK_NAME)
            except LuaError as error:
                raise RuntimeError(f"prelude {name}: {error}") from error
        bridge.set_text(KumoError())
        return _Bridge(*(bridge[name] for name in _Bridge._fields))

    def _host_functions(self) -> Mapping[str, Any]:
        own = {
            "version": VERSION,
            "memory": self.surroundings.limits.memory,
            "overdue": self.watchdog.overdue,
            "is_verdict": lambda error: isinstance(error, Rejection),
            "note_trace": self._note_trace,
            "note_line": _note_line,
            "text_of_error": lambda error: octets_of(str(error)),
            "blocking": self._call_blocking,
            "view_mark": VIEW,
            "map_mark": MAP,
            "is_multiple": MULTIPLE_EVENTS.__contains__,
            "make_verdict": lambda code, text, mode: Rejection(code, text_of(text), DisconnectMode(mode)),
            "make_message": make_message_function(
                self.messages, self._new_owned_number, self.surroundings.spool_ids
            ),
        }
        return (
            own
            | connection_functions(self.connections, self.to_lua, self._require_room)
            | message_functions(self.messages, self.to_lua, self._require_room)
            | content_functions(
                self.messages, self.to_lua, self._require_room, self.surroundings.load_content
            )
            | memoize_functions(self.surroundings.memo_caches, self.source, self.to_lua, self._kept_object)
        )

    def _install(self, functions: Iterable[HostFunction]) -> None:
        bridge = self.bridge
        for function in functions:
            for name in (function.name, *function.aliases):
                bridge.install(name, function.bind(self.context, name), function.scalar_only)
        for name in known_functions():
            bridge.install_missing(name, f"kumo.{name} is not implemented in kumo {VERSION}")
        for module, name in OTHER_FUNCTIONS:
            bridge.install_missing(
                f"{module}:{name}", f"{module}.{name} is not implemented in kumo {VERSION}"
            )
        for name in MESSAGE_METHODS:
            bridge.install_missing_method(name, f"message:{name} is not implemented in kumo {VERSION}")

    # --- the script -----------------------------------------------------------------------------

    def load_script(self, path: str) -> None:
        """Evaluate the policy, by a plain call: ``kumo.on`` keeps functions of the main thread.

        Raises:
            ConfigError: a constructor was called with a bad parameter.
            PolicyError: any other failure.
        """
        self.bridge.set_search_path(_octets_of_path(str(Path(path).parent)), _octets_of_path(str(_SHARE)))
        self.watchdog.begin(None, True)
        try:
            outcome = self.bridge.load_script(_octets_of_path(path))
            if not self._has_room(0):
                outcome = (False, _OUT_OF_MEMORY)
        except LuaError as error:
            outcome = (False, error)
        if outcome is not True and not outcome[0]:
            raise self.failure(None, outcome[1])

    def event_names(self) -> list[str]:
        """Names that have handlers, sorted, as octets."""
        return sorted(self.bridge.event_names().values())

    # --- handlers -------------------------------------------------------------------------------

    def resume(self, number: int, event: str, reply: tuple[Any, ...]) -> Any:
        """Go on with a suspended handler; ``reply`` is True and results, or False and an exception."""
        try:
            reply = self._with_room(reply)
            return self.bridge.resume(number, event, *reply)
        except LuaError as error:
            return False, error

    def failure(self, event: str | None, problem: Any) -> KumoError:
        """The exception for what ended a handler.

        Args:
            event: None: the script itself.
            problem: an exception, or text with Lua's traceback.
        """
        trace, self._trace = text_of(self._trace), ""
        if isinstance(problem, BaseException):
            if isinstance(problem, Rejection):
                # A copy: Lua has the given one until it collects garbage, and on its way up an exception
                # gets hold of frames, which have the message.
                return Rejection(problem.code, problem.text, problem.mode)
            shown = _shown(problem, trace)
            with contextlib.suppress(Exception):
                # The binding remembers the exception that was raised last, frames and all, until it gets out.
                self.bridge.raise_again(problem)
            forget_frames(problem)
            if isinstance(problem, ConfigError) and self.watchdog.is_startup:
                return problem
            if not isinstance(problem, MemoryError):
                error = self._policy_error(event, shown)
                error.__cause__ = problem
                return error
            problem = _OUT_OF_MEMORY
        text = text_of(problem) if isinstance(problem, str) else f"an error object: {problem!r}"
        if text.partition("\n")[0].endswith(_OUT_OF_MEMORY):
            text = f"{text}: the Lua state may use {self.surroundings.limits.memory} octets"
            self.surroundings.on_memory_overrun(self, event or "policy")
        return self._policy_error(event, text)

    def _policy_error(self, event: str | None, text: str) -> PolicyError:
        # The line says it all about what is done once; an event's name tells when it was.
        if self.watchdog.is_startup and _STARTS_WITH_LINE.match(text):
            return PolicyError(text)
        return PolicyError(f"{event or 'policy'}: {text}")

    def _note_trace(self, trace: str) -> None:
        self._trace = trace

    def _call_blocking(self, function: Callable[..., Any], number: int) -> Any:
        """Call a host function from where Lua cannot yield; its arguments are fetched on the main thread."""
        taken = self.bridge.take(number)
        value = function(*(taken[1:] if type(taken) is tuple else ()))
        if is_awaitable(value):
            discard(value)
            raise CallError(
                f"{function.__name__} waits and cannot be called here"
                " (at the top level of the script, in require, or in a callback of gsub or sort)"
            )
        if type(value) is str:
            self._require_room(len(value))
        return value

    def _require_room(self, octets: int) -> None:
        """Make sure that Lua has room before Python hands over something long.

        The runtime's own limit must never be met there: where Lua cannot raise an error it ends the
        process, and out of a callback it leaves without giving Python's lock back.

        Raises:
            MemoryError: there is no room.
        """
        if octets >= SHORT_OCTETS and not self._has_room(octets):
            raise MemoryError(_OUT_OF_MEMORY)

    def _has_room(self, octets: int) -> bool:
        runtime, limit = self._runtime, self.surroundings.limits.memory
        if runtime.get_memory_used() + octets <= limit:
            return True
        if monotonic() < self._next_collection:
            return False
        runtime.gccollect()
        used = runtime.get_memory_used()
        if used > limit:
            # It may serve for a while until it is replaced, and would collect for nothing at every turn.
            self._next_collection = monotonic() + _COLLECTION_PAUSE
        return bool(used + octets <= limit)

    def _with_room(self, reply: tuple[Any, ...]) -> tuple[Any, ...]:
        try:
            for value in reply:
                if type(value) is str:
                    self._require_room(len(value))
        except MemoryError as error:
            return False, error
        return reply

    # --- LuaSide --------------------------------------------------------------------------------

    @property
    def current_event(self) -> str | None:
        """The event being dispatched; None while the script is evaluated."""
        return self.watchdog.current

    def source(self) -> str | None:
        """``script.lua:LINE`` of the policy line that called the host last."""
        place = self.bridge.source()
        return None if place is None else text_of(place)

    def to_lua(self, value: Any) -> Any:
        """A Lua value for a JSON-able one."""
        if self._values is None:
            raise RuntimeError("this Lua state was closed")
        return self._values.make(value)

    def new_object(self, kind: str, value: object, fields: Mapping[str, Any]) -> Any:
        """A Lua object that stands for ``value``."""
        number = self._new_owned_number()
        self._objects[number] = value
        return self.bridge.new_object(kind, number, self.to_lua(fields))

    def object_value(self, kind: str, candidate: Any) -> object | None:
        """The value behind an object of that kind; None for anything else."""
        return self._objects.get(self.bridge.object_number(kind, candidate))

    def _kept_object(self, candidate: Any) -> KeptObject | None:
        parts = self.bridge.object_parts(candidate)
        if parts is None:
            return None
        kind, number, fields = parts
        return KeptObject(kind, self._objects[number], lua_to_json(fields))

    def _object_of_kept(self, kept: KeptObject) -> Any:
        return self.new_object(kept.kind, kept.value, kept.fields)

    def _map_of_kept(self, entries: Any) -> Any:
        return self.bridge.new_map(entries)

    def traceback(self, level: int) -> list[dict[str, Any]]:
        """The policy's call stack; level 1 is the caller."""
        frames = self.bridge.frames(level)
        return [
            {key: text_of(value) if type(value) is str else value for key, value in frame.items()}
            for frame in frames.values()
        ]

    def event_registrars(self, name: str) -> list[list[str]]:
        """For each handler of an event the script lines that led to its registration."""
        registrars = self.bridge.registrars(octets_of(name))
        return [[text_of(line) for line in lines.values()] for lines in registrars.values()]

    # --- end ------------------------------------------------------------------------------------

    def _new_owned_number(self) -> int:
        number = next(self.numbers)
        self._objects[number] = None
        return number

    def tidy(self, event: str) -> None:
        """Let go of what Lua's collector has found unused, and look at the memory; called between handlers.

        A state that keeps more than it may is replaced before a handler fails for it.
        """
        self.untidied = 0
        while self._objects and (dead := self.bridge.take_dead()) is not None:
            for number in dead if type(dead) is tuple else (dead,):
                self._objects.pop(number, None)
                self.messages.pop(number, None)
        if not self._has_room(0):
            self.surroundings.on_memory_overrun(self, event)

    def abandon(self, give_up: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Have something that nobody awaits any more given up, in a turn of the loop of its own.

        Who lets go of it may be the garbage collector, which comes in the middle of anything, of a walk
        through a Lua table too, and in any thread: Lua must not be called then.

        Args:
            give_up: calls Lua.
            loop: where handlers run; closed, nobody will miss what is kept.
        """
        self._abandoned.append(give_up)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._give_up_abandoned)

    def _give_up_abandoned(self) -> None:
        while self._abandoned:
            self._abandoned.popleft()()

    def close(self) -> None:
        """Give the runtime up. No handler may be active."""
        self._bridge = None
        self._values = None
        self._runtime = None


def discard(awaitable: Awaitable[Any]) -> None:
    """End what nobody will await."""
    getattr(awaitable, "close", getattr(awaitable, "cancel", bool))()


@lru_cache(maxsize=1)
def _prelude() -> tuple[tuple[str, str], ...]:
    folder = importlib.resources.files("kumo.policy").joinpath("lua")
    return tuple((name, folder.joinpath(f"{name}.lua").read_text("ascii")) for name in _PRELUDE)


def _new_runtime(memory: int) -> Any:
    runtime = LuaRuntime(
        encoding="latin-1",
        unpack_returned_tuples=True,
        register_eval=False,
        register_builtins=False,
        attribute_filter=_refuse_private,
        max_memory=memory + _HEADROOM,
    )
    # Either of the two would bring the binding's own module back.
    runtime.execute("python = nil package.loaded.python = nil")
    return runtime


def _refuse_private(_object: object, name: Any, is_setting: bool) -> Any:
    if is_setting or not isinstance(name, str) or name.startswith("_"):
        raise AttributeError("not for policy")
    return name


def _octets_of_path(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


def _note_line(error: object, line: str | None) -> None:
    """Keep the policy line that an exception comes from, unless it has one."""
    if isinstance(error, BaseException) and line is not None and not getattr(error, "__notes__", None):
        error.add_note(text_of(line))


def _shown(problem: BaseException, trace: str) -> str:
    """What the log says of an exception that left a handler.

    Args:
        problem: the exception.
        trace: where Lua stood.
    """
    text = f"{problem}{trace}"
    if not is_told(problem):
        python = "".join(traceback.format_exception(problem)).rstrip()
        text = f"{type(problem).__name__}: {text}\n{python}"
    lines = getattr(problem, "__notes__", None)
    if lines and not (isinstance(problem, ConfigError) and problem.source):
        return f"{lines[0]}: {text}"
    return text


def is_told(problem: BaseException) -> bool:
    """Whether this tells policy what it did wrong; anything else is a fault, whose frames the log shows."""
    return isinstance(problem, KumoError | CallError)


def forget_frames(problem: BaseException | None) -> None:
    """Cut off the frames: they hold Lua values, which must not outlive what made them, and the message."""
    while problem is not None:
        problem.__traceback__ = None
        problem = problem.__context__
