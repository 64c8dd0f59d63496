"""EHLO keywords: which service extensions a session offers.

What is not offered is not listed: no AUTH outside TLS, no STARTTLS within, no XCLIENT to whom it is refused.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=64)
def ehlo_keywords(max_message_size: int, *, tls_is_active: bool, allow_xclient: bool) -> tuple[str, ...]:
    """The keyword lines of the EHLO reply, in the order in which they are sent.

    Args:
        max_message_size: octets that SIZE announces.
        tls_is_active: whether the session runs inside TLS.
        allow_xclient: whether this client may name another address.

    Source: RFC 2920, RFC 2034, RFC 6152, RFC 6531, RFC 1870, RFC 3207, RFC 4954; Postfix XCLIENT_README.
    """
    keywords = ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", f"SIZE {max_message_size}"]
    keywords.append("AUTH PLAIN" if tls_is_active else "STARTTLS")
    if allow_xclient:
        keywords.append("XCLIENT ADDR PORT DESTADDR DESTPORT")
    return tuple(keywords)
