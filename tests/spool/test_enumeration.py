from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.message import Message, SpoolIdSource
from kumo.spool import FileOperations, Spool
from kumo.spool.enumeration import Problem, read_entry, take_inventory
from tests.spool.samples import (
    EXAMPLE_ID,
    Stores,
    UnsyncedFiles,
    configs,
    data_file,
    entry_files,
    files_of,
    make_message,
    meta_file,
    new_id,
    put,
)

Open = Callable[..., Stores]

META = b'{"sender":"a@example.com","recipient":"b@example.org","meta":{"queue":"q"},"schedule":null}'


async def enumerated(root: Path, files: FileOperations | None = None) -> list[Message]:
    spool = Spool.open(*configs(root), files=files or UnsyncedFiles())
    found = [message async for message in spool.entries()]
    await spool.close()
    return found


def put_message(root: Path, spool_id: str, *, meta: bytes | None = META, data: bytes | None = b"x") -> None:
    if meta is not None:
        put(meta_file(root, spool_id), meta)
    if data is not None:
        put(data_file(root, spool_id), data)


async def test_messages_come_in_order_of_creation_whatever_the_clock_does(tmp_path: Path) -> None:
    times = [4e9, 1.0, 1.7e9, 1.7e9 + 429.4967296, 1.7e9 - 1, 2e9]
    ids = {f"{int(time * 1e7) + 0x01B21DD213814000:015x}": None for time in times}
    spool_ids = [f"{ticks[7:]}{ticks[3:7]}1{ticks[:3]}800002fc00000001" for ticks in ids]
    for spool_id in spool_ids:
        put_message(tmp_path, spool_id)
    found = await enumerated(tmp_path)
    assert sorted(message.id for message in found) == sorted(spool_ids)
    created = [message.created for message in found]
    assert created == sorted(created)
    assert created == pytest.approx(sorted(times))


async def test_an_entry_that_seems_to_be_from_the_future_is_found(tmp_path: Path) -> None:
    """Its id was made before the clock was set back."""
    ahead = SpoolIdSource().new_id(time.time() + 86_400)
    put_message(tmp_path, ahead)
    spool = Spool.open(*configs(tmp_path), files=UnsyncedFiles())
    fresh = make_message()
    await spool.store([fresh])
    found = [message.id async for message in spool.entries()]
    await spool.close()
    assert found == [ahead]
    assert entry_files(tmp_path) == files_of(make_message(spool_id=ahead), fresh)


async def test_a_spool_of_kumomta_is_read_as_it_is(tmp_path: Path) -> None:
    put_message(
        tmp_path,
        EXAMPLE_ID,
        meta=b'{"sender":"","recipient":["b@example.org","c@example.net"],"meta":{"tenant":"t"},"schedule":null}',
        data=b"Received: from x\r\n\r\nbody\r\n",
    )
    (message,) = await enumerated(tmp_path)
    assert message.id == EXAMPLE_ID
    assert message.sender.is_null
    assert [str(recipient) for recipient in message.recipients] == ["b@example.org", "c@example.net"]
    assert message.meta == {"tenant": "t"}
    assert message.is_stored
    assert not message.is_resident


async def test_an_empty_spool_has_no_messages(tmp_path: Path) -> None:
    assert await enumerated(tmp_path) == []


async def test_more_messages_than_are_read_at_once_all_come(tmp_path: Path) -> None:
    ids = [new_id() for _ in range(300)]
    for spool_id in ids:
        put_message(tmp_path, spool_id)
    assert [message.id for message in await enumerated(tmp_path)] == ids


GOOD = new_id()
BAD = "01020304" + new_id()[8:]

SET_ASIDE = [
    pytest.param(META[:40], b"x", [f"data/quarantine/{BAD}.1", f"meta/quarantine/{BAD}.1"], id="torn meta"),
    pytest.param(b"", b"x", [f"data/quarantine/{BAD}.1", f"meta/quarantine/{BAD}.1"], id="empty meta"),
    pytest.param(b"\0" * 90, None, [f"meta/quarantine/{BAD}.1"], id="zeros as meta, no content"),
    pytest.param(META, None, [f"meta/quarantine/{BAD}.1"], id="no content"),
    pytest.param(None, b"x", [f"data/quarantine/{BAD}.1"], id="no meta"),
    pytest.param(None, b"", [f"data/quarantine/{BAD}.1"], id="no meta, empty content"),
]


