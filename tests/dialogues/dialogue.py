r"""The little language of ``*.smtp`` files: what a client sends and what it must hear.

A line is one step; blank lines and lines that begin with ``#`` mean nothing::

    @ name=value      a session parameter that differs from ``PARAMETERS``; before the first step
    @ tls             the dialogue has a handshake in it: not for those who can do none
    C: text           the client sends ``text`` and CRLF
    C~ "a\r\nb\x80"   the client sends these octets as they are; escapes as in a Python bytes literal
    C* 100 text       the client sends ``text`` and CRLF a hundred times
    S: text           the server's next reply line is exactly ``text``, CRLF left out
    S~ "text  "       as ``S:``, for blanks that must be seen
    S^ text           the server's next reply line begins with ``text``
    S* 100 text       as ``S:``, a hundred times
    TLS               client and server do the handshake; the last reply was the 220 to STARTTLS
    S$                the server has closed the connection; the last step

The banner is a reply line like any other. All senders, recipients and messages are accepted, and of
credentials those with the password ``secret``; the reply to content begins with ``250 OK ids=``. No step
may be left without its reply, and no reply without its step. Nobody waits between steps but for replies and
handshakes, so that every file can be played over a socket as well.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARAMETERS: dict[str, Any] = {
    "hostname": "mx.example.com",
    "banner": "KumoMTA",
    "client_timeout": 60,
    "line_length_hard_limit": 998,
    "max_message_size": 20971520,
    "max_recipients_per_message": 1024,
    "max_messages_per_connection": 10000,
}
"""What a dialogue runs with unless it says otherwise."""

PASSWORD = "secret"  # noqa: S105 - guards nothing
"""The one that is right."""

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Send:
    """The client's octets."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """One reply line."""

    text: str
    is_prefix: bool = False

    def matches(self, line: str) -> bool:
        return line.startswith(self.text) if self.is_prefix else line == self.text


@dataclass(frozen=True, slots=True)
class Closed:
    """The server's end of the connection."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What turns the connection into TLS."""


Step = Send | Expect | Handshake | Closed


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One file."""

    name: str
    parameters: dict[str, Any]
    steps: tuple[Step, ...]
    needs_tls: bool = False

    @property
    def octets(self) -> bytes:
        """All that the client sends."""
        return b"".join(self.flights)

    @property
    def flights(self) -> list[bytes]:
        """All that the client sends, cut where a handshake comes between."""
        flights = [b""]
        for step in self.steps:
            if isinstance(step, Send):
                flights[-1] += step.octets
            elif isinstance(step, Handshake):
                flights.append(b"")
        return flights

    @property
    def expected(self) -> tuple[Expect, ...]:
        """All that the server says."""
        return tuple(step for step in self.steps if isinstance(step, Expect))

    @property
    def closes(self) -> bool:
        """Whether the server ends the connection."""
        return isinstance(self.steps[-1], Closed)


def all_dialogues() -> list[Dialogue]:
    """Every file of the folder that needs no TLS, in the order of their names."""
    return [dialogue for dialogue in _files() if not dialogue.needs_tls]


def tls_dialogues() -> list[Dialogue]:
    """The other files of the folder."""
    return [dialogue for dialogue in _files() if dialogue.needs_tls]


def read_dialogue(path: Path) -> Dialogue:
    """Read one file.

    Raises:
        ValueError: names file and line of what is no step.
    """
    parameters = dict(PARAMETERS)
    steps: list[Step] = []
    needs_tls = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line == "@ tls":
            needs_tls = True
            continue
        if line.startswith("@ "):
            name, _, value = line[2:].partition("=")
            parameters[name] = _value(value)
            continue
        try:
            steps += _steps(line)
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{path.name}:{number}: {line!r} is no step: {error}") from None
    if not needs_tls and Handshake() in steps:
        raise ValueError(f"{path.name}: a handshake, but no line that says so")
    return Dialogue(path.stem, parameters, tuple(steps), needs_tls)


def _files() -> list[Dialogue]:
    return [read_dialogue(path) for path in sorted(FOLDER.glob("*.smtp"))]


def _value(text: str) -> int | bool | str:
    if text == "true":
        return True
    return int(text) if text.isdecimal() else text


def _steps(line: str) -> list[Step]:
    if line == "S$":
        return [Closed()]
    if line == "TLS":
        return [Handshake()]
    mark, text = line[:3], line[3:]
    if mark == "C: " or line == "C:":
        return [Send(text.encode() + b"\r\n")]
    if mark == "C~ ":
        return [Send(ast.literal_eval("b" + text))]
    if mark == "S: ":
        return [Expect(text)]
    if mark == "S~ ":
        return [Expect(ast.literal_eval(text))]
    if mark == "S^ ":
        return [Expect(text, is_prefix=True)]
    count, _, text = text.partition(" ")
    if mark == "C* ":
        return [Send(text.encode() + b"\r\n")] * int(count)
    if mark == "S* ":
        return [Expect(text)] * int(count)
    raise ValueError("unknown mark")
