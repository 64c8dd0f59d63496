"""``kumo.serde``: JSON and TOML between Lua tables and text, and their older names on ``kumo``.

JSON input may hold ``//``, ``#`` and ``/* */`` comments. Files are read at once, without waiting: policies
load their tables at file scope, where Lua cannot wait.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import tomli_w

from kumo.policy.api.arguments import ANYTHING, TEXT, lua_function
from kumo.policy.call_error import CallError
from kumo.policy.json_values import lua_to_json
from kumo.policy.octets import octets_of
from kumo.policy.registry import PolicyContext

# A string is matched so that comment signs inside it are left alone.
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|\#[^\n]*|/\*.*?\*/', re.DOTALL)
_NOT_LINE_BREAK = re.compile(r"[^\n]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_TOML_ARRAY = re.compile(r"^[^ \n].*\[\n(?: .*\n)+\]$", re.MULTILINE)
"""An entry whose value is an array, as the library prints it."""
_INDENT = re.compile(r"\n +")
_SHORT_LINE = 80
"""Characters, the key counted."""
_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = 20


@lua_function("serde.json_parse", TEXT, aliases=("json_parse",))
def json_parse(context: PolicyContext, text: str) -> Any:
    """Parse JSON text; null becomes nil, an integer past 64 bits a float.

    Raises:
        CallError: ``parsing json: …``.
    """
    return context.to_lua(_parse_json(text, "parsing json"))


@lua_function("serde.json_load", TEXT, aliases=("json_load",))
def json_load(context: PolicyContext, path: str) -> Any:
    """Parse a JSON file.

    Raises:
        CallError: ``reading file PATH: …`` or ``parsing PATH as json: …``.
    """
    return context.to_lua(load_json(path))


@lua_function("serde.json_encode", ANYTHING, aliases=("json_encode",))
def json_encode(_context: PolicyContext, value: Any) -> str:
    """Print a value as compact JSON.

    A string that is no UTF-8 becomes an array of its octets, as JSON text has no other way.

    Raises:
        CallError: a sparse or mixed table, a function, or nesting without end.
    """
    return octets_of(_json_text(value, separators=(",", ":")))


@lua_function("serde.json_encode_pretty", ANYTHING, aliases=("json_encode_pretty",))
def json_encode_pretty(_context: PolicyContext, value: Any) -> str:
    """Print a value as JSON with a line for each member, keys sorted.

    Raises:
        CallError: as ``json_encode``.
    """
    return octets_of(_json_text(value, indent=2, sort_keys=True))


@lua_function("serde.toml_parse", TEXT, aliases=("toml_parse",))
def toml_parse(context: PolicyContext, text: str) -> Any:
    """Parse TOML text; dates and times become strings.

    Raises:
        CallError: ``parsing toml: …``.
    """
    return context.to_lua(_parse_toml(text, "parsing toml"))


@lua_function("serde.toml_load", TEXT, aliases=("toml_load",))
def toml_load(context: PolicyContext, path: str) -> Any:
    """Parse a TOML file.

    Raises:
        CallError: ``reading file PATH: …`` or ``parsing PATH as toml: …``.
    """
    return context.to_lua(load_toml(path))


@lua_function("serde.toml_encode", ANYTHING, aliases=("toml_encode",))
def toml_encode(_context: PolicyContext, value: Any) -> str:
    """Print a table as TOML, each array on one line.

    Raises:
        CallError: the value is no map, or as ``json_encode``.
    """
    return octets_of(_on_one_line(_toml_text(_toml_tree(value))))


@lua_function("serde.toml_encode_pretty", ANYTHING, aliases=("toml_encode_pretty",))
def toml_encode_pretty(_context: PolicyContext, value: Any) -> str:
    """Print a table as TOML, keys sorted, each item of an array on a line of its own.

    Text with line breaks stays on one line, escaped: the library's other form loses CR before LF.

    Raises:
        CallError: as ``toml_encode``.
    """
    return octets_of(_toml_text(_sorted(_toml_tree(value))))


@lua_function("serde.toml_encode_pretty_compact", ANYTHING)
def toml_encode_pretty_compact(_context: PolicyContext, value: Any) -> str:
    """Print a table as TOML, keys sorted, an array on one line where that is short.

    An empty table has a header of its own: the library has no other way for it.

    Raises:
        CallError: as ``toml_encode``.
    """
    text = _toml_text(_sorted(_toml_tree(value)))
    return octets_of(_TOML_ARRAY.sub(_on_one_line_if_short, text))


def load_json(path: str) -> Any:
    """The value in a JSON file; may be called by any thread.

    Raises:
        CallError: as ``json_load``.
    """
    return _parse_json(_read_file(path), f"parsing {path} as json")


def load_toml(path: str) -> Any:
    """The table in a TOML file; may be called by any thread.

    Raises:
        CallError: as ``toml_load``.
    """
    return _parse_toml(_read_file(path), f"parsing {path} as toml")


def _read_file(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CallError(
            f"reading file {path}: stream did not contain valid UTF-8 at octet {error.start}"
        ) from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL in the path.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CallError(f"reading file {path}: {reason}") from None


def _parse_json(text: str, doing: str) -> Any:
    try:
        value = json.loads(
            _without_comments(text),
            parse_int=_parse_integer,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
        )
        if _SURROGATE_ESCAPE.search(text):
            # Half of a surrogate pair is no character.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise CallError(f"{doing}: lone surrogate in a \\u escape") from None
    except RecursionError:
        raise CallError(f"{doing}: recursion limit exceeded") from None
    except json.JSONDecodeError as error:
        raise CallError(f"{doing}: {error.msg} at line {error.lineno} column {error.colno}") from None
    except ValueError as error:
        raise CallError(f"{doing}: {error}") from None
    return value


def _without_comments(text: str) -> str:
    """Blank out comments, so that positions in error texts stay right."""
    return _COMMENT.sub(
        lambda match: match[0] if match[0][0] == '"' else _NOT_LINE_BREAK.sub(" ", match[0]), text
    )


def _parse_integer(digits: str) -> int | float:
    if len(digits) > _INT64_DIGITS:
        return _parse_float(digits)
    value = int(digits)
    return value if value in _INT64 else float(value)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _json_text(value: Any, **options: Any) -> str:
    tree = lua_to_json(value)
    text = json.dumps(tree, ensure_ascii=False, **options)
    if text.isascii() or _is_utf8(text):
        return text
    return json.dumps(_octets_as_arrays(tree), ensure_ascii=False, **options)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _octets_as_arrays(value: Any) -> Any:
    if type(value) is str:
        return value if _is_utf8(value) else list(value.encode("utf-8", "surrogateescape"))
    if type(value) is list:
        return [_octets_as_arrays(item) for item in value]
    if type(value) is dict:
        return {key: _octets_as_arrays(item) for key, item in value.items()}
    return value


def _parse_toml(text: str, doing: str) -> Any:
    try:
        return _without_dates(tomllib.loads(text))
    except RecursionError:
        raise CallError(f"{doing}: recursion limit exceeded") from None
    except ValueError as error:
        raise CallError(f"{doing}: {error}") from None


def _without_dates(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_dates(item) for key, item in value.items()}
    if type(value) is list:
        return [_without_dates(item) for item in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if type(value) is int and value not in _INT64:
        raise ValueError(f"number {value} is too large for 64 bits")
    return value


def _toml_tree(value: Any) -> dict[str, Any]:
    tree = _octets_as_arrays(lua_to_json(value))
    if type(tree) is not dict:
        raise CallError("TOML text is a map: the outermost value must be a table with names")
    return tree


def _toml_text(tree: dict[str, Any]) -> str:
    try:
        return tomli_w.dumps(tree)
    except TypeError as error:
        # What TOML cannot hold: a null, which only a number that JSON lacks becomes.
        raise CallError(f"no TOML form: {error}") from None


def _sorted(value: Any) -> Any:
    if type(value) is dict:
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if type(value) is list else value


def _on_one_line(text: str) -> str:
    """Take the line breaks out of arrays.

    The library breaks every array. It escapes line breaks in strings, so that one after ``[`` or a
    comma, or before the end of an array, is always its own.
    """
    return _INDENT.sub("\n", text).replace(",\n]", "]").replace("[\n", "[").replace(",\n", ", ")


def _on_one_line_if_short(match: re.Match[str]) -> str:
    line = _on_one_line(match[0])
    return line if len(line) <= _SHORT_LINE else match[0]


FUNCTIONS = (
    json_parse,
    json_load,
    json_encode,
    json_encode_pretty,
    toml_parse,
    toml_load,
    toml_encode,
    toml_encode_pretty,
    toml_encode_pretty_compact,
)
