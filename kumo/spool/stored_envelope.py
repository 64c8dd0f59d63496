"""What the meta spool holds of a message: envelope and meta as KumoMTA's JSON.

``{"sender":"…","recipient":"…","meta":{…},"schedule":null}`` in this order of keys; ``recipient`` is an
array for more than one. Called by the facade, the enumeration and the listing.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec

from kumo.errors import CorruptEntry, SpoolError
from kumo.message import Message
from kumo.smtp import EnvelopeAddress, parse_envelope_address

_log = logging.getLogger("kumod.spool")

_SURROGATE = re.compile("[\ud800-\udfff]")


class StoredEnvelope(msgspec.Struct, frozen=True):
    """The JSON object, field by field; keys that are not known are passed over."""

    sender: str
    recipient: str | list[str]
    meta: dict[str, Any] | None = None
    schedule: dict[str, Any] | None = None


# Keys of maps sorted, fields in their own order: as KumoMTA writes both.
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(StoredEnvelope).decode


def encode_envelope(message: Message) -> bytes:
    """Write a message's envelope and meta as JSON.

    Octets that are no UTF-8 (lone surrogates in the text) become U+FFFD: JSON has no place for them, and
    an escaped one would make the entry unreadable for KumoMTA.

    Raises:
        SpoolError: meta holds something that JSON cannot.

    Source: KumoMTA manual, spool; RFC 8259 §8.2.
    """
    recipients = [recipient.email for recipient in message.recipients]
    envelope = StoredEnvelope(
        message.sender.email, recipients[0] if len(recipients) == 1 else recipients, message.meta
    )
    try:
        try:
            return _encode(envelope)
        except UnicodeEncodeError:
            return _encode(StoredEnvelope(**_mended(msgspec.to_builtins(envelope))))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpoolError(f"unable to store meta of message {message.id}: {error}") from error


def decode_envelope(octets: bytes, spool_id: str) -> Message:
    """Make the message again, its content left on the spool.

    Args:
        octets: as ``encode_envelope`` or KumoMTA wrote them.
        spool_id: the name of the entry.

    Raises:
        CorruptEntry: torn, or not of that form.
    """
    try:
        envelope = _decode(octets)
        sender = parse_envelope_address(envelope.sender)
        recipients = _recipients(envelope.recipient)
    except (ValueError, RecursionError) as error:
        raise CorruptEntry(f"meta of message {spool_id} is unreadable: {error}") from error
    if envelope.schedule is not None:
        _log.warning("message %s has a schedule, which is not kept: it is due at once", spool_id)
    message = Message(id=spool_id, sender=sender, recipients=recipients, meta=envelope.meta or {}, body=None)
    message.is_stored = True
    return message


def _recipients(recipient: str | list[str]) -> list[EnvelopeAddress]:
    texts = [recipient] if isinstance(recipient, str) else recipient
    if not texts:
        raise ValueError("no recipient")
    return [parse_envelope_address(text) for text in texts]


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mended(item) for item in value]
    return value
