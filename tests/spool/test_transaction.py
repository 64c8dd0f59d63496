from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.errors import CorruptEntry, SpoolError
from kumo.spool.transaction import Placement, decode_manifest, encode_manifest
from tests.spool.faults import InstrumentedFiles, failing_at
from tests.spool.samples import EXAMPLE_ID, Stores, data_file, entry_files, meta_file, new_id, put

Open = Callable[..., Stores]

IDS = [new_id() for _ in range(3)]

PLACEMENTS = [
    Placement(IDS[0], False, f"{IDS[0]}.1", f"{IDS[0]}.0"),
    Placement(IDS[1], True, f"{IDS[1]}.2", None),
    Placement(IDS[2], False, f"{IDS[2]}.4", f"{IDS[2]}.3"),
]


def test_a_manifest_is_read_back() -> None:
    assert decode_manifest(encode_manifest(PLACEMENTS)) == PLACEMENTS


@pytest.mark.parametrize("length", range(len(encode_manifest(PLACEMENTS))))
def test_a_manifest_torn_anywhere_is_corrupt(length: int) -> None:
    with pytest.raises(CorruptEntry):
        decode_manifest(encode_manifest(PLACEMENTS)[:length])


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0" * 100,
        b"\xff\n",
        b"end 1\n",
        b"new x y z\nend 1\n",
        f"gone {EXAMPLE_ID} a b\nend 1\n".encode(),
        f"new {EXAMPLE_ID} ../a b\nend 1\n".encode(),
        f"new {EXAMPLE_ID} a /etc/b\nend 1\n".encode(),
        f"new {EXAMPLE_ID} a\nend 1\n".encode(),
        f"new {EXAMPLE_ID} a b\nend 1\nmore".encode(),
    ],
)
def test_something_else_is_no_manifest(octets: bytes) -> None:
    with pytest.raises(CorruptEntry):
        decode_manifest(octets)


def stage(root: Path, *, placed: int = 0) -> None:
    """Three messages as they are between commit and completion; of the first ``placed`` the meta is there."""
    for number, (spool_id, _, meta_temporary, data_temporary) in enumerate(PLACEMENTS):
        if data_temporary is not None:
            put(root / "data" / "new" / data_temporary, b"content of " + spool_id.encode())
        path = meta_file(root, spool_id) if number < placed else root / "meta" / "new" / meta_temporary
        put(path, b"meta of " + spool_id.encode())


def metas(root: Path) -> list[bytes]:
    paths = [meta_file(root, spool_id) for spool_id in IDS]
    return [path.read_bytes() for path in paths if path.exists()]


ALL = [b"meta of " + spool_id.encode() for spool_id in IDS]


@pytest.mark.parametrize("placed", range(4))
def test_a_committed_transaction_is_finished(open_stores: Open, tmp_path: Path, placed: int) -> None:
    stage(tmp_path, placed=placed)
    put(tmp_path / "meta" / "commit" / "m.9", encode_manifest(PLACEMENTS))
    stores = open_stores()
    assert metas(tmp_path) == ALL
    assert stores.data.read(IDS[0]) == b"content of " + IDS[0].encode()
    assert stores.data.read(IDS[2]) == b"content of " + IDS[2].encode()
    assert len(entry_files(tmp_path)) == 5


def test_names_that_an_earlier_run_gave_are_synced_before_the_manifest_goes(
    open_stores: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: False)
    stage(tmp_path, placed=3)
    for _, _, _, data_temporary in PLACEMENTS:
        if data_temporary is not None:
            spool_id = data_temporary[: data_temporary.index(".")]
            put(data_file(tmp_path, spool_id), (tmp_path / "data" / "new" / data_temporary).read_bytes())
            (tmp_path / "data" / "new" / data_temporary).unlink()
    manifest = tmp_path / "meta" / "commit" / "m.9"
    put(manifest, encode_manifest(PLACEMENTS))
    files = InstrumentedFiles()
    open_stores(flush=True, files=files)
    synced: set[str] = set()
    for call in files.calls:
        if call.arguments[0] == str(manifest):
            break
        if call.name == "sync_directory":
            synced.add(call.arguments[0])
    assert not manifest.exists()
    assert {str(meta_file(tmp_path, spool_id).parent) for spool_id in IDS} <= synced
    assert {str(data_file(tmp_path, IDS[number]).parent) for number in (0, 2)} <= synced


def test_a_transaction_without_manifest_leaves_nothing(open_stores: Open, tmp_path: Path) -> None:
    stage(tmp_path)
    put(tmp_path / "meta" / "new" / "m.9", encode_manifest(PLACEMENTS))
    open_stores()
    assert entry_files(tmp_path) == []


def test_a_transaction_being_undone_leaves_only_what_was_there_before(
    open_stores: Open, tmp_path: Path
) -> None:
    stage(tmp_path, placed=2)
    put(tmp_path / "meta" / "commit" / "m.9.undo", encode_manifest(PLACEMENTS))
    open_stores()
    assert metas(tmp_path) == [ALL[1]]
    assert len(entry_files(tmp_path)) == 1


def test_what_was_delivered_since_does_not_come_back(open_stores: Open, tmp_path: Path) -> None:
    put(tmp_path / "meta" / "commit" / "m.9", encode_manifest(PLACEMENTS))
    open_stores()
    assert entry_files(tmp_path) == []


@pytest.mark.parametrize("octets", [b"", encode_manifest(PLACEMENTS)[:-3], b"junk"])
def test_a_torn_manifest_is_set_aside_and_commits_nothing(
    open_stores: Open, tmp_path: Path, octets: bytes
) -> None:
    stage(tmp_path)
    put(tmp_path / "meta" / "commit" / "m.9", octets)
    open_stores()
    assert entry_files(tmp_path) == ["meta/quarantine/m.9.1"]


def test_a_folder_among_the_manifests_is_set_aside(open_stores: Open, tmp_path: Path) -> None:
    put(tmp_path / "meta" / "commit" / "folder" / "file", b"x")
    open_stores()
    assert entry_files(tmp_path) == ["meta/quarantine/folder.1/file"]


def test_recovery_that_fails_at_any_call_is_finished_by_the_next(tmp_path: Path, flush: bool) -> None:
    for number in range(200):
        root = tmp_path / str(number)
        stage(root, placed=1)
        put(root / "meta" / "commit" / "m.9", encode_manifest(PLACEMENTS))
        files = InstrumentedFiles(failing_at(number, errno.EIO))
        with contextlib.suppress(OSError, SpoolError):
            Stores(root, flush=flush, files=files).close()
        if len(files.calls) <= number:
            return
        Stores(root).close()
        assert metas(root) == ALL
    pytest.fail("more calls than expected")
