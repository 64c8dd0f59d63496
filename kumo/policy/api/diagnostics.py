"""``kumo.log_*`` and what a policy asks about itself.

Lines go to the logger ``lua`` with the script line in front. Line breaks and other control characters are
escaped, so that text from a peer cannot forge a line of the log.
"""

from __future__ import annotations

import logging
from typing import Any

from lupa.lua54 import lua_type

from kumo.policy.api.arguments import INTEGER, TEXT, lua_function, optional
from kumo.policy.octets import text_of
from kumo.policy.registry import HostFunction, PolicyContext, host_function

_LOGGER = logging.getLogger("lua")

_FLOAT_DIGITS = 14

# C0, DEL and C1 as \xNN; surrogates are octets that are no UTF-8.
_ESCAPES: dict[int, str] = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {0x09: "\t", 0x0A: "\\n", 0x0D: "\\r"}
_ESCAPES |= {0xDC00 + octet: f"\\x{octet:02x}" for octet in range(128, 256)}
_ESCAPES |= {0x2028: "\\u2028", 0x2029: "\\u2029"}


def printed(value: Any) -> str:
    """What Lua's ``tostring`` gives for a value that Lua handed over.

    Returns:
        Unicode text; for tables without ``__tostring`` their address.
    """
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, float):
        text = f"{value:.{_FLOAT_DIGITS}g}"
        return f"{text}.0" if text.lstrip("-").isdigit() else text
    if isinstance(value, int):
        return str(value)
    text = str(value)
    # lupa's own repr of an object that has no __tostring.
    if text.startswith("<Lua ") and text.endswith(">"):
        kind, _, address = text[len("<Lua ") : -1].partition(" at ")
        return f"{kind}: {address}"
    return text if lua_type(value) is None else text_of(text)


def _log_function(name: str, level: int) -> HostFunction:
    @host_function(name)
    def log(context: PolicyContext, *arguments: Any) -> None:
        if not _LOGGER.isEnabledFor(level):
            return
        text = " ".join(map(printed, arguments)).translate(_ESCAPES)
        source = context.source()
        _LOGGER.log(level, "%s: %s" if source else "%s%s", source or "", text)

    return log


@lua_function("traceback", INTEGER)
def traceback(context: PolicyContext, level: int) -> Any:
    """The policy's call stack from ``level`` on, an array of tables."""
    return context.to_lua(context.lua.traceback(level))


@lua_function("get_event_registrars", TEXT)
def get_event_registrars(context: PolicyContext, name: str) -> Any:
    """Who registered handlers for an event: for each an array of ``script.lua:LINE``."""
    return context.to_lua(context.lua.event_registrars(name))


@lua_function("validation_failed", optional(TEXT), optional(TEXT))
def validation_failed(context: PolicyContext, text: str | None, place: str | None) -> None:
    """Make ``kumod --validate`` fail; nothing happens at other times.

    Args:
        context: of the call.
        text: what is wrong; kumo's own, KumoMTA takes no argument.
        place: the file or ``script.lua:LINE`` where it is wrong; None: the caller.
    """
    if context.findings is not None:
        context.findings.add(
            text or "the policy says that it is not valid",
            place=place or context.source(),
            constructor=None if text else "kumo.validation_failed",
        )


FUNCTIONS = (
    _log_function("log_error", logging.ERROR),
    _log_function("log_warn", logging.WARNING),
    _log_function("log_info", logging.INFO),
    _log_function("log_debug", logging.DEBUG),
    traceback,
    get_event_registrars,
    validation_failed,
)
