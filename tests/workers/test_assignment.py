from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumo.config import EsmtpListener, HttpListener
from kumo.errors import ConfigError
from kumo.policy import Declarations
from kumo.workers import Assignment, Share


def declarations(most: int = 100) -> Declarations:
    listeners = [
        EsmtpListener(listen=listen, max_connections=most) for listen in ("127.0.0.1:25", "127.0.0.1:0")
    ]
    return Declarations(listeners=listeners, http_listeners=[HttpListener(listen="127.0.0.1:8000")])


def test_a_whole_daemon_starts_what_the_policy_says() -> None:
    declared = declarations()
    assert Share().of(declared) is declared


@given(st.integers(0, 2000), st.integers(2, 64))
def test_connections_are_divided_and_stay_a_bound(most: int, count: int) -> None:
    shares = [Share(number, count).of(declarations(most)) for number in range(1, count + 1)]
    limits = [share.listeners[0].max_connections for share in shares]
    assert max(limits) - min(limits) <= 1
    assert min(limits) >= 1
    assert sum(limits) == max(most, count)


def test_http_is_the_parents() -> None:
    declared = declarations()
    assert Share(1, 2).of(declared).http_listeners == []
    assert len(declared.http_listeners) == 1


def test_a_policy_that_listens_elsewhere_by_now_is_refused() -> None:
    def assignment(*listens: str) -> Assignment:
        return Assignment(Share(1, 2), "init.lua", listens, (), (), "full", None)

    assignment("127.0.0.1:25", "127.0.0.1:0").check(declarations())
    for listens in (("127.0.0.1:25",), ("127.0.0.1:0", "127.0.0.1:25"), ()):
        with pytest.raises(ConfigError, match="restart it"):
            assignment(*listens).check(declarations())
