"""The caches behind ``kumo.memoize``: by name, for the whole process, whatever becomes of Lua states.

Values are kept in the form of ``kept_values``; nothing here knows Lua. A value that is not there is made
by the one who asked first, in a flight; the others wait for it to land. Called by ``api.memoize``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Annotated, Any, NamedTuple

from kumo.config import Kind, Unsigned
from kumo.errors import Rejection
from kumo.policy.call_error import CallError


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoOptions:
    """Parameters of ``kumo.memoize``.

    Source: KumoMTA manual, kumo.memoize.
    """

    name: str
    ttl: Annotated[float, Kind.DURATION]
    """Seconds for which a value is good."""
    capacity: Unsigned
    """Values that are kept; the one used longest ago goes first."""
    invalidate_with_epoch: bool = False
    """A change of the configuration ends a value's life."""
    populate_timeout: Annotated[float, Kind.DURATION] = 120.0
    """Seconds that others wait for the one who makes a value."""
    retry_on_populate_timeout: bool = False
    """After that time another one makes it; else the wait fails."""
    allow_stale_reads: bool = False
    """While a value is made anew, others get the old one."""


class Entry(NamedTuple):
    """A value that was made.

    Args:
        number: unlike any other entry's.
        values: what the function returned, one or several.
        expires: time of the caches' clock.
        epoch: of the configuration when its making began.
    """

    number: int
    values: tuple[Any, ...]
    expires: float
    epoch: int


@dataclass(slots=True)
class Flight:
    """A value that is being made.

    Args:
        number: unlike any other flight's.
        cache: where it lands.
        key: for which key.
        epoch: of the configuration when it began.
        overdue: time of the caches' clock from which on nobody waits for it.
        landing: whom others wait for; None: nobody waits.
    """

    number: int
    cache: MemoCache
    key: str
    epoch: int
    overdue: float
    landing: asyncio.Future[None] | None = None


class MemoCache:
    """The values of one memoized function.

    Args:
        options: what the policy asked for.
        clock: gives seconds.
    """

    __slots__ = ("_clock", "entries", "flights", "options")

    def __init__(self, options: MemoOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self._clock = clock
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.flights: dict[str, Flight] = {}

    def find(self, key: str, epoch: int) -> Entry | None:
        """The entry of a key, if it is good still."""
        entry = self.entries.get(key)
        if entry is None or self._clock() >= entry.expires:
            return None
        if self.options.invalidate_with_epoch and entry.epoch != epoch:
            return None
        self.entries.move_to_end(key)
        return entry

    def keep(self, key: str, entry: Entry) -> None:
        """Take an entry, and drop the one used longest ago if there is no room."""
        self.entries[key] = entry
        self.entries.move_to_end(key)
        while len(self.entries) > self.options.capacity:
            self.entries.popitem(last=False)


class MemoCaches:
    """All caches of a process.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.epoch = 0
        """Of the configuration; whoever sees it change counts on."""
        self._clock = clock
        self._numbers = count(1)
        self._caches: dict[str, MemoCache] = {}
        self._flights: dict[int, Flight] = {}

    def declare(self, options: MemoOptions) -> MemoCache:
        """The cache of that name; a fresh one if the options are not those it had."""
        cache = self._caches.get(options.name)
        if cache is None or cache.options != options:
            cache = self._caches[options.name] = MemoCache(options, self._clock)
        return cache

    def find(self, name: str, key: str) -> Entry | None:
        """The value of a key, if it is good still."""
        return self._caches[name].find(key, self.epoch)

    def entry(self, name: str, key: str, number: int) -> Entry:
        """The entry that was found just now, good or not.

        Raises:
            CallError: it was replaced or dropped since.
        """
        entry = self._caches[name].entries.get(key)
        if entry is None or entry.number != number:
            raise CallError(f"the value memoized as `{name}` was dropped before it could be read")
        return entry

    def begin(self, name: str, key: str, *, may_wait: bool) -> Flight | Entry | Awaitable[None]:
        """Begin to make a value, or wait for the one who makes it.

        Args:
            name: of the cache.
            key: of the value.
            may_wait: False: where the caller cannot wait it makes the value itself.

        Returns:
            A flight, which the caller lands or abandons; an entry that is no longer good where the policy
            allows that; or what to await before looking again.
        """
        cache = self._caches[name]
        flight = cache.flights.get(key)
        now = self._clock()
        if flight is not None and may_wait and now < flight.overdue:
            stale = cache.entries.get(key) if cache.options.allow_stale_reads else None
            return stale or _wait(flight, flight.overdue - now)
        overdue = now + cache.options.populate_timeout
        flight = Flight(next(self._numbers), cache, key, self.epoch, overdue)
        cache.flights[key] = self._flights[flight.number] = flight
        return flight

    def land(self, number: int, values: tuple[Any, ...]) -> Entry:
        """Keep what a flight made, and let those who wait look at it.

        Returns:
            The entry; with no room for a single one it is not kept.

        Raises:
            CallError: the flight was abandoned.
        """
        flight = self._end(number)
        if flight is None:
            raise CallError("the value was given up before it was there")
        options = flight.cache.options
        entry = Entry(next(self._numbers), values, self._clock() + options.ttl, flight.epoch)
        flight.cache.keep(flight.key, entry)
        if flight.landing is not None and not flight.landing.done():
            flight.landing.set_result(None)
        return entry

    def abandon(self, number: int, reason: object) -> None:
        """Give a flight up; no such flight: nothing happens.

        Args:
            number: of the flight.
            reason: why it failed, as an exception or text; None: whoever waits may try for himself.
        """
        flight = self._end(number)
        if flight is None or flight.landing is None or flight.landing.done():
            return
        if reason is None:
            flight.landing.set_result(None)
        else:
            flight.landing.set_exception(_reason_for_others(flight.cache.options.name, reason))
            # Those who waited may have gone meanwhile.
            flight.landing.exception()

    def _end(self, number: int) -> Flight | None:
        flight = self._flights.pop(number, None)
        if flight is not None and flight.cache.flights.get(flight.key) is flight:
            del flight.cache.flights[flight.key]
        return flight


def _reason_for_others(name: str, reason: object) -> Exception:
    """What others hear; each exception is raised once only, so this is not the one that happened."""
    if isinstance(reason, Rejection):
        return Rejection(reason.code, reason.text, reason.mode)
    return CallError(f"the value memoized as `{name}` could not be made: {reason}")


async def _wait(flight: Flight, seconds: float) -> None:
    """Wait until a flight ends, however it does.

    Raises:
        CallError: it failed, or takes longer than the policy allows.
        Rejection: the function refused.
    """
    if flight.landing is None:
        flight.landing = asyncio.get_running_loop().create_future()
    # Not cancelled with one of those who wait.
    done, _ = await asyncio.wait({flight.landing}, timeout=seconds)
    options = flight.cache.options
    if done:
        error = flight.landing.exception()
        if isinstance(error, Rejection):
            raise Rejection(error.code, error.text, error.mode)
        if error is not None:
            raise CallError(str(error))
    elif not options.retry_on_populate_timeout:
        raise CallError(
            f"the value memoized as `{options.name}` was not there after {options.populate_timeout:g} s"
        )
