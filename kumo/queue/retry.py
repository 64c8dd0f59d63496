"""KumoMTA's retry schedule as arithmetic: delays, expiry, attempts guessed after a restart.

Pure functions of a queue's configuration; they know no clock and no message. ``attempt`` and
``scheduled_queues`` call them.

Source: KumoMTA manual, make_queue_config (retry_interval, max_retry_interval, max_age).
"""

from __future__ import annotations

import math

from kumo.config import QueueConfig, format_duration

_LARGEST_DELAY = 2**62
"""Seconds at which the doubling stops; no message lives that long."""


def base_delay(config: QueueConfig, attempts: int) -> int:
    """Seconds to wait after an attempt, before jitter.

    Args:
        config: of the queue.
        attempts: attempts before the one that has just failed.

    Returns:
        ``retry_interval`` doubled for each earlier attempt, at most ``max_retry_interval``; whole
        seconds, and never less than one, or an interval below a second would retry without a pause.
    """
    delay = max(int(config.retry_interval), 1)
    delay = _LARGEST_DELAY if attempts >= _LARGEST_DELAY.bit_length() else delay << attempts
    limit = _LARGEST_DELAY if config.max_retry_interval is None else max(int(config.max_retry_interval), 1)
    return min(delay, limit)


def jitter(config: QueueConfig, uniform: float) -> int:
    """Seconds, whole, to add to the base delay so that messages of one burst part.

    Args:
        config: of the queue.
        uniform: a random number from 0 up to, but not including, 1.

    Returns:
        At most 30 either way, and a fortieth of ``retry_interval``; rounded towards zero.
    """
    span = min(config.retry_interval / 20, 60)
    return math.trunc(uniform * span - span / 2)


def is_expired(config: QueueConfig, age: float, delay: float = 0.0) -> bool:
    """Whether a message is not tried again.

    Args:
        config: of the queue.
        age: seconds since the message was made.
        delay: seconds until its next attempt.
    """
    return age + delay > config.max_age


def expiry_text(config: QueueConfig, age: float, delay: float = 0.0) -> str:
    """What the Expiration record says; arguments as for ``is_expired``."""
    due = format_duration(round(age + delay, 3))
    max_age = format_duration(config.max_age)
    return f"Next delivery time would be {due} after creation, which exceeds max_age={max_age}"


def inferred_attempts(config: QueueConfig, age: float) -> int:
    """Guess how many attempts a message has had; the count is not stored.

    A message found at a restart is due at once: the delays it has been through never add up to more
    than its age.

    Args:
        config: of the queue.
        age: seconds since the message was made.

    Returns:
        How many base delays, from the first on, fit in the age.
    """
    attempts = 0
    rest = age
    while (delay := base_delay(config, attempts)) <= rest:
        rest -= delay
        attempts += 1
        if base_delay(config, attempts) == delay:
            return attempts + int(rest // delay)
    return attempts
