"""Inputs for the properties, biased to where a kernel could go wrong."""

from __future__ import annotations

import string

from hypothesis import strategies as st

STEP = 64
BLOCK = 448
LIMIT = 40

_pieces = st.one_of(
    st.sampled_from(
        [
            b"\r\n",
            b"\r",
            b"\n",
            b".",
            b"..",
            b"\r\n.",
            b"\r\n..",
            b"\n.",
            b"\r.",
            b"a",
            b".\r",
            b"\r\n.\r",
            b"\0",
        ]
    ),
    st.sampled_from([b"b" * length for length in (LIMIT - 1, LIMIT, LIMIT + 1)]),
    st.sampled_from([b"c" * length for length in (STEP - 5, STEP - 1, STEP, STEP + 3)]),
    st.sampled_from([b"c" * length for length in (BLOCK - 5, BLOCK - 1, BLOCK, BLOCK + STEP)]),
    st.binary(max_size=4),
)
contents = st.lists(_pieces, max_size=30).map(b"".join)
"""Contents in which line ends and dots meet each other, the limit and the block length."""

_stretches = st.tuples(
    st.sampled_from(
        [
            b"\n",
            b"\r",
            b"\r\n",
            b"\r\n.",
            b"a\n",
            b"\n.",
            b"b" * 9 + b"\n",
            b"c" * 99 + b"\r",
            b"d",
            b"\r\n.\r",
        ]
    ),
    st.integers(1, 3 * BLOCK),
).map(lambda stretch: (stretch[0] * stretch[1])[: stretch[1]])
changeables = st.lists(_stretches, max_size=8).map(b"".join)
"""Contents of several blocks, in stretches in which few octets are to be changed or many."""

streams = st.tuples(contents, st.sampled_from([b"", b"\r\n.\r\n", b"\r\n.\r\nRSET\r\n", b".\r\n"])).map(
    b"".join
)
"""What follows a DATA command, with and without an end."""

_words = st.sampled_from(
    [
        "EHLO",
        "helo",
        "LHLO",
        "MAIL",
        "mail",
        "RCPT",
        "DATA",
        "RSET",
        "QUIT",
        "STARTTLS",
        "NOOP",
        "HELP",
        "VRFY",
    ],
) | st.sampled_from(["EXPN", "AUTH", "XCLIENT", "BDAT", "GET", "FROM:", "TO:", "from:", "FROM", "TO"])
_fragments = st.sampled_from(
    [
        " ",
        "  ",
        "\t",
        "<",
        ">",
        "<>",
        "@",
        ".",
        "..",
        ":",
        ",",
        "=",
        "-",
        "_",
        '"',
        "\\",
        "[",
        "]",
        "+",
        "+41",
        "a",
        "b",
        "example.org",
        "a@b",
        "<a@b.c>",
        "<@r,@s:a@b>",
        "<Postmaster>",
        "<po\u017ftmaster>",
        '"q \\" q"',
        "[1.2.3.4]",
        "[1.2.3.04]",
        "[IPv6:::1]",
        "[ipv6:::FFFF:1.2.3.4]",
        "[IPv6:fe80::1%1]",
        "[x-tag:content]",
        "1.2.3.256",
        "SIZE=1",
        "BODY",
        "é",
        "ü.de",
        "\u00a0",
        "\u2028",
        "\u0085",
        "\x00",
        "\r",
        "\n",
        "\x7f",
        "PLAIN",
        "ADDR=1.2.3.4",
        string.punctuation,
    ]
)
_text_lines = st.tuples(_words, st.lists(st.one_of(_fragments, _words), max_size=8)).map(
    lambda parts: (parts[0] + "".join(parts[1])).encode()
)
_path_lines = st.tuples(
    st.sampled_from(["MAIL FROM:", "RCPT TO:", "mail  from: ", "EHLO ", "NOOP ", "AUTH ", "XCLIENT "]),
    st.lists(_fragments, max_size=8),
).map(lambda parts: (parts[0] + "".join(parts[1])).encode())
lines = st.one_of(_text_lines, _path_lines, st.binary(max_size=30))
"""Command lines, most of them nearly right."""
