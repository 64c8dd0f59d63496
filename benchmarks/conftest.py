"""What a saved run of the microbenchmarks tells of where it was made."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.kernels import INSTRUCTION_SET, instruction_sets


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Add the instruction sets: the numbers of two runs compare only if they used the same one."""
    del config
    machine_info["instruction_sets"] = instruction_sets()
    machine_info["forced_instruction_set"] = os.environ.get(INSTRUCTION_SET, "none")
