"""The journal by itself, at the moments at which a process may be killed or a disk may fail."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kumo.errors import SpoolUnhealthy
from kumo.spool import FileOperations
from kumo.spool.journal import Journal
from kumo.spool.journal_group import HEADER_OCTETS
from kumo.spool.requests import Entry, StoreRequest

FIRST, SECOND, THIRD = (f"{number:032x}" for number in (1, 2, 3))


class Killed(BaseException):
    """The process ends here."""


def open_journal(root: Path, files: FileOperations | None = None, *, flush: bool = True) -> Journal:
    def set_aside(path: str, name: str, _reason: str) -> None:
        Path(path).rename(root / f"{name}.aside")

    journal = Journal(str(root / "journal"), files or FileOperations(), set_aside, flush=flush)
    journal.recover(lambda *_: False)
    return journal


def request(spool_id: str, content: bytes = b"content", meta: bytes = b"{}") -> StoreRequest:
    return StoreRequest([Entry(spool_id, meta, (content,))])


class KillAfterSync(FileOperations):
    """Once armed, the process is killed behind the next sync: messages are durable, and nobody was told."""

    is_armed = False

    def sync_file(self, descriptor: int) -> None:
        super().sync_file(descriptor)
        if self.is_armed:
            raise Killed


@pytest.mark.parametrize("states", [2, 3])
def test_a_removed_message_never_comes_back_in_an_older_state(tmp_path: Path, states: int) -> None:
    files = KillAfterSync()
    journal = open_journal(tmp_path, files)
    journal.append([request(FIRST, meta=b'"state 0"'), request(SECOND)])
    files.is_armed = True
    for state in range(1, states):
        with pytest.raises(Killed):
            journal.append([request(FIRST, meta=b'"state %d"' % state)])
    journal = open_journal(tmp_path)
    assert journal.read_meta(FIRST) == b'"state %d"' % (states - 1)
    journal.void(FIRST)
    assert open_journal(tmp_path).ids() == [SECOND]


class LosingWrites(FileOperations):
    """A kernel that cannot write back what holds ``lost``, and says so at the first sync of that file."""

    def __init__(self) -> None:
        self.unreported: set[int] = set()

    def write_at(self, descriptor: int, segments: object, offset: int) -> None:
        octets = b"".join(segments)  # type: ignore[arg-type]
        if b"refused" in octets:
            raise OSError(errno.EIO, "refused")
        if b"lost" in octets:
            self.unreported.add(descriptor)
        super().write_at(descriptor, (octets,), offset)

    def sync_file(self, descriptor: int) -> None:
        if descriptor in self.unreported:
            self.unreported.remove(descriptor)
            raise OSError(errno.EIO, "lost")
        super().sync_file(descriptor)


def test_a_lost_write_that_a_sync_on_the_way_was_told_of_is_not_acknowledged(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, LosingWrites())
    journal.append([request(THIRD)])
    lost, refused = request(FIRST, b"lost"), request(SECOND, b"refused")
    journal.append([lost, refused])
    assert isinstance(lost.error, SpoolUnhealthy)
    assert isinstance(refused.error, SpoolUnhealthy)
    assert journal.ids() == [THIRD]
    assert open_journal(tmp_path).ids() == [THIRD]


def failing_syncs(directory: Path, times: int) -> tuple[FileOperations, list[str]]:
    synced: list[str] = []

    class Failing(FileOperations):
        left = times

        def sync_directory(self, path: str) -> None:
            if path == str(directory) and self.left:
                self.left -= 1
                raise OSError(errno.EIO, "no")
            super().sync_directory(path)
            synced.append(path)

    return Failing(), synced


def test_the_journals_own_name_is_durable_before_anything_is_acknowledged(tmp_path: Path) -> None:
    files, synced = failing_syncs(tmp_path, times=1)
    journal = open_journal(tmp_path, files)
    refused = request(FIRST)
    journal.append([refused])
    assert isinstance(refused.error, SpoolUnhealthy)
    accepted = request(SECOND)
    journal.append([accepted])
    assert accepted.error is None
    assert str(tmp_path) in synced


def test_a_folder_that_an_earlier_run_made_may_not_be_durable_yet(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    files, synced = failing_syncs(tmp_path, times=0)
    journal = open_journal(tmp_path, files)
    for spool_id in (FIRST, SECOND):
        journal.append([request(spool_id)])
    assert synced.count(str(tmp_path)) == 1


def test_a_new_segment_never_takes_a_name_that_is_there(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([request(FIRST)])
    (segment,) = (tmp_path / "journal").iterdir()
    segment.write_bytes(b"\xff" * HEADER_OCTETS + segment.read_bytes()[HEADER_OCTETS:])
    journal = open_journal(tmp_path)
    stored = request(SECOND)
    journal.append([stored])
    assert stored.error is None
    assert sorted(open_journal(tmp_path).ids()) == [FIRST, SECOND]
