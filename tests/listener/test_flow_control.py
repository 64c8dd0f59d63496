"""How much a connection still has to send."""

from __future__ import annotations

import asyncio

import pytest

from kumo.listener.flow_control import FlowControl


class Holding(asyncio.Transport):
    """Holds a number of octets."""

    def __init__(self, octets: int) -> None:
        super().__init__()
        self.octets = octets

    def get_write_buffer_size(self) -> int:
        return self.octets


@pytest.mark.parametrize(("secured", "carrier", "has_unsent"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_octets_beneath_tls_count_as_unsent(secured: int, carrier: int, *, has_unsent: bool) -> None:
    assert FlowControl(Holding(secured), 60.0, Holding(carrier)).has_unsent is has_unsent


def test_what_goes_out_beneath_tls_counts_as_progress() -> None:
    carrier = Holding(10)
    flow = FlowControl(Holding(0), 60.0, carrier)
    flow.watch_writing(100.0)
    assert flow.give_up_at(130.0) == 160.0
    carrier.octets = 9
    assert flow.give_up_at(130.0) == 190.0


def test_time_limit_may_be_replaced() -> None:
    flow = FlowControl(Holding(10), 60.0)
    flow.watch_writing(100.0)
    flow.limit_time(5.0)
    assert flow.give_up_at(101.0) == 105.0
