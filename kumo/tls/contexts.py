"""Keeps a TLS context for every identity that is served, and brings it up to date.

A listener asks at the start of a handshake and is answered at once, but for the very first time: a
context that has expired goes on while one refresh is under way, so that a Vault that does not answer
delays nobody. Material that did not change keeps its context, and with it the keys of session tickets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta

from kumo.errors import KumoError, TlsError
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.tls.assembly import Parts, assemble, load_parts
from kumo.tls.identity import LoadKey, ServerIdentity, identity_key
from kumo.tls.material import CertifiedKey, print_time
from kumo.tls.self_signed import make_self_signed
from kumo.tls.server_context import ServerContext, make_server_context

_log = logging.getLogger("kumod.tls")

CONTEXT_LIFETIME = 300.0
"""Seconds after which an identity's sources are read again."""

FAILURE_LIFETIME = 60.0
"""Seconds for which a failure is not tried again."""

MAX_IDENTITIES = 128

EXPIRY_WARNING = timedelta(days=7)


class _Entry:
    """What is kept for one identity."""

    __slots__ = ("context", "digest", "error", "expires", "flight")

    def __init__(self) -> None:
        self.context: ServerContext | None = None
        self.digest = b""
        self.error: KumoError | None = None
        self.expires = float("-inf")
        self.flight: asyncio.Task[None] | None = None


class TlsContexts:
    """The contexts of all listeners.

    Args:
        load: loads a key source.
        now: seconds of a clock that never goes back.

    Source: KumoMTA manual, tls_certificate.
    """

    __slots__ = ("_entries", "_flights", "_load", "_now", "_self_signed")

    def __init__(self, load: LoadKey, *, now: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._now = now
        self._entries: dict[Hashable, _Entry] = {}
        self._flights: set[asyncio.Task[None]] = set()
        self._self_signed: dict[str, CertifiedKey] = {}

    def server_context(self, identity: ServerIdentity) -> MaybeAwaitable[ServerContext]:
        """The context for a handshake; at once wherever one was made before.

        Args:
            identity: what to show.

        Raises:
            KeySourceError: a source could not be read, and there is no older context to go on with.
            TlsError: likewise, what was read cannot be used. Both are raised again, at once, for a
                minute.
        """
        entry = self._entry_of(identity)
        if self._now() >= entry.expires and entry.flight is None:
            entry.flight = asyncio.create_task(self._refresh(identity, entry), name="kumod-tls-context")
            self._flights.add(entry.flight)
            entry.flight.add_done_callback(self._flights.discard)
        if entry.context is not None:
            return entry.context
        if entry.flight is not None:
            return self._first_context(entry, entry.flight)
        raise _again(entry.error)

    async def close(self) -> None:
        """End all refreshes and forget all contexts."""
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._entries.clear()

    def _entry_of(self, identity: ServerIdentity) -> _Entry:
        """The identity's entry, as the last of all: the first is the one that nobody asked for longest."""
        key = identity_key(identity)
        entry = self._entries.pop(key, None)
        if entry is None:
            entry = _Entry()
            if len(self._entries) >= MAX_IDENTITIES:
                # Who waits for its context holds it.
                del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry

    async def _first_context(self, entry: _Entry, flight: asyncio.Task[None]) -> ServerContext:
        # Who stops waiting does not end it for the others.
        await asyncio.wait({flight})
        if entry.context is None:
            raise _again(entry.error)
        return entry.context

    async def _refresh(self, identity: ServerIdentity, entry: _Entry) -> None:
        try:
            await self._make(identity, entry)
        except KumoError as error:
            self._fail(identity, entry, error)
        except Exception as error:  # noqa: BLE001 - it is logged, and must be tried again
            _log.exception("unable to make a TLS context for %s", identity.hostname)
            self._fail(identity, entry, TlsError(f"no TLS context could be made: {type(error).__name__}"))
        finally:
            entry.flight = None

    def _fail(self, identity: ServerIdentity, entry: _Entry, error: KumoError) -> None:
        entry.error = error
        entry.expires = self._now() + FAILURE_LIFETIME
        outcome = "there is no TLS" if entry.context is None else "the old certificate stays in use"
        _log.error("unable to load the TLS certificate of %s, %s: %s", identity.hostname, outcome, error)

    async def _make(self, identity: ServerIdentity, entry: _Entry) -> None:
        parts, problems = await load_parts(self._load, identity)
        if problems:
            raise problems[0]
        is_known = entry.context is not None and entry.digest == parts.digest()
        context = await asyncio.to_thread(self._assemble, identity, parts, is_known=is_known)
        if context is not None:
            entry.context = context
            entry.digest = parts.digest()
        entry.error = None
        entry.expires = self._now() + CONTEXT_LIFETIME

    def _assemble(self, identity: ServerIdentity, parts: Parts, *, is_known: bool) -> ServerContext | None:
        """A context, or None when the one there is does; runs in a thread."""
        at = datetime.now(UTC)
        assembly, problems = assemble(identity, parts, self_signed=self._self_signed_for, at=at)
        if assembly is None:
            raise problems[0]
        if is_known:
            return None
        if assembly.certified.expires - at < EXPIRY_WARNING:
            expires = print_time(assembly.certified.expires)
            _log.warning("%s: the certificate expires on %s", assembly.source, expires)
        return make_server_context(assembly.certified, assembly.client_ca, source=assembly.source)

    def _self_signed_for(self, hostname: str) -> CertifiedKey:
        """Made once a hostname: peers may pin what they saw."""
        certified = self._self_signed.get(hostname)
        if certified is None:
            certified = make_self_signed(hostname)
            while len(self._self_signed) >= MAX_IDENTITIES:
                self._self_signed.pop(next(iter(self._self_signed)), None)
            certified = self._self_signed.setdefault(hostname, certified)
        return certified


def _again(error: KumoError | None) -> KumoError:
    """A failure to raise once more; the same object would grow its traceback with every peer."""
    return TlsError("TLS is about to end") if error is None else type(error)(*error.args)
