"""The events of an SMTP session, in the form that ``kumo.listener`` and ``kumo.reception`` ask for.

One adapter is both: the listener's ``SessionPolicy`` and reception's ``RelayPolicy``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any

from lupa.lua54 import lua_type

from kumo.config import ListenerDomain, ListenerOverrides
from kumo.errors import ConfigError, KumoError, PolicyError, Rejection
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Authenticated, Connection
from kumo.policy.api import LISTENER_DOMAIN
from kumo.policy.api.arguments import kind_of
from kumo.policy.auth_answer import AUTH_PLAIN, authenticated, without_password
from kumo.policy.convert import convert
from kumo.policy.engine import PolicyEngine
from kumo.policy.handler import Handler, ignored, then
from kumo.policy.json_values import lua_to_json
from kumo.policy.octets import octets_of, text_of
from kumo.smtp import EnvelopeAddress, Reply

_log = logging.getLogger("kumod.policy")

_REWRITE = "smtp_server_rewrite_response"
_DYNAMIC = "smtp_server_get_dynamic_parameters"
_DOMAIN = "get_listener_domain"

_WITH_EXTENSIONS = 3
"""Arguments of a handler of EHLO that takes the extensions."""

_NO_OVERRIDES = ListenerOverrides()


class SessionEvents:
    """Fires the session's events; an event without handler costs one look-up.

    Args:
        engine: the policy.
    """

    __slots__ = ("_handlers",)

    def __init__(self, engine: PolicyEngine) -> None:
        self._handlers = engine.handlers

    @property
    def rewrites_replies(self) -> bool:
        """Whether ``smtp_server_rewrite_response`` has a handler."""
        return _REWRITE in self._handlers

    @property
    def has_dynamic_parameters(self) -> bool:
        """Whether ``smtp_server_get_dynamic_parameters`` has a handler."""
        return _DYNAMIC in self._handlers

    @property
    def has_listener_domains(self) -> bool:
        """Whether ``get_listener_domain`` has a handler."""
        return _DOMAIN in self._handlers

    def get_dynamic_parameters(self, connection: Connection) -> MaybeAwaitable[ListenerOverrides]:
        """Fire ``smtp_server_get_dynamic_parameters(via, conn_meta)``.

        Returns:
            What the handler's table gives; nothing given when there is no handler.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed, returned no table, or one with a bad parameter.
        """
        handler = self._handlers.get(_DYNAMIC)
        if handler is None:
            return _NO_OVERRIDES
        return then(
            handler.run(None, connection, octets_of(connection.via)),
            lambda result: _overrides(handler, result),
        )

    def on_connection_accepted(self, connection: Connection) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_connection_accepted(conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_connection_accepted")
        if handler is None:
            return None
        result = handler.run(None, connection)
        return None if result is None else ignored(result)

    def on_ehlo(
        self, connection: Connection, verb: str, domain: str, keywords: tuple[str, ...]
    ) -> MaybeAwaitable[tuple[str, ...] | None]:
        """Fire ``smtp_server_ehlo(domain, conn_meta, extensions)``, for HELO without the last.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed, or returned no array of strings.
        """
        handler = self._handlers.get("smtp_server_ehlo")
        if handler is None:
            return None
        if verb != "EHLO":
            return ignored(handler.run(None, connection, False, octets_of(domain)))
        if handler.arity < _WITH_EXTENSIONS:
            result = handler.run(None, connection, False, octets_of(domain))
        else:
            result = handler.run(None, connection, True, octets_of(domain), *_octets_of_all(keywords))
        return None if result is None else then(result, _keywords)

    def on_auth_plain(
        self, connection: Connection, authz_id: str, authn_id: str, password: str
    ) -> MaybeAwaitable[Authenticated | None]:
        """Fire ``smtp_server_auth_plain(authz_id, authn_id, password, conn_meta)``.

        Returns:
            None: no; also without a handler, and when it returned nil.

        Raises:
            Rejection: the handler refused; the password is masked in its text.
            PolicyError: it failed, or returned neither a boolean nor an AuthInfo table; likewise masked.
        """
        handler = self._handlers.get(AUTH_PLAIN)
        if handler is None:
            return None
        try:
            result = handler.run(
                None, connection, octets_of(authz_id), octets_of(authn_id), octets_of(password)
            )
            if is_awaitable(result):
                return _authenticate_later(result, authz_id, authn_id, password)
            return authenticated(_first(result), authz_id, authn_id)
        except KumoError as error:
            problem = without_password(error, password)
        # Raised out here, so that the first error, which may hold the password, is not its context.
        raise problem

    def get_listener_domain(
        self, connection: Connection, domain: str
    ) -> MaybeAwaitable[ListenerDomain | None]:
        """Fire ``get_listener_domain(domain, via, conn_meta)``.

        Args:
            connection: the session.
            domain: of the sender or of a recipient, normalised; empty for the null sender and Postmaster.

        Returns:
            What was made by ``kumo.make_listener_domain``; None when the handler knows no such domain.

        Raises:
            PolicyError: the handler failed, refused, or returned something else.
        """
        handler = self._handlers.get(_DOMAIN)
        if handler is None:
            return None
        try:
            result = handler.run(None, connection, octets_of(domain), octets_of(connection.via))
            if is_awaitable(result):
                return _listener_domain_later(handler, result)
        except Rejection as rejection:
            raise _dishonoured(rejection) from None
        return _listener_domain(handler, result)

    def on_mail_from(self, connection: Connection, sender: EnvelopeAddress) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_mail_from(sender, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_mail_from")
        if handler is None:
            return None
        result = handler.run(None, connection, octets_of(sender.email))
        return None if result is None else ignored(result)

    def on_rcpt_to(self, connection: Connection, recipient: EnvelopeAddress) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_rcpt_to(recipient, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_rcpt_to")
        if handler is None:
            return None
        result = handler.run(None, connection, octets_of(recipient.email))
        return None if result is None else ignored(result)

    def rewrite_response(
        self, connection: Connection, reply: Reply, command: str | None
    ) -> MaybeAwaitable[Reply | None]:
        """Fire ``smtp_server_rewrite_response(status, response, command, conn_meta)``.

        Returns:
            The reply to send; None: the given one. A handler that fails is logged and changes nothing.
        """
        handler = self._handlers.get(_REWRITE)
        if handler is None:
            return None
        command_octets = None if command is None else octets_of(command)
        try:
            result = handler.run(None, connection, reply.code, octets_of(reply.text), command_octets)
            return _rewrite_later(result, reply) if is_awaitable(result) else _rewritten(result, reply)
        except KumoError as error:
            _log_ignored(error)
            return None


@lru_cache(maxsize=64)
def _octets_of_all(keywords: tuple[str, ...]) -> tuple[str, ...]:
    """Keywords for Lua; they are the server's own, the same for one session after the other."""
    return tuple(map(octets_of, keywords))


