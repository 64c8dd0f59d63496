"""The command ``kumod``: flags, exit codes, the event loop. What it starts is ``kumo.server``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kumo._version import KUMOMTA_VERSION, __version__
from kumo.errors import KumoError
from kumo.logs import DiagnosticsFormat, configure_diagnostics
from kumo.parent import Parent
from kumo.server import Server
from kumo.service import InheritedSockets, ServiceNotifier, drop_privileges
from kumo.spool import list_spool
from kumo.validation import ReportFormat, print_report, validate

DEFAULT_POLICY = "/opt/kumomta/etc/policy/init.lua"

MOST_WORKERS = 64

_log = logging.getLogger("kumod")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``kumod``.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 after a clean stop, 1 after a failure (with ``Error: …`` on standard error).
        Wrong usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.format and not options.validate:
        parser.error("--format is for --validate")
    if options.by_processor is not None and options.workers == 1:
        parser.error("--by-processor is for --workers: one process takes all connections")
    try:
        if options.user is not None:
            # Ahead of all that opens a file, starts a thread or reads the policy.
            drop_privileges(options.user)
        configure_diagnostics(
            os.environ.get("KUMOD_LOG"),
            DiagnosticsFormat(options.diag_format),
            # Validating writes nothing.
            None if options.validate else options.diag_log_dir,
        )
        if options.list_spool is not None:
            return _list_spool(Path(options.list_spool))
        if options.validate:
            return _validate(options.policy, ReportFormat(options.format or ReportFormat.TEXT.value))
        return _serve(options)
    except (KumoError, OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 - the command's own words
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kumod", description="An ESMTP service that runs a KumoMTA Lua policy.", allow_abbrev=False
    )
    parser.add_argument(
        "--policy", metavar="FILE", default=DEFAULT_POLICY, help="the Lua policy (default: %(default)s)"
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="report everything that is wrong with the policy, and exit with 0 if nothing is, else with 1",
    )
    parser.add_argument(
        "--format",
        choices=[form.value for form in ReportFormat],
        help="form of the report of --validate (default: text)",
    )
    parser.add_argument(
        "--list-spool",
        metavar="PATH",
        help="print the messages of a spool, one a line, and exit; PATH is the meta spool's folder",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="when started by root, become this user, and keep of root only the right to bind low ports",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_worker_count,
        default=1,
        help=f"serve with N processes on the same ports, 1 to {MOST_WORKERS} (default: %(default)s)",
    )
    parser.add_argument(
        "--by-processor",
        action=argparse.BooleanOptionalAction,
        help="with --workers: deal connections to the worker of the processor on which they arrive, always "
        "or never (default: while they arrive evenly)",
    )
    parser.add_argument("--diag-log-dir", metavar="DIR", help="diagnostics go to a file there, not to stderr")
    parser.add_argument(
        "--diag-format",
        choices=[form.value for form in DiagnosticsFormat],
        default=DiagnosticsFormat.FULL.value,
        help="form of the diagnostics",
    )
    parser.add_argument(
        "--version", action="version", version=f"kumod {__version__} (answers to KumoMTA {KUMOMTA_VERSION})"
    )
    return parser


def _validate(policy: str, form: ReportFormat) -> int:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return print_report(runner.run(validate(policy)), form)


def _list_spool(path: Path) -> int:
    for entry in list_spool(path):
        print(entry)  # noqa: T201 - the command's output
    return 0


def _worker_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_WORKERS}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    policy, user = options.policy, options.user
    if not Path(policy).is_file():
        raise FileNotFoundError(f"no policy at {policy}: name one with --policy FILE")
    # Ahead of all that opens a file: the descriptors are known by their numbers.
    inherited = InheritedSockets.take()
    _raise_descriptor_limit()
    if os.geteuid() == 0 and user is None:
        _log.warning("running as root; a port below 1024 is the only thing that needs it")
    elif not os.access(os.__file__, os.R_OK):
        folder = Path(os.__file__).parent
        _log.warning("this user may not read %s: whatever is loaded from there later will fail", folder)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        notifier = ServiceNotifier()
        if options.workers == 1:
            return runner.run(Server(policy, inherited=inherited, notifier=notifier).run())
        parent = Parent(
            policy,
            options.workers,
            by_processor=options.by_processor,
            inherited=inherited,
            notifier=notifier,
            diag_format=options.diag_format,
            diag_log_dir=options.diag_log_dir,
        )
        return runner.run(parent.run())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes loops: uvloop's, or asyncio's where uvloop is absent or ``KUMO_LOOP=asyncio`` asks for it."""
    if os.environ.get("KUMO_LOOP", "uvloop") != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 - absent on some platforms
        except ImportError:
            _log.info("uvloop is not installed; asyncio serves instead")
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop


def _raise_descriptor_limit() -> None:
    """A session is a descriptor; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
