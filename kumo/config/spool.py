"""Parameters of ``kumo.define_spool``."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from kumo.config.kinds import Kind
from kumo.config.min_free import DEFAULT_MIN_FREE, MinFree


class SpoolKind(enum.Enum):
    """Storage engines by KumoMTA's names."""

    LOCAL_DISK = "LocalDisk"
    ROCKS_DB = "RocksDB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """One spool store; a daemon needs one named ``data`` and one named ``meta``.

    Source: KumoMTA manual, kumo.define_spool.
    """

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"rocks_params"})
    """Keys that are taken and warned of, because this version's storage has no use for them."""

    name: str
    path: str
    kind: SpoolKind = SpoolKind.LOCAL_DISK
    flush: bool = False
    """Survive power loss, not only a killed process."""
    min_free_space: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE
    """Below this the listeners answer 421."""
    min_free_inodes: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE
    rocks_params: Annotated[dict[str, Any] | None, Kind.JSON_MAP] = None
    """Accepted for ``RocksDB``, which runs with defaults; LocalDisk has no use for it."""