def _first(result: Any) -> Any:
    """The first of a handler's results: `return nil, 'why'` is how Lua says no."""
    return result[0] if type(result) is tuple else result


def _overrides(handler: Handler, result: Any) -> ListenerOverrides:
    table = _first(result)
    if lua_type(table) != "table":
        raise PolicyError(
            f"{_DYNAMIC} must return a table of listener parameters, which may be empty, "
            f"not a {kind_of(table)}"
        )
    try:
        return convert(table, ListenerOverrides, constructor="the returned table")
    except ConfigError as error:
        raise PolicyError(f"{_DYNAMIC}: {handler.place()}: {error}") from None


async def _authenticate_later(
    result: Awaitable[Any], authz_id: str, authn_id: str, password: str
) -> Authenticated | None:
    try:
        return authenticated(_first(await result), authz_id, authn_id)
    except KumoError as error:
        problem = without_password(error, password)
    raise problem


def _listener_domain(handler: Handler, result: Any) -> ListenerDomain | None:
    candidate = _first(result)
    if candidate is None:
        return None
    value = handler.state.object_value(LISTENER_DOMAIN, candidate)
    if isinstance(value, ListenerDomain):
        return value
    raise PolicyError(
        f"{_DOMAIN} must return nil or an object made by {LISTENER_DOMAIN}, not a {kind_of(candidate)}"
    )


async def _listener_domain_later(handler: Handler, result: Awaitable[Any]) -> ListenerDomain | None:
    try:
        answer = await result
    except Rejection as rejection:
        raise _dishonoured(rejection) from None
    return _listener_domain(handler, answer)


def _dishonoured(rejection: Rejection) -> PolicyError:
    return PolicyError(
        f"{_DOMAIN}: a verdict ({rejection}) means nothing here; return nil for a domain that is not ours, "
        "or refuse in smtp_server_rcpt_to"
    )


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
