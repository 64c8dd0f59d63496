"""The tables of policy, from results that are made up."""

from __future__ import annotations

from benchmarks import policy
from benchmarks.bench_policy import CALLS, EVENTS, REPEATS

RESULTS = {
    "test_bare_call_into_lua[2]": 1e-6,
    "test_bare_calls_into_python": 2e-6 * REPEATS,
    **{
        f"test_event[{event}-{handler}]": microseconds * 1e-6
        for event in EVENTS
        for handler, microseconds in (("absent", 5), ("empty", 7), ("usual", 10))
    },
    **{f"test_call[{call}]": 50e-6 + 4e-6 * REPEATS for call in CALLS},
    "test_call[loop]": 50e-6,
}


def test_events_are_multiples_of_a_call_into_lua_without_the_making_of_a_message() -> None:
    section = policy.section(RESULTS)
    assert "| `smtp_server_mail_from` | 5 | 7 | 10 (looks at the domain) |" in section
    assert "| `smtp_server_message_received` | 0 | 2 | 5 (two values set" in section
    assert "| all four | 0 | 2 | 5, which is 5 µs |" in section


def test_methods_are_multiples_of_a_call_into_python_without_the_loop() -> None:
    section = policy.section(RESULTS)
    assert "| `msg:id()` | 2 |" in section
    assert "| `address.user` | 2 |" in section
    assert "loop" not in section
