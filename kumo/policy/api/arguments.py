"""Arguments of host functions: how many there must be, and of which type.

Lua calls with anything; a wrong call gets the text that Lua's own library would give, with the function's
name. Surplus arguments are ignored, as in KumoMTA. Used by every module of ``kumo/policy/api``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lupa.lua54 import lua_type

from kumo.policy.call_error import CallError
from kumo.policy.octets import text_of
from kumo.policy.registry import HostFunction


class Parameter(NamedTuple):
    """One parameter of a host function.

    Args:
        expected: the type in Lua's words.
        read: turns the Lua value into the Python one; ``TypeError`` when it is of another type,
            ``ValueError`` when it is out of range.
        optional: nil and no argument are allowed and become None.
    """

    expected: str
    read: Callable[[Any], Any]
    optional: bool = False


def optional(parameter: Parameter) -> Parameter:
    """The same parameter, where nil and no argument become None."""
    return parameter._replace(optional=True)


def lua_function(
    name: str, *parameters: Parameter, scalar_only: bool = False, aliases: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], HostFunction]:
    """Make ``function(context, *values)`` a host function whose arguments are checked first.

    Args:
        name: dotted, below ``kumo``.
        parameters: what the function takes after the context.
        scalar_only: as ``registry.HostFunction``.
        aliases: further dotted names.
    """

    def decorate(function: Callable[..., Any]) -> HostFunction:
        read = functools.partial(_read, parameters)
        return HostFunction(name, function, scalar_only, tuple(aliases), read)

    return decorate


def _read(parameters: tuple[Parameter, ...], name: str, arguments: tuple[Any, ...]) -> list[Any]:
    values: list[Any] = []
    for index, parameter in enumerate(parameters):
        value = arguments[index] if index < len(arguments) else None
        if value is None and parameter.optional:
            values.append(None)
            continue
        try:
            values.append(parameter.read(value))
        except TypeError:
            got = "no value" if index >= len(arguments) else kind_of(value)
            raise CallError(
                f"bad argument #{index + 1} to 'kumo.{name}' ({parameter.expected} expected, got {got})"
            ) from None
        except ValueError as error:
            raise CallError(f"bad argument #{index + 1} to 'kumo.{name}' ({error})") from None
    return values


def kind_of(value: Any) -> str:
    """Lua's name for the type of a value that Lua handed over."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return str(lua_type(value) or "userdata")


def _table(value: Any) -> Any:
    # Config objects are tables of the Lua side as well.
    if lua_type(value) != "table":
        raise TypeError
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return text_of(value)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _count(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"{value} is less than zero")
    return int(value)


def _number(value: Any) -> float:
    if type(value) is not int and type(value) is not float:
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _anything(value: Any) -> Any:
    return value


TABLE = Parameter("table", _table)
TEXT = Parameter("string", _text)
"""Becomes Unicode text."""
INTEGER = Parameter("integer", _integer)
COUNT = Parameter("integer", _count)
"""An integer of zero or more."""
NUMBER = Parameter("number", _number)
"""Becomes a float."""
BOOLEAN = Parameter("boolean", _boolean)
ANYTHING = Parameter("value", _anything, optional=True)
"""Handed on as it came; nil as None."""
