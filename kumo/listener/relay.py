"""Who may send mail through us to whom: the check that each RCPT passes before policy's own event.

What decides is ``kumo.reception``'s, which asks the same once more for the finished message; here is only
what follows from it for the recipient. Neither greeting nor headers count.
"""

from __future__ import annotations

from collections.abc import Awaitable

from kumo.errors import Rejection
from kumo.listener.interfaces import RelayAuthority, RelayDisposition, SessionPolicy
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Connection
from kumo.smtp import RecipientReceived


class RelayCheck:
    """Relay rights, then ``smtp_server_rcpt_to``.

    Args:
        authority: knows who may relay.
        policy: asked about recipients that may be taken.
    """

    __slots__ = ("_authority", "_policy")

    def __init__(self, authority: RelayAuthority, policy: SessionPolicy) -> None:
        self._authority = authority
        self._policy = policy

    def is_free(self, connection: Connection) -> bool:
        """Whether the peer may relay to anywhere until its address changes, whatever the domains.

        Only said where policy has no say on domains: it is asked for each recipient otherwise.
        """
        return self._authority.relays_all(connection)

    def judge(self, connection: Connection, event: RecipientReceived) -> MaybeAwaitable[None]:
        """The verdict on a recipient.

        Raises:
            Rejection: it may not be reached through us, or policy refuses it.
            PolicyError: policy failed.
        """
        found = self._authority.disposition(connection, event.sender, event.recipient)
        if is_awaitable(found):
            return self._judge_later(found, connection, event)
        return self._judge(found, connection, event)

    async def _judge_later(
        self, found: Awaitable[RelayDisposition], connection: Connection, event: RecipientReceived
    ) -> None:
        verdict = self._judge(await found, connection, event)
        if is_awaitable(verdict):
            await verdict

    def _judge(
        self, disposition: RelayDisposition, connection: Connection, event: RecipientReceived
    ) -> MaybeAwaitable[None]:
        if not disposition.takes_recipient:
            raise Rejection(550, f"5.7.1 relaying not permitted for {connection.peer}")
        # One over the limit is refused by the session; policy need not hear of it.
        return None if event.over_limit else self._policy.on_rcpt_to(connection, event.recipient)
