"""Where a header section ends, and where its fields of some names are.

One ``memchr`` a line and no Python object for what was not asked for: policies and logs ask for one or two
fields of each message. It does not unfold and does not decode; ``kumo.message.headers`` does, and decides how
much of a content is looked at.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memset


cpdef Py_ssize_t find_section_end(bytes content, Py_ssize_t limit) except -1:
    """Find where the header section ends.

    Args:
        content: a whole message; line ends are CRLF or LF.
        limit: octets that are looked at.

    Returns:
        The offset of the empty line, just after the last field's line end; the length of the content when
        there is no empty line and the content keeps to the limit. Beyond the limit the end of the last line
        within it that no folded line follows, 0 when there is none.

    Raises:
        ValueError: the limit is negative.

    Source: RFC 5322 §2.1.
    """
    if content is None:
        raise TypeError("a content must be bytes, not None")
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(content)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(content)
    cdef Py_ssize_t looked_at = length if length < limit else limit
    cdef Py_ssize_t whole = 0
    cdef Py_ssize_t line = 0
    if limit < 0:
        raise ValueError(f"a limit cannot be negative, got {limit}")
    while line < looked_at:
        if _is_empty(octets, line, looked_at):
            return line
        if not _is_blank(octets[line]):
            whole = line
        line = _next_line(octets, line, looked_at)
    return length if length <= limit else whole


cpdef list find_fields(bytes content, Py_ssize_t section_end, tuple names, Py_ssize_t limit):
    """Find the fields that have one of these names, in their order.

    Args:
        content: a whole message.
        section_end: what ``find_section_end`` gave.
        names: in lower case; the case of letters does not count.
        limit: fields that are listed at most.

    Returns:
        For each field four offsets: of its name, behind its name, behind its colon, behind its last line end.
        Blanks may stand before the colon.

    Raises:
        ValueError: the section's end is not within the content.
        TypeError: a name is no ``bytes`` object.

    Source: RFC 5322 §2.2, §4.5.8 (blanks before the colon).
    """
    if content is None or names is None:
        raise TypeError("a content must be bytes and its names a tuple, neither None")
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(content)
    cdef Py_ssize_t line = 0
    cdef Py_ssize_t name_end, colon, end
    cdef list found = []
    cdef unsigned char begins_name[256]
    if not 0 <= section_end <= PyBytes_GET_SIZE(content):
        raise ValueError(f"no header section ends at {section_end} in {PyBytes_GET_SIZE(content)} octets")
    _note_beginnings(names, begins_name)
    while line < section_end and len(found) < limit:
        # The peer chooses how many lines there are: most are to be done with, however many names are wanted.
        name_end = line
        if begins_name[octets[line]]:
            name_end = _end_of_name(octets, line, section_end, names)
        colon = name_end
        if name_end > line:
            while colon < section_end and _is_blank(octets[colon]):
                colon += 1
        end = _next_line(octets, line, section_end)
        if name_end > line and colon < section_end and octets[colon] == b":":
            while end < section_end and _is_blank(octets[end]):
                end = _next_line(octets, end, section_end)
            found.append((line, name_end, colon + 1, end))
        line = end
    return found


cdef inline bint _is_blank(unsigned char octet) noexcept:
    return octet == b" " or octet == b"\t"


cdef inline bint _is_empty(const unsigned char *octets, Py_ssize_t line, Py_ssize_t end) noexcept:
    if octets[line] == b"\n":
        return True
    return octets[line] == b"\r" and line + 1 < end and octets[line + 1] == b"\n"


cdef inline Py_ssize_t _next_line(const unsigned char *octets, Py_ssize_t line, Py_ssize_t end) noexcept:
    """The offset behind the next LF, or the end."""
    cdef const unsigned char *lf = <const unsigned char *> memchr(octets + line, b"\n", end - line)
    return end if lf == NULL else lf - octets + 1


cdef inline unsigned char _lower(unsigned char octet) noexcept:
    return octet | 0x20 if b"A" <= octet <= b"Z" else octet


cdef int _note_beginnings(tuple names, unsigned char *begins_name) except -1:
    """Note with which octets a line may begin that has one of the names."""
    cdef bytes name
    cdef unsigned char octet
    memset(begins_name, 0, 256)
    for name in names:
        if name is None:
            raise TypeError("a field name must be bytes, not None")
        if PyBytes_GET_SIZE(name):
            octet = <unsigned char> PyBytes_AS_STRING(name)[0]
            begins_name[octet] = 1
            if b"a" <= octet <= b"z":
                begins_name[octet ^ 0x20] = 1
    return 0


cdef Py_ssize_t _end_of_name(
    const unsigned char *octets, Py_ssize_t line, Py_ssize_t end, tuple names
) except -1:
    """The offset behind that of the names which the line begins with, as a whole; else the line's own."""
    cdef bytes name
    cdef const unsigned char *wanted
    cdef Py_ssize_t length, place
    for name in names:
        wanted = <const unsigned char *> PyBytes_AS_STRING(name)
        length = PyBytes_GET_SIZE(name)
        if length == 0 or line + length >= end:
            continue
        place = 0
        while place < length and _lower(octets[line + place]) == wanted[place]:
            place += 1
        if place == length and (octets[line + length] == b":" or _is_blank(octets[line + length])):
            return line + length
    return line
