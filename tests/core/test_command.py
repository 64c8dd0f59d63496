from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo_core import Command, Fault, Path, WireSyntaxError, decode_xtext, parse_command, parse_path
from tests.core import reference
from tests.core.strategies import lines

NULL = Path("", "", is_literal=False)
POSTMASTER = Path("Postmaster", "", is_literal=False)
A_AT_B = Path("a", "b.c", is_literal=False)

VERBS_ALONE = ["DATA", "RSET", "QUIT", "STARTTLS"]
VERBS_WITH_TOKEN = ["NOOP", "HELP", "VRFY", "EXPN"]
GREETINGS = ["EHLO", "HELO", "LHLO"]


def fault_of(line: bytes) -> Fault:
    with pytest.raises(WireSyntaxError) as caught:
        parse_command(line)
    assert 0 <= caught.value.offset <= len(line)
    return caught.value.fault


@pytest.mark.parametrize("verb", VERBS_ALONE)
def test_verbs_without_arguments(verb: str) -> None:
    for line in (verb, verb.lower(), verb.capitalize()):
        assert parse_command(line.encode()) == Command(verb, None, None, ())
    assert fault_of(f"{verb} x".encode()) is Fault.ARGUMENTS
    assert fault_of(f"{verb} ".encode()) is Fault.UNPARSABLE


@pytest.mark.parametrize("verb", VERBS_WITH_TOKEN)
@pytest.mark.parametrize("token", ["atom", "!#$%&'*+-/=?^_`{|}~", '"quoted @ . <"', "é"])
def test_verbs_with_an_optional_token(verb: str, token: str) -> None:
    assert parse_command(verb.encode()) == Command(verb, None, None, ())
    assert parse_command(f"{verb.lower()} \t {token}".encode()) == Command(verb, token, None, ())
    for rest in (f" {token} {token}", f" {token} ", " a@b", " a.b", " <a>"):
        assert fault_of(f"{verb}{rest}".encode()) is Fault.ARGUMENTS


@pytest.mark.parametrize("verb", GREETINGS)
@pytest.mark.parametrize(
    "name",
    [
        "example.org",
        "A-b_c",
        "1.2.3.4",
        "a-.b",
        "ü.example",
        "日本",
        "[1.2.3.4]",
        "[IPv6:2001:DB8::1]",
        "[x-y:z!~]",
        "a",
    ],
)
def test_greetings_keep_the_name_as_typed(verb: str, name: str) -> None:
    assert parse_command(f"{verb} {name}".encode()) == Command(verb, name, None, ())


