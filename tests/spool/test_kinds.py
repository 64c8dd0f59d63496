"""What a spool is kept in: as policy asks, as the folder was made, as far as rocksdict is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kumo.config import SpoolKind
from kumo.errors import SpoolError
from kumo.spool import Spool, list_spool
from kumo.spool.kinds import choose_kind, kind_of
from tests.spool.samples import configs, kept_ids, make_message, put

LOCAL, ROCKS = SpoolKind.LOCAL_DISK, SpoolKind.ROCKS_DB
HINT = "rocksdict is not installed: pip install 'kumo-mta[rocksdb]'"


@pytest.fixture
def without_rocksdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.kinds.has_rocksdb", lambda: False)


def names(root: Path) -> str:
    return f"data ({root}/data) and meta ({root}/meta)"


async def fill(root: Path, kind: SpoolKind) -> str:
    """Make a spool with one message in it."""
    spool = Spool.open(*configs(root, kind=kind))
    message = make_message()
    await spool.store([message])
    await spool.close()
    return message.id


@pytest.mark.parametrize("kind", [LOCAL, ROCKS])
async def test_a_new_spool_is_of_the_kind_that_is_asked_for(
    tmp_path: Path, kind: SpoolKind, caplog: pytest.LogCaptureFixture
) -> None:
    assert kind_of(str(tmp_path / "meta")) is None
    await fill(tmp_path, kind)
    assert kind_of(str(tmp_path / "meta")) is kind_of(str(tmp_path / "data")) is kind
    assert caplog.text == ""


@pytest.mark.parametrize(("made_with", "asked"), [(LOCAL, ROCKS), (ROCKS, LOCAL)])
async def test_a_folder_keeps_what_it_was_made_with_and_the_log_says_so(
    tmp_path: Path, made_with: SpoolKind, asked: SpoolKind, caplog: pytest.LogCaptureFixture
) -> None:
    spool_id = await fill(tmp_path, made_with)
    assert sorted([spool_id, await fill(tmp_path, asked)]) == kept_ids(tmp_path)
    assert kind_of(str(tmp_path / "meta")) is made_with
    assert [record.message for record in caplog.records] == [
        f"spool {names(tmp_path)}: kept as {made_with.value}, which it was made with"
    ]


@pytest.mark.usefixtures("without_rocksdict")
async def test_without_rocksdict_it_is_local_disk_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await fill(tmp_path, ROCKS)
        assert [record.message for record in caplog.records] == [
            f"spool {names(tmp_path)}: kind 'RocksDB' is stored as LocalDisk, as {HINT}"
        ]
        caplog.clear()
    assert kind_of(str(tmp_path / "meta")) is LOCAL


@pytest.mark.parametrize("asked", [LOCAL, ROCKS])
async def test_a_database_without_rocksdict_is_an_error_not_an_empty_start(
    tmp_path: Path, asked: SpoolKind, request: pytest.FixtureRequest
) -> None:
    await fill(tmp_path, ROCKS)
    request.getfixturevalue("without_rocksdict")
    with pytest.raises(SpoolError) as caught:
        Spool.open(*configs(tmp_path, kind=asked))
    assert str(caught.value).startswith(f"{tmp_path}/data and {tmp_path}/meta: a spool of kind 'RocksDB'")
    assert str(caught.value).endswith(HINT)
    with pytest.raises(SpoolError, match="rocksdict is not installed"):
        list_spool(tmp_path / "meta")


def test_two_kinds_at_once_are_stored_as_local_disk_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, meta = configs(tmp_path)
    assert choose_kind(replace(data, kind=ROCKS), meta) is LOCAL
    assert "both need the same kind; they are stored as LocalDisk" in caplog.text


async def test_folders_of_two_kinds_are_refused(tmp_path: Path) -> None:
    await fill(tmp_path / "a", ROCKS)
    await fill(tmp_path / "b", LOCAL)
    data, meta = configs(tmp_path / "a")[0], configs(tmp_path / "b")[1]
    with pytest.raises(
        SpoolError, match=f"{data.path} of kind 'RocksDB' and {meta.path} of kind 'LocalDisk'"
    ):
        Spool.open(data, meta)


async def test_a_database_among_files_is_not_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path, LOCAL)
    put(tmp_path / "meta" / "CURRENT", b"MANIFEST-000001\n")
    await fill(tmp_path, LOCAL)
    assert f"{tmp_path}/meta holds a RocksDB database; its messages are not read" in caplog.text