@pytest.mark.parametrize(("meta", "data", "expected"), SET_ASIDE)
async def test_what_is_not_whole_is_set_aside_and_logged(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    meta: bytes | None,
    data: bytes | None,
    expected: list[str],
) -> None:
    put_message(tmp_path, GOOD)
    put_message(tmp_path, BAD, meta=meta, data=data)
    assert [message.id for message in await enumerated(tmp_path)] == [GOOD]
    quarantined = [name for name in entry_files(tmp_path) if "quarantine" in name]
    assert quarantined == expected
    assert len([record for record in caplog.records if BAD in record.message]) == len(expected)
    octets = {"data": data, "meta": meta}
    for name in quarantined:
        assert (tmp_path / name).read_bytes() == octets[name[:4]]
    assert [message.id for message in await enumerated(tmp_path)] == [GOOD]


async def test_an_empty_content_is_no_fault(tmp_path: Path) -> None:
    put_message(tmp_path, GOOD, data=b"")
    (message,) = await enumerated(tmp_path)
    assert message.id == GOOD


FOREIGN = [
    "README",
    "zz",
    "AB",
    "0",
    "01/x",
    "01/02/03/README",
    "01/02/03/04/README",
    "01/02/03/04/5d7711eea8c8000c29c3380",
    "01/02/03/04/5D7711EEA8C8000C29C33806",
    "01/02/03/04/5d7741eea8c8000c29c33806",
    "01/02/03/04/5d7711eea8c8000c29c33806/file",
    "foreign/folder/file",
]


@pytest.mark.parametrize("store", ["data", "meta"])
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_file_is_set_aside_under_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, store: str, name: str
) -> None:
    put_message(tmp_path, GOOD)
    put(tmp_path / store / "data" / name, b"foreign")
    assert [message.id for message in await enumerated(tmp_path)] == [GOOD]
    (found,) = [entry for entry in entry_files(tmp_path) if "quarantine" in entry]
    assert (tmp_path / found).read_bytes() == b"foreign"
    assert "not an entry of this spool" in caplog.text
    assert files_of(make_message(spool_id=GOOD)) == [
        entry for entry in entry_files(tmp_path) if "quarantine" not in entry
    ]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).symlink_to("/etc/hostname")])
async def test_a_pipe_or_a_link_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = meta_file(tmp_path, BAD)
    path.parent.mkdir(parents=True)
    make(path)
    assert await enumerated(tmp_path) == []
    assert [entry.name for entry in (tmp_path / "meta" / "quarantine").iterdir()] == [f"{BAD[8:]}.1"]


async def test_empty_directories_are_removed(tmp_path: Path) -> None:
    put_message(tmp_path, GOOD)
    for store in ("data", "meta"):
        (tmp_path / store / "data" / "ff" / "ee").mkdir(parents=True)
    await enumerated(tmp_path)
    for store in ("data", "meta"):
        assert [entry.name for entry in (tmp_path / store / "data").iterdir()] == [GOOD[:2]]


class FailingReads(FileOperations):
    def __init__(self, error: int, name: str) -> None:
        self._error = error
        self._name = name

    def read(self, path: str) -> bytes:
        if path.endswith(self._name):
            raise OSError(self._error, os.strerror(self._error))
        return super().read(path)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_what_the_process_had_no_means_to_read_is_left_for_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    put_message(tmp_path, GOOD)
    assert await enumerated(tmp_path, FailingReads(error, GOOD[8:])) == []
    assert f"message {GOOD} cannot be read" in caplog.text
    assert [message.id for message in await enumerated(tmp_path)] == [GOOD]


async def test_what_the_disk_does_not_read_is_set_aside(tmp_path: Path) -> None:
    put_message(tmp_path, GOOD)
    assert await enumerated(tmp_path, FailingReads(errno.EIO, GOOD[8:])) == []
    assert entry_files(tmp_path) == [f"data/quarantine/{GOOD}.1", f"meta/quarantine/{GOOD}.1"]


class FailingScans(FileOperations):
    def scan(self, path: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - as the parent
        if path.endswith("/data/01"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().scan(path)


async def test_a_folder_that_cannot_be_listed_does_not_hinder_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = "ff" + GOOD[2:]
    put_message(tmp_path, good)
    put_message(tmp_path, BAD)
    assert [message.id for message in await enumerated(tmp_path, FailingScans())] == [good]
    assert f"unable to read {tmp_path}/meta/data/01" in caplog.text
    assert [message.id for message in await enumerated(tmp_path)] in ([BAD, good], [good, BAD])


def test_the_reason_says_what_is_wrong(open_stores: Open, tmp_path: Path) -> None:
    stores = open_stores()
    put_message(tmp_path, GOOD, data=None)
    assert read_entry(GOOD, stores.data, stores.meta) == Problem(GOOD, f"message {GOOD} has no content")


def test_the_inventory_of_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert take_inventory(str(tmp_path / "absent"), FileOperations()) == ([], [], [])
