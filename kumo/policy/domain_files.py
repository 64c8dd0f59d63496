"""The files of ``policy-extras.listener_domains``, and which of their entries a domain has.

They may name a hundred thousand domains and change while mail comes in: they are read in a thread and never
become Lua tables. Until they have been read, and when that fails, what they said before holds. All Lua states
of a process share them. What an entry may hold is not known here: ``api.policy_extras`` makes listener
domains of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kumo.maybe_awaitable import MaybeAwaitable

_log = logging.getLogger("kumod.policy")

EVERY = "*"
"""The listener of entries that are for all of them, and the domain of one that is for all domains."""

_LIFETIME = 300.0
"""Seconds after which the files are looked at again though the configuration's epoch is the same."""

_SETTLED = 2 * 10**9
"""Nanoseconds after which a change of a file is sure to show in its times."""

_MOST_COMPLAINTS = 100
"""Lines in the log about one reading."""

_MOST_READ = 1024
"""Entries that are kept made; what is kept of the others takes less room, and longer."""

_AUTHZ = "relay_from_authz"

Source = str | dict[Any, Any]
"""The name of a TOML or JSON file, or what stands in place of its content."""


class Complaint(NamedTuple):
    """Something in a source that does not count.

    Args:
        place: name of the file, or ``table #`` and its number among the sources.
        text: what is wrong.
    """

    place: str
    text: str


@dataclass(slots=True)
class DomainEntry:
    """What all sources together say of a domain.

    Args:
        name: of the domain, and of the listener unless it is for all, for messages.
        place: the last source that has it.
        parameters: by name, unchecked.
        authz: the value of ``relay_from_authz``, unchecked.
        made: what the caller made of it.
    """

    name: str
    place: str
    parameters: dict[str, Any]
    authz: Any
    made: Any = None


