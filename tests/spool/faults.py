"""File operations that fail, or kill the process, at a chosen call."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.spool.samples import UnsyncedFiles

CHANGING = (
    "create",
    "write",
    "write_at",
    "truncate",
    "close",
    "sync_file",
    "sync_file_system",
    "sync_directory",
    "rename",
    "unlink",
    "make_directory",
    "remove_directory",
)


class Call(NamedTuple):
    name: str
    arguments: tuple[Any, ...]


class InstrumentedFiles(UnsyncedFiles):
    """Records each call that changes something, and asks ``before`` first.
    ``before`` gets the call and its number, from 0, since ``calls`` was last cleared.
    """

    def __init__(self, before: Callable[[Call, int], None] | None = None) -> None:
        self.calls: list[Call] = []
        self.before = before

    def names(self) -> list[str]:
        return [call.name for call in self.calls]


def _instrumented(name: str) -> Callable[..., Any]:
    plain = getattr(UnsyncedFiles, name)

    @functools.wraps(plain)
    def method(self: InstrumentedFiles, *arguments: Any) -> Any:
        call = Call(name, arguments)
        self.calls.append(call)
        if self.before is not None:
            self.before(call, len(self.calls) - 1)
        return plain(self, *arguments)

    return method


for _name in CHANGING:
    setattr(InstrumentedFiles, _name, _instrumented(_name))


def failing_at(number: int, error: int) -> Callable[[Call, int], None]:
    """Fail once, at call ``number``; a write leaves half of its octets behind, as a full disk does."""

    def before(call: Call, current: int) -> None:
        if current == number:
            _leave_half(call)
            if call.name == "close":
                os.close(call.arguments[0])
            raise OSError(error, os.strerror(error))

    return before


def killing_at(number: int) -> Callable[[Call, int], None]:
    """Kill this process at call ``number``, in the middle of it where it is a write."""

    def before(call: Call, current: int) -> None:
        if current == number:
            _leave_half(call)
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def _leave_half(call: Call) -> None:
    if call.name == "write_at":
        descriptor, segments, offset = call.arguments
        octets = b"".join(segments)
        os.pwrite(descriptor, octets[: len(octets) // 2], offset)
    if call.name == "write":
        descriptor, segments = call.arguments
        octets = b"".join(segments)
        os.write(descriptor, octets[: len(octets) // 2])
