"""``kumo.define_spool`` and the other functions that say what the daemon shall have.

They only declare: each parses its parameters and appends to ``context.declarations``; ``kumo/server.py``
starts things once ``init`` has returned and ``declaration_problems`` finds nothing. ``make_queue_config``
returns an object instead, which ``get_queue_config`` handlers hand back.
"""

from __future__ import annotations

import os.path
import typing
from typing import Any, TypeVar

from kumo.config import (
    EsmtpListener,
    HttpListener,
    Kind,
    LocalLogs,
    QueueConfig,
    Spool,
    format_duration,
)
from kumo.errors import ConfigError
from kumo.policy.api.arguments import TABLE, TEXT, lua_function
from kumo.policy.convert import convert, plain_parameters
from kumo.policy.readers import did_you_mean
from kumo.policy.registry import VERSION, Declarations, PolicyContext

QUEUE_CONFIG = "kumo.make_queue_config"
"""Kind of the objects that ``make_queue_config`` returns."""

_STARTUP_EVENTS = frozenset({None, "pre_init", "init"})
_SPOOL_NAMES = ("data", "meta")

_QUEUE_DURATIONS = frozenset(
    name
    for name, hint in typing.get_type_hints(QueueConfig, include_extras=True).items()
    if Kind.DURATION in getattr(hint, "__metadata__", ())
)

T = TypeVar("T")


@lua_function("define_spool", TABLE)
def define_spool(context: PolicyContext, parameters: Any) -> None:
    """Declare one spool store.

    Raises:
        ConfigError: bad parameters, or a name that is taken.
    """
    spool = _declared(context, "kumo.define_spool", parameters, Spool)
    spools = context.declarations.spools
    if any(other.name == spool.name for other in spools):
        raise ConfigError(
            f"spool `{spool.name}` has already been defined",
            constructor="kumo.define_spool",
            source=context.source(),
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
    context.declarations.local_logs.append(
        _declared(context, "kumo.configure_local_logs", parameters, LocalLogs)
    )


@lua_function("start_esmtp_listener", TABLE)
def start_esmtp_listener(context: PolicyContext, parameters: Any) -> None:
    """Declare one SMTP listener."""
    context.declarations.listeners.append(
        _declared(context, "kumo.start_esmtp_listener", parameters, EsmtpListener, names_alternatives=False)
    )


@lua_function("start_http_listener", TABLE)
def start_http_listener(context: PolicyContext, parameters: Any) -> None:
    """Declare one HTTP listener."""
    context.declarations.http_listeners.append(
        _declared(context, "kumo.start_http_listener", parameters, HttpListener)
    )


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
    if context.object_value(QUEUE_CONFIG, parameters) is not None:
        return parameters
    source = context.source()
    given = plain_parameters(parameters, constructor=QUEUE_CONFIG, source=source)
    config = convert(given, QueueConfig, constructor=QUEUE_CONFIG, source=source)
    _warn_without_effect(context, QUEUE_CONFIG, given, QueueConfig)
    return context.new_object(QUEUE_CONFIG, config, _shown_fields(config, given))


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


def _declared(
    context: PolicyContext,
    constructor: str,
    parameters: Any,
    dataclass_type: type[T],
    *,
    names_alternatives: bool = True,
) -> T:
    source = context.source()
    event = context.current_event
    if event not in _STARTUP_EVENTS:
        raise ConfigError(
            f"cannot be called while the event `{event}` is handled: call it from `init`",
            constructor=constructor,
            source=source,
        )
    given = plain_parameters(parameters, constructor=constructor, source=source)
    value = convert(
        given, dataclass_type, constructor=constructor, source=source, names_alternatives=names_alternatives
    )
    _warn_without_effect(context, constructor, given, dataclass_type)
    return value


def _warn_without_effect(
    context: PolicyContext, constructor: str, given: Any, dataclass_type: type[Any]
) -> None:
    without_effect: frozenset[str] = getattr(dataclass_type, "WITHOUT_EFFECT", frozenset())
    for key in sorted(without_effect & given.keys()):
        context.warn_once(
            f"{constructor}.{key}",
            f"{constructor}: `{key}` is accepted but has no effect in kumo {VERSION}",
        )


def _shown_fields(config: QueueConfig, given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: format_duration(getattr(config, name)) if name in _QUEUE_DURATIONS else value
        for name, value in given.items()
    }


FUNCTIONS = (
    define_spool,
    configure_local_logs,
    start_esmtp_listener,
    start_http_listener,
    configure_accounting_db_path,
    make_queue_config,
)
