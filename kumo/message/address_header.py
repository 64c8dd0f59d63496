"""Address fields such as ``From`` and ``To``, read into mailboxes and groups.

The grammar is written out here, because the standard library's parser takes quadratic time on
hostile fields (a quarter of a second for 5000 quotes) and guesses where the syntax is broken: what
signs or filters by ``From`` must not guess. Policy's ``from_header``, ``to_header`` and
``get_address_header`` call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from kumo.message.encoded_words import decode_encoded_words
from kumo.message.headers import first_field
from kumo.message.octets import well_formed

_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r\n]+ )
    | " (?P<quoted> (?: [^"\\]++ | \\. )*+ ) "
    | (?P<literal> \[ [^\[\]\\]* \] )
    | (?P<atom> [^\x00-\x20\x7f()<>\[\]:;@\\,"]+ )
    | (?P<special> [<>,:;@(] )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_QUOTES = re.compile(r'[\x00-\x20\x7f()<>\[\]:;@\\,"]|\A\Z')


_FIELD_LIMIT = 64 * 1024
"""Octets of the longest field that is read: some thousand addresses, each of which takes its time."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of an address field.

    Args:
        name: display name, decoded; None when there is none.
        local_part: without quotes.
        domain: as written; address literals with brackets.
    """

    name: str | None
    local_part: str
    domain: str

    @property
    def email(self) -> str:
        """The addr-spec, its local part quoted where it must be."""
        if _NEEDS_QUOTES.search(self.local_part) is None:
            return f"{self.local_part}@{self.domain}"
        quoted = self.local_part.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"@{self.domain}'

    def as_dict(self) -> dict[str, Any]:
        """``name`` (may be None) and ``address``, as Lua and JSON show it."""
        return {"name": self.name, "address": self.email}


@dataclass(frozen=True, slots=True)
class MailboxGroup:
    """A named group of mailboxes; may be empty."""

    name: str
    entries: tuple[Mailbox, ...]

    def as_dict(self) -> dict[str, Any]:
        """``name`` and ``entries``, as Lua and JSON show it."""
        return {"name": self.name, "entries": [entry.as_dict() for entry in self.entries]}


@dataclass(frozen=True, slots=True)
class AddressHeader:
    """The addresses of one field, in order.

    ``user``, ``domain``, ``email`` and ``name`` are for a field with exactly one mailbox.

    Source: RFC 5322 §3.4, of §4.4 the source route; KumoMTA manual, address_header.
    """

    entries: tuple[Mailbox | MailboxGroup, ...]

    @classmethod
    def parse(cls, text: str) -> AddressHeader:
        """Read a field body.

        Args:
            text: unfolded, encoded-words not decoded: decoding first would let a display name
                bring commas and addresses of its own.

        Raises:
            ValueError: no address list.
        """
        return cls(tuple(_entries(_tokens(text), text)))

    @property
    def list(self) -> list[dict[str, Any]]:
        """All entries: mailboxes with ``name`` and ``address``, groups with ``name`` and ``entries``."""
        return [entry.as_dict() for entry in self.entries]

    @property
    def user(self) -> str:
        """Local part of the only mailbox, without quotes.

        Raises:
            ValueError: as ``single`` does.
        """
        return self.single.local_part

    @property
    def domain(self) -> str:
        """Domain of the only mailbox.

        Raises:
            ValueError: as ``single`` does.
        """
        return self.single.domain

    @property
    def email(self) -> str:
        """Addr-spec of the only mailbox.

        Raises:
            ValueError: as ``single`` does.
        """
        return self.single.email

    @property
    def name(self) -> str | None:
        """Display name of the only mailbox.

        Raises:
            ValueError: as ``single`` does.
        """
        return self.single.name

    @property
    def single(self) -> Mailbox:
        """The only mailbox.

        Raises:
            ValueError: there is none, there are several, or it is a group; KumoMTA's words.
        """
        if not self.entries:
            raise ValueError("no addresses")
        if len(self.entries) > 1:
            raise ValueError("is not a simple single address")
        (entry,) = self.entries
        if isinstance(entry, MailboxGroup):
            raise ValueError("is not a simple address")  # noqa: TRY004 - the mail's fault, not the caller's
        return entry

    def to_json(self) -> str:
        """``list`` as JSON, without blanks; octets that were no UTF-8 show as U+FFFD."""
        return msgspec.json.encode(well_formed(self.list)).decode()


def address_header(content: bytes, name: str) -> AddressHeader | None:
    """Read the first field of that name (case does not count) in a whole message.

    Returns:
        The addresses; None when there is no such field.

    Raises:
        ValueError: the field is no address list, or longer than 64 KiB: a part of it would mislead.
    """
    field = first_field(content, name)
    if field is None:
        return None
    if len(field.raw) > _FIELD_LIMIT:
        raise ValueError(f"address list of {len(field.raw)} octets, at most {_FIELD_LIMIT} are read")
    return AddressHeader.parse(field.text)


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _invalid(text)
        position = match.end()
        kind = match.lastgroup or ""
        if kind == "special" and match.group() == "(":
            position = _comment_end(text, position)
        elif kind == "quoted":
            yield _Token(kind, _QUOTED_PAIR.sub(r"\1", match["quoted"]))
        elif kind != "blank":
            yield _Token(kind, match.group())


def _comment_end(text: str, start: int) -> int:
    depth = 1
    for match in _COMMENT_MARK.finditer(text, start):
        mark = match.group()
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
        if not depth:
            return match.end()
    raise _invalid(text)


def _elements(tokens: Iterator[_Token]) -> Iterator[tuple[list[_Token], str]]:
    """What stands before each separator, with the separator; it is empty at the end."""
    element: list[_Token] = []
    in_angle = False
    for token in tokens:
        special = token.text if token.kind == "special" else ""
        if special in ("<", ">"):
            in_angle = special == "<"
        # Inside <> a comma or colon belongs to a source route.
        if in_angle or special not in (",", ":", ";"):
            element.append(token)
        else:
            yield element, special
            element = []
    yield element, ""


def _entries(tokens: Iterator[_Token], text: str) -> Iterator[Mailbox | MailboxGroup]:
    group: list[Mailbox] | None = None
    group_name = ""
    for element, separator in _elements(tokens):
        if separator == ":":
            if group is not None or not element:
                raise _invalid(text)
            group, group_name = [], _phrase(element, text)
            continue
        if separator != "," and (separator == ";") != (group is not None):
            raise _invalid(text)
        mailboxes = [_mailbox(element, text)] if element else []
        if group is None:
            yield from mailboxes
            continue
        group += mailboxes
        if separator == ";":
            yield MailboxGroup(group_name, tuple(group))
            group = None


def _mailbox(tokens: list[_Token], text: str) -> Mailbox:
    name = None
    opening = _Token("special", "<")
    if opening in tokens:
        at = tokens.index(opening)
        if tokens[-1] != _Token("special", ">"):
            raise _invalid(text)
        if at:
            name = _phrase(tokens[:at], text)
        tokens = tokens[at + 1 : -1]
        colon = _Token("special", ":")
        if colon in tokens:
            tokens = tokens[tokens.index(colon) + 1 :]
    match tokens:
        case [("atom" | "quoted", local_part), ("special", "@"), ("atom" | "literal", domain)]:
            return Mailbox(name, local_part, domain)
    raise _invalid(text)


def _phrase(words: list[_Token], text: str) -> str:
    if any(word.kind not in ("atom", "quoted") for word in words):
        raise _invalid(text)
    return decode_encoded_words(" ".join(word.text for word in words))


def _invalid(text: str) -> ValueError:
    return ValueError(f"not an address list: {text[:200]!r}")
