"""Readers: how one Lua value becomes one field of a parameter dataclass, and serde's words when not.

``reader_for`` makes a reader from a type hint once; ``convert`` runs them. A reader takes a plain value
(``json_values.lua_to_plain``) and returns the field's value or raises ``Mismatch``. Policy helpers match
KumoMTA's error texts by substring, hence the wording.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from kumo.config import (
    CidrMap,
    CidrSet,
    CustomLuaProtocol,
    KeyData,
    KeyEvent,
    KeyFile,
    KeySource,
    KeyVault,
    Kind,
    ListenerOverrides,
    MaildirProtocol,
    MinFree,
    QueueProtocol,
    ReportHandling,
    SmtpProtocol,
    check_hostname,
    parse_duration,
    parse_socket_address,
    parse_throttle,
)
from kumo.policy.json_values import Opaque
from kumo.policy.registry import VERSION

T = TypeVar("T")
Reader = Callable[[Any], Any]

_I32 = range(-(2**31), 2**31)
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)%")
_INTEGER = re.compile(r"[0-9]{1,18}")
_PEM = "-----BEGIN "
_CIDR_SETS = 256
"""Lists of networks that are kept made."""


class Mismatch(Exception):  # noqa: N818 - what a reader found; never leaves convert
    """A value does not fit.

    Args:
        detail: serde's words.
        hint: what would have been right.
        key: one that must not be in the table, or must not have a value; None: the table or value does
            not fit as a whole.
    """

    def __init__(self, detail: str, *, hint: str | None = None, key: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.key = key
        self.path: tuple[str, ...] = ()

    def inside(self, key: str | int) -> Mismatch:
        """The same mismatch, seen from the table that holds ``key``."""
        self.path = (str(key), *self.path)
        return self


class Schema(NamedTuple):
    """A dataclass as the readers see it."""

    readers: Mapping[str, Reader]
    required: tuple[str, ...]
    not_implemented: frozenset[str]
    misplaced: Mapping[str, str]


@functools.cache
def schema_of(dataclass_type: Any) -> Schema:
    """The readers of a parameter dataclass by field name, made once."""
    hints = typing.get_type_hints(dataclass_type, include_extras=True)
    fields = dataclasses.fields(dataclass_type)
    required = tuple(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return Schema(
        {field.name: reader_for(hints[field.name]) for field in fields},
        required,
        getattr(dataclass_type, "NOT_IMPLEMENTED", frozenset()),
        getattr(dataclass_type, "MISPLACED", {}),
    )


def reader_for(annotation: Any) -> Reader:
    """The reader of a type hint.

    Raises:
        TypeError: no parameter dataclass may have such a field; a bug of ours.
    """
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return functools.partial(_read_enum, {member.value: member for member in annotation})
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return functools.partial(read_struct, annotation)
    reader = _generic_reader(typing.get_origin(annotation), annotation)
    if reader is None:
        raise TypeError(f"no reader for {annotation!r}")
    return reader


def _generic_reader(origin: Any, annotation: Any) -> Reader | None:
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        kinds = [_KINDS[marker] for marker in annotation.__metadata__ if isinstance(marker, Kind)]
        return kinds[0] if kinds else reader_for(arguments[0])
    if origin is tuple:
        return functools.partial(_read_sequence, reader_for(arguments[0]))
    if origin is dict:
        return functools.partial(_read_map, reader_for(arguments[1]))
    if origin in (typing.Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        return reader_for(members[0]) if len(members) == 1 else None
    return None


def read_struct(dataclass_type: type[T], value: Any, *, names_alternatives: bool = True) -> T:
    """Read a table into a dataclass.

    Args:
        dataclass_type: one of ``kumo.config``.
        value: a plain value.
        names_alternatives: whether the text for an unknown key lists the known ones; the listener's does
            not, as its upstream parser cannot.

    Raises:
        Mismatch: a key or a value does not fit.
    """
    if type(value) is not dict:
        raise _invalid_type(value, f"struct {dataclass_type.__name__}")
    kind: Any = dataclass_type
    schema = schema_of(kind)
    readers = schema.readers
    _check_keys(schema, value, names_alternatives=names_alternatives)
    arguments = {}
    for name, reader in readers.items():
        item = value.get(name)
        if item is None:
            continue
        try:
            arguments[name] = reader(item)
        except Mismatch as mismatch:
            raise mismatch.inside(name) from None
        except ValueError as error:
            raise Mismatch(str(error)).inside(name) from None
    for name in schema.required:
        if name not in arguments:
            raise Mismatch(f"missing field `{name}`")
    try:
        return dataclass_type(**arguments)
    except ValueError as error:
        raise Mismatch(str(error)) from None


def _check_keys(schema: Schema, value: dict[Any, Any], *, names_alternatives: bool) -> None:
    for key in sorted(value.keys() - schema.readers.keys(), key=str):
        if type(key) is not str:
            raise Mismatch(
                f"invalid type: integer `{key}`, expected field identifier",
                hint="write `name = value`; this value has no name",
                key=str(key),
            )
        if key in schema.not_implemented:
            # `false` asks for what happens anyway.
            if value[key] is False:
                continue
            raise Mismatch(f"`{key}` is not implemented in kumo {VERSION}", key=key)
        detail = f"unknown field `{key}`"
        if names_alternatives:
            detail = f"{detail}, {_one_of(schema.readers, 'there are no fields')}"
        hint = schema.misplaced.get(key) or did_you_mean(key, [*schema.readers, *schema.not_implemented])
        raise Mismatch(detail, hint=hint, key=key)


def _read_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _invalid_type(value, "a boolean")
    return value


def _read_text(value: Any) -> str:
    if type(value) is not str:
        raise _invalid_type(value, "a string")
    return value


def _read_signed(value: Any) -> int:
    if type(value) is not int:
        raise _invalid_type(value, "i32")
    if value not in _I32:
        raise Mismatch(f"invalid value: integer `{value}`, expected i32")
    return value


def _read_unsigned(value: Any) -> int:
    if type(value) is not int:
        raise _invalid_type(value, "usize")
    if value < 0:
        raise Mismatch(f"invalid value: integer `{value}`, expected usize")
    return value


def _read_any(value: Any) -> Any:
    """Take a JSON-able value as it is."""
    kind = type(value)
    if kind is Opaque or (kind is float and not math.isfinite(value)):
        raise _invalid_type(value, "any valid JSON value")
    if kind is dict:
        return _read_map(_read_any, value)
    if kind is list:
        return list(_read_sequence(_read_any, value))
    return value


def _read_sequence(reader: Reader, value: Any) -> tuple[Any, ...]:
    # Lua has one empty table: it is a list where a list is wanted.
    if value == {}:
        return ()
    if type(value) is not list:
        hint = None
        if type(value) is dict and int in map(type, value):
            hint = "a list has keys 1 to n, without holes and without names"
        raise _invalid_type(value, "a sequence", hint=hint)
    items = []
    for index, item in enumerate(value, 1):
        try:
            items.append(reader(item))
        except Mismatch as mismatch:
            raise mismatch.inside(index) from None
    return tuple(items)


def _read_map(reader: Reader, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _invalid_type(value, "a map")
    items = {}
    for key, item in value.items():
        if type(key) is not str:
            raise _invalid_type(key, "a string")
        try:
            items[key] = reader(item)
        except Mismatch as mismatch:
            raise mismatch.inside(key) from None
    return items


def _read_enum(members: Mapping[str, enum.Enum], value: Any) -> enum.Enum:
    if type(value) is not str:
        raise _invalid_type(value, "string or map", hint=_one_of(members, "there are no variants"))
    member = members.get(value)
    if member is None:
        raise Mismatch(
            f"unknown variant `{value}`, {_one_of(members, 'there are no variants')}",
            hint=did_you_mean(value, members),
        )
    return member


def _read_duration(value: Any) -> float:
    kind = type(value)
    if kind is str:
        return parse_duration(value)
    if kind is int or kind is float:
        if value < 0 or not math.isfinite(value):
            raise Mismatch(f"invalid value: {_unexpected(value)}, expected a duration")
        return float(value)
    raise _invalid_type(value, "a duration")


def _read_cidr_list(value: Any) -> CidrSet:
    return _cidr_set(_read_sequence(_read_text, value))


@functools.lru_cache(maxsize=_CIDR_SETS)
def _cidr_set(entries: tuple[str, ...]) -> CidrSet:
    # Handlers make the same lists again and again, and each set remembers what it was asked.
    return CidrSet.parse(entries)


def _read_listener_overrides(value: Any) -> CidrMap[ListenerOverrides]:
    # A table without keys is a map here, and one with keys 1 to n is not.
    return CidrMap(_read_map(functools.partial(read_struct, ListenerOverrides), value))


def _read_report_handling(value: Any) -> ReportHandling:
    if type(value) is bool:
        return ReportHandling.LOG_THEN_RELAY if value else ReportHandling.IGNORE
    words = [member.value for member in ReportHandling]
    if type(value) is not str:
        raise _invalid_type(value, Kind.REPORT_HANDLING.value)
    if value not in words:
        raise Mismatch(
            f"invalid value: {_unexpected(value)}, expected {Kind.REPORT_HANDLING.value}",
            hint=did_you_mean(value, words),
        )
    return ReportHandling(value)


def _read_min_free(value: Any) -> MinFree:
    if type(value) is str:
        if percent := _PERCENT.fullmatch(value):
            return MinFree(percent=float(percent[1]))
        if _INTEGER.fullmatch(value):
            return MinFree(absolute=int(value))
        raise Mismatch(f"invalid value: {_unexpected(value)}, expected a percentage or a number")
    if type(value) is int:
        return MinFree(absolute=value)
    raise _invalid_type(value, "a percentage or a number")


def _read_hostname(value: Any) -> str:
    text = _read_text(value)
    check_hostname(text)
    return text


def _read_socket_address(value: Any) -> str:
    text = _read_text(value)
    parse_socket_address(text)
    return text


def _read_throttle(value: Any) -> str:
    return parse_throttle(_read_text(value))


def _read_key_source(value: Any) -> KeySource:
    if type(value) is str:
        if _PEM in value:
            # The path of a file is named in error texts, and the key would be.
            raise Mismatch(
                "the key itself stands where the path of its file belongs",
                hint="write `{ key_data = ... }` for a key in the policy",
            )
        return KeyFile(value)
    if type(value) is dict:
        for shape in (_key_data, _key_vault, _key_event):
            source = shape(value)
            if source is not None:
                return source
    raise Mismatch(
        "data did not match any variant of untagged enum KeySource",
        hint="expected a path, or a table with `key_data`, with `vault_mount` and `vault_path`, "
        "or with `event_name` and `event_args`",
    )


def _key_data(value: dict[str, Any]) -> KeySource | None:
    octets = value.get("key_data")
    return KeyData(octets.encode("utf-8", "surrogateescape")) if type(octets) is str else None


def _key_vault(value: dict[str, Any]) -> KeySource | None:
    names = [field.name for field in dataclasses.fields(KeyVault)]
    given = {name: value[name] for name in names if value.get(name) is not None}
    if not {"vault_mount", "vault_path"} <= given.keys() or any(
        type(text) is not str for text in given.values()
    ):
        return None
    return KeyVault(**given)


def _key_event(value: dict[str, Any]) -> KeySource | None:
    name, arguments = value.get("event_name"), value.get("event_args")
    if type(name) is not str or not (type(arguments) is list or arguments == {}):
        return None
    return KeyEvent(event_name=name, event_args=tuple(_read_any(item) for item in arguments or ()))


def _read_protocol(value: Any) -> QueueProtocol:
    if type(value) is dict:
        if "smtp" in value:
            return _tagged(value, "smtp", SmtpProtocol)
        if "custom_lua" in value:
            return _tagged(value, "custom_lua", CustomLuaProtocol)
        if "maildir_path" in value:
            return read_struct(MaildirProtocol, value)
        if "xfer" in value:
            raise Mismatch(f"`xfer` is not implemented in kumo {VERSION}")
    raise Mismatch(
        "data did not match any variant of untagged enum DeliveryProto",
        hint="expected a table with `smtp`, `maildir_path` or `custom_lua`",
    )


def _tagged(value: dict[str, Any], tag: str, dataclass_type: type[T]) -> T:
    for key in value:
        if key != tag:
            raise Mismatch(f"unknown field `{key}`, expected `{tag}`")
    try:
        return read_struct(dataclass_type, value[tag])
    except Mismatch as mismatch:
        raise mismatch.inside(tag) from None


_SCALARS: Mapping[Any, Reader] = {bool: _read_bool, str: _read_text, int: _read_signed, Any: _read_any}

_KINDS: Mapping[Kind, Reader] = {
    Kind.DURATION: _read_duration,
    Kind.UNSIGNED: _read_unsigned,
    Kind.CIDR_LIST: _read_cidr_list,
    Kind.MIN_FREE: _read_min_free,
    Kind.KEY_SOURCE: _read_key_source,
    Kind.JSON_MAP: functools.partial(_read_map, _read_any),
    Kind.SOCKET_ADDRESS: _read_socket_address,
    Kind.HOSTNAME: _read_hostname,
    Kind.THROTTLE: _read_throttle,
    Kind.PROTOCOL: _read_protocol,
    Kind.LISTENER_OVERRIDES: _read_listener_overrides,
    Kind.REPORT_HANDLING: _read_report_handling,
}


def _invalid_type(value: Any, expected: str, *, hint: str | None = None) -> Mismatch:
    return Mismatch(f"invalid type: {_unexpected(value)}, expected {expected}", hint=hint)


def _unexpected(value: Any) -> str:
    """What serde calls a value that it did not want."""
    kind = type(value)
    if kind is bool:
        return f"boolean `{'true' if value else 'false'}`"
    if kind is int:
        return f"integer `{value}`"
    if kind is float:
        return f"floating point `{value}`"
    if kind is str:
        return f"string {json.dumps(value, ensure_ascii=False)}"
    if kind is Opaque:
        return str(value.lua_type)
    return "sequence" if kind is list else "map"


def _one_of(names: Iterable[str], none: str) -> str:
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return none
    if len(quoted) <= 2:  # noqa: PLR2004 - serde lists from three on
        return f"expected {' or '.join(quoted)}"
    return f"expected one of {', '.join(quoted)}"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A question that names the nearest of the known names; None when none is near."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean `{folded[close[0]]}`?" if close else None
