"""For tests of what a kernel does that deals connections by the processor on which they arrive."""

from __future__ import annotations

import pytest

from kumo.workers.ports import can_deal_by_processor

needs_steering = pytest.mark.skipif(
    not can_deal_by_processor(), reason="Linux deals by SO_INCOMING_CPU since 6.2"
)
