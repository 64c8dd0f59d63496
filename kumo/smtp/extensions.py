"""EHLO keywords: which service extensions a session offers.

What is not offered is not listed: no STARTTLS, AUTH or XCLIENT keyword as long as their commands are refused.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=64)
def ehlo_keywords(max_message_size: int) -> tuple[str, ...]:
    """The keyword lines of the EHLO reply, in the order in which they are sent.

    Args:
        max_message_size: octets that SIZE announces.

    Source: RFC 2920, RFC 2034, RFC 6152, RFC 6531, RFC 1870.
    """
    return ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", f"SIZE {max_message_size}")
