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
        # Around the second in which 63 bits are full, and before the epoch.
        (2**63 // 10**9 - 1, "2262-04-11T23:47:15Z"),
        (2**63 // 10**9, "2262-04-11T23:47:16Z"),
        (2**63 // 10**9 + 1, "2262-04-11T23:47:17Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_dates_are_utc(seconds: int, printed: str) -> None:
    assert print_rfc3339(seconds * 10**9) == printed


def test_a_second_that_was_printed_before_another_is_printed_again() -> None:
    printed = [print_rfc3339(second * 10**9) for second in (5, 6, 6, 5, 0)]
    assert [text[-3:] for text in printed] == ["05Z", "06Z", "06Z", "05Z", "00Z"]


def test_the_last_nanoseconds_that_63_bits_hold_are_not_lost() -> None:
    assert print_rfc3339(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"
    assert print_rfc3339(2**63) == "2262-04-11T23:47:16.854775808Z"
