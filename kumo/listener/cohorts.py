"""Connections that have read something, dealt with by what they are about.

What the processor has learnt of one command's code serves every connection that is about the same: a message
that comes after some other command takes more than twice as long as one that comes after a message. So what a
turn of the loop has read is not worked off as it comes. It is sorted, and one sort is worked off a turn, the
one that stands earliest in a session: its connections catch up with those that are further, and soon many
are about the same. See docs/decisions/0005-compiled-session.md. One for each listener, in its
``ListenerContext``.

Source: Larus and Parkes, "Using Cohort Scheduling to Enhance Server Performance", USENIX 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

    from kumo.listener.outbox import Outbox

CONTENT: Final = 4
"""The stage of what is read after DATA; those of commands go by their first letter."""

_LAST: Final = 5
"""QUIT, as nothing is to wait for an end, and whatever else there is."""

_STAGES: Final = bytes(
    next((stage for stage, letters in enumerate(("AEHSX", "M", "R", "BD")) if letter in letters), _LAST)
    for letter in (chr(octet).upper() for octet in range(256))
)
"""The stage of a command by its first octet."""

LARGEST: Final = 64
"""Connections that go on before the loop may turn to others."""

PATIENCE: Final = 2
"""Turns for which a stage may be passed over; then the one that has waited longest is next. With one turn
half of the gain is lost, more than two gain nothing and leave more to a client that always has an early
command."""


class Member(Protocol):
    """A connection, as a cohort sees it."""

    def go_on(self, now: float) -> None:
        """Work off what was read. Raises nothing."""


class Cohorts:
    """Connections with something to work off, by stage, oldest first.

    Where nothing else is to be done, nobody waits: a turn of the loop that finds some waiting does not sleep.

    Args:
        loop: whose turns count.
        outbox: takes the replies; they are sent when the cohort is through.
    """

    __slots__ = ("_count", "_is_due", "_loop", "_outbox", "_since", "_turn", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        self._outbox = outbox
        self._waiting: list[list[Member]] = [[] for _ in range(_LAST + 1)]
        # The turn from which on each stage is waiting; of a crowd the part that is left begins anew.
        self._since = [0] * (_LAST + 1)
        self._count = 0
        self._turn = 0
        # Whether ``run`` is under way, or will be called.
        self._is_due = False

    def add(self, member: Member, stage: int) -> None:
        """Have a connection go on in a turn to come; it is not to be added again before.

        Args:
            member: the connection.
            stage: what it is about, from ``stage_of`` or ``CONTENT``.
        """
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.run)
        self._count += 1
        waiting = self._waiting[stage]
        if not waiting:
            self._since[stage] = self._turn
        waiting.append(member)

    def run(self) -> None:
        """Have one cohort go on, and send what it has to send."""
        self._turn += 1
        stage = self._next_stage()
        waiting = self._waiting[stage]
        cohort = waiting[:LARGEST]
        self._waiting[stage] = waiting[LARGEST:]
        self._since[stage] = self._turn
        self._count -= len(cohort)
        now = self._loop.time()
        done = 0
        self._outbox.is_attended = True
        try:
            for member in cohort:
                done += 1
                member.go_on(now)
        finally:
            if done < len(cohort):
                self._waiting[stage][:0] = cohort[done:]
                self._count += len(cohort) - done
            self._outbox.is_attended = False
            self._is_due = self._count > 0
            if self._is_due:
                self._loop.call_soon(self.run)
            self._outbox.flush()

    def _next_stage(self) -> int:
        """The earliest stage of those where somebody waits, or the one that has waited for too long."""
        earliest = longest = -1
        for stage, waiting in enumerate(self._waiting):
            if not waiting:
                continue
            if earliest < 0:
                earliest = longest = stage
            elif self._since[stage] < self._since[longest]:
                longest = stage
        return longest if self._turn - self._since[longest] > PATIENCE else earliest


def stage_of(first: int) -> int:
    """The stage of a command.

    Args:
        first: its first octet; of one that does not begin one, any stage will do.
    """
    return _STAGES[first]
