"""aiosmtpd with a handler that takes the content and forgets it; size limit and port are all it is told.

Run as a program. Says where it listens as ``kumod`` does.
"""

from __future__ import annotations

import asyncio
import sys

from aiosmtpd.smtp import SMTP


class Sink:
    """The handler."""

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept."""
        return "250 OK"


def made() -> SMTP:
    """The protocol of one connection."""
    return SMTP(Sink(), hostname="localhost", data_size_limit=20971520, enable_SMTPUTF8=True)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"smtp listener on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


asyncio.run(main())
