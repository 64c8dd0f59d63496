"""The events of an SMTP session, in the form that ``kumo.listener`` asks for (its ``SessionPolicy``)."""

from __future__ import annotations

import logging
from typing import Any

from lupa.lua54 import lua_type

from kumo.errors import KumoError, PolicyError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Connection
from kumo.policy.engine import PolicyEngine
from kumo.policy.handler import ignored, then
from kumo.policy.json_values import lua_to_json
from kumo.policy.octets import octets_of, text_of
from kumo.smtp import EnvelopeAddress, Reply

_log = logging.getLogger("kumod.policy")

_REWRITE = "smtp_server_rewrite_response"


class SessionEvents:
    """Fires the session's events; an event without handler costs one look-up.

    Args:
        engine: the policy.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    @property
    def rewrites_replies(self) -> bool:
        """Whether ``smtp_server_rewrite_response`` has a handler."""
        return _REWRITE in self._engine.handlers

    def on_connection_accepted(self, connection: Connection) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_connection_accepted(conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._engine.handlers.get("smtp_server_connection_accepted")
        if handler is None:
            return None
        return ignored(handler.run(None, connection))

    def on_ehlo(
        self, connection: Connection, verb: str, domain: str, keywords: tuple[str, ...]
    ) -> MaybeAwaitable[tuple[str, ...] | None]:
        """Fire ``smtp_server_ehlo(domain, conn_meta, extensions)``, for HELO without the last.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed, or returned no array of strings.
        """
        handler = self._engine.handlers.get("smtp_server_ehlo")
        if handler is None:
            return None
        if verb != "EHLO":
            return ignored(handler.run(None, connection, False, octets_of(domain)))
        return then(
            handler.run(None, connection, True, octets_of(domain), *map(octets_of, keywords)), _keywords
        )

    def on_mail_from(self, connection: Connection, sender: EnvelopeAddress) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_mail_from(sender, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._engine.handlers.get("smtp_server_mail_from")
        if handler is None:
            return None
        return ignored(handler.run(None, connection, octets_of(sender.email)))

    def on_rcpt_to(self, connection: Connection, recipient: EnvelopeAddress) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_rcpt_to(recipient, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._engine.handlers.get("smtp_server_rcpt_to")
        if handler is None:
            return None
        return ignored(handler.run(None, connection, octets_of(recipient.email)))

    def rewrite_response(
        self, connection: Connection, reply: Reply, command: str | None
    ) -> MaybeAwaitable[Reply | None]:
        """Fire ``smtp_server_rewrite_response(status, response, command, conn_meta)``.

        Returns:
            The reply to send; None: the given one. A handler that fails is logged and changes nothing.
        """
        handler = self._engine.handlers.get(_REWRITE)
        if handler is None:
            return None
        command_octets = None if command is None else octets_of(command)
        try:
            result = handler.run(None, connection, reply.code, octets_of(reply.text), command_octets)
            return _rewrite_later(result, reply) if is_awaitable(result) else _rewritten(result, reply)
        except KumoError as error:
            _log_ignored(error)
            return None


def _keywords(result: Any) -> tuple[str, ...] | None:
    if result is None:
        return None
    if lua_type(result) == "table":
        try:
            keywords = lua_to_json(result) or []
        except ValueError:
            keywords = None
        if type(keywords) is list and all(type(keyword) is str for keyword in keywords):
            return tuple(keywords)
    raise PolicyError(f"smtp_server_ehlo must return nil or an array of strings, not {result!r}")


async def _rewrite_later(result: Any, reply: Reply) -> Reply | None:
    try:
        return _rewritten(await result, reply)
    except KumoError as error:
        _log_ignored(error)
        return None


def _rewritten(result: Any, reply: Reply) -> Reply | None:
    if result is None:
        return None
    code, text, *_ = (*result, None) if type(result) is tuple else (result, None)
    if code is None:
        code = reply.code
    if type(code) is float and code.is_integer():
        code = int(code)
    if type(code) is not int or not isinstance(text, str | None):
        raise PolicyError(
            f"{_REWRITE} must return an integer or nil and a string or nil, not {code!r} and {text!r}"
        )
    return Reply(code, reply.text if text is None else text_of(text))


def _log_ignored(error: KumoError) -> None:
    _log.error("the reply stays as it was: %s", error)
