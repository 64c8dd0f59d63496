"""Diagnostics: what the daemon says about itself, through the standard library's logging.

``kumo.cli`` configures it before anything else runs. Not to be confused with log records, which tell
of mail and go to segments. A record is one line: control characters are escaped, because texts may
hold what a peer sent; only the lines of a traceback follow, indented, and the ``pretty`` format has
a second line for the place in the code.
"""

from __future__ import annotations

import enum
import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Any

from kumo.errors import ConfigError

TRACE = 5
_OFF = logging.CRITICAL + 10

_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": _OFF,
}
_FILE_NAME = "kumod.log"
_WORKERS_FILE_NAME = "kumod-worker-{}.log"
_INDENT = "    "
_ESCAPES = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - two digits or four
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


class DiagnosticsFormat(enum.Enum):
    """How a line looks; values are the command line's words."""

    FULL = "full"
    """``2026-11-23T06:00:00.123456Z  INFO kumod.listener: text``."""
    COMPACT = "compact"
    """As full, with whole seconds."""
    PRETTY = "pretty"
    """As full, with a second line that names the place in the code."""
    JSON = "json"
    """One JSON object a line."""


def configure_diagnostics(
    filter_text: str | None = None,
    format: DiagnosticsFormat = DiagnosticsFormat.FULL,  # noqa: A002 - the command line's word
    directory: str | None = None,
    worker: int | None = None,
) -> None:
    """Direct all diagnostics to stderr or into a folder; may be called again.

    Args:
        filter_text: what KUMOD_LOG says, see ``set_diagnostics_filter``.
        format: how a line looks.
        directory: folder for ``kumod.log``, which is rotated at midnight UTC; None: stderr.
        worker: number of this process among several, named in each line. It has a file of its own,
            ``kumod-worker-1.log``: two processes that rotate one file lose parts of it.

    Raises:
        ConfigError: a bad filter, or a folder that cannot be written.
    """
    levels = _parse_filter(filter_text or "")
    name = _FILE_NAME if worker is None else _WORKERS_FILE_NAME.format(worker)
    handler = logging.StreamHandler(sys.stderr) if directory is None else _open_file(directory, name)
    handler.setFormatter(_FORMATTERS[format](worker))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _LineFormatter):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    _apply(levels)


def set_diagnostics_filter(filter_text: str) -> None:
    """Set which diagnostics are shown from now on.

    Args:
        filter_text: comma list of ``target=level`` or a bare level for all other targets, which is
            ``info`` otherwise. Levels: trace, debug, info, warn, error, off.

    Raises:
        ConfigError: names the part that is wrong.
    """
    _apply(_parse_filter(filter_text))


def _parse_filter(text: str) -> dict[str, int]:
    levels = {"": logging.INFO}
    for part in text.split(","):
        directive = part.strip()
        if not directive:
            continue
        target, equals, level = directive.rpartition("=")
        level = level.strip().lower()
        if level not in _LEVELS or (equals and not target.strip()):
            raise ConfigError(
                f"invalid log filter {directive!r}: expected target=level or a level, "
                f"where the level is one of {', '.join(_LEVELS)}"
            )
        # Targets are written with :: upstream.
        levels[target.strip().replace("::", ".")] = _LEVELS[level]
    return levels


def _apply(levels: dict[str, int]) -> None:
    for name in _targets - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    _targets.clear()
    _targets.update(levels)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


_targets: set[str] = set()
"""Loggers whose level the filter has set; process-wide, as they are."""


def _open_file(directory: str, name: str) -> logging.Handler:
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        return logging.handlers.TimedRotatingFileHandler(
            f"{directory}/{name}",
            when="midnight",
            utc=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        raise ConfigError(f"cannot write diagnostics to {directory}: {error.strerror}") from error


class _LineFormatter(logging.Formatter):
    """``TIME LEVEL target: text``; a traceback follows in indented lines.

    Args:
        worker: number of the process among several; None: there is one only.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker
        self._origin = "" if worker is None else f"worker {worker}: "

    def format(self, record: logging.LogRecord) -> str:
        level = _level_name(record.levelno)
        line = f"{self._time(record)} {level:>5} {record.name}: {self._origin}{_escape(record.getMessage())}"
        return "\n".join([line, *self._extra_lines(record), *map(_indented, _traceback_lines(self, record))])

    def _time(self, record: logging.LogRecord) -> str:
        return _print_time(record.created)

    def _extra_lines(self, record: logging.LogRecord) -> list[str]:  # noqa: ARG002 - for PrettyFormatter
        return []


class _CompactFormatter(_LineFormatter):
    def _time(self, record: logging.LogRecord) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


class _PrettyFormatter(_LineFormatter):
    def _extra_lines(self, record: logging.LogRecord) -> list[str]:
        return [f"{_INDENT}at {_escape(record.pathname)}:{record.lineno}"]


class _JsonFormatter(_LineFormatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"message": record.getMessage()}
        if traceback := _traceback_lines(self, record):
            fields["exception"] = "\n".join(traceback)
        line: dict[str, Any] = {
            "timestamp": _print_time(record.created),
            "level": _level_name(record.levelno),
            "fields": fields,
            "target": record.name,
        }
        if self._worker is not None:
            line["worker"] = self._worker
        return json.dumps(line)


_FORMATTERS = {
    DiagnosticsFormat.FULL: _LineFormatter,
    DiagnosticsFormat.COMPACT: _CompactFormatter,
    DiagnosticsFormat.PRETTY: _PrettyFormatter,
    DiagnosticsFormat.JSON: _JsonFormatter,
}


def _print_time(seconds: float) -> str:
    whole, microseconds = divmod(round(seconds * 10**6), 10**6)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{microseconds:06d}Z"


def _level_name(number: int) -> str:
    if number >= logging.ERROR:
        return "ERROR"
    if number >= logging.WARNING:
        return "WARN"
    if number >= logging.INFO:
        return "INFO"
    return "DEBUG" if number >= logging.DEBUG else "TRACE"


def _escape(text: str) -> str:
    return text if text.isprintable() else text.translate(_ESCAPES)


def _indented(line: str) -> str:
    return _INDENT + _escape(line)


def _traceback_lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    lines: list[str] = []
    if record.exc_info:
        lines += formatter.formatException(record.exc_info).split("\n")
    if record.stack_info:
        lines += record.stack_info.split("\n")
    return lines
