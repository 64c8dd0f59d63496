from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from kumo.errors import ConfigError
from kumo.logs import find_node_id

ID = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.mark.parametrize("configured", [ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}"])
def test_the_environment_beats_the_file(tmp_path: Path, configured: str) -> None:
    path = tmp_path / "nodeid"
    path.write_text(str(uuid.uuid4()))
    assert find_node_id(configured, str(path)) == ID


def test_an_environment_that_is_no_uuid_is_refused() -> None:
    with pytest.raises(ConfigError, match="KUMO_NODE_ID: 'node-7' is not a UUID"):
        find_node_id("node-7")


@pytest.mark.parametrize("configured", [None, ""])
def test_the_file_is_made_once_and_then_kept(tmp_path: Path, configured: str | None) -> None:
    path = tmp_path / "nodeid"
    made = find_node_id(configured, str(path))
    assert uuid.UUID(made).version == 4
    assert str(uuid.UUID(made)) == made
    assert find_node_id(configured, str(path)) == made
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_the_id_of_a_daemon_that_was_first_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nodeid"
    path.write_text(f"{ID}\n")
    monkeypatch.setattr(Path, "exists", lambda _: False)  # it came between the look and the making
    assert find_node_id(None, str(path)) == ID
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"not a uuid\n", "\u00fc".encode()])
def test_a_file_that_holds_no_id_is_left_alone(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuid, "getnode", lambda: 0x0242AC110002)
    path = tmp_path / "nodeid"
    path.write_bytes(content)
    assert find_node_id(None, str(path)) == "00000000-0000-1000-8000-0242ac110002"
    assert path.read_bytes() == content


def test_without_a_place_for_the_file_the_mac_address_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuid, "getnode", lambda: 0x0242AC110002)
    assert find_node_id(None, str(tmp_path / "absent" / "nodeid")) == "00000000-0000-1000-8000-0242ac110002"
