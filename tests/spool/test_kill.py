"""kill -9 for real: another process stores, dies, and what it promised is looked for."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from kumo.message import Message
from kumo.spool import Spool
from tests.spool.samples import configs, entry_files, files_of, kept_ids
from tests.spool.victim import digest

ROOT = Path(__file__).resolve().parents[2]


def victim(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.spool.victim", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def lines_of(output: IO[str] | None) -> IO[str]:
    assert output is not None
    return output


async def messages_of(root: Path) -> dict[str, Message]:
    spool = Spool.open(*configs(root))
    found = {}
    async for message in spool.entries():
        await spool.load_content(message)
        assert message.id not in found
        found[message.id] = message
    await spool.close()
    return found


def promised(lines: Sequence[str]) -> tuple[list[dict[str, str]], set[str]]:
    """What each complete line says: digests by id of one transaction; and the ids that were removed."""
    complete = [line.rstrip("\n") for line in lines if line.endswith("\n")]
    stored = [
        dict(part.split(" ") for part in line.split("|")) for line in complete if not line.startswith("-")
    ]
    return stored, {line[1:] for line in complete if line.startswith("-")}


@pytest.mark.parametrize("options", [(), ("flush",), ("rocks",), ("rocks", "flush")], ids=" ".join)
@pytest.mark.parametrize("seed", range(2))
def test_everything_that_was_promised_is_there_to_the_octet(
    tmp_path: Path, options: tuple[str, ...], seed: int
) -> None:
    process = victim(str(tmp_path), "stream", *options)
    output = lines_of(process.stdout)
    wanted = random.Random(f"{options} {seed}").randint(1, 300)  # noqa: S311 - a seeded point in time
    lines = [output.readline() for _ in range(wanted)]
    process.kill()
    lines += output.readlines()
    output.close()
    assert process.wait(60) == -9
    transactions, removed = promised(lines)
    assert len(transactions) + len(removed) >= wanted
    listed = kept_ids(tmp_path)
    found = asyncio.run(messages_of(tmp_path))
    assert set(found) <= set(listed)
    # What was removed stays away.
    assert removed.isdisjoint(found)
    missing = set()
    for transaction in transactions:
        for spool_id, expected in transaction.items():
            if spool_id in found:
                assert digest(found[spool_id]) == expected
            elif spool_id not in removed:
                missing.add(spool_id)
    # At most one removal of each session was under way.
    assert missing <= {next(iter(transaction)) for transaction in transactions}
    assert len(missing) <= 4
    # What was not promised may be there, but as a whole.
    unpromised = set(found) - {spool_id for transaction in transactions for spool_id in transaction}
    assert len(unpromised) <= 4 * 3
    if "rocks" not in options:
        left = [name for name in entry_files(tmp_path) if "/quarantine/" not in name]
        assert left == files_of(*found.values())


@pytest.mark.parametrize("options", [(), ("flush",)], ids=["plain", "flush"])
def test_an_append_killed_at_any_call_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    process = victim(str(tmp_path), "each", "journal", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    outcomes = [line.split() for line in output.splitlines()]
    assert [signal for *_, signal in outcomes] == ["9"] * (len(outcomes) - 1) + ["0"]
    survived = []
    for number, (*ids, _) in enumerate(outcomes):
        found = asyncio.run(messages_of(tmp_path / str(number)))
        assert sorted(found) in ([], sorted(ids))
        survived.append(bool(found))
        for spool_id, message in found.items():
            assert message.content == b"Received: by kumo\r\n" + bytes([65 + ids.index(spool_id)]) * 3000
    assert survived == sorted(survived)
    # In flush mode the last call is the sync, and what is written before it has survived the process.
    assert survived.count(True) == 1 + len(options)
    assert survived.count(False) == (5 if options else 3)


@pytest.mark.parametrize("options", [(), ("flush",)], ids=["plain", "flush"])
def test_a_move_killed_at_any_call_leaves_each_message_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    process = victim(str(tmp_path), "each", "move", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    removed = []
    for number, (first, *others, _) in enumerate(line.split() for line in output.splitlines()):
        root = tmp_path / str(number)
        found = asyncio.run(messages_of(root))
        assert sorted(found) in (sorted(others), sorted([first, *others]))
        removed.append(first not in found)
        assert [name for name in entry_files(root) if "/quarantine/" not in name] == files_of(*found.values())
    assert removed == sorted(removed)
    assert removed.count(False) > 20
    assert removed.count(True) > 3


@pytest.mark.parametrize("options", [(), ("flush",)], ids=["plain", "flush"])
def test_a_move_without_room_killed_at_any_call_leaves_each_message_once(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    process = victim(str(tmp_path), "each", "full", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    outcomes = [line.split() for line in output.splitlines()]
    assert [signal for *_, signal in outcomes] == ["9"] * (len(outcomes) - 1) + ["0"]
    for number, (*ids, _) in enumerate(outcomes):
        root = tmp_path / str(number)
        assert kept_ids(root) == sorted(ids)
        found = asyncio.run(messages_of(root))
        assert sorted(found) == sorted(ids)
        for spool_id, message in found.items():
            assert message.content == b"Received: by kumo\r\n" + bytes([65 + ids.index(spool_id)]) * 3000
        assert [name for name in entry_files(root) if "/quarantine/" not in name] == files_of(*found.values())
    assert len(outcomes) > 100


@pytest.mark.parametrize("options", [(), ("flush",), ("update",)], ids=["new", "flush", "update"])
def test_a_transaction_killed_at_any_call_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    process = victim(str(tmp_path), "each", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    outcomes = [line.split() for line in output.splitlines()]
    assert [signal for *_, signal in outcomes] == ["9"] * (len(outcomes) - 1) + ["0"]
    survived = []
    for number, (*ids, _) in enumerate(outcomes):
        root = tmp_path / str(number)
        found = asyncio.run(messages_of(root))
        survived.append(set(found) == set(ids))
        assert survived[-1] or set(found) == ({ids[0]} if options == ("update",) else set())
        for spool_id, message in found.items():
            assert message.content == b"Received: by kumo\r\n" + bytes([65 + ids.index(spool_id)]) * 3000
        left = [name for name in entry_files(root) if "/quarantine/" not in name]
        assert left == files_of(*found.values())
    # Once it is committed it stays committed, and there are calls before and after that point.
    assert survived == sorted(survived)
    assert survived.count(False) > 10
    assert survived.count(True) > 3


@pytest.mark.parametrize("options", [(), ("flush",)], ids=["plain", "flush"])
def test_content_and_meta_of_a_stored_message_change_together(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    process = victim(str(tmp_path), "each", "replace", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    states = []
    for number, line in enumerate(output.splitlines()):
        spool_id, _ = line.split()
        root = tmp_path / str(number)
        message = asyncio.run(messages_of(root))[spool_id]
        assert message.content.endswith(message.meta["n"].encode())
        assert [name for name in entry_files(root) if "/quarantine/" not in name] == files_of(message)
        states.append(message.meta["n"])
    assert states == sorted(states)
    assert {*states} == {"1", "2"}
