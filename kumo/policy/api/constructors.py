"""``kumo.define_spool`` and the other functions that say what the daemon shall have.

They only declare: each parses its parameters and appends to ``context.declarations``; ``kumo/server.py``
starts things once ``init`` has returned and ``declaration_problems`` finds nothing. ``make_queue_config``
and ``make_listener_domain`` return an object instead, which handlers hand back.
"""

from __future__ import annotations

import os.path
import typing
from typing import Any, TypeVar

from kumo.config import (
    EsmtpListener,
    HttpListener,
    Kind,
    ListenerDomain,
    LocalLogs,
    QueueConfig,
    ReportHandling,
    Spool,
    format_duration,
)
from kumo.errors import ConfigError
from kumo.policy.api.arguments import TABLE, TEXT, lua_function
from kumo.policy.convert import plain_parameters
from kumo.policy.parameters import read_parameters
from kumo.policy.readers import did_you_mean
from kumo.policy.registry import Declarations, PolicyContext

QUEUE_CONFIG = "kumo.make_queue_config"
"""Kind of the objects that ``make_queue_config`` returns."""
LISTENER_DOMAIN = "kumo.make_listener_domain"
"""Kind of the objects that ``make_listener_domain`` returns."""

_STARTUP_EVENTS = frozenset({None, "pre_init", "init"})
_SPOOL_NAMES = ("data", "meta")

_DURATIONS = {
    dataclass_type: frozenset(
        name
        for name, hint in typing.get_type_hints(dataclass_type, include_extras=True).items()
        if Kind.DURATION in getattr(hint, "__metadata__", ())
    )
    for dataclass_type in (QueueConfig, ListenerDomain)
}

T = TypeVar("T")


@lua_function("define_spool", TABLE)
def define_spool(context: PolicyContext, parameters: Any) -> None:
    """Declare one spool store.

    Raises:
        ConfigError: bad parameters, or a name that is taken.
    """
    spool = declared(context, "kumo.define_spool", parameters, Spool)
    if spool is None:
        return
    spools = context.declarations.spools
    if any(other.name == spool.name for other in spools):
        context.refuse(
            ConfigError(
                f"spool `{spool.name}` has already been defined",
                constructor="kumo.define_spool",
                source=context.source(),
            )
        )
    if spool.name not in _SPOOL_NAMES:
        hint = did_you_mean(spool.name, _SPOOL_NAMES)
        context.warn_once(
            f"spool {spool.name}",
            f"{context.source()}: spool `{spool.name}` is not used; the names are `data` and `meta`"
            + (f"; {hint}" if hint else ""),
        )
    spools.append(spool)


@lua_function("configure_local_logs", TABLE)
def configure_local_logs(context: PolicyContext, parameters: Any) -> None:
    """Declare one logger."""
    logs = declared(context, "kumo.configure_local_logs", parameters, LocalLogs)
    if logs is not None:
        context.declarations.local_logs.append(logs)


@lua_function("start_esmtp_listener", TABLE)
def start_esmtp_listener(context: PolicyContext, parameters: Any) -> None:
    """Declare one SMTP listener."""
    listener = declared(
        context, "kumo.start_esmtp_listener", parameters, EsmtpListener, names_alternatives=False
    )
    if listener is not None:
        context.declarations.listeners.append(listener)


@lua_function("start_http_listener", TABLE)
def start_http_listener(context: PolicyContext, parameters: Any) -> None:
    """Declare one HTTP listener."""
    listener = declared(context, "kumo.start_http_listener", parameters, HttpListener)
    if listener is not None:
        context.declarations.http_listeners.append(listener)


@lua_function("configure_accounting_db_path", TEXT)
def configure_accounting_db_path(context: PolicyContext, path: str) -> None:
    """Take the path of KumoMTA's accounting database; kumo keeps its counters in memory only."""
    context.declarations.accounting_db_path = path


@lua_function("make_queue_config", TABLE)
def make_queue_config(context: PolicyContext, parameters: Any) -> Any:
    """Make the object that a ``get_queue_config`` handler returns.

    An object that it made before is taken as well, and comes back as it is.

    Returns:
        A Lua object that shows the parameters that were given, durations in humantime's words.
    """
    return _made(context, QUEUE_CONFIG, parameters, QueueConfig)


@lua_function("make_listener_domain", TABLE)
def make_listener_domain(context: PolicyContext, parameters: Any) -> Any:
    """Make the object that a ``get_listener_domain`` handler returns.

    An object that it made before is taken as well, and comes back as it is.

    Returns:
        A Lua object that shows the parameters that were given, what is done with reports in words.
    """
    return _made(context, LISTENER_DOMAIN, parameters, ListenerDomain)


def declaration_problems(declarations: Declarations) -> list[str]:
    """What keeps a daemon with these declarations from starting.

    Returns:
        One sentence for each problem; empty when all is well.
    """
    problems = []
    names = {spool.name for spool in declarations.spools}
    if not names & set(_SPOOL_NAMES):
        problems.append("No spools have been defined")
    else:
        problems.extend(
            f"No spool named `{name}` has been defined" for name in _SPOOL_NAMES if name not in names
        )
    by_path: dict[str, str] = {}
    for spool in declarations.spools:
        path = os.path.realpath(spool.path)
        other = by_path.setdefault(path, spool.name)
        if other != spool.name:
            problems.append(f"Spools `{other}` and `{spool.name}` have the same path {spool.path}")
    return problems


def _made(
    context: PolicyContext, kind: str, parameters: Any, dataclass_type: type[QueueConfig | ListenerDomain]
) -> Any:
    if context.object_value(kind, parameters) is not None:
        return parameters
    source = context.source()
    given = plain_parameters(parameters, constructor=kind, source=source)
    value = read_parameters(context, given, dataclass_type, constructor=kind, source=source)
    if value is None:
        # Noted; the handler goes on with what an empty table makes.
        return context.new_object(kind, dataclass_type(), {})
    return context.new_object(kind, value, shown_fields(value, given))


def declared(
    context: PolicyContext,
    constructor: str,
    parameters: Any,
    dataclass_type: type[T],
    *,
    names_alternatives: bool = True,
) -> T | None:
    """Read the parameters of a function that declares, and note where it was called.

    Returns:
        The declaration; None under ``--validate`` when the parameters make none, which was noted.

    Raises:
        ConfigError: bad parameters, or it is too late to declare anything.
    """
    source = context.source()
    event = context.current_event
    if event not in _STARTUP_EVENTS:
        raise ConfigError(
            f"cannot be called while the event `{event}` is handled: call it from `init`",
            constructor=constructor,
            source=source,
        )
    given = plain_parameters(parameters, constructor=constructor, source=source)
    value = read_parameters(
        context,
        given,
        dataclass_type,
        constructor=constructor,
        source=source,
        names_alternatives=names_alternatives,
    )
    if value is not None and source is not None:
        context.declarations.places[id(value)] = source
    return value


def shown_fields(value: QueueConfig | ListenerDomain, given: dict[str, Any]) -> dict[str, Any]:
    """What Lua sees of an object: the parameters that were given, durations and choices in words."""
    durations = _DURATIONS[type(value)]
    shown = {}
    for name, item in given.items():
        field = getattr(value, name)
        if name in durations:
            shown[name] = format_duration(field)
        elif isinstance(field, ReportHandling):
            shown[name] = field.value
        else:
            shown[name] = item
    return shown


FUNCTIONS = (
    define_spool,
    configure_local_logs,
    start_esmtp_listener,
    start_http_listener,
    configure_accounting_db_path,
    make_queue_config,
    make_listener_domain,
)
