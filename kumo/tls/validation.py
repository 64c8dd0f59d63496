"""Says all that is wrong with an identity, for ``kumod --validate``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from kumo.errors import KumoError, TlsError
from kumo.tls.assembly import Parts, assemble, load_parts
from kumo.tls.identity import LoadKey, ServerIdentity
from kumo.tls.self_signed import make_self_signed
from kumo.tls.server_context import make_server_context


async def check_identity(load: LoadKey, identity: ServerIdentity) -> list[str]:
    """Load and try everything that an identity names, and keep none of it.

    Args:
        load: loads a key source.
        identity: what to look at.

    Returns:
        Every problem on a line of its own, without secrets; none: it can be served.
    """
    parts, problems = await load_parts(load, identity)
    found = await asyncio.to_thread(_try, identity, parts, is_complete=not problems)
    return [str(problem) for problem in (*problems, *found)]


def _try(identity: ServerIdentity, parts: Parts, *, is_complete: bool) -> list[KumoError]:
    assembly, problems = assemble(identity, parts, self_signed=make_self_signed, at=datetime.now(UTC))
    if assembly is not None and is_complete:
        try:
            make_server_context(assembly.certified, assembly.client_ca, source=assembly.source)
        except TlsError as error:
            return [error]
    return problems
