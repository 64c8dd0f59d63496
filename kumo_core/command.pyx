# cython: auto_pickle=False
"""Command lines: verb, path and parameters by the grammar of RFC 5321, with UTF-8 as RFC 6531 adds it.

One pass for forbidden octets, one for the grammar, no backtracking beyond an optional source route; what is
allocated is the result. It knows no command's meaning, no sequence and no limit. ``kumo.smtp`` calls
``parse_command`` for every line; policy and spool reach ``parse_path`` through ``kumo.smtp``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t

import ipaddress

from kumo_core._grammar cimport (
    ALNUM,
    ATEXT,
    BASE64,
    CONTROL,
    VALUE,
    Line,
    Mailbox,
    classes,
    find_mailbox,
    find_path,
    hexadecimal,
    is_octet,
    is_of_class,
    matches,
    skip_blanks,
    skip_class,
    skip_domain,
    skip_keyword,
    skip_literal,
    skip_quoted_string,
    skip_xtext,
    special_path,
    stopped_at,
)
from kumo_core.errors import Fault, WireSyntaxError


@cython.final
@cython.freelist(8)
cdef class Path:
    """A reverse-path or forward-path without its angle brackets and source route; a value.

    Attributes:
        local_part: as typed, quotes kept; empty in the null reverse-path.
        domain: as typed, an address literal in its canonical form with brackets; empty in the null
            reverse-path and for the bare ``Postmaster``.
        is_literal: whether the domain is an address literal.
    """

    def __init__(self, str local_part not None, str domain not None, bint is_literal):
        self.local_part = local_part
        self.domain = domain
        self.is_literal = is_literal

    def __eq__(self, other):
        # By fields, without a tuple: whoever keeps what became of a path compares them for every command.
        if not isinstance(other, Path):
            return NotImplemented
        cdef Path path = <Path> other
        return (
            self.local_part == path.local_part
            and self.domain == path.domain
            and self.is_literal == path.is_literal
        )

    def __hash__(self):
        return hash(self.local_part) ^ (hash(self.domain) >> 1)

    def __repr__(self):
        return f"Path(local_part={self.local_part!r}, domain={self.domain!r}, is_literal={self.is_literal!r})"


# Nothing in it can lead back to it, so the collector need not know it.
@cython.no_gc
@cython.final
@cython.freelist(8)
cdef class Command:
    """A command line that was read; a value.

    Attributes:
        verb: upper case; ``UNKNOWN`` for a word that is none of ours.
        argument: the domain or literal of a greeting, the token behind NOOP, HELP, VRFY or EXPN, the
            mechanism of AUTH, each as typed; else None.
        path: of MAIL and RCPT, else None.
        parameters: keyword in upper case and value, which is None without ``=``; of MAIL and RCPT the ESMTP
            parameters, of XCLIENT its attributes with the value still in xtext, of AUTH ``INITIAL`` and the
            initial response in base64 where there is one.
    """

    def __init__(self, str verb not None, str argument, Path path, tuple parameters not None):
        self.verb = verb
        self.argument = argument
        self.path = path
        self.parameters = parameters

    def __eq__(self, other):
        if not isinstance(other, Command):
            return NotImplemented
        return _fields_of_command(self) == _fields_of_command(<Command> other)

    def __hash__(self):
        return hash(_fields_of_command(self))

    def __repr__(self):
        return (
            f"Command(verb={self.verb!r}, argument={self.argument!r}, path={self.path!r},"
            f" parameters={self.parameters!r})"
        )


cdef tuple _fields_of_command(Command command):
    return command.verb, command.argument, command.path, command.parameters


cdef enum Verb:
    UNKNOWN
    EHLO
    HELO
    LHLO
    MAIL
    RCPT
    DATA
    RSET
    QUIT
    STARTTLS
    NOOP
    HELP
    VRFY
    EXPN
    AUTH
    XCLIENT


cdef tuple VERB_NAMES = (
    "UNKNOWN", "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "RSET", "QUIT", "STARTTLS",
    "NOOP", "HELP", "VRFY", "EXPN", "AUTH", "XCLIENT",
)
# Commands without arguments; values, so the same object serves every line.
cdef tuple BARE_COMMANDS = tuple([Command(name, None, None, ()) for name in VERB_NAMES])
# Reading a member off its class takes as long as half of a command.
cdef object BAD_SENDER = Fault.SENDER
cdef object BAD_RECIPIENT = Fault.RECIPIENT
cdef Path NULL_REVERSE_PATH = Path("", "", False)
cdef Path POSTMASTER = Path("Postmaster", "", False)


def parse_command(bytes line not None):
    """Read one command line.

    Args:
        line: without its CRLF.

    Raises:
        WireSyntaxError: the line is not UTF-8, holds a control character or does not follow the grammar.

    Source: RFC 5321 §4.1.1, §4.1.2; RFC 6531 §3.3; RFC 4954 §4
    """
    cdef Line wire
    cdef Py_ssize_t word, start
    cdef Verb verb
    wire.octets = <const unsigned char *> PyBytes_AS_STRING(line)
    wire.length = PyBytes_GET_SIZE(line)
    _refuse_forbidden_octets(wire)
    word = skip_class(wire, 0, ALNUM)
    if word == 0:
        raise WireSyntaxError(Fault.UNPARSABLE, 0, "a command word")
    verb = _verb(wire.octets, word)
    if word == wire.length:
        return _without_arguments(verb, word)
    start = skip_blanks(wire, word)
    if start == word:
        raise WireSyntaxError(Fault.UNPARSABLE, word, "a blank or the end of the line")
    if start == wire.length:
        raise WireSyntaxError(Fault.UNPARSABLE, start, "an argument")
    if verb == MAIL or verb == RCPT:
        return _path_command(wire, verb, start)
    if verb == EHLO or verb == HELO or verb == LHLO:
        return _greeting(wire, verb, start)
    return _other_command(wire, verb, start)


def parse_path(bytes text not None):
    """Read one mailbox in its printed form, ``local@domain`` or ``local@[literal]``, without angle brackets.

    Raises:
        WireSyntaxError: anything else, the null reverse-path and the bare ``Postmaster`` included.

    Source: RFC 5321 §4.1.2
    """
    cdef Line wire
    cdef Mailbox box
    cdef Py_ssize_t end
    wire.octets = <const unsigned char *> PyBytes_AS_STRING(text)
    wire.length = PyBytes_GET_SIZE(text)
    _refuse_forbidden_octets(wire)
    end = find_mailbox(wire, 0, &box)
    if 0 <= end < wire.length:
        end = stopped_at(end)
    if end < 0:
        raise WireSyntaxError(Fault.ARGUMENTS, ~end, "a mailbox")
    return _make_path(wire, &box, Fault.ARGUMENTS)


def decode_xtext(str text not None):
    """Return the octets that an xtext stands for.

    Args:
        text: printable ASCII in which ``+`` and two hexadecimal digits (of either case) stand for an octet.

    Raises:
        WireSyntaxError: a blank, ``=``, a character beyond ASCII, or a ``+`` without its digits.

    Source: RFC 3461 §4
    """
    cdef bytes encoded = text.encode("utf-8", "surrogatepass")
    cdef Line wire
    wire.octets = <const unsigned char *> PyBytes_AS_STRING(encoded)
    wire.length = PyBytes_GET_SIZE(encoded)
    cdef Py_ssize_t end = skip_xtext(wire, 0)
    if end < wire.length:
        raise WireSyntaxError(Fault.ARGUMENTS, end, "xtext")
    decoded = PyBytes_FromStringAndSize(NULL, wire.length - 2 * encoded.count(b"+"))
    cdef unsigned char *out = <unsigned char *> PyBytes_AS_STRING(decoded)
    cdef Py_ssize_t i = 0
    while i < wire.length:
        if wire.octets[i] == c"+":
            out[0] = 16 * hexadecimal(wire.octets[i + 1]) + hexadecimal(wire.octets[i + 2])
            i += 3
        else:
            out[0] = wire.octets[i]
            i += 1
        out += 1
    return decoded


cdef int _refuse_forbidden_octets(Line wire) except -1:
    cdef unsigned char control = 0
    cdef unsigned char high = 0
    cdef Py_ssize_t i
    for i in range(wire.length):
        control |= classes[wire.octets[i]]
        high |= wire.octets[i]
    if high & 0x80:
        try:
            _text(wire, 0, wire.length)
        except UnicodeDecodeError as error:
            raise WireSyntaxError(Fault.UTF8, error.start, "UTF-8") from None
    elif not control & CONTROL:
        return 0
    for i in range(wire.length):
        # U+0080 to U+009F are controls too.
        if classes[wire.octets[i]] & CONTROL or (
            wire.octets[i] == 0xC2 and wire.octets[i + 1] < 0xA0
        ):
            raise WireSyntaxError(Fault.UNPARSABLE, i, "no control character")
    return 0


cdef inline uint64_t _packed(const unsigned char *octets, Py_ssize_t length) noexcept nogil:
    """Up to eight letters or digits as one number, upper case turned to lower."""
    cdef uint64_t word = 0
    cdef Py_ssize_t i
    for i in range(length):
        word = word << 8 | (octets[i] | 0x20)
    return word


cdef Verb _verb(const unsigned char *octets, Py_ssize_t length) noexcept nogil:
    # Digits keep their value under | 0x20, and no other octet of a word becomes a letter by it.
    cdef uint64_t word
    if length == 4:
        word = _packed(octets, 4)
        if word == 0x6D61696C:
            return MAIL
        if word == 0x72637074:
            return RCPT
        if word == 0x64617461:
            return DATA
        if word == 0x65686C6F:
            return EHLO
        if word == 0x72736574:
            return RSET
        if word == 0x71756974:
            return QUIT
        if word == 0x6E6F6F70:
            return NOOP
        if word == 0x68656C6F:
            return HELO
        if word == 0x61757468:
            return AUTH
        if word == 0x76726679:
            return VRFY
        if word == 0x6578706E:
            return EXPN
        if word == 0x68656C70:
            return HELP
        if word == 0x6C686C6F:
            return LHLO
    elif length == 8:
        if _packed(octets, 8) == 0x7374617274746C73ULL:
            return STARTTLS
    elif length == 7:
        if _packed(octets, 7) == 0x78636C69656E74ULL:
            return XCLIENT
    return UNKNOWN


# The results, made without a call of their constructors, which would take tuples of arguments apart.

cdef Command _make_command(Verb verb, str argument, Path path, tuple parameters):
    cdef Command command = Command.__new__(Command)
    command.verb = <str> VERB_NAMES[verb]
    command.argument = argument
    command.path = path
    command.parameters = parameters
    return command


cdef inline str _text(Line wire, Py_ssize_t start, Py_ssize_t end):
    return PyUnicode_DecodeUTF8(<const char *> wire.octets + start, end - start, NULL)


cdef Path _make_path(Line wire, const Mailbox *box, object fault):
    cdef Path path = Path.__new__(Path)
    path.local_part = _text(wire, box.local_start, box.local_end)
    path.domain = _text(wire, box.local_end + 1, box.domain_end)
    if box.is_literal:
        path.domain = _canonical_literal(path.domain, box.local_end + 1, fault)
    path.is_literal = box.is_literal
    return path


cdef str _canonical_literal(str literal, Py_ssize_t offset, object fault):
    """The literal as it is printed: an IPv6 address shortened, anything else as typed."""
    if literal[:6].lower() != "[ipv6:":
        return literal
    try:
        # A zone index says something about the peer's links, not ours.
        if "%" in literal:
            raise ValueError("zone")
        address = ipaddress.IPv6Address(literal[6:len(literal) - 1])
    except ValueError:
        raise WireSyntaxError(fault, offset, "an IPv6 address") from None
    if address.ipv4_mapped is not None:
        return f"[IPv6:::ffff:{address.ipv4_mapped}]"
    return f"[IPv6:{address}]"


cdef object _without_arguments(Verb verb, Py_ssize_t end):
    if verb == DATA or verb == RSET or verb == QUIT or verb == STARTTLS or verb == UNKNOWN:
        return BARE_COMMANDS[verb]
    if verb == NOOP or verb == HELP or verb == VRFY or verb == EXPN:
        return BARE_COMMANDS[verb]
    raise WireSyntaxError(Fault.ARGUMENTS, end, "an argument")


cdef object _greeting(Line wire, Verb verb, Py_ssize_t start):
    cdef bint is_literal = is_octet(wire, start, c"[")
    cdef Py_ssize_t end = skip_literal(wire, start) if is_literal else skip_domain(wire, start)
    if 0 <= end < wire.length:
        end = stopped_at(end)
    if end < 0:
        raise WireSyntaxError(Fault.ARGUMENTS, ~end, "a domain or an address literal")
    name = _text(wire, start, end)
    if is_literal:
        _canonical_literal(name, start, Fault.ARGUMENTS)
    return _make_command(verb, name, None, ())


cdef object _path_command(Line wire, Verb verb, Py_ssize_t start):
    cdef Mailbox box
    cdef Py_ssize_t end, blanks
    cdef Path path = None
    cdef bint is_mail = verb == MAIL
    cdef Py_ssize_t keyword = 5 if is_mail else 3
    if not (matches(wire, start, "from:", 5) if is_mail else matches(wire, start, "to:", 3)):
        raise WireSyntaxError(Fault.ARGUMENTS, start, "FROM:" if is_mail else "TO:")
    start += keyword
    if start == wire.length:
        raise WireSyntaxError(Fault.ARGUMENTS, start, "a path")
    start = skip_blanks(wire, start)
    end = special_path(wire, start, is_mail)
    if end >= 0:
        path = NULL_REVERSE_PATH if is_mail else POSTMASTER
    else:
        end = find_path(wire, start, &box)
    if end < 0:
        raise WireSyntaxError(_address_fault(is_mail), ~end, "a mailbox")
    blanks = skip_blanks(wire, end)
    if end < wire.length and (blanks == end or blanks == wire.length):
        raise WireSyntaxError(_address_fault(is_mail), end, "the end of the line or parameters")
    if path is None:
        path = _make_path(wire, &box, _address_fault(is_mail))
    if blanks == wire.length:
        return _make_command(verb, None, path, ())
    return _make_command(verb, None, path, _parameters(wire, blanks))


cdef object _address_fault(bint is_mail):
    return BAD_SENDER if is_mail else BAD_RECIPIENT


cdef tuple _parameters(Line wire, Py_ssize_t i):
    cdef list parameters = []
    cdef Py_ssize_t end, value
    while True:
        end = skip_keyword(wire, i)
        if end < 0:
            raise WireSyntaxError(Fault.ARGUMENTS, i, "a parameter")
        keyword = _text(wire, i, end).upper()
        content = None
        i = end
        if is_octet(wire, i, c"="):
            value = i + 1
            i = skip_class(wire, value, VALUE)
            if i == value:
                raise WireSyntaxError(Fault.ARGUMENTS, i, "a parameter value")
            content = _text(wire, value, i)
        parameters.append((keyword, content))
        if i == wire.length:
            return tuple(parameters)
        i = _expect_blanks(wire, i)


cdef Py_ssize_t _expect_blanks(Line wire, Py_ssize_t i) except -1:
    """Skip the blanks between two arguments."""
    cdef Py_ssize_t end = skip_blanks(wire, i)
    if end == i:
        raise WireSyntaxError(Fault.ARGUMENTS, i, "a blank or the end of the line")
    return end


cdef object _other_command(Line wire, Verb verb, Py_ssize_t start):
    if verb == UNKNOWN:
        return BARE_COMMANDS[UNKNOWN]
    if verb == AUTH:
        return _auth(wire, start)
    if verb == XCLIENT:
        return _make_command(verb, None, None, _attributes(wire, start))
    if verb == NOOP or verb == HELP or verb == VRFY or verb == EXPN:
        return _make_command(verb, _token(wire, start), None, ())
    raise WireSyntaxError(Fault.ARGUMENTS, start, "the end of the line")


cdef object _token(Line wire, Py_ssize_t start):
    cdef Py_ssize_t end
    if is_octet(wire, start, c'"'):
        end = skip_quoted_string(wire, start)
    else:
        end = skip_class(wire, start, ATEXT)
    if 0 <= end < wire.length:
        end = stopped_at(end)
    if end < 0:
        raise WireSyntaxError(Fault.ARGUMENTS, ~end, "one atom or quoted string")
    return _text(wire, start, end)


cdef object _auth(Line wire, Py_ssize_t start):
    cdef Py_ssize_t end = start
    cdef Py_ssize_t response
    while is_of_class(wire, end, ALNUM) or is_octet(wire, end, c"-"):
        end += 1
    if end == start:
        raise WireSyntaxError(Fault.ARGUMENTS, start, "a mechanism")
    mechanism = _text(wire, start, end)
    if end == wire.length:
        return _make_command(AUTH, mechanism, None, ())
    response = _expect_blanks(wire, end)
    end = skip_class(wire, response, BASE64)
    if end == response or end < wire.length:
        raise WireSyntaxError(Fault.ARGUMENTS, end, "base64")
    return _make_command(AUTH, mechanism, None, (("INITIAL", _text(wire, response, end)),))


cdef tuple _attributes(Line wire, Py_ssize_t i):
    cdef list attributes = []
    cdef Py_ssize_t end, value
    while True:
        end = skip_keyword(wire, i)
        if end < 0 or not is_octet(wire, end, c"="):
            raise WireSyntaxError(Fault.ARGUMENTS, i, "an attribute name and =")
        value = end + 1
        name = _text(wire, i, end).upper()
        i = skip_xtext(wire, value)
        attributes.append((name, _text(wire, value, i)))
        if i == wire.length:
            return tuple(attributes)
        i = _expect_blanks(wire, i)
