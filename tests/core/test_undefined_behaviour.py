"""The passes hold under any compiler: no undefined behaviour, and the same results from each instruction set.

Both were once true by what one compiler made of a shift by a negative number of bits.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("undefined_behaviour.c")
HEADERS = Path(__file__).parents[2] / "kumo_core"
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]


def built(tmp_path: Path, compiler: str, *options: str) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    program = tmp_path / "program"
    command = [compiler, *options, f"-I{HEADERS}", str(PROGRAM), "-o", str(program)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return program


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("options", [["-O1", *TRAPS], ["-O3"]], ids=["traps", "optimised"])
def test_every_instruction_set_does_the_same_and_nothing_undefined(
    tmp_path: Path, compiler: str, options: list[str]
) -> None:
    program = built(tmp_path, compiler, *options)
    result = subprocess.run([program], check=False, timeout=120, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
