"""Which parameters hold for a connection: the listener's own, then what addresses and policy change.

A block is applied as a whole before the blocks inside it: ``peer`` first, then ``via``, so that ``via`` beats
``peer`` on the same level. Called by ``context``; nothing here knows of sessions or policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from kumo.config import EsmtpListener, ListenerOverrides

Block: TypeAlias = EsmtpListener | ListenerOverrides
"""A set of parameters; in a listener every one is given."""

_NAMES: Final = tuple(
    field.name for field in dataclasses.fields(ListenerOverrides) if field.name not in {"meta", "peer", "via"}
)
"""Parameters that replace what held before; the others merge or choose."""


class EffectiveParameters(NamedTuple):
    """What holds for one connection.

    Args:
        listener: every parameter; ``peer``, ``via`` and ``meta`` in it mean nothing any more.
        meta: to be merged into connection meta. A ``hostname`` that a block sets is among it, so that a
            later block's ``meta`` may replace it.
    """

    listener: EsmtpListener
    meta: dict[str, Any]


def matching_blocks(block: Block, peer_ip: str, local_ip: str) -> list[Block]:
    """A block and those within it that an address pair chooses, in the order in which they apply.

    Args:
        block: where to begin.
        peer_ip: IP of the client, as text.
        local_ip: IP of our own end.

    Source: KumoMTA manual, kumo.start_esmtp_listener, peer and via.
    """
    found = [block]
    for chooser, ip in ((block.peer, peer_ip), (block.via, local_ip)):
        hit = None if chooser is None else chooser.get(ip)
        if hit is not None:
            found += matching_blocks(hit, peer_ip, local_ip)
    return found


def merge(listener: EsmtpListener, blocks: Iterable[Block]) -> EffectiveParameters:
    """Parameters after some blocks were applied to them, first to last.

    Args:
        listener: what holds so far.
        blocks: what changes it; the first may be the listener itself.
    """
    changes: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    for block in blocks:
        for name in _NAMES:
            value = getattr(block, name)
            if value is not None:
                changes[name] = value
        if block.hostname is not None:
            meta["hostname"] = block.hostname
        if block.meta:
            meta.update(block.meta)
    return EffectiveParameters(dataclasses.replace(listener, **changes), meta)


def resolve(config: EsmtpListener, peer_ip: str, local_ip: str) -> EffectiveParameters:
    """What a listener's configuration gives to the connections between two IPs."""
    return merge(config, matching_blocks(config, peer_ip, local_ip))


def possible_parameters(config: EsmtpListener) -> Iterator[EffectiveParameters]:
    """The listener's parameters, then those under each of its blocks together with the blocks around it.

    Blocks of ``peer`` and ``via`` that meet by chance are not combined: there may be any number of those.
    """
    pending: list[tuple[Block, ...]] = [(config,)]
    while pending:
        blocks = pending.pop()
        yield merge(config, blocks)
        for chooser in (blocks[-1].peer, blocks[-1].via):
            if chooser is not None:
                pending += [(*blocks, block) for _, block in chooser.items()]


def largest_read(config: EsmtpListener) -> int:
    """The largest ``data_buffer_size`` that the configuration may give to a connection, in octets."""
    return max(effective.listener.data_buffer_size for effective in possible_parameters(config))
