"""Kind RocksDB: a database for contents and one for envelopes, by way of ``rocksdict``.

Keys are the sixteen octets of the spool id, as KumoMTA's are. A message is there once its envelope is, so
contents go first, and the envelopes of a transaction in one write. Where content and envelope of a message
that is there change, the new content is written with the new envelope under a key of its own, from which
``recover`` finishes. Writes go to the page cache; with ``flush`` one sync of each write-ahead log speaks for
the whole batch. Made by ``opening``, in which alone it is decided that ``rocksdict`` is there.

``rocksdict`` holds the GIL while it writes, so each transaction is a write of its own and RocksDB is told to
fail rather than to wait; ``flush_wal`` lets go of it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rocksdict import AccessType, Options, Rdict, WriteBatch, WriteOptions

from kumo.errors import CorruptEntry
from kumo.message import Message, created_ticks, is_spool_id
from kumo.spool.enumeration import Inventory, Problem
from kumo.spool.file_operations import FileOperations
from kumo.spool.requests import RemoveRequest, StoreRequest
from kumo.spool.stored_envelope import decode_envelope

_log = logging.getLogger("kumod.spool")

_T = TypeVar("_T")

_REDO = b"redo"
"""Before the key of a message: its content, which has to replace the one that is there."""

_PROBE = b"probe"

_WOULD_WAIT = "Result incomplete"
"""What RocksDB says instead of waiting until tables are written or merged."""

_STALLED_SECONDS = 30.0
"""How long a write is tried again that RocksDB would have to wait for."""

_STALL_PAUSE = 0.005

ENVELOPES_BUFFER = 8 << 20
"""Octets of envelopes in memory before RocksDB writes a table of those that are still wanted. With its own
64 MiB memory grows for ten minutes of 250 messages a second, and a start has as much of a log to read.
Measured with 350 000 messages kept: 17.0 µs of CPU each instead of 16.7, 52 MiB less.
"""


class RocksDisk:
    """See ``Engine``.

    Args:
        data: holds contents.
        meta: holds envelopes.
        files: writes what is set aside.
    """

    __slots__ = ("_data", "_files", "_meta")

    def __init__(self, data: RocksStore, meta: RocksStore, files: FileOperations) -> None:
        self._data = data
        self._meta = meta
        self._files = files

    def recover(self) -> None:
        """Finish the replacements that a crash cut short.

        Raises:
            OSError: the disk fails.
        """
        keys = [key for key in self._meta.list_keys() if key.startswith(_REDO)]
        for key in keys:
            content = self._meta.get(key)
            if content is not None:
                self._data.put(key[len(_REDO) :], content)
        if keys:
            # Not before the contents are durable may be forgotten that they are to be put.
            self._data.sync()
            self._meta.write((), deleted=keys)

    # --- the writer's thread --------------------------------------------------------------------

    def store(self, requests: Sequence[StoreRequest]) -> None:
        """See ``Engine``."""
        written = []
        for request in requests:
            try:
                self._write(request)
            except Exception as error:  # noqa: BLE001 - of whatever kind, it concerns this request only
                self._fail(request, error)
            else:
                written.append(request)
        if not written:
            return
        try:
            self._data.sync()
            self._meta.sync()
        except Exception as error:  # noqa: BLE001 - of whatever kind, nothing is known to be durable
            for request in written:
                self._fail(request, error)

    def remove(self, requests: Sequence[RemoveRequest]) -> None:
        """See ``Engine``."""
        for request in requests:
            keys = [bytes.fromhex(spool_id) for spool_id in request.spool_ids]
            try:
                self._meta.write((), deleted=keys)
                self._data.write((), deleted=keys)
            except Exception as error:  # noqa: BLE001 - of whatever kind, it concerns this request only
                request.fail(", ".join(request.spool_ids), error)

    def relieve(self) -> None:
        """See ``Engine``: RocksDB sees to itself."""

    def tidy(self) -> bool:
        """See ``Engine``: likewise."""
        return True

    @property
    def patience(self) -> None:
        """See ``Engine``: likewise."""

    def finish(self) -> None:
        """See ``Engine``."""
        for store in (self._meta, self._data):
            store.close()

    def try_out(self) -> None:
        """See ``Engine``; a database that came to a stop by an error is opened anew."""
        for store in (self._meta, self._data):
            try:
                store.try_out()
            except OSError:
                store.reopen()
                store.try_out()

    def clear_entries(self, found: Inventory) -> None:
        """See ``Engine``."""
        _warn_of_foreign(found, self._meta)

    def clear_contents(self, found: Inventory, known: frozenset[str]) -> None:
        """See ``Engine``."""
        _warn_of_foreign(found, self._data)
        for spool_id in found.ids:
            if spool_id not in known and self._meta.get(bytes.fromhex(spool_id)) is None:
                self._set_aside(self._data, spool_id, f"message {spool_id} has no meta")

    def set_aside(self, problem: Problem) -> None:
        """See ``Engine``."""
        if not problem.is_lasting:
            _log.error("%s; it is left for the next start", problem.reason)
            return
        for store in (self._meta, self._data):
            self._set_aside(store, problem.id, problem.reason)

    # --- any thread -----------------------------------------------------------------------------

    def read_content(self, spool_id: str) -> bytes:
        """See ``Engine``."""
        content = self._data.get(bytes.fromhex(spool_id))
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "no such message", spool_id)
        return content

    def list_entries(self) -> Inventory:
        """See ``Engine``."""
        return self._meta.inventory()

    def list_contents(self) -> Inventory:
        """See ``Engine``."""
        return self._data.inventory()

    def read_entries(self, spool_ids: Sequence[str]) -> list[Message | Problem]:
        """See ``Engine``."""
        return [entry for spool_id in spool_ids if (entry := self._read_entry(spool_id)) is not None]

    # --- steps ----------------------------------------------------------------------------------

    def _write(self, request: StoreRequest) -> None:
        envelopes = []
        replaced = []
        for entry in request.entries:
            key = bytes.fromhex(entry.id)
            envelopes.append((key, entry.meta))
            if entry.segments is not None:
                content = b"".join(entry.segments)
                if entry.is_update:
                    replaced.append((key, content))
                else:
                    self._data.put(key, content)
        redo = [(_REDO + key, content) for key, content in replaced]
        self._meta.write([*envelopes, *redo])
        for key, content in replaced:
            self._data.put(key, content)
        if redo:
            # Without its sync the content could be lost, and this not.
            self._data.sync()
            self._meta.write((), deleted=[key for key, _ in redo])

    def _fail(self, request: StoreRequest, error: Exception) -> None:
        request.fail(error)
        keys = [bytes.fromhex(entry.id) for entry in request.entries if not entry.is_update]
        try:
            self._meta.write((), deleted=keys)
            self._data.write((), deleted=keys)
        except Exception as failure:  # noqa: BLE001 - the other requests are not to suffer from it
            _log.error("something of %s may be left on the spool: %s", request.names, failure)

    def _read_entry(self, spool_id: str) -> Message | Problem | None:
        key = bytes.fromhex(spool_id)
        try:
            meta = self._meta.get(key)
            if meta is None:
                return None
            message = decode_envelope(meta, spool_id)
            if not self._data.has(key):
                return Problem(spool_id, f"message {spool_id} has no content")
        except CorruptEntry as error:
            return Problem(spool_id, str(error))
        except OSError as error:
            return Problem(spool_id, f"message {spool_id} cannot be read: {error}", is_lasting=False)
        return message

    def _set_aside(self, store: RocksStore, spool_id: str, reason: str) -> None:
        key = bytes.fromhex(spool_id)
        try:
            octets = store.get(key)
            if octets is None:
                return
            target = self._keep(store.root, spool_id, octets)
            store.write((), deleted=(key,))
        except OSError as error:
            _log.error("%s; it cannot be set aside: %s", reason, error)
        else:
            _log.warning("%s; set aside as %s", reason, target)

    def _keep(self, root: str, spool_id: str, octets: bytes) -> str:
        files = self._files
        directory = f"{root}/quarantine"
        with contextlib.suppress(FileExistsError):
            files.make_directory(directory)
        for number in itertools.count(1):
            target = f"{directory}/{spool_id}.{number}"
            if not files.exists(target):
                break
        descriptor = files.create(target)
        try:
            files.write(descriptor, (octets,))
            files.sync_file(descriptor)
        finally:
            files.close(descriptor)
        return target


class RocksStore:
    """One database.

    Args:
        root: its folder, without a slash at the end.
        flush: whether ``sync`` makes writes durable, or nothing has to be done for that.
        buffer: octets in memory before they become a table; three times as many at most. None: RocksDB's own.

    Raises:
        OSError: it cannot be opened.
    """

    __slots__ = ("_buffer", "_database", "_flush", "_is_open", "_write_options", "root")

    def __init__(self, root: str, *, flush: bool, buffer: int | None = None) -> None:
        self.root = root
        self._flush = flush
        self._buffer = buffer
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True
        self._database = self._open()
        self._is_open = True

    def get(self, key: bytes) -> bytes | None:
        """A value; None: there is none."""
        with _as_os_errors():
            value: bytes | None = self._database.get(key)
            return value

    def has(self, key: bytes) -> bool:
        """Whether there is a value."""
        with _as_os_errors():
            return key in self._database

    def list_keys(self) -> list[bytes]:
        """All keys."""
        with _as_os_errors():
            return [key for key in self._database.keys() if isinstance(key, bytes)]  # noqa: SIM118 - no dict

    def put(self, key: bytes, value: bytes) -> None:
        """Write one value."""
        _patiently(lambda: self._database.put(key, value, self._write_options))

    def write(self, pairs: Sequence[tuple[bytes, bytes]], *, deleted: Sequence[bytes] = ()) -> None:
        """Write and delete, all or nothing."""
        # A write that fails has used up its batch all the same.
        _patiently(lambda: self._database.write(_batch(pairs, deleted), self._write_options))

    def sync(self) -> None:
        """Make durable what was written, if that is wanted."""
        if self._flush:
            with _as_os_errors():
                self._database.flush_wal(True)

    def inventory(self) -> Inventory:
        """The messages there is a value of, oldest first; and the keys of what is none."""
        ids, foreign = [], []
        for key in self.list_keys():
            spool_id = key.hex()
            if is_spool_id(spool_id):
                ids.append(spool_id)
            elif not key.startswith(_REDO) and key != _PROBE:
                foreign.append(spool_id)
        return Inventory(sorted(ids, key=created_ticks), foreign, [])

    def try_out(self) -> None:
        """Write, sync and delete."""
        self.put(_PROBE, b"probe\n")
        self.sync()
        self.write((), deleted=(_PROBE,))

    def reopen(self) -> None:
        """Open the database anew."""
        self.close()
        self._database = self._open()
        self._is_open = True

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        if self._is_open:
            self._is_open = False
            with _as_os_errors():
                self._database.close()

    def _open(self) -> Rdict:
        options = Options(raw_mode=True)
        if self._buffer is not None:
            options.set_write_buffer_size(self._buffer)
        with _as_os_errors():
            return Rdict(self.root, options)


def _batch(pairs: Iterable[tuple[bytes, bytes]], deleted: Iterable[bytes]) -> WriteBatch:
    batch = WriteBatch(raw_mode=True)
    for key, value in pairs:
        batch.put(key, value)
    for key in deleted:
        batch.delete(key)
    return batch


def read_envelopes(root: str) -> dict[str, bytes]:
    """The envelopes of all messages in a database that a daemon may have open; changes no message.

    Args:
        root: folder of the store named ``meta``.

    Raises:
        OSError: it cannot be read.
    """
    options = Options(raw_mode=True)
    with tempfile.TemporaryDirectory() as logs, _as_os_errors():
        options.set_db_log_dir(logs)
        access = AccessType.read_only(error_if_log_file_exist=False)
        database = Rdict(root, options, access_type=access)
        try:
            return {
                key.hex(): value
                for key, value in database.items()
                if isinstance(key, bytes) and is_spool_id(key.hex())
            }
        finally:
            database.close()


def _warn_of_foreign(found: Inventory, store: RocksStore) -> None:
    for key in found.foreign:
        _log.warning("%s: key %s is not an entry of this spool; it is left where it is", store.root, key)


def _patiently(write: Callable[[], _T]) -> _T:
    """Write; where RocksDB would wait, holding the GIL, this thread waits without it."""
    until = time.monotonic() + _STALLED_SECONDS
    while True:
        try:
            return write()
        except Exception as error:  # rocksdict has no other
            if _WOULD_WAIT not in str(error) or time.monotonic() > until:
                raise _os_error(error) from error
        time.sleep(_STALL_PAUSE)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # rocksdict has no other
        raise _os_error(error) from error


def _os_error(error: Exception) -> OSError:
    if isinstance(error, OSError):
        return error
    number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
    return OSError(number, str(error))
