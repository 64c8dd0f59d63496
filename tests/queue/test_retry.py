from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.config import QueueConfig
from kumo.queue.retry import base_delay, expiry_text, inferred_attempts, is_expired, jitter


@pytest.mark.parametrize(
    ("parameters", "delays"),
    [
        ({}, [1200, 2400, 4800, 9600, 19200, 38400, 76800]),
        ({"max_retry_interval": 7200.0}, [1200, 2400, 4800, 7200, 7200]),
        ({"retry_interval": 5.0}, [5, 10, 20, 40]),
        ({"retry_interval": 5.9}, [5, 10, 20, 40]),
        ({"retry_interval": 0.3}, [1, 2, 4]),
        ({"retry_interval": 0.0, "max_retry_interval": 0.0}, [1, 1, 1]),
        ({"retry_interval": 60.0, "max_retry_interval": 30.0}, [30, 30]),
    ],
)
def test_base_delay_doubles_up_to_its_limit(parameters: dict[str, Any], delays: list[int]) -> None:
    config = QueueConfig(**parameters)
    assert [base_delay(config, n) for n in range(len(delays))] == delays


@pytest.mark.parametrize("attempts", [62, 63, 100, 10**9])
def test_base_delay_saturates(attempts: int) -> None:
    assert base_delay(QueueConfig(), attempts) == 2**62
    assert base_delay(QueueConfig(max_retry_interval=3600.0), attempts) == 3600


@pytest.mark.parametrize(
    ("retry_interval", "uniform", "seconds"),
    [
        (1200.0, 0.0, -30),
        (1200.0, 0.5, 0),
        (1200.0, 0.999999, 29),
        (1200.0, 0.25, -15),
        (1200.0, 0.01, -29),
        (86400.0, 0.0, -30),
        (600.0, 0.0, -15),
        (40.0, 0.0, -1),
        (39.9, 0.0, 0),
        (39.9, 0.999999, 0),
        (5.0, 0.0, 0),
        (0.0, 0.999, 0),
    ],
)
def test_jitter_is_whole_and_rounded_towards_zero(
    retry_interval: float, uniform: float, seconds: int
) -> None:
    assert jitter(QueueConfig(retry_interval=retry_interval), uniform) == seconds


@given(st.floats(0, 1e6), st.integers(0, 40), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_delay_is_never_shorter_than_a_second(retry_interval: float, attempts: int, seed: int) -> None:
    config = QueueConfig(retry_interval=retry_interval)
    uniform = random.Random(seed).random()  # noqa: S311 - no secret
    assert base_delay(config, attempts) + jitter(config, uniform) >= 1


@pytest.mark.parametrize(
    ("age", "delay", "verdict"),
    [(0, 604800, False), (1, 604800, True), (604800, 0, False), (604800.5, 0, True), (0, 0, False)],
)
def test_a_message_expires_when_its_next_try_would_be_too_late(
    age: float, delay: float, verdict: bool
) -> None:
    assert is_expired(QueueConfig(), age, delay) is verdict


@pytest.mark.parametrize(
    ("age", "delay", "words"),
    [
        (86400 * 7, 1200, "7days 20m after creation, which exceeds max_age=7days"),
        (604801.5, 0, "7days 1s 500ms after creation, which exceeds max_age=7days"),
    ],
)
def test_expiry_text(age: float, delay: float, words: str) -> None:
    assert expiry_text(QueueConfig(), age, delay) == f"Next delivery time would be {words}"


@pytest.mark.parametrize(
    ("parameters", "age", "attempts"),
    [
        ({}, 0, 0),
        ({}, 1199.9, 0),
        ({}, 1200, 1),
        ({}, 3599, 1),
        ({}, 3600, 2),
        ({}, 8400, 3),
        ({}, 604800, 8),
        ({"max_retry_interval": 2400.0}, 3600, 2),
        ({"max_retry_interval": 2400.0}, 5999, 2),
        ({"max_retry_interval": 2400.0}, 6000, 3),
        ({"max_retry_interval": 2400.0}, 8400, 4),
        ({"retry_interval": 1.0, "max_retry_interval": 1.0}, 604800, 604800),
        ({"retry_interval": 1.0, "max_retry_interval": 1.0}, 10**12, 10**12),
        ({"retry_interval": 0.0}, 7, 3),
    ],
)
def test_attempts_are_inferred_from_the_age(parameters: dict[str, Any], age: float, attempts: int) -> None:
    assert inferred_attempts(QueueConfig(**parameters), age) == attempts


@given(
    st.integers(1, 5000), st.none() | st.integers(1, 20000).map(float), st.floats(0, 200_000, allow_nan=False)
)
@settings(max_examples=150, deadline=None)
def test_inferred_attempts_are_how_many_delays_fit(interval: int, limit: float | None, age: float) -> None:
    config = QueueConfig(retry_interval=float(interval), max_retry_interval=limit)
    attempts = 0
    spent = base_delay(config, 0)
    while spent <= age:
        attempts += 1
        spent += base_delay(config, attempts)
    assert inferred_attempts(config, age) == attempts
