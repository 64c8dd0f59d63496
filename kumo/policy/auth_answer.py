"""What a handler of ``smtp_server_auth_plain`` answered, and how its password is kept out of texts.

Called by ``session_events``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lupa.lua54 import lua_type

from kumo.errors import ConfigError, KumoError, PolicyError, Rejection
from kumo.message import Authenticated, Identity
from kumo.policy.api.arguments import kind_of
from kumo.policy.convert import convert

AUTH_PLAIN = "smtp_server_auth_plain"

_AUTHORIZATION = "SmtpAuthPlainAuthorization"
_AUTHENTICATION = "SmtpAuthPlainAuthentication"
_MASK = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenIdentity:
    identity: str
    context: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenAuthInfo:
    """An AuthInfo table; ``conn_meta:auth_info()``, extended, is one."""

    identities: tuple[_GivenIdentity, ...] = ()
    groups: tuple[str, ...] = ()
    peer_address: str | None = None
    """Taken and not looked at: the session knows it."""


def authenticated(answer: Any, authz_id: str, authn_id: str) -> Authenticated | None:
    """What a handler's answer means.

    Args:
        answer: nil, a boolean or an AuthInfo table.
        authz_id: whom the client wants to act as.
        authn_id: who it says it is.

    Returns:
        None: no.

    Raises:
        PolicyError: it is something else, or an AuthInfo without identities.
    """
    if answer is None or answer is False:
        return None
    if answer is True:
        identities = (Identity(authz_id, _AUTHORIZATION), Identity(authn_id, _AUTHENTICATION))
        return Authenticated(authz_id, authn_id, identities)
    if lua_type(answer) != "table":
        # The value itself may be what the client sent.
        raise PolicyError(
            f"{AUTH_PLAIN} must return nil, a boolean or an AuthInfo table, not a {kind_of(answer)}"
        )
    try:
        given = convert(answer, _GivenAuthInfo, constructor="AuthInfo")
    except ConfigError as error:
        raise PolicyError(f"{AUTH_PLAIN}: {error}") from None
    if not given.identities:
        raise PolicyError(
            f"{AUTH_PLAIN} returned an AuthInfo without identities: it says yes and not to whom; "
            "return false to say no"
        )
    return _from_auth_info(given)


def _from_auth_info(given: _GivenAuthInfo) -> Authenticated:
    identities = tuple(Identity(item.identity, item.context) for item in given.identities)
    by_context = {context: name for name, context in reversed(identities)}
    authn_id = by_context.get(_AUTHENTICATION, identities[0].identity)
    return Authenticated(by_context.get(_AUTHORIZATION, authn_id), authn_id, identities, given.groups)


def without_password(error: KumoError, password: str) -> KumoError:
    """The same error, or verdict, with the password masked wherever policy wrote it down.

    Nothing of the first error hangs on the new one.
    """
    if isinstance(error, Rejection):
        return Rejection(error.code, _masked(error.text, password), error.mode)
    return PolicyError(_masked(str(error), password))


def _masked(text: str, password: str) -> str:
    if not password:
        return text
    # As it is, as JSON and as Python would show it.
    forms = {password, json.dumps(password, ensure_ascii=False)[1:-1], repr(password)[1:-1]}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _MASK)
    return text
