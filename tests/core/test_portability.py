"""The passes hold under any compiler and on any processor: nothing undefined, everywhere the same results.

Both were once true only because of what one compiler made of a shift by a negative number of bits.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("portability.c")
HEADERS = Path(__file__).parents[2] / "kumo_core"
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
DIGEST = "b10f2c0c19813409"
"""What the program prints: it changes with its random octets, and with what the passes do."""


@pytest.mark.parametrize(
    ("compiler", "emulator"),
    [
        ("gcc", None),
        ("clang", None),
        ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
        ("s390x-linux-gnu-gcc", "qemu-s390x"),
    ],
    ids=["gcc", "clang", "arm", "big-endian"],
)
@pytest.mark.parametrize("options", [["-O1", *TRAPS], ["-O3"]], ids=["traps", "optimised"])
def test_passes_do_the_same_everywhere(
    tmp_path: Path, compiler: str, emulator: str | None, options: list[str]
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    run = []
    if emulator:
        # Debian has it in two packages, and under another name in each.
        found = shutil.which(emulator) or shutil.which(f"{emulator}-static")
        if found is None:
            pytest.skip(f"needs {emulator}")
        run = [found]
    binary = tmp_path / "portability"
    linked = ["-static"] if emulator else []
    command = [compiler, *options, *linked, f"-I{HEADERS}", str(PROGRAM), "-o", str(binary)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    result = subprocess.run([*run, str(binary)], check=False, timeout=120, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, DIGEST + "\n")
