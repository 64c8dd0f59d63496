"""Replies: a code and a text, and how they become octets.

The session's own texts stand in ``kumo.smtp.replies``; others come from the rooms above and from policy.
Whatever the text holds, what goes out is well-formed.
"""

from __future__ import annotations

from functools import lru_cache

from kumo.errors import ProtocolError, Rejection


class Reply:
    """One reply; never changed once it is made. Equal to any other of the same code and text.

    Args:
        code: three digits; policy may send any number, which goes out as it is.
        text: without code; a line break (LF, or CRLF) makes a multi-line reply; may be empty.

    Source: RFC 5321 §4.2.
    """

    __slots__ = ("_octets", "code", "text")

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self._octets: bytes | None = None

    @staticmethod
    def of(error: Rejection | ProtocolError) -> Reply:
        """The reply that an exception carries."""
        return Reply(error.code, error.text)

    @property
    def is_refusal(self) -> bool:
        """Whether it is a 4xx or 5xx reply."""
        return 400 <= self.code <= 599  # noqa: PLR2004 - RFC 5321 §4.2.1

    def encode(self) -> bytes:
        """The reply's octets, every line with the code and CRLF; kept, for replies that are sent again."""
        octets = self._octets
        if octets is None:
            code, text = self.code, self.text
            octets = f"{code} {text}\r\n".encode() if text.isprintable() else _encode(code, text)
            self._octets = octets
        return octets

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reply):
            return NotImplemented
        return self.code == other.code and self.text == other.text

    def __hash__(self) -> int:
        return hash((self.code, self.text))

    def __repr__(self) -> str:
        return f"Reply(code={self.code!r}, text={self.text!r})"


@lru_cache(maxsize=256)
def _encode(code: int, text: str) -> bytes:
    *first, last = (_printable(line.removesuffix("\r")) for line in text.split("\n"))
    lines = [f"{code}-{line}\r\n" for line in first]
    lines.append(f"{code} {last}\r\n")
    return "".join(lines).encode()


def _printable(line: str) -> str:
    """Replace control characters and surrogates: no reply line may end or forge another one."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in line)
