"""Python functions that Lua finds below ``kumo``, and what the server checks after ``init``."""

from kumo.policy.api import config_monitor, constructors, diagnostics, knobs, serde, sleep
from kumo.policy.api.config_monitor import DEFAULT_GLOBS, matching_files
from kumo.policy.api.constructors import QUEUE_CONFIG, declaration_problems

ALL_FUNCTIONS = (
    *constructors.FUNCTIONS,
    *diagnostics.FUNCTIONS,
    *serde.FUNCTIONS,
    *knobs.FUNCTIONS,
    *config_monitor.FUNCTIONS,
    *sleep.FUNCTIONS,
)

__all__ = ["ALL_FUNCTIONS", "DEFAULT_GLOBS", "QUEUE_CONFIG", "declaration_problems", "matching_files"]
