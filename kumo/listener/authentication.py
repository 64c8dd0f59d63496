"""One attempt to authenticate: policy's answer, its effect on the session, its record."""

from __future__ import annotations

from collections.abc import Awaitable

from kumo.listener.client_identity import note_authentication
from kumo.listener.interfaces import AccountingLog, SessionPolicy
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Authenticated, Connection
from kumo.smtp import CredentialsReceived


class AuthenticationAttempt:
    """Credentials on their way through policy.

    Args:
        connection: the session.
        credentials: what the client sent.
    """

    __slots__ = ("_authn_id", "_connection", "_success")

    def __init__(self, connection: Connection, credentials: CredentialsReceived) -> None:
        self._connection = connection
        self._authn_id = credentials.authn_id
        self._success: bool | None = None

    def decide(self, policy: SessionPolicy, credentials: CredentialsReceived) -> MaybeAwaitable[bool]:
        """Ask policy; a yes is noted in the connection.

        Raises:
            Rejection: policy's own reply.
            PolicyError: policy failed.
        """
        answer = policy.on_auth_plain(
            self._connection, credentials.authz_id, credentials.authn_id, credentials.password
        )
        return self._wait(answer) if is_awaitable(answer) else self._settle(answer)

    def record(self, log: AccountingLog) -> None:
        """Write the attempt down, if policy gave it a yes or a no."""
        if self._success is not None:
            log.log_authentication(self._connection, self._authn_id, success=self._success)

    async def _wait(self, answer: Awaitable[Authenticated | None]) -> bool:
        return self._settle(await answer)

    def _settle(self, authenticated: Authenticated | None) -> bool:
        if authenticated is not None:
            note_authentication(self._connection, authenticated)
        self._success = authenticated is not None
        return self._success
