"""The accounting log: who tried to authenticate, and whether it was believed.

Fits what ``kumo.listener`` asks for. Records are made and encoded on the event loop and written by a
thread of its own, as those of ``kumo.logs.logs`` are. Without a configuration each call is a no-op.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from kumo.config import AcctLog
from kumo.errors import ConfigError
from kumo.logs.channel import Channel
from kumo.logs.record import encode_json, mended
from kumo.logs.segment import Destination, FileCalls, prepare_directory
from kumo.logs.timestamp import print_rfc3339
from kumo.logs.writer import SegmentWriter
from kumo.message import AuthInfo, Connection

_CONSTRUCTOR = "kumo.aaa.configure_acct_log"
_PREFIX = "acct-"
_CONTEXT = "SmtpAuthPlainAuthentication"
"""KumoMTA's word for how an SMTP client proves who it is."""


class _Identity(msgspec.Struct, frozen=True):
    identity: str
    context: str


class _AuthInfo(msgspec.Struct, frozen=True):
    peer_address: str | None
    identities: list[_Identity]
    groups: list[str]


class _Authentication(msgspec.Struct, frozen=True):
    """One record; the order of the fields is that of the keys."""

    type: str
    timestamp: str
    attempted_identity: _Identity
    success: bool
    auth_info: _AuthInfo


class AccountingLog:
    """Writes Authentication records.

    Args:
        config: what ``configure_acct_log`` was given; None: nothing is recorded.
        clock: nanoseconds since 1970.
        monotonic: seconds that no clock adjustment moves.
        files: system calls.
        retry_interval: seconds after which a failed write is tried again.

    Source: KumoMTA manual, kumo.aaa.configure_acct_log.
    """

    def __init__(
        self,
        config: AcctLog | None,
        clock: Callable[[], int] = time.time_ns,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        files: FileCalls | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        self._clock = clock
        self._destination = Destination("" if config is None else config.log_dir, "", _PREFIX)
        self._channels: tuple[Channel, ...] = ()
        self._wanted = frozenset[bool]()
        if config is not None:
            self._channels = (Channel(config, clock, monotonic, files or FileCalls()),)
            wanted = ((True, config.log_authn_ok), (False, config.log_authn_fail))
            self._wanted = frozenset(success for success, is_wanted in wanted if is_wanted)
        self._writer = SegmentWriter(
            self._channels,
            monotonic=monotonic,
            retry_interval=retry_interval,
            droppable="attempts to authenticate",
        )

    def start(self) -> None:
        """Mark what an earlier process left as complete, and start the writer's thread.

        Raises:
            ConfigError: the log folder cannot be made or read.
        """
        if not self._channels:
            return
        directory = self._destination.directory
        try:
            prepare_directory(directory)
        except OSError as error:
            raise ConfigError(f"log_dir {directory}: {error.strerror}", constructor=_CONSTRUCTOR) from error
        self._writer.start()

    async def close(self) -> None:
        """Write all records, complete the segment. What comes afterwards is not recorded."""
        self._wanted = frozenset()
        await self._writer.close()

    async def written(self) -> None:
        """Wait until all records so far have reached the operating system.

        Raises:
            OSError: the log was closed while the disk could not be written.
        """
        await self._writer.written()

    def log_authentication(self, connection: Connection, identity: str, *, success: bool) -> None:
        """Write an Authentication record, or drop it when far too many wait; never waits.

        Args:
            connection: the session, its ``auth_info`` brought up to date.
            identity: whom the client said it is.
            success: whether it was believed.
        """
        if success not in self._wanted:
            return
        (channel,) = self._channels
        if channel.is_overfull:
            channel.dropped += 1
            return
        record = _Authentication(
            "Authentication",
            print_rfc3339(self._clock()),
            _Identity(identity, _CONTEXT),
            success,
            _auth_info(connection),
        )
        self._writer.submit(channel, self._destination, None, _encode(record))


def _auth_info(connection: Connection) -> _AuthInfo:
    info = connection.auth_info or AuthInfo(connection.peer_ip)
    identities = [_Identity(identity.identity, identity.context) for identity in info.identities]
    return _AuthInfo(info.peer_address, identities, list(info.groups))


def _encode(record: _Authentication) -> bytes:
    try:
        return encode_json(record) + b"\n"
    except UnicodeEncodeError:
        return encode_json(mended(msgspec.to_builtins(record))) + b"\n"
