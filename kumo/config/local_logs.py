"""Parameters of ``kumo.configure_local_logs``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from kumo.config.kinds import Kind, Unsigned
from kumo.config.min_free import DEFAULT_MIN_FREE, MinFree
from kumo.config.template import check_template

RECORD_TYPES = (
    "Reception",
    "Delivery",
    "Bounce",
    "TransientFailure",
    "Expiration",
    "AdminBounce",
    "OOB",
    "Feedback",
    "Rejection",
    "AdminRebind",
    "DeferredInjectionRebind",
    "Delayed",
    "XferOut",
    "XferIn",
)
"""KumoMTA's words for what a log record tells."""
ANY_RECORD_TYPE = "Any"
"""Key of ``per_record`` for every type that has no entry of its own."""

_ZSTD_LEVELS = range(-131_072, 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordParameters:
    """What applies to one record type, or to ``Any``."""

    suffix: str | None = None
    """Appended to the segment's file name."""
    log_dir: str | None = None
    """Another folder for this type."""
    enable: bool = True
    template: str | None = None
    """Jinja template in place of the JSON line."""
    segment_header: str | None = None
    """Text written as it is when a segment opens."""

    def __post_init__(self) -> None:
        if self.template is not None:
            check_template("template", self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLogs:
    """One logger that writes zstd-compressed segments.

    Source: KumoMTA manual, kumo.configure_local_logs.
    """

    log_dir: str
    max_file_size: Unsigned = 1_000_000_000
    """Octets before compression after which a segment is complete."""
    max_segment_duration: Annotated[float | None, Kind.DURATION] = None
    """Seconds after which a segment is complete."""
    back_pressure: Unsigned = 128_000
    """Records that may wait for the writer."""
    compression_level: int = 0
    """zstd level; 0 is the library's default."""
    meta: tuple[str, ...] = ()
    """Message meta keys to log; ``prefix*`` allowed; case counts."""
    headers: tuple[str, ...] = ()
    """Header fields to log; ``prefix*`` allowed; case does not count."""
    per_record: dict[str, RecordParameters] = field(default_factory=dict)
    filter_event: str | None = None
    """Lua event asked whether to log a message's record."""
    min_free_space: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE
    min_free_inodes: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE

    def __post_init__(self) -> None:
        check_zstd_level(self.compression_level)
        known = (*RECORD_TYPES, ANY_RECORD_TYPE)
        for name in self.per_record:
            if name not in known:
                alternatives = ", ".join(f"`{record_type}`" for record_type in known)
                raise ValueError(f"unknown variant `{name}`, expected one of {alternatives}")


def check_zstd_level(level: int) -> None:
    """Make sure that zstd knows a compression level.

    Raises:
        ValueError: it does not.
    """
    if level not in _ZSTD_LEVELS:
        raise ValueError(
            f"invalid value: integer `{level}`, expected a zstd level "
            f"from {_ZSTD_LEVELS[0]} to {_ZSTD_LEVELS[-1]}"
        )
