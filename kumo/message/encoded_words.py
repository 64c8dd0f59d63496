"""Encoded-words of header fields: ``=?charset?encoding?text?=``.

The standard library decodes a run of words; finding the runs is done here, because
``email.header.decode_header`` takes quadratic time on words that never end and garbles raw UTF-8
beside them. Called by ``headers`` only.
"""

from __future__ import annotations

import codecs
import re
from email.errors import HeaderParseError
from email.header import decode_header

_WORD = r"=\?[^?\s]+\?[bBqQ]\?[^?\x00-\x1f\x7f-\x9f\u2028\u2029]*\?="
# Bounded, because decode_header takes quadratic time in the number of words.
_RUN = re.compile(rf"{_WORD}(?:[ \t]+{_WORD}){{0,99}}")

DECODED_LIMIT = 64 * 1024
"""Characters of a text in which encoded-words are looked for: they take long, and the client chooses them."""

_NOT_A_CHARSET = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"})
"""Codecs of Python that no mail is written in; two of them take quadratic time."""


def decode_encoded_words(text: str) -> str:
    """Decode all encoded-words in an unfolded field body.

    Args:
        text: field body; what is no encoded-word stays as it is, and so does all that comes after the
            first ``DECODED_LIMIT`` characters.

    Returns:
        The decoded text; ``text`` itself when one of its words cannot be decoded.

    Source: RFC 2047 §6; RFC 2231 §5 (language suffix).
    """
    if "=?" not in text:
        return text
    try:
        return _RUN.sub(_decode_run, text[:DECODED_LIMIT]) + text[DECODED_LIMIT:]
    except (HeaderParseError, LookupError, ValueError):
        return text


def _decode_run(match: re.Match[str]) -> str:
    # Words of one charset are joined before they are decoded: mailers cut characters in two.
    return "".join(
        part if isinstance(part, str) else part.decode(_charset(charset))
        for part, charset in decode_header(match.group())
    )


def _charset(name: str | None) -> str:
    if name is None:
        raise LookupError("no charset")
    charset = codecs.lookup(name.partition("*")[0]).name
    if charset in _NOT_A_CHARSET:
        raise LookupError(charset)
    return charset