@pytest.mark.parametrize("verb", GREETINGS)
@pytest.mark.parametrize(
    "arguments",
    [
        "",
        " a.",
        " .a",
        " a..b",
        " -a",
        " _a",
        " a b",
        " a ",
        " a@b",
        " [1.2.3.4",
        " [1.2.3.256]",
        " [1.2.3]",
        " [1.2.3.4.5]",
        " [01.2.3.4]",
        " [IPv6:]",
        " [IPv6:g::]",
        " [IPv6:fe80::1%eth0]",
        " [tag:]",
        " [-:x]",
        " [x-:y]",
        " [:x]",
        " []",
        " [a]x",
        " [x:a[b]",
        " [x:a\\b]",
        " [x:a b]",
        " [x:é]",
        " a:25",
        " (a)",
    ],
)
def test_greetings_need_a_domain_or_a_literal(verb: str, arguments: str) -> None:
    assert fault_of(f"{verb}{arguments}".encode()) is Fault.ARGUMENTS


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("<a@b.c>", A_AT_B),
        (" <a@b.c>", A_AT_B),
        (" \t<a@b.c>", A_AT_B),
        ("a@b.c", A_AT_B),
        (" a@b.c", A_AT_B),
        ("<@r:a@b.c>", A_AT_B),
        ("<@r.s,@t:a@b.c>", A_AT_B),
        ("<A.b+c@B.C>", Path("A.b+c", "B.C", is_literal=False)),
        ("<!#$%&'*+-/=?^_`{|}~@b>", Path("!#$%&'*+-/=?^_`{|}~", "b", is_literal=False)),
        ('<"a b"@c>', Path('"a b"', "c", is_literal=False)),
        ('<"a\\"\\\\@>"@c>', Path('"a\\"\\\\@>"', "c", is_literal=False)),
        ('<""@c>', Path('""', "c", is_literal=False)),
        ('<"é"@c>', Path('"é"', "c", is_literal=False)),
        ("<jörg@müller.example>", Path("jörg", "müller.example", is_literal=False)),
        ("<a@123>", Path("a", "123", is_literal=False)),
        ("<a@[1.2.3.4]>", Path("a", "[1.2.3.4]", is_literal=True)),
        ("<a@[255.255.255.255]>", Path("a", "[255.255.255.255]", is_literal=True)),
        ("<a@[iPV6:2001:0DB8:0:0::1]>", Path("a", "[IPv6:2001:db8::1]", is_literal=True)),
        ("<a@[IPv6:::FFFF:1.2.3.4]>", Path("a", "[IPv6:::ffff:1.2.3.4]", is_literal=True)),
        ("<a@[IPv6:::ffff:102:304]>", Path("a", "[IPv6:::ffff:1.2.3.4]", is_literal=True)),
        ("<a@[X-Tag:Content]>", Path("a", "[X-Tag:Content]", is_literal=True)),
    ],
)
@pytest.mark.parametrize(
    ("verb", "keyword"), [("MAIL", "FROM:"), ("RCPT", "TO:"), ("mail", "from:"), ("Rcpt", "tO:")]
)
def test_paths(verb: str, keyword: str, typed: str, path: Path) -> None:
    command = parse_command(f"{verb} {keyword}{typed}".encode())
    assert command == Command(verb.upper(), None, path, ())
    assert type(command) is Command
    assert type(command.path) is Path
    with_parameters = parse_command(f"{verb}\t {keyword}{typed} X=1".encode())
    assert with_parameters == Command(verb.upper(), None, path, (("X", "1"),))


@pytest.mark.parametrize(
    "typed",
    [
        " ",
        "a",
        "<a>",
        "<a@>",
        "<@b>",
        "<a@b",
        "a@b>",
        "<a@b>>",
        "<a@b>x",
        "<a@b>SIZE=1",
        "<a@b> ",
        "<a@b>\t",
        "< a@b>",
        "<a@b >",
        "<a@b:25>",
        "<a@b.>",
        "<a@.b>",
        "<a@b..c>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a b@c>",
        "<a@b@c>",
        "<a@-b>",
        "<a(c)@b>",
        '<"a@b>',
        '<"a"b@c>',
        '<"a\\',
        '<"a\\é"@b>',
        '<"a\tb"@c>',
        "<@r a@b>",
        "<@r,a@b>",
        "<@r,@:a@b>",
        "<@r:>",
        "@r:a@b",
        "<a@[1.2.3.4>",
        "<a@[1.2.3.04]>",
        "<a@[IPv6:bad]>",
        "<a@[IPv6:::1%1]>",
        "<a@[1.2.3.4]x>",
        "<a\\@b@c>",
        "<a,b@c>",
    ],
)
@pytest.mark.parametrize(("prefix", "fault"), [("MAIL FROM:", Fault.SENDER), ("RCPT TO:", Fault.RECIPIENT)])
def test_what_is_not_an_address(prefix: str, typed: str, fault: Fault) -> None:
    assert fault_of(f"{prefix}{typed}".encode()) is fault


def test_the_null_reverse_path_is_for_mail_alone() -> None:
    assert parse_command(b"MAIL FROM:<>") == Command("MAIL", None, NULL, ())
    assert parse_command(b"mail from: <> SIZE=0") == Command("MAIL", None, NULL, (("SIZE", "0"),))
    assert fault_of(b"RCPT TO:<>") is Fault.RECIPIENT


