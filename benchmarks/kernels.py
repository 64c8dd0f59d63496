"""What is measured: the kernels, the limits above them and what plain Python can do below.

Every entry takes the octets and answers the same question as its namesakes; ``bench_core``, ``ratios`` and
``instructions`` choose from here, so that a name means one thing in all their tables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import pure_python
from kumo.config import LineEndings
from kumo.reception.conformance import mend
from kumo.smtp.content_reader import ContentReader
from kumo_core import (
    DataScanner,
    check_line_lengths,
    find_bare_line_ending,
    find_fields,
    find_section_end,
    fix_line_endings,
    stuff,
    unstuff,
)

LIMIT = 998
"""Octets a line may have."""

CHUNK = 128 * 1024
"""Octets of one full read of DATA, ``data_buffer_size`` as it comes."""

INSTRUCTION_SET = "KUMO_CORE_INSTRUCTION_SET"
"""Environment variable with which the kernels are loaded for one instruction set."""

_FLAGS = {"baseline": "", "sse4": " sse4_2 ", "avx2": " avx2 ", "avx512": " avx512_vbmi2 "}
"""Instruction sets by the variable's values, and what the processor must say of itself."""

Call = Callable[[bytes], object]


def instruction_sets() -> list[str]:
    """The instruction sets that this processor can be forced to, the narrowest first."""
    said = Path("/proc/cpuinfo").read_text().replace("\n", " ")
    return [name for name, flag in _FLAGS.items() if flag in said]


def forced_to(instruction_set: str) -> dict[str, str]:
    """An environment in which the kernels use that instruction set, and hashing is repeatable."""
    return {**os.environ, INSTRUCTION_SET: instruction_set, "PYTHONHASHSEED": "0"}


_scanner = DataScanner(LIMIT)

_END = b"\r\n.\r\n"


def scan(data: bytes) -> int:
    """Scan the octets as one chunk."""
    _scanner.reset()
    return _scanner.scan(data)


def scan_in_chunks(data: bytes, octets: int = CHUNK) -> None:
    """Scan the octets in chunks of that size, as they are received."""
    _scanner.reset()
    for start in range(0, len(data), octets):
        _scanner.scan(data, start, min(start + octets, len(data)))


def copy_in_chunks(data: bytes, octets: int = CHUNK) -> None:
    """Copy the octets in chunks of that size."""
    view = memoryview(data)
    for start in range(0, len(data), octets):
        bytes(view[start : start + octets])


_reader = ContentReader(1 << 30, LIMIT)


def receive_and_mend(data: bytes, octets: int = CHUNK // 2) -> bytes:
    """Do with the octets, in chunks of that size, what a session does that mends what it gets."""
    for start in range(0, len(data), octets):
        _reader.receive(data, start, min(start + octets, len(data)))
        if _reader.is_complete:
            break
    else:
        _reader.receive(_END, 0, len(_END))
    content, findings = _reader.take()
    return mend(content, findings, LineEndings.FIX)


KERNELS: dict[str, Call] = {
    "scan": scan,
    "find_bare": find_bare_line_ending,
    "fix": fix_line_endings,
    "line_lengths": lambda data: check_line_lengths(data, LIMIT),
    "unstuff": unstuff,
    "stuff": stuff,
}
"""The kernels, each over all octets at once."""

LIMITS: dict[str, Call] = {
    "memcpy": lambda data: bytes(memoryview(data)),
    # No corpus has this octet: every octet is looked at, and nothing else is done.
    "memchr": lambda data: data.find(b"\xff"),
}
"""What no kernel can be much faster than: to copy all octets, and to look for one that is not there."""

PYTHON: dict[str, Call] = {
    "scan_pure_python": pure_python.scan,
    "scan_re": pure_python.scan_re,
    "find_bare_pure_python": pure_python.find_bare_line_ending,
    "find_bare_re": pure_python.find_bare_line_ending_re,
    "fix_pure_python": pure_python.fix_line_endings,
    "fix_re": pure_python.fix_line_endings_re,
    "line_lengths_pure_python": lambda data: pure_python.check_line_lengths(data, LIMIT),
    "line_lengths_re": lambda data: pure_python.check_line_lengths_re(data, LIMIT),
    "unstuff_pure_python": pure_python.unstuff,
    "unstuff_re": pure_python.unstuff_re,
    "stuff_pure_python": pure_python.stuff,
    "stuff_re": pure_python.stuff_re,
}
"""The best that CPython's own methods and its ``re`` do for each kernel's question."""

CHUNKED: dict[str, Call] = {"scan_in_chunks": scan_in_chunks, "memcpy_in_chunks": copy_in_chunks}
"""A large content as it is received."""

WHOLE: dict[str, Call] = {"receive_and_mend": receive_and_mend}
"""What is done with each octet of a content before policy sees it: scan, keep, unstuff, mend."""

COMMANDS = {
    "mail": b"MAIL FROM:<sender@example.com>",
    "mail_size_body": b"MAIL FROM:<sender@example.com> SIZE=2048 BODY=8BITMIME",
    "rcpt": b"RCPT TO:<recipient@example.org>",
    "rcpt_utf8": "RCPT TO:<empfänger@müller.example>".encode(),
    "rcpt_ipv6": b"RCPT TO:<a@[IPv6:2001:db8::1]>",
    "ehlo": b"EHLO mail.example.com",
    "data": b"DATA",
    "unknown": b"GET / HTTP/1.1",
}
"""Command lines, each another way through ``parse_command``."""

_FIELD = b"X-Field-%02d: a value that is folded, as most of\r\n  the long ones are\r\n"

SECTIONS = {
    "subject": b"From: <a@example.com>\r\nTo: <b@example.org>\r\nSubject: s\r\nMessage-Id: <1@a>\r\n\r\nbody",
    "absent": b"From: <a@example.com>\r\nTo: <b@example.org>\r\nMessage-Id: <1@a>\r\n\r\nbody",
    "many_fields": b"".join(_FIELD % number for number in range(60)) + b"Subject: s\r\n\r\nbody",
    "short_lines": b"a\n" * 2048,
}
"""Messages, each another way through a header section."""


def find_subject(content: bytes) -> list[tuple[int, int, int, int]]:
    """Find the field that most logs want."""
    return find_fields(content, find_section_end(content, 1 << 20), (b"subject",), 10)


CONTENDERS = {**LIMITS, **KERNELS, **PYTHON, **CHUNKED, **WHOLE}
