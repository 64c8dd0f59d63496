"""Seeded message contents, one a shape of input that costs a kernel something else.

The same name and size always give the same octets. No corpus holds an end of data.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

SEED = 20260804
SIZES = {"2KiB": 2 * 1024, "128KiB": 128 * 1024}
"""The sizes to measure at: an ordinary message, and one full read of DATA."""

LARGE = {"20MB": 20 * 1000 * 1000}
"""The size of a large message: beyond the caches of a core."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:-()'"
_WORD_LENGTHS = (1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 11)


def _words(rng: random.Random, length: int) -> bytes:
    line = bytearray()
    while len(line) < length:
        line += bytes(rng.choices(_LETTERS, k=rng.choice(_WORD_LENGTHS))) + b" "
    # A dot at the start of a line is a corpus of its own.
    return bytes(line[:length]).replace(b".", b",", 1) if line[:1] == b"." else bytes(line[:length])


def _lines(size: int, make_line: Callable[[random.Random], bytes], line_end: bytes = b"\r\n") -> bytes:
    rng = random.Random(SEED)  # noqa: S311 - the same octets in every run are the point
    content = bytearray()
    while len(content) < size:
        content += make_line(rng) + line_end
    # Cut to size without a CR at the end that the cut made bare.
    return bytes(content[: size - len(line_end)]).rstrip(b"\r\n").ljust(size - len(line_end), b"x") + line_end


def text(size: int) -> bytes:
    """Lines of words, 60 to 90 octets long."""
    return _lines(size, lambda rng: _words(rng, rng.randint(60, 90)))


def base64_text(size: int) -> bytes:
    """Lines of 76 octets of base64, as in an attachment."""
    return _lines(size, lambda rng: base64.b64encode(rng.randbytes(57)))


def short_lines(size: int) -> bytes:
    """Lines of 10 octets, their line end included."""
    return _lines(size, lambda rng: _words(rng, 8))


def bare_lf(size: int) -> bytes:
    """The lines of ``text``, every one ended by a lone LF."""
    return _lines(size, lambda rng: _words(rng, rng.randint(60, 90)), b"\n")


def long_lines(size: int) -> bytes:
    """Lines of 998 octets, the most that is allowed."""
    return _lines(size, lambda rng: _words(rng, 998))


def dotted(size: int) -> bytes:
    """The lines of ``text``, every one begun by two dots."""
    return _lines(size, lambda rng: b".." + _words(rng, rng.randint(58, 88)))


CORPORA: dict[str, Callable[[int], bytes]] = {
    "a_text": text,
    "b_base64": base64_text,
    "c_short_lines": short_lines,
    "d_bare_lf": bare_lf,
    "e_long_lines": long_lines,
    "f_dotted": dotted,
}


def octets(corpus: str, size: int) -> bytes:
    """One corpus, by its name, at a size.

    Large ones repeat one that is made: to make 20 MB takes longer than to measure them.
    """
    make = (CORPORA | HOSTILE)[corpus]
    made = min(size, SIZES["128KiB"])
    return _repeated(make(made))(size) if size > made else make(size)


def _repeated(unit: bytes) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        return (unit * (size // len(unit) + 1))[:size]

    return make


def unforeseen_lf(size: int) -> bytes:
    """Lone LF, now few and now many of them, so that nothing foretells how many come next."""
    rng = random.Random(SEED)  # noqa: S311 - the same octets in every run are the point
    content = bytearray()
    while len(content) < min(size, SIZES["128KiB"]):
        content += rng.choice((b"\n", b"x\n", b"x" * 8 + b"\n", b"x" * 40 + b"\n"))
    return _repeated(bytes(content))(size)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "all_lf": _repeated(b"\n"),
    "all_cr": _repeated(b"\r"),
    "all_crlf": _repeated(b"\r\n"),
    "lf_cr": _repeated(b"\n\r"),
    "all_dots": _repeated(b"."),
    "dot_lines": _repeated(b"\r\n."),
    "dot_dot_lines": _repeated(b"\r\n.."),
    "unforeseen_lf": unforeseen_lf,
    "lf_dot": _repeated(b"\n."),
    "nearly_ended": _repeated(b"\r\n.\r"),
    "one_line": _repeated(b"x"),
    "long_cr_lines": _repeated(b"x" * 998 + b"\r"),
    "too_long_cr_lines": _repeated(b"x" * 1100 + b"\r"),
    "too_long_lines": _repeated(b"x" * 999 + b"\r\n"),
    "half_limit_lines": _repeated(b"x" * 499 + b"\r\n"),
    "single_lf": _repeated(b"x" * 447 + b"\n"),
    "dots_then_lf": _repeated(b"xx\r\n.." * 75 + b"x" * 447 + b"\n"),
    "nul": _repeated(b"\0"),
}
"""What a peer would send to make an octet dear."""
