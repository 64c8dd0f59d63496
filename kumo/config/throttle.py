"""Throttle specifications such as ``1,000/5min``: their grammar only, admission is the queues' business."""

from __future__ import annotations

import re

_SPEC = re.compile(
    r"(?:local:)?([0-9][0-9,_]{0,25})/[0-9]{0,9}"
    r"(?:s|sec|second|m|min|minute|h|hr|hour|d|day)s?"
    r"(?:,max_burst=[0-9]{1,18})?"
)


def parse_throttle(text: str) -> str:
    """Check a throttle specification.

    Args:
        text: ``[local:]LIMIT/[COUNT]PERIOD[,max_burst=N]``; the limit may hold ``,`` and ``_``.

    Returns:
        The text itself.

    Raises:
        ValueError: it is none, or its limit is zero.

    Source: KumoMTA manual, kumo.make_throttle.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(
            f'invalid value: string "{text}", expected a throttle such as `100/s` or `1,000/5min`'
        )
    if not match[1].strip("0,_"):
        raise ValueError(f'invalid value: string "{text}", expected a throttle whose limit is more than zero')
    return text
