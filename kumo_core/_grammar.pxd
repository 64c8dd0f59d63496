"""The grammar of command lines as inline functions on octets: no Python object, no allocation.

A function takes the offset at which its rule begins and returns the offset behind it or, where the rule does
not hold, the inverted offset at which reading stopped: negative, even for offset 0. Used by ``command.pyx``.
"""

cdef extern from "_classes.h" nogil:
    enum: ALNUM "KUMO_ALNUM"
    enum: ATEXT "KUMO_ATEXT"
    enum: LABEL "KUMO_LABEL"
    enum: QTEXT "KUMO_QTEXT"
    enum: VALUE "KUMO_VALUE"
    enum: BASE64 "KUMO_BASE64"
    enum: DCONTENT "KUMO_DCONTENT"
    enum: CONTROL "KUMO_CONTROL"

    const unsigned char classes "kumo_classes"[256]


cdef struct Line:
    const unsigned char *octets
    Py_ssize_t length


cdef struct Mailbox:
    Py_ssize_t local_start
    Py_ssize_t local_end
    Py_ssize_t domain_end
    bint is_literal


cdef inline Py_ssize_t stopped_at(Py_ssize_t offset) noexcept nogil:
    return ~offset


cdef inline bint is_octet(Line wire, Py_ssize_t i, int octet) noexcept nogil:
    return i < wire.length and wire.octets[i] == octet


cdef inline bint is_of_class(Line wire, Py_ssize_t i, unsigned char bits) noexcept nogil:
    return i < wire.length and classes[wire.octets[i]] & bits


cdef inline Py_ssize_t skip_class(Line wire, Py_ssize_t i, unsigned char bits) noexcept nogil:
    while i < wire.length and classes[wire.octets[i]] & bits:
        i += 1
    return i


cdef inline Py_ssize_t skip_blanks(Line wire, Py_ssize_t i) noexcept nogil:
    while i < wire.length and (wire.octets[i] == c" " or wire.octets[i] == c"\t"):
        i += 1
    return i


cdef inline Py_ssize_t skip_quoted_string(Line wire, Py_ssize_t i) noexcept nogil:
    i += 1
    while i < wire.length:
        if classes[wire.octets[i]] & QTEXT:
            i += 1
        elif wire.octets[i] == c'"':
            return i + 1
        elif is_octet(wire, i, c"\\") and i + 1 < wire.length and 0x20 <= wire.octets[i + 1] < 0x7F:
            i += 2
        else:
            break
    return stopped_at(i)


