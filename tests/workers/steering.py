"""For tests of what a kernel does that deals connections by the processor on which they arrive."""

from __future__ import annotations

import platform
import re

import pytest

_RELEASE = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))

needs_steering = pytest.mark.skipif(_RELEASE < (6, 2), reason="Linux deals by SO_INCOMING_CPU since 6.2")
