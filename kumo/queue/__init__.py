"""Scheduled queues: when a message is tried, tried again, given up and forgotten."""

from kumo.queue.clock import LoopClock
from kumo.queue.scheduled_queues import ScheduledQueues

__all__ = ["LoopClock", "ScheduledQueues"]
