"""What the client declared with MAIL and RCPT, as message meta.

It stays with a message for whoever relays it; nothing here acts on it. Policy sees it and may change it.

Source: RFC 6152, RFC 6531, RFC 3461.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kumo.smtp import NO_RECIPIENT_PARAMETERS, NOTHING_DECLARED, ContentReceived, EnvelopeAddress

DSN_RCPT = "dsn_rcpt"


def declare(meta: dict[str, Any], content: ContentReceived) -> None:
    """Put into meta what was declared; what was not has no key.

    Args:
        meta: of the transaction's base message.
        content: the transaction. Of a recipient given twice the last declaration holds.
    """
    declared = content.declared
    if declared is not NOTHING_DECLARED:
        if declared.body is not None:
            meta["mail_body"] = declared.body
        if declared.smtputf8:
            meta["mail_smtputf8"] = True
        if declared.ret is not None:
            meta["dsn_ret"] = declared.ret
        if declared.envid is not None:
            meta["dsn_envid"] = declared.envid
    by_recipient = content.recipients_declared
    if by_recipient.count(NO_RECIPIENT_PARAMETERS) != len(by_recipient):
        meta[DSN_RCPT] = {
            recipient.email: {
                key: value
                for key, value in (("notify", parameters.notify), ("orcpt", parameters.orcpt))
                if value is not None
            }
            for recipient, parameters in zip(content.recipients, by_recipient, strict=True)
            if parameters != NO_RECIPIENT_PARAMETERS
        }


def keep_own(meta: dict[str, Any], recipients: Sequence[EnvelopeAddress]) -> None:
    """Leave in a message's ``dsn_rcpt`` its own recipients only, or drop it.

    Args:
        meta: of one message of the split; the value is replaced, since the others share it. Whatever else
            than a map policy has put there stays.
        recipients: the message's.
    """
    declared = meta[DSN_RCPT]
    if not isinstance(declared, dict):
        return
    own = {
        recipient.email: declared[recipient.email] for recipient in recipients if recipient.email in declared
    }
    if own:
        meta[DSN_RCPT] = own
    else:
        del meta[DSN_RCPT]
