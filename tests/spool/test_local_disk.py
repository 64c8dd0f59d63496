from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.spool.local_disk import LocalDisk
from tests.spool.faults import InstrumentedFiles
from tests.spool.samples import EXAMPLE_ID, Stores, data_file, new_id, put

Open = Callable[..., Stores]


def entry(disk: LocalDisk, spool_id: str, octets: bytes = b"x") -> Path:
    disk.place(disk.stage(spool_id, (octets,)), spool_id)
    return Path(disk.path(spool_id))


def test_layout_is_four_levels_of_two_digits_and_the_rest(open_stores: Open, tmp_path: Path) -> None:
    path = entry(open_stores().data, EXAMPLE_ID, b"content")
    assert path == tmp_path / "data/data/d7/ef/13/2b/5d7711eea8c8000c29c33806"
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600


def test_temporary_names_are_never_used_twice(open_stores: Open) -> None:
    disk = open_stores().data
    assert len({disk.stage(EXAMPLE_ID, (b"x",)) for _ in range(3)}) == 3


def test_an_entry_is_replaced_as_a_whole(open_stores: Open) -> None:
    disk = open_stores().data
    entry(disk, EXAMPLE_ID, b"long content")
    assert entry(disk, EXAMPLE_ID, b"short").read_bytes() == b"short"


def test_removing_what_is_not_there_is_no_error_and_harms_no_neighbour(open_stores: Open) -> None:
    disk = open_stores().data
    neighbour = entry(disk, EXAMPLE_ID[:8] + "00" + EXAMPLE_ID[10:])
    disk.remove(EXAMPLE_ID)
    assert neighbour.exists()


def test_a_directory_is_made_by_one_call_where_its_parent_exists(open_stores: Open) -> None:
    files = InstrumentedFiles()
    disk = open_stores(files=files).data
    entry(disk, EXAMPLE_ID)
    neighbour = EXAMPLE_ID[:6] + "ff" + EXAMPLE_ID[8:]
    files.calls.clear()
    entry(disk, neighbour)
    assert files.names() == ["create", "write", "close", "make_directory", "rename"]


def test_emptied_directories_are_removed_up_to_the_first_that_is_needed(
    open_stores: Open, tmp_path: Path
) -> None:
    disk = open_stores().data
    kept, removed = EXAMPLE_ID, EXAMPLE_ID[:2] + "00" + EXAMPLE_ID[4:]
    entry(disk, kept)
    entry(disk, removed)
    disk.remove(removed)
    disk.prune(0)
    assert sorted(path.name for path in (tmp_path / "data/data/d7").iterdir()) == ["ef"]
    disk.remove(kept)
    disk.prune(0)
    assert list((tmp_path / "data/data").iterdir()) == []


def test_as_many_empty_directories_stay_as_may_rest(open_stores: Open) -> None:
    disk = open_stores().data
    ids = [new_id() for _ in range(5)]
    leaves = [entry(disk, spool_id).parent for spool_id in ids]
    for spool_id in ids:
        disk.remove(spool_id)
    distinct = list(dict.fromkeys(leaves))
    disk.prune(1)
    assert [leaf for leaf in distinct if leaf.exists()] == distinct[-1:]


def test_a_directory_in_use_again_is_not_removed(open_stores: Open) -> None:
    disk = open_stores().data
    entry(disk, EXAMPLE_ID)
    disk.remove(EXAMPLE_ID)
    path = entry(disk, EXAMPLE_ID)
    assert disk.vacated == 0
    disk.prune(0)
    assert path.exists()


def test_a_directory_with_something_foreign_in_it_stays(open_stores: Open) -> None:
    disk = open_stores().data
    path = entry(disk, EXAMPLE_ID)
    put(path.parent / "README", b"x")
    disk.remove(EXAMPLE_ID)
    disk.prune(0)
    assert (path.parent / "README").exists()


def test_what_is_set_aside_keeps_its_name_and_replaces_nothing(
    open_stores: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = open_stores().data
    for content in (b"first", b"second"):
        put(tmp_path / "data/data/odd", content)
        disk.set_aside(str(tmp_path / "data/data/odd"), "odd", "no entry")
    quarantine = tmp_path / "data/quarantine"
    assert {path.name: path.read_bytes() for path in quarantine.iterdir()} == {
        "odd.1": b"first",
        "odd.2": b"second",
    }
    assert f"{tmp_path}/data/data/odd: no entry; set aside as {quarantine}/odd.2" in caplog.text


def test_what_cannot_be_set_aside_is_logged(open_stores: Open, caplog: pytest.LogCaptureFixture) -> None:
    disk = open_stores().data
    disk.set_aside(f"{disk.root}/data/absent", "absent", "no entry")
    assert "it cannot be set aside" in caplog.text


def test_a_store_whose_folder_vanished_fails_and_does_not_build_it_anew(
    open_stores: Open, tmp_path: Path
) -> None:
    disk = open_stores().data
    temporary = disk.stage(EXAMPLE_ID, (b"x",))
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        disk.place(temporary, EXAMPLE_ID)
    assert not data_file(tmp_path, EXAMPLE_ID).exists()
    assert not (tmp_path / "data").exists()
