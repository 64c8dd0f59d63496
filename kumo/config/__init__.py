"""What a policy may configure: one frozen dataclass for each KumoMTA constructor, and its values."""

from kumo.config.acct_log import AcctLog
from kumo.config.cidr import CidrMap, CidrSet, IPAddress, parse_network, unmapped
from kumo.config.duration import format_duration, parse_duration
from kumo.config.esmtp_listener import BatchHandling, EsmtpListener, LineEndings, ListenerOverrides
from kumo.config.hostname import check_hostname
from kumo.config.http_listener import HttpListener
from kumo.config.key_source import KeyData, KeyEvent, KeyFile, KeySource, KeyVault
from kumo.config.kinds import Duration, Kind, Unsigned
from kumo.config.listener_domain import ListenerDomain, ReportHandling
from kumo.config.local_logs import ANY_RECORD_TYPE, RECORD_TYPES, LocalLogs, RecordParameters
from kumo.config.min_free import MinFree
from kumo.config.queue import (
    CustomLuaProtocol,
    MaildirProtocol,
    QueueConfig,
    QueueProtocol,
    QueueStrategy,
    RefreshStrategy,
    SmtpProtocol,
)
from kumo.config.socket_address import parse_socket_address
from kumo.config.spool import Spool, SpoolKind
from kumo.config.template import compile_template, load_templates, template_variables
from kumo.config.throttle import parse_throttle
from kumo.config.trace_headers import TraceHeaders

__all__ = [
    "ANY_RECORD_TYPE",
    "RECORD_TYPES",
    "AcctLog",
    "BatchHandling",
    "CidrMap",
    "CidrSet",
    "CustomLuaProtocol",
    "Duration",
    "EsmtpListener",
    "HttpListener",
    "IPAddress",
    "KeyData",
    "KeyEvent",
    "KeyFile",
    "KeySource",
    "KeyVault",
    "Kind",
    "LineEndings",
    "ListenerDomain",
    "ListenerOverrides",
    "LocalLogs",
    "MaildirProtocol",
    "MinFree",
    "QueueConfig",
    "QueueProtocol",
    "QueueStrategy",
    "RecordParameters",
    "RefreshStrategy",
    "ReportHandling",
    "SmtpProtocol",
    "Spool",
    "SpoolKind",
    "TraceHeaders",
    "Unsigned",
    "check_hostname",
    "compile_template",
    "format_duration",
    "load_templates",
    "parse_duration",
    "parse_network",
    "parse_socket_address",
    "parse_throttle",
    "template_variables",
    "unmapped",
]
