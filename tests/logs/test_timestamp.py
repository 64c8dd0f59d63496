from __future__ import annotations

import pytest

from kumo.logs.timestamp import print_rfc3339, print_segment_stamp

SECOND = 1_795_416_478 * 10**9


@pytest.mark.parametrize(
    ("fraction", "printed"),
    [
        (0, ""),
        (1, ".000000001"),
        (999_999_999, ".999999999"),
        (1000, ".000001"),
        (123_456_000, ".123456"),
        (123_456_700, ".123456700"),
        (1_000_000, ".001"),
        (250_000_000, ".250"),
        (250_000_100, ".250000100"),
    ],
)
def test_a_fraction_has_as_many_groups_of_digits_as_it_needs(fraction: int, printed: str) -> None:
    assert print_rfc3339(SECOND + fraction) == f"2026-11-23T06:47:58{printed}Z"
    assert print_segment_stamp(SECOND + fraction) == f"20261123-064758{printed}"


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_102_444_799, "2099-12-31T23:59:59Z"),
    ],
)
def test_dates_are_utc(seconds: int, printed: str) -> None:
    assert print_rfc3339(seconds * 10**9) == printed
