"""What a listener asks of policy, reception, health and logs; ``server.py`` hands the real ones over."""

from __future__ import annotations

from typing import Protocol

from kumo.config import ListenerOverrides
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Authenticated, Connection
from kumo.smtp import ContentReceived, EnvelopeAddress, Reply


class SessionPolicy(Protocol):
    """Policy's say during a session. Each raises ``Rejection`` or ``PolicyError``."""

    @property
    def rewrites_replies(self) -> bool:
        """Whether ``smtp_server_rewrite_response`` has a handler; asked once per session."""

    @property
    def has_dynamic_parameters(self) -> bool:
        """Whether ``smtp_server_get_dynamic_parameters`` has a handler."""

    def get_dynamic_parameters(self, connection: Connection) -> MaybeAwaitable[ListenerOverrides]:
        """``smtp_server_get_dynamic_parameters``; asked only if it has a handler."""

    @property
    def has_listener_domains(self) -> bool:
        """Whether ``get_listener_domain`` has a handler; if not, addresses alone decide who may relay."""

    def on_connection_accepted(self, connection: Connection) -> MaybeAwaitable[None]:
        """``smtp_server_connection_accepted``."""

    def on_ehlo(
        self, connection: Connection, verb: str, domain: str, keywords: tuple[str, ...]
    ) -> MaybeAwaitable[tuple[str, ...] | None]:
        """``smtp_server_ehlo``: for EHLO, keyword lines that replace ``keywords``, or None."""

    def on_mail_from(self, connection: Connection, sender: EnvelopeAddress) -> MaybeAwaitable[None]:
        """``smtp_server_mail_from``."""

    def on_rcpt_to(self, connection: Connection, recipient: EnvelopeAddress) -> MaybeAwaitable[None]:
        """``smtp_server_rcpt_to``; comes after the relay check."""

    def on_auth_plain(
        self, connection: Connection, authz_id: str, authn_id: str, password: str
    ) -> MaybeAwaitable[Authenticated | None]:
        """``smtp_server_auth_plain``; None: no, also when there is no handler or it said nothing."""

    def rewrite_response(
        self, connection: Connection, reply: Reply, command: str | None
    ) -> MaybeAwaitable[Reply | None]:
        """``smtp_server_rewrite_response``; never raises: a failing handler is logged and gives None."""


class RelayDisposition(Protocol):
    """What a peer may do with a sender and a recipient."""

    @property
    def may_relay(self) -> bool:
        """Whether mail may go on to the recipient."""

    @property
    def takes_recipient(self) -> bool:
        """Whether RCPT is accepted: to relay, or because reports to the domain are wanted."""


class RelayAuthority(Protocol):
    """Who may relay; ``kumo.reception`` implements it."""

    def relays_all(self, connection: Connection) -> bool:
        """Whether the peer may relay anything, and no report is looked for."""

    def disposition(
        self, connection: Connection, sender: EnvelopeAddress, recipient: EnvelopeAddress
    ) -> MaybeAwaitable[RelayDisposition]:
        """What the peer may do.

        Raises:
            PolicyError: policy failed, or refused, which it may not here.
        """


class Receiver(Protocol):
    """Takes a finished transaction; ``kumo.reception`` implements it."""

    def receive(self, connection: Connection, content: ContentReceived) -> MaybeAwaitable[Reply]:
        """Answer for the message; a 250 means it is stored.

        Raises:
            Rejection: policy refused it.
            PolicyError: policy failed; the session ends with 421 4.3.0.
            SpoolError: it could not be stored; the session ends with 421 4.3.0.
        """


class Admission(Protocol):
    """Whether new sessions may begin; ``kumo.health`` implements it."""

    def refusal(self) -> str | None:
        """Why mail cannot be taken just now; None when all is well.

        The text stands after ``421 4.3.2 {hostname}``, for example ``disk is too full. Try later``.
        Cheap: it only reads what was sampled.
        """


class RejectionLog(Protocol):
    """Where refusals are recorded; ``kumo.logs`` implements it."""

    def log_rejection(
        self,
        connection: Connection,
        reply: Reply,
        command: str | None,
        sender: EnvelopeAddress | None,
        recipient: EnvelopeAddress | None,
    ) -> None:
        """Write a Rejection record; never waits."""


class AccountingLog(Protocol):
    """Where attempts to authenticate are recorded; ``kumo.logs`` implements it."""

    def log_authentication(self, connection: Connection, identity: str, *, success: bool) -> None:
        """Write an Authentication record, after ``connection.auth_info`` was brought up to date; never waits.

        Args:
            connection: the session.
            identity: the ``authn_id`` that was tried.
            success: policy's answer.
        """
