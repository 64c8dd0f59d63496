"""The PROXY protocol header that a load balancer puts in front of a connection, versions 1 and 2.

Octets in, addresses out, in pieces of any size; the grammar is the proxy-protocol library's. Nothing here
reads, waits or closes: ``esmtp_protocol`` does.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple

from proxyprotocol import ProxyProtocolIncompleteError
from proxyprotocol.detect import ProxyProtocolDetect
from proxyprotocol.result import is_ipv4, is_ipv6

from kumo.errors import KumoError

MAX_LINE_OCTETS: Final = 107
"""Longest header of version 1, CRLF included. Source: The PROXY protocol §2.1."""

MAX_OCTETS: Final = 4096
"""Longest header of version 2 that is taken. Its own limit is 65551, but that many octets may be had from
anybody who can connect; addresses take 52 at most, and what balancers add to them some hundreds."""

_SIGNATURE_OCTETS = 8
_FIXED_OCTETS = 16

_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP[46](?: [0-9A-Fa-f:.]+){2}(?: (?:0|[1-9][0-9]{0,4})){2})\r\n"
)
"""The library's ``int`` takes ``+25`` and ``2_5`` for ports, and its IPv6 addresses may have zones."""

_parse = ProxyProtocolDetect().unpack


class ProxyHeaderError(KumoError):
    """What came first is no header, or not one that is understood."""


class ProxiedAddresses(NamedTuple):
    """Both ends of the connection that the proxy accepted, IPs as text."""

    peer: tuple[str, int]
    local: tuple[str, int]


class ProxyHeader:
    """One header, while it comes.

    Args:
        loop: whose future tells of its end.
    """

    __slots__ = ("_octets", "_want", "addresses")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._octets = bytearray()
        self._want = _SIGNATURE_OCTETS
        self.addresses: asyncio.Future[ProxiedAddresses | None] = loop.create_future()
        """Done once the header is complete; None when it names no IP addresses (``UNKNOWN``, ``LOCAL``)."""

    @property
    def is_complete(self) -> bool:
        """Whether what comes now is not the header's any more."""
        return self.addresses.done()

    def receive(self, octets: bytes) -> int:
        """Take what came.

        Args:
            octets: the next ones; what is needed of them is copied.

        Returns:
            How many of them belong to the header; fewer than all once it is complete.

        Raises:
            ProxyHeaderError: this will never become a header.
        """
        taken = 0
        while taken < len(octets) and not self.is_complete:
            piece = octets[taken : self._end_of_piece(octets, taken)]
            self._octets += piece
            taken += len(piece)
            self._want = max(self._want - len(piece), 0)
            self._look()
        return taken

    def _end_of_piece(self, octets: bytes, start: int) -> int:
        """Where the octets stop that are the header's for certain."""
        if self._want > 0:
            return start + self._want
        # Version 1 ends with its line.
        return octets.find(b"\n", start) + 1 or len(octets)

    def _look(self) -> None:
        if self._want > 0:
            return
        try:
            found = _parse(bytes(self._octets))
        except ProxyProtocolIncompleteError as incomplete:
            want = incomplete.want_read.want_bytes
            self._want = want or 0
            self._check_length(is_line=want is None)
            return
        except Exception as error:
            # Besides its own errors the library lets through those of what it uses, such as struct.error.
            raise ProxyHeaderError(f"no PROXY header: {str(error) or type(error).__name__}") from error
        is_line = self._octets.startswith(b"PROXY ")
        self._check_length(is_line=is_line)
        if is_line and not _LINE.fullmatch(self._octets):
            raise ProxyHeaderError("no PROXY header: malformed line")
        self.addresses.set_result(
            ProxiedAddresses(
                (str(found.source[0]), found.source[1]),
                (str(found.dest[0]), found.dest[1]),
            )
            if is_ipv4(found) or is_ipv6(found)
            else None
        )

    def _check_length(self, *, is_line: bool) -> None:
        limit = MAX_LINE_OCTETS if is_line else MAX_OCTETS
        length = len(self._octets) + self._want
        if length > limit:
            raise ProxyHeaderError(f"the PROXY header has {length} octets, more than {limit}")
