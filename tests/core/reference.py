"""Slow, plain twins of the kernels: what the compiled ones must agree with.

Whole contents instead of chunks, regular expressions instead of loops, no thought of speed.
"""

from __future__ import annotations

import ipaddress
import re

from kumo_core import Command, Fault, Path, ScanReport

END_OF_DATA = b"\r\n.\r\n"
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# A CR at the very end may still be followed by its LF.
BARE_SO_FAR = re.compile(rb"\r(?=[^\n])|(?<!\r)\n")
LEADING_DOT = re.compile(rb"(?:\A|(?<=\r\n))\.")


def find_bare_line_ending(data: bytes) -> int:
    match = BARE.search(data)
    return match.start() if match else -1


def fix_line_endings(data: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


def check_line_lengths(data: bytes, limit: int) -> int:
    for match in re.finditer(rb"[^\r\n]+", data):
        if len(match[0]) > limit:
            return match.start()
    return -1


def find_section_end(content: bytes, limit: int) -> int:
    empty = re.search(rb"^\r?\n", content[:limit], re.MULTILINE)
    if empty:
        return empty.start()
    if len(content) <= limit:
        return len(content)
    return max(
        (found.start() for found in re.finditer(rb"^[^ \t]", content[:limit], re.MULTILINE)), default=0
    )


def find_fields(content: bytes, section_end: int, names: list[bytes]) -> list[tuple[int, int, int, int]]:
    name = b"|".join(map(re.escape, names)) or b"(?!)"
    pattern = rb"^(%s)[ \t]*(:)[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)" % name
    fields = re.finditer(pattern, content[:section_end], re.MULTILINE | re.IGNORECASE)
    return [(field.start(), field.end(1), field.end(2), field.end()) for field in fields]


def unstuff(data: bytes) -> bytes:
    return LEADING_DOT.sub(b"", data)


def stuff(data: bytes) -> bytes:
    return LEADING_DOT.sub(b"..", data)


def scan(stream: bytes, limit: int) -> tuple[int, bool, ScanReport]:
    """What a scanner says of the octets behind the DATA command: octets consumed, completeness, report."""
    # With the line end of the DATA command in front, the first line is like every other.
    end = (b"\r\n" + stream).find(END_OF_DATA)
    complete = end >= 0
    consumed = end + len(END_OF_DATA) - 2 if complete else len(stream)
    raw = stream[: consumed - 3] if complete else stream
    if not complete:
        for undecided in (b".", b".\r"):
            if (b"\r\n" + raw).endswith(b"\r\n" + undecided):
                raw = raw[: -len(undecided)]
                break
    content = unstuff(raw)
    kinds = {stream[m.start() - 2]: m.start() - 2 for m in reversed([*_bare_so_far(stream[:consumed])])}
    lengths = [len(line) for line in re.split(rb"[\r\n]", content)]
    return (
        consumed,
        complete,
        ScanReport(
            content_length=len(content),
            bare_cr=ord("\r") in kinds,
            bare_lf=ord("\n") in kinds,
            first_bare_offset=min(kinds.values(), default=-1),
            stuffed_lines=len(raw) - len(content),
            longest_line_over_limit=max((length for length in lengths if length > limit), default=0),
        ),
    )


def _bare_so_far(stream: bytes) -> list[re.Match[bytes]]:
    return list(BARE_SO_FAR.finditer(b"\r\n" + stream))


# The grammar of command lines, on text: RFC 5321 §4.1.2, RFC 6531 §3.3, RFC 4954 §4.
_NON_ASCII = r"\u0080-\U0010FFFF"
_ATOM = rf"[A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_NON_ASCII}]+"
_QUOTED = rf'"(?:[ !#-\[\]-~{_NON_ASCII}]|\\[ -~])*"'
_LOCAL = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})"
_LABEL = rf"[A-Za-z0-9{_NON_ASCII}][A-Za-z0-9_\-{_NON_ASCII}]*"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_TAGGED = r"[A-Za-z0-9\-]*[A-Za-z0-9]:[!-Z^-~]+"
_LITERAL = rf"\[(?:{_IPV4}|{_TAGGED})\]"
_MAILBOX = rf"(?P<local>{_LOCAL})@(?P<domain>{_DOMAIN}|{_LITERAL})"
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_BARE_MAILBOX = _MAILBOX.replace("<local>", "<bare_local>").replace("<domain>", "<bare_domain>")
_PATH = rf"(?:<{_ROUTE}{_MAILBOX}>|{_BARE_MAILBOX})"
_PARAMETER = rf"[A-Za-z0-9][A-Za-z0-9\-]*(?:=[!-<>-~{_NON_ASCII}]+)?"
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*"
_ATTRIBUTE = rf"[A-Za-z0-9][A-Za-z0-9\-]*={_XTEXT}"
_WSP = r"[ \t]+"

