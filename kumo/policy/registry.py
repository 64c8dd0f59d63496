"""What a host function is, and what it may ask of the Lua state that calls it.

Each module of ``kumo/policy/api`` decorates its functions with ``host_function`` and lists them in
``FUNCTIONS``; ``lua_state`` puts them under the ``kumo`` table. Nothing here knows lupa.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kumo._version import KUMOMTA_VERSION, __version__
from kumo.config import AcctLog, EsmtpListener, HttpListener, KeySource, LocalLogs, Spool
from kumo.errors import ConfigError
from kumo.policy.domain_files import DomainFiles
from kumo.policy.findings import Findings

VERSION = f"{KUMOMTA_VERSION}-kumo.{__version__}"
"""``kumo.version``: policies compare it as text with a KumoMTA release date."""


@dataclass(slots=True)
class Declarations:
    """What the policy asked for, in the order in which it asked; the server starts it after ``init``."""

    listeners: list[EsmtpListener] = field(default_factory=list)
    http_listeners: list[HttpListener] = field(default_factory=list)
    spools: list[Spool] = field(default_factory=list)
    local_logs: list[LocalLogs] = field(default_factory=list)
    acct_log: AcctLog | None = None
    config_monitor_globs: tuple[str, ...] | None = None
    """None: the policy did not say."""
    accounting_db_path: str | None = None
    knobs: dict[str, Any] = field(default_factory=dict)
    """Tuning calls by function name, the last value of each; kumo reads few of them."""
    places: dict[int, str] = field(default_factory=dict)
    """``script.lua:LINE`` of what was declared, by its ``id``."""


class LuaSide(Protocol):
    """What the Lua state offers to host functions; ``lua_state.LuaState`` implements it."""

    @property
    def current_event(self) -> str | None:
        """The event being dispatched; None while the file itself is evaluated."""

    def source(self) -> str | None:
        """``script.lua:LINE`` of the policy line that called the host function."""

    def to_lua(self, value: Any) -> Any:
        """A Lua value for a JSON-able one."""

    def new_object(self, kind: str, value: object, fields: Mapping[str, Any]) -> Any:
        """A Lua object that stands for ``value``."""

    def object_value(self, kind: str, candidate: Any) -> object | None:
        """The Python value behind an object that ``new_object`` made."""

    def traceback(self, level: int) -> list[dict[str, Any]]:
        """The policy's call stack."""

    def event_registrars(self, name: str) -> list[list[str]]:
        """Who registered handlers for an event."""


class EngineSide(Protocol):
    """What host functions may ask of the engine; ``engine.PolicyEngine`` implements it."""

    @property
    def findings(self) -> Findings | None:
        """Where problems go instead of being raised; None unless the policy is only validated."""

    @property
    def config_epoch(self) -> int:
        """Counts how often the configuration has changed."""

    @property
    def domain_files(self) -> MutableMapping[str, DomainFiles]:
        """Files that some Lua state has open, by what was asked for."""

    def load_key(self, source: KeySource) -> Awaitable[bytes]:
        """Get the octets of a key."""

    def bump_config_epoch(self) -> None:
        """Ask for the script to be evaluated anew, in a fresh state."""

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning unless one with the same key was logged before."""


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """First argument of every host function; one for each Lua state.

    Args:
        declarations: constructors append here. After a reload it is a fresh one that nobody reads,
            as only the first evaluation declares.
        lua: the calling state.
        engine: what outlives the state.
    """

    declarations: Declarations
    lua: LuaSide
    engine: EngineSide
    version: str = VERSION

    @property
    def current_event(self) -> str | None:
        """The event being dispatched; None at file scope."""
        return self.lua.current_event

    @property
    def findings(self) -> Findings | None:
        """Where problems go instead of being raised; None unless the policy is only validated."""
        return self.engine.findings

    def refuse(self, error: ConfigError) -> None:
        """Raise an error that does not keep a constructor from going on; under ``--validate`` it is noted.

        Raises:
            ConfigError: the given one.
        """
        if self.findings is None:
            raise error
        self.findings.add_error(error)

    def source(self) -> str | None:
        """``script.lua:LINE`` of the caller, for error texts and logs.

        Valid until the host function waits for the first time. In scalar-only functions it is None:
        they must not touch the state.
        """
        return self.lua.source()

    def to_lua(self, value: Any) -> Any:
        """A Lua value for a JSON-able one, tables built afresh.

        Args:
            value: mappings (keys str or int), lists and tuples, str, bytes (kept as octets), int, float,
                bool, None. None inside a mapping leaves its key out, inside a list it is a hole.

        Raises:
            ValueError: nested too deeply, or an integer past 64 bits.
        """
        return self.lua.to_lua(value)

    def new_object(self, kind: str, value: object, fields: Mapping[str, Any]) -> Any:
        """A Lua object that can be indexed, measured and iterated, and leads back to ``value``.

        Args:
            kind: the constructor, for example ``kumo.make_queue_config``; error texts name it.
            value: kept alive as long as Lua keeps the object.
            fields: what Lua sees, JSON-able; only what was set.
        """
        return self.lua.new_object(kind, value, fields)

    def object_value(self, kind: str, candidate: Any) -> object | None:
        """The value behind a Lua object of this kind; None when ``candidate`` is anything else."""
        return self.lua.object_value(kind, candidate)

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning unless one with the same key was logged before in this process."""
        self.engine.warn_once(key, text)


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A Python function that Lua calls; itself callable, for tests and other Python code.

    It is called as ``function(context, *args)``. Arguments are Lua values as they come: str of octets
    (see ``octets``), int, float, bool, None, and Lua tables and functions. The result is a scalar, a
    value made by ``context.to_lua`` or ``context.new_object``, a tuple of these for several results,
    or, unless ``scalar_only``, an awaitable of them. An exception arrives in Lua as an error:
    ``CallError`` and kumo's own say what the policy did wrong, any other is a fault of ours.

    Args:
        name: dotted, below ``kumo``: ``serde.json_parse``.
        scalar_only: called without the detour that tables, functions and waiting need. Such a function
            sees and returns nothing but nil, booleans, numbers and strings, and never waits.
        aliases: further dotted names.
        read: makes the function's arguments of the name it is called by and the Lua values.
    """

    name: str
    function: Callable[..., Any]
    scalar_only: bool = False
    aliases: tuple[str, ...] = ()
    read: Callable[[str, tuple[Any, ...]], Sequence[Any]] | None = None

    def bind(self, context: PolicyContext, name: str) -> Callable[..., Any]:
        """Make what Lua calls by one of the function's names, which error texts then give."""
        function, read = self.function, self.read
        if read is None:

            def call(*arguments: Any) -> Any:
                return function(context, *arguments)

        else:

            def call(*arguments: Any) -> Any:
                return function(context, *read(name, arguments))

        call.__name__ = f"kumo.{name}"
        return call

    def __call__(self, context: PolicyContext, *args: Any) -> Any:
        """Call the function by its first name."""
        return self.bind(context, self.name)(*args)


def host_function(
    name: str, *, scalar_only: bool = False, aliases: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], HostFunction]:
    """Make a function one that Lua calls as ``kumo.<name>``; list the result in ``FUNCTIONS``.

    Args:
        name: dotted, below ``kumo``.
        scalar_only: see ``HostFunction``.
        aliases: further dotted names.
    """

    def decorate(function: Callable[..., Any]) -> HostFunction:
        return HostFunction(name, function, scalar_only, tuple(aliases))

    return decorate
