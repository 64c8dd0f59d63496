"""Each instruction set gives the same results: the kernels' own tests, run once with each of them.

Which one is used is settled when ``kumo_core`` is loaded, hence a process each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kumo_core import INSTRUCTION_SET
from kumo_core.instruction_set import INSTRUCTION_SETS, VARIABLE

ROOT = Path(__file__).resolve().parent.parent.parent
KERNEL_TESTS = ["test_alignment", "test_crlf", "test_data_scanner", "test_line_length", "test_transparency"]
SHOW = "import kumo_core; print(kumo_core.INSTRUCTION_SET)"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, VARIABLE: name},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(params=INSTRUCTION_SETS)
def name(request: pytest.FixtureRequest) -> str:
    wanted = str(request.param)
    if "this processor does not have" in run(wanted, "-c", SHOW).stderr:
        pytest.skip(f"this processor does not have {wanted}")
    return wanted


def test_the_set_that_is_named_is_used(name: str) -> None:
    assert run(name, "-c", SHOW).stdout == f"{name}\n"


def test_the_kernels_keep_to_their_tests(name: str) -> None:
    if name == INSTRUCTION_SET:
        pytest.skip("this process runs them with it")
    files = [f"tests/core/{test}.py" for test in KERNEL_TESTS]
    # The largest inputs show what they show with any set.
    done = run(name, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not twenty_megabytes", *files)
    assert done.returncode == 0, done.stdout


def test_no_kernel_reads_outside_of_what_it_is_given(name: str) -> None:
    done = run(name, "-X", "faulthandler", "-m", "tests.core.page_edges")
    assert done.returncode == 0, done.stderr


def test_without_a_name_the_fastest_is_used() -> None:
    available = [name for name in INSTRUCTION_SETS if run(name, "-c", SHOW).returncode == 0]
    assert run("", "-c", SHOW).stdout == f"{available[0]}\n"


def test_every_processor_has_the_baseline() -> None:
    assert run("baseline", "-c", SHOW).returncode == 0


@pytest.mark.parametrize("wrong", ["AVX2", "avx", "sse2", "sse4.2", "avx512 "])
def test_any_other_name_is_refused(wrong: str) -> None:
    done = run(wrong, "-c", SHOW)
    assert done.returncode == 1
    assert f"ValueError: {VARIABLE} is {wrong!r}, expected one of avx512, avx2, sse4, baseline" in done.stderr
