"""``kumo.policy_extras``: what the Lua modules in ``kumo/policy/share`` need beyond KumoMTA's functions."""

from __future__ import annotations

import copy
import functools
import json
import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from kumo.config import CidrSet, ListenerDomain, parse_socket_address
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.policy.api.arguments import ANYTHING, TABLE, TEXT, kind_of, lua_function
from kumo.policy.api.constructors import LISTENER_DOMAIN, shown_fields
from kumo.policy.api.serde import load_json, load_toml
from kumo.policy.call_error import CallError
from kumo.policy.domain_files import DomainEntry, DomainFiles, DomainTable, Source
from kumo.policy.json_values import Opaque, lua_to_plain
from kumo.policy.octets import text_of
from kumo.policy.parameters import Problem, examine
from kumo.policy.registry import PolicyContext

_log = logging.getLogger("kumod.policy")

_MODULE = "policy-extras.listener_domains"
_FILES = "kumo.policy_extras.open_listener_domains"
"""Kind of the objects that stand for the files of one setup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerDomainEntry(ListenerDomain):
    """One domain in a file of ``policy-extras.listener_domains``."""

    relay_from_authz: tuple[str, ...] = ()
    """Authorisation ids that may relay with a sender of this domain."""


@lua_function("policy_extras.open_listener_domains", TABLE, TEXT)
def open_listener_domains(context: PolicyContext, files: Any, place: str) -> Any:
    """Read files with listener domains; those that are open already are read in a thread.

    Args:
        context: of the call.
        files: an array of file names and tables.
        place: ``script.lua:LINE`` of whoever gave them; what is wrong with a table is wrong there.

    Returns:
        An object for ``find_listener_domain``.

    Raises:
        CallError: a file cannot be read, or an item of the list is neither name nor table.
    """
    sources = _sources(lua_to_plain(files))
    key = json.dumps(_with_text_keys(sources), sort_keys=True, default=repr)
    # Not the context, which would keep its Lua state.
    engine = context.engine
    opened = engine.domain_files.get(key)
    if opened is None:
        opened = DomainFiles(sources, _read, _problems_of, lambda: engine.config_epoch)
        engine.domain_files[key] = opened
        for complaint in opened.complaints:
            _report(context, *complaint, place)
    else:
        opened.read_soon()
    return context.new_object(_FILES, opened, {})


@lua_function("policy_extras.find_listener_domain", ANYTHING, TEXT, TEXT, ANYTHING, ANYTHING)
def find_listener_domain(
    context: PolicyContext, files: Any, domain: str, listener: str, authz_id: Any, peer: Any
) -> MaybeAwaitable[Any]:
    """What the files say of a domain; waits when they have to be read again.

    Args:
        context: of the call.
        files: as ``open_listener_domains`` gave them.
        domain: of a sender or recipient.
        listener: ``IP:port`` that the client connected to.
        authz_id: whom the client acts as; nil: it has not said.
        peer: the client's ``IP:port``; its IP is all of ``relay_from`` where ``authz_id`` is the entry's.

    Returns:
        An object as ``kumo.make_listener_domain`` makes it, or nil.

    Raises:
        CallError: the entry has parameters that cannot be.
    """
    opened = context.object_value(_FILES, files)
    if not isinstance(opened, DomainFiles):
        raise CallError(f"expected what {_FILES} returned, not a {kind_of(files)}")
    find = functools.partial(_find, context, domain, listener, authz_id, peer)
    table = opened.table()
    return _later(table, find) if is_awaitable(table) else find(table)


async def _later(table: Awaitable[DomainTable], find: functools.partial[Any]) -> Any:
    return find(await table)


def _find(
    context: PolicyContext, domain: str, listener: str, authz_id: Any, peer: Any, table: DomainTable
) -> Any:
    entry = table.find(listener, domain)
    if entry is None:
        return None
    value, fields = _made(entry)
    if type(authz_id) is str and type(peer) is str and _is_authorised(entry, text_of(authz_id)):
        ip, _ = parse_socket_address(peer)
        value, fields = replace(value, relay_from=CidrSet.parse((ip,))), {**fields, "relay_from": [ip]}
    return context.new_object(LISTENER_DOMAIN, value, fields)


def _is_authorised(entry: DomainEntry, authz_id: str) -> bool:
    return type(entry.authz) is list and authz_id in entry.authz


def _made(entry: DomainEntry) -> tuple[ListenerDomain, dict[str, Any]]:
    """The listener domain of an entry and what Lua sees of it; made once."""
    if entry.made is None:
        problems, value = examine(copy.deepcopy(entry.parameters), ListenerDomain)
        entry.made = (
            "; ".join(map(_text, problems))
            if problems or value is None
            else (value, shown_fields(value, entry.parameters))
        )
    if isinstance(entry.made, str):
        raise CallError(f"{entry.place}: {entry.name}: {entry.made}")
    made: tuple[ListenerDomain, dict[str, Any]] = entry.made
    return made


def _sources(files: Any) -> list[Source]:
    items = [] if files == {} else files
    if type(items) is not list:
        raise CallError(f"{_MODULE}: setup expects a list of files, without names and without holes")
    for number, item in enumerate(items, 1):
        if type(item) not in (str, dict):
            kind = item.lua_type if type(item) is Opaque else "table" if type(item) is list else kind_of(item)
            raise CallError(f"{_MODULE}: file #{number} must be a file name or a table, not a {kind}")
    return items


def _with_text_keys(value: Any) -> Any:
    if type(value) is dict:
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if type(value) is list else value


def _read(name: str) -> Any:
    return load_json(name) if name.lower().endswith(".json") else load_toml(name)


def _problems_of(parameters: dict[Any, Any]) -> Iterable[str]:
    problems, _ = examine(copy.deepcopy(parameters), ListenerDomainEntry)
    return map(_text, problems)


def _report(context: PolicyContext, place: str, text: str, setup_place: str) -> None:
    if place.startswith("table #"):
        place, text = setup_place, f"{place}: {text}"
    if context.findings is None:
        _log.error("%s: %s", place, text)
    else:
        context.findings.add(text, place=place)


def _text(problem: Problem) -> str:
    text = f"`{'.'.join(problem.path)}`: {problem.detail}" if problem.path else problem.detail
    return f"{text} ({problem.hint})" if problem.hint else text


FUNCTIONS = (open_listener_domains, find_listener_domain)