@pytest.mark.parametrize("postmaster", ["Postmaster", "postmaster", "POSTMASTER"])
def test_the_bare_postmaster_is_for_rcpt_in_brackets_alone(postmaster: str) -> None:
    assert parse_command(f"RCPT TO:<{postmaster}>".encode()) == Command("RCPT", None, POSTMASTER, ())
    assert parse_command(f"RCPT TO: <{postmaster}> A".encode()) == Command(
        "RCPT", None, POSTMASTER, (("A", None),)
    )
    assert fault_of(f"RCPT TO:{postmaster}".encode()) is Fault.RECIPIENT
    assert fault_of(f"RCPT TO:<{postmaster}".encode()) is Fault.RECIPIENT
    assert fault_of(f"MAIL FROM:<{postmaster}>".encode()) is Fault.SENDER


@pytest.mark.parametrize(
    ("typed", "parameters"),
    [
        ("SIZE=1000", (("SIZE", "1000"),)),
        ("body=8bitMIME  smtputf8", (("BODY", "8bitMIME"), ("SMTPUTF8", None))),
        ("X-1-a=!<>~\tX-1-A=b", (("X-1-A", "!<>~"), ("X-1-A", "b"))),
        ("ORCPT=rfc822;a+2Bb@c", (("ORCPT", "rfc822;a+2Bb@c"),)),
        ("ENVID=é", (("ENVID", "é"),)),
    ],
)
def test_parameters(typed: str, parameters: tuple[tuple[str, str | None], ...]) -> None:
    assert parse_command(f"MAIL FROM:<a@b.c> {typed}".encode()) == Command("MAIL", None, A_AT_B, parameters)
    assert parse_command(f"RCPT TO:<a@b.c> {typed}".encode()) == Command("RCPT", None, A_AT_B, parameters)


@pytest.mark.parametrize(
    "line",
    [
        "MAIL FROM:<a@b> =",
        "MAIL FROM:<a@b> SIZE=",
        "MAIL FROM:<a@b> SIZE==1",
        "MAIL FROM:<a@b> SIZE=1 ",
        "MAIL FROM:<a@b> -A",
        "MAIL FROM:<a@b> A,B",
        "MAIL FROM:<a@b> é",
        "MAIL FROM:<a@b> A=1 <",
        "MAIL",
        "MAIL a@b",
        "MAIL FROM",
        "MAIL FROM:",
        "MAIL FROM : <a@b>",
        "MAIL TO:<a@b>",
        "RCPT",
        "RCPT TO:",
        "RCPT TO <a@b>",
        "RCPT FROM:<a@b>",
        "AUTH",
        "AUTH PLAIN *",
        "AUTH PLAIN a b",
        "AUTH PLAIN ",
        "AUTH =",
        "AUTH PLAIN=",
        "XCLIENT",
        "XCLIENT ADDR",
        "XCLIENT =1",
        "XCLIENT ADDR=1 ",
        "XCLIENT ADDR=a=b",
        "XCLIENT ADDR=+4",
        "XCLIENT ADDR=+4g",
        "XCLIENT ADDR=é",
    ],
)
def test_known_verb_with_other_arguments(line: str) -> None:
    assert fault_of(line.encode()) is Fault.ARGUMENTS


@pytest.mark.parametrize(
    "line", ["BDAT 10 LAST", "GET / HTTP/1.1", "ETRN x", "EHLOX a", "MAI", "DATA1", "1", "a  b\u2028"]
)
def test_other_words_are_unknown(line: str) -> None:
    assert parse_command(line.encode()) == Command("UNKNOWN", None, None, ())


