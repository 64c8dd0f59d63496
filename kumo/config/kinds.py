"""Markers that tell ``kumo.policy.convert`` how a Lua value becomes a field.

A field of type ``float`` may be a duration or a ratio, an ``int`` may be octets or a count: the
marker in ``Annotated`` says which, and so which error text a wrong value gets. No logic here.
"""

from __future__ import annotations

import enum
from typing import Annotated


class Kind(enum.Enum):
    """How a Lua value is read."""

    DURATION = "a duration"
    """Number of seconds, or humantime text; becomes float seconds."""
    UNSIGNED = "usize"
    """A Lua integer, zero or more (octets or a count); floats are refused."""
    CIDR_LIST = "a sequence of CIDR blocks"
    """List of strict CIDR texts; becomes ``CidrSet``."""
    MIN_FREE = "a percentage or a number"
    """``"10%"``, an integer, or integer text; becomes ``MinFree``."""
    KEY_SOURCE = "a key source"
    """Text, or one of the table shapes of a key source; becomes a ``KeySource``."""
    JSON_MAP = "a map"
    """Table of string to JSON value, kept as a dict."""
    PROTOCOL = "a delivery protocol"
    """Table whose key names the protocol; becomes a ``QueueProtocol``."""
    HOSTNAME = "a hostname"
    """Text that may stand in replies and trace fields; kept as it is."""
    SOCKET_ADDRESS = "a socket address"
    """``host:port``; kept as text after its grammar was checked."""
    LISTENER_OVERRIDES = "a map of CIDR blocks"
    """Table of CIDR text to listener parameters; becomes ``CidrMap[ListenerOverrides]``."""
    REPORT_HANDLING = "a boolean value or one of 'Ignore', 'LogThenDrop' or 'LogThenRelay'"
    """Boolean or one of the words; becomes ``ReportHandling``."""
    THROTTLE = "a throttle"
    """Throttle text such as ``100/s``; kept as text after its grammar was checked."""


Duration = Annotated[float, Kind.DURATION]
Unsigned = Annotated[int, Kind.UNSIGNED]
