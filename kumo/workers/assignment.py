"""What a worker is told before it begins: which part of the daemon it is, and what it inherits.

The composition root makes one for each worker it starts; the server asks its ``Share``.
"""

from __future__ import annotations

import dataclasses

import msgspec

from kumo.errors import ConfigError
from kumo.policy import Declarations


class Share(msgspec.Struct, frozen=True):
    """Which part of a daemon a process is; by default all of it.

    Args:
        number: of the worker, from 1.
        count: of workers.
        clock_sequence: of its spool ids, given to no other living worker; None: a random one.
    """

    number: int = 1
    count: int = 1
    clock_sequence: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there are no other processes."""
        return self.count == 1

    def of(self, declarations: Declarations) -> Declarations:
        """What this process has to start of all that the policy asked for.

        The daemon's ``max_connections`` are divided, so that they stay an upper bound; a worker has one at
        least. HTTP listeners are the parent's.

        Args:
            declarations: of the policy; left as they are.
        """
        if self.is_whole:
            return declarations
        listeners = [
            dataclasses.replace(listener, max_connections=self._part_of(listener.max_connections))
            for listener in declarations.listeners
        ]
        return dataclasses.replace(declarations, listeners=listeners, http_listeners=[])

    def _part_of(self, total: int) -> int:
        return max(1, (total + self.count - self.number) // self.count)


class Assignment(msgspec.Struct, frozen=True, tag=True):
    """The first frame that a worker gets.

    Args:
        share: its part.
        policy: path of the policy.
        listens: what the policy's SMTP listeners listen on, as the parent read it.
        sockets: descriptors of their listening sockets, in that order.
        locks: descriptors that the worker keeps open until it ends, so that their locks are held as long.
        diag_format: form of the diagnostics, by the command line's word.
        diag_log_dir: folder for them; None: standard error.
    """

    share: Share
    policy: str
    listens: tuple[str, ...]
    sockets: tuple[int, ...]
    locks: tuple[int, ...]
    diag_format: str
    diag_log_dir: str | None

    def check(self, declarations: Declarations) -> None:
        """Make sure that the policy still asks for the sockets that there are.

        Raises:
            ConfigError: it was changed, and only a new daemon can bind other addresses.
        """
        wanted = tuple(listener.listen for listener in declarations.listeners)
        if wanted != self.listens:
            raise ConfigError(
                f"the policy listens on {', '.join(wanted) or 'nothing'}, kumod was started with "
                f"{', '.join(self.listens) or 'nothing'}: restart it"
            )
