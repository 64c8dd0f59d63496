"""The caches behind kumo.memoize, without Lua."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from kumo.errors import Rejection
from kumo.policy.call_error import CallError
from kumo.policy.memo_caches import Entry, Flight, MemoCaches, MemoOptions


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def options(**changes: Any) -> MemoOptions:
    return dataclasses.replace(MemoOptions(name="m", ttl=10.0, capacity=2, populate_timeout=5.0), **changes)


def take_off(caches: MemoCaches, key: str) -> Flight:
    flight = caches.begin("m", key, may_wait=True)
    assert isinstance(flight, Flight)
    return flight


def put(caches: MemoCaches, key: str, value: Any) -> Entry:
    return caches.land(take_off(caches, key).number, (value,))


def value_of(caches: MemoCaches, key: str) -> Any:
    entry = caches.find("m", key)
    return None if entry is None else entry.values


def waiting(caches: MemoCaches, key: str) -> asyncio.Future[Any]:
    outcome = caches.begin("m", key, may_wait=True)
    assert not isinstance(outcome, Flight | Entry)
    return asyncio.ensure_future(outcome)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def caches(clock: Clock) -> MemoCaches:
    caches = MemoCaches(clock)
    caches.declare(options())
    return caches


def test_a_value_is_good_for_its_time(caches: MemoCaches, clock: Clock) -> None:
    put(caches, "k", 1)
    clock.now += 9.9
    assert value_of(caches, "k") == (1,)
    clock.now += 0.1
    assert value_of(caches, "k") is None


def test_the_value_used_longest_ago_goes_first(caches: MemoCaches) -> None:
    put(caches, "a", 1)
    put(caches, "b", 2)
    assert value_of(caches, "a") == (1,)
    put(caches, "c", 3)
    assert [value_of(caches, key) for key in "abc"] == [(1,), None, (3,)]


def test_without_room_nothing_is_kept_but_the_maker_has_the_value(caches: MemoCaches) -> None:
    caches.declare(options(capacity=0))
    assert put(caches, "a", 1).values == (1,)
    assert value_of(caches, "a") is None


@pytest.mark.parametrize(("depends", "kept"), [(True, None), (False, (1,))])
def test_a_new_epoch_ends_values_that_depend_on_it(
    caches: MemoCaches, depends: bool, kept: tuple[int] | None
) -> None:
    caches.declare(options(invalidate_with_epoch=depends))
    put(caches, "k", 1)
    caches.epoch += 1
    assert value_of(caches, "k") == kept


def test_a_value_belongs_to_the_epoch_in_which_its_making_began(caches: MemoCaches) -> None:
    caches.declare(options(invalidate_with_epoch=True))
    flight = take_off(caches, "k")
    caches.epoch += 1
    caches.land(flight.number, ("old",))
    assert value_of(caches, "k") is None


def test_the_same_options_mean_the_same_cache_and_others_a_fresh_one(caches: MemoCaches) -> None:
    put(caches, "k", 1)
    caches.declare(options())
    assert value_of(caches, "k") == (1,)
    caches.declare(options(ttl=11.0))
    assert value_of(caches, "k") is None


async def test_others_wait_for_the_one_who_makes_a_value(caches: MemoCaches) -> None:
    flight = take_off(caches, "k")
    waits = [waiting(caches, "k") for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    caches.land(flight.number, (1,))
    await asyncio.gather(*waits)
    assert value_of(caches, "k") == (1,)


async def test_one_who_stops_waiting_takes_nothing_from_the_others(caches: MemoCaches) -> None:
    flight = take_off(caches, "k")
    gone, stays = waiting(caches, "k"), waiting(caches, "k")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    caches.land(flight.number, (1,))
    await stays
    assert value_of(caches, "k") == (1,)


async def test_who_cannot_wait_makes_the_value_itself(caches: MemoCaches) -> None:
    slow = take_off(caches, "k")
    own = caches.begin("m", "k", may_wait=False)
    assert isinstance(own, Flight)
    caches.land(own.number, ("own",))
    assert value_of(caches, "k") == ("own",)
    caches.land(slow.number, ("slow",))
    assert value_of(caches, "k") == ("slow",)


@pytest.mark.parametrize(
    ("reason", "error", "text"),
    [
        (ValueError("no file"), CallError, "the value memoized as `m` could not be made: no file"),
        ("init.lua:3: bad", CallError, "the value memoized as `m` could not be made: init.lua:3: bad"),
        (Rejection(451, "later"), Rejection, "451 later"),
    ],
)
async def test_a_failure_is_that_of_all_who_wait(
    caches: MemoCaches, reason: object, error: type[Exception], text: str
) -> None:
    flight = take_off(caches, "k")
    waits = [waiting(caches, "k") for _ in range(2)]
    await asyncio.sleep(0)
    caches.abandon(flight.number, reason)
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert [(type(result), str(result)) for result in results] == [(error, text)] * 2
    assert results[0] is not results[1]
    assert isinstance(caches.begin("m", "k", may_wait=True), Flight)


async def test_when_a_handler_is_dropped_whoever_waits_may_try(caches: MemoCaches) -> None:
    flight = take_off(caches, "k")
    wait = waiting(caches, "k")
    await asyncio.sleep(0)
    caches.abandon(flight.number, None)
    await wait
    assert isinstance(caches.begin("m", "k", may_wait=True), Flight)


def test_what_has_landed_or_was_given_up_cannot_be_given_up_or_land(caches: MemoCaches) -> None:
    entry = put(caches, "k", 1)
    caches.abandon(entry.number - 1, "late")
    assert value_of(caches, "k") == (1,)
    flight = take_off(caches, "other")
    caches.abandon(flight.number, None)
    with pytest.raises(CallError, match="given up"):
        caches.land(flight.number, (2,))


async def test_a_wait_ends_with_the_time_to_populate(caches: MemoCaches, clock: Clock) -> None:
    caches.declare(options(populate_timeout=0.001))
    flight = take_off(caches, "k")
    with pytest.raises(CallError, match=r"`m` was not there after 0\.001 s"):
        await waiting(caches, "k")
    clock.now += 1
    assert take_off(caches, "k").number != flight.number


async def test_after_the_time_to_populate_the_next_one_may_retry(caches: MemoCaches, clock: Clock) -> None:
    caches.declare(options(populate_timeout=0.001, retry_on_populate_timeout=True))
    flight = take_off(caches, "k")
    await waiting(caches, "k")
    clock.now += 1
    assert take_off(caches, "k").number != flight.number


def test_an_old_value_is_read_while_it_is_made_anew(caches: MemoCaches, clock: Clock) -> None:
    caches.declare(options(allow_stale_reads=True))
    old = put(caches, "k", "old")
    clock.now += 10
    take_off(caches, "k")
    assert caches.begin("m", "k", may_wait=True) is old
    assert caches.entry("m", "k", old.number) is old
    clock.now += 5
    assert isinstance(caches.begin("m", "k", may_wait=True), Flight), "nobody makes it any more"


def test_an_entry_that_was_replaced_cannot_be_read(caches: MemoCaches) -> None:
    old = put(caches, "k", 1)
    put(caches, "k", 2)
    with pytest.raises(CallError, match="dropped before it could be read"):
        caches.entry("m", "k", old.number)
