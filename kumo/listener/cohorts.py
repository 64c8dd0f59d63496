"""Connections that have read something, dealt with by what they are about.

What the processor has learnt of one command's code serves every connection that is about the same: a message
that comes after some other command takes more than twice as long as one that comes after a message. So what a
turn of the loop has read is not worked off as it comes, but sorted in the next one: the command that stands
earliest in a session first, so that the connections that give it catch up with those that are further. See
docs/decisions/0005-compiled-session.md. One for each listener, in its ``ListenerContext``.

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

    __slots__ = ("_cohort", "_is_due", "_loop", "_outbox", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        self._outbox = outbox
        self._waiting: list[list[Member]] = [[] for _ in range(_LAST + 1)]
        # What is left of a crowd that was too large for one turn; it is through before anybody else goes on.
        self._cohort: list[Member] = []
        # Whether ``run`` is under way, or will be called.
        self._is_due = False

    def add(self, member: Member, stage: int) -> None:
        """Have a connection go on in a turn to come; it is not to be added again before.

        Args:
            member: the connection.
            stage: what it is about, from ``stage_of`` or ``CONTENT``.
        """
        self._call_for_run()
        self._waiting[stage].append(member)

    def run(self) -> None:
        """Have those go on that have waited, and send what they have to send."""
        cohort = self._cohort or self._gather()
        now = self._loop.time()
        done = 0
        self._outbox.is_attended = True
        try:
            for member in cohort[:LARGEST]:
                done += 1
                member.go_on(now)
        finally:
            self._cohort = cohort[done:]
            self._outbox.is_attended = False
            self._is_due = False
            if self._cohort or any(self._waiting):
                self._call_for_run()
            self._outbox.flush()

    def _gather(self) -> list[Member]:
        """Take all that wait, the earliest stage first."""
        cohort: list[Member] = []
        for waiting in self._waiting:
            if waiting:
                cohort += waiting
                waiting.clear()
        return cohort

    def _call_for_run(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.run)


def stage_of(first: int) -> int:
    """The stage of a command.

    Args:
        first: its first octet; of one that does not begin one, any stage will do.
    """
    return _STAGES[first]