cdef inline Py_ssize_t skip_local_part(Line wire, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t atom
    if is_octet(wire, i, c'"'):
        return skip_quoted_string(wire, i)
    while True:
        atom = i
        i = skip_class(wire, i, ATEXT)
        if i == atom:
            return stopped_at(i)
        if not is_octet(wire, i, c"."):
            return i
        i += 1


cdef inline Py_ssize_t skip_domain(Line wire, Py_ssize_t i) noexcept nogil:
    while True:
        if not is_of_class(wire, i, LABEL) or wire.octets[i] == c"-" or wire.octets[i] == c"_":
            return stopped_at(i)
        i = skip_class(wire, i + 1, LABEL)
        if not is_octet(wire, i, c"."):
            return i
        i += 1


cdef inline Py_ssize_t skip_literal(Line wire, Py_ssize_t i) noexcept nogil:
    """Skip an address literal; whether an IPv6 address is sound shows when it is printed."""
    cdef Py_ssize_t inside = i + 1
    cdef Py_ssize_t tag_end
    if is_ipv4(wire, inside, &i):
        return i + 1 if is_octet(wire, i, c"]") else stopped_at(i)
    tag_end = inside
    while is_of_class(wire, tag_end, ALNUM) or is_octet(wire, tag_end, c"-"):
        tag_end += 1
    if not is_octet(wire, tag_end, c":") or tag_end == inside or wire.octets[tag_end - 1] == c"-":
        return stopped_at(tag_end)
    i = skip_class(wire, tag_end + 1, DCONTENT)
    if i == tag_end + 1 or not is_octet(wire, i, c"]"):
        return stopped_at(i)
    return i + 1


cdef inline bint is_ipv4(Line wire, Py_ssize_t i, Py_ssize_t *end) noexcept nogil:
    """Whether four numbers up to 255 without leading zeros begin there; tells where they end."""
    cdef int field, value
    cdef Py_ssize_t digits
    for field in range(4):
        if field:
            if not is_octet(wire, i, c"."):
                return False
            i += 1
        digits = i
        value = 0
        while i < wire.length and i < digits + 3 and c"0" <= wire.octets[i] <= c"9":
            value = 10 * value + wire.octets[i] - c"0"
            i += 1
        if i == digits or value > 255 or (wire.octets[digits] == c"0" and i > digits + 1):
            return False
    end[0] = i
    return True


cdef inline Py_ssize_t find_mailbox(Line wire, Py_ssize_t i, Mailbox *box) noexcept nogil:
    box.local_start = i
    i = skip_local_part(wire, i)
    if i < 0:
        return i
    if not is_octet(wire, i, c"@"):
        return stopped_at(i)
    box.local_end = i
    box.is_literal = is_octet(wire, i + 1, c"[")
    i = skip_literal(wire, i + 1) if box.is_literal else skip_domain(wire, i + 1)
    box.domain_end = i
    return i


cdef inline Py_ssize_t skip_source_route(Line wire, Py_ssize_t i) noexcept nogil:
    while True:
        i = skip_domain(wire, i + 1)
        if i < 0:
            return i
        if is_octet(wire, i, c":"):
            return i + 1
        if not is_octet(wire, i, c",") or not is_octet(wire, i + 1, c"@"):
            return stopped_at(i)
        i += 1


cdef inline Py_ssize_t skip_xtext(Line wire, Py_ssize_t i) noexcept nogil:
    """Skip what is xtext; the offset at which it stops."""
    while i < wire.length and 0x21 <= wire.octets[i] < 0x7F and wire.octets[i] != c"=":
        if wire.octets[i] == c"+":
            if i + 2 >= wire.length:
                return i
            if hexadecimal(wire.octets[i + 1]) < 0 or hexadecimal(wire.octets[i + 2]) < 0:
                return i
            i += 2
        i += 1
    return i


cdef inline int hexadecimal(unsigned char octet) noexcept nogil:
    if c"0" <= octet <= c"9":
        return octet - c"0"
    octet |= 0x20
    return octet - c"a" + 10 if c"a" <= octet <= c"f" else -1


cdef inline bint matches(Line wire, Py_ssize_t i, const char *word, Py_ssize_t length) noexcept nogil:
    """Whether that word, given in lower case, stands there in any case."""
    cdef Py_ssize_t k
    if wire.length - i < length:
        return False
    for k in range(length):
        if (wire.octets[i + k] | 0x20) != <unsigned char> word[k]:
            return False
    return True


cdef inline Py_ssize_t special_path(Line wire, Py_ssize_t i, bint is_mail) noexcept nogil:
    """Skip the one path that is no mailbox: the null reverse-path of MAIL, the bare postmaster of RCPT."""
    if not is_octet(wire, i, c"<"):
        return stopped_at(i)
    if is_mail:
        return i + 2 if is_octet(wire, i + 1, c">") else stopped_at(i + 1)
    if matches(wire, i + 1, "postmaster", 10) and is_octet(wire, i + 11, c">"):
        return i + 12
    return stopped_at(i + 1)


cdef inline Py_ssize_t find_path(Line wire, Py_ssize_t i, Mailbox *box) noexcept nogil:
    if not is_octet(wire, i, c"<"):
        return find_mailbox(wire, i, box)
    i += 1
    if is_octet(wire, i, c"@"):
        i = skip_source_route(wire, i)
        if i < 0:
            return i
    i = find_mailbox(wire, i, box)
    if i < 0:
        return i
    return i + 1 if is_octet(wire, i, c">") else stopped_at(i)


cdef inline Py_ssize_t skip_keyword(Line wire, Py_ssize_t i) noexcept nogil:
    if not is_of_class(wire, i, ALNUM):
        return stopped_at(i)
    while is_of_class(wire, i, ALNUM) or is_octet(wire, i, c"-"):
        i += 1
    return i