_TOKEN = rf"(?:{_ATOM}|{_QUOTED})"
_ARGUMENTS = {
    "EHLO": rf"(?P<argument>{_DOMAIN}|{_LITERAL})",
    "HELO": rf"(?P<argument>{_DOMAIN}|{_LITERAL})",
    "LHLO": rf"(?P<argument>{_DOMAIN}|{_LITERAL})",
    "NOOP": rf"(?P<argument>{_TOKEN})?",
    "HELP": rf"(?P<argument>{_TOKEN})?",
    "VRFY": rf"(?P<argument>{_TOKEN})?",
    "EXPN": rf"(?P<argument>{_TOKEN})?",
    "DATA": "",
    "RSET": "",
    "QUIT": "",
    "STARTTLS": "",
    "AUTH": rf"(?P<argument>[A-Za-z0-9\-]+)(?:{_WSP}(?P<initial>[A-Za-z0-9+/=]+))?",
    "XCLIENT": rf"(?P<parameters>{_ATTRIBUTE}(?:{_WSP}{_ATTRIBUTE})*)",
}
_SPECIAL = {"MAIL": r"<>", "RCPT": r"<(?i:postmaster)>"}
_KEYWORD = {"MAIL": r"(?i:FROM:)", "RCPT": r"(?i:TO:)"}
_ADDRESS_FAULT = {"MAIL": Fault.SENDER, "RCPT": Fault.RECIPIENT}


def parse_command(line: bytes) -> Command | Fault:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return Fault.UTF8
    if re.search(r"[\x00-\x08\x0A-\x1F\x7F-\x9F]", text):
        return Fault.UNPARSABLE
    match = re.fullmatch(r"([A-Za-z0-9]+)(?:[ \t]+([^ \t].*))?", text)
    if match is None:
        return Fault.UNPARSABLE
    verb, arguments = match[1].upper(), match[2] or ""
    if verb in _KEYWORD:
        return _parse_path_command(verb, arguments)
    if verb not in _ARGUMENTS:
        return Command("UNKNOWN", None, None, ())
    match = re.fullmatch(_ARGUMENTS[verb], arguments)
    if match is None:
        return Fault.ARGUMENTS
    found = match.groupdict()
    argument = found.get("argument")
    if verb in ("EHLO", "HELO", "LHLO") and print_literal(argument or "") is None:
        return Fault.ARGUMENTS
    return Command(verb, argument, None, _parameters(found))


def _parameters(found: dict[str, str | None]) -> tuple[tuple[str, str | None], ...]:
    if initial := found.get("initial"):
        return (("INITIAL", initial),)
    parameters = []
    for parameter in re.findall(r"[^ \t]+", found.get("parameters") or ""):
        keyword, equals, value = parameter.partition("=")
        parameters.append((keyword.upper(), value if equals else None))
    return tuple(parameters)


def _parse_path_command(verb: str, arguments: str) -> Command | Fault:
    match = re.fullmatch(rf"{_KEYWORD[verb]}(.+)", arguments)
    if match is None:
        return Fault.ARGUMENTS
    match = re.fullmatch(
        rf"[ \t]*(?:(?P<special>{_SPECIAL[verb]})|{_PATH})(?:{_WSP}(?P<parameters>[^ \t].*))?",
        match[1],
        # Else the long s of Unicode would match a plain one.
        re.ASCII,
    )
    if match is None:
        return _ADDRESS_FAULT[verb]
    path = _path(match)
    if path is None:
        return _ADDRESS_FAULT[verb]
    given = match["parameters"]
    if given is not None and not re.fullmatch(rf"{_PARAMETER}(?:{_WSP}{_PARAMETER})*", given):
        return Fault.ARGUMENTS
    return Command(verb, None, path, _parameters(match.groupdict()))


def _path(match: re.Match[str]) -> Path | None:
    if special := match["special"]:
        return Path("" if special == "<>" else "Postmaster", "", False)
    domain = print_literal(match["domain"] or match["bare_domain"])
    if domain is None:
        return None
    return Path(match["local"] or match["bare_local"], domain, domain.startswith("["))


def print_literal(domain: str) -> str | None:
    """The canonical form of a domain or literal; None for an IPv6 literal that is no address."""
    if domain[:6].lower() != "[ipv6:":
        return domain
    inside = domain[6:-1]
    if "%" in inside:
        return None
    try:
        address = ipaddress.IPv6Address(inside)
    except ValueError:
        return None
    return f"[IPv6:{f'::ffff:{address.ipv4_mapped}' if address.ipv4_mapped else address}]"


def parse_path(text: bytes) -> Path | None:
    try:
        match = re.fullmatch(_MAILBOX, text.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if match is None or re.search(r"[\x7F-\x9F]", match[0]):
        return None
    domain = print_literal(match["domain"])
    return None if domain is None else Path(match["local"], domain, domain.startswith("["))


def decode_xtext(text: str) -> bytes | None:
    if not re.fullmatch(_XTEXT, text):
        return None
    return re.sub(rb"\+(..)", lambda m: bytes.fromhex(m[1].decode()), text.encode())
