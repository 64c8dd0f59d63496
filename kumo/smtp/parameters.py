"""ESMTP parameters of MAIL and RCPT: checked values, unknown keywords left alone.

The core has split them into keywords and values; what a value may be is known here. Parameters only tell
what the client declared; nothing in a session but SIZE depends on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kumo.errors import RemoteProtocolError
from kumo.smtp.events import (
    NO_RECIPIENT_PARAMETERS,
    NOTHING_DECLARED,
    DeclaredParameters,
    RecipientParameters,
)
from kumo.smtp.limits import MAX_ENVID_LENGTH, MAX_ORCPT_LENGTH, MAX_SIZE_DIGITS
from kumo_core.command import decode_xtext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Parameters = Iterable[tuple[str, str | None]]

_NOTIFY_CONDITIONS = frozenset({"SUCCESS", "FAILURE", "DELAY"})


def read_mail_parameters(parameters: Parameters) -> DeclaredParameters:
    """Check what follows the reverse-path; keywords are in upper case, unknown ones are ignored.

    Raises:
        RemoteProtocolError: 501 5.5.4, a known keyword twice or with a value that it cannot have.
    """
    if not parameters:
        return NOTHING_DECLARED
    declared = _read(parameters, _MAIL_READERS)
    return DeclaredParameters(
        size=_int_or_none(declared.get("SIZE")),
        body=declared.get("BODY"),
        smtputf8="SMTPUTF8" in declared,
        ret=declared.get("RET"),
        envid=declared.get("ENVID"),
    )


def read_rcpt_parameters(parameters: Parameters) -> RecipientParameters:
    """Check what follows the forward-path; keywords are in upper case, unknown ones are ignored.

    Raises:
        RemoteProtocolError: 501 5.5.4, a known keyword twice or with a value that it cannot have.
    """
    if not parameters:
        return NO_RECIPIENT_PARAMETERS
    declared = _read(parameters, _RCPT_READERS)
    return RecipientParameters(notify=declared.get("NOTIFY"), orcpt=declared.get("ORCPT"))


def _read(parameters: Parameters, readers: Mapping[str, Callable[[str | None], str]]) -> dict[str, str]:
    declared: dict[str, str] = {}
    for keyword, value in parameters:
        reader = readers.get(keyword)
        if reader is None:
            continue
        if keyword in declared:
            raise RemoteProtocolError(501, f"5.5.4 Duplicate {keyword} parameter")
        try:
            declared[keyword] = reader(value)
        except ValueError:
            raise RemoteProtocolError(501, f"5.5.4 Invalid {keyword} parameter") from None
    return declared


def _size(value: str | None) -> str:
    """RFC 1870 §4."""
    if value is None or not 0 < len(value) <= MAX_SIZE_DIGITS or not (value.isascii() and value.isdigit()):
        raise ValueError("1 to 20 digits")
    return value


def _body(value: str | None) -> str:
    """RFC 6152 §3; BINARYMIME comes with CHUNKING only, which is not offered."""
    return _one_of(value, "7BIT", "8BITMIME")


def _smtputf8(value: str | None) -> str:
    """RFC 6531 §3.4."""
    if value is not None:
        raise ValueError("no value")
    return ""


def _ret(value: str | None) -> str:
    """RFC 3461 §4.3."""
    return _one_of(value, "FULL", "HDRS")


def _envid(value: str | None) -> str:
    """RFC 3461 §4.4: printable US-ASCII once decoded."""
    if not value or len(value) > MAX_ENVID_LENGTH or not decode_xtext(value).decode("ascii").isprintable():
        raise ValueError("1 to 100 characters of xtext")
    return value


def _notify(value: str | None) -> str:
    """RFC 3461 §4.1."""
    if value is None:
        raise ValueError("a list of conditions")
    conditions = value.upper()
    if conditions != "NEVER" and not _NOTIFY_CONDITIONS.issuperset(conditions.split(",")):
        raise ValueError("NEVER, or some of SUCCESS, FAILURE, DELAY")
    return conditions


def _orcpt(value: str | None) -> str:
    """RFC 3461 §4.2; type utf-8 may also hold UTF-8 as it is, RFC 6533 §3."""
    if value is None or len(value) > MAX_ORCPT_LENGTH:
        raise ValueError("at most 500 characters")
    kind, separator, address = value.partition(";")
    if not separator or not address or not kind.isascii() or not kind.replace("-", "").isalnum():
        raise ValueError("type;address")
    if kind.lower() != "utf-8" or address.isascii():
        decode_xtext(address)
    return value


def _one_of(value: str | None, *choices: str) -> str:
    word = "" if value is None else value.upper()
    if word not in choices:
        raise ValueError(" or ".join(choices))
    return word


def _int_or_none(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


_MAIL_READERS = {"SIZE": _size, "BODY": _body, "SMTPUTF8": _smtputf8, "RET": _ret, "ENVID": _envid}
_RCPT_READERS = {"NOTIFY": _notify, "ORCPT": _orcpt}
