"""Messages to store, and what a spool's folders hold."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kumo.config import Spool as SpoolConfig
from kumo.config import SpoolKind
from kumo.message import Message, SpoolIdSource
from kumo.smtp import parse_envelope_address
from kumo.spool import FileOperations, list_spool
from kumo.spool.group_commit import GroupCommit
from kumo.spool.journaled_disk import JournaledDisk
from kumo.spool.opening import open_stores
from kumo.spool.requests import Entry, StoreRequest
from kumo.spool.stored_envelope import encode_envelope
from kumo.spool.transaction import recover

_IDS = SpoolIdSource(node=0x02FC00000001)

EXAMPLE_ID = "d7ef132b5d7711eea8c8000c29c33806"


def new_id(now: float | None = None) -> str:
    return _IDS.new_id(now)


def make_message(
    *,
    spool_id: str | None = None,
    sender: str = "a@example.com",
    recipients: tuple[str, ...] = ("b@example.org",),
    meta: dict[str, Any] | None = None,
    head: bytes = b"Received: by kumo\r\n",
    body: bytes = b"Subject: x\r\n\r\nbody\r\n",
) -> Message:
    message = Message(
        id=spool_id or new_id(),
        sender=parse_envelope_address(sender),
        recipients=[parse_envelope_address(recipient) for recipient in recipients],
        meta={"queue": "q"} if meta is None else meta,
        body=body,
    )
    message.prepend(head)
    return message


def configs(
    root: Path, *, flush: bool = False, kind: SpoolKind = SpoolKind.LOCAL_DISK
) -> tuple[SpoolConfig, SpoolConfig]:
    return (
        SpoolConfig(name="data", path=str(root / "data"), flush=flush, kind=kind),
        SpoolConfig(name="meta", path=str(root / "meta"), flush=flush, kind=kind),
    )


def data_file(root: Path, spool_id: str) -> Path:
    return _entry(root / "data", spool_id)


def meta_file(root: Path, spool_id: str) -> Path:
    return _entry(root / "meta", spool_id)


def put(path: Path, octets: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)


def entry_files(root: Path) -> list[str]:
    """Every file of both stores but the locks, relative to the spool's root."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock"
    )


def files_of(*messages: Message) -> list[str]:
    """What ``entry_files`` is for exactly these messages."""
    return sorted(str(entry(Path(), message.id)) for message in messages for entry in (data_file, meta_file))


def is_whole(root: Path, message: Message) -> bool:
    """Whether both files of a message are there with all their octets."""
    data, meta = data_file(root, message.id), meta_file(root, message.id)
    return (
        data.exists()
        and meta.exists()
        and data.read_bytes() == message.content
        and meta.read_bytes() == encode_envelope(message)
    )


def kept_ids(root: Path) -> list[str]:
    """The messages of a spool, wherever it keeps them; a daemon may be running on it."""
    return sorted(entry.id for entry in list_spool(root / "meta"))


def ids_of(*messages: Message) -> list[str]:
    """What ``kept_ids`` is for exactly these messages."""
    return sorted(message.id for message in messages)


class UnsyncedFiles(FileOperations):
    """Spares tests the syncs, whose effect only a power loss would show."""

    def sync_file(self, descriptor: int) -> None:
        pass

    def sync_file_system(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: str) -> None:
        pass


def requests_for(*batch: list[Message]) -> list[StoreRequest]:
    return [StoreRequest([Entry.of(message) for message in messages]) for messages in batch]


class Stores:
    """Both stores, locked and recovered, without thread or loop."""

    def __init__(
        self,
        root: Path,
        *,
        flush: bool = False,
        kind: SpoolKind = SpoolKind.LOCAL_DISK,
        files: FileOperations | None = None,
    ) -> None:
        self.root = root
        self.files = files or UnsyncedFiles()
        self._held = ExitStack()
        try:
            self.data, self.meta = open_stores(*configs(root, flush=flush, kind=kind), self.files, self._held)
            recover(self.data, self.meta, self.files)
            self.engine = JournaledDisk(self.data, self.meta, self.files)
            self.engine.recover()
        except BaseException:
            self.close()
            raise
        self.commit = GroupCommit(self.data, self.meta, self.files)
        """The files without the journal."""

    def store(self, *batch: list[Message]) -> list[StoreRequest]:
        """Store each list of messages in files, as one call of a single batch."""
        requests = requests_for(*batch)
        self.commit.store(requests)
        return requests

    def append(self, *batch: list[Message]) -> list[StoreRequest]:
        """As ``store``, but into the journal."""
        requests = requests_for(*batch)
        self.engine.store(requests)
        return requests

    def close(self) -> None:
        self._held.close()


def _entry(store: Path, spool_id: str) -> Path:
    return store.joinpath("data", spool_id[:2], spool_id[2:4], spool_id[4:6], spool_id[6:8], spool_id[8:])
