"""Python functions that Lua finds below ``kumo``, and what the server checks after ``init``."""

from kumo.policy.api import (
    accounting,
    config_monitor,
    constructors,
    diagnostics,
    knobs,
    policy_extras,
    secrets,
    serde,
    sleep,
)
from kumo.policy.api.config_monitor import DEFAULT_GLOBS, matching_files
from kumo.policy.api.constructors import LISTENER_DOMAIN, QUEUE_CONFIG, declaration_problems

ALL_FUNCTIONS = (
    *constructors.FUNCTIONS,
    *diagnostics.FUNCTIONS,
    *serde.FUNCTIONS,
    *knobs.FUNCTIONS,
    *config_monitor.FUNCTIONS,
    *sleep.FUNCTIONS,
    *secrets.FUNCTIONS,
    *accounting.FUNCTIONS,
    *policy_extras.FUNCTIONS,
)

__all__ = [
    "ALL_FUNCTIONS",
    "DEFAULT_GLOBS",
    "LISTENER_DOMAIN",
    "QUEUE_CONFIG",
    "declaration_problems",
    "matching_files",
]
