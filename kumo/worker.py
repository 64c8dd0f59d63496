"""A worker process: what ``kumo.parent`` starts with ``python -m kumo.worker DESCRIPTOR``.

Part of the composition root. Its descriptor is an end of the pair that it shares with its parent; all else
it is told in the first frame.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from kumo.cli import loop_factory
from kumo.errors import KumoError
from kumo.logs import DiagnosticsFormat, configure_diagnostics
from kumo.server import Server
from kumo.workers import Assignment, HandedSockets, ParentLink, keep_only


def main(descriptor: int) -> int:
    """Serve until the parent asks for the end, or is gone.

    Args:
        descriptor: of this end of the pair.

    Returns:
        The exit code: 0 after a clean stop, 1 after a failure.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A terminal or a service manager may send them to all processes; before it serves, a worker goes by
        # what the parent says.
        # Not SIG_IGN, which what a policy starts would inherit.
        signal.signal(number, lambda *_: None)
    link = ParentLink(descriptor)
    try:
        assignment = link.receive_assignment()
    except ConnectionError:
        return 0
    # Inherited by what a policy starts, a lock would hold the spool for longer than its daemon.
    keep_only({descriptor, *assignment.sockets, *assignment.locks})
    worker = assignment.share.number
    try:
        configure_diagnostics(
            os.environ.get("KUMOD_LOG"),
            DiagnosticsFormat(assignment.diag_format),
            assignment.diag_log_dir,
            worker,
        )
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_serve(assignment, link))
    except (KumoError, OSError, ValueError) as error:
        print(f"Error: worker {worker}: {error}", file=sys.stderr)  # noqa: T201 - as the command's own
        return 1


async def _serve(assignment: Assignment, link: ParentLink) -> int:
    server = Server(
        assignment.policy,
        inherited=HandedSockets(assignment.sockets),
        notifier=link,
        share=assignment.share,
        check=assignment.check,
    )
    await link.attend(server)
    return await server.run()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
