"""The gate's judgement of instruction counts."""

from __future__ import annotations

import ctypes
import json

import pytest

from benchmarks import instructions
from benchmarks.instructions import Difference, differences, judge, kernel_instructions
from benchmarks.kernels import KERNELS

OLD = {"scan a": 1000, "fix d": 2000, "stuff f": 3000}


def test_what_is_the_same_passes() -> None:
    lines, passes = judge(OLD, dict(OLD))
    assert passes
    assert lines == ["3 counts, each as in the baseline"]


def test_three_percent_more_pass_and_a_digit_beyond_fails_by_name() -> None:
    assert judge(OLD, OLD | {"scan a": 1030})[1]
    lines, passes = judge(OLD, OLD | {"scan a": 1031})
    assert not passes
    assert lines[0] == "over +3%: scan a: 1000 -> 1031 instructions (+3.1%)"


def test_less_passes_and_is_told() -> None:
    lines, passes = judge(OLD, OLD | {"fix d": 1000})
    assert passes
    assert "fix d: 2000 -> 1000 instructions (-50.0%)" in lines[0]


def test_a_kernel_that_the_baseline_lacks_fails() -> None:
    lines, passes = judge(OLD, OLD | {"new": 1})
    assert not passes
    assert "not in the baseline: new" in lines[0]
    assert "--update" in lines[0]


def test_an_unknown_toolchain_is_told_and_passes() -> None:
    lines, passes = judge(None, OLD)
    assert passes
    assert "no baseline for this toolchain" in lines[0]
    assert "--update" in lines[0]


def test_differences_have_the_worst_first() -> None:
    found = differences(OLD, {"scan a": 1100, "fix d": 4000, "stuff f": 3000, "new": 5})
    assert found == [Difference("fix d", 2000, 4000), Difference("scan a", 1000, 1100)]


def test_the_baseline_has_every_kernel() -> None:
    for counts in json.loads(instructions.BASELINE.read_text()).values():
        assert {name.split()[0] for name in counts} == {*KERNELS, "parse_command", "find_fields"}
        assert {name.split()[-1] for name in counts} <= {"baseline", "sse4", "avx2"}


@pytest.mark.parametrize("size", [2048, 131072])
def test_contents_lie_where_a_line_of_the_cache_begins(size: int) -> None:
    content = bytes(range(256)) * (size // 256)
    copy = instructions.aligned(content)
    assert copy == content
    assert ctypes.cast(ctypes.c_char_p(copy), ctypes.c_void_p).value % instructions.CACHE_LINE == 0  # type: ignore[operator]


PART = """\
positions: line
events: Ir

ob=(1) /usr/lib/libpython3.so
fn=(1) call
10 7
cob=(2) /somewhere/kumo_core/crlf.so
cfn=(2) scan
calls=3 20
11 500
12 1

ob=(2)
fn=(2) scan
20 100
+1 40
cob=(3) /usr/lib/libc.so.6
cfn=(3) memcpy
calls=1 5
* 30
-1 3

ob=(3)
fn=(3) memcpy
5 30

totals: 181
"""


def test_only_what_the_kernels_do_themselves_is_counted() -> None:
    assert kernel_instructions(PART) == 143
