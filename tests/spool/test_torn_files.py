"""Files that a power loss has torn, beside the journal that still has their message."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.message import Message
from kumo.spool import FileOperations, list_spool
from tests.spool.faults import Call, InstrumentedFiles
from tests.spool.journaled import Open, remove, state_in, state_of, store
from tests.spool.samples import (
    Stores,
    data_file,
    entry_files,
    files_of,
    ids_of,
    kept_ids,
    make_message,
    meta_file,
)

BODY = b"0123456789" * 700

Tear = Callable[[bytes], bytes]

TEARS: dict[str, Tear] = {
    "empty": lambda _: b"",
    "half": lambda octets: octets[: len(octets) // 2],
    "zeros": lambda octets: bytes(len(octets) // 2),
    "padded": lambda octets: octets[: len(octets) // 2] + bytes(50),
    "all but one": lambda octets: octets[:-1],
    "as many zeros": lambda octets: bytes(len(octets)),
}


def in_both(stores: Stores) -> Message:
    """A message as a kill between a move's end and the journal's note of it leaves it."""
    message = make_message(body=BODY)
    store(stores, [message])
    message.is_stored = False
    stores.store([message])
    return message


@pytest.mark.parametrize(
    ("which", "tear"),
    [
        *((data_file, tear) for tear in ("empty", "half", "zeros", "padded", "all but one")),
        *((meta_file, tear) for tear in ("empty", "half", "all but one", "as many zeros")),
    ],
)
def test_the_journal_wins_over_torn_files(
    reopen: Open,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    which: Callable[[Path, str], Path],
    tear: str,
) -> None:
    message = in_both(reopen())
    path = which(tmp_path, message.id)
    path.write_bytes(TEARS[tear](path.read_bytes()))
    assert [(entry.id, entry.problem) for entry in list_spool(tmp_path / "meta")] == [(message.id, None)]
    stores = reopen()
    assert state_in(stores) == state_of(message)
    assert message.id in caplog.text
    aside = [f"{name}/quarantine/{message.id}.1" for name in ("data", "meta")]
    assert [name for name in entry_files(tmp_path) if "journal" not in name] == aside
    assert remove(stores, message) is None
    stores = reopen()
    assert state_in(stores) == {}
    stores.engine.finish()
    assert entry_files(tmp_path) == aside


@pytest.mark.parametrize("which", [data_file, meta_file])
def test_the_journal_wins_over_files_that_cannot_be_read(
    reopen: Open, tmp_path: Path, which: Callable[[Path, str], Path]
) -> None:
    message = in_both(reopen())
    path = which(tmp_path, message.id)
    if which is data_file:
        # Only where the length raises a doubt is a content read.
        path.write_bytes(BODY[:-1])

    class BadSector(FileOperations):
        def read(self, name: str) -> bytes:
            if name == str(path):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(name)

    assert state_in(reopen(files=BadSector())) == state_of(message)
    assert state_in(reopen()) == state_of(message)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EACCES])
def test_what_says_nothing_of_the_files_ends_the_start(reopen: Open, error: int) -> None:
    message = in_both(reopen())

    class Exhausted(FileOperations):
        def read(self, path: str) -> bytes:
            raise OSError(error, os.strerror(error), path)

    with pytest.raises(OSError, match=os.strerror(error)):
        reopen(files=Exhausted())
    assert state_in(reopen()) == state_of(message)


@pytest.mark.parametrize("content", [b"other", b"x" * 9000, BODY[1:]])
@pytest.mark.parametrize("changes_meta", [False, True])
def test_whole_files_win_over_the_journal_whatever_their_length(
    reopen: Open, tmp_path: Path, content: bytes, changes_meta: bool
) -> None:
    """With ``flush`` they are newer and durable where the journal's note of that was lost with the power."""
    stores = reopen(flush=True)
    message = in_both(stores)
    message.is_stored = True
    message.set_content(content)
    if changes_meta:
        message.meta["n"] = 1
    stores.store([message])
    assert kept_ids(tmp_path) == ids_of(message)
    stores = reopen(flush=True)
    assert state_in(stores) == state_of(message)
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(message)


def test_files_of_the_right_length_are_not_read_but_for_their_envelope(reopen: Open) -> None:
    message = in_both(reopen())

    class Recording(FileOperations):
        def __init__(self) -> None:
            self.read_paths: list[str] = []

        def read(self, path: str) -> bytes:
            self.read_paths.append(path)
            return super().read(path)

    files = Recording()
    stores = reopen(files=files)
    assert files.read_paths == [stores.meta.path(message.id)]
    assert state_in(stores) == state_of(message)


@pytest.mark.parametrize("then", ["removed", "changed"])
def test_torn_files_that_cannot_be_set_aside_do_not_come_back(
    reopen: Open, tmp_path: Path, then: str
) -> None:
    """As on a full disk, where there is no room for a quarantine."""
    stores = reopen()
    message = in_both(stores)
    message.is_stored = True
    path = data_file(tmp_path, message.id)
    path.write_bytes(path.read_bytes()[:3000])
    files = InstrumentedFiles()

    def before(call: Call, _: int) -> None:
        if call.name == "make_directory":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.before = before
    stores = reopen(files=files)
    assert state_in(stores) == state_of(message)
    files.before = None
    if then == "removed":
        assert remove(stores, message) is None
        assert state_in(reopen()) == {}
    else:
        message.set_content(b"shorter")
        store(stores, [message])
        assert state_in(reopen()) == state_of(message)
