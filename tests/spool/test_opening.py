from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kumo.errors import SpoolError, SpoolLocked
from kumo.spool import Spool
from tests.spool.faults import Call, InstrumentedFiles
from tests.spool.samples import Stores, configs, entry_files, put

Open = Callable[..., Stores]

ROOT = Path(__file__).resolve().parents[2]


def is_locked(store: Path) -> bool:
    with (store / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_lock_holds_the_process_id_and_has_the_sticky_bit(open_stores: Open, tmp_path: Path) -> None:
    open_stores()
    for store in ("data", "meta"):
        lock = tmp_path / store / "lock"
        assert is_locked(tmp_path / store)
        assert lock.read_text() == f"{os.getpid()}\n"
        assert lock.stat().st_mode & 0o7777 == 0o1644


def test_a_spool_that_is_open_refuses_and_names_path_and_process(open_stores: Open, tmp_path: Path) -> None:
    open_stores()
    with pytest.raises(SpoolLocked) as caught:
        Spool.open(*configs(tmp_path))
    assert str(caught.value) == f"unable to lock pid file {tmp_path}/data/lock: process {os.getpid()} has it"


def test_another_process_refuses_a_spool_that_is_open(open_stores: Open, tmp_path: Path) -> None:
    open_stores()
    second = subprocess.run(
        [sys.executable, "-m", "tests.spool.victim", str(tmp_path), "stream"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"SpoolLocked: unable to lock pid file {tmp_path}/data/lock" in second.stderr
    assert second.returncode == 1


def test_the_first_lock_is_released_when_the_second_is_refused(open_stores: Open, tmp_path: Path) -> None:
    open_stores()
    data, meta = configs(tmp_path)
    other = tmp_path / "other"
    with pytest.raises(SpoolLocked, match="/meta/lock"):
        Spool.open(replace(data, path=str(other)), meta)
    assert not is_locked(other)


async def test_locks_are_released_by_close(tmp_path: Path) -> None:
    for _ in range(2):
        spool = Spool.open(*configs(tmp_path))
        assert is_locked(tmp_path / "data")
        await spool.close()
        assert not is_locked(tmp_path / "data")
        assert not is_locked(tmp_path / "meta")


def test_one_folder_for_both_stores_is_refused(tmp_path: Path) -> None:
    data, meta = configs(tmp_path)
    with pytest.raises(SpoolError, match=f"share {data.path}"):
        Spool.open(data, replace(meta, path=f"{data.path}/../data"))


@pytest.mark.parametrize("store", ["data", "meta"])
def test_a_path_that_cannot_be_used_is_named(tmp_path: Path, store: str) -> None:
    put(tmp_path / store, b"a file where a folder should be")
    with pytest.raises(SpoolError, match=f"unable to use spool {store} at {tmp_path}/{store}"):
        Spool.open(*configs(tmp_path))


@pytest.mark.parametrize("name", ["create", "write", "sync_file", "close", "rename", "unlink"])
def test_a_folder_that_refuses_any_step_of_storing_is_refused(tmp_path: Path, name: str) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == name and call.arguments and name != "unlink":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if call.name == name == "unlink" and "new" not in call.arguments[0]:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.raises(SpoolError, match=f"{tmp_path}/data: Read-only file system"):
        Spool.open(*configs(tmp_path), files=InstrumentedFiles(before))


async def test_a_full_disk_does_not_hinder_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = Spool.open(*configs(tmp_path), files=InstrumentedFiles(before))
    await spool.close()
    assert f"{tmp_path}/data: No space left on device" in caplog.text


def test_files_that_never_got_their_name_are_swept_in_both_stores(open_stores: Open, tmp_path: Path) -> None:
    for store in ("data", "meta"):
        put(tmp_path / store / "new" / "half-written", b"x")
        put(tmp_path / store / "new" / ".probe", b"x")
        put(tmp_path / store / "new" / "folder" / "file", b"x")
    open_stores()
    assert entry_files(tmp_path) == ["data/quarantine/folder.1/file", "meta/quarantine/folder.1/file"]