@pytest.mark.parametrize(
    "line",
    ["", " ", " DATA", "-", "é", "EHLO\u00a0a", "MAIL:", "FOO-BAR", "FOO ", "QUIT \t", "EHLO ", "NOOP=a"],
)
def test_lines_without_a_verb(line: str) -> None:
    assert fault_of(line.encode()) is Fault.UNPARSABLE


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 0x7F])
@pytest.mark.parametrize(
    "line", [b"NOOP a%cb", b"%cNOOP", b"NOOP%c", b"MAIL FROM:<a%c@b>", b'RCPT TO:<"a%c"@b>', b"FOO a%c"]
)
def test_no_control_character_anywhere(line: bytes, octet: int) -> None:
    assert fault_of(line % octet) is Fault.UNPARSABLE


@pytest.mark.parametrize("control", ["\u0080", "\u0085", "\u009f"])
def test_the_controls_beyond_ascii_count_as_such(control: str) -> None:
    assert fault_of(f"MAIL FROM:<a{control}@b>".encode()) is Fault.UNPARSABLE
    assert parse_command("MAIL FROM:<a\u00a0@b.c>".encode()).path == Path("a\u00a0", "b.c", is_literal=False)


@pytest.mark.parametrize(
    "wrong", [b"\x80", b"\xc0\x80", b"\xc2", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff"]
)
def test_what_is_not_utf8_is_told_before_anything_else(wrong: bytes) -> None:
    for line in (b"MAIL FROM:<%b@b>", b"%b", b"\0%b", b"NOOP \n%b", b"FOO %b"):
        assert fault_of(line % wrong) is Fault.UTF8


def test_auth_and_its_initial_response() -> None:
    assert parse_command(b"AUTH PLAIN") == Command("AUTH", "PLAIN", None, ())
    assert parse_command(b"auth cram-MD5") == Command("AUTH", "cram-MD5", None, ())
    assert parse_command(b"AUTH PLAIN  Ab+/=") == Command("AUTH", "PLAIN", None, (("INITIAL", "Ab+/="),))
    assert parse_command(b"AUTH PLAIN =") == Command("AUTH", "PLAIN", None, (("INITIAL", "="),))


def test_xclient_attributes_stay_in_xtext() -> None:
    expected = (("ADDR", "1.2.3.4"), ("PORT", "+32+35"), ("NAME", ""))
    assert parse_command(b"XCLIENT addr=1.2.3.4 PORT=+32+35\tName=") == Command(
        "XCLIENT", None, None, expected
    )


def test_the_error_names_octet_and_expectation_and_nothing_of_the_peers() -> None:
    with pytest.raises(WireSyntaxError, match=r"\Aexpected a mailbox at octet 14\Z") as caught:
        parse_command(b"MAIL FROM:<evi><l@b>")
    assert (caught.value.fault, caught.value.offset, caught.value.expected) == (Fault.SENDER, 14, "a mailbox")


@settings(max_examples=200, deadline=None)
@given(lines)
def test_agrees_with_the_reference(line: bytes) -> None:
    result: Command | Fault
    offset = 0
    try:
        result = parse_command(line)
    except WireSyntaxError as error:
        result, offset = error.fault, error.offset
    assert 0 <= offset <= len(line)
    assert result == reference.parse_command(line)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=40), lines.map(lambda line: line.partition(b":")[2].strip(b"<> "))))
def test_parse_path_agrees_with_the_reference(text: bytes) -> None:
    result: Path | None
    try:
        result = parse_path(text)
    except WireSyntaxError:
        result = None
    assert result == reference.parse_path(text)


