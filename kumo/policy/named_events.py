"""Events whose names the policy chose itself, by naming them in what it declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from kumo.config import CidrMap, KeyEvent
from kumo.policy.registry import Declarations


def events_named_by(declarations: Declarations) -> set[str]:
    """Names of events that filter logs or give keys."""
    names = {logs.filter_event for logs in declarations.local_logs if logs.filter_event is not None}
    for listener in (*declarations.listeners, *declarations.http_listeners):
        names.update(source.event_name for source in _key_events(listener))
    return names


def _key_events(value: Any) -> Iterator[KeyEvent]:
    """All sources of keys in a declaration that are events, at any depth."""
    if isinstance(value, KeyEvent):
        yield value
    elif isinstance(value, CidrMap):
        for _network, item in value.items():  # noqa: PERF102 - no dict
            yield from _key_events(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _key_events(getattr(value, field.name))
