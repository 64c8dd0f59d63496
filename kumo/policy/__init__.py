"""The policy: an unchanged KumoMTA Lua script, and its events as the other rooms ask for them."""

from kumo.policy.api import DEFAULT_GLOBS, declaration_problems, matching_files
from kumo.policy.engine import PolicyEngine
from kumo.policy.findings import Finding, Findings, Severity
from kumo.policy.message_events import QueueEvents, ReceptionEvents, StorageEvents
from kumo.policy.registry import VERSION, Declarations
from kumo.policy.session_events import SessionEvents
from kumo.policy.watchdog import Limits
from kumo.policy.watched_files import fingerprint

__all__ = [
    "DEFAULT_GLOBS",
    "VERSION",
    "Declarations",
    "Finding",
    "Findings",
    "Limits",
    "PolicyEngine",
    "QueueEvents",
    "ReceptionEvents",
    "SessionEvents",
    "Severity",
    "StorageEvents",
    "declaration_problems",
    "fingerprint",
    "matching_files",
]
