"""Parameter table ``trace_headers``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHeaders:
    """Which trace fields a received message gets.

    Source: KumoMTA manual, start_esmtp_listener/trace_headers.
    """

    received_header: bool = True
    """Prepend ``Received``."""
    supplemental_header: bool = True
    """Prepend the supplemental header, which a bounce or complaint brings back."""
    header_name: str = "X-KumoRef"
    """Field name of the supplemental header."""
    include_meta_names: tuple[str, ...] = ()
    """Message meta keys to carry in it; absent ones are left out."""

    def __post_init__(self) -> None:
        name = self.header_name
        if not name or any(not 33 <= ord(c) <= 126 or c == ":" for c in name):  # noqa: PLR2004 - RFC 5322 §2.2
            raise ValueError(
                f"invalid header name `{name}`: expected printable US-ASCII without colon or blank"
            )