@settings(max_examples=100, deadline=None)
@given(lines)
def test_a_path_that_was_read_is_read_again_from_its_printed_form(line: bytes) -> None:
    try:
        path = parse_command(line).path
    except WireSyntaxError:
        return
    if path is not None and path.domain:
        assert parse_path(f"{path.local_part}@{path.domain}".encode()) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"a@b.c", A_AT_B),
        (b'"a b"@b', Path('"a b"', "b", is_literal=False)),
        (b"a@[ipv6:::1]", Path("a", "[IPv6:::1]", is_literal=True)),
        ("é@ü".encode(), Path("é", "ü", is_literal=False)),
    ],
)
def test_parse_path(text: bytes, path: Path) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", Fault.ARGUMENTS),
        (b"postmaster", Fault.ARGUMENTS),
        (b"<a@b>", Fault.ARGUMENTS),
        (b"a@b ", Fault.ARGUMENTS),
        (b"a@[IPv6:x]", Fault.ARGUMENTS),
        (b"a@b\n", Fault.UNPARSABLE),
        (b"a\0@b", Fault.UNPARSABLE),
        (b"a@\xff", Fault.UTF8),
    ],
)
def test_parse_path_refuses_the_rest(text: bytes, fault: Fault) -> None:
    with pytest.raises(WireSyntaxError) as caught:
        parse_path(text)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b""),
        ("abc", b"abc"),
        ("+2B+3d", b"+="),
        ("a+00b+ff", b"a\0b\xff"),
        ("!~", b"!~"),
        ("+2+2", None),
        ("+", None),
        ("+4", None),
        ("+4G", None),
        ("a=b", None),
        ("a b", None),
        ("é", None),
        ("\ud800", None),
        ("a\x7f", None),
        ("a\n", None),
    ],
)
def test_decode_xtext(text: str, octets: bytes | None) -> None:
    if octets is None:
        with pytest.raises(WireSyntaxError):
            decode_xtext(text)
    else:
        assert decode_xtext(text) == octets


@settings(max_examples=100, deadline=None)
@given(st.text("+=aF09gé \n", max_size=12))
def test_decode_xtext_agrees_with_the_reference(text: str) -> None:
    result: bytes | None
    try:
        result = decode_xtext(text)
    except WireSyntaxError:
        result = None
    assert result == reference.decode_xtext(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=20))
def test_decode_xtext_undoes_the_encoding(octets: bytes) -> None:
    assert decode_xtext("".join(f"+{octet:02X}" for octet in octets)) == octets


@pytest.mark.parametrize("parse", [parse_command, parse_path])
@pytest.mark.parametrize("argument", [None, "NOOP", bytearray(b"NOOP"), memoryview(b"NOOP")])
def test_lines_are_bytes(parse: object, argument: object) -> None:
    assert callable(parse)
    with pytest.raises(TypeError):
        parse(argument)


def test_long_lines_are_read() -> None:
    local = "a" * 100_000
    assert parse_command(f"MAIL FROM:<{local}@b>".encode()).path == Path(local, "b", is_literal=False)
    assert parse_command(b"MAIL FROM:<a@b.c>" + b" A=1" * 20_000).parameters == (("A", "1"),) * 20_000


@pytest.mark.parametrize(
    ("one", "others"),
    [
        (
            Path("a", "b", is_literal=False),
            [
                Path("A", "b", is_literal=False),
                Path("a", "c", is_literal=False),
                Path("a", "b", is_literal=True),
                Path("b", "a", is_literal=False),
                ("a", "b", False),
            ],
        ),
        (
            Command("MAIL", None, NULL, ()),
            [
                Command("RCPT", None, NULL, ()),
                Command("MAIL", "a", NULL, ()),
                Command("MAIL", None, None, ()),
                Command("MAIL", None, NULL, (("A", None),)),
                ("MAIL", None, NULL, ()),
            ],
        ),
    ],
)
def test_results_are_values(one: object, others: list[object]) -> None:
    evaluated = eval(repr(one), {"Path": Path, "Command": Command})  # noqa: S307 - our own text
    assert evaluated == one
    assert hash(evaluated) == hash(one)
    assert all(other != one for other in others)
    for name in ("verb", "path", "domain", "anything"):
        with pytest.raises(AttributeError):
            setattr(one, name, "x")


def test_a_result_cannot_be_made_of_nothing() -> None:
    with pytest.raises(TypeError):
        Path(None, "b", is_literal=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Command("MAIL", None, ("a", "b", False), ())  # type: ignore[arg-type]