class _Domains:
    """The entries of one listener, as text: Python's collector never looks into a table of mere texts."""

    __slots__ = ("_suffixes", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._suffixes: set[str] = set()

    def add(self, domain: str, place: str, parameters: dict[Any, Any]) -> None:
        """Put an entry's parameters in, over those that are there."""
        if domain in self._texts:
            parameters = self.read(domain)[1] | parameters
        self._texts[domain] = json.dumps((place, parameters))
        suffix = domain
        while suffix not in self._suffixes:
            self._suffixes.add(suffix)
            suffix = suffix.partition(".")[2] or suffix

    def read(self, domain: str) -> tuple[str, dict[str, Any]]:
        """Place and parameters of an entry."""
        place, parameters = json.loads(self._texts[domain])
        return place, parameters

    def find(self, domain: str) -> str | None:
        """The entry of a domain, or of the wildcard where its labels, the last one first, fit no more.

        Once a label fits there is no way back to a wildcard above it.
        """
        wildcard = EVERY
        start = len(domain)
        while True:
            start = domain.rfind(".", 0, start)
            suffix = domain[start + 1 :]
            if suffix not in self._suffixes:
                return wildcard if wildcard in self._texts else None
            if start < 0:
                return domain if domain in self._texts else None
            wildcard = f"{EVERY}.{suffix}"


class DomainTable:
    """All entries.

    Args:
        contents: place and content of each source, in their order; a later one's values count, key by key.
            They are taken apart, as to let go of a large one at a time would hold everybody up.
        problems_of: what is wrong with the parameters of one entry.
    """

    __slots__ = ("_by_listener", "_problems_of", "_read", "complaints")

    def __init__(
        self, contents: Iterable[tuple[str, Any]], problems_of: Callable[[dict[Any, Any]], Iterable[str]]
    ) -> None:
        self._by_listener: dict[str, _Domains] = {}
        self._problems_of = problems_of
        self._read: dict[tuple[str, str], DomainEntry] = {}
        self.complaints: list[Complaint] = []
        """What does not count, or would fail at a look-up."""
        for place, content in contents:
            self._add_source(place, content)

    def find(self, listener: str, domain: str) -> DomainEntry | None:
        """The listener's own entry, one for every listener, or the one for every listener and domain.

        Args:
            listener: address and port of the accepted socket, as printed.
            domain: in any case.
        """
        domain = domain.lower()
        return self._find(listener, domain) or self._find(EVERY, domain) or self._find(EVERY, EVERY)

    def _find(self, listener: str, domain: str) -> DomainEntry | None:
        domains = self._by_listener.get(listener)
        if domains is None:
            return None
        name = domains.find(domain)
        if name is None:
            return None
        return self._read.get((listener, name)) or self._entry(listener, name, domains)

    def _entry(self, listener: str, domain: str, domains: _Domains) -> DomainEntry:
        place, parameters = domains.read(domain)
        authz = parameters.pop(_AUTHZ, ())
        if len(self._read) >= _MOST_READ:
            self._read.clear()
        entry = self._read[listener, domain] = DomainEntry(
            _name_of(listener, domain), place, parameters, authz
        )
        return entry

    def _add_source(self, place: str, content: Any) -> None:
        if type(content) is not dict:
            self._complain(place, f"expected a table of domains, not {_shown(content)}")
            return
        listeners = content.pop("listener", {})
        self._add_scope(place, EVERY, content)
        if type(listeners) is not dict:
            self._complain(place, f"`listener` must be a table of listeners, not {_shown(listeners)}")
            return
        for listener, scope in listeners.items():
            if type(scope) is dict:
                self._add_scope(place, str(listener), scope)
            else:
                self._complain(
                    place, f"listener `{listener}` must be a table of domains, not {_shown(scope)}"
                )

    def _add_scope(self, place: str, listener: str, content: dict[Any, Any]) -> None:
        domains = self._by_listener.setdefault(listener, _Domains())
        for domain in list(content):
            given = content.pop(domain)
            if type(domain) is not str or type(given) is not dict:
                self._complain(place, f"domain `{domain}` must be a table with a name, not {_shown(given)}")
                continue
            for problem in self._problems_of(given):
                self._complain(place, f"{_name_of(listener, domain.lower())}: {problem}")
            domains.add(domain.lower(), place, given)

    def _complain(self, place: str, text: str) -> None:
        self.complaints.append(Complaint(place, text))


def _name_of(listener: str, domain: str) -> str:
    return f"domain `{domain}`" if listener == EVERY else f"listener `{listener}`, domain `{domain}`"


class DomainFiles:
    """Some sources, and what they say as far as is known.

    Args:
        sources: file names and tables.
        read: reads a file; called in a thread, raises ``ValueError`` with the reason.
        problems_of: as for ``DomainTable``; called in a thread.
        epoch: the epoch of the configuration.
        clock: gives seconds.

    Raises:
        ValueError: a file cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        read: Callable[[str], Any],
        problems_of: Callable[[dict[Any, Any]], Iterable[str]],
        epoch: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = tuple(sources)
        self._read = read
        self._problems_of = problems_of
        self._epoch = epoch
        self._clock = clock
        self._names = [source for source in self._sources if type(source) is str]
        self._state: object = None
        self._reading: asyncio.Task[None] | None = None
        self._known_epoch = epoch()
        self._expires = clock() + _LIFETIME
        self._table = self._make_table()

    @property
    def complaints(self) -> Sequence[Complaint]:
        """What is wrong with the sources as they were read last."""
        return self._table.complaints

    def table(self) -> MaybeAwaitable[DomainTable]:
        """What the files say; waits for them to be read again when the configuration has changed.

        When they have only grown old what they said before is given, and they are read meanwhile.
        """
        if self._names:
            if self._known_epoch != self._epoch():
                return self._table_of_epoch()
            if self._clock() >= self._expires and self._reading is None:
                self._begin_to_read()
        return self._table

    def read_soon(self) -> None:
        """Begin to read the files again if the configuration has changed, and a loop runs."""
        if not self._names or self._known_epoch == self._epoch() or self._reading is not None:
            return
        with contextlib.suppress(RuntimeError):  # no loop: whoever asks for the table will have one
            self._begin_to_read()

    async def _table_of_epoch(self) -> DomainTable:
        while self._known_epoch != self._epoch():
            # Others wait for it, too: not cancelled with one of them.
            await asyncio.shield(self._reading or self._begin_to_read())
        return self._table

    def _begin_to_read(self) -> Awaitable[None]:
        loop = asyncio.get_running_loop()
        self._reading = loop.create_task(self._read_again())
        return self._reading

    async def _read_again(self) -> None:
        epoch = self._epoch()
        try:
            table = await asyncio.to_thread(self._make_table_if_changed)
        except ValueError as error:
            # What was right a minute ago serves better than none.
            _log.error("listener domains are not read again: %s", error)
        except Exception:  # noqa: BLE001 - whoever waits goes on with what there is
            _log.exception("listener domains are not read again")
        else:
            if table is not None:
                self._table = table
                for complaint in table.complaints[:_MOST_COMPLAINTS]:
                    _log.error("%s: %s", *complaint)
        self._known_epoch = epoch
        self._expires = self._clock() + _LIFETIME
        self._reading = None

    def _make_table_if_changed(self) -> DomainTable | None:
        if self._state is not None and self._state == _state_of(self._names):
            return None
        return self._make_table()

    def _make_table(self) -> DomainTable:
        state = _state_of(self._names)
        with _without_collections():
            table = DomainTable(self._contents(), self._problems_of)
        self._state = state
        return table

    def _contents(self) -> Iterator[tuple[str, Any]]:
        for number, source in enumerate(self._sources, 1):
            if type(source) is str:
                yield source, self._read(source)
            else:
                yield f"table #{number}", copy.deepcopy(source)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Keep Python's collector off what will be gone in a moment: all sessions would wait for it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Two at a time: the one that ends first ends it for both, which costs time and nothing else.
        if was_enabled:
            gc.enable()


def _state_of(names: Iterable[str]) -> object:
    """Something that is another one when a file has changed; None: that cannot be told now."""
    states = []
    latest = time.time_ns() - _SETTLED
    for name in names:
        try:
            found = os.stat(name)  # noqa: PTH116 - a Path would be made for this alone
        except (OSError, ValueError):
            return None
        if max(found.st_mtime_ns, found.st_ctime_ns) > latest:
            return None
        states.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return states


def _shown(value: Any) -> str:
    """What kind of a value it is, in Lua's words."""
    if type(value) is bool:
        return "a boolean"
    if type(value) in (int, float):
        return "a number"
    if type(value) is str:
        return "a string"
    return "a table" if type(value) in (dict, list) else "a value of another kind"
