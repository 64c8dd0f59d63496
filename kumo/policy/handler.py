"""Runs one event's handler: at once where it can, as a coroutine where the handler waits.

A handler is a Lua coroutine. Each time it calls a host function that may see tables or wait, it yields
the call; the call is answered here on the main thread and the handler goes on. Called by the files
that fit this room to the others (``session_events`` and its neighbours).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, NamedTuple

from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Connection, Message
from kumo.policy.lua_state import LuaState, discard, forget_frames, is_told
from kumo.policy.octets import octets_of, text_of

_UNTIDIED = 16
"""Handlers between two times of tidying up: to ask what to tidy costs as much as a small handler."""


class _Waiting(NamedTuple):
    """A suspended handler and what it waits for."""

    number: int
    awaitable: Awaitable[Any]


class _Pending(Awaitable[Any]):
    """A handler that waits; awaited once, or given up.

    It is no coroutine, because one that ends before its first step, as in a task that is cancelled at
    once, runs no line of its own: the handler would stay suspended for ever.

    Args:
        handler: which one.
        frame: the number of its run.
        began: what the watchdog gave when it began.
        waiting: what it waits for.
    """

    __slots__ = ("_began", "_frame", "_handler", "_is_given_up", "_loop", "_waiting")

    def __init__(self, handler: Handler, frame: int, began: float, waiting: _Waiting) -> None:
        self._handler = handler
        self._frame = frame
        self._began = began
        self._waiting = waiting
        # Asked once: it looks whether the process is still the same one, which is a call of the kernel.
        self._loop = asyncio.get_running_loop()
        self._is_given_up = True

    def __await__(self) -> Generator[Any, Any, Any]:
        self._is_given_up = False
        return self._handler.go_on(self._frame, self._began, self._waiting, self._loop).__await__()

    def __del__(self) -> None:
        if self._is_given_up:
            handler = self._handler
            give_up = partial(handler.give_up, self._frame, self._began, self._waiting)
            handler.state.abandon(give_up, self._loop)


class Handler:
    """The handler, or chain of handlers, of one event in one Lua state.

    Args:
        state: the state.
        event: name of the event, as text.
        entry: what ``bridge.entry_for`` gave: the Lua function, how many arguments the handler takes, and
            whether the connection is one of them.
        is_startup: gets the time that the script itself gets.
    """

    __slots__ = ("_entry", "_is_startup", "_observe", "_takes_connection", "arity", "event", "state")

    def __init__(
        self,
        state: LuaState,
        event: str,
        entry: tuple[Callable[..., Any], int, bool],
        *,
        is_startup: bool = False,
    ) -> None:
        self.state = state
        self.event = event
        self._entry, self.arity, self._takes_connection = entry
        self._is_startup = is_startup
        observer_of = state.surroundings.observer_of
        self._observe = None if observer_of is None else observer_of(event)

    def run(
        self, message: Message | None, connection: Connection | None, *arguments: Any
    ) -> MaybeAwaitable[Any]:
        """Run it.

        Args:
            message: what the handler gets as message.
            connection: what it gets as ``conn_meta``, if it takes that.
            arguments: scalars; text as octets.

        Returns:
            What the handler returned: None, one Lua value, or a tuple of several; an awaitable of it,
            to be awaited once, when the handler waits.

        Raises:
            Rejection: the handler called ``kumo.reject`` or ``kumo.disconnect``.
            PolicyError: it failed.
        """
        state = self.state
        frame = next(state.numbers)
        if message is not None:
            state.messages[frame] = message
        if connection is not None and self._takes_connection:
            state.connections[frame] = connection
        state.active += 1
        watchdog = state.watchdog
        began = watchdog.begin(self.event, self._is_startup)
        try:
            outcome = self._entry(frame, *arguments)
            if outcome is not True and type(outcome[0]) is int:
                outcome = self._answer(outcome)
                if type(outcome) is _Waiting:
                    watchdog.end(began)
                    return _Pending(self, frame, began, outcome)
        except Exception as error:  # noqa: BLE001 - also what the binding raises of itself fails the handler
            outcome = (False, error)
        except BaseException:
            self._end_since(frame, began)
            raise
        # The clock is read once for the watchdog and for whoever counts: it and the calls around it take
        # as long as an empty handler in Lua.
        self._end(frame, watchdog.end(began))
        return None if outcome is True else self._result(outcome)

    def place(self) -> str:
        """``script.lua:LINE`` where the handler begins, for error texts; of a chain the event's name."""
        place = self.state.bridge.place_of_handler(octets_of(self.event))
        return self.event if place is None else text_of(place)

    def _answer(self, outcome: Any) -> Any:
        """Answer calls of the host until the handler ends or a call waits."""
        state = self.state
        while outcome is not True and type(outcome[0]) is int:
            number = outcome[0]
            try:
                value = outcome[1](*outcome[2:])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is Lua's to see
                outcome = state.resume(number, self.event, _failure(error))
                continue
            except BaseException:
                state.bridge.drop(number)
                raise
            if is_awaitable(value):
                return _Waiting(number, value)
            outcome = state.resume(number, self.event, _success(value))
        return outcome

    async def go_on(self, frame: int, began: float, outcome: Any, loop: asyncio.AbstractEventLoop) -> Any:
        """Run it to its end, from where it waits; for whoever ``run`` gave to await."""
        state = self.state
        try:
            while type(outcome) is _Waiting:
                reply = await self._reply(outcome, loop)
                resumed = state.watchdog.begin(self.event, self._is_startup)
                outcome = self._answer(state.resume(outcome.number, self.event, reply))
                state.watchdog.end(resumed)
        except Exception as error:  # noqa: BLE001 - as in `run`
            outcome = (False, error)
        except GeneratorExit:
            state.abandon(partial(self._end_since, frame, began), loop)
            raise
        except BaseException:
            self._end_since(frame, began)
            raise
        self._end_since(frame, began)
        return None if outcome is True else self._result(outcome)

    async def _reply(self, waiting: _Waiting, loop: asyncio.AbstractEventLoop) -> tuple[Any, ...]:
        try:
            return _success(await waiting.awaitable)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is Lua's to see
            return _failure(error)
        except GeneratorExit:
            self.state.abandon(partial(self.state.bridge.drop, waiting.number), loop)
            raise
        except BaseException:
            # The session or the daemon ends: so does the handler, wherever it stands.
            self.state.bridge.drop(waiting.number)
            raise

    def give_up(self, frame: int, began: float, waiting: _Waiting) -> None:
        """End it where it waits."""
        discard(waiting.awaitable)
        self.state.bridge.drop(waiting.number)
        self._end_since(frame, began)

    def _result(self, outcome: tuple[Any, ...]) -> Any:
        if outcome[0] is True:
            return outcome[1] if len(outcome) == 2 else outcome[1:]  # noqa: PLR2004 - true and one value
        raise self.state.failure(self.event, outcome[1])

    def _end_since(self, frame: int, began: float) -> None:
        self._end(frame, self.state.watchdog.seconds_since(began))

    def _end(self, frame: int, seconds: float) -> None:
        state = self.state
        # Most events have but one of the two, and to ask for an item costs more than to ask for any.
        if state.messages:
            state.messages.pop(frame, None)
        if state.connections:
            state.connections.pop(frame, None)
        state.active -= 1
        state.untidied = untidied = state.untidied + 1
        if untidied >= _UNTIDIED:
            state.tidy(self.event)
        observe = self._observe
        if observe is not None:
            observe(seconds)


def _success(value: Any) -> tuple[Any, ...]:
    """What a suspended handler is resumed with; a tuple is several results."""
    return (True, *value) if type(value) is tuple else (True, value)


def _failure(error: Exception) -> tuple[Any, ...]:
    """What it is resumed with when the call failed.

    Lua may catch the exception, and has it until it collects garbage: no frame with the message may hang
    on it.
    """
    if is_told(error):
        forget_frames(error)
    return False, error


def ignored(result: MaybeAwaitable[Any]) -> MaybeAwaitable[None]:
    """Drop a handler's result, now or once it is there: its event has none."""
    return _ignore_later(result) if is_awaitable(result) else None


async def _ignore_later(result: Awaitable[Any]) -> None:
    await result


def then(result: MaybeAwaitable[Any], convert: Callable[[Any], Any]) -> Any | Coroutine[Any, Any, Any]:
    """Convert a handler's result, now or once it is there."""
    if is_awaitable(result):
        return _convert_later(result, convert)
    return convert(result)


async def _convert_later(result: Awaitable[Any], convert: Callable[[Any], Any]) -> Any:
    return convert(await result)
