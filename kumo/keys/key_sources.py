"""Loads key material, wherever a policy says it is.

Files, octets and events are read anew each time: whoever makes something of them caches that. Secrets of
Vault are kept, as every listener and every context asks for them. A secret is cached as a whole, so that
a key and its certificate, kept as two fields, are of one version.

Listener, HTTP service and ``kumod --validate`` use it; it knows nothing of TLS.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kumo.config import KeyData, KeyEvent, KeyFile, KeySource, KeyVault
from kumo.errors import KeySourceError, KumoError
from kumo.keys.key_file import read_key_file
from kumo.keys.vault import VaultSecret, key_octets, read_secret, timed_out
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable

_log = logging.getLogger("kumod.keys")

SECRET_LIFETIME = 300.0
"""Seconds for which a secret is used before Vault is asked again."""

STALE_LIFETIME = 60.0
"""Seconds for which an old secret goes on after Vault failed to give the new one."""

FAILURE_LIFETIME = 10.0
"""Seconds for which a failure is repeated without asking, where there is nothing to go on with."""

MAX_SECRETS = 128

_THREADS = 4


class _Entry:
    """What is known of one secret."""

    __slots__ = ("error", "expires", "fields", "flight", "read_at")

    def __init__(self) -> None:
        self.fields: Mapping[str, Any] | None = None
        self.error: str | None = None
        self.read_at = 0.0
        self.expires = float("-inf")
        self.flight: asyncio.Task[None] | None = None


class KeySources:
    """Loads key material.

    Args:
        call_event: calls a Lua event by name with arguments; None when it has no handler.
        environment: where ``VAULT_ADDR``, ``VAULT_TOKEN``, ``VAULT_NAMESPACE``, ``VAULT_CACERT`` and
            ``VAULT_CAPATH`` are looked up.
        now: seconds of a clock that never goes back.
        to_thread: runs what blocks; None: threads of its own, so that a Vault which does not answer keeps
            nobody else's work waiting.
        vault_timeout: seconds within which Vault must have answered.

    Source: KumoMTA manual, KeySource.
    """

    __slots__ = (
        "_call_event",
        "_entries",
        "_environment",
        "_flights",
        "_now",
        "_threads",
        "_to_thread",
        "_vault_timeout",
    )

    def __init__(
        self,
        call_event: Callable[..., MaybeAwaitable[Any]],
        *,
        environment: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
        to_thread: Callable[..., Awaitable[Any]] | None = None,
        vault_timeout: float = 10.0,
    ) -> None:
        self._call_event = call_event
        self._environment = environment
        self._now = now
        # No thread begins before there is something to read.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kumod-keys")
        self._to_thread = to_thread or self._in_thread
        self._vault_timeout = vault_timeout
        self._entries: dict[VaultSecret, _Entry] = {}
        self._flights: set[asyncio.Task[None]] = set()

    async def load(self, source: KeySource) -> bytes:
        """The octets of a source.

        A secret of Vault that has expired is asked for again, once for all who want it; when that
        fails the old one is given and the error logged.

        Raises:
            KeySourceError: they cannot be had; the text names the source in one line.
        """
        match source:
            case KeyData():
                return source.key_data
            case KeyFile():
                octets: bytes = await self._to_thread(read_key_file, source.path)
                return octets
            case KeyEvent():
                return await self._call(source)
            case KeyVault():
                return await self._load_secret(source)

    async def close(self) -> None:
        """End what is under way; a thread that waits for Vault ends by its own time limit."""
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._entries.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _call(self, source: KeyEvent) -> bytes:
        name = source.event_name
        try:
            answer = self._call_event(name, *source.event_args)
            if is_awaitable(answer):
                answer = await answer
        except KumoError as error:
            # The first line: a Lua traceback follows, which the chain keeps.
            lines = str(error).splitlines() or [type(error).__name__]
            raise KeySourceError(f"key event `{name}` failed: {lines[0]}") from error
        if answer is None:
            raise KeySourceError(f"key event `{name}` has no handler, or its handler returned nothing")
        if isinstance(answer, bytes):
            return answer
        if not isinstance(answer, str):
            raise KeySourceError(f"key event `{name}` must return a string")
        try:
            return answer.encode("latin-1")
        except UnicodeEncodeError:
            raise KeySourceError(f"key event `{name}` returned text that stands for no octets") from None

    async def _load_secret(self, source: KeyVault) -> bytes:
        secret = VaultSecret.of_source(source, self._environment)
        entry = self._entry_of(secret)
        if self._needs_reading(entry, source.vault_key):
            await self._refreshed(secret, entry)
        if entry.fields is None:
            raise KeySourceError(entry.error or f"{secret.place} is asked for no more")
        return key_octets(entry.fields, source)

    def _needs_reading(self, entry: _Entry, key: str) -> bool:
        if entry.flight is not None or self._now() >= entry.expires:
            return True
        if entry.fields is None:
            return False
        # Somebody may be about to add the field: no need to wait for the lifetime of the others.
        is_missing = not isinstance(entry.fields.get(key), str)
        return is_missing and self._now() - entry.read_at >= FAILURE_LIFETIME

    def _entry_of(self, secret: VaultSecret) -> _Entry:
        """The secret's entry, as the last of all: the first is the one that nobody asked for longest."""
        entry = self._entries.pop(secret, None)
        if entry is None:
            entry = _Entry()
            if len(self._entries) >= MAX_SECRETS:
                # One that is being read still answers those who hold it.
                del self._entries[next(iter(self._entries))]
        self._entries[secret] = entry
        return entry

    async def _refreshed(self, secret: VaultSecret, entry: _Entry) -> None:
        """Wait for the one reading of a secret; who stops waiting does not end it for the others."""
        if entry.flight is None:
            entry.flight = asyncio.create_task(self._refresh(secret, entry), name="kumod-vault")
            self._flights.add(entry.flight)
            entry.flight.add_done_callback(self._flights.discard)
        await asyncio.wait({entry.flight})

    async def _refresh(self, secret: VaultSecret, entry: _Entry) -> None:
        try:
            fields = await self._read(secret)
        except KeySourceError as error:
            entry.error = str(error)
            entry.read_at = self._now()
            if entry.fields is None:
                entry.expires = self._now() + FAILURE_LIFETIME
            else:
                entry.expires = self._now() + STALE_LIFETIME
                _log.error("%s; what %s held before stays in use", error, secret.place)
        else:
            entry.fields = fields
            entry.error = None
            entry.read_at = self._now()
            entry.expires = entry.read_at + SECRET_LIFETIME
        finally:
            entry.flight = None

    async def _read(self, secret: VaultSecret) -> Mapping[str, Any]:
        try:
            # The threads' own limits count for each step on the network, and not for name resolution.
            async with asyncio.timeout(self._vault_timeout):
                fields: Mapping[str, Any] = await self._to_thread(read_secret, secret, self._vault_timeout)
        except TimeoutError:
            raise timed_out(secret, self._vault_timeout) from None
        return fields
