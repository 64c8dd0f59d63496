"""Freed memory of large contents is kept and used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Every round takes and frees one large piece; its page faults are those of fresh pages.
PROGRAM = """
import resource, sys
from kumo.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in (20 << 20, 20 << 20):  # the C library learns from the first what is large
    bytearray(size)
before = faults()
for _ in range(10):
    bytearray(24 << 20)
print(faults() - before)
"""


def fresh_pages(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_pieces_come_back_without_fresh_pages() -> None:
    # Of ten pieces but the first needs fresh pages, instead of each.
    assert fresh_pages("kept") * 3 < fresh_pages("given back")
