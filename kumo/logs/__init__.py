"""Log and accounting records in zstd segments, diagnostics on stderr, and the node's id."""

from kumo.logs.accounting import AccountingLog
from kumo.logs.diagnostics import DiagnosticsFormat, configure_diagnostics, set_diagnostics_filter
from kumo.logs.interfaces import Outcome, RecordFilter
from kumo.logs.logs import DEFERRED_INJECTION_PROTOCOL, Logs
from kumo.logs.node_id import DEFAULT_NODE_ID_PATH, find_node_id
from kumo.logs.record import RecordType
from kumo.logs.segment import FileCalls

__all__ = [
    "DEFAULT_NODE_ID_PATH",
    "DEFERRED_INJECTION_PROTOCOL",
    "AccountingLog",
    "DiagnosticsFormat",
    "FileCalls",
    "Logs",
    "Outcome",
    "RecordFilter",
    "RecordType",
    "configure_diagnostics",
    "find_node_id",
    "set_diagnostics_filter",
]
