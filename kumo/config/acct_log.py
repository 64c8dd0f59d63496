"""Parameters of ``kumo.aaa.configure_acct_log``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kumo.config.kinds import Kind, Unsigned
from kumo.config.local_logs import check_zstd_level
from kumo.config.min_free import DEFAULT_MIN_FREE, MinFree


@dataclass(frozen=True, slots=True, kw_only=True)
class AcctLog:
    """The accounting log: who tried to authenticate, in zstd-compressed segments.

    Source: KumoMTA manual, kumo.aaa.configure_acct_log.
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
    log_authn_ok: bool = True
    """Record attempts to authenticate that succeed."""
    log_authn_fail: bool = True
    """Record those that fail."""
    log_authz_allow: bool = True
    """Without meaning: there are no access control lists whose verdicts could be recorded."""
    log_authz_deny: bool = True
    """Likewise."""
    min_free_space: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE
    min_free_inodes: Annotated[MinFree, Kind.MIN_FREE] = DEFAULT_MIN_FREE

    def __post_init__(self) -> None:
        check_zstd_level(self.compression_level)
