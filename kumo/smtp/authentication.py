"""AUTH: what a PLAIN response says, and how none of it gets into a log.

Whether the words are right is policy's business; when a response may come, the dialogue's. No text, exception
or representation that is made here holds any octet of a response.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

from kumo.errors import RemoteProtocolError
from kumo.smtp.events import CredentialsReceived

MASK: Final = "***"
"""What logs get of a line that is, or may be, a response."""

RESPONSE_COMMAND: Final = f"AUTH PLAIN {MASK}"
"""What rewriting and logs get as the command of every reply to a response on a line of its own."""

_CANCELLATION: Final = b"*"
"""The line with which a client gives up; RFC 4954 §4."""

_FIELDS: Final = 3
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")


def read_plain_response(response: bytes, command: str) -> CredentialsReceived:
    """Decode what came as initial response, or on a line after the 334.

    Args:
        response: base64 with its padding, without CRLF; any octets.
        command: the command line for logs, masked already.

    Raises:
        RemoteProtocolError: 501 5.5.2, it is not base64 in its one canonical form, not three fields between
            NULs, or one of them is not UTF-8.

    Source: RFC 4616 §2, RFC 4648 §3.5, §4.
    """
    decoded = _decode(response)
    if decoded is None:
        raise RemoteProtocolError(501, "5.5.2 Invalid base64 response")
    fields = decoded.split(b"\0")
    if len(fields) != _FIELDS:
        raise RemoteProtocolError(501, "5.5.2 Invalid decoded PLAIN response")
    try:
        authz_id, authn_id, password = (field.decode() for field in fields)
    except UnicodeDecodeError:
        raise RemoteProtocolError(501, "5.5.2 Invalid UTF8 in decoded PLAIN response") from None
    return CredentialsReceived(authz_id or authn_id, authn_id, password, command)


def read_response_line(line: bytes | None) -> CredentialsReceived:
    """Read what the client says to the 334; whatever it looks like, it is no command.

    Args:
        line: without its CRLF; None: it was over the limit.

    Raises:
        RemoteProtocolError: 500 or 501, the client gave up or what it sent cannot be a response.

    Source: RFC 4954 §4.
    """
    if line is None:
        raise RemoteProtocolError(500, "5.5.6 authentication exchange line too long")
    if line == _CANCELLATION:
        raise RemoteProtocolError(501, "5.5.0 AUTH cancelled by client")
    try:
        line.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(501, "5.5.2 Invalid UTF-8 in authentication exchange") from None
    return read_plain_response(line, RESPONSE_COMMAND)


def loggable_command(line: bytes) -> str:
    """A command line as rewriting and logs may see it.

    Of AUTH, well-formed or not, it shows only the mechanism. Nothing at all is shown of a line that is a
    response to PLAIN: clients that do not wait send one behind an AUTH that is refused, where it is taken for
    a command. What else such clients say there, ``Dialogue`` knows.
    """
    text = line.decode("utf-8", "replace")
    if text.lstrip()[:4].upper() != "AUTH":
        return MASK if _is_response(line) else text
    _verb, *arguments = text.split(maxsplit=2)
    if arguments and arguments[0].replace("-", "").isalnum():
        arguments[1:] = [MASK] * len(arguments[1:])
    else:
        arguments = [MASK] * bool(arguments)
    return " ".join(("AUTH", *arguments))


def _decode(response: bytes) -> bytes | None:
    try:
        decoded = a2b_base64(response)
    except Base64Error:
        return None
    # The codec passes over foreign octets and stray bits; encoding anew shows whether there were any.
    return decoded if b2a_base64(decoded, newline=False) == response else None


def _is_response(line: bytes) -> bool:
    """Whether a line is a response, or was meant for one and is broken."""
    letters = _NOT_BASE64.sub(b"", line)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return b" " not in line.strip() and a2b_base64(letters + b"==").count(b"\0") >= _FIELDS - 1
